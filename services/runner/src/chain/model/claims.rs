//! What must hold in every state.

use super::state::{Call, Escrow, Kind, Run, RunEnd, State};

/// What does not hold, if anything.
pub(super) fn broken(state: &State) -> Option<&'static str> {
    for (at, run) in state.runs.iter().enumerate() {
        let carriers = state.transactions().filter(|carrier| carrier.calls[at]).count();
        let live = state.channels.iter().filter_map(|channel| channel.live);
        let live = live.filter(|live| live.calls[at]).count();
        if carriers > 1 {
            return Some("a call is signed while an older transaction of it can land");
        }
        if live != usize::from(run.call == Call::Signed) {
            return Some("a call is signed and in no live transaction, or the reverse");
        }
        if run.opened > 1 {
            return Some("a call took effect twice");
        }
        if !agrees(run) {
            return Some("what is stored of a call is not what happened on chain");
        }
        if run.escrow == Escrow::Open && matches!(run.call, Call::Ended(_)) {
            return Some("money is in escrow, and nothing will end it");
        }
    }
    None
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
