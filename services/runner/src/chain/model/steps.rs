//! What can happen next.

use super::Rules;
use super::state::{
    AFTER_OUTAGE, Budget, Call, Escrow, Kind, Node, Outcome, Place, Request, Run, RunEnd, State,
    Transaction, before, close_time, number,
};
use crate::chain::decide::{
    AfterEnd, AfterLookup, AfterSend, AfterState, Answered, End, Found, Lookup, Record, SendAnswer,
    record_lives_until,
};

/// How far a search goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The last ledger before the long outage.
    pub ledgers: u8,
    /// The last ledger after it.
    pub after_outage: u8,
    /// For how many ledgers a transaction is valid.
    pub life: u8,
    pub budget: Budget,
    /// One in so many states is followed to its end.
    pub followed: u64,
}

/// The rules in question, and how far they are followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub rules: Rules,
    pub bounds: Bounds,
}

/// What a process learns about a transaction that ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    Succeeded,
    /// It succeeded, and its answer cannot be read.
    Unreadable,
    Failed,
    Rejected,
    /// Contract state is asked at this ledger.
    Expired {
        read_at: u8,
    },
    Forgotten {
        read_at: u8,
    },
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Calls are signed and stored.
    Sign { channel: usize, calls: [bool; 2] },
    /// A send is counted and begun.
    Send { channel: usize },
    /// A request arrives or gets lost, and so does its answer.
    Answer { channel: usize, process: usize, arrives: bool, answer: SendAnswer },
    /// A process dies with a request that had not arrived.
    Crash { channel: usize, process: usize },
    /// Another process takes the channel; the former one still waits for its answer.
    LoseLease { channel: usize },
    /// A fee bump is signed and stored.
    Bump { channel: usize },
    /// A node is asked, and nothing is proven.
    LookUp { channel: usize },
    /// A transaction ends, with what that means for its calls.
    Conclude { channel: usize, learned: Learned, follows: [Option<AfterEnd>; 2] },
    /// A ledger closes with so many transactions.
    Close { landed: usize },
    /// No process runs for so long that records reach the end of their lifetimes.
    Outage,
    /// A run goes on after its call.
    Step { run: usize },
    /// A call is called off that is in no transaction.
    Withdraw { run: usize },
    /// A call cannot land in time any more.
    TooLate { run: usize },
}

/// A step, with the state that it leads to.
pub(super) type Successor = (Action, State);

type Next = Vec<Successor>;

/// Whether a request gets to the queue, and what is heard of it. A node that refuses or puts off
/// does not queue; another one may have queued the same bytes before.
const ANSWERS: [(bool, SendAnswer); 7] = [
    (true, SendAnswer::Pending),
    (true, SendAnswer::Duplicate),
    (true, SendAnswer::None),
    (false, SendAnswer::None),
    (false, SendAnswer::TryAgainLater),
    (false, SendAnswer::Refused),
    (false, SendAnswer::RefusedForGood),
];

impl Model {
    /// Every step from this state.
    pub(super) fn successors(&self, state: &State) -> Next {
        let mut next = Vec::with_capacity(32);
        for run in 0..state.runs.len() {
            step(state, run, &mut next);
        }
        self.sign(state, &mut next);
        for channel in 0..state.channels.len() {
            send(state, channel, &mut next);
            self.answer(state, channel, &mut next);
            answer_in_vain(state, channel, &mut next);
            lose_lease(state, channel, &mut next);
            bump(state, channel, &mut next);
            self.look_up(state, channel, &mut next);
        }
        self.close(state, &mut next);
        if state.ledger < AFTER_OUTAGE {
            next.push((Action::Outage, outage(state)));
        }
        for (_, after) in &mut next {
            *after = after.tidy();
        }
        next
    }

    /// Whether another ledger follows within the bounds.
    const fn goes_on(&self, ledger: u8) -> bool {
        if ledger < AFTER_OUTAGE {
            ledger < self.bounds.ledgers
        } else {
            ledger - AFTER_OUTAGE < self.bounds.after_outage
        }
    }

    /// A sender signs what is wanted, and stores it with the calls' new state. What is signed in
    /// the last ledger of all would change nothing.
    fn sign(&self, state: &State, next: &mut Next) {
        if state.budget.signings == 0 || !self.goes_on(state.ledger) {
            return;
        }
        let [first, second] = state.runs;
        let [ready, also_ready] = state.runs.map(|run| may_be_signed(run, state.ledger));
        let fit = first.kind == second.kind
            && matches!(first.kind, Kind::Open | Kind::Finalize)
            && !first.alone
            && !second.alone;
        let choices = [
            (ready, [true, false]),
            (also_ready, [false, true]),
            (ready && also_ready && fit, [true, true]),
        ];
        for (channel, known) in state.channels.iter().enumerate() {
            for (is_possible, calls) in choices {
                if !is_possible || known.live.is_some() {
                    continue;
                }
                let mut after = *state;
                after.budget.signings -= 1;
                let kind = if calls[0] { first.kind } else { second.kind };
                let valid_until = state.ledger + self.bounds.life;
                for (run, _) in after.runs.iter_mut().zip(calls).filter(|(_, carried)| *carried) {
                    run.call = Call::Signed;
                    run.alone = false;
                    if kind == Kind::Open {
                        run.deadline = valid_until + 2;
                    }
                }
                after.channels[channel].live = Some(Transaction {
                    kind,
                    calls,
                    signed_at: state.ledger,
                    valid_until,
                    sends: 0,
                    bumped: false,
                    requests: [None; 2],
                    place: Place::Nowhere,
                });
                next.push((Action::Sign { channel, calls }, after));
            }
        }
    }

    /// What becomes of the requests for a live transaction. Only what follows differently counts as
    /// another step.
    fn answer(&self, state: &State, channel: usize, next: &mut Next) {
        let Some(live) = state.channels[channel].live else { return };
        for (process, request) in live.requests.into_iter().enumerate() {
            let Some(request) = request else { continue };
            let mut heard = live;
            heard.requests[process] = None;
            let mut known = [false; 4];
            for (arrives, answer) in ANSWERS {
                // What is refused of a bump is the bump.
                let rejects = request != Request::Bump
                    && (self.rules.after_send)(request == Request::First, answer)
                        == AfterSend::Rejected
                    && (self.rules.may_reject)(live.sends);
                let which = usize::from(arrives) + 2 * usize::from(rejects);
                if std::mem::replace(&mut known[which], true) {
                    continue;
                }
                let mut after = *state;
                let mut carried = heard;
                if arrives {
                    carried.arrive(request);
                }
                after.channels[channel].live = Some(carried);
                if rejects {
                    next.push(self.conclude(after, channel, Learned::Rejected));
                } else {
                    next.push((Action::Answer { channel, process, arrives, answer }, after));
                }
            }
            let mut after = *state;
            after.channels[channel].live = Some(heard);
            next.push((Action::Crash { channel, process }, after));
        }
    }

    /// A node is asked about a channel's transaction by the process that holds the channel.
    fn look_up(&self, state: &State, channel: usize, next: &mut Next) {
        let Some(live) = state.channels[channel].live else { return };
        if live.requests[0].is_some() {
            return;
        }
        let nodes = nodes(state.ledger);
        let no_bump = [None];
        let with_bump: Vec<Option<Node>> = nodes.iter().copied().map(Some).collect();
        let bumps: &[Option<Node>] = if live.bumped { &with_bump } else { &no_bump };
        let high_water = if state.seen { Some(state.ledger) } else { before(state.ledger) };
        let high_water = high_water.map_or(0, number);

        let mut known = Vec::new();
        for node in &nodes {
            for bump in bumps {
                for knows_account in [false, true] {
                    let (lookup, latest) = ask(&live, *node, *bump, knows_account, state.ledger);
                    // What is behind is not believed, whatever it says.
                    if lookup.latest_ledger < high_water {
                        continue;
                    }
                    let follows = (self.rules.after_lookup)(live.signed(), lookup, high_water);
                    let seen = state.seen || latest == state.ledger;
                    if !known.contains(&(follows, seen)) {
                        known.push((follows, seen));
                    }
                }
            }
        }
        for (follows, seen) in known {
            let after = State { seen, ..*state };
            let behind = before(state.ledger).filter(|_| !seen);
            let reads = [Some(state.ledger), behind].into_iter().flatten();
            let learned: Vec<Learned> = match follows {
                AfterLookup::Again => {
                    next.push((Action::LookUp { channel }, after));
                    continue;
                }
                AfterLookup::Succeeded => vec![Learned::Succeeded, Learned::Unreadable],
                AfterLookup::Failed => vec![Learned::Failed],
                AfterLookup::Expired => reads.map(|read_at| Learned::Expired { read_at }).collect(),
                AfterLookup::Forgotten => {
                    reads.map(|read_at| Learned::Forgotten { read_at }).collect()
                }
            };
            for learned in learned {
                next.push(self.conclude(after, channel, learned));
            }
        }
    }

    /// The end of a live transaction is stored, together with what it means for its calls.
    fn conclude(&self, mut after: State, channel: usize, learned: Learned) -> Successor {
        let mut follows = [None; 2];
        let known = &mut after.channels[channel];
        if let Some(ended) = known.live.take() {
            // What has truly ended is forgotten when the state is made tidy.
            known.left = Some(ended);
            let together = ended.calls.iter().filter(|carried| **carried).count();
            for (at, run) in after.runs.iter_mut().enumerate() {
                if !ended.calls[at] {
                    continue;
                }
                let answered = answered(&ended, at, learned);
                let proof = match learned {
                    Learned::Expired { read_at } | Learned::Forgotten { read_at } => {
                        Some(self.proof(*run, &ended, read_at, after.ledger))
                    }
                    _ => None,
                };
                let what = (self.rules.after_end)(end(learned), together, answered, proof);
                judge(run, what);
                follows[at] = Some(what);
            }
        }
        (Action::Conclude { channel, learned, follows }, after)
    }

    /// What contract state proves, read at this ledger.
    fn proof(&self, run: Run, ended: &Transaction, read_at: u8, ledger: u8) -> AfterState {
        let escrow = run.record(read_at != ledger);
        let record = match escrow {
            Escrow::Absent => Record::Absent,
            _ if run.is_shown_by(escrow) => Record::Shows,
            _ => Record::Lacks,
        };
        let signed = ended.signed();
        let deadline = close_time(run.deadline);
        let lives_until = record_lives_until(signed.ledger, signed.max_time, deadline);
        let opens = ended.kind == Kind::Open;
        (self.rules.after_state)(opens, record, number(read_at), lives_until)
    }

    /// A ledger closes with any of what waits in the queue.
    fn close(&self, state: &State, next: &mut Next) {
        if !self.goes_on(state.ledger) {
            return;
        }
        let mut closed = State { ledger: state.ledger + 1, seen: false, ..*state };
        for run in &mut closed.runs {
            run.fresh = false;
        }
        let mut all = vec![(0, closed)];
        for channel in 0..state.channels.len() {
            for is_live in [true, false] {
                let before = std::mem::take(&mut all);
                for (landed, state) in before {
                    land(landed, &state, channel, is_live, &mut all);
                }
            }
        }
        next.extend(all.into_iter().map(|(landed, after)| (Action::Close { landed }, after)));
    }
}

/// What a run does after its call.
fn step(state: &State, at: usize, next: &mut Next) {
    let run = state.runs[at];
    let in_time = state.ledger < run.deadline;
    let mut push = |action, run| {
        let mut after = *state;
        after.runs[at] = run;
        next.push((action, after));
    };
    let step = Action::Step { run: at };
    match (run.call, run.kind) {
        (Call::Wanted, Kind::Open) => {
            push(Action::Withdraw { run: at }, run.ended(RunEnd::NeverOpened));
        }
        (Call::Wanted, Kind::Finalize | Kind::Void) if !in_time => {
            push(Action::TooLate { run: at }, run.past_deadline());
        }
        (Call::Done, Kind::Open) => {
            push(step, run.wants(Kind::Finalize));
            push(step, run.wants(Kind::Void));
        }
        (Call::Done, Kind::Finalize) => push(step, run.ended(RunEnd::Settled)),
        (Call::Done, Kind::Void | Kind::Reclaim) => push(step, run.ended(RunEnd::GivenBack)),
        (Call::Refused, Kind::Open) => push(step, run.ended(RunEnd::NeverOpened)),
        (Call::Refused, kind) => push(
            step,
            match run.closed() {
                Some(how) => run.ended(how),
                None if kind == Kind::Reclaim && run.gone => Run { call: Call::Unknown, ..run },
                None if kind != Kind::Reclaim && in_time => run.wants(Kind::Void),
                None => run.wants(Kind::Reclaim),
            },
        ),
        (Call::Wanted | Call::Signed | Call::Unknown | Call::Ended(_), _) => {}
    }
}

/// Whether a sender would sign a run's call now.
const fn may_be_signed(run: Run, ledger: u8) -> bool {
    matches!(run.call, Call::Wanted)
        && match run.kind {
            Kind::Open => true,
            Kind::Finalize | Kind::Void => ledger < run.deadline,
            Kind::Reclaim => ledger >= run.deadline,
        }
}

/// The process that holds the channel counts a send and begins it.
fn send(state: &State, channel: usize, next: &mut Next) {
    let Some(live) = state.channels[channel].live else { return };
    if !live.is_in_the_air() || live.requests[0].is_some() {
        return;
    }
    let request = match live.sends {
        _ if live.bumped => Request::Bump,
        0 => Request::First,
        _ => Request::Later,
    };
    let mut after = *state;
    after.channels[channel].live = Some(Transaction {
        sends: (live.sends + 1).min(2),
        requests: [Some(request), live.requests[1]],
        ..live
    });
    next.push((Action::Send { channel }, after));
}

/// Requests for a transaction that is stored as ended arrive or not; no process waits for them.
fn answer_in_vain(state: &State, channel: usize, next: &mut Next) {
    let Some(left) = state.channels[channel].left else { return };
    for (process, request) in left.requests.into_iter().enumerate() {
        let Some(request) = request else { continue };
        for arrives in [true, false] {
            let mut carried = left;
            carried.requests[process] = None;
            if arrives {
                carried.arrive(request);
            }
            let mut after = *state;
            after.channels[channel].left = Some(carried);
            let answer = SendAnswer::None;
            next.push((Action::Answer { channel, process, arrives, answer }, after));
        }
    }
}

/// The other process takes the channel while a request is under way. A lease that is lost at
/// another time takes no memory with it.
fn lose_lease(state: &State, channel: usize, next: &mut Next) {
    let Some(mut live) = state.channels[channel].live else { return };
    if live.requests[0].is_none() || state.budget.troubles == 0 {
        return;
    }
    live.requests.swap(0, 1);
    let mut after = *state;
    after.budget.troubles -= 1;
    after.channels[channel].live = Some(live);
    next.push((Action::LoseLease { channel }, after));
}

/// A fee bump of a transaction that was sent is stored.
fn bump(state: &State, channel: usize, next: &mut Next) {
    let Some(live) = state.channels[channel].live else { return };
    let is_idle = live.requests[0].is_none();
    if !live.is_in_the_air() || !is_idle || live.sends == 0 || live.bumped {
        return;
    }
    if state.budget.troubles == 0 {
        return;
    }
    let mut after = *state;
    after.budget.troubles -= 1;
    after.channels[channel].live = Some(Transaction { bumped: true, ..live });
    next.push((Action::Bump { channel }, after));
}

/// Nodes that are current or behind, with all their history or with none.
fn nodes(ledger: u8) -> Vec<Node> {
    let newest = [Some(ledger), before(ledger)].into_iter().flatten();
    newest.flat_map(|latest| [0, latest].map(|oldest| Node { oldest, latest })).collect()
}

/// The answer of nodes, and the ledger that it counts for.
fn ask(
    live: &Transaction,
    node: Node,
    bump: Option<Node>,
    knows_account: bool,
    ledger: u8,
) -> (Lookup, u8) {
    let mut found = live.found(node, false);
    let mut all = node;
    if found == Found::NotFound
        && let Some(bump) = bump
    {
        found = live.found(bump, true);
        // The clock is the most cautious of both answers.
        all.latest = all.latest.min(bump.latest);
        all.oldest = all.oldest.max(bump.oldest);
    }
    let is_used = matches!(live.place, Place::Landed { .. } | Place::Displaced);
    let lookup = Lookup {
        found,
        latest_ledger: number(all.latest),
        latest_close_time: close_time(all.latest),
        oldest_ledger: number(all.oldest),
        // The account was read at the newest ledger, before this look-up.
        sequence_used_at: (is_used && knows_account).then(|| number(ledger)),
    };
    (lookup, all.latest)
}

const fn end(learned: Learned) -> End {
    match learned {
        Learned::Succeeded | Learned::Unreadable => End::Succeeded,
        Learned::Failed => End::Failed,
        Learned::Rejected => End::Rejected,
        Learned::Expired { .. } | Learned::Forgotten { .. } => End::Gone,
    }
}

/// What the vault answered for one call.
const fn answered(ended: &Transaction, at: usize, learned: Learned) -> Answered {
    let Place::Landed { outcome, .. } = ended.place else { return Answered::Nothing };
    match (learned, outcome) {
        (Learned::Succeeded, Outcome::Did(done)) if done[at] => Answered::Done,
        (Learned::Succeeded, Outcome::Did(_)) => Answered::Error,
        (Learned::Failed, Outcome::Failed { by_vault: true }) => Answered::Error,
        _ => Answered::Nothing,
    }
}

/// What is stored of a call whose transaction has ended.
fn judge(run: &mut Run, follows: AfterEnd) {
    run.call = match follows {
        // Only the vault knows what was charged: it is asked for the kept receipt.
        AfterEnd::DoneByState if run.kind == Kind::Finalize => Call::Wanted,
        AfterEnd::Done | AfterEnd::DoneByState => Call::Done,
        AfterEnd::Again | AfterEnd::Split => Call::Wanted,
        AfterEnd::Refused => Call::Refused,
        AfterEnd::Unknown => Call::Unknown,
    };
    run.alone =
        run.call == Call::Wanted && matches!(follows, AfterEnd::DoneByState | AfterEnd::Split);
    if run.call == Call::Wanted && run.kind == Kind::Open {
        run.deadline = 0;
    }
}

/// What the ledger that is closing may do with one transaction: leave it, give its sequence number
/// to another program, or take it. `landed` counts those that were taken before.
fn land(
    landed: usize,
    state: &State,
    channel: usize,
    is_live: bool,
    all: &mut Vec<(usize, State)>,
) {
    all.push((landed, *state));
    let known = &state.channels[channel];
    let Some(waiting) = (if is_live { known.live } else { known.left }) else { return };
    let in_time = close_time(state.ledger) <= close_time(waiting.valid_until);
    if !waiting.is_in_the_air() || !in_time {
        return;
    }
    let put = |state: &mut State, place| {
        let waiting = Some(Transaction { place, ..waiting });
        let known = &mut state.channels[channel];
        // The other one has the same sequence number.
        let other = if is_live {
            known.live = waiting;
            &mut known.left
        } else {
            known.left = waiting;
            &mut known.live
        };
        if let Some(other) = other
            && other.is_in_the_air()
        {
            other.place = Place::Displaced;
        }
    };
    if state.budget.troubles > 0 {
        let mut after = *state;
        after.budget.troubles -= 1;
        put(&mut after, Place::Displaced);
        all.push((landed, after));
    }
    let Place::Queued { itself, bump } = waiting.place else { return };
    for (is_queued, by_bump) in [(itself, false), (bump, true)] {
        if !is_queued {
            continue;
        }
        for outcome in outcomes(state, &waiting) {
            let mut after = *state;
            put(&mut after, Place::Landed { at: state.ledger, by_bump, outcome });
            if let Outcome::Did(done) = outcome {
                for (run, _) in after.runs.iter_mut().zip(done).filter(|(_, done)| *done) {
                    take_effect(run, waiting.kind);
                }
            }
            all.push((landed + 1, after));
        }
    }
}

/// What a transaction may do in this ledger, success first.
fn outcomes(state: &State, waiting: &Transaction) -> Vec<Outcome> {
    let mut found = Vec::new();
    let is_batch = waiting.calls == [true; 2];
    // Whether a call may be done, and whether the vault may refuse it.
    let fates = state.runs.map(|run| fate(run, waiting.kind, state.ledger));
    for done in [[true, true], [true, false], [false, true], [false, false]] {
        let mut members = done.into_iter().zip(waiting.calls).zip(fates);
        let is_possible = members.all(|((done, carried), (may_do, may_refuse))| match carried {
            true if done => may_do,
            true => may_refuse,
            false => !done,
        });
        // The function for one call fails where that for several answers a code.
        if is_possible && (is_batch || done != [false; 2]) {
            found.push(Outcome::Did(done));
        } else if is_possible {
            found.push(Outcome::Failed { by_vault: true });
        }
    }
    found.push(Outcome::Failed { by_vault: false });
    found
}

/// Whether the vault may do a call in this ledger, and whether it may refuse it.
const fn fate(run: Run, kind: Kind, ledger: u8) -> (bool, bool) {
    let is_open = matches!(run.escrow, Escrow::Open) && !run.gone;
    let is_kept = run.is_shown_by(run.escrow) && !run.gone;
    match kind {
        Kind::Open => (true, true),
        // A settlement may be refused for what is wrong with it.
        Kind::Finalize if is_open && ledger <= run.deadline => (true, true),
        Kind::Void if is_open && ledger <= run.deadline => (true, false),
        Kind::Reclaim if is_open && ledger > run.deadline => (true, false),
        // The vault answers what it has kept.
        Kind::Finalize | Kind::Void | Kind::Reclaim => (is_kept, !is_kept),
    }
}

/// A call takes effect in the newest ledger.
const fn take_effect(run: &mut Run, kind: Kind) {
    let escrow = match kind {
        Kind::Open => {
            run.opened = if run.opened == 0 { 1 } else { 2 };
            run.gone = false;
            Escrow::Open
        }
        Kind::Finalize => Escrow::Finalized,
        Kind::Void => Escrow::Voided,
        Kind::Reclaim => Escrow::Reclaimed,
    };
    // What the vault answers again changes nothing.
    let is_new = match (run.escrow, kind) {
        (_, Kind::Open) | (Escrow::Open, _) => true,
        (Escrow::Absent | Escrow::Finalized | Escrow::Voided | Escrow::Reclaimed, _) => false,
    };
    if is_new {
        run.escrow = escrow;
        run.fresh = true;
    }
}

/// The first ledger after everybody was away.
fn outage(state: &State) -> State {
    let mut after = State { ledger: AFTER_OUTAGE, seen: false, ..*state };
    for run in &mut after.runs {
        run.fresh = false;
        run.gone = run.escrow != Escrow::Absent && !matches!(run.call, Call::Ended(_));
    }
    after
}
