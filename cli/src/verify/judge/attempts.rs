//! Every attempt of the run, what each was charged, and whether there can be others.
//!
//! A run is what its user asked for once; each retry charges again. So what the run cost is the sum
//! over its attempts, and that sum is only as good as the search for them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stellar::Address;
use stellar::vault::{Lifecycle, RunRecord, RunTerms, SettledRun, settlement_hash};
use wire::VaultRunId;

use super::{Case, Link, Name, differs};
use crate::times;
use crate::verify::facts::{
    AttemptFacts, CLOCK_SLACK, ChainFacts, FURTHER_ATTEMPTS, Origin, asked_at,
};

/// One attempt as the chain has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptProof {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Its id on chain.
    pub run_id: VaultRunId,
    /// Who opened it.
    pub opened_by: Option<Address>,
    /// Its deadline, Unix seconds.
    pub deadline: Option<u64>,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How an attempt ended on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Outcome {
    /// It was settled.
    Settled {
        /// What the developer got, stroops.
        #[serde(with = "wire::usage::decimal")]
        charge: i128,
        /// What the runner got beside it, stroops.
        #[serde(with = "wire::usage::decimal")]
        fee: i128,
    },
    /// It was settled, and nothing says any more whether its runner took the fee.
    FeeUnknown {
        /// What the developer got, stroops.
        #[serde(with = "wire::usage::decimal")]
        charge: i128,
        /// What the runner got beside it at most, stroops.
        #[serde(rename = "highestFee", with = "wire::usage::decimal")]
        highest_fee: i128,
    },
    /// The runner gave it up, and the whole escrow went back.
    Voided,
    /// The whole escrow went back after the deadline.
    Reclaimed,
    /// The escrow is held, and may still be charged.
    Open,
    /// The deadline has passed: it cannot be charged any more, and has not been returned yet.
    Overdue,
    /// Its record has ended, and no receipt of the account is its.
    NotCharged,
    /// The chain does not say any more.
    Unknown,
}

/// What the attempts came to together, in stroops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// Charges.
    #[serde(with = "wire::usage::decimal")]
    pub charge: i128,
    /// Fees.
    #[serde(with = "wire::usage::decimal")]
    pub fee: i128,
    /// Both.
    #[serde(with = "wire::usage::decimal")]
    pub total: i128,
    /// Whether it is all that the run cost, and not only the least.
    pub complete: bool,
}

/// The attempts with what follows from them.
pub(super) struct Attempts {
    pub(super) attempts: Vec<AttemptProof>,
    pub(super) sum: Sum,
    /// What contradicts itself.
    wrong: Vec<String>,
    /// How it is known that there are no others, or why that is not known.
    pub(super) coverage: Result<Coverage, String>,
}

/// How it is known that no attempt was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coverage {
    /// All receipts that the account ever had are at hand.
    AllReceipts,
    /// Receipts or events reach back to before the run was asked for, at this time.
    Since(u64),
    /// The node has every ledger that there is.
    WholeChain,
}

pub(super) fn of(case: &Case<'_>) -> Attempts {
    let facts = case.facts;
    let receipts = facts.settled();
    let mut wrong = Vec::new();
    let mut attempts = Vec::new();

    for attempt in &facts.attempts {
        let receipt = receipts.iter().map(|(_, receipt)| receipt);
        let receipt = receipt.into_iter().find(|receipt| receipt.run_id == attempt.run_id);
        wrong.extend(contradictions(case, attempt, receipt));

        // A receipt outlives the record and the events, and names who opened the attempt too.
        let origin = attempt.origin().or_else(|| receipt.map(Origin::from));
        attempts.push(AttemptProof {
            attempt: attempt.attempt,
            run_id: attempt.run_id,
            opened_by: origin.map(|origin| origin.opened_by),
            deadline: origin.map(|origin| origin.deadline),
            outcome: outcome(case, attempt, receipt),
        });
    }
    wrong.extend(listed_twice(facts));
    wrong.extend(left_out(case, &receipts));
    wrong.extend(charged_twice(&attempts));

    // Only what is certain is added. A fee that is not known counts as none, and then the sum is
    // not complete.
    let mut sum = Sum::default();
    for attempt in &attempts {
        let (charge, fee) = match attempt.outcome {
            Outcome::Settled { charge, fee } => (charge, fee),
            Outcome::FeeUnknown { charge, .. } => (charge, 0),
            _ => continue,
        };
        sum.charge = sum.charge.saturating_add(charge);
        sum.fee = sum.fee.saturating_add(fee);
    }
    sum.total = sum.charge.saturating_add(sum.fee);

    let coverage = coverage(case);
    let is_final = attempts.iter().all(|attempt| {
        !matches!(attempt.outcome, Outcome::Open | Outcome::Unknown | Outcome::FeeUnknown { .. })
    });

    sum.complete = coverage.is_ok() && is_final && wrong.is_empty() && !attempts.is_empty();
    Attempts { attempts, sum, wrong, coverage }
}

impl Attempts {
    pub(super) fn link(&self, case: &Case<'_>) -> Link {
        if !self.wrong.is_empty() {
            return Link::broken(Name::Attempts, self.wrong.join("; "));
        }
        if self.attempts.is_empty() {
            return Link::unknown(Name::Attempts, "the chain shows no attempt of this run");
        }

        // What is least known is said first.
        let doubtful = |outcome| self.attempts.iter().find(|attempt| attempt.outcome == outcome);
        if let Some(attempt) = doubtful(Outcome::Unknown) {
            let text = format!(
                "what attempt {} came to is outside the RPC's retention; give a list of receipts \
                 that reaches back, from: lumio receipts export",
                attempt.attempt
            );
            return Link::unknown(Name::Attempts, text);
        }
        if let Some(attempt) = doubtful(Outcome::Open) {
            let text = format!("attempt {} is open and may still be charged", attempt.attempt);
            return Link::unknown(Name::Attempts, text);
        }
        for attempt in &self.attempts {
            if let Outcome::FeeUnknown { charge, highest_fee } = attempt.outcome {
                let text = format!(
                    "attempt {} was settled for {}, and nothing says any more whether its runner \
                     took its fee of {}; give a list of receipts that reaches back, from: lumio \
                     receipts export",
                    attempt.attempt,
                    case.show(charge),
                    case.show(highest_fee)
                );
                return Link::unknown(Name::Attempts, text);
            }
        }

        let count = match self.attempts.len() {
            1 => "one attempt".to_owned(),
            many => format!("{many} attempts"),
        };

        match &self.coverage {
            Err(reason) => Link::unknown(
                Name::Attempts,
                format!("other attempts than {count} could not be looked for: {reason}"),
            ),
            Ok(Coverage::AllReceipts) => Link::ok(
                Name::Attempts,
                format!("{count} on chain; all receipts of the account are at hand"),
            ),
            Ok(Coverage::WholeChain) => {
                Link::ok(Name::Attempts, format!("{count} on chain, since its first ledger"))
            }
            Ok(Coverage::Since(_)) => Link::ok(
                Name::Attempts,
                format!("{count} on chain since the run was asked for{}", asked_text(case)),
            ),
        }
    }
}

fn asked_text(case: &Case<'_>) -> String {
    let date = asked(case).and_then(times::date);
    date.map(|date| format!(" ({date})")).unwrap_or_default()
}

/// When the run was asked for, or earlier. The id's own time is the runner's word, which the user
/// has had since the run was started; what else is known can only make it earlier.
fn asked(case: &Case<'_>) -> Option<u64> {
    let by_id = asked_at(case.facts.run)?;
    let created = u64::try_from(case.bundle.claim.run.created_at.unix_timestamp()).ok();
    let opened = case.facts.attempts.iter().filter_map(|attempt| attempt.opened.as_ref());
    let opened = opened.map(|opened| opened.terms.opened_at).min();
    Some([created, opened].into_iter().flatten().fold(by_id, u64::min))
}

/// Whether the search for attempts reaches back to before the run was asked for.
fn coverage(case: &Case<'_>) -> Result<Coverage, String> {
    const REMEDY: &str = "give a list of receipts that reaches back (lumio receipts export), or \
                          ask an RPC that keeps more";
    let facts = case.facts;
    let asked = asked(case).map(|asked| asked.saturating_sub(CLOCK_SLACK));
    if let Some(attempt) = unlisted(facts) {
        return Err(format!(
            "attempt {attempt} is settled, and neither an event nor a receipt of that is at hand, \
             so there can be others like it; {REMEDY}"
        ));
    }

    let receipts = verified_receipts(facts);

    // The first ledger has no transactions, so that 2 reaches back as far as 1.
    if facts.oldest_ledger <= 2 {
        if let Some(reason) = unexplained(facts, 0) {
            return Err(reason);
        }
        // A node that has every ledger has every settlement. The account's record counts them, so
        // that a node that hides one contradicts itself.
        let count = facts.account.map_or(0, |account| account.count);
        let is_whole = match count {
            0 => facts.attempts.iter().all(|attempt| attempt.finalized.is_none()),
            _ => receipts.is_some() && counts_from_one(facts),
        };
        return match is_whole {
            true => Ok(Coverage::WholeChain),
            false => Err(format!(
                "the RPC names every ledger as kept, and does not have each of the {count} \
                 receipts that the account counts; {REMEDY}"
            )),
        };
    }

    if let Some(receipts) = &receipts {
        // Every receipt is known by its text, so that no charge of the account is another run's
        // name.
        let first = receipts.first();
        if first.is_none_or(|(number, _)| *number == 1) && counts_from_one(facts) {
            return Ok(Coverage::AllReceipts);
        }

        // Receipts are in the order of settlement, so that all since then are known.
        if let (Some((_, first)), Some(asked)) = (first, asked)
            && first.finalized_at < asked
        {
            return Ok(Coverage::Since(asked));
        }
    }

    // Without receipts, events have to reach back as far.
    let Some(asked) = asked else {
        return Err(format!("the run's id does not say when it was asked for; {REMEDY}"));
    };
    if facts.oldest_time > asked {
        return Err(format!("the RPC keeps nothing from when the run was asked for; {REMEDY}"));
    }
    if let Some(reason) = unexplained(facts, asked) {
        return Err(reason);
    }
    if let Some(number) = facts.unseen {
        return Err(format!(
            "the RPC has earlier settlements of the account, and not the one of receipt {number}, \
             which could be this run's; {REMEDY}"
        ));
    }
    if let Some(attempt) = skipped(facts) {
        return Err(format!(
            "attempt {attempt} was not found on chain, but a later attempt was; {REMEDY}"
        ));
    }

    match receipts {
        None if facts.account.is_some_and(|account| account.count > 0) => {
            Err("the account's newest receipts are not all at hand; try again".to_owned())
        }
        _ => Ok(Coverage::Since(asked)),
    }
}

/// An attempt that only its record calls settled. A search that reaches back to before the run was
/// asked for would have found the settlement, so this one did not reach as far as it seems to: the
/// node lost or hides events, or the settlement came while the node was being read.
fn unlisted(facts: &ChainFacts) -> Option<u32> {
    let receipts = facts.settled();
    let settled = facts.attempts.iter().filter(|attempt| {
        let record = attempt.record.as_ref();
        record.is_some_and(|record| matches!(record.lifecycle, Lifecycle::Finalized { .. }))
    });
    let mut silent = settled.filter(|attempt| {
        attempt.finalized.is_none()
            && !receipts.iter().any(|(_, receipt)| receipt.run_id == attempt.run_id)
    });
    silent.next().map(|attempt| attempt.attempt)
}

/// The first attempt that was not found although a later one was. It may never have been opened;
/// that no receipt is its, only a list of receipts can tell.
fn skipped(facts: &ChainFacts) -> Option<u32> {
    let found: BTreeSet<u32> = facts.attempts.iter().map(|attempt| attempt.attempt).collect();
    let last = *found.last()?;
    (1..last).find(|number| !found.contains(number))
}

/// A settlement since `asked` whose opening was not found could be this run's.
fn unexplained(facts: &ChainFacts, asked: u64) -> Option<String> {
    let settlement = facts.unexplained.iter().find(|event| event.finalized_at >= asked)?;
    Some(format!(
        "receipt {} of the account has no opening among the vault's events, and could be this \
         run's",
        settlement.number
    ))
}

/// The receipts of the list, if it is without a gap, its hashes hold, and it ends where the account
/// is now.
fn verified_receipts(facts: &ChainFacts) -> Option<Vec<(u64, SettledRun)>> {
    let (list, account) = (facts.receipts.as_ref()?, facts.account?);
    list.check().ok()?;
    let (number, hash) = list.end().unwrap_or((account.count, list.before));
    if (number, hash) != (account.count, account.hash) {
        return None;
    }
    let receipts = facts.settled();

    // One that cannot be decoded here could be this run's.
    (receipts.len() == list.receipts.len()).then_some(receipts)
}

/// Whether the list holds the account's first receipt, or the account never had one.
fn counts_from_one(facts: &ChainFacts) -> bool {
    let listed = facts.receipts.as_ref().map_or(0, |list| list.receipts.len());
    facts.account.is_some_and(|account| usize::try_from(account.count) == Ok(listed))
}

/// How one attempt ended, by whatever still knows it.
fn outcome(case: &Case<'_>, attempt: &AttemptFacts, receipt: Option<&SettledRun>) -> Outcome {
    let facts = case.facts;
    let event = attempt.finalized.as_ref().map(|event| (event.actual_charge, event.runner_fee));
    let receipt = receipt.map(|receipt| (receipt.actual_charge, receipt.runner_fee));
    if let Some((charge, fee)) = event.or(receipt) {
        return Outcome::Settled { charge, fee };
    }
    let Some(record) = &attempt.record else {
        return if had_no_receipt(facts, attempt) { Outcome::NotCharged } else { Outcome::Unknown };
    };
    match record.lifecycle {
        Lifecycle::Finalized { charge, .. } => {
            // The statement is of the shown attempt, and says nothing about the usage of others.
            let is_shown = case.shown.is_some_and(|shown| shown.run_id == attempt.run_id);
            let usage = case.usage.as_ref().filter(|_| is_shown);
            match attempt.recorded_fee(usage) {
                Some(fee) => Outcome::Settled { charge, fee },
                None => Outcome::FeeUnknown { charge, highest_fee: record.runner_fee },
            }
        }
        Lifecycle::Voided(_) => Outcome::Voided,
        Lifecycle::Reclaimed => Outcome::Reclaimed,
        Lifecycle::Open if facts.ledger_time >= record.deadline => Outcome::Overdue,
        Lifecycle::Open => Outcome::Open,
    }
}

/// Whether every receipt since the attempt was opened is known by its text. Its own is not among
/// them, or this would not be asked.
pub(super) fn had_no_receipt(facts: &ChainFacts, attempt: &AttemptFacts) -> bool {
    let Some(opened) = &attempt.opened else { return false };
    let is_over = facts.ledger_time > opened.terms.deadline;
    let Some(receipts) = verified_receipts(facts) else { return false };
    let reaches = counts_from_one(facts)
        || receipts.first().is_some_and(|(_, first)| first.finalized_at <= opened.terms.opened_at);
    is_over && reaches
}

/// What different sources say differently about one attempt, and sums that do not add up.
fn contradictions(
    case: &Case<'_>,
    attempt: &AttemptFacts,
    receipt: Option<&SettledRun>,
) -> Vec<String> {
    let number = attempt.attempt;
    let mut wrong = Vec::new();
    let origins = [
        attempt.opened.as_ref().map(Origin::from),
        attempt.record.as_ref().map(Origin::from),
        receipt.map(Origin::from),
    ];
    for origin in origins.into_iter().flatten() {
        if case.own.run_id(case.facts.run, number, &origin).ok() != Some(attempt.run_id) {
            wrong.push(format!("attempt {number} has not the id {} on chain", attempt.run_id));
        }
    }

    let terms = attempt.opened.as_ref().map(|opened| &opened.terms);
    let terms = terms.or(receipt.map(|receipt| &receipt.terms));
    if let (Some(terms), Some(record)) = (terms, &attempt.record) {
        wrong.extend(recorded_terms(number, terms, record));
    }
    let event = attempt.finalized.as_ref();
    let settled = event.is_some() || receipt.is_some();
    if let Some(record) = &attempt.record {
        let is_settled = matches!(record.lifecycle, Lifecycle::Finalized { .. });
        if settled && !is_settled {
            wrong.push(format!("attempt {number} has a receipt, but its record is not settled"));
        }
        if let (Lifecycle::Finalized { charge, output_hash, .. }, Some(event)) =
            (record.lifecycle, event)
        {
            wrong.extend(differs("the event's charge", charge, event.actual_charge));
            wrong.extend(differs("the event's output hash", output_hash, event.output_hash));
        }
        let known = event.map(|event| (event.runner, event.usage));
        let known = known.or(receipt.map(|receipt| (receipt.settled_by, receipt.usage)));
        if let (Lifecycle::Finalized { settlement, .. }, Some((settler, usage))) =
            (record.lifecycle, known)
        {
            // Whether an attester signed is in the digest alone, so that both are tried.
            let mut ways = [true, false].into_iter();
            let fits =
                |way| settlement_hash(&settler, &usage, way).is_ok_and(|hash| hash == settlement);
            if !ways.any(fits) {
                wrong.push(format!("attempt {number}: its record is of another settlement"));
            }
        }
    }
    if let (Some(event), Some(receipt)) = (event, receipt) {
        let terms = attempt.opened.as_ref().map_or(&receipt.terms, |opened| &opened.terms);
        if event.settled(terms) != *receipt {
            wrong.push(format!("attempt {number}: its event and its receipt differ"));
        }
    }
    let of_event =
        event.zip(attempt.opened.as_ref()).map(|(event, opened)| event.settled(&opened.terms));
    if let Some(receipt) = of_event.as_ref().or(receipt) {
        wrong.extend(arithmetic(case, number, receipt));
    }
    wrong
}

/// The record holds what the terms say, and their hash.
fn recorded_terms(number: u32, terms: &RunTerms, record: &RunRecord) -> Vec<String> {
    let escrow = terms.max_charge.checked_add(terms.runner_fee);
    let wrong = [
        (terms.hash().ok() != Some(record.terms_hash)).then(|| {
            format!("attempt {number}: its terms have not the hash that its record holds")
        }),
        (escrow != Some(record.escrowed) || terms.runner_fee != record.runner_fee)
            .then(|| format!("attempt {number}: escrow and fee of its record are not its terms'")),
        (terms.agent_id != record.agent_id)
            .then(|| format!("attempt {number}: its record is of another agent")),
    ];
    wrong.into_iter().flatten().collect()
}

/// Charge, fee and refund of a receipt follow from prices, usage and escrow.
fn arithmetic(case: &Case<'_>, number: u32, receipt: &SettledRun) -> Vec<String> {
    let terms = &receipt.terms;
    let charge = wire::usage::charge(&terms.rates, &receipt.usage);
    let escrow = terms.max_charge.checked_add(terms.runner_fee);
    let parts = receipt.actual_charge.checked_add(receipt.runner_fee);
    let parts = parts.and_then(|parts| parts.checked_add(receipt.refund));
    let wrong = [
        (charge != Some(receipt.actual_charge)).then(|| {
            format!(
                "attempt {number}: {} were charged, which prices times usage are not",
                case.show(receipt.actual_charge)
            )
        }),
        (parts.is_none() || parts != escrow)
            .then(|| format!("attempt {number}: charge, fee and refund are not the escrow")),
        (receipt.runner_fee > terms.runner_fee || receipt.runner_fee < 0)
            .then(|| format!("attempt {number}: a higher fee was taken than was agreed to")),
    ];
    wrong.into_iter().flatten().collect()
}

/// One id on chain is one attempt, however often facts name it.
fn listed_twice(facts: &ChainFacts) -> Vec<String> {
    let mut ids: Vec<_> = facts.attempts.iter().map(|attempt| attempt.run_id).collect();
    ids.sort();
    let twice = ids.windows(2).filter(|pair| pair[0] == pair[1]);
    twice.map(|pair| format!("the chain's facts list the attempt {} twice", pair[0])).collect()
}

/// Receipts of the account that are this run's, and of no attempt that was found.
fn left_out(case: &Case<'_>, receipts: &[(u64, SettledRun)]) -> Vec<String> {
    let facts = case.facts;
    let known = |run_id| facts.attempts.iter().any(|attempt| attempt.run_id == run_id);
    let last = facts.attempts.iter().map(|attempt| attempt.attempt).max().unwrap_or_default();
    let mut wrong = Vec::new();
    for (number, receipt) in receipts.iter().filter(|(_, receipt)| !known(receipt.run_id)) {
        let origin = Origin::from(receipt);
        let mut numbers = 1..=last.saturating_add(FURTHER_ATTEMPTS);
        let own = numbers.find(|number| {
            case.own.run_id(facts.run, *number, &origin).ok() == Some(receipt.run_id)
        });
        if let Some(attempt) = own {
            wrong.push(format!("receipt {number} of the account is attempt {attempt}, left out"));
        }
    }
    wrong
}

/// One attempt is one execution: opened again under another deadline, it must not be charged again.
fn charged_twice(attempts: &[AttemptProof]) -> Vec<String> {
    let mut charges: BTreeMap<u32, u32> = BTreeMap::new();
    for attempt in attempts {
        let is_charged = match attempt.outcome {
            Outcome::Settled { charge, fee } => charge != 0 || fee != 0,
            Outcome::FeeUnknown { charge, .. } => charge != 0,
            _ => false,
        };
        if is_charged {
            *charges.entry(attempt.attempt).or_default() += 1;
        }
    }
    let twice = charges.into_iter().filter(|(_, times)| *times > 1);
    twice
        .map(|(attempt, times)| {
            format!(
                "attempt {attempt} was opened again under another deadline and charged {times} \
                 times, for one execution"
            )
        })
        .collect()
}
