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
//! **The search** is stateright's, breadth first. Its action is a step together with the state that
//! the step leads to, as one look at a state finds both. [`State::tidy`] makes one of states that
//! are alike before the checker sees them: stateright's own symmetry reduction is for its
//! depth-first search, whose ways to a counterexample are not the shortest. The web server that
//! stateright has for looking at states is not used.

mod state;
mod steps;
mod claims;
mod reached;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::{iter, thread};

use stateright::{Checker as _, HasDiscoveries, Model as _, Path, Property};

use reached::{EVERYTHING, happened};
use state::{Budget, Kind, Run, State};
use steps::{Bounds, Model, Successor};

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

const BOUNDS: Bounds = Bounds {
    ledgers: 4,
    after_outage: 0,
    life: 1,
    budget: Budget { signings: 3, troubles: 1 },
    followed: 150,
};

const LONG_BOUNDS: Bounds = Bounds {
    after_outage: 1,
    life: 2,
    budget: Budget { troubles: 2, ..BOUNDS.budget },
    followed: 1_500,
    ..BOUNDS
};

/// A search with more steps is given up, before it takes all memory. The checker counts steps, of
/// which a state has fewer than ten on average.
const MOST_STEPS: usize = 60_000_000;

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

/// A search of everything that follows from one start.
struct Search {
    model: Model,
    start: State,
    claims: fn() -> Vec<Property<Self>>,
    /// What has happened in any of the steps. It is no part of the states, which would be more.
    reached: Mutex<BTreeSet<&'static str>>,
}

impl Search {
    fn new(runs: [Run; 2], rules: Rules, claims: fn() -> Vec<Property<Self>>) -> Self {
        let bounds = bounds();
        let channels = Default::default();
        let start = State { ledger: 0, seen: true, runs, channels, budget: bounds.budget };
        Self { model: Model { rules, bounds }, start, claims, reached: Mutex::default() }
    }

    fn note(&self, happened: &[&'static str]) {
        // Most steps have nothing to note, and need not wait for another thread.
        if !happened.is_empty() {
            self.reached.lock().unwrap().extend(happened);
        }
    }
}

impl stateright::Model for Search {
    type State = State;
    type Action = Successor;

    fn init_states(&self) -> Vec<State> {
        vec![self.start.tidy()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Successor>) {
        actions.extend(self.model.successors(state));
    }

    fn next_state(&self, _: &State, (action, after): Successor) -> Option<State> {
        self.note(&happened(&action, &after));
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.claims)()
    }
}

type Way = Path<State, Successor>;

/// How many states a way has, with the first and the last.
fn length(way: &Way) -> usize {
    way.clone().into_states().len()
}

/// A claim that two openings break by these rules, on a way of fewer states than `limit`; 0 is no
/// limit.
fn counterexample(rules: Rules, limit: usize) -> Option<(&'static str, Way)> {
    let search = Search::new([OPENING; 2], rules, claims::of_calls);
    let checker = search
        .checker()
        .target_max_depth(limit)
        .target_state_count(MOST_STEPS)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    checker.discoveries().into_iter().min_by_key(|(claim, way)| (length(way), *claim))
}

/// One of the shortest. The checker looks at a block of states before it stops, and keeps what it
/// found last, so that the search is repeated below that until nothing is found.
fn shortest_counterexample(rules: Rules) -> Option<(&'static str, Way)> {
    let first = counterexample(rules, 0);
    iter::successors(first, |(_, way)| counterexample(rules, length(way))).last()
}

#[test]
fn no_call_is_signed_while_it_can_land_nor_done_twice_nor_forgotten() {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut reached = BTreeSet::new();
    for (name, runs) in STARTS {
        let search = Search::new(runs, RULES, claims::of_everything);
        let checker = search
            .checker()
            .threads(threads)
            .target_state_count(MOST_STEPS)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        // The checker counts the start too.
        let steps = checker.state_count() - 1;
        eprintln!("{name}: {} states, {steps} steps", checker.unique_state_count());
        checker.assert_properties();
        // Which the checker also finds in order after a search that was given up.
        assert!(checker.state_count() < MOST_STEPS, "the bounds of the model are too wide");
        reached.extend(checker.model().reached.lock().unwrap().iter());
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
        match shortest_counterexample(rules) {
            Some((claim, way)) => eprintln!("{what}\nbreaks: {claim}\n{way}"),
            None => panic!("nothing is wrong: {what}"),
        }
    }
}
