//! Judging the links of one run: a pure function of files, chain facts and the verifier's own
//! configuration.

mod attempts;
mod calls;
mod conclusion;
mod money;
mod pack;
mod request;
mod stated;
mod times;
mod view;

use stellar::vault::{Lifecycle, RunTerms, SettledRun};
use wire::event::RunStatus;
use wire::{Digest, Usage};

use super::bundle::Bundle;
use super::facts::{AttemptFacts, ChainFacts, Own};
use super::link::{Link, Name, Proof, Tombstone, TombstoneSource};
use crate::error::Result;

pub use attempts::{AttemptProof, Outcome, Sum};
pub use request::Asked;

/// How the chain says that the attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Settled.
    Settled {
        /// Stroops.
        charge: i128,
        /// What the attempt commits to.
        output_hash: Digest,
    },
    /// The whole escrow went back.
    Returned,
    /// Not yet, or nothing is known.
    Open,
}

/// What the links are judged from.
struct Case<'a> {
    bundle: &'a Bundle,
    facts: &'a ChainFacts,
    own: &'a Own,
    /// The attempt that the bundle is of, as the chain knows it.
    shown: Option<&'a AttemptFacts>,
    /// Its receipt with the receipt's number, from the list.
    receipt: Option<(u64, SettledRun)>,
    /// The terms that the chain vouches for.
    terms: Option<RunTerms>,
    end: End,
    /// The usage of the verified statement, once that was read.
    usage: Option<Usage>,
}

impl Case<'_> {
    /// An amount for a person.
    fn show(&self, stroops: i128) -> String {
        self.own.unit.show(stroops)
    }
}

/// Judges every link. `asked` is what the user remembers of the request.
///
/// # Errors
///
/// [`crate::error::CliError::Unknown`] when a file cannot be read.
pub fn judge(bundle: &Bundle, facts: &ChainFacts, own: &Own, asked: &Asked) -> Result<Proof> {
    let shown = shown(bundle, facts);
    let receipt = shown.and_then(|shown| {
        facts.settled().into_iter().find(|(_, receipt)| receipt.run_id == shown.run_id)
    });
    let terms = terms(bundle, shown, receipt.as_ref());
    let end = end(shown, receipt.as_ref());
    let mut case = Case { bundle, facts, own, shown, receipt, terms, end, usage: None };

    let mut tombstone =
        bundle.withheld.clone().map(|says| Tombstone { source: TombstoneSource::Gateway, says });

    // The statement first: its usage is needed where the chain keeps only a digest.
    let stated = stated::read(&case)?;
    case.usage = stated.as_ref().map(stated::Stated::usage);
    let attempts = attempts::of(&case);
    let mut links = vec![
        money::vault(&case),
        money::terms(&case),
        money::rates(&case),
        money::charge(&case),
        attempts.link(&case),
        money::receipt(&case),
        money::account(&case),
        request::link(&case, stated.as_ref(), asked),
    ];
    let mut calls = Vec::new();
    if is_failure_record(&case) {
        links.extend(money::failure(&case));
    } else {
        links.push(stated::usage(&case, stated.as_ref()));
        let (link, listed) = calls::read(&case, stated.as_ref());
        links.extend(link);
        calls = listed;
        links.push(stated::statement(&case, stated.as_ref()));
        links.push(times::link(&case, stated.as_ref()));
        let (pack, recorded) = pack::links(&case, stated.as_ref())?;
        links.extend(pack);
        tombstone = tombstone.or(recorded);
        links.push(stated::gates(&case, stated.as_ref())?);
    }

    // In the order of printing, whichever was judged first.
    links.sort_by_key(|link| link.link);
    let conclusion = conclusion::draw(&case, stated.as_ref(), &attempts, &links);
    let attempts::Attempts { attempts, sum, .. } = attempts;
    let unit = own.unit.clone();
    Ok(Proof { links, attempts, sum, calls, tombstone, conclusion, unit })
}

/// The attempt that the bundle is of. A number can have several ids on chain, one for each deadline
/// it was opened under: the one that the gateway names is meant.
fn shown<'a>(bundle: &Bundle, facts: &'a ChainFacts) -> Option<&'a AttemptFacts> {
    let claim = &bundle.claim;
    let named = claim.run.run_id;
    let same = || facts.attempts.iter().filter(|attempt| attempt.attempt == claim.attempt());
    same().find(|attempt| Some(attempt.run_id) == named).or_else(|| same().next())
}

/// From the opened event or the receipt; when both are gone, the gateway's, if they have the hash
/// that the record holds.
fn terms(
    bundle: &Bundle,
    shown: Option<&AttemptFacts>,
    receipt: Option<&(u64, SettledRun)>,
) -> Option<RunTerms> {
    let shown = shown?;
    if let Some(opened) = &shown.opened {
        return Some(opened.terms.clone());
    }
    if let Some((_, receipt)) = receipt {
        return Some(receipt.terms.clone());
    }
    let (claimed, record) = (bundle.claim.terms.as_ref()?, shown.record.as_ref()?);
    let hash = claimed.hash().ok()?;
    (hash == record.terms_hash).then(|| claimed.clone())
}

fn end(shown: Option<&AttemptFacts>, receipt: Option<&(u64, SettledRun)>) -> End {
    let Some(shown) = shown else { return End::Open };
    if let Some(record) = &shown.record {
        return match record.lifecycle {
            Lifecycle::Finalized { charge, output_hash, .. } => {
                End::Settled { charge, output_hash }
            }
            Lifecycle::Voided(_) | Lifecycle::Reclaimed => End::Returned,
            // Past its deadline it can only be returned, but it is the user's again when somebody
            // has returned it, not before.
            Lifecycle::Open => End::Open,
        };
    }
    let event = shown.finalized.as_ref().map(|event| (event.actual_charge, event.output_hash));
    let receipt = receipt.map(|(_, receipt)| (receipt.actual_charge, receipt.output_hash));
    match event.or(receipt) {
        Some((charge, output_hash)) => End::Settled { charge, output_hash },
        None => End::Open,
    }
}

/// A run that never had a statement commits to a failure's document and charges nothing; one whose
/// escrow went back commits to nothing. Files that are there are looked at all the same.
fn is_failure_record(case: &Case<'_>) -> bool {
    let is_free = match case.end {
        End::Settled { charge, output_hash } => {
            charge == 0 && case.bundle.claim.failure_digest() == Some(output_hash)
        }
        // Files that are withheld were sealed, so that something was executed.
        End::Returned => case.bundle.withheld.is_none(),
        End::Open => false,
    };
    is_free && !case.bundle.pack().is_dir()
}

/// Why the bundle has no files, where that may be lawful. `None` where there are files, or where
/// the chain holds a settlement, which files have to answer for.
fn absent(case: &Case<'_>) -> Option<String> {
    if case.bundle.pack().is_dir() {
        return None;
    }
    if let Some(says) = &case.bundle.withheld {
        return Some(format!(
            "the gateway withholds the files, since their pack has a tombstone: {says}"
        ));
    }
    if case.end != End::Open {
        return None;
    }

    let run = &case.bundle.claim.run;
    let code = run.error_code.as_deref().map(|code| format!(" with {code}")).unwrap_or_default();
    let said = match run.status {
        RunStatus::Finalized => "has ended".to_owned(),
        RunStatus::Failed => format!("has failed{code}"),
        RunStatus::Cancelled => format!("was cancelled{code}"),
        RunStatus::Pending | RunStatus::Opening | RunStatus::Running | RunStatus::Finalizing => {
            "has not ended".to_owned()
        }
    };
    let chain = unsettled(case);
    Some(format!("{chain}; the gateway says that the run {said}, and no files of it are at hand"))
}

/// What the chain says of an attempt that it shows neither as settled nor as returned.
fn unsettled(case: &Case<'_>) -> String {
    let number = case.bundle.claim.attempt();
    match case.shown.map(|shown| shown.record.is_some()) {
        None => format!("the chain shows no attempt {number} of this run"),
        Some(true) => format!("attempt {number} is neither settled nor returned yet"),
        Some(false) => format!(
            "the record of attempt {number} has left the chain, and no settlement of it is known"
        ),
    }
}

/// `what` differs: one side says this, the other that.
fn differs<T: PartialEq + std::fmt::Display>(what: &str, ours: T, theirs: T) -> Option<String> {
    (ours != theirs).then(|| format!("{what}: {theirs} instead of {ours}"))
}

/// The name of every link, so that none is forgotten.
#[cfg(test)]
pub(crate) const ALL: [Name; 16] = [
    Name::Vault,
    Name::Terms,
    Name::Rates,
    Name::Charge,
    Name::Attempts,
    Name::Receipt,
    Name::Usage,
    Name::Statement,
    Name::Request,
    Name::Times,
    Name::Seal,
    Name::Manifest,
    Name::Files,
    Name::Module,
    Name::Gates,
    Name::Account,
];

#[cfg(test)]
mod tests;
