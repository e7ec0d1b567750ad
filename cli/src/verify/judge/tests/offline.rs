//! Facts that came with a bundle prove nothing unless a trusted key signed them.

use std::fs;

use stellar::Keypair;

use super::fixture::Fixture;
use crate::verify::{facts, signed};

/// Runs `lumio verify --offline` on the fixture's bundle. Answers the exit code.
async fn verify(fixture: &Fixture, further: &[&str]) -> u8 {
    let config = tempfile::tempdir().unwrap();
    let (run, bundle) = (fixture.run.to_string(), fixture.root().display().to_string());
    let vault = fixture.own.vault.0.to_string();
    let registry = fixture.own.registry.0.to_string();
    let arguments = [
        "lumio",
        "verify",
        &run,
        "--bundle",
        &bundle,
        "--offline",
        "--vault-id",
        &vault,
        "--registry-id",
        &registry,
        "--network-passphrase",
        stellar::STANDALONE,
        "--rpc-url",
        "http://127.0.0.1:1",
        "--config-dir",
        config.path().to_str().unwrap(),
    ];
    let arguments = arguments.iter().chain(further).map(std::ffi::OsString::from);
    crate::run(arguments.collect::<Vec<_>>()).await
}

#[tokio::test]
async fn unsigned_facts_are_consistent_and_prove_nothing() {
    let fixture = Fixture::new();
    assert_eq!(verify(&fixture, &[]).await, 3, "there are no facts");
    fs::create_dir(fixture.path("chain")).unwrap();
    fs::write(fixture.path(facts::FILE), signed::facts_text(&fixture.facts).unwrap()).unwrap();
    assert_eq!(verify(&fixture, &[]).await, 2);

    fs::write(fixture.path("pack/outputs/report.json"), "{\"rows\":4}").unwrap();
    assert_eq!(verify(&fixture, &[]).await, 1, "what is broken stays broken");
}

#[tokio::test]
async fn facts_that_a_trusted_key_signed_are_proven_as_far_as_that_key() {
    let fixture = Fixture::new();
    let (signer, other) = (Keypair::from_seed(&[1; 32]), Keypair::from_seed(&[2; 32]));
    let (address, stranger) = (signer.address().to_string(), other.address().to_string());
    fs::create_dir(fixture.path("chain")).unwrap();
    assert_eq!(verify(&fixture, &["--trust", &address]).await, 3, "nothing is signed");

    let envelope = signed::sign(&fixture.facts, &signer).unwrap();
    fs::write(fixture.path(facts::SIGNED_FILE), &envelope).unwrap();
    assert_eq!(verify(&fixture, &["--trust", &address]).await, 0);
    assert_eq!(verify(&fixture, &["--trust", &hex::encode(signer.address().as_bytes())]).await, 0);
    assert_eq!(verify(&fixture, &["--trust", &stranger]).await, 1);

    // An unsigned file beside it has no say.
    let mut false_facts = fixture.facts.clone();
    false_facts.attempts.clear();
    fs::write(fixture.path(facts::FILE), signed::facts_text(&false_facts).unwrap()).unwrap();
    assert_eq!(verify(&fixture, &["--trust", &address]).await, 0);

    let text = String::from_utf8(envelope).unwrap().replacen("payload\":\"e", "payload\":\"f", 1);
    fs::write(fixture.path(facts::SIGNED_FILE), text).unwrap();
    assert_eq!(verify(&fixture, &["--trust", &address]).await, 1);
}

/// The commands of docs/verification.md, one step after the other, as a third party runs them.
#[test]
fn the_pages_commands_repeat_the_proof_with_public_tools() {
    let tools = ["jq", "xxd", "openssl", "sha256sum", "base64"];
    let has = |tool: &&str| {
        std::process::Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if let Some(missing) = tools.iter().find(|tool| !has(tool)) {
        eprintln!("the page's commands are not tried: this machine has no {missing}");
        return;
    }
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("chain")).unwrap();
    fs::write(fixture.path(facts::FILE), signed::facts_text(&fixture.facts).unwrap()).unwrap();
    let envelope = signed::sign(&fixture.facts, &Keypair::from_seed(&[1; 32])).unwrap();
    fs::write(fixture.path(facts::SIGNED_FILE), envelope).unwrap();
    let list = serde_json::to_vec(&fixture.facts.receipts).unwrap();
    fs::write(fixture.path("receipts.json"), list).unwrap();

    let page = include_str!("../../../../../docs/verification.md");
    let blocks: Vec<_> = page.split("```sh\n").skip(1).collect();
    let mut tried = 0;
    for block in blocks {
        let commands = block.split("```").next().unwrap();

        // These need a node, and are tried with one elsewhere.
        if commands.contains("curl") || commands.contains("lumio verify") {
            continue;
        }
        let ran = std::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(fixture.root())
            .output()
            .unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        let error = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{commands}\n{text}{error}");
        let words: Vec<_> =
            text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let agrees = text.contains("Signature Verified Successfully")
            || (words.len() >= 2 && words[0] == words[1]);
        assert!(agrees, "{commands}\n{text}");
        let checked = text.lines().skip(2);
        assert!(checked.clone().all(|line| line.ends_with(": OK")), "{commands}\n{text}");
        tried += 1;
    }
    assert_eq!(tried, 7, "every step of the page but the one that asks a node");
}
