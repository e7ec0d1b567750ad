//! What the operator of this runner is shown: work that waits, runs that need a person, packs and
//! their checks, verdicts, and what the accounts of several places say about each other.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::Bus;
use chassis::postgres::in_time;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use stellar::Rpc;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use uuid::Uuid;
use wire::view::milliseconds;
use wire::{Digest, Problem, RunId};

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::gates::{CheckedView, Gates};
use crate::gateway::market::{Market, VerdictView, verdict_view};
use crate::gateway::store::{self, Load};
use crate::model::settlement::Seal;
use crate::model::terms::Terms;
use crate::operations::account::{self, Extent, Finding, FindingPlace, Sources};
use crate::operations::intake::{self, PauseView};
use crate::rows;
use crate::runs::verdict;

/// Rows of one answer, when the caller names no number and at most.
pub const MOST_ROWS: u32 = 500;
/// Modules whose verdicts are listed: those that were run last.
const MOST_MODULES: i64 = 100;
/// How long a comparison may take.
const COMPARISON: Duration = Duration::from_secs(60);
/// Runs and events that are compared: the whole comparison is `runner account`'s, which may take
/// hours.
const MOST_COMPARED: u32 = 1_000;
/// For how long its result is answered again: it reads much of the database and of the chain.
const FRESH: Duration = Duration::from_secs(30);

/// A page of rows.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RowsQuery {
    /// At most this many, from 1 to 500.
    pub limit: Option<String>,
    /// From the header `Link` of the page before.
    pub cursor: Option<String>,
}

/// How much there is to do, and which runs it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueView {
    /// Counts.
    pub summary: LoadView,
    /// What new runs are paused.
    pub pauses: Vec<PauseView>,
    /// Unfinished runs, in the order in which workers take them.
    pub runs: Vec<WorkView>,
}

/// How much there is to do. A run may be counted in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadView {
    /// Runs that wait for a worker to open them, now.
    pub queued: i64,
    /// Runs whose start lies in the future.
    pub scheduled: i64,
    /// Of the queued runs, those that wait for a place of their user or their agent.
    pub limited: i64,
    /// Runs that are being worked on.
    pub running: i64,
    /// Runs that need a person, or wait for their deadline.
    pub stuck: i64,
    /// Runs that any worker could have taken for long, and none has.
    pub overdue: i64,
    /// Runs that a worker has claimed.
    pub held: i64,
    /// Runs whose escrow is open.
    pub escrows_open: i64,
    /// For how long the oldest run waits, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_age_ms: Option<i64>,
}

/// An unfinished run, as workers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkView {
    /// The run.
    pub id: RunId,
    /// Who pays.
    pub user: String,
    /// The agent.
    pub agent_id: u32,
    /// Its public status.
    pub status: String,
    /// What a worker does next.
    pub phase: String,
    /// The present attempt.
    pub attempt: u32,
    /// Tries of the present phase that came to nothing.
    pub failures: u32,
    /// Where its money is.
    pub escrow: String,
    /// Why a person has to decide, if one has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_reason: Option<String>,
    /// Why its attempt failed, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// Why its attempt failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it waits for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// No worker takes it before.
    #[serde(with = "milliseconds")]
    pub wake_at: OffsetDateTime,
    /// Which process has claimed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_owner: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none", with = "milliseconds::option")]
    pub lease_until: Option<OffsetDateTime>,
    /// When it was asked for.
    #[serde(with = "milliseconds")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "milliseconds")]
    pub updated_at: OffsetDateTime,
}

/// A sealed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SealedView {
    /// The run.
    pub run_id: RunId,
    /// Which attempt.
    pub attempt: u32,
    /// Who pays.
    pub user: String,
    /// The pack.
    pub pack_id: String,
    /// SHA-256 of the seal's bytes: what is on chain.
    pub seal_digest: Digest,
    /// The facts view; empty for the pack of a failed run.
    pub facts_ref: String,
    /// Where its money is.
    pub escrow: String,
    /// Why the attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// When the attempt began.
    #[serde(with = "milliseconds")]
    pub created_at: OffsetDateTime,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", with = "milliseconds::option")]
    pub ended_at: Option<OffsetDateTime>,
}

/// A module that was run, with the verdict on which its newest attempt was opened.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModuleView {
    /// Digest of the module's tree.
    pub manifest_hash: Digest,
    /// Attempts that were pinned to it.
    pub attempts: i64,
    /// When the newest of them began.
    #[serde(with = "milliseconds")]
    pub last_used_at: OffsetDateTime,
    /// The verdict; absent where none was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictView>,
}

/// What Postgres, the vault, the node, the stream and module-gate say about each other.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReconciliationView {
    /// When it was compared.
    #[serde(with = "milliseconds")]
    pub checked_at: OffsetDateTime,
    /// Whether two places say different things.
    pub broken: bool,
    /// How many things were compared in each place.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub compared: BTreeMap<FindingPlace, u64>,
    /// What does not agree or is unknown.
    #[schema(value_type = Vec<Object>)]
    pub findings: Vec<Finding>,
    /// What `runner reconcile` found when it last ran; absent if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_command: Option<ReconciledView>,
}

/// What `runner reconcile` found: Postgres compared with the vault's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReconciledView {
    /// When it began.
    #[serde(with = "milliseconds")]
    pub started_at: OffsetDateTime,
    /// When it ended.
    #[serde(with = "milliseconds")]
    pub ended_at: OffsetDateTime,
    /// Whether it was asked to repair.
    pub repaired: bool,
    /// How many of each were compared.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub compared: serde_json::Value,
    /// What differed: kind, run, proof, action, whether it was repaired, and words.
    #[schema(value_type = Vec<Object>)]
    pub findings: serde_json::Value,
}

/// The newest result of `runner reconcile`.
async fn last_command(db: &PgPool) -> Result<Option<ReconciledView>> {
    let newest = sqlx::query_as!(
        ReconciledView,
        "SELECT started_at, ended_at, repaired, compared, findings FROM reconciliations
         ORDER BY id DESC LIMIT 1",
    );
    Ok(newest.fetch_optional(in_time(db)).await?)
}

/// What comparisons need, and the last one.
#[derive(Debug)]
pub struct Reconciliation {
    /// The stream's server.
    pub bus: Bus,
    /// One at a time, and its result for a while.
    last: Mutex<Option<(Instant, ReconciliationView)>>,
}

/// Refuses who does not operate this runner.
///
/// # Errors
///
/// [`Problem::Forbidden`].
pub fn check(caller: &Caller) -> Result<()> {
    if caller.sees_all() {
        return Ok(());
    }
    let text = "this is for operators of the runner; RUNNER_OPERATORS names their accounts";
    Err(Error::refused(Problem::Forbidden, text))
}

/// Unfinished runs.
///
/// # Errors
///
/// When the database does not answer. So for the lists that follow.
pub async fn queue(db: &PgPool, query: &RowsQuery) -> Result<QueueView> {
    let limit = limit(query)?;
    no_cursor(query)?;
    let summary = load_view(&store::load(db).await?);
    let rows = sqlx::query_as!(
        WorkRow,
        r#"SELECT r.id, r.user_account, r.agent_id, r.status, r.phase, r.attempt, r.failures,
               a.escrow, r.operator_reason, a.error_code, a.error, r.waiting_for, r.wake_at,
               r.lease_owner, r.lease_until, r.created_at, r.updated_at
           FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.phase <> 'done' ORDER BY r.rank, r.turn_at LIMIT $1"#,
        i64::from(limit),
    );
    let rows = rows.fetch_all(in_time(db)).await?;
    let runs = rows.into_iter().map(WorkRow::view).collect::<Result<_>>()?;
    Ok(QueueView { summary, pauses: intake::list(db).await?, runs })
}

/// Runs that no worker can go on with: a person has to decide, or their escrow waits for a retry or
/// the deadline.
///
/// # Errors
///
/// As [`queue`].
pub async fn dead_letters(db: &PgPool, query: &RowsQuery) -> Result<Vec<WorkView>> {
    let limit = limit(query)?;
    no_cursor(query)?;
    let rows = sqlx::query_as!(
        WorkRow,
        r#"SELECT r.id, r.user_account, r.agent_id, r.status, r.phase, r.attempt, r.failures,
               a.escrow, r.operator_reason, a.error_code, a.error, r.waiting_for, r.wake_at,
               r.lease_owner, r.lease_until, r.created_at, r.updated_at
           FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.phase <> 'done'
             AND (r.operator_reason IS NOT NULL OR r.phase IN ('escrow_open', 'reclaiming'))
           ORDER BY r.updated_at LIMIT $1"#,
        i64::from(limit),
    );
    rows.fetch_all(in_time(db)).await?.into_iter().map(WorkRow::view).collect()
}

/// Sealed attempts, the newest first, and the cursor of the next page if there is one.
///
/// # Errors
///
/// As [`queue`].
pub async fn packs(db: &PgPool, query: &RowsQuery) -> Result<(Vec<SealedView>, Option<String>)> {
    let limit = limit(query)?;
    let (at, run, number) = match query.cursor.as_deref() {
        None => (far_future(), Uuid::max(), i32::MAX),
        Some(text) => decode(text).ok_or_else(|| {
            let text = "cursor: expected one of a Link header";
            Error::refused(Problem::InvalidRequest, text)
        })?,
    };
    // One more than is shown says whether there is a next page.
    let rows = sqlx::query!(
        r#"SELECT a.run_id, a.number, r.user_account, a.seal AS "seal!", a.escrow, a.error_code,
               a.created_at, a.ended_at
           FROM attempts a JOIN runs r ON r.id = a.run_id
           WHERE a.seal IS NOT NULL AND (a.created_at, a.run_id, a.number) < ($1, $2, $3)
           ORDER BY a.created_at DESC, a.run_id DESC, a.number DESC LIMIT $4"#,
        at,
        run,
        number,
        i64::from(limit) + 1,
    );
    let mut rows = rows.fetch_all(in_time(db)).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > most;
    rows.truncate(most);
    let next = rows.last().filter(|_| more);
    let next = next.map(|row| encode(row.created_at, row.run_id, row.number));

    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        let seal: Seal = serde_json::from_value(row.seal)
            .map_err(|error| Error::Broken(format!("a stored seal: {error}")))?;
        views.push(SealedView {
            run_id: RunId::from(row.run_id),
            attempt: rows::number(i64::from(row.number), "number")?,
            user: row.user_account,
            pack_id: seal.pack_id,
            seal_digest: seal.seal_digest,
            facts_ref: seal.facts_ref,
            escrow: row.escrow,
            error_code: row.error_code,
            created_at: row.created_at,
            ended_at: row.ended_at,
        });
    }
    Ok((views, next))
}

/// Checks the facts view of a sealed attempt under the strict rules of oracle-gate's profile.
///
/// # Errors
///
/// [`Problem::NotFound`] for an attempt without one, and what oracle-gate refuses.
pub async fn check_pack(seal: Option<&Seal>, gates: &Gates) -> Result<CheckedView> {
    let facts = seal.map(|seal| seal.facts_ref.as_str()).filter(|facts| !facts.is_empty());
    let facts = facts.ok_or_else(|| {
        let text = "this attempt has no facts view: it was not sealed, or sealed as a failure";
        Error::refused(Problem::NotFound, text)
    })?;
    gates.check(facts).await
}

/// Modules that were run, those used last first.
///
/// # Errors
///
/// As [`queue`].
pub async fn verdicts(db: &PgPool, market: &Market) -> Result<Vec<ModuleView>> {
    let rows = sqlx::query!(
        r#"SELECT used.manifest_hash AS "manifest_hash!", used.attempts AS "attempts!",
               used.last_used_at AS "last_used_at!", kept.shipping AS "shipping?",
               kept.terms AS "terms?"
           FROM (SELECT manifest_hash, count(*) AS attempts, max(created_at) AS last_used_at
                 FROM attempts WHERE manifest_hash IS NOT NULL GROUP BY manifest_hash
                 ORDER BY max(created_at) DESC LIMIT $1) AS used
           LEFT JOIN LATERAL (SELECT shipping, terms FROM attempts a
                 WHERE a.manifest_hash = used.manifest_hash AND a.shipping IS NOT NULL
                 ORDER BY a.created_at DESC LIMIT 1) AS kept ON true
           ORDER BY used.last_used_at DESC"#,
        MOST_MODULES,
    );
    let mut views = Vec::new();
    for row in rows.fetch_all(in_time(db)).await? {
        let module = Digest::try_from(row.manifest_hash.as_slice())
            .map_err(|error| Error::Broken(format!("a stored digest: {error}")))?;
        let terms = row.terms.map(serde_json::from_value::<Terms>).transpose();
        let terms = terms.map_err(|error| Error::Broken(format!("stored terms: {error}")))?;
        let attesters = terms.map(|terms| terms.attesters).unwrap_or_default();
        let keys = verdict::accepted_keys(&attesters, &market.attestation_keys);
        let view = |envelope: Vec<u8>| {
            verdict_view(&envelope, verdict::shipping(&envelope, &keys, module).err())
        };
        views.push(ModuleView {
            manifest_hash: module,
            attempts: row.attempts,
            last_used_at: row.last_used_at,
            verdict: row.shipping.map(view).transpose()?,
        });
    }
    Ok(views)
}

impl Reconciliation {
    /// Nothing was compared yet.
    pub fn new(bus: Bus) -> Self {
        Self { bus, last: Mutex::new(None) }
    }

    /// Compares unfinished runs, the newest runs and the newest events, or answers what was
    /// compared a moment ago.
    ///
    /// # Errors
    ///
    /// [`Problem::Unavailable`] when Postgres does not answer or it takes too long.
    pub async fn answer(&self, db: &PgPool, market: &Market) -> Result<ReconciliationView> {
        // Held while comparing: who comes meanwhile gets the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, view)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            tracing::debug!("compared {} s ago", at.elapsed().as_secs());
            // The command's result is one row: it is never old.
            return Ok(ReconciliationView {
                last_command: last_command(db).await?,
                ..view.clone()
            });
        }
        let rpc: &Rpc = &market.rpc;
        let sources = Sources {
            db,
            rpc,
            vault: market.vault.0,
            runner: market.runner,
            bus: Some(&self.bus),
            gates: market.gates.as_ref(),
            extent: Extent::Newest(MOST_COMPARED),
        };
        let compared = timeout(COMPARISON, account::compare(&sources)).await;
        let refused = |text: &str| Error::refused(Problem::Unavailable, text);
        let account = compared
            .map_err(|_| refused("the comparison took too long; use: runner account"))?
            .map_err(|error| {
                tracing::warn!("accounts are not compared: {error:#}");
                refused("a place could not be read; the runner's log says which")
            })?;
        let view = ReconciliationView {
            checked_at: chassis::clock::now(),
            broken: account.is_broken(),
            compared: account.compared,
            findings: account.findings,
            last_command: last_command(db).await?,
        };
        *last = Some((Instant::now(), view.clone()));
        Ok(view)
    }
}

struct WorkRow {
    id: Uuid,
    user_account: String,
    agent_id: i64,
    status: String,
    phase: String,
    attempt: i32,
    failures: i32,
    escrow: String,
    operator_reason: Option<String>,
    error_code: Option<String>,
    error: Option<String>,
    waiting_for: Option<String>,
    wake_at: OffsetDateTime,
    lease_owner: Option<String>,
    lease_until: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl WorkRow {
    fn view(self) -> Result<WorkView> {
        Ok(WorkView {
            id: RunId::from(self.id),
            user: self.user_account,
            agent_id: rows::number(self.agent_id, "agent_id")?,
            status: self.status,
            phase: self.phase,
            attempt: rows::number(i64::from(self.attempt), "attempt")?,
            failures: rows::number(i64::from(self.failures), "failures")?,
            escrow: self.escrow,
            operator_reason: self.operator_reason,
            error_code: self.error_code,
            error: self.error,
            waiting_for: self.waiting_for.filter(|text| !text.is_empty()),
            wake_at: self.wake_at,
            lease_owner: self.lease_owner,
            lease_until: self.lease_until,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

fn load_view(load: &Load) -> LoadView {
    let age = load.oldest_at.map(|at| (chassis::clock::now() - at).whole_milliseconds().max(0));
    LoadView {
        queued: load.queued,
        scheduled: load.scheduled,
        limited: load.limited,
        running: load.running,
        stuck: load.stuck,
        overdue: load.overdue,
        held: load.held,
        escrows_open: load.escrows_open,
        oldest_age_ms: age.and_then(|age| i64::try_from(age).ok()),
    }
}

fn limit(query: &RowsQuery) -> Result<u32> {
    let Some(text) = query.limit.as_deref() else { return Ok(MOST_ROWS) };
    text.parse().ok().filter(|limit| (1..=MOST_ROWS).contains(limit)).ok_or_else(|| {
        let text = format!("limit: expected a whole number from 1 to {MOST_ROWS}");
        Error::refused(Problem::InvalidRequest, text)
    })
}

/// Lists that are read whole take no cursor: one that is ignored would look heeded.
fn no_cursor(query: &RowsQuery) -> Result<()> {
    match query.cursor {
        None => Ok(()),
        Some(_) => {
            let text = "cursor: this list has one page";
            Err(Error::refused(Problem::InvalidRequest, text))
        }
    }
}

/// Later than every attempt, and a time that Postgres holds.
fn far_future() -> OffsetDateTime {
    time::macros::datetime!(9999-12-31 0:00 UTC)
}

/// The last row of a page, not meant to be read by anybody else.
fn encode(at: OffsetDateTime, run: Uuid, number: i32) -> String {
    let micros = at.unix_timestamp_nanos() / 1_000;
    hex::encode(format!("{micros} {} {number}", run.simple()))
}

fn decode(cursor: &str) -> Option<(OffsetDateTime, Uuid, i32)> {
    let text = String::from_utf8(hex::decode(cursor).ok()?).ok()?;
    let mut parts = text.split(' ');
    let nanos = parts.next()?.parse::<i128>().ok()?.checked_mul(1_000)?;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    let known = (1970..10_000).contains(&at.year());
    let (run, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (known && parts.next().is_none()).then_some((at, run, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_packs_comes_back_and_no_other_text_is_one() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_800_000_000_123_456_000).unwrap();
        let run = Uuid::from_u128(7);
        assert_eq!(decode(&encode(at, run, 3)), Some((at, run, 3)));
        for bad in ["", "zz", &hex::encode("1 2"), &hex::encode("9".repeat(40))] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
