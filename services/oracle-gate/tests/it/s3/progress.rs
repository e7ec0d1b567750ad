//! A check that takes long shows its progress on a terminal, and only there.

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::server::{Fault, Server};
use super::verdicts::written;

/// `command`, run in the folder of a case whose store is the server's bucket.
fn in_case(case: &std::path::Path, command: &[&str]) -> Command {
    let mut child = Command::new(command[0]);
    child
        .args(&command[1..])
        .current_dir(case)
        .env("AWS_ACCESS_KEY_ID", "reader")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    child
}

#[tokio::test]
async fn a_check_tells_on_a_terminal_how_far_it_is_and_nothing_in_a_pipe() {
    let (case, server) = (written(|_| ()), Server::start().await);
    server.hold(&case.path().join("store"));
    let profile = case.path().join("profile.yaml");
    let text = std::fs::read_to_string(&profile).unwrap().replace(
        "oracle_root: store",
        &format!("oracle_root: s3://packs/lab\n  object_store: {{endpoint: '{}'}}", server.url),
    );
    std::fs::write(&profile, text).unwrap();
    let keys = std::fs::read_to_string(case.path().join("arguments")).unwrap().replace('\n', " ");
    let program = env!("CARGO_BIN_EXE_oracle-gate");
    let check =
        format!("'{program}' check --profile profile.yaml --run-facts-ref view.json {keys}");

    // Both wait for their first answer until the one on the terminal has shown progress, in however
    // many tries.
    server.fail(|_, _| Some(Fault::Held));
    let piped = in_case(case.path(), &["sh", "-c", &check]).spawn().unwrap();
    let mut terminal =
        in_case(case.path(), &["script", "-qefc", &check, "/dev/null"]).spawn().unwrap();
    let mut said = terminal.stdout.take().unwrap();
    let (mut reported, mut answer) = (false, String::new());
    let mut block = [0; 4096];
    loop {
        let read = said.read(&mut block).await.unwrap();
        if read == 0 {
            break;
        }
        answer += &String::from_utf8_lossy(&block[..read]);
        if !reported && answer.contains("0 files, 0 B, 0 B/s") {
            reported = true;
            server.release();
        }
    }
    assert!(reported && answer.contains("OK view.json"), "{answer}");
    assert!(terminal.wait().await.unwrap().success());
    let piped = piped.wait_with_output().await.unwrap();
    assert!(piped.status.success() && piped.stdout.starts_with(b"OK view.json"));
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "");
}
