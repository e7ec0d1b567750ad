//! The protocol of calls, transactions and channels as a model that is searched completely: the
//! rules of [`decide`](super::decide) against a network that loses requests and answers, nodes that
//! lag and forget, and processes that stop anywhere.
//!
//! **Bounds.** Two runs with one call at a time, two channels, two processes. A path has ledgers 0
//! to 4, and a long outage after any of them, after which no record lives. A transaction is valid
//! for one ledger. A path has three signings and one trouble: a lost lease with a request under
//! way, a fee bump, or a sequence number that another program uses. Sends, lost requests and
//! answers, crashes and look-ups are not limited: a third send is as good as a second, so that
//! there are finitely many states. A node lags by one ledger at most, and has all its history or
//! only its newest ledger. These are 363,567 states and 2,456,838 steps, in about ten seconds
//! without optimisation. `LUMIO_LONG=1` allows two troubles, a life of two ledgers and a ledger
//! after the outage: 3,714,708 states and 34,617,973 steps, in about two minutes. The test prints
//! the numbers of each start (`-- --nocapture`).
//!
//! **What is one step.** What a process learns and what it stores of it are one step: what it
//! learns of a transaction's end stays true, and the store refuses to end a transaction twice. So a
//! process remembers nothing but the request whose answer it waits for, and a crash is the loss of
//! that. A lost lease leaves the request, and who waits for it, beside the new holder; a request
//! that outlives its process is that too. Runs are alike, and so are channels: states that differ
//! in numbers only are one.
//!
//! **What is left out.** What the vault says of its own state in other words than done or refused,
//! pauses, and closings by somebody else.
//!
//! The search is a few lines of its own, as the checkers that there are bring more than a search
//! needs: stateright's has a web server for looking at states.

mod state;
mod steps;
mod claims;
mod search;

use std::collections::BTreeSet;

use search::{Searched, search};
use state::{Budget, Call, Kind, Place, Run, State};
use steps::{Action, Bounds, Learned, Model};

use super::decide::{
    AfterEnd, AfterLookup, AfterSend, AfterState, Answered, End, Found, Lookup, Record, SendAnswer,
    Signed, after_end, after_lookup, after_send, after_state,
};

/// What is asked of each answer.
#[derive(Debug, Clone, Copy)]
struct Rules {
    after_send: fn(bool, SendAnswer) -> AfterSend,
    after_lookup: fn(Signed, Lookup, u32) -> AfterLookup,
    after_state: fn(bool, Record, u32, u32) -> AfterState,
    after_end: fn(End, usize, Answered, Option<AfterState>) -> AfterEnd,
    /// Whether a rejection may be stored of what was counted as sent so often: a condition of the
    /// statement that ends a transaction ([`store::end`](super::store::end)).
    may_reject: fn(u8) -> bool,
}

const RULES: Rules =
    Rules { after_send, after_lookup, after_state, after_end, may_reject: |sends| sends == 1 };

const BOUNDS: Bounds =
    Bounds { ledgers: 4, after_outage: 0, life: 1, budget: Budget { signings: 3, troubles: 1 } };

const LONG_BOUNDS: Bounds =
    Bounds { ledgers: 4, after_outage: 1, life: 2, budget: Budget { signings: 3, troubles: 2 } };

/// Everything that has to happen somewhere, or the model shows nothing.
const EVERYTHING: [&str; 18] = [
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
];

/// The deadline of runs that are open from the beginning.
const DEADLINE: u8 = 3;

const OPENING: Run = Run::new(Kind::Open, 0);
const SETTLEMENT: Run = Run::new(Kind::Finalize, DEADLINE);

/// Where the searches begin.
const STARTS: [(&str, [Run; 2]); 4] = [
    ("two openings", [OPENING; 2]),
    ("an opening and a settlement", [OPENING, SETTLEMENT]),
    ("two settlements", [SETTLEMENT; 2]),
    (
        "a refund before its deadline and one after it",
        [Run::new(Kind::Void, DEADLINE), Run::new(Kind::Reclaim, 0)],
    ),
];

fn bounds() -> Bounds {
    if std::env::var_os("LUMIO_LONG").is_some() { LONG_BOUNDS } else { BOUNDS }
}

fn start(runs: [Run; 2], bounds: Bounds) -> State {
    State { ledger: 0, seen: true, runs, channels: Default::default(), budget: bounds.budget }
}

fn search_all(runs: [Run; 2], rules: Rules) -> Result<Searched, search::Counterexample> {
    let bounds = bounds();
    search(&Model { rules, bounds }, start(runs, bounds))
}

/// Whether nothing is left to do for anybody but an operator.
fn is_over(state: &State) -> bool {
    state.runs.iter().all(|run| matches!(run.call, Call::Unknown | Call::Ended(_)))
}

/// Goes on from a state while the network is whole, and answers where that ends.
fn go_on(mut state: State) -> State {
    let bounds = Bounds { ledgers: 40, after_outage: 40, ..BOUNDS };
    let model = Model { rules: RULES, bounds };
    state.budget = Budget { signings: 40, troubles: 0 };
    for _ in 0..400 {
        if is_over(&state) {
            break;
        }
        let next = model.successors(&state).into_iter();
        let best = next.filter_map(|(action, after)| Some((turn(&state, &action)?, after)));
        let Some((_, after)) = best.min_by_key(|(turn, _)| *turn) else { break };
        state = after;
    }
    state
}

/// Which step comes first while the network is whole; `None` for one that does not come.
fn turn(state: &State, action: &Action) -> Option<usize> {
    match action {
        Action::Conclude { learned: Learned::Rejected, .. } => None,
        Action::Conclude { .. } => Some(0),
        Action::Step { .. } | Action::TooLate { .. } => Some(1),
        Action::Sign { .. } => Some(2),
        Action::Answer { arrives: true, .. } => Some(3),
        Action::Send { channel } => {
            let live = state.channels[*channel].live;
            live.is_some_and(|live| live.place == Place::Nowhere).then_some(4)
        }
        // The more land the better.
        Action::Close { landed } => Some(10 - landed),
        _ => None,
    }
}

#[test]
fn no_call_is_signed_while_it_can_land_nor_done_twice_nor_forgotten() {
    let mut reached = BTreeSet::new();
    for (name, runs) in STARTS {
        let searched = match search_all(runs, RULES) {
            Ok(searched) => searched,
            Err(found) => panic!("{name}: {}\n{}", found.broken, found.way),
        };
        let Searched { states, steps, reached: here } = searched;
        eprintln!("{name}: {} states, {steps} steps", states.len());
        reached.extend(here);
        for state in &states {
            let mut channels = state.channels.iter();
            let has_ended = channels.all(|channel| channel.left.is_none());
            assert!(has_ended, "a transaction can land that is stored as ended: {state:?}");
        }
        // However it went, everything comes to an end by itself when the network is whole.
        for state in states.iter().step_by((states.len() / 500).max(1)) {
            let last = go_on(*state);
            assert!(is_over(&last), "{name}: from {state:?}\n{last:?} is never over");
        }
    }
    assert_eq!(reached, BTreeSet::from(EVERYTHING));
}

#[test]
fn wrong_rules_lead_to_a_call_that_is_signed_too_early_or_told_wrongly() {
    let wrong_rules = [
        (
            "absence in a ledger before the one that used the sequence number is an expiry",
            Rules {
                after_lookup: |signed, lookup, high_water| {
                    let sequence_used_at = lookup.sequence_used_at.map(|_| 0);
                    after_lookup(signed, Lookup { sequence_used_at, ..lookup }, high_water)
                },
                ..RULES
            },
        ),
        (
            "what is not found is signed anew before it expires",
            Rules {
                after_lookup: |signed, lookup, high_water| match lookup.found {
                    Found::NotFound => AfterLookup::Expired,
                    Found::Success | Found::Failed => after_lookup(signed, lookup, high_water),
                },
                ..RULES
            },
        ),
        (
            "the refusal of a first send counts though another was sent meanwhile",
            Rules { may_reject: |_| true, ..RULES },
        ),
        (
            "a send without an answer was refused",
            Rules {
                after_send: |is_first, answer| match answer {
                    SendAnswer::None => AfterSend::Rejected,
                    _ => after_send(is_first, answer),
                },
                ..RULES
            },
        ),
        (
            "a record that may have reached the end of its life was never there",
            Rules {
                after_state: |opens, record, ledger, _| {
                    after_state(opens, record, ledger, u32::MAX)
                },
                ..RULES
            },
        ),
        (
            "a transaction that landed without an answer is signed again",
            Rules {
                after_end: |end, together, answered, state| match (end, answered) {
                    (End::Succeeded, Answered::Nothing) => AfterEnd::Again,
                    _ => after_end(end, together, answered, state),
                },
                ..RULES
            },
        ),
    ];
    for (what, rules) in wrong_rules {
        match search_all([OPENING; 2], rules) {
            Ok(searched) => panic!("nothing is wrong in {} states: {what}", searched.states.len()),
            Err(found) => eprintln!("{what}:\n{}\n{}\n", found.broken, found.way),
        }
    }
}
