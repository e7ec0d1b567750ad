//! Judging the links of one run: a pure function of files, chain facts and the verifier's
//! configuration.

mod money;
mod pack;
mod stated;

use stellar::vault::{Lifecycle, RunTerms};
use wire::{Digest, Usage};

use super::bundle::Bundle;
use super::facts::{ChainFacts, Own};
use super::link::{Link, Name, Proof, State};
use crate::failure::Result;

/// How the chain says the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Settled.
    Settled {
        /// Stroops.
        charge: i128,
        /// What the run commits to.
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
    /// The terms that the chain vouches for.
    terms: Option<RunTerms>,
    end: End,
}

/// Judges every link.
///
/// # Errors
///
/// [`crate::failure::Failure::Unknown`] when a file cannot be read.
pub fn judge(bundle: &Bundle, facts: &ChainFacts, own: &Own) -> Result<Proof> {
    let terms = terms(bundle, facts);
    let case = Case { bundle, facts, own, terms, end: end(facts) };
    let mut links = vec![money::vault(&case), money::terms(&case), money::rates(&case)];
    let stated = stated::read(&case)?;
    links.push(money::charge(&case, stated.as_ref().map(stated::Stated::usage)));
    links.push(money::receipt(&case));
    if is_failure_record(&case)? {
        links.extend(money::failure(&case));
    } else {
        links.push(stated::usage(&case, stated.as_ref()));
        links.push(stated::statement(&case, stated.as_ref()));
        links.extend(pack::links(&case, stated.as_ref())?);
        links.push(stated::gates(&case, stated.as_ref())?);
    }
    links.push(money::account(&case));
    links.sort_by_key(|link| link.link);
    let conclusion = conclusion(&case, stated.as_ref(), &links);
    Ok(Proof { links, conclusion })
}

/// From the opened event; when that is gone, the gateway's, if they have the hash that the record
/// holds.
fn terms(bundle: &Bundle, facts: &ChainFacts) -> Option<RunTerms> {
    if let Some(opened) = &facts.opened {
        return Some(opened.terms.clone());
    }
    let (claimed, record) = (bundle.claim.terms.as_ref()?, facts.record.as_ref()?);
    let hash = claimed.hash().ok()?;
    (hash == record.terms_hash).then(|| claimed.clone())
}

fn end(facts: &ChainFacts) -> End {
    match (&facts.record, &facts.finalized) {
        (Some(record), _) => match record.lifecycle {
            Lifecycle::Finalized { charge, output_hash, .. } => {
                End::Settled { charge, output_hash }
            }
            Lifecycle::Voided(_) | Lifecycle::Reclaimed => End::Returned,
            // Past its deadline it can only be returned, but it is the user's again when somebody
            // has returned it, not before.
            Lifecycle::Open => End::Open,
        },
        (None, Some(event)) => {
            End::Settled { charge: event.actual_charge, output_hash: event.output_hash }
        }
        (None, None) => End::Open,
    }
}

/// A run that never had a statement commits to a failure's document and charges nothing; one whose
/// escrow went back commits to nothing.
fn is_failure_record(case: &Case<'_>) -> Result<bool> {
    let has_pack = case.bundle.read(&format!("pack/{}", seal::SEAL_FILE))?.is_some();
    let free = match case.end {
        End::Settled { charge, output_hash } => {
            charge == 0 && money::failure_digest(case) == Some(output_hash)
        }
        End::Returned => true,
        End::Open => false,
    };
    Ok(free && !has_pack)
}

fn conclusion(case: &Case<'_>, stated: Option<&stated::Stated>, links: &[Link]) -> Vec<String> {
    let End::Settled { charge, .. } = case.end else {
        return vec![
            "proven: the whole escrow went back to the user; nothing was charged".to_owned(),
        ];
    };
    let paid = paid(charge, money::fee(case));
    let Some(stated) = stated else {
        return vec![format!(
            "proven: {paid} for a run that was never executed; its failure is committed to on chain"
        )];
    };
    let Usage { llm_in, llm_out, http_calls, runtime_ms } = stated.usage();
    let mut lines = vec![format!(
        "proven: {paid} for {runtime_ms} ms, {llm_in} + {llm_out} tokens and {http_calls} calls, \
            at prices pinned before the run; \
         output files and module are byte for byte what the charge commits to"
    )];
    lines.push(format!(
        "rests on trust: that the module really ran so, and used this much, is stated by the key \
            {}, which the agent's developer accepted on chain",
        stated.signer()
    ));
    let skipped = links.iter().filter(|link| link.state == State::Skipped);
    lines.extend(skipped.map(|link| format!("not shown: {}: {}", link.link.as_str(), link.detail)));
    lines
}

/// What left the user's account: the charge, and the runner's flat fee where there is one.
fn paid(charge: i128, fee: i128) -> String {
    use stellar::amount::show;
    match fee {
        0 => format!("{} were charged", show(charge)),
        fee => format!(
            "{} were charged and {} went to the runner as its fee, {} in all,",
            show(charge),
            show(fee),
            show(charge.saturating_add(fee))
        ),
    }
}

/// `what` differs: one side says this, the other that.
fn differs<T: PartialEq + std::fmt::Display>(what: &str, ours: T, theirs: T) -> Option<String> {
    (ours != theirs).then(|| format!("{what}: {theirs} instead of {ours}"))
}

/// The name of every link, so that none is forgotten.
#[cfg(test)]
pub(crate) const ALL: [Name; 13] = [
    Name::Vault,
    Name::Terms,
    Name::Rates,
    Name::Charge,
    Name::Receipt,
    Name::Usage,
    Name::Statement,
    Name::Seal,
    Name::Manifest,
    Name::Files,
    Name::Module,
    Name::Gates,
    Name::Account,
];

#[cfg(test)]
mod tests;
