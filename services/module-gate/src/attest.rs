//! Published in-toto predicates about what was judged: test result, runtime trace, and the
//! verification summary of SLSA. Signed as the statements of executions are (M12), so that other
//! tools can use them without knowing Lumio.

use anyhow::Context;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire::digest::Digest;
use wire::dsse;
use wire::statement::{STATEMENT_TYPE, Verdict};

use crate::judging::finding::GUARD_VERSION;
use crate::judging::judge::{TestResult, TestStatus};
use crate::judging::oracle::CaseResult;
use crate::local::gates::{GateSummary, ModuleDetail};

/// <https://github.com/in-toto/attestation>, spec/predicates/test-result.md.
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// spec/predicates/runtime-trace.md, there.
pub const RUNTIME_TRACE: &str = "https://in-toto.io/attestation/runtime-trace/v0.1";
/// <https://slsa.dev/verification_summary/v1>.
pub const VERIFICATION_SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// Who verifies, in a verification summary.
const VERIFIER: &str = "https://lumio.dev/module-gate";
/// Which policy, there.
const POLICY: &str = "https://lumio.dev/policy/shipping/v1";
/// What watches, in a runtime trace.
const MONITOR: &str = "https://lumio.dev/guard";

/// A module as the subject of a statement.
pub fn module(id: &str, digest: Option<Digest>) -> Value {
    // A module without a digest, since it has links, is nothing that a statement can be about.
    let digest = digest.map_or_else(String::new, |digest| digest.to_string());
    json!({ "name": id, "digest": { "sha256": digest } })
}

fn statement(subject: &Value, predicate_type: &str, predicate: &Value) -> Value {
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [subject],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// How tests and oracle cases ended.
pub fn test_result(
    subject: &Value,
    verdict: Verdict,
    cases: &[CaseResult],
    tests: &[TestResult],
) -> Value {
    let (mut passed, mut warned, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for test in tests {
        let name = format!("test {}", test.test);
        match test.status {
            TestStatus::Passed => passed.push(name),
            TestStatus::Skipped => warned.push(name),
            TestStatus::Failed => failed.push(name),
        }
    }
    for case in cases {
        let name = format!("oracle case {}", case.name);
        if case.finding.is_none() { passed.push(name) } else { failed.push(name) }
    }
    let predicate = json!({
        // The predicate knows no third word: what could not be decided has not passed.
        "result": if verdict == Verdict::Pass { "PASSED" } else { "FAILED" },
        "configuration": [{ "name": "module-gate", "uri": VERIFIER,
            "annotations": { "version": GUARD_VERSION } }],
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": failed,
    });
    statement(subject, TEST_RESULT, &predicate)
}

/// What the guard saw of a module's programs.
fn runtime_trace(subject: &Value, summary: &GateSummary, module: &str, at: &str) -> Option<Value> {
    let effects = summary.side_effects.modules.get(module)?;
    let seen = serde_json::to_value(effects).ok()?;
    let lines = |list: &Value, member: &str| -> Vec<Value> {
        let samples = list.as_array().into_iter().flatten();
        samples.filter_map(|sample| sample.get(member)).cloned().collect()
    };
    let files: Vec<Value> = lines(&seen["fs_write"]["sample_paths"], "path")
        .into_iter()
        .map(|path| json!({ "name": path }))
        .collect();
    let commands: Vec<Value> = seen["processes"]["categories"]
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(_, category)| category["sample_commands"].as_array().cloned())
        .flatten()
        .collect();
    let predicate = json!({
        "monitor": {
            "type": MONITOR,
            "configSource": { "name": "policy", "uri": POLICY,
                "digest": { "sha256": summary.runtime.policy_sha256 } },
            "tracePolicy": { "policies": [], "declared": seen["declared"],
                "reads": summary.runtime.reads, "guard": summary.runtime.guard },
        },
        "monitoredProcess": {
            "hostID": "module-gate", "type": "https://lumio.dev/module",
            "event": summary.run_id,
        },
        // Samples; `complete` has the whole summary with its exact counts.
        "monitorLog": { "process": commands, "network": [], "fileAccess": files,
            "complete": seen },
        "metadata": { "buildFinishedOn": at },
    });
    Some(statement(subject, RUNTIME_TRACE, &predicate))
}

/// What follows for a module from its gate.
fn verification_summary(subject: &Value, summary: &GateSummary, module: &str, at: &str) -> Value {
    let failed = summary.failures.iter().any(|failure| {
        // What is about no module is about the plan, and so about each of them.
        failure.module.as_deref().is_none_or(|about| about == module)
    });
    let passed = !failed && summary.verdict.is_some();
    let digest = subject["digest"]["sha256"].as_str().unwrap_or_default();
    let predicate = json!({
        "verifier": { "id": VERIFIER, "version": { "module-gate": GUARD_VERSION } },
        "timeVerified": at,
        "resourceUri": format!("lumio:module/{module}@{digest}"),
        "policy": { "uri": POLICY, "digest": { "sha256": summary.runtime.policy_sha256 } },
        "inputAttestations": [],
        "verificationResult": if passed { "PASSED" } else { "FAILED" },
        // Nothing is said about how the module was built.
        "verifiedLevels": [],
        "slsaVersion": "1.0",
    });
    statement(subject, VERIFICATION_SUMMARY, &predicate)
}

/// All statements about the modules that a gate came to see.
pub fn of_gate(summary: &GateSummary, at: OffsetDateTime) -> Vec<Value> {
    let at = at.format(&Rfc3339).unwrap_or_default();
    let about = |detail: &ModuleDetail| -> Vec<Value> {
        let subject = module(&detail.module, detail.module_digest);
        let failed =
            summary.failures.iter().any(|failure| failure.module.as_ref() == Some(&detail.module));
        let verdict = if failed { Verdict::Fail } else { Verdict::Pass };
        let trace = runtime_trace(&subject, summary, &detail.module, &at);
        let result = test_result(&subject, verdict, &detail.cases, &detail.tests);
        let vsa = verification_summary(&subject, summary, &detail.module, &at);
        [Some(result), trace, Some(vsa)].into_iter().flatten().collect()
    };
    summary.details.iter().filter(|detail| detail.module_digest.is_some()).flat_map(about).collect()
}

/// Signs a statement.
///
/// # Errors
/// Never; the serializer's own otherwise.
pub fn sign(statement: &Value, key: &SigningKey) -> anyhow::Result<Value> {
    let payload = wire::json::canonical(statement).context("cannot write the statement")?;
    let envelope = dsse::sign(dsse::IN_TOTO, &payload, key);
    Ok(serde_json::to_value(envelope)?)
}
