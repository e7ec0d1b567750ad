//! What an operator has a run do: settle, void or reclaim it, by hand. The vault's state is asked
//! first; workers carry it out, with everything that they prove about a transaction (R13).

use std::time::Duration;

use chassis::postgres::{self, in_time};
use sqlx::{PgConnection, PgPool};
use tokio::time::{Instant, sleep};
use wire::{AttemptKey, RunId, Usage};

use crate::chain::call;
use crate::chain::store::calls::{self, Changes};
use crate::error::{Error, Result};
use crate::model::run::{Escrow, Snapshot};
use crate::model::settlement::{Failure, Settlement};
use crate::model::state::{Phase, Status};
use crate::operations::resolve::{self, Applied};
use crate::runs::{event, store};
use crate::sight::attempts;
use crate::sight::proof::{Evidence, Proof};
use crate::wakeups::wake_workers;

/// Between two looks at the run.
const EVERY: Duration = Duration::from_millis(200);

/// How a run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Settled as frozen, or with zero usage if nothing is.
    Finalize,
    /// Its escrow given back before the deadline.
    Void,
    /// Its escrow given back after the deadline.
    Reclaim,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Workers carry it out from here on.
    Started(String),
    /// It has ended already, as proven.
    Ended(String),
    /// It cannot be done; why.
    Refused(String),
    /// Nothing is known; why.
    Unknown(String),
}

impl Ending {
    const fn phase(self) -> Phase {
        match self {
            Self::Finalize => Phase::Settling,
            Self::Void => Phase::Voiding,
            Self::Reclaim => Phase::Reclaiming,
        }
    }
}

/// Lets workers take a run again that waits for an operator. What is proven about it is carried out
/// instead: a run whose escrow is known to be closed, or never to have been taken, ends at once.
///
/// # Errors
///
/// When the database or the node does not answer.
pub async fn resume(evidence: &Evidence<'_>, nats_prefix: &str, id: RunId) -> Result<Outcome> {
    let waits = sqlx::query_scalar!(
        r#"SELECT operator_reason IS NOT NULL AS "waits!" FROM runs WHERE id = $1"#,
        id.as_uuid(),
    );
    if waits.fetch_optional(in_time(evidence.db)).await? != Some(true) {
        let text = "there is no such run, or it does not wait for an operator";
        return Ok(Outcome::Refused(text.to_owned()));
    }
    let Some(asked) = attempts::asked(evidence.db, id).await? else {
        // Nothing was ever pinned for it, so nothing can have been opened.
        store::resume(evidence.db, id).await?;
        return Ok(Outcome::Started("workers take it again".to_owned()));
    };
    let proof = evidence.prove(&asked).await?;
    if let Proof::Unknown(why) = &proof {
        // Workers may learn what this command cannot, from a node that comes back.
        store::resume(evidence.db, id).await?;
        return Ok(Outcome::Started(format!("workers look again; {why}")));
    }
    match resolve::apply(evidence.db, nats_prefix, &asked, &proof).await? {
        Applied::Done(what) if matches!(proof, Proof::Open { .. }) => Ok(Outcome::Started(what)),
        Applied::Done(what) => Ok(Outcome::Ended(format!("{}; {what}", proof.text()))),
        Applied::Not(why) => Ok(Outcome::Refused(why)),
    }
}

/// Has a run end this way.
///
/// # Errors
///
/// When the database or the node does not answer.
pub async fn end(
    evidence: &Evidence<'_>,
    nats_prefix: &str,
    id: RunId,
    ending: Ending,
    reason: &str,
) -> Result<Outcome> {
    let Some(asked) = attempts::asked(evidence.db, id).await? else {
        let text = "there is no such run, or it was never opened; cancel it instead";
        return Ok(Outcome::Refused(text.to_owned()));
    };
    let proof = evidence.prove(&asked).await?;
    let deadline = match &proof {
        Proof::Open { deadline } => *deadline,
        Proof::Unknown(why) => return Ok(Outcome::Unknown(why.clone())),
        // It is closed: all that is left is to say so here, if that was not done.
        closed => {
            let text = closed.text();
            return match resolve::apply(evidence.db, nats_prefix, &asked, closed).await? {
                Applied::Done(what) => Ok(Outcome::Ended(format!("{text}; {what}"))),
                Applied::Not(_) => Ok(Outcome::Ended(text)),
            };
        }
    };
    let now = evidence.rpc.clock().await?.latest_close;
    match ending {
        Ending::Reclaim if now < deadline => {
            return Ok(Outcome::Refused(format!(
                "its deadline is {deadline}, and the ledger's time is {now}: void it instead"
            )));
        }
        Ending::Finalize | Ending::Void if now >= deadline => {
            return Ok(Outcome::Refused(format!(
                "its deadline {deadline} has passed: reclaim it instead"
            )));
        }
        Ending::Finalize | Ending::Void | Ending::Reclaim => {}
    }
    start(evidence.db, id, ending, reason).await
}

/// Takes the run to the phase that ends it, under its lock.
async fn start(db: &PgPool, id: RunId, ending: Ending, reason: &str) -> Result<Outcome> {
    let mut tx = chassis::postgres::begin(db).await?;
    store::lock(&mut tx, id).await?;
    let snapshot = store::load(&mut tx, id).await?.ok_or(Error::LeaseLost(id))?;
    let to = ending.phase();
    if snapshot.run.phase == to && snapshot.run.operator_reason.is_none() {
        return Ok(Outcome::Started("workers are at it already".to_owned()));
    }
    if let Some(kind) = in_the_air(&mut tx, &snapshot).await? {
        return Ok(Outcome::Refused(format!(
            "a transaction of this run ({kind}) may still land; try again when it has ended"
        )));
    }
    if matches!(snapshot.run.phase, Phase::Done | Phase::Queued | Phase::Opening) {
        let phase = snapshot.run.phase;
        return Ok(Outcome::Refused(format!(
            "the run is {phase}: `runner reconcile` says what can be done"
        )));
    }
    if ending == Ending::Finalize && snapshot.attempt.settlement.is_none() {
        if let Some(refused) = freeze_zero(&mut tx, &snapshot, reason).await? {
            return Ok(Outcome::Refused(refused));
        }
    } else {
        let failure = Failure::new("ENDED_BY_OPERATOR", reason);
        store::note_failure(&mut tx, snapshot.key(), &failure).await?;
    }
    // What no sender has signed yet is called off; the run's step wants what it needs.
    let withdrawn = calls::withdraw_all(&mut tx, snapshot.key()).await?;
    // The worker that holds it, if one does, loses it.
    sqlx::query!(
        "UPDATE runs SET phase = $2, status = CASE WHEN $2 = 'settling' THEN 'finalizing'
                ELSE status END,
            operator_reason = NULL, failures = 0, waiting_for = NULL, wake_at = now(),
            lease_token = lease_token + 1, lease_owner = NULL, lease_until = NULL,
            updated_at = now()
         WHERE id = $1",
        id.as_uuid(),
        to.name(),
    )
    .execute(in_time(&mut *tx))
    .await?;
    wake_workers(&mut tx).await?;
    postgres::commit(tx).await?;
    call::count_ends(&withdrawn);
    Ok(Outcome::Started(format!("workers take it to its end: it is {to}")))
}

/// Ends a run for which nothing was ever signed. The caller has locked it and knows that. It counts
/// the calls that are answered once it has committed.
///
/// # Errors
///
/// When the database does not answer.
pub(super) async fn end_unsigned(
    conn: &mut PgConnection,
    nats_prefix: &str,
    snapshot: &Snapshot,
    reason: &str,
    status: Status,
) -> Result<Changes> {
    let now = chassis::clock::now();
    let failure = Failure::new("ENDED_BY_OPERATOR", reason);
    store::note_failure(conn, snapshot.key(), &failure).await?;
    store::close(conn, snapshot.key(), Escrow::None, None, now).await?;
    let withdrawn = calls::withdraw_all(conn, snapshot.key()).await?;
    resolve::end(conn, snapshot.run.id, status).await?;
    event::publish(conn, nats_prefix, snapshot.run.id, now).await?;
    Ok(withdrawn)
}

/// Freezes a settlement with zero usage; why not, if it may not be.
async fn freeze_zero(
    conn: &mut PgConnection,
    snapshot: &Snapshot,
    reason: &str,
) -> Result<Option<String>> {
    let is_held = snapshot.run.operator_reason.is_some();
    if snapshot.attempt.execute_started_at.is_some() && !is_held {
        let text = "its module has started: what was metered is settled when it has ended";
        return Ok(Some(text.to_owned()));
    }
    let failure = Failure::new("ENDED_BY_OPERATOR", reason);
    let key = AttemptKey::new(snapshot.run.id, snapshot.run.attempt);
    let output_hash = wire::failure::digest(key, &failure.code, &failure.reason);
    let (usage, failure) = (Usage::default(), Some(failure));
    let settlement = Settlement { usage, output_hash, failure, attestation: None };
    store::freeze(conn, snapshot.key(), None, &settlement).await?;
    Ok(None)
}

/// The kind of a transaction of this attempt that may still land, if there is one.
async fn in_the_air(conn: &mut PgConnection, snapshot: &Snapshot) -> Result<Option<String>> {
    let found = sqlx::query_scalar!(
        "SELECT c.kind FROM calls c JOIN transaction_calls m ON m.call_id = c.id
            WHERE c.run_id = $1 AND c.attempt = $2 AND m.live LIMIT 1",
        snapshot.run.id.as_uuid(),
        i32::try_from(snapshot.run.attempt).unwrap_or(i32::MAX),
    );
    Ok(found.fetch_optional(in_time(conn)).await?)
}

/// Waits until the run has ended, or for `patience`. Whether it has.
///
/// # Errors
///
/// When the database does not answer.
pub async fn ended(db: &PgPool, id: RunId, patience: Duration) -> Result<bool> {
    let give_up_at = Instant::now() + patience;
    loop {
        let done = sqlx::query_scalar!(
            r#"SELECT phase = 'done' AS "done!" FROM runs WHERE id = $1"#,
            id.as_uuid(),
        );
        if done.fetch_one(in_time(db)).await? {
            return Ok(true);
        }
        if Instant::now() >= give_up_at {
            return Ok(false);
        }
        sleep(EVERY).await;
    }
}
