//! What runs make of what was seen: those that were closed elsewhere are looked at again, and those
//! that wait under a right which is gone end at once.

use std::collections::BTreeSet;

use chassis::postgres::in_time;
use sqlx::PgConnection;
use tracing::Span;
use wire::RunId;
use wire::event::{ChainData, Fact};

use crate::chain::call::{self, CallState};
use crate::chain::store::calls::{self, Changes};
use crate::chain::transaction::Kind;
use crate::error::Result;
use crate::event_reader::EventReader;
use crate::model::run::Escrow;
use crate::model::settlement::Failure;
use crate::runs;
use crate::runs::event;
use crate::runs::preflight::refuse;
use crate::runs::worker::span_of;
use crate::wakeups::wake_workers;

/// A right that was taken away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    /// A user's grant for an agent.
    Grant { user: String, agent_id: u32 },
    /// The place in an agent's list of runners.
    Listing { agent_id: u32 },
}

/// What follows from events.
#[derive(Debug, Default)]
pub(super) struct Reactions {
    /// Rights that were seen to end, and are judged when the newest ledger is reached: one that was
    /// given again in between is not gone.
    rights: BTreeSet<Ended>,
    /// Calls that are called off by the transaction that is under way.
    called_off: Changes,
}

impl Reactions {
    /// Wakes and ends runs for what was just kept. What it answers is for [`Reactions::done`], after
    /// the commit.
    pub(super) async fn react(
        &mut self,
        conn: &mut PgConnection,
        reader: &EventReader,
        kept: &[ChainData],
        is_newest: bool,
    ) -> Result<bool> {
        // Of a transaction before that was not committed, nothing happened.
        self.called_off.clear();
        let runner = reader.followed.runner.to_string();
        for data in kept {
            match &data.fact {
                Fact::RunnerRevoked { user, runner: whose, agent_id, .. } if *whose == runner => {
                    let user = user.clone();
                    self.rights.insert(Ended::Grant { user, agent_id: *agent_id });
                }
                Fact::AgentRunnerRemoved { agent_id, runner: whose } if *whose == runner => {
                    self.rights.insert(Ended::Listing { agent_id: *agent_id });
                }
                _ => {}
            }
        }
        let mut is_woken = wake_closed(conn, kept).await? > 0;
        if !is_newest {
            return Ok(false);
        }
        for ended in &self.rights {
            is_woken |= withdraw(conn, reader, &runner, ended, &mut self.called_off).await?;
        }
        if is_woken {
            wake_workers(conn).await?;
        }
        Ok(true)
    }

    /// What was judged is judged.
    pub(super) fn done(&mut self, judged: bool) {
        call::count_ends(&self.called_off);
        self.called_off.clear();
        if judged {
            self.rights.clear();
        }
    }
}

const fn closes_escrow(fact: &Fact) -> bool {
    matches!(fact, Fact::RunFinalized(_) | Fact::RunVoided { .. } | Fact::RunReclaimed { .. })
}

/// Runs whose escrow was closed on chain are looked at now, whatever they wait for. Those that wait
/// for a call of their own are woken by what becomes of it.
async fn wake_closed(conn: &mut PgConnection, kept: &[ChainData]) -> Result<u64> {
    let closed: Vec<Vec<u8>> = kept
        .iter()
        .filter(|data| closes_escrow(&data.fact))
        .filter_map(|data| data.fact.run_id())
        .map(|id| id.as_bytes().to_vec())
        .collect();
    if closed.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query!(
        "UPDATE runs SET wake_at = now() WHERE phase <> 'done' AND wake_at > now()
            AND wake_at < '9000-01-01' AND id IN (SELECT run_id FROM attempts
                WHERE vault_run_id = ANY($1) AND ended_at IS NULL)",
        &closed,
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected())
}

/// Every unfinished run looks at the network again.
pub(super) async fn wake_all(conn: &mut PgConnection) -> Result<()> {
    sqlx::query!("UPDATE runs SET wake_at = now() WHERE phase <> 'done' AND wake_at > now()")
        .execute(in_time(&mut *conn))
        .await?;
    wake_workers(conn).await
}

/// Ends runs that wait to be opened under this right, if it is still gone. Whether anything changed.
async fn withdraw(
    conn: &mut PgConnection,
    reader: &EventReader,
    runner: &str,
    ended: &Ended,
    called_off: &mut Changes,
) -> Result<bool> {
    let (ids, reason) = match ended {
        Ended::Grant { user, agent_id } => {
            let ids = unopened_of_grant(conn, reader, runner, user, *agent_id).await?;
            (ids, "vault UnauthorizedRunner: the user revoked this runner's grant for this agent")
        }
        Ended::Listing { agent_id } => {
            let ids = unopened_of_agent(conn, reader, runner, *agent_id).await?;
            let woken = wake_agent(conn, *agent_id).await?;
            if ids.is_empty() {
                return Ok(woken > 0);
            }
            (ids, "vault UnauthorizedRunner: the agent's developer does not list this runner")
        }
    };
    let failure = refuse("UNAUTHORIZED_RUNNER", reason);
    let mut is_changed = false;
    for id in ids {
        is_changed |= end(conn, reader, id, &failure, called_off).await?;
    }
    Ok(is_changed)
}

/// Runs that wait, of which nothing was signed, under a grant that is revoked now. One without a
/// runner yet may become another key's, where several are served.
async fn unopened_of_grant(
    conn: &mut PgConnection,
    reader: &EventReader,
    runner: &str,
    user: &str,
    agent_id: u32,
) -> Result<Vec<RunId>> {
    let found = sqlx::query_scalar!(
        "SELECT r.id FROM runs r WHERE r.user_account = $2 AND r.agent_id = $4
            AND r.phase IN ('queued', 'opening') AND r.operator_reason IS NULL
            AND (r.runner = $3 OR (r.runner IS NULL
                AND NOT EXISTS (SELECT 1 FROM served_identities i WHERE i.runner <> $3)))
            AND EXISTS (SELECT 1 FROM grants g WHERE g.vault = $1 AND g.user_account = $2
                AND g.runner = $3 AND g.agent_id = $4 AND g.revoked_at IS NOT NULL)",
        reader.followed.vault.to_string(),
        user,
        runner,
        i64::from(agent_id),
    );
    Ok(found.fetch_all(in_time(conn)).await?.into_iter().map(RunId::from).collect())
}

/// Runs that wait, of which nothing was signed, of an agent that does not list the runner now.
async fn unopened_of_agent(
    conn: &mut PgConnection,
    reader: &EventReader,
    runner: &str,
    agent_id: u32,
) -> Result<Vec<RunId>> {
    // Of those without a runner yet, as above.
    let found = sqlx::query_scalar!(
        "SELECT r.id FROM runs r WHERE r.agent_id = $3
            AND r.phase IN ('queued', 'opening') AND r.operator_reason IS NULL
            AND (r.runner = $2 OR (r.runner IS NULL
                AND NOT EXISTS (SELECT 1 FROM served_identities i WHERE i.runner <> $2)))
            AND EXISTS (SELECT 1 FROM agents a WHERE a.registry = $1 AND a.agent_id = $3
                AND NOT a.runners @> ARRAY[$2])",
        reader.followed.registry.to_string(),
        runner,
        i64::from(agent_id),
    );
    Ok(found.fetch_all(in_time(conn)).await?.into_iter().map(RunId::from).collect())
}

/// Opened runs of an agent that was delisted from find out what they may still do (V6).
async fn wake_agent(conn: &mut PgConnection, agent_id: u32) -> Result<u64> {
    let done = sqlx::query!(
        "UPDATE runs SET wake_at = now() WHERE agent_id = $1 AND phase <> 'done'
            AND wake_at > now()",
        i64::from(agent_id),
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected())
}

/// Ends a run for which nothing was signed. `false` if something was meanwhile: its worker decides
/// then, by what the network answers.
async fn end(
    conn: &mut PgConnection,
    reader: &EventReader,
    id: RunId,
    failure: &Failure,
    called_off: &mut Changes,
) -> Result<bool> {
    let now = chassis::clock::now();
    // Locked before its calls are looked at: a sender that stores an envelope locks it too, and
    // comes either before, and is seen, or after, and finds its call withdrawn.
    runs::store::lock(conn, id).await?;
    let ended = sqlx::query_scalar!(
        "UPDATE runs SET phase = 'done', status = 'failed', lease_token = lease_token + 1,
            lease_owner = NULL, lease_until = NULL, waiting_for = NULL, updated_at = $2
         WHERE id = $1 AND phase IN ('queued', 'opening') AND operator_reason IS NULL
            AND NOT EXISTS (SELECT 1 FROM calls c JOIN transaction_calls m ON m.call_id = c.id
                WHERE c.run_id = $1 AND c.attempt = runs.attempt
                    AND (runs.phase = 'opening' OR m.live OR m.code = 0))
         RETURNING attempt",
        id.as_uuid(),
        now,
    );
    let Some(attempt) = ended.fetch_optional(in_time(&mut *conn)).await? else { return Ok(false) };
    let key = (id, u32::try_from(attempt).unwrap_or_default());
    if calls::withdraw(conn, key, Kind::Open).await? {
        called_off.push((Kind::Open, CallState::Withdrawn));
    }
    runs::store::note_failure(conn, key, failure).await?;
    runs::store::close(conn, key, Escrow::None, None, now).await?;
    event::publish(conn, &reader.nats_prefix, id, now).await?;
    // What is said of a run belongs to its trace, also where no worker holds it.
    let ended = runs::store::load(conn, id).await?;
    ended.map_or_else(Span::none, |ended| span_of(&ended.run)).in_scope(|| {
        tracing::info!(run.id = %id, "run {id} ends before it was opened: {}", failure.reason);
    });
    Ok(true)
}
