//! Dead letters: runs that no worker can go on with. A person has to decide about their outcome
//! (R13), or their escrow stays open until a retry or the deadline (R3).
//!
//! Both ways out ask contract state first. A replay never executes, charges or opens anything a
//! second time that is not proven to have come to nothing; a discard never leaves money behind.

use chassis::postgres;
use serde::Serialize;
use wire::{Problem, RunId, RunView};

use crate::chain::call;
use crate::error::{Error, Result};
use crate::model::run::Snapshot;
use crate::model::state::{Phase, Status};
use crate::operations::by_hand::{self, Ending, Outcome};
use crate::operations::intake;
use crate::runs::store;
use crate::sight::attempts::asked;
use crate::sight::proof::{Evidence, Proof};
use crate::view::attempts;
use crate::view::transactions::{self, AttemptWithTransactions};
use crate::wakeups::wake_workers;

/// A dead letter with everything that is known about it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The run, with every attempt.
    pub run: RunView,
    /// Every attempt with the transactions that were signed for it.
    pub attempts: Vec<AttemptWithTransactions>,
    /// What contract state proves: open, settled, returned, never_opened or unknown; `unopened` if
    /// nothing was ever signed for it.
    pub proof: &'static str,
    /// The same in words.
    pub proof_text: String,
    /// What can be done.
    pub action: String,
}

/// Shows a run that no worker can go on with. `None` if there is no such run.
///
/// # Errors
///
/// When the database or the node does not answer.
pub async fn show(evidence: &Evidence<'_>, id: RunId) -> Result<Option<DeadLetter>> {
    let mut conn = evidence.db.acquire().await?;
    let Some(snapshot) = store::load(&mut conn, id).await? else { return Ok(None) };
    drop(conn);
    let (proof, proof_text) = match asked(evidence.db, id).await? {
        None => ("unopened", "nothing was ever signed for it".to_owned()),
        Some(asked) => {
            let proof = evidence.prove(&asked).await?;
            (proof.name(), proof.text())
        }
    };
    Ok(Some(DeadLetter {
        run: attempts::view(evidence.db, &snapshot).await?,
        attempts: transactions::of_attempts(evidence.db, &snapshot).await?,
        proof,
        proof_text,
        action: action(&snapshot, proof).to_owned(),
    }))
}

fn action(snapshot: &Snapshot, proof: &str) -> &'static str {
    match (is_dead(snapshot), snapshot.run.phase, proof) {
        (false, ..) => "it is no dead letter: workers go on with it, or it has ended",
        (true, _, "settled" | "returned" | "never_opened") => {
            "replay or discard it: both end it as it is proven"
        }
        (true, Phase::Reclaiming, _) => "workers give its escrow back after the deadline",
        (true, Phase::EscrowOpen, _) => {
            "replay it to settle this attempt with zero and try again; discard it to give its \
             escrow back"
        }
        (true, _, "open") => {
            "replay it to let workers go on with it; discard it to give its escrow back"
        }
        (true, _, "unopened") => "replay it to let workers take it again; discard it to end it",
        (true, ..) => {
            "replay it to let workers look again; ask a node with full history before anything else"
        }
    }
}

/// Whether no worker can go on with the run.
fn is_dead(snapshot: &Snapshot) -> bool {
    let waits = matches!(snapshot.run.phase, Phase::EscrowOpen | Phase::Reclaiming);
    snapshot.run.phase != Phase::Done && (snapshot.run.operator_reason.is_some() || waits)
}

/// Has workers go on with a dead letter. What is proven about it is carried out instead: one whose
/// escrow is known to be closed ends. An escrow that stayed open is settled with zero before the
/// next attempt begins (R2).
///
/// # Errors
///
/// When the database or the node does not answer.
pub async fn replay(evidence: &Evidence<'_>, nats_prefix: &str, id: RunId) -> Result<Outcome> {
    let Some(snapshot) = find(evidence, id).await? else { return Ok(no_such_run()) };
    if snapshot.run.operator_reason.is_some() {
        return by_hand::resume(evidence, nats_prefix, id).await;
    }
    match snapshot.run.phase {
        Phase::EscrowOpen => retry(evidence, id).await,
        Phase::Reclaiming => {
            let text =
                "workers give its escrow back after the deadline: there is nothing to replay";
            Ok(Outcome::Refused(text.to_owned()))
        }
        _ => Ok(not_dead(&snapshot)),
    }
}

/// Gives a dead letter up: what the vault holds of it goes back to the user, and it ends.
///
/// # Errors
///
/// When the database or the node does not answer.
pub async fn discard(
    evidence: &Evidence<'_>,
    nats_prefix: &str,
    id: RunId,
    reason: &str,
) -> Result<Outcome> {
    let Some(snapshot) = find(evidence, id).await? else { return Ok(no_such_run()) };
    if !is_dead(&snapshot) {
        return Ok(not_dead(&snapshot));
    }
    if snapshot.run.phase == Phase::Reclaiming && snapshot.run.operator_reason.is_none() {
        let text = "it is given up already: workers give its escrow back after the deadline";
        return Ok(Outcome::Started(text.to_owned()));
    }
    let Some(asked) = asked(evidence.db, id).await? else {
        return end_unopened(evidence, nats_prefix, id, reason).await;
    };
    let ending = match evidence.prove(&asked).await? {
        Proof::Open { deadline } if evidence.rpc.clock().await?.latest_close >= deadline => {
            Ending::Reclaim
        }
        // What is closed is ended as it is proven; what is not known is answered as such.
        _ => Ending::Void,
    };
    by_hand::end(evidence, nats_prefix, id, ending, reason).await
}

async fn find(evidence: &Evidence<'_>, id: RunId) -> Result<Option<Snapshot>> {
    store::load(&mut *evidence.db.acquire().await?, id).await
}

/// Asks for another attempt; the escrow of this one is settled with zero first.
async fn retry(evidence: &Evidence<'_>, id: RunId) -> Result<Outcome> {
    let mut tx = chassis::postgres::begin(evidence.db).await?;
    store::lock(&mut tx, id).await?;
    let Some(snapshot) = store::load(&mut tx, id).await? else { return Ok(no_such_run()) };
    if snapshot.run.phase != Phase::EscrowOpen || snapshot.run.operator_reason.is_some() {
        return Ok(Outcome::Refused("the run has moved on meanwhile".to_owned()));
    }
    let request = &snapshot.run.request;
    match intake::check(&mut tx, request.user, request.agent_id).await {
        Err(error @ Error::IntakePaused { .. }) => {
            return Ok(Outcome::Refused(format!("{error}: another attempt is a new opening")));
        }
        checked => checked?,
    }
    store::request_retry(&mut tx, id).await?;
    wake_workers(&mut tx).await?;
    postgres::commit(tx).await?;
    let text = "workers settle this attempt with zero, and begin the next one";
    Ok(Outcome::Started(text.to_owned()))
}

/// Ends a run for which nothing was ever signed: no money can have moved.
async fn end_unopened(
    evidence: &Evidence<'_>,
    nats_prefix: &str,
    id: RunId,
    reason: &str,
) -> Result<Outcome> {
    let mut tx = chassis::postgres::begin(evidence.db).await?;
    store::lock(&mut tx, id).await?;
    let Some(snapshot) = store::load(&mut tx, id).await? else { return Ok(no_such_run()) };
    // Under the lock, since a sender may have signed its opening since it was looked at.
    let is_unsigned = snapshot.attempt.vault_run_id.is_none()
        && snapshot.run.phase == Phase::Queued
        && snapshot.run.operator_reason.is_some();
    if !is_unsigned {
        return Ok(Outcome::Refused("the run has moved on meanwhile".to_owned()));
    }
    let withdrawn =
        by_hand::end_unsigned(&mut tx, nats_prefix, &snapshot, reason, Status::Failed).await?;
    postgres::commit(tx).await?;
    call::count_ends(&withdrawn);
    Ok(Outcome::Ended("it ended; nothing was ever signed for it".to_owned()))
}

fn no_such_run() -> Outcome {
    Outcome::Refused("there is no such run".to_owned())
}

fn not_dead(snapshot: &Snapshot) -> Outcome {
    let (phase, status) = (snapshot.run.phase, snapshot.run.status);
    Outcome::Refused(format!("it is no dead letter: its phase is {phase} ({status})"))
}

/// The answer to an order over HTTP, or its refusal.
///
/// # Errors
///
/// [`Problem::Conflict`]-like refusals of the order, and [`Problem::Unavailable`] for what is not
/// known.
pub fn answered(outcome: Outcome, refusal: Problem) -> Result<(&'static str, String)> {
    match outcome {
        Outcome::Started(text) => Ok(("started", text)),
        Outcome::Ended(text) => Ok(("ended", text)),
        Outcome::Refused(text) => Err(Error::refused(refusal, text)),
        Outcome::Unknown(text) => {
            Err(Error::refused(Problem::Unavailable, format!("nothing is known: {text}")))
        }
    }
}
