//! What the schema demands beyond the shape that the types already enforce.

use serde_json::Value;

use super::{Artifacts, GateReceipt, InstanceReceipt, Locator, Mistake, RunFactsView};

/// Longest path, note or reference inside a receipt or locator, in characters.
const MAX_TEXT: usize = 2048;
const MAX_ID: usize = 128;
const MAX_SCENARIO: usize = 256;
const MAX_LOCATOR_SCENARIO: usize = 512;
const MAX_REF: usize = 512;
/// As many as a pack may have files.
const MAX_OUTPUTS: usize = 65_536;
const MAX_GATE_RECEIPTS: usize = 1_024;

struct Mistakes(Vec<Mistake>);

/// Every place where `document` says null.
pub(crate) fn nulls(document: &Value) -> Vec<Mistake> {
    let mut found = Mistakes(Vec::new());
    found.nulls(&mut String::new(), document);
    found.0
}

/// Every rule that `view` breaks, in the order of its members.
pub(crate) fn mistakes(view: &RunFactsView) -> Vec<Mistake> {
    let mut found = Mistakes(Vec::new());
    found.length("/pins/scenario_id", &view.pins.scenario_id, 1, usize::MAX);
    found.count("/locators", view.locators.len(), MAX_OUTPUTS);
    found.count("/gate_receipts", view.gate_receipts.len(), MAX_GATE_RECEIPTS);
    let instances = view.instance_receipts.as_ref().map_or(0, Vec::len);
    found.count("/instance_receipts", instances, MAX_OUTPUTS);
    for (at, locator) in view.locators.iter().enumerate() {
        found.locator(&format!("/locators/{at}"), locator);
    }
    for (at, receipt) in view.gate_receipts.iter().enumerate() {
        found.gate_receipt(&format!("/gate_receipts/{at}"), receipt);
    }
    for (at, receipt) in view.instance_receipts.iter().flatten().enumerate() {
        found.instance_receipt(&format!("/instance_receipts/{at}"), receipt);
    }
    found.length("/policy_rev/policy_id", &view.policy_rev.policy_id, 1, usize::MAX);
    found.length("/policy_rev/revision", &view.policy_rev.revision, 1, usize::MAX);
    found.length("/plan_ref", &view.plan_ref, 1, usize::MAX);
    found.length("/record_ref", &view.record_ref, 1, usize::MAX);
    found.length("/status_ref", &view.status_ref, 1, usize::MAX);
    found.0
}

impl Mistakes {
    fn add(&mut self, at: String, what: &str) {
        self.0.push(Mistake { at, what: what.to_owned() });
    }

    fn nulls(&mut self, at: &mut String, value: &Value) {
        let length = at.len();
        let mut below = |key: &str, member: &Value| {
            at.push('/');
            at.push_str(key);
            self.nulls(at, member);
            at.truncate(length);
        };
        match value {
            Value::Object(members) => members.iter().for_each(|(key, member)| below(key, member)),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| below(&index.to_string(), item));
            }
            Value::Null => self.add(at.clone(), "is null"),
            _ => {}
        }
    }

    fn count(&mut self, at: &str, found: usize, most: usize) {
        if found > most {
            self.add(at.to_owned(), &format!("has more than {most} entries"));
        }
    }

    fn length(&mut self, at: &str, text: &str, least: usize, most: usize) {
        // JSON Schema counts characters, not bytes (2020-12, 6.3).
        let length = text.chars().count();
        if length < least {
            self.add(at.to_owned(), "is empty");
        } else if length > most {
            self.add(at.to_owned(), &format!("is longer than {most} characters"));
        }
    }

    fn optional(&mut self, at: String, text: Option<&String>, least: usize, most: usize) {
        if let Some(text) = text {
            self.length(&at, text, least, most);
        }
    }

    fn id(&mut self, at: String, text: &str) {
        let odd = |b: u8| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if text.is_empty() || text.len() > MAX_ID || text.bytes().any(odd) {
            self.add(at, "is not 1 to 128 characters of A-Z a-z 0-9 _ . -");
        }
    }

    fn locator(&mut self, at: &str, locator: &Locator) {
        self.id(format!("{at}/output_id"), &locator.output_id);
        self.length(&format!("{at}/path"), &locator.path, 1, MAX_TEXT);
        let scenario = locator.scenario_id.as_ref();
        self.optional(format!("{at}/scenario_id"), scenario, 1, MAX_LOCATOR_SCENARIO);
        self.optional(format!("{at}/schema_ref"), locator.schema_ref.as_ref(), 0, MAX_REF);
        self.optional(format!("{at}/dictionary_ref"), locator.dictionary_ref.as_ref(), 0, MAX_REF);
        let produced = locator.produced_at_utc.as_ref();
        self.optional(format!("{at}/produced_at_utc"), produced, 1, usize::MAX);
        if locator.manifest_fingerprint.is_none()
            && locator.parameter_hash.is_none()
            && locator.run_id.is_none()
            && locator.scenario_id.is_none()
        {
            let what = "names no manifest_fingerprint, parameter_hash, run_id or scenario_id";
            self.add(at.to_owned(), what);
        }
    }

    fn gate_receipt(&mut self, at: &str, receipt: &GateReceipt) {
        self.id(format!("{at}/gate_id"), &receipt.gate_id);
        let scenario = receipt.scope.scenario_id.as_ref();
        self.optional(format!("{at}/scope/scenario_id"), scenario, 1, MAX_SCENARIO);
        let produced = receipt.produced_at_utc.as_ref();
        self.optional(format!("{at}/produced_at_utc"), produced, 1, usize::MAX);
        self.optional(format!("{at}/notes"), receipt.notes.as_ref(), 0, MAX_TEXT);
        if let Some(artifacts) = &receipt.artifacts {
            self.artifacts(&format!("{at}/artifacts"), artifacts);
        }
    }

    fn artifacts(&mut self, at: &str, artifacts: &Artifacts) {
        for (name, path) in [
            ("validation_bundle_root", &artifacts.validation_bundle_root),
            ("index_path", &artifacts.index_path),
            ("passed_flag_path", &artifacts.passed_flag_path),
        ] {
            self.optional(format!("{at}/{name}"), path.as_ref(), 1, MAX_TEXT);
        }
    }

    fn instance_receipt(&mut self, at: &str, receipt: &InstanceReceipt) {
        self.id(format!("{at}/output_id"), &receipt.output_id);
        let scenario = receipt.scope.scenario_id.as_ref();
        self.optional(format!("{at}/scope/scenario_id"), scenario, 1, MAX_SCENARIO);
        self.locator(&format!("{at}/target_ref"), &receipt.target_ref);
        let manifest = receipt.bundle_manifest_ref.as_ref();
        self.optional(format!("{at}/bundle_manifest_ref"), manifest, 1, MAX_TEXT);
        let path = receipt.artifacts.as_ref().and_then(|artifacts| artifacts.receipt_path.as_ref());
        self.optional(format!("{at}/artifacts/receipt_path"), path, 1, MAX_TEXT);
        self.optional(format!("{at}/notes"), receipt.notes.as_ref(), 0, MAX_TEXT);
    }
}
