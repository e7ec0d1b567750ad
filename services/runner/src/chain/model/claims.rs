//! What must hold in every state.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use stateright::Property;

use super::reached::FOLLOWED;
use super::state::{Budget, Call, Escrow, Kind, Place, Run, RunEnd, State, Transaction};
use super::steps::{Action, Bounds, Learned, Model};
use super::{BOUNDS, RULES, Search};

type Claim = Property<Search>;

/// What holds of calls and runs. A wrong rule breaks one of these.
pub(super) fn of_calls() -> Vec<Claim> {
    vec![
        Claim::always("no call is signed while an older transaction of it can land", |_, state| {
            (0..state.runs.len()).all(|run| count(state.transactions(), run) <= 1)
        }),
        Claim::always("a signed call is in one live transaction, any other in none", |_, state| {
            state.runs.iter().enumerate().all(|(at, run)| {
                let live = state.channels.iter().filter_map(|channel| channel.live.as_ref());
                count(live, at) == usize::from(run.call == Call::Signed)
            })
        }),
        Claim::always("no call takes effect twice", |_, state| {
            state.runs.iter().all(|run| run.opened <= 1)
        }),
        Claim::always("what is stored of a call is what happened on chain", |_, state| {
            state.runs.iter().all(agrees)
        }),
        Claim::always("no run is over while its money is in escrow", |_, state| {
            let mut runs = state.runs.iter();
            runs.all(|run| run.escrow != Escrow::Open || !matches!(run.call, Call::Ended(_)))
        }),
    ]
}

/// What holds where the rules are right.
pub(super) fn of_everything() -> Vec<Claim> {
    let mut claims = of_calls();
    claims.extend([
        Claim::always("no transaction can land that is stored as ended", |_, state| {
            state.channels.iter().all(|channel| channel.left.is_none())
        }),
        Claim::always("everything comes to an end when the network is whole", |search, state| {
            if !is_followed(state, search.model.bounds) {
                return true;
            }
            search.note(&[FOLLOWED]);
            is_over(&go_on(*state))
        }),
    ]);
    claims
}

/// How many of these transactions carry the call of a run.
fn count<'a>(transactions: impl Iterator<Item = &'a Transaction>, run: usize) -> usize {
    transactions.filter(|transaction| transaction.calls[run]).count()
}

/// Whether what is stored as known agrees with the chain.
fn agrees(run: &Run) -> bool {
    match run.call {
        // An opening is signed with another id each time. What closes an escrow may be signed
        // again though it was done: the vault answers what it has kept.
        Call::Wanted => run.kind != Kind::Open || run.opened == 0,
        Call::Done => run.is_shown_by(run.escrow),
        Call::Refused => !run.is_shown_by(run.escrow),
        Call::Ended(RunEnd::NeverOpened) => run.opened == 0,
        Call::Ended(how) => run.closed() == Some(how),
        Call::Signed | Call::Unknown => true,
    }
}

/// Whether a state is in the sample of those that are followed to their end. Its hash decides, so
/// that the sample is the same in every search, whatever order the states come in.
fn is_followed(state: &State, bounds: Bounds) -> bool {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish().is_multiple_of(bounds.followed)
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
