//! What the user asked for is what was executed.

use stellar::ids::{Request, request_hash};
use wire::Digest;

use super::stated::Stated;
use super::{Case, Link, Name, money};

/// What the user remembers of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Digest of the input's canonical JSON.
    pub input: Option<Digest>,
    /// The seed.
    pub seed: Option<u64>,
    /// The workflow.
    pub workflow: Option<String>,
}

impl Asked {
    /// Whether the user remembers nothing.
    pub const fn is_empty(&self) -> bool {
        self.input.is_none() && self.seed.is_none() && self.workflow.is_none()
    }
}

/// The request hash on chain, which both sides fixed when the run was opened, is that of the user's
/// own request. What the user does not give is taken from the statement or from the gateway: since
/// the whole hash must fit, a wrong value there cannot make a wrong input pass.
pub(super) fn link(case: &Case<'_>, stated: Option<&Stated>, asked: &Asked) -> Link {
    let Some(terms) = &case.terms else {
        return match asked.is_empty() {
            true => money::without_terms(case, Name::Request, "no terms are known"),
            false => Link::unknown(Name::Request, "no terms are known to compare yours with"),
        };
    };
    let claim = &case.bundle.claim.run;
    let input = stated.map_or(claim.input_digest, |stated| stated.execution.input_digest);
    let seed = stated.map_or(claim.seed, |stated| stated.execution.seed);
    let workflow = stated.map_or_else(
        || claim.workflow_id.clone().unwrap_or_default(),
        |stated| stated.execution.workflow_id.clone(),
    );
    let hash = |input: Digest, seed: u64, workflow: &str| {
        let module_digest = terms.manifest_hash;
        let request = Request { input_digest: input, module_digest, seed, workflow_id: workflow };
        request_hash(&request).ok()
    };
    if hash(input, seed, &workflow) != Some(terms.request_hash) {
        return Link::broken(
            Name::Request,
            "input, seed and workflow are not those that were asked for on chain",
        );
    }

    let parts = [
        ("input", asked.input.map(|own| own == input)),
        ("seed", asked.seed.map(|own| own == seed)),
        ("workflow", asked.workflow.as_ref().map(|own| *own == workflow)),
    ];
    let named = |state: Option<bool>| {
        let names = parts.iter().filter(|(_, part)| *part == state).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(" and ")
    };
    let known = format!("input {input}, seed {seed}, workflow '{workflow}'");
    let (wrong, open) = (named(Some(false)), named(None));
    if !wrong.is_empty() {
        return Link::broken(
            Name::Request,
            format!("the run was opened for another {wrong} than yours; on chain: {known}"),
        );
    }
    if asked.is_empty() {
        return Link::skipped(
            Name::Request,
            format!("{known}; not compared with your own: give --input FILE, --seed, --workflow"),
        );
    }
    let rest = if open.is_empty() { String::new() } else { format!("; {open} not compared") };
    Link::ok(Name::Request, format!("as you asked for it: {known}{rest}"))
}
