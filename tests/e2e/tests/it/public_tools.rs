//! The steps of `docs/verification.md` that a third party takes with public tools, tried as they
//! are written there.

use std::path::Path;
use std::process::Command;

use e2e::{Stack, repository};
use serde_json::json;

/// What the steps are made of.
const TOOLS: [&str; 6] = ["bash", "jq", "xxd", "curl", "openssl", "sha256sum"];

/// The shell's blocks below "Again, with public tools", in their order.
fn steps() -> Vec<String> {
    let page = std::fs::read_to_string(repository().join("docs/verification.md")).unwrap();
    let (_, section) = page.split_once("## Again, with public tools").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Runs a step in the bundle's folder. Answers the lines that it prints.
fn take(step: &str, folder: &Path, rpc: &str) -> Vec<String> {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", step])
        .current_dir(folder)
        .env("LUMIO_RPC_URL", rpc)
        .output()
        .unwrap();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{step}\n{failed}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// The first word of a line: a digest before the name of its file.
fn word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_verifies_a_run_with_public_tools_as_the_page_says() {
    let missing: Vec<_> =
        TOOLS.iter().filter(|tool| testkit::program(tool).is_none()).copied().collect();
    if !missing.is_empty() {
        eprintln!("skipped: the page's steps need {}", missing.join(", "));
        return;
    }
    let stack = Stack::start().await.unwrap();
    let agent =
        stack.publish_and_grant(&repository().join("examples/modules/csv-profile")).unwrap();
    let id = stack.ask(agent, &json!({ "csv": "a,b\n1,2\n" })).await.unwrap();
    let run = stack.ended(&id).await.unwrap();
    assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
    let folder = stack.folder().join("bundle");
    stack
        .lumio(&["export", &id, "--out", folder.to_str().unwrap(), "--sign", "developer"])
        .unwrap();
    let list = folder.join("receipts.json");
    stack.lumio(&["receipts", "export", "alice", "--out", list.to_str().unwrap()]).unwrap();

    let (steps, rpc) = (steps(), stack.rpc_url());
    assert_eq!(steps.len(), 8, "a step was added: say here what it prints");
    let taken: Vec<_> = steps.iter().map(|step| take(step, &folder, &rpc)).collect();
    let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());

    // The output hash on chain is the seal; the seal names the manifest, the manifest every file.
    assert!(is_digest(word(&taken[0][0])) && word(&taken[0][0]) == taken[0][1], "{taken:#?}");
    assert!(is_digest(word(&taken[1][0])) && word(&taken[1][0]) == taken[1][1], "{taken:#?}");
    assert!(taken[1].len() > 3 && taken[1][2..].iter().all(|line| line.ends_with(": OK")));
    assert!(taken[2].iter().any(|line| line == "Signature Verified Successfully"), "{taken:#?}");

    // Prices times usage are the charge; the vault's event holds run, output hash and charge.
    assert_eq!(taken[3][0], taken[3][1]);
    assert_eq!(taken[3][1], run["receipt"]["actualCharge"].as_str().unwrap());
    assert_eq!(taken[4], ["SUCCESS", "1"], "{taken:#?}");

    // The receipt has its hash, the module asked no service, and the signed facts are those of the
    // bundle.
    assert!(is_digest(word(&taken[5][0])) && word(&taken[5][0]) == taken[5][1], "{taken:#?}");
    assert_eq!(taken[6], ["[0,0,0]", "[0,0,0]"], "{taken:#?}");
    assert!(is_digest(word(&taken[7][0])) && word(&taken[7][0]) == taken[7][1], "{taken:#?}");

    // A bundle that was changed does not pass.
    let seal = folder.join("pack/_SEALED.json");
    let mut bytes = std::fs::read(&seal).unwrap();
    bytes.push(b' ');
    std::fs::write(&seal, bytes).unwrap();
    let changed = take(&steps[0], &folder, &rpc);
    assert_ne!(word(&changed[0]), changed[1]);
}
