//! Between what a node answers, what the rules ask and what is stored.

use stellar::ChainError;
use stellar::rpc::{Outcome, SendAnswer as Answered};
use stellar_xdr::{Limits, WriteXdr as _};

use crate::chain::decide::{Found, SendAnswer};
use crate::chain::transaction::Landed;
use crate::error::{Error, Result};

/// What is stored of a transaction that is in the ledger.
pub(super) fn landed(outcome: &Outcome) -> Result<Option<Landed>> {
    let Outcome::Applied(applied) = outcome else { return Ok(None) };
    let result = applied.value.as_ref().map(|value| value.to_xdr(limits())).transpose();
    let result = result.map_err(|error| Error::Broken(error.to_string()))?;
    Ok(Some(Landed {
        result,
        ledger: applied.ledger,
        closed_at: applied.close_time,
        fee_charged: Some(applied.fee_charged),
    }))
}

fn limits() -> Limits {
    Limits { depth: 100, len: 1024 * 1024 }
}

/// A look-up's outcome, as the rules take it.
pub(super) fn found(outcome: &Outcome) -> Found {
    match outcome {
        Outcome::NotFound => Found::NotFound,
        Outcome::Applied(applied) if applied.success => Found::Success,
        Outcome::Applied(_) => Found::Failed,
    }
}

/// Why a transaction that landed did nothing: the vault's error, if it was one, and words.
pub(super) fn failure(outcome: &Outcome) -> (Option<u32>, String) {
    let Outcome::Applied(applied) = outcome else { return (None, String::new()) };
    match applied.contract_error(stellar::ContractKind::Vault) {
        Some(error) => (Some(error.code), error.to_string()),
        None => (None, applied.code.clone()),
    }
}

/// A send's answer, as the rules take it, and its words.
pub(super) fn classify(answer: Result<Answered, ChainError>) -> (SendAnswer, String) {
    match answer {
        Ok(Answered::Pending) => (SendAnswer::Pending, "PENDING".to_owned()),
        Ok(Answered::Duplicate) => (SendAnswer::Duplicate, "DUPLICATE".to_owned()),
        Ok(Answered::TryAgainLater) => (SendAnswer::TryAgainLater, "TRY_AGAIN_LATER".to_owned()),
        Ok(Answered::Rejected(refusal)) if refusal.definite => {
            (SendAnswer::RefusedForGood, refusal.code)
        }
        Ok(Answered::Rejected(refusal)) => (SendAnswer::Refused, refusal.code),
        Err(error) => (SendAnswer::None, error.to_string()),
    }
}
