//! `lumio verify` names the link that somebody tampered with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Stack, repository};
use serde_json::{Value, json};
use wire::dsse;
use wire::statement::ExecutionStatement;

/// A lie, and the link that must be named as broken.
type Lie = (&'static str, &'static str, fn(&Path));

const LIES: [Lie; 8] = [
    ("a sealed output changed by one byte", "files", |bundle| {
        change(&output(bundle), |bytes| bytes[0] ^= 1);
    }),
    ("a file added to the pack", "files", |bundle| {
        fs::write(bundle.join("pack/outputs/added.txt"), "mine").unwrap();
    }),
    ("the manifest edited", "manifest", |bundle| {
        change(&bundle.join("pack/_oracle_pack_manifest.json"), |bytes| bytes.push(b' '));
    }),
    ("the statement's usage changed", "statement", |bundle| {
        edit_statement(bundle, |payload| {
            let text = String::from_utf8(payload.to_vec()).unwrap();
            let mut statement: Value = serde_json::from_str(&text).unwrap();
            statement["predicate"]["usage"]["runtime_ms"] = json!(1);
            serde_json::to_vec(&statement).unwrap()
        });
    }),
    ("the statement signed by another key", "statement", |bundle| {
        let path = bundle.join("pack/_execution.dsse");
        let payload = payload(&path);
        ExecutionStatement::parse(&payload).unwrap();
        let stranger = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        fs::write(path, dsse::sign(dsse::IN_TOTO, &payload, &stranger).to_json()).unwrap();
    }),
    ("the stored module tree changed", "module", |bundle| {
        change(&bundle.join("module/tree/main.mjs"), |bytes| bytes.push(b'\n'));
    }),
    ("the receipt's charge changed", "receipt", |bundle| {
        edit_run(bundle, |run| run["receipt"]["actualCharge"] = json!("1"));
    }),
    ("another vault named", "vault", |bundle| {
        let other = stellar::Address::Contract([7; 32]).to_string();
        edit_run(bundle, |run| run["vaultId"] = json!(other));
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn verify_names_the_broken_link() {
    let stack = Stack::start().await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let id = stack.ask(agent, &json!({ "deed": "wait", "ms": 50 })).await.unwrap();
    let run = stack.ended(&id).await.unwrap();
    assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
    let honest = stack.folder().join("honest");
    stack.lumio(&["export", &id, "--out", honest.to_str().unwrap()]).unwrap();
    assert_eq!(broken(&verify(&stack, &id, &honest, &[])), Vec::<String>::new());

    for (index, (lie, link, forge)) in LIES.into_iter().enumerate() {
        let bundle = stack.folder().join(format!("lie-{index}"));
        copy(&honest, &bundle);
        forge(&bundle);
        let output = verify(&stack, &id, &bundle, &[]);
        assert_eq!(output.status.code(), Some(1), "{lie}: {output:?}");
        assert!(
            broken(&output).iter().any(|name| name == link),
            "{lie} broke {:?}, not {link}",
            broken(&output)
        );
    }

    // What is wrong in the store shows through the gateway as well.
    let pack = run["pack"]["packId"].as_str().unwrap();
    let stored = stack.store().join("packs").join(pack).join("outputs/done.json");
    change(&stored, |bytes| bytes[0] ^= 1);
    let output = stack.lumio_output(&["--output", "json", "verify", &id]).unwrap();
    assert_ne!(output.status.code(), Some(0), "a changed store is not proven");

    let unreachable = verify(&stack, &id, &honest, &["--rpc-url", "http://127.0.0.1:1"]);
    assert_eq!(
        unreachable.status.code(),
        Some(2),
        "an RPC that does not answer proves nothing and refutes nothing: {unreachable:?}"
    );
    let offline = verify(&stack, &id, &honest, &["--rpc-url", "http://127.0.0.1:1", "--offline"]);
    assert_eq!(
        offline.status.code(),
        Some(2),
        "without a node an export is consistent, and nothing is proven: {offline:?}"
    );
}

fn verify(stack: &Stack, id: &str, bundle: &Path, further: &[&str]) -> Output {
    let mut args = vec!["--output", "json", "verify", id, "--bundle", bundle.to_str().unwrap()];
    args.extend(further);
    stack.lumio_output(&args).unwrap()
}

fn broken(output: &Output) -> Vec<String> {
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    report["broken"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

fn output(bundle: &Path) -> PathBuf {
    bundle.join("pack/outputs/done.json")
}

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Changes what was signed and leaves the signature as it is.
fn edit_statement(bundle: &Path, how: impl FnOnce(&[u8]) -> Vec<u8>) {
    let path = bundle.join("pack/_execution.dsse");
    let mut envelope: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    envelope["payload"] = json!(STANDARD.encode(how(&payload(&path))));
    fs::write(path, serde_json::to_vec(&envelope).unwrap()).unwrap();
}

/// Changes what the gateway says of the run.
fn edit_run(bundle: &Path, how: impl FnOnce(&mut Value)) {
    let path = bundle.join("run.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let nested = document.get("run").is_some_and(Value::is_object);
    how(if nested { &mut document["run"] } else { &mut document });
    fs::write(path, serde_json::to_vec(&document).unwrap()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

/// The signed bytes of a DSSE envelope.
fn payload(envelope: &Path) -> Vec<u8> {
    let envelope: Value = serde_json::from_slice(&fs::read(envelope).unwrap()).unwrap();
    STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap()
}
