//! The links that hold by signed statements.

use ed25519_dalek::VerifyingKey;
use seal::facts::{GateStatus, RunFactsView};
use seal::{EXECUTION_FILE, SHIPPING_FILE};
use wire::statement::{Execution, ExecutionStatement, Expected, ShippingStatement, Verdict};
use wire::{Digest, Usage};

use super::{Case, End, Link, Name, differs, money};
use crate::error::Result;

/// The execution statement, its signature verified.
pub(super) struct Stated {
    pub(super) execution: Execution,
    signer: VerifyingKey,
    /// SHA-256 of the envelope's bytes.
    digest: Digest,
}

impl Stated {
    pub(super) const fn usage(&self) -> Usage {
        self.execution.usage
    }

    pub(super) fn signer(&self) -> String {
        wire::dsse::key_id(&self.signer)
    }
}

/// The statement, if one of the keys that the chain pinned for this run signed execution.
pub(super) fn read(case: &Case<'_>) -> Result<Option<Stated>> {
    let Some(envelope) = case.bundle.read(&format!("pack/{EXECUTION_FILE}"))? else {
        return Ok(None);
    };
    let opened = ExecutionStatement::open(&envelope, &keys(case));
    Ok(opened.ok().map(|(statement, signer)| Stated {
        execution: statement.into_predicate(),
        signer,
        digest: Digest::of(&envelope),
    }))
}

/// The usage that was charged is the stated one.
pub(super) fn usage(case: &Case<'_>, stated: Option<&Stated>) -> Link {
    let Some(stated) = stated else {
        return Link::unknown(Name::Usage, "there is no verified statement to compare with");
    };
    let Usage { llm_in, llm_out, http_calls, runtime_ms } = stated.execution.usage;
    let detail =
        format!("{runtime_ms} ms, {llm_in} + {llm_out} tokens, {http_calls} calls, as stated");
    match money::settles(case, &stated.execution.usage) {
        Some(true) => Link::ok(Name::Usage, detail),
        Some(false) => {
            Link::broken(Name::Usage, "the vault settled another usage than the statement's")
        }
        None if matches!(case.end, End::Settled { .. }) => Link::unknown(
            Name::Usage,
            "only a digest of the settlement is left, and it fits this usage for no runner that is \
             known: another was settled, or a runner settled it that the agent does not list any \
             more; give a list of receipts that reaches back, from: lumio receipts export",
        ),
        None if case.end == End::Returned => Link::skipped(
            Name::Usage,
            format!("{detail}; the escrow went back, and none was charged"),
        ),
        None => Link::unknown(Name::Usage, "the run is not settled"),
    }
}

/// The statement is about this run, as the chain pinned execution.
pub(super) fn statement(case: &Case<'_>, stated: Option<&Stated>) -> Link {
    let Some(terms) = &case.terms else {
        return Link::unknown(Name::Statement, "without terms no accepted key is known");
    };
    let Some(stated) = stated else { return unverified(case) };
    let execution = &stated.execution;
    let claim = &case.bundle.claim;
    let user = terms.user.to_string();
    let expected = Expected {
        run: Some(case.facts.run),
        attempt: Some(claim.attempt()),
        // One execution vouches for one charge: the same attempt, opened again under another
        // deadline, has another id (V16).
        vault_run_id: case.shown.map(|shown| shown.run_id),
        user: Some(&user),
        module: Some(terms.manifest_hash),
        input: claim.input_digest(),
        budgets: Some(terms.budgets),
        workflow_id: None,
        seed: None,
    };
    let wrong = execution.mismatches(&expected).into_iter().map(|mismatch| mismatch.to_string());
    let verdict = execution.verdict;
    let code = execution.code.map(|code| format!(" {}", code.as_str())).unwrap_or_default();
    let detail = format!("{verdict}{code}, signed by {}", stated.signer());
    Link::unless(Name::Statement, detail, wrong)
}

fn unverified(case: &Case<'_>) -> Link {
    match case.bundle.read(&format!("pack/{EXECUTION_FILE}")) {
        Ok(Some(envelope)) => match ExecutionStatement::open(&envelope, &keys(case)) {
            Ok(_) => Link::unknown(Name::Statement, "the statement changed while it was read"),
            Err(error) => Link::broken(Name::Statement, wire::causes(&error)),
        },
        Ok(None) if case.end == End::Open => {
            Link::unknown(Name::Statement, "the run has not ended, and there is none yet")
        }
        Ok(None) => Link::broken(Name::Statement, format!("the pack has no {EXECUTION_FILE}")),
        Err(error) => Link::unknown(Name::Statement, error.to_string()),
    }
}

/// The gates passed exactly this module and this run.
pub(super) fn gates(case: &Case<'_>, stated: Option<&Stated>) -> Result<Link> {
    let Some(stated) = stated else {
        return Ok(Link::unknown(Name::Gates, "there is no verified statement to compare with"));
    };
    let Some(envelope) = case.bundle.read(&format!("pack/{SHIPPING_FILE}"))? else {
        return Ok(Link::broken(Name::Gates, format!("the pack has no {SHIPPING_FILE}")));
    };
    let shipping = match ShippingStatement::open(&envelope, &keys(case)) {
        Ok((statement, _)) => statement.into_predicate(),
        Err(error) => {
            return Ok(Link::broken(
                Name::Gates,
                format!("shipping verdict: {}", wire::causes(&error)),
            ));
        }
    };
    let execution = &stated.execution;
    let mut wrong = vec![
        differs("the shipping verdict's module", execution.module_digest, shipping.module_digest),
        differs("the shipping verdict", Verdict::Pass, shipping.verdict),
    ];
    if execution.verdict != Verdict::Pass {
        let detail = format!(
            "the module might ship, but this run is {} and left nothing",
            execution.verdict
        );
        return Ok(Link::unless(Name::Gates, detail, wrong.into_iter().flatten()));
    }
    wrong.extend(view(case, stated, Digest::of(&envelope))?);
    let detail = format!(
        "shipping PASS of {} {}, execution PASS of this run",
        shipping.module_id, shipping.module_version
    );
    Ok(Link::unless(Name::Gates, detail, wrong.into_iter().flatten()))
}

/// What is wrong with the facts view's receipts and pins.
fn view(case: &Case<'_>, stated: &Stated, shipping: Digest) -> Result<Vec<Option<String>>> {
    let Some(text) = case.bundle.read("facts/run_facts_view.json")? else {
        return Ok(vec![Some("the bundle has no facts view".to_owned())]);
    };
    let view = match RunFactsView::parse(&text) {
        Ok(view) => view,
        Err(mistakes) => {
            let first = mistakes
                .first()
                .map(|mistake| format!(" ({}: {})", mistake.at, mistake.what))
                .unwrap_or_default();
            return Ok(vec![Some(format!("the facts view cannot be read{first}"))]);
        }
    };
    let execution = &stated.execution;
    let pins = &view.pins;
    let own_hash = view.computed_bundle_hash().ok();
    let receipt = |gate: &str, digest: Digest| {
        let fits = |receipt: &&seal::facts::GateReceipt| {
            receipt.gate_id == gate
                && receipt.digest.as_ref().is_some_and(|current| {
                    *current == seal::content::ContentDigest::of_file(digest)
                })
        };

        // A FAIL beside a PASS of the same gate makes the PASS worthless.
        let failed = view
            .gate_receipts
            .iter()
            .any(|receipt| receipt.gate_id == gate && receipt.status != GateStatus::Pass);
        let found = view.gate_receipts.iter().find(fits);
        let in_scope = found.is_some_and(|receipt| {
            // A receipt may be for every run; one that names a run has to name this one.
            let scope = &receipt.scope;
            scope.manifest_fingerprint == pins.manifest_fingerprint
                && scope.parameter_hash.is_none_or(|hash| hash == pins.parameter_hash)
                && scope.run_id.is_none_or(|run| run == view.run_id)
        });
        (failed || !in_scope)
            .then(|| format!("the facts view has no PASS of {gate} in scope for this statement"))
    };
    let seal =
        case.bundle.read(&format!("pack/{}", seal::SEAL_FILE))?.map(|bytes| Digest::of(&bytes));
    let pinned = view.oracle_pack_ref.as_ref().map(|pack| pack.seal_digest);
    Ok(vec![
        (view.run_id != case.bundle.run_key() || pins.run_id != view.run_id)
            .then(|| "the facts view is of another run".to_owned()),
        differs("the facts view's module", execution.module_digest, pins.manifest_fingerprint),
        differs("the facts view's input", execution.input_digest, pins.parameter_hash),
        differs("the facts view's seed", execution.seed, pins.seed),
        (own_hash != Some(view.bundle_hash))
            .then(|| "the facts view's bundle hash does not follow from it".to_owned()),
        (pinned.is_none() || pinned != seal).then(|| "the facts view pins another seal".to_owned()),
        receipt("gate.lumio.execution", stated.digest),
        receipt("gate.lumio.shipping", shipping),
    ])
}

/// The keys that the chain pinned when the run was opened.
fn keys(case: &Case<'_>) -> Vec<VerifyingKey> {
    let pinned = case.terms.iter().flat_map(|terms| &terms.attesters);
    pinned.filter_map(|key| VerifyingKey::from_bytes(key).ok()).collect()
}
