//! Seals one attempt of a run: statement, bytes, pack, seal, facts view, check (O13).
//!
//! The intent is a row before anything is written to the store, and holds everything that decides
//! what is written; so every step gives the same bytes however often it is repeated, by whichever
//! process. The result and the event `sealed` become true in one transaction at the end. A row
//! without a result is completed by the next call for it, or when the service starts.

mod claims;
mod pack;
pub mod record;
mod view;

use chassis::telemetry;
use seal::SealStatus;
use time::OffsetDateTime;
use tracing::Instrument as _;
use wire::{Problem, RunId};

pub use claims::Claims;
pub use record::{CheckResult, Draft, Intent, Sealed};

use crate::Gate;
use crate::crash;
use crate::error::Error;
use crate::reasons::Reason;
use crate::sealing::{self, Order};
use crate::store;

/// Seals the draft, or answers the seal that equals it. The flag says whether it was there already.
///
/// # Errors
/// [`Problem::StatementInvalid`] if a statement does not verify or is of another run;
/// [`Problem::SealMismatch`] if this attempt is, or is being, sealed with another statement;
/// [`Problem::DigestMismatch`] if staged bytes are not the statement's; [`Problem::Unavailable`]
/// when the same call may complete it later.
pub async fn seal(gate: &Gate, draft: Draft, now: OffsetDateTime) -> Result<(Sealed, bool), Error> {
    // Before anything is kept: an intent that no statement bears out would block its attempt.
    Claims::verify(&gate.rules.keys, &draft)?;
    let intent = Intent {
        nonce: hex::encode(rand::random::<[u8; 16]>()),
        created_at: now,
        policy_rev: gate.policy_rev.clone(),
        catalogue: gate.rules.catalogue.digest(),
        gate_map: gate.rules.gate_map.digest(),
        sealed: None,
        draft,
    };
    let stored = store::open(&gate.db, &intent).await?;
    crash::point("intent.after_row");
    // By what was signed. Plan, record and trace may differ from call to call; the first are kept.
    let same = stored.draft.statement == intent.draft.statement
        && stored.draft.workflow_id == intent.draft.workflow_id;
    if !same {
        let text = "this attempt is sealed, or being sealed, with another statement";
        return Err(Error::refused(Problem::SealMismatch, text));
    }
    match stored.sealed.clone() {
        Some(sealed) => Ok((sealed, true)),
        None => {
            let sealed = complete(gate, &stored).await?;
            let existed = sealed.existed;
            Ok((sealed, existed))
        }
    }
}

/// Completes every intent that has no result, as a crash leaves them. What cannot be completed now
/// stays open and is tried again by its next call or the next start.
///
/// # Errors
/// When the database cannot be read.
pub async fn settle_open(gate: &Gate) -> Result<(), Error> {
    let open = store::unsettled(&gate.db).await?;
    settle(gate, open).await
}

/// Completes these intents, as [`settle_open`] does.
///
/// # Errors
/// When the database cannot be read.
pub async fn settle(gate: &Gate, open: Vec<(RunId, u32)>) -> Result<(), Error> {
    for (run, attempt) in open {
        let Some(intent) = store::find(&gate.db, run, attempt).await? else { continue };
        // The trace of the call that began it, which is the run's.
        let span = tracing::info_span!("seal", run.id = %run, attempt);
        if let Some(traceparent) = &intent.draft.traceparent {
            telemetry::continue_trace(traceparent, &span);
        }
        settle_one(gate, &intent).instrument(span).await;
    }
    Ok(())
}

async fn settle_one(gate: &Gate, intent: &Intent) {
    let (run, attempt) = (intent.draft.run, intent.draft.attempt);
    match complete(gate, intent).await {
        Ok(sealed) => {
            let pack = sealed.pack_id;
            tracing::info!(run.id = %run, attempt, %pack, "completed the seal of run {run}");
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            let cause = format!("{error:#}");
            tracing::warn!(run.id = %run, attempt, cause, "cannot complete the seal yet");
        }
    }
}

/// Does whatever is still missing, and records the result.
async fn complete(gate: &Gate, intent: &Intent) -> Result<Sealed, Error> {
    let _slot = gate.seal_slots.acquire().await.map_err(Error::internal)?;
    // The intent may be older than this process, and the accepted keys others by now.
    let claims = Claims::verify(&gate.rules.keys, &intent.draft)?;
    let probe = gate.probe(intent.created_at).await?;
    let manifest = pack::manifest(&claims, intent)?;
    pack::fill(gate, &claims, intent, &manifest).await?;
    crash::point("pack.after_fill");
    let status = if claims.passed() { SealStatus::Ok } else { SealStatus::Failed };
    let order = Order {
        root: &pack::root(manifest.oracle_pack_id),
        manifest: seal::Manifest::new(manifest, None),
        status,
        nonce: &intent.nonce,
        probe,
        now: intent.created_at,
        seen: None,
    };
    let closed = sealing::close(&gate.objects, &order).await?;
    let mut sealed = Sealed {
        pack_id: closed.pack_id,
        seal_digest: closed.seal_digest,
        manifest_digest: closed.manifest_digest,
        status,
        facts_ref: None,
        check: None,
        existed: closed.existed,
    };
    if claims.passed() {
        let (facts_ref, check) = view::publish(gate, &claims, intent, &sealed).await?;
        sealed.facts_ref = Some(facts_ref);
        sealed.check = Some(check);
    }
    crash::point("settle.before");
    store::settle(&gate.db, gate.bus_prefix(), intent, &sealed).await?;
    crash::point("settle.after");
    Ok(sealed)
}

/// The name of an attempt's documents: the run without dashes, a dot, the attempt.
pub fn name(run: RunId, attempt: u32) -> String {
    format!("{}.{attempt}", run.simple())
}

/// Codes of a check in the order of the table.
pub(crate) fn codes(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(|reason| reason.code().to_owned()).collect()
}
