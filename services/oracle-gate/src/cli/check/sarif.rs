//! The answer of a check as a SARIF 2.1.0 log (OASIS): one run, a rule for each code of the table,
//! a result for each issue.

use serde_json::{Value, json};
use wire::digest::Digest;

use crate::check::{Issue, Outcome};
use crate::reasons::{ALL, Reason, Severity, VERSION};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log.
pub(in crate::cli) fn log(outcome: &Outcome) -> Value {
    let results: Vec<Value> = outcome.issues.iter().map(|issue| result(outcome, issue)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "oracle-gate",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://lumio.dev/docs/oracle-store",
                "rules": ALL.iter().map(|reason| rule(*reason)).collect::<Vec<_>>(),
            }},
            "invocations": [{
                // The check itself ran; what could not be determined is among the results.
                "executionSuccessful": true,
                "exitCode": outcome.exit(false),
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {
                "status": outcome.status,
                "reasonsVersion": VERSION,
                "details": outcome.details,
            },
        }],
    })
}

fn rule(reason: Reason) -> Value {
    let row = reason.row();
    json!({
        "id": row.code,
        "shortDescription": { "text": row.meaning },
        "help": { "text": row.action },
        "defaultConfiguration": { "level": level(reason.severity(false)) },
        "properties": {
            "class": row.class,
            "exitCode": row.class.exit(),
            "retryable": row.retryable,
        },
    })
}

fn result(outcome: &Outcome, issue: &Issue) -> Value {
    let code = issue.code.code();
    // By what an issue is about, not by its place, so that a later log's issue is known again.
    let about = format!("{code}\n{}\n{}", outcome.details.run_facts_ref, issue.detail);
    json!({
        "ruleId": code,
        "ruleIndex": ALL.iter().position(|reason| *reason == issue.code),
        "level": level(issue.severity),
        "message": { "text": issue.detail },
        "locations": [{ "physicalLocation": { "artifactLocation": {
            "uri": uri(&outcome.details.run_facts_ref),
        }}}],
        "partialFingerprints": { "issue/v1": Digest::of(about.as_bytes()) },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warn => "warning",
    }
}

/// A reference as a URI reference (RFC 3986): what is not allowed in a path is percent-encoded.
fn uri(reference: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&b);
    let mut uri = String::new();
    for byte in reference.bytes() {
        if plain(byte) {
            uri.push(char::from(byte));
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    #[test]
    fn references_become_uris() {
        assert_eq!(super::uri("sr/view 1#?é.json"), "sr/view%201%23%3F%C3%A9.json");
    }
}
