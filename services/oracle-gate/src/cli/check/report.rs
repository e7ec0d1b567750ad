//! The answer of a check as text and as JSON: the same facts.

use serde_json::{Value, json};
use wire::escape::line;

use crate::check::{Issue, Outcome};

/// One line, keys sorted.
pub(in crate::cli) fn json(outcome: &Outcome) -> Value {
    let listed = |errors: bool| -> Vec<String> {
        let issues = outcome.issues.iter().filter(|issue| issue.is_error() == errors);
        issues.map(|issue| format!("{}:{}", issue.code.code(), issue.detail)).collect()
    };
    json!({
        "status": outcome.status,
        "reason_codes": outcome.reason_codes,
        "issues": outcome.issues.iter().map(issue).collect::<Vec<_>>(),
        "errors": listed(true),
        "warnings": listed(false),
        "details": outcome.details,
    })
}

fn issue(issue: &Issue) -> Value {
    let row = issue.code.row();
    json!({
        "code": row.code,
        "severity": issue.severity,
        "detail": issue.detail,
        "class": row.class,
        "exit_code": row.class.exit(),
        "retryable": issue.retryable,
        "action": row.action,
    })
}

/// For people: what was found, then what it was found in.
pub(super) fn text(outcome: &Outcome) -> String {
    let details = &outcome.details;
    let mut text = findings(outcome);
    for id in &details.no_gate_required {
        text += &format!("NO_GATE_REQUIRED {}\n", line(id));
    }
    for id in &details.traffic_outputs {
        text += &format!("traffic {}\n", line(id));
    }
    text += &packs(outcome);

    let (total, missing) = (details.locators_total, details.locators_missing);
    let (bare, profile) = (details.locators_missing_digest, line(&details.profile_id));
    let known = &details.evidence;
    text + &format!(
        "{total} locators, {missing} missing, {bare} without digest; profile {profile}\n\
         {} files hashed, {} by the store's sha256, {} by length only\n",
        known.hashed_bytes, known.store_sha256, known.size_only
    )
}

/// The answer and what was found.
pub(in crate::cli) fn findings(outcome: &Outcome) -> String {
    let status = outcome.status.as_str();
    let mut text = format!("{status} {}\n", line(&outcome.details.run_facts_ref));
    for issue in &outcome.issues {
        let row = issue.code.row();
        let repeat = if issue.retryable { "repeat" } else { "do not repeat" };
        let severity = if issue.is_error() { "ERROR" } else { "WARN" };
        let class = row.class.as_str();
        text += &format!(
            "{severity} {}: {}\n  {class}; {}; {repeat}\n",
            row.code,
            line(&issue.detail),
            row.action
        );
    }
    text
}

/// The packs that it was found in.
pub(in crate::cli) fn packs(outcome: &Outcome) -> String {
    let mut text = String::new();
    for pack in &outcome.details.packs {
        let root = if pack.root.is_empty() { ".".to_owned() } else { line(&pack.root) };
        let id = pack
            .oracle_pack_id
            .map_or_else(|| "without an id".to_owned(), |digest| digest.to_string());
        let seal = pack.seal_digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
        let status = pack.seal_status.as_deref().unwrap_or("unsealed");
        text += &format!("pack {root} {id} seal {seal} {status}\n");
    }
    text
}
