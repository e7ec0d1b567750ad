//! Every command that shows what a gateway or a node says, before those that say it with control
//! characters, marks of direction and escapes. The terminal is an emulator: what it shows is what
//! was written, line by line, and no line is forged.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::num::NonZeroU16;
use std::process::Output;

use serde_json::{Value, json};

use super::Machine;

/// Clears the screen, goes home, ends the line, turns the direction, rings, and says what is not
/// so.
const HOSTILE: &str = "\u{1b}[2J\u{1b}[1;1Hproven: all of it\r\nproven: all of it\u{9b}2J\u{202e}\
    \u{7}\u{8}\t\u{2066}\u{1b}]0;title\u{7}\u{1b}P\u{2028}\u{200b}";
pub const RUN: &str = "0197e4a0-0000-7000-8000-00000000000a";
const USER: &str = "GDRXE2BQUC3AZNPVFSCEZ76NJ3WWL25FYFK6RGZGIEKWE4SOOHSUJUJ6";

/// A server that answers every request as `answer` says, as long as the test runs.
pub fn server(answer: impl Fn(&str, &str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            let (head, body) = loop {
                let count = stream.read(&mut piece).unwrap_or_default();
                request.extend_from_slice(&piece[..count]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    if count == 0 {
                        break (text, String::new());
                    }
                    continue;
                };
                let length = head.to_ascii_lowercase();
                let length = length.split("content-length: ").nth(1).map_or(0, |rest| {
                    rest.lines().next().and_then(|line| line.trim().parse().ok()).unwrap_or(0)
                });
                if body.len() >= length || count == 0 {
                    break (head.to_owned(), body.to_owned());
                }
            };
            let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
            let (status, text) = answer(&path, &body);
            let length = text.len();
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {length}\r\n\r\n"
            );
            // The client may have gone away; the next one is served anyway.
            let _ =
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
        }
    });
    url
}

/// A run whose every text is hostile, but for what a command needs to go on.
fn run(status: &str) -> Value {
    json!({
        "id": HOSTILE, "user": HOSTILE, "agentId": 1, "label": HOSTILE, "workflowId": HOSTILE,
        "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 1 },
        "status": status, "phase": HOSTILE, "attempt": 2, "retries": 1, "seed": 1,
        "inputDigest": HOSTILE, "manifestHash": HOSTILE, "runId": HOSTILE, "escrow": HOSTILE,
        "deadline": HOSTILE, "error": HOSTILE, "errorCode": HOSTILE, "waitingFor": HOSTILE,
        "transactionHashes": { "open": HOSTILE }, "traceId": HOSTILE, "createdAt": HOSTILE,
        "updatedAt": HOSTILE, "metadata": { HOSTILE: HOSTILE },
        "attempts": [{ "attempt": 1, "outcome": HOSTILE, "errorCode": HOSTILE }],
    })
}

/// A run that a typed reader takes, with hostile texts where any text may stand.
fn typed_run() -> Value {
    let digest = "0".repeat(64);
    let attempt = |attempt: u32| {
        json!({
            "attempt": attempt, "outcome": "failed", "escrow": "settled", "errorCode": HOSTILE,
            "transactionHashes": {}, "createdAt": "2026-01-02T03:04:05.000Z",
        })
    };
    json!({
        "id": RUN, "user": HOSTILE, "agentId": 1, "label": HOSTILE, "workflowId": HOSTILE,
        "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 1 },
        "status": "failed", "phase": HOSTILE, "attempt": 2, "retries": 1, "seed": 1,
        "inputDigest": digest, "escrow": "settled", "error": HOSTILE, "errorCode": HOSTILE,
        "receipt": {
            "runId": digest, "actualCharge": "1", "runnerFee": "1", "refund": "1",
            "developer": HOSTILE, "outputHash": digest, "finalizedAt": "2026-01-02T03:04:05.000Z",
        },
        "transactionHashes": {}, "traceId": HOSTILE,
        "createdAt": "2026-01-02T03:04:05.000Z", "updatedAt": "2026-01-02T03:04:05.000Z",
        "attempts": [attempt(1), attempt(2)],
    })
}

fn gateway(path: &str) -> (u16, String) {
    let outputs = json!({ "attempt": 1, "outputs": [
        { "path": HOSTILE, "length": 1, "sha256": "0".repeat(64) },
    ]});
    let answer = match path {
        path if path.contains("/outputs") => outputs,
        path if path.ends_with("/bundle") => {
            return (404, json!({ "title": HOSTILE, "detail": HOSTILE }).to_string());
        }
        path if path.starts_with("/runs?") => json!([run("failed"), typed_run()]),
        path if path.contains("0000000b") => run("finalized"),
        path if path.contains("0000000c") => run(HOSTILE),
        _ => typed_run(),
    };
    (200, answer.to_string())
}

/// Both streams show what was written and nothing else.
fn shows_as_written(what: &str, output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(!lines.iter().any(|line| line.starts_with("proven: all of it")), "{what}: {text}");
        assert!(!text.chars().any(|one| one.is_control() && one != '\n'), "{what}: {text:?}");
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{2028}', '\u{200b}']), "{what}: {text}");
        let rows = NonZeroU16::new(u16::try_from(lines.len() + 2).unwrap()).unwrap();
        let mut terminal = vt100::Parser::new(rows, NonZeroU16::new(9_000).unwrap(), 0);
        terminal.process(text.replace('\n', "\r\n").as_bytes());
        let screen = terminal.screen().contents();
        let shown: Vec<_> = screen.lines().map(str::trim_end).collect();
        let written: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
        assert_eq!(shown, written, "{what}");
    }
}

#[test]
fn a_hostile_gateway_has_no_control_over_the_screen_of_any_command() {
    let machine = Machine::new();
    let url = server(|path, _| gateway(path));
    let (delivered, odd) = (RUN.replace("0a", "0b"), RUN.replace("0a", "0c"));
    let to = machine.0.path().join("to");
    let commands: [&[&str]; 11] = [
        &["run", "list"],
        &["run", "show", RUN],
        &["run", "show", &delivered],
        &["run", "show", &odd],
        &["run", "outputs", RUN],
        &["run", "outputs", RUN, "--to", to.to_str().unwrap()],
        &["run", "cancel", RUN],
        &["run", "retry", RUN],
        &["watch", RUN],
        &["watch", &delivered],
        &["watch", &odd, "--timeout", "1s"],
    ];
    for command in commands {
        for format in ["text", "json"] {
            let all = [command, &["--gateway-url", &url, "--output", format]].concat();
            let output = machine.run(&all);
            assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{all:?}");
            shows_as_written(&format!("{all:?}"), &output);
        }
    }
    assert!(!to.exists() || std::fs::read_dir(&to).unwrap().next().is_none(), "nothing is written");
}

#[test]
fn a_hostile_refusal_has_no_control_over_the_screen() {
    let machine = Machine::new();
    let problem = json!({ "type": HOSTILE, "title": HOSTILE, "detail": HOSTILE, "code": HOSTILE,
        "errors": [{ "pointer": HOSTILE, "detail": HOSTILE }] });
    for status in [400, 401, 403, 404, 409, 429, 500] {
        for body in [problem.to_string(), HOSTILE.to_owned()] {
            let url = server(move |_, _| (status, body.clone()));
            for command in [["run", "list", "--limit", "1"], ["run", "outputs", RUN, "--attempt=1"]]
            {
                let output = machine.run(&[&command[..], &["--gateway-url", &url]].concat());
                assert_ne!(output.status.code(), Some(0));
                shows_as_written(&format!("{status} {command:?}"), &output);
            }
        }
    }
}

#[test]
fn a_hostile_node_has_no_control_over_the_screen_of_any_command() {
    let machine = Machine::new();
    let gateway_url = server(|path, _| gateway(path));
    let refusal = json!({ "code": -32_000, "message": HOSTILE, "data": HOSTILE });
    let nodes = [
        json!({ "jsonrpc": "2.0", "id": 1, "error": refusal }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {
            "passphrase": HOSTILE, "friendbotUrl": HOSTILE, "protocolVersion": 30,
        }}),
        json!(HOSTILE),
    ];
    let commands: [&[&str]; 8] = [
        &["agent", "show", "1"],
        &["receipts", "export", USER],
        &["contract", "show", "vault"],
        &["balance", "show", USER],
        &["grant", "list", USER],
        &["policy", "show", USER],
        &["verify", RUN, "--gateway-url", &gateway_url],
        &["export", RUN, "--gateway-url", &gateway_url],
    ];
    for node in nodes {
        let url = server(move |_, _| (200, node.to_string()));
        for command in commands {
            let output = machine.run(&[command, &["--rpc-url", &url]].concat());
            assert_ne!(output.status.code(), Some(0), "{command:?}");
            shows_as_written(&format!("{command:?}"), &output);
        }
    }
}
