//! The checker: may what this facts view names be read?
//!
//! It starts at one view and reads only what the view, the gate map and the packs' manifests name (O8).
//! All rules run, all reasons are reported, in the order of the table; whatever cannot be known is an
//! error (O1). Bytes are hashed, never believed (O2).

mod content;
pub mod findings;
pub(crate) mod locators;
pub(crate) mod measured;
mod packs;

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::VerifyingKey;
use seal::facts::{MAX_VIEW_BYTES, RunFactsView};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

pub use findings::{Findings, Issue, Status};
pub use measured::EvidenceCount;
pub use packs::{Pack, PackDetail};

use measured::{Measured, Plan};

use crate::catalogue::{Catalogue, GateMap};
use crate::gates;
use crate::locator::{Contained, path_reason};
use crate::objects::{Evidence, Objects};
use crate::profile::Profile;
use crate::reasons::Reason;

/// By what a view is judged.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Name of the profile, for the report.
    pub profile_id: String,
    /// Outputs of the engine.
    pub catalogue: Catalogue,
    /// Gates of the engine.
    pub gate_map: GateMap,
    /// Keys whose statements count as evidence.
    pub keys: Vec<VerifyingKey>,
    /// A missing seal or manifest is a warning.
    pub allow_unsealed: bool,
    /// A missing digest is a warning.
    pub allow_missing_digest: bool,
    /// A view has to pin its pack's seal.
    pub require_pack_ref: bool,
    /// Gates are needed.
    pub require_gate_pass: bool,
    /// The oldest that a gate's receipt may be; `None`: of any age.
    pub max_receipt_age: Option<Duration>,
    /// The least that must stand behind a digest. With `size_only` nothing is hashed that need not
    /// be, the answer is a warning at best, and only a lenient profile allows it (O11).
    pub least_evidence: Evidence,
    /// Checksums kept by a store that was shown to check them count.
    pub trust_store_checksums: bool,
}

/// What a check works on: a view, what it names, and by which rules.
pub(crate) struct Subject<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) rules: &'a Rules,
    pub(crate) view: &'a RunFactsView,
    pub(crate) now: OffsetDateTime,
    pub(crate) outputs: Vec<locators::Output<'a>>,
    pub(crate) packs: Vec<Pack>,
}

/// What has to be measured, by the number of the pack that it lies in.
#[derive(Default)]
pub(crate) struct Plans(BTreeMap<Option<usize>, Plan>);

impl Plans {
    pub(crate) fn of(&mut self, pack: Option<usize>) -> &mut Plan {
        self.0.entry(pack).or_default()
    }
}

impl Subject<'_> {
    /// The pack that an output lies in, with its number.
    pub(crate) fn pack_of(&self, output: &locators::Output<'_>) -> (Option<usize>, Option<&Pack>) {
        let root = output.path.pack_root();
        let at = self.packs.iter().position(|pack| pack.root == root);
        (at, at.map(|at| &self.packs[at]))
    }

    /// Whether the catalogue says that an output is a folder.
    pub(crate) fn is_a_folder(&self, output: &locators::Output<'_>) -> bool {
        let entry = self.rules.catalogue.output(&output.locator.output_id);
        let template = entry.and_then(|entry| entry.path_template.as_ref());
        template.is_some_and(|template| template.is_folder())
    }
}

/// What the checker found.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The answer. Only `OK` lets a run go on.
    pub status: Status,
    /// Codes, unique, in the order of the table.
    pub reason_codes: Vec<Reason>,
    /// Everything found, in the same order.
    pub issues: Vec<Issue>,
    /// Counts and references behind it.
    pub details: Details,
}

/// Counts and references behind an answer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Details {
    /// The profile it was judged by.
    pub profile_id: String,
    /// The view.
    pub run_facts_ref: String,
    /// Locators in the view.
    pub locators_total: usize,
    /// Of these, not there.
    pub locators_missing: usize,
    /// Of these, without a digest.
    pub locators_missing_digest: usize,
    /// Outputs that pass because their catalogue entry states that they need no gate.
    pub no_gate_required: Vec<String>,
    /// Outputs that may be streamed as traffic: those whose role says so and that have a locator. None
    /// if the check fails.
    pub traffic_outputs: Vec<String>,
    /// Files by how well they are known.
    pub evidence: EvidenceCount,
    /// The packs the outputs lie in.
    pub packs: Vec<PackDetail>,
}

impl Rules {
    /// The strict rules of a profile (O5).
    pub fn strict(profile: &Profile, keys: Vec<VerifyingKey>) -> Self {
        Self {
            profile_id: profile.id.clone(),
            catalogue: profile.catalogue.clone(),
            gate_map: profile.gate_map.clone(),
            keys,
            allow_unsealed: false,
            allow_missing_digest: false,
            require_pack_ref: profile.require_pack_ref,
            require_gate_pass: profile.require_gate_pass,
            max_receipt_age: profile.max_receipt_age,
            least_evidence: profile.least_evidence.max(Evidence::StoreSha256),
            trust_store_checksums: profile.trust_store_checksums,
        }
    }
}

impl Outcome {
    /// The answer where no view could be found under `facts_ref`.
    pub fn unreadable(rules: &Rules, facts_ref: &str) -> Self {
        let mut findings = Findings::new(rules);
        findings.add(Reason::RunFactsUnreadable, format!("{facts_ref} is not there"));
        findings.outcome(details(rules, facts_ref))
    }

    /// The exit code of C1: 1 where something is known to be bad, 2 where nothing is known.
    pub fn exit(&self, fail_on_warn: bool) -> u8 {
        match self.status {
            Status::Ok => 0,
            Status::Warn => u8::from(fail_on_warn),
            Status::Fail => {
                let errors = self.issues.iter().filter(|issue| issue.is_error());
                errors.map(|issue| issue.code.row().class.exit()).min().unwrap_or(2)
            }
        }
    }

    /// Whether nothing bad is known, and the same check may pass later by itself.
    pub fn is_doubtful(&self) -> bool {
        self.status == Status::Fail && self.exit(false) == 2
    }
}

/// Checks the view stored under `facts_ref`, relative to the oracle root. `now` is what the age of
/// receipts is measured against.
pub async fn check(
    objects: &Objects,
    rules: &Rules,
    facts_ref: &str,
    now: OffsetDateTime,
) -> Outcome {
    let mut findings = Findings::new(rules);
    let read = match Contained::parse(facts_ref, objects.names()) {
        Err(error) => {
            findings.add(path_reason(&error), error.to_string());
            None
        }
        Ok(path) => match objects.read(path.as_str(), MAX_VIEW_BYTES).await {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => {
                findings.add(Reason::RunFactsUnreadable, format!("{facts_ref} is not there"));
                None
            }
            Err(error) => {
                findings.store(&error);
                None
            }
        },
    };
    match read {
        Some(bytes) => check_bytes(objects, rules, facts_ref, &bytes, now).await,
        None => findings.outcome(details(rules, facts_ref)),
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
    let packs = packs::open(objects, rules, &outputs, &mut findings).await;
    let mut subject = Subject { objects, rules, view: &view, now, outputs, packs };

    // First everything that will be needed, then one reading of all of it.
    let mut plans = Plans::default();
    for (at, pack) in subject.packs.iter().enumerate() {
        packs::plan(pack, plans.of(Some(at)));
    }
    gates::plan(&subject, &mut plans, &mut measured, &mut findings).await;
    measured.note_failures(&mut findings);
    let candidates = content::plan(&subject, &mut plans, rules.least_evidence, &mut findings).await;
    for (at, plan) in plans.0 {
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
