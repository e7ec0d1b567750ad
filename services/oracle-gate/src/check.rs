//! The checker: may what this facts view names be read?
//!
//! It starts at one view and reads only what the view, the gate map and the packs' manifests name
//! (O8). All rules run, all reasons are reported, in the order of the table; whatever cannot be
//! known is an error (O1). Bytes are hashed, never believed (O2).
//!
//! Layers, lowest first: [`rules`] and [`outcome`] are values; [`findings`] collects reasons;
//! `measured` knows every file; `locators` and `packs` open what the view names; `subject` is all
//! of that together; `content` and `gates` judge it. Each knows only the ones before it.

mod content;
pub mod findings;
mod gates;
mod locators;
pub(crate) mod measured;
pub mod outcome;
pub(crate) mod packs;
pub mod rules;
mod subject;

use std::collections::BTreeSet;

use seal::facts::{MAX_VIEW_BYTES, RunFactsView};
use time::OffsetDateTime;

pub use findings::Findings;
pub use outcome::{Details, EvidenceCount, Issue, Outcome, PackDetail, Status};
pub use packs::Pack;
pub use rules::Rules;

use measured::Measured;
use subject::{Plans, Subject};

use crate::locator::{Contained, path_reason};
use crate::objects::{Objects, StoreError};
use crate::reasons::Reason;

/// The answer where no view could be found under `facts_ref`.
pub fn unreadable(rules: &Rules, facts_ref: &str) -> Outcome {
    let mut findings = Findings::new(rules);
    findings.add(Reason::RunFactsUnreadable, format!("{facts_ref} is not there"));
    findings.outcome(details(rules, facts_ref))
}

/// The answer where the store failed on the view itself.
pub fn store_failed(rules: &Rules, facts_ref: &str, error: &StoreError) -> Outcome {
    let mut findings = Findings::new(rules);
    findings.store(error);
    findings.outcome(details(rules, facts_ref))
}

/// Checks the view stored under `facts_ref`, relative to the oracle root. `now` is what the age of
/// receipts is measured against.
pub async fn check(
    objects: &Objects,
    rules: &Rules,
    facts_ref: &str,
    now: OffsetDateTime,
) -> Outcome {
    let path = match Contained::parse(facts_ref, objects.names()) {
        Ok(path) => path,
        Err(error) => {
            let mut findings = Findings::new(rules);
            findings.add(path_reason(&error), error.to_string());
            return findings.outcome(details(rules, facts_ref));
        }
    };

    match objects.read(path.as_str(), MAX_VIEW_BYTES).await {
        Ok(Some(bytes)) => check_bytes(objects, rules, facts_ref, &bytes, now).await,
        Ok(None) => unreadable(rules, facts_ref),
        Err(error) => store_failed(rules, facts_ref, &error),
    }
}

/// Checks a view that was read elsewhere; `facts_ref` is its name in the report.
#[tracing::instrument(
    name = "check",
    skip_all,
    fields(oracle.facts_ref = facts_ref, oracle.profile = rules.profile_id, oracle.status)
)]
pub async fn check_bytes(
    objects: &Objects,
    rules: &Rules,
    facts_ref: &str,
    bytes: &[u8],
    now: OffsetDateTime,
) -> Outcome {
    let mut findings = Findings::new(rules);
    let mut details = details(rules, facts_ref);
    // By itself first: text that is no JSON is called unreadable, and not an invalid view.
    if let Err(error) = seal::json::parse(bytes) {
        findings.add(
            Reason::RunFactsUnreadable,
            format!("{facts_ref} is no JSON: {}", seal::json::explain(&error)),
        );
        return findings.outcome(details);
    }
    let view = match RunFactsView::parse(bytes) {
        Ok(view) => view,
        Err(mistakes) => {
            for mistake in mistakes {
                let at = if mistake.at.is_empty() { "/" } else { &mistake.at };
                findings.add(Reason::RunFactsInvalid, format!("{at}: {}", mistake.what));
            }
            return findings.outcome(details);
        }
    };
    locators::check_consistency(rules, &view, &mut findings);
    let outputs = locators::resolve_paths(objects, rules, &view, &mut findings);
    let mut measured = Measured::new(rules.least_evidence);
    let opened = packs::open(objects, rules, &outputs, &mut findings).await;
    let packs::Opened { packs, unreadable } = opened;
    // Nothing is said of an output whose pack has a tombstone, or whose records are not known: that
    // is among the findings, and outranks what the seal and the files could say.
    let outputs = outputs
        .into_iter()
        .filter(|output| !unreadable.contains(&output.path.pack_root()))
        .collect();
    let mut subject = Subject { objects, rules, view: &view, now, outputs, packs };

    // First everything that will be needed, then one reading of all of it.
    let mut plans = Plans::default();
    for (at, pack) in subject.packs.iter().enumerate() {
        packs::plan(pack, plans.of(Some(at)));
    }
    gates::plan(&subject, &mut plans, &mut measured, &mut findings).await;
    measured.note_failures(&mut findings);
    let candidates = content::plan(&subject, &mut plans, rules.least_evidence, &mut findings).await;
    for (at, plan) in plans.into_each() {
        let objects = at.map_or(objects, |at| &subject.packs[at].objects);
        measured.measure(objects, plan, &mut findings).await;
    }

    packs::judge(rules, &view, &mut subject.packs, &measured, &mut findings);
    content::check(&subject, &candidates, &measured, &mut findings, &mut details).await;
    gates::check(&subject, &mut measured, &mut findings, &mut details).await;
    details.evidence = measured.evidence();
    if details.evidence.size_only > 0 {
        let text = format!("{} files are known by their length only", details.evidence.size_only);
        findings.add(Reason::DigestNotVerified, text);
    }
    details.locators_total = view.locators.len();
    details.packs = subject.packs.iter().map(Pack::detail).collect();
    let mut outcome = findings.outcome(details);
    tracing::Span::current().record("oracle.status", outcome.status.as_str());
    if outcome.status != Status::Fail {
        outcome.details.traffic_outputs = traffic(&view);
    }
    outcome
}

/// Only called when the check passed: outputs of a failed check must not be read.
fn traffic(view: &RunFactsView) -> Vec<String> {
    let ids: BTreeSet<&str> = view.traffic().map(|locator| &*locator.output_id).collect();
    ids.into_iter().map(str::to_owned).collect()
}

fn details(rules: &Rules, facts_ref: &str) -> Details {
    Details {
        profile_id: rules.profile_id.clone(),
        run_facts_ref: facts_ref.to_owned(),
        ..Details::default()
    }
}
