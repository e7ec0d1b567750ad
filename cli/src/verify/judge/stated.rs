//! The links that hold by signed statements.

use ed25519_dalek::VerifyingKey;
use seal::{EXECUTION_FILE, SHIPPING_FILE};
use wire::statement::{Execution, ExecutionStatement, Expected, ShippingStatement, Verdict};
use wire::{Digest, Usage};

use super::{Case, End, Link, Name, absent, differs, money, unsettled, view};
use crate::error::Result;

/// The execution statement, its signature verified.
pub(super) struct Stated {
    pub(super) execution: Execution,
    signer: VerifyingKey,
    /// SHA-256 of the envelope's bytes.
    pub(super) digest: Digest,
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
        None => Link::unknown(Name::Usage, unsettled(case)),
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
        Ok(None) => match absent(case) {
            Some(why) => Link::unknown(Name::Statement, why),
            None => Link::broken(Name::Statement, format!("the pack has no {EXECUTION_FILE}")),
        },
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
    let mut wrong: Vec<_> = [
        differs("the shipping verdict's module", execution.module_digest, shipping.module_digest),
        differs("the shipping verdict", Verdict::Pass, shipping.verdict),
    ]
    .into_iter()
    .flatten()
    .collect();
    if execution.verdict != Verdict::Pass {
        // A view lets outputs through, and a run that did not pass has none.
        if case.bundle.read(view::FILE)?.is_some() {
            wrong.push(format!("this run is {}, and a facts view is there", execution.verdict));
        }
        let detail = format!(
            "the module might ship, but this run is {} and left nothing",
            execution.verdict
        );
        return Ok(Link::unless(Name::Gates, detail, wrong));
    }
    wrong.extend(view::wrong(case, stated, Digest::of(&envelope))?);
    let detail = format!(
        "shipping PASS of {} {}, execution PASS of this run",
        shipping.module_id, shipping.module_version
    );
    Ok(Link::unless(Name::Gates, detail, wrong))
}

/// The keys that the chain pinned when the run was opened.
fn keys(case: &Case<'_>) -> Vec<VerifyingKey> {
    let pinned = case.terms.iter().flat_map(|terms| &terms.attesters);
    pinned.filter_map(|key| VerifyingKey::from_bytes(key).ok()).collect()
}
