//! The statements about a gate are read and verified by tools that we did not write.

use std::fs;
use std::path::Path;
use std::process::Command;

use ed25519_dalek::SigningKey;
use serde_json::Value;
use wire::dsse::Envelope;

/// What the published libraries hold against the envelopes, by the packages in-toto-attestation and
/// securesystemslib of PyPI.
const VERIFIER: &str = r#"
import json, sys
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from google.protobuf.json_format import Parse
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
import in_toto_attestation.predicates.test_result.v0.test_result_pb2 as test_result
import in_toto_attestation.predicates.vsa.v1.vsa_pb2 as vsa

KINDS = {
    'https://in-toto.io/attestation/test-result/v0.1': test_result.TestResult,
    'https://slsa.dev/verification_summary/v1': vsa.VerificationSummary,
}
hexkey, file = sys.argv[1:]
key = SSlibKey(hexkey, 'ed25519', 'ed25519', {'public': hexkey})
for line in open(file):
    envelope = Envelope.from_dict(json.loads(line))
    envelope.verify([key], 1)
    statement = json.loads(envelope.payload)
    kind = KINDS.get(statement['predicateType'])
    # The package has no class for runtime traces: of those the statement alone is checked.
    # Its class for summaries takes one level where the specification has a list.
    known = {name: value for name, value in statement['predicate'].items()
             if name != 'verifiedLevels'}
    if kind:
        Parse(json.dumps(known), kind(), ignore_unknown_fields=True)
    subject = [ResourceDescriptor(name=s['name'], digest=s['digest']).pb
               for s in statement['subject']]
    Statement(subject, statement['predicateType'], statement['predicate']).validate()
    print(statement['predicateType'])
"#;

fn statements(folder: &Path) -> Vec<String> {
    let file = folder.join("statements.jsonl");
    let output = Command::new(env!("CARGO_BIN_EXE_module-gate"))
        .args(["gates", "shipping", "--with-oracles", "--compose", "examples/compose.json"])
        .args(["--modules-root", "examples/modules", "--attest-out"])
        .arg(&file)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env_remove("MODULE_GATE_SCRATCH")
        .env("MODULE_GATE_NODE", testkit::program("node").unwrap())
        .env("MODULE_GATE_ATTESTATION_SECRET", "07".repeat(32))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

#[test]
fn a_gate_states_result_trace_and_summary_of_each_module_signed() {
    let folder = tempfile::tempdir().unwrap();
    let lines = statements(folder.path());
    assert_eq!(lines.len(), 3);
    for line in &lines {
        let envelope: Envelope = serde_json::from_str(line).unwrap();
        let (payload, _) = envelope.verify(&[key().verifying_key()]).unwrap();
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["subject"][0]["name"], "git.diff.core");
    }
}

#[test]
fn published_verifiers_accept_the_statements_and_refuse_changed_ones() {
    if std::env::var_os("LUMIO_LONG").is_none() {
        eprintln!("skipped: packages are only fetched with LUMIO_LONG=1");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let environment = folder.path().join("venv");
    let packages = ["in-toto-attestation==0.9.3", "securesystemslib[crypto]==1.6.0"];
    let made = Command::new("python3").args(["-m", "venv"]).arg(&environment).status();
    let python = environment.join("bin/python");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let installed = made.is_ok_and(|status| status.success())
        && Command::new(&python).args(pip).args(packages).status().is_ok_and(|s| s.success());
    if !installed {
        eprintln!("skipped: the packages could not be fetched");
        return;
    }
    let lines = statements(folder.path());
    let verify = |lines: &[String]| {
        let file = folder.path().join("given.jsonl");
        fs::write(&file, lines.join("\n")).unwrap();
        let public = hex::encode(key().verifying_key().as_bytes());
        Command::new(&python).args(["-c", VERIFIER, &public]).arg(&file).output().unwrap()
    };
    let accepted = verify(&lines);
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    assert_eq!(String::from_utf8_lossy(&accepted.stdout).lines().count(), 3);

    // One letter of the payload is another.
    let mut envelope: Value = serde_json::from_str(&lines[0]).unwrap();
    let payload = envelope["payload"].as_str().unwrap();
    let other = if payload.starts_with('f') { 'e' } else { 'f' };
    envelope["payload"] = format!("{other}{}", &payload[1..]).into();
    assert!(!verify(&[envelope.to_string()]).status.success());
}
