//! What must happen somewhere.

use super::state::{Call, Escrow, RunEnd, State};
use super::steps::{Action, Learned};
use crate::chain::decide::AfterEnd;

/// A state was in the sample of those that are followed to their end.
pub(super) const FOLLOWED: &str = "followed to its end";

/// Everything that has to happen somewhere, or the model shows nothing.
pub(super) const EVERYTHING: [&str; 19] = [
    "succeeded",
    "unreadable",
    "failed",
    "rejected",
    "expired",
    "forgotten",
    "done",
    "done by state",
    "again",
    "split",
    "refused",
    "unknown",
    "withdrawn",
    "too late",
    "never opened",
    "settled",
    "voided",
    "reclaimed",
    FOLLOWED,
];

/// What has happened in a step.
pub(super) fn happened(action: &Action, after: &State) -> Vec<&'static str> {
    match action {
        Action::Conclude { learned, follows, .. } => {
            let learned = match learned {
                Learned::Succeeded => "succeeded",
                Learned::Unreadable => "unreadable",
                Learned::Failed => "failed",
                Learned::Rejected => "rejected",
                Learned::Expired { .. } => "expired",
                Learned::Forgotten { .. } => "forgotten",
            };
            let follows = follows.iter().flatten().map(|follows| match follows {
                AfterEnd::Done => "done",
                AfterEnd::DoneByState => "done by state",
                AfterEnd::Again => "again",
                AfterEnd::Split => "split",
                AfterEnd::Refused => "refused",
                AfterEnd::Unknown => "unknown",
            });
            follows.chain([learned]).collect()
        }
        Action::Withdraw { .. } => vec!["withdrawn"],
        Action::TooLate { .. } => vec!["too late"],
        Action::Step { .. } => {
            let ends = after.runs.iter().filter_map(|run| match (run.call, run.escrow) {
                (Call::Ended(RunEnd::NeverOpened), _) => Some("never opened"),
                (Call::Ended(RunEnd::Settled), _) => Some("settled"),
                (Call::Ended(RunEnd::GivenBack), Escrow::Voided) => Some("voided"),
                (Call::Ended(RunEnd::GivenBack), _) => Some("reclaimed"),
                _ => None,
            });
            ends.collect()
        }
        _ => vec![],
    }
}
