//! The protocol of calls, transactions and channels as a model: the rules of
//! [`decide`](super::decide) against a network that loses requests and answers, nodes that lag and
//! forget, and processes that stop anywhere. After every step, whatever must never happen has not
//! happened.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::decide::{
    AfterEnd, AfterLookup, AfterSend, AfterState, Answered, End, Found, Lookup, Record, SendAnswer,
    Signed, after_end, after_lookup, after_send, after_state,
};

const CHANNELS: usize = 2;
const CALLS: usize = 5;
/// Seconds that a transaction may wait, at one ledger a second.
const LIFE: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelState {
    Wanted,
    Signed,
    Done,
    Refused,
    Unknown,
}

#[derive(Debug, Clone)]
struct Transaction {
    channel: usize,
    sequence: u64,
    signed: Signed,
    calls: Vec<usize>,
    sends: u32,
    live: bool,
}

/// What the network has: it is true whatever anybody believes.
#[derive(Debug, Default)]
struct Network {
    ledger: u32,
    queue: BTreeSet<usize>,
    /// The ledger of each transaction that was applied, and which of its calls were done; none of a
    /// transaction that failed.
    applied: BTreeMap<usize, (u32, Option<Vec<bool>>)>,
    /// The ledger in which each sequence number was used.
    used: BTreeMap<(usize, u64), u32>,
    /// The ledgers in which a call had its effect.
    done: BTreeMap<usize, Vec<u32>>,
    /// Refused for good at their first arrival.
    refused: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Model {
    network: Network,
    /// What is stored, all of which survives whoever stops.
    calls: Vec<(ModelState, usize)>,
    transactions: Vec<Transaction>,
    high_water: u32,
}

const fn close_time(ledger: u32) -> u64 {
    1_000 + ledger as u64
}

impl Model {
    fn new() -> Self {
        Self {
            network: Network { ledger: 10, ..Network::default() },
            // Each call goes with up to all others at first.
            calls: vec![(ModelState::Wanted, CALLS); CALLS],
            ..Self::default()
        }
    }

    fn live(&self, channel: usize) -> Option<usize> {
        self.transactions.iter().position(|known| known.channel == channel && known.live)
    }

    /// A sender of the channel signs wanted calls, and stores them before anything else.
    fn sign(&mut self, channel: usize, choice: u8) {
        if self.live(channel).is_some() {
            return;
        }
        let wanted = (0..CALLS).filter(|call| self.calls[*call].0 == ModelState::Wanted);
        let chosen: Vec<usize> = wanted.filter(|call| choice >> call & 1 == 1).collect();
        let Some(most) = chosen.iter().map(|call| self.calls[*call].1).min() else { return };
        let calls: Vec<usize> = chosen.into_iter().take(most.max(1)).collect();
        for call in &calls {
            self.nothing_can_land(*call);
            self.calls[*call].0 = ModelState::Signed;
        }
        let used = self.network.used.keys().filter(|(of, _)| *of == channel);
        let sequence = used.map(|(_, sequence)| sequence + 1).max().unwrap_or(1);
        let ledger = self.network.ledger;
        let signed = Signed { max_time: close_time(ledger) + LIFE, ledger };
        self.transactions.push(Transaction {
            channel,
            sequence,
            signed,
            calls,
            sends: 0,
            live: true,
        });
    }

    /// What must hold whenever a call is signed: nothing that was signed for it before can still
    /// have an effect, and none has had one.
    fn nothing_can_land(&self, call: usize) {
        assert!(!self.network.done.contains_key(&call), "call {call} is signed after it was done");
        for (at, known) in self.transactions.iter().enumerate() {
            let can_land = !self.network.applied.contains_key(&at)
                && !self.network.refused.contains(&at)
                && close_time(self.network.ledger) < known.signed.max_time
                && !self.network.used.contains_key(&(known.channel, known.sequence));
            assert!(
                !(known.calls.contains(&call) && can_land),
                "call {call} is signed while transaction {at} can land"
            );
        }
    }

    /// The stored bytes are sent; the request or the answer may get lost.
    fn send(&mut self, channel: usize, choice: u8) {
        let Some(at) = self.live(channel) else { return };
        self.transactions[at].sends += 1;
        let is_first = self.transactions[at].sends == 1;
        // A definite refusal happens before the queue, and only to what is not there yet.
        let answer = match choice % 6 {
            0 => SendAnswer::None,
            1 if is_first => {
                self.network.refused.insert(at);
                SendAnswer::RefusedForGood
            }
            2 if is_first => {
                self.network.refused.insert(at);
                // The refusal gets lost on its way back.
                SendAnswer::None
            }
            3 => {
                self.arrive(at);
                SendAnswer::None
            }
            4 => SendAnswer::TryAgainLater,
            _ => {
                self.arrive(at);
                SendAnswer::Pending
            }
        };
        if after_send(is_first, answer) == AfterSend::Rejected {
            self.conclude(at, End::Rejected, 0);
        }
    }

    fn arrive(&mut self, at: usize) {
        // What one node refused for want of money or fee, a later send may get into the queue.
        self.network.refused.remove(&at);
        if !self.network.applied.contains_key(&at) {
            self.network.queue.insert(at);
        }
    }

    /// A ledger closes with some of what waits. Another program may use a sequence number.
    fn close(&mut self, choice: u8) {
        self.network.ledger += 1 + u32::from(choice % 7 == 6) * 5;
        let ledger = self.network.ledger;
        if choice % 11 == 10 {
            let channel = usize::from(choice) % CHANNELS;
            let used = self.network.used.keys().filter(|(of, _)| *of == channel);
            let sequence = used.map(|(_, sequence)| sequence + 1).max().unwrap_or(1);
            self.network.used.insert((channel, sequence), ledger);
        }
        for at in self.network.queue.clone() {
            let known = &self.transactions[at];
            let key = (known.channel, known.sequence);
            let is_valid = close_time(ledger) <= known.signed.max_time
                && !self.network.used.contains_key(&key);
            if !is_valid {
                self.network.queue.remove(&at);
                continue;
            }
            if choice & 1 == 0 {
                continue;
            }
            self.network.queue.remove(&at);
            self.network.used.insert(key, ledger);
            let codes = (choice & 2 == 0).then(|| {
                let refused = usize::from(choice >> 2) % (CALLS + 2);
                known.calls.iter().map(|call| *call != refused).collect::<Vec<_>>()
            });
            for (call, done) in known.calls.iter().zip(codes.iter().flatten()) {
                if *done {
                    self.network.done.entry(*call).or_default().push(ledger);
                }
            }
            self.network.applied.insert(at, (ledger, codes));
        }
    }

    /// A node is asked: it may be behind, and it may have forgotten.
    fn look_up(&mut self, channel: usize, lag: u8, kept: u8, knows_account: bool) {
        let Some(at) = self.live(channel) else { return };
        let known = self.transactions[at].clone();
        let latest = self.network.ledger.saturating_sub(u32::from(lag % 4));
        let oldest = latest.saturating_sub(u32::from(kept % 12));
        let applied = self.network.applied.get(&at).cloned();
        let applied = applied.filter(|(ledger, _)| (oldest..=latest).contains(ledger));
        let used_at = self.network.used.get(&(channel, known.sequence)).copied();
        let lookup = Lookup {
            found: match &applied {
                None => Found::NotFound,
                Some((_, Some(_))) => Found::Success,
                Some((_, None)) => Found::Failed,
            },
            latest_ledger: latest,
            latest_close_time: close_time(latest),
            oldest_ledger: oldest,
            // The account was read at the newest ledger, before this look-up.
            sequence_used_at: used_at.filter(|_| knows_account).map(|_| self.network.ledger),
        };
        // What is behind is not believed, whatever it says.
        if latest < self.high_water {
            return;
        }
        self.high_water = latest;
        let end = match after_lookup(known.signed, lookup, self.high_water) {
            AfterLookup::Again => return,
            AfterLookup::Succeeded => End::Succeeded,
            AfterLookup::Failed => End::Failed,
            AfterLookup::Expired | AfterLookup::Forgotten => End::Gone,
        };
        self.conclude(at, end, lag);
    }

    /// Transaction and calls change together.
    fn conclude(&mut self, at: usize, end: End, lag: u8) {
        let known = self.transactions[at].clone();
        self.transactions[at].live = false;
        let codes = self.network.applied.get(&at).and_then(|(_, codes)| codes.clone());
        for (place, call) in known.calls.iter().enumerate() {
            let answered = match (end, &codes) {
                (End::Succeeded, Some(codes)) if codes[place] => Answered::Done,
                (End::Succeeded, Some(_)) => Answered::Error,
                _ => Answered::Nothing,
            };
            let proof = (end == End::Gone).then(|| self.proof(*call, lag));
            let (state, most) = match after_end(end, known.calls.len(), answered, proof) {
                AfterEnd::Done | AfterEnd::DoneByState => (ModelState::Done, 1),
                AfterEnd::Again => (ModelState::Wanted, self.calls[*call].1),
                AfterEnd::Split => (ModelState::Wanted, known.calls.len().div_ceil(2)),
                AfterEnd::Refused => (ModelState::Refused, 1),
                AfterEnd::Unknown => (ModelState::Unknown, 1),
            };
            assert_eq!(self.calls[*call].0, ModelState::Signed, "call {call} is judged twice");
            self.calls[*call] = (state, most);
        }
    }

    /// The vault's record, from a node that is not behind what was seen.
    fn proof(&self, call: usize, lag: u8) -> AfterState {
        let ledger = self.network.ledger.saturating_sub(u32::from(lag % 4)).max(self.high_water);
        let done = self.network.done.get(&call);
        let shows = done.is_some_and(|ledgers| ledgers.iter().any(|at| *at <= ledger));
        after_state(true, if shows { Record::Shows } else { Record::Absent }, ledger, u32::MAX)
    }

    fn check(&self) {
        for channel in 0..CHANNELS {
            let live = self.transactions.iter().filter(|known| known.channel == channel);
            assert!(live.filter(|known| known.live).count() <= 1, "channel {channel}");
        }
        for (call, (state, _)) in self.calls.iter().enumerate() {
            let live = self.transactions.iter().filter(|known| known.live);
            let live = live.filter(|known| known.calls.contains(&call)).count();
            assert_eq!(live, usize::from(*state == ModelState::Signed), "call {call} is {state:?}");
            let done = self.network.done.get(&call).map_or(0, Vec::len);
            assert!(done <= 1, "call {call} was done {done} times");
            assert!(done == 1 || *state != ModelState::Done, "call {call} is believed done");
            assert!(
                done == 0 || *state != ModelState::Refused,
                "call {call} was done and is refused"
            );
            assert!(
                done == 0 || *state != ModelState::Wanted,
                "call {call} was done and is wanted"
            );
        }
        for at in self.network.applied.keys().chain(&self.network.queue) {
            assert!(self.transactions[*at].sends > 0, "transaction {at} was never stored and sent");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_call_is_signed_while_it_can_land_nor_done_twice_nor_forgotten(
        steps in prop::collection::vec((0_u8..9, any::<u8>(), any::<u8>(), any::<bool>()), 1..160),
    ) {
        let mut model = Model::new();
        for (step, choice, more, flag) in steps {
            let channel = usize::from(more) % CHANNELS;
            match step {
                0 | 1 => model.sign(channel, choice),
                2 | 3 => model.send(channel, choice),
                4 | 5 => model.close(choice),
                _ => model.look_up(channel, choice, more, flag),
            }
            model.check();
        }
        // However it went, everything comes to an end by itself when the network is whole.
        for _ in 0..200 {
            for channel in 0..CHANNELS {
                model.sign(channel, u8::MAX);
                model.send(channel, 5);
            }
            model.close(129);
            for channel in 0..CHANNELS {
                model.look_up(channel, 0, 11, true);
            }
            model.check();
        }
        for (call, (state, _)) in model.calls.iter().enumerate() {
            prop_assert!(
                !matches!(state, ModelState::Wanted | ModelState::Signed),
                "call {call} stays {state:?}"
            );
        }
    }
}
