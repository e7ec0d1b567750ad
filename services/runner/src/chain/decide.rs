//! What an answer of the network proves about a signed transaction and each of its calls (R13).
//! Pure: no clock, no I/O.
//!
//! Four questions, four functions. Whatever is not proven is unknown, and an unknown transaction is
//! looked up and sent again as the same bytes; no call of it is signed anew.

/// What a transaction's own envelope says, kept since before its first send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// Unix seconds of ledger time after which no ledger may take it.
    pub max_time: u64,
    /// The newest ledger known when it was signed.
    pub ledger: u32,
}

/// A node's answer to the sending of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendAnswer {
    /// It is in the queue.
    Pending,
    /// It was in the queue before.
    Duplicate,
    /// The node asks the caller to come later, for whatever reason.
    TryAgainLater,
    /// It was refused, and the refusal is one that no node can contradict: malformed, bad auth,
    /// invalid Soroban data, insufficient fee, insufficient balance.
    RefusedForGood,
    /// It was refused for a reason that says nothing about an earlier send (bad sequence, too
    /// late…).
    Refused,
    /// No answer, or none that could be read.
    None,
}

/// What follows from the answer to a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterSend {
    /// It can never land: a new one may be signed.
    Rejected,
    /// Nothing is proven: look it up.
    Unknown,
}

/// What `getTransaction` said about a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It landed and did what it says.
    Success,
    /// It landed and did nothing but pay its fee.
    Failed,
    /// This node does not have it.
    NotFound,
}

/// One answer of `getTransaction`, with what the same answer says about the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// What was found.
    pub found: Found,
    /// The newest ledger of the node.
    pub latest_ledger: u32,
    /// Its close time, in Unix seconds.
    pub latest_close_time: u64,
    /// The oldest ledger the node still has transactions of.
    pub oldest_ledger: u32,
    /// A ledger by which the source had used the transaction's sequence number, if one is known. It
    /// was read before this look-up.
    pub sequence_used_at: Option<u32>,
}

/// What follows from a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLookup {
    /// It landed and did what it says.
    Succeeded,
    /// It landed and did nothing.
    Failed,
    /// Nothing is proven yet: send the same bytes again and ask again.
    Again,
    /// It can never land and is not in this node's history, which reaches back far enough.
    Expired,
    /// It can never land any more; whether it did, this node has forgotten. Contract state must
    /// decide.
    Forgotten,
}

/// What the contract's record of the run says, read from a node that is not behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The record is there and shows the effect that was wanted.
    Shows,
    /// The record is there and does not show it.
    Lacks,
    /// There is no record.
    Absent,
}

/// What follows from contract state after a transaction can no longer land.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterState {
    /// It was done: calling again with the same arguments answers the stored result.
    Done,
    /// It was not done: a new transaction may be signed.
    NotDone,
    /// Unknown: an operator must look.
    Unknown,
}

/// What the answer to a send proves. Only the first send of a hash can be rejected: a refusal of a
/// later one may be about an effect that the first had.
pub const fn after_send(first: bool, answer: SendAnswer) -> AfterSend {
    match answer {
        SendAnswer::RefusedForGood if first => AfterSend::Rejected,
        _ => AfterSend::Unknown,
    }
}

/// What a look-up proves. `high_water` is the newest ledger ever seen of this network.
pub const fn after_lookup(signed: Signed, lookup: Lookup, high_water: u32) -> AfterLookup {
    match lookup.found {
        Found::Success => AfterLookup::Succeeded,
        Found::Failed => AfterLookup::Failed,
        Found::NotFound => {
            let is_late = lookup.latest_close_time > signed.max_time;
            // A sequence number is used once: whatever used it, by a ledger that this node has, is
            // this transaction, which it would know, or another, and then this one never lands.
            let is_dead = match lookup.sequence_used_at {
                Some(ledger) => lookup.latest_ledger >= ledger,
                None => false,
            };
            if lookup.latest_ledger < high_water || !(is_late || is_dead) {
                AfterLookup::Again
            } else if lookup.oldest_ledger <= signed.ledger {
                AfterLookup::Expired
            } else {
                AfterLookup::Forgotten
            }
        }
    }
}

/// How many ledgers a record lives beyond twice the seconds to its deadline (V17).
const RECORD_EXTRA: u64 = 21_600;

/// The first ledger in which a record that some transaction of ours made might have reached the end
/// of its life: it was made in `first_ledger` at the earliest, and at `last_max_time` at the
/// latest, so that its life is at least twice the time from there to the deadline, and six hours
/// (R13, V17).
pub fn record_lives_until(first_ledger: u32, last_max_time: u64, deadline: u64) -> u32 {
    let life = deadline.saturating_sub(last_max_time).saturating_mul(2) + RECORD_EXTRA;
    first_ledger.saturating_add(u32::try_from(life).unwrap_or(u32::MAX))
}

/// What contract state proves about a transaction that can no longer land.
///
/// `record_lives_until` is the first ledger in which the record might have reached the end of its
/// life, [`record_lives_until`]; `ledger` is the ledger the state was
/// read at.
/// `opens`: the call is an `open_run`, which makes the record; the others change it.
pub const fn after_state(
    opens: bool,
    record: Record,
    ledger: u32,
    record_lives_until: u32,
) -> AfterState {
    match record {
        Record::Shows => AfterState::Done,
        Record::Lacks => AfterState::NotDone,
        Record::Absent if opens && ledger < record_lives_until => AfterState::NotDone,
        Record::Absent => AfterState::Unknown,
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It landed and did what it says.
    Succeeded,
    /// It landed and did nothing but pay its fee.
    Failed,
    /// It was refused before the queue, for good.
    Rejected,
    /// It was never seen, and can never land.
    Gone,
}

/// What the vault answered for one call of a transaction that landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It is done.
    Done,
    /// An error of the vault.
    Error,
    /// Nothing that can be read.
    Nothing,
}

/// What follows for one call of a transaction that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterEnd {
    /// It was done, and its answer is at hand.
    Done,
    /// It was done, as contract state shows; the transaction's answer is lost.
    DoneByState,
    /// It was not done: it may be signed again.
    Again,
    /// It was not done, for a reason that another call of the transaction may have caused: it may
    /// be signed again in smaller company.
    Split,
    /// It was not done, and the vault said why.
    Refused,
    /// Unknown: an operator must look.
    Unknown,
}

/// What the end of a transaction means for one of its calls. `together` is how many calls it
/// carried; `state` is what contract state proves about this call, asked for where a transaction is
/// [`End::Gone`].
pub const fn after_end(
    end: End,
    together: usize,
    answered: Answered,
    state: Option<AfterState>,
) -> AfterEnd {
    match (end, answered) {
        (End::Succeeded, Answered::Done) => AfterEnd::Done,
        (End::Succeeded, Answered::Error) => AfterEnd::Refused,
        // It landed, so nothing may be signed before somebody has understood what it did.
        (End::Succeeded, Answered::Nothing) => AfterEnd::Unknown,
        // A failed transaction changes nothing: of one call the reason is that call's own.
        (End::Failed, _) if together > 1 => AfterEnd::Split,
        (End::Failed, Answered::Error) => AfterEnd::Refused,
        (End::Failed, _) => AfterEnd::Again,
        (End::Rejected, _) if together > 1 => AfterEnd::Split,
        (End::Rejected, _) => AfterEnd::Again,
        (End::Gone, _) => match state {
            Some(AfterState::NotDone) => AfterEnd::Again,
            Some(AfterState::Done) => AfterEnd::DoneByState,
            Some(AfterState::Unknown) | None => AfterEnd::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIGNED: Signed = Signed { max_time: 1_000, ledger: 50 };

    fn not_found(latest_ledger: u32, latest_close_time: u64, oldest_ledger: u32) -> Lookup {
        Lookup {
            found: Found::NotFound,
            latest_ledger,
            latest_close_time,
            oldest_ledger,
            sequence_used_at: None,
        }
    }

    #[test]
    fn only_a_final_refusal_of_the_first_send_rejects() {
        use SendAnswer::{Duplicate, None, Pending, Refused, RefusedForGood, TryAgainLater};
        assert_eq!(after_send(true, RefusedForGood), AfterSend::Rejected);
        for answer in [Pending, Duplicate, TryAgainLater, Refused, None] {
            assert_eq!(after_send(true, answer), AfterSend::Unknown, "{answer:?}");
        }
        for answer in [Pending, Duplicate, TryAgainLater, Refused, RefusedForGood, None] {
            assert_eq!(after_send(false, answer), AfterSend::Unknown, "{answer:?} again");
        }
    }

    #[test]
    fn not_found_counts_only_after_max_time_with_history_on_a_node_that_is_not_behind() {
        let cases = [
            // latest ledger, close time, oldest ledger, high water, what follows
            ((90, 999, 1), 90, AfterLookup::Again),
            ((90, 1_000, 1), 90, AfterLookup::Again),
            ((90, 1_001, 1), 90, AfterLookup::Expired),
            ((90, 1_001, 50), 90, AfterLookup::Expired),
            ((90, 1_001, 51), 90, AfterLookup::Forgotten),
            ((89, 1_001, 1), 90, AfterLookup::Again),
            ((89, 1_001, 51), 90, AfterLookup::Again),
        ];
        for ((latest, close, oldest), high_water, expected) in cases {
            let lookup = not_found(latest, close, oldest);
            assert_eq!(after_lookup(SIGNED, lookup, high_water), expected, "{lookup:?}");
        }
    }

    #[test]
    fn a_used_sequence_number_ends_a_transaction_that_a_current_node_does_not_have() {
        let used_at = |ledger, lookup: Lookup| {
            let lookup = Lookup { sequence_used_at: Some(ledger), ..lookup };
            after_lookup(SIGNED, lookup, 90)
        };
        assert_eq!(used_at(90, not_found(90, 500, 1)), AfterLookup::Expired);
        assert_eq!(used_at(91, not_found(90, 500, 1)), AfterLookup::Again, "not seen there yet");
        assert_eq!(used_at(80, not_found(89, 500, 1)), AfterLookup::Again, "the node is behind");
        assert_eq!(used_at(80, not_found(90, 500, 51)), AfterLookup::Forgotten);
    }

    #[test]
    fn what_landed_landed_whatever_the_node() {
        for (found, expected) in
            [(Found::Success, AfterLookup::Succeeded), (Found::Failed, AfterLookup::Failed)]
        {
            let lookup = Lookup { found, ..not_found(1, 1, 1) };
            assert_eq!(after_lookup(SIGNED, lookup, 90), expected);
        }
    }

    #[test]
    fn a_missing_record_proves_only_that_nothing_was_opened_and_only_while_it_would_live() {
        assert_eq!(after_state(true, Record::Absent, 99, 100), AfterState::NotDone);
        assert_eq!(after_state(true, Record::Absent, 100, 100), AfterState::Unknown);
        assert_eq!(after_state(false, Record::Absent, 99, 100), AfterState::Unknown);
        assert_eq!(after_state(false, Record::Lacks, 999, 100), AfterState::NotDone);
        assert_eq!(after_state(true, Record::Shows, 999, 100), AfterState::Done);
    }

    proptest! {
        #[test]
        fn a_replacement_is_never_signed_while_the_first_may_land(
            latest in any::<u32>(), close in 0_u64..2_000,
            oldest in any::<u32>(), high in any::<u32>(),
        ) {
            let answer = after_lookup(SIGNED, not_found(latest, close, oldest), high);
            if matches!(answer, AfterLookup::Expired | AfterLookup::Forgotten) {
                prop_assert!(close > SIGNED.max_time && latest >= high);
            }
            if answer == AfterLookup::Expired {
                prop_assert!(oldest <= SIGNED.ledger);
            }
        }
    }
}
