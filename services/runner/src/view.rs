//! Runs as frontends and operators see them: what the database holds, as [`wire::RunView`].

use time::OffsetDateTime;
use wire::view::{AttemptOutcome, AttemptView, EscrowView, JsonText, PackView, TransactionHashes};

pub use wire::RunView;
pub use wire::view::Meters;

use crate::model::run::{Attempt, Escrow, Run, Snapshot};
use crate::model::settlement::CANCELLED;
use crate::model::state::{Phase, Status};
use crate::view::attempts::PastAttempt;

pub mod attempts;
pub mod transactions;

impl From<&Snapshot> for RunView {
    fn from(snapshot: &Snapshot) -> Self {
        let (run, attempt, request) = (&snapshot.run, &snapshot.attempt, &snapshot.run.request);
        let (error_code, error) = error_of(run, attempt);
        let pinned = attempt.terms.as_ref().map(|terms| terms.rate_version);
        Self {
            id: run.id,
            user: request.user.to_string(),
            agent_id: request.agent_id,
            rate_version: pinned.or(request.rate_version),
            budgets: request.budgets.into(),
            workflow_id: request.workflow_id.clone(),
            metadata: request.metadata.clone().and_then(|text| JsonText::new(text).ok()),
            label: request.label.clone(),
            status: run.status.into(),
            phase: phase(run).to_owned(),
            attempt: run.attempt,
            retries: run.attempt.saturating_sub(1),
            seed: request.seed,
            input_digest: request.input_digest,
            manifest_hash: attempt.manifest_hash,
            escrow: escrow(attempt.escrow),
            run_id: attempt.vault_run_id,
            deadline: deadline(attempt),
            usage: attempt.usage.map(Meters::from),
            upstreams: attempt.upstreams.clone(),
            output_hash: attempt.receipt.as_ref().map(|receipt| receipt.output_hash),
            receipt: attempt.receipt.clone(),
            pack: pack(attempt),
            error,
            error_code,
            waiting_for: run.waiting_for.clone().or_else(|| waits_for_start(run)),
            start_at: run.start_at,
            priority: run.priority,
            transaction_hashes: TransactionHashes {
                open: snapshot.open_transaction,
                finalize: snapshot.closing_transaction,
            },
            trace_id: run.trace_id().to_owned(),
            created_at: run.created_at,
            updated_at: run.updated_at,
            attempts: Vec::new(),
        }
    }
}

/// One attempt among all of a run's.
pub fn attempt_view(run: &Run, past: &PastAttempt) -> AttemptView {
    let attempt = &past.attempt;
    let (error_code, error) = match &attempt.failure {
        Some(failure) => (Some(failure.code.clone()), Some(failure.reason.clone())),
        None => (None, None),
    };
    AttemptView {
        attempt: attempt.number,
        outcome: outcome(run, attempt),
        escrow: escrow(attempt.escrow),
        run_id: attempt.vault_run_id,
        deadline: deadline(attempt),
        usage: attempt.usage.map(Meters::from),
        upstreams: attempt.upstreams.clone(),
        receipt: attempt.receipt.clone(),
        pack: pack(attempt),
        error,
        error_code,
        transaction_hashes: TransactionHashes {
            open: past.open_transaction,
            finalize: past.closing_transaction,
        },
        created_at: past.created_at,
        ended_at: past.ended_at,
    }
}

/// An attempt goes on only while it is the present one and its run's status is not a last one: that
/// of a failed run whose escrow waits for a retry or the deadline has failed.
fn outcome(run: &Run, attempt: &Attempt) -> AttemptOutcome {
    let has_ended = matches!(run.status, Status::Finalized | Status::Failed | Status::Cancelled);
    let goes_on = attempt.number == run.attempt && !has_ended;
    match &attempt.failure {
        _ if goes_on => AttemptOutcome::Running,
        Some(failure) if failure.code == CANCELLED => AttemptOutcome::Cancelled,
        Some(_) => AttemptOutcome::Failed,
        None if attempt.escrow == Escrow::Settled => AttemptOutcome::Delivered,
        None => AttemptOutcome::Failed,
    }
}

const fn phase(run: &Run) -> &'static str {
    if run.operator_reason.is_some() { "operator" } else { run.phase.name() }
}

const fn escrow(escrow: Escrow) -> EscrowView {
    match escrow {
        Escrow::None => EscrowView::None,
        Escrow::Open => EscrowView::Open,
        Escrow::Settled => EscrowView::Settled,
        Escrow::Returned => EscrowView::Returned,
    }
}

/// What went wrong, for programs and for people.
fn error_of(run: &Run, attempt: &Attempt) -> (Option<String>, Option<String>) {
    match (&run.operator_reason, &attempt.failure) {
        (Some(reason), _) => (Some("OUTCOME_UNKNOWN".to_owned()), Some(reason.clone())),
        (None, Some(failure)) => (Some(failure.code.clone()), Some(failure.reason.clone())),
        (None, None) => (None, None),
    }
}

/// In words, that the run's start is still to come.
fn waits_for_start(run: &Run) -> Option<String> {
    let start_at = run.start_at.filter(|_| run.phase == Phase::Queued)?;
    (start_at > chassis::clock::now()).then(|| format!("its start at {}", rfc3339(start_at)))
}

fn pack(attempt: &Attempt) -> Option<PackView> {
    let seal = attempt.seal.clone()?;
    let (pack_id, facts_ref) = (seal.pack_id, seal.facts_ref);
    Some(PackView { pack_id, seal_digest: seal.seal_digest, facts_ref })
}

fn deadline(attempt: &Attempt) -> Option<OffsetDateTime> {
    let seconds = i64::try_from(attempt.terms.as_ref()?.deadline).ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

/// A time as every answer spells it.
pub fn rfc3339(at: OffsetDateTime) -> String {
    chassis::clock::rfc3339(at)
}
