//! The execution lies between its opening and its settlement.

use super::stated::Stated;
use super::{Case, Link, Name};
use crate::verify::facts::CLOCK_SLACK;

/// A statement from before the opening, or from after the settlement, is of another execution than
/// the one that was paid for.
pub(super) fn link(case: &Case<'_>, stated: Option<&Stated>) -> Link {
    let Some(stated) = stated else {
        return Link::unknown(Name::Times, "there is no verified statement to compare with");
    };
    let Some(terms) = &case.terms else {
        return Link::unknown(Name::Times, "without terms the opening's time is not known");
    };
    let seconds = |at: time::OffsetDateTime| u64::try_from(at.unix_timestamp()).unwrap_or_default();
    let (started, finished) =
        (seconds(stated.execution.started_at), seconds(stated.execution.finished_at));

    // Both are the vault's own words; the receipt is there when the event has left the node.
    let event = case.shown.and_then(|shown| shown.finalized.as_ref());
    let receipt = case.receipt.as_ref().map(|(_, receipt)| receipt.finalized_at);
    let settled = event.map(|event| event.finalized_at).or(receipt);

    // The statement's clock is module-gate's, the chain's is its validators': each bound is widened
    // by the slack, on the side that could blame an honest run.
    let early = (started.saturating_add(CLOCK_SLACK) < terms.opened_at).then(|| {
        let gap = crate::times::span(terms.opened_at - started);
        format!("the module is said to have started {gap} before the attempt was opened")
    });
    let late = settled.filter(|settled| finished > settled.saturating_add(CLOCK_SLACK));
    let late = late.map(|settled| {
        let gap = crate::times::span(finished - settled);
        format!("the module is said to have finished {gap} after the attempt was settled")
    });
    let detail = match settled {
        Some(_) => format!(
            "executed between opening and settlement (clocks may differ by {CLOCK_SLACK} s)"
        ),
        None => format!(
            "started after the opening (clocks may differ by {CLOCK_SLACK} s); the settlement's \
             time is not at hand"
        ),
    };
    Link::unless(Name::Times, detail, early.into_iter().chain(late))
}
