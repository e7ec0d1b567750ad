//! What the runner drafts of a run's plan and record for oracle-gate, which stores both beside the
//! facts view. Drafts vouch for nothing: every link is verified from the chain, the statement and
//! the seal.

use serde_json::json;

use crate::gates::Drafts;
use crate::model::run::Snapshot;

/// Drafts the plan (what was to be done) and the record (what was done, a line each).
///
/// # Errors
///
/// Never in practice: all fields have a JSON form.
pub fn drafts(snapshot: &Snapshot, statement: &[u8]) -> Result<Drafts, serde_json::Error> {
    let (run, attempt) = (&snapshot.run, &snapshot.attempt);
    let plan = json!({
        "kind": "lumio-run-plan-v1",
        "run_id": run.id.simple(),
        "attempt": run.attempt,
        "user": run.request.user,
        "agent_id": run.request.agent_id,
        "pins": {
            "manifest_fingerprint": attempt.manifest_hash,
            "parameter_hash": run.request.input_digest,
            "run_id": run.id.simple(),
            "scenario_id": run.workflow_id(),
            "seed": run.request.seed,
        },
        "terms": attempt.terms,
        "vault_run_id": attempt.vault_run_id,
    });
    let lines = [
        json!({ "kind": "lumio-run-record-v1", "event": "opened", "run_id": run.id.simple(),
            "attempt": run.attempt, "transaction": snapshot.open_transaction }),
        json!({ "kind": "lumio-run-record-v1", "event": "executed", "run_id": run.id.simple(),
            "attempt": run.attempt,
            "statement": wire::Digest::of(statement) }),
    ];
    let mut record = Vec::new();
    for line in &lines {
        record.extend(wire::json::canonical(line)?);
        record.push(b'\n');
    }
    Ok(Drafts { plan: wire::json::canonical(&plan)?, record })
}
