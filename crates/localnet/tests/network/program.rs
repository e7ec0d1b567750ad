//! The program: how it starts, stops and goes on.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::Key;

/// A running program; it is killed when the test ends.
struct Program {
    child: Child,
    url: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lumio-localnet"));
    command.args(["--port", "0", "--log-level", "warn"]).args(arguments);
    command
}

impl Program {
    fn start(state: &Path) -> Self {
        let state = state.to_str().unwrap();
        let mut child = command(&["--ledger-interval-ms", "20", "--state-dir", state])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let sent = reqwest::Client::new().post(&self.url).json(&body).send().await.unwrap();
        sent.json::<Value>().await.unwrap()["result"].clone()
    }

    /// Sends a signal and answers the exit code, if there is one.
    fn stop(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        // The shell's own: a bare system has no program of that name.
        let kill = Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", signal, &pid]).status();
        assert!(kill.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_killed_program_goes_on_with_the_same_chain_and_stops_orderly() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    let fund = format!("{}/friendbot?addr={}", program.url, Key::new(5).address());
    let funded: Value = reqwest::get(fund).await.unwrap().json().await.unwrap();
    let hash = json!({"hash": funded["hash"]});
    assert_eq!(program.call("getTransaction", hash.clone()).await["status"], "SUCCESS");
    assert_eq!(program.stop("-KILL"), None);

    let program = Program::start(directory.path());
    let found = program.call("getTransaction", hash).await;
    assert_eq!(found["status"], "SUCCESS");
    assert_eq!(found["oldestLedger"], 1, "nothing of the history is lost");
    assert_eq!(program.stop("-TERM"), Some(0));
    assert_eq!(Program::start(directory.path()).stop("-INT"), Some(0));
}

#[test]
fn a_state_directory_belongs_to_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = Program::start(directory.path());
    let second = command(&["--state-dir", directory.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains(&format!("process {}", first.child.id())), "{text}");
    assert_eq!(first.stop("-KILL"), None);
    assert_eq!(Program::start(directory.path()).stop("-TERM"), Some(0), "the lock died with it");
}

#[test]
fn a_taken_port_is_one_line_that_names_the_option() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_lumio-localnet"))
        .args(["--port", &port])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("--port {port}")) && text.lines().count() == 1, "{text}");
}

#[test]
fn a_first_line_that_a_full_disk_does_not_take_ends_it() {
    for arguments in [&[][..], &["--help"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("No space left") && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn wrong_options_exit_with_3_and_help_with_0() {
    let code = |arguments: &[&str]| command(arguments).output().unwrap().status.code();
    assert_eq!(code(&["--ledger-interval-ms", "0"]), Some(3));
    assert_eq!(code(&["--unknown"]), Some(3));
    assert_eq!(code(&["--state-dir", "/dev/null/x"]), Some(3));
    assert_eq!(code(&["--ledger-snapshot", "/missing"]), Some(3));
    assert_eq!(code(&["--ledger-snapshot", "/dev/zero"]), Some(3));
    assert_eq!(code(&["--help"]), Some(0));
}
