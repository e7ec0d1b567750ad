//! Every state that can be reached, the nearest first.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

use super::claims;
use super::state::{Call, Escrow, RunEnd, State};
use super::steps::{Action, Learned, Model};
use crate::chain::decide::AfterEnd;

/// A search with more states is given up, before it takes all memory.
const MOST_STATES: usize = 6_000_000;

/// A search that found nothing wrong.
#[derive(Debug)]
pub(super) struct Searched {
    pub states: Vec<State>,
    pub steps: usize,
    /// What happened in any of the steps.
    pub reached: BTreeSet<&'static str>,
}

/// A shortest way to a state in which a claim does not hold.
#[derive(Debug)]
pub(super) struct Counterexample {
    pub broken: &'static str,
    pub way: String,
}

/// Goes through all states that follow from `start`, until a claim does not hold.
pub(super) fn search(model: &Model, start: State) -> Result<Searched, Counterexample> {
    let start = start.tidy();
    let mut known = HashSet::from([start]);
    // With the step that led to it first, and the place of the state before.
    let mut states = vec![start];
    let mut origins: Vec<Option<(usize, Action)>> = vec![None];
    let mut reached = BTreeSet::new();
    let (mut at, mut steps) = (0, 0);
    while at < states.len() {
        for (action, after) in model.successors(&states[at]) {
            steps += 1;
            note(&mut reached, &action, &after);
            if !known.insert(after) {
                continue;
            }
            states.push(after);
            origins.push(Some((at, action)));
            if let Some(broken) = claims::broken(&after) {
                return Err(Counterexample { broken, way: way(&states, &origins) });
            }
        }
        at += 1;
        assert!(states.len() < MOST_STATES, "the bounds of the model are too wide");
    }
    Ok(Searched { states, steps, reached })
}

/// The steps to the last state. Runs and channels may change places from one state to the next.
fn way(states: &[State], origins: &[Option<(usize, Action)>]) -> String {
    let mut at = states.len() - 1;
    let mut steps = vec![at];
    while let Some((before, _)) = &origins[at] {
        at = *before;
        steps.push(at);
    }
    steps.iter().rev().fold(String::new(), |mut text, at| {
        if let Some((_, action)) = &origins[*at] {
            let _ = writeln!(text, "{action:?}");
        }
        let _ = writeln!(text, "    {:?}", states[*at]);
        text
    })
}

/// Notes what has happened in a step.
fn note(reached: &mut BTreeSet<&'static str>, action: &Action, after: &State) {
    match action {
        Action::Conclude { learned, follows, .. } => {
            reached.insert(match learned {
                Learned::Succeeded => "succeeded",
                Learned::Unreadable => "unreadable",
                Learned::Failed => "failed",
                Learned::Rejected => "rejected",
                Learned::Expired { .. } => "expired",
                Learned::Forgotten { .. } => "forgotten",
            });
            reached.extend(follows.iter().flatten().map(|follows| match follows {
                AfterEnd::Done => "done",
                AfterEnd::DoneByState => "done by state",
                AfterEnd::Again => "again",
                AfterEnd::Split => "split",
                AfterEnd::Refused => "refused",
                AfterEnd::Unknown => "unknown",
            }));
        }
        Action::Withdraw { .. } => {
            reached.insert("withdrawn");
        }
        Action::TooLate { .. } => {
            reached.insert("too late");
        }
        Action::Step { .. } => {
            reached.extend(after.runs.iter().filter_map(|run| match (run.call, run.escrow) {
                (Call::Ended(RunEnd::NeverOpened), _) => Some("never opened"),
                (Call::Ended(RunEnd::Settled), _) => Some("settled"),
                (Call::Ended(RunEnd::GivenBack), Escrow::Voided) => Some("voided"),
                (Call::Ended(RunEnd::GivenBack), _) => Some("reclaimed"),
                _ => None,
            }));
        }
        _ => {}
    }
}
