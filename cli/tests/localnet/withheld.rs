//! A run whose files the gateway withholds because of a tombstone: what the run cost does not
//! depend on them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};
use wire::Digest;

use super::Fixture;
use super::receipts::{asked_now, settle};

const SAYS: &str = "LEGAL_ORDER, by the court, 2026-12-01";

/// A gateway that shows a run, and withholds every bundle of it.
fn gateway(run: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(count @ 1..) => request.extend_from_slice(&piece[..count]),
                    _ => break,
                }
            }
            let head = String::from_utf8_lossy(&request).into_owned();
            let path = head.split_whitespace().nth(1).unwrap_or_default();
            let (status, body) = match path {
                path if path.contains("/bundle") => {
                    let detail = format!("PACK_TOMBSTONED: {SAYS}");
                    (422, json!({ "code": "CHECK_FAILED", "detail": detail }))
                }
                path if path.starts_with("/runs/") => (200, run.clone()),
                _ => (404, json!({ "code": "NOT_FOUND" })),
            };
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            // The client may have gone away; the next one is served anyway.
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    url
}

#[tokio::test]
async fn a_withheld_pack_leaves_the_cost_of_every_attempt_and_is_named() {
    let fixture = Fixture::prepared().await;
    let run = asked_now(&fixture).await;
    settle(&fixture, &run, 1, 300).await;
    settle(&fixture, &run, 2, 400).await;
    let time = "2026-01-02T03:04:05.000Z";
    let attempt = |attempt: u32| {
        json!({
            "attempt": attempt, "outcome": "delivered", "escrow": "settled",
            "transactionHashes": {}, "createdAt": time,
        })
    };
    let url = gateway(json!({
        "id": run, "user": fixture.key("alice").address().to_string(), "agentId": 1,
        "status": "finalized", "phase": "done", "attempt": 2, "retries": 1, "seed": 1,
        "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 1_000 },
        "inputDigest": Digest::of(b"{}"), "escrow": "settled", "transactionHashes": {},
        "traceId": "0", "createdAt": time, "updatedAt": time,
        "attempts": [attempt(1), attempt(2)],
    }));

    let id = run.to_string();
    let verify = ["verify", id.as_str(), "--gateway-url", &url, "--output", "json"];
    for (further, number) in [(&[][..], 2), (&["--attempt", "1"][..], 1)] {
        let output = fixture.run(&[&verify[..], further].concat()).await;
        let proof: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{proof:#}");
        assert_eq!(proof["broken"], json!([]), "{proof:#}");
        assert_eq!(proof["tombstone"], json!({ "source": "gateway", "says": SAYS }));
        let sum = &proof["sum"];
        assert_eq!((&sum["total"], &sum["complete"]), (&"70000".into(), &true.into()));
        let cost = proof["conclusion"][1].as_str().unwrap();
        assert!(cost.contains("70000 stroops") && cost.contains("over 2 attempts"), "{cost}");
        let note = proof["noBundle"].as_str().unwrap();
        assert!(note.starts_with(&format!("attempt {number} has no sealed files")), "{note}");
        assert!(note.contains("they are withheld"), "{note}");
    }

    // What was exported says the same, without the gateway.
    let out = fixture.folder.path().join("evidence");
    let out = out.to_str().unwrap();
    let export = ["export", &id, "--gateway-url", &url, "--out", out];
    assert_eq!(fixture.run(&export).await.status.code(), Some(2));
    let output = fixture.run(&["verify", &id, "--bundle", out]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("over 2 attempts") && text.contains(SAYS), "{text}");
    fixture.localnet.shutdown().await;
}
