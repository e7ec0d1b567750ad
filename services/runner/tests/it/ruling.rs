//! Rules of HTTP that hold for every route: those of operators and of the login too.

use serde_json::{Value, json};

use crate::crashing::{free_port, spawn};
use crate::fixture::{Fixture, Gateway};
use crate::hostile::{JSON, raw, refused, request};
use crate::login::{log_in_at, start};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const ID: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn an_order_with_something_that_is_not_heeded_is_refused() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let user = fixture.user.address();
    let reason = r#"{"reason":"x"}"#;
    for (path, body) in [
        (format!("/operator/intake/pause?user={user}"), reason),
        ("/operator/intake/pause?agent=7".to_owned(), reason),
        ("/operator/intake/resume?agent=7".to_owned(), "{}"),
        (format!("/operator/dead-letters/{ID}/discard?now=1"), reason),
        (format!("/operator/dead-letters/{ID}/replay?now=1"), ""),
        (format!("/runs/{ID}/cancel?now=1"), ""),
        ("/quote?user=x".to_owned(), "{}"),
        ("/operator/intake/pause".to_owned(), r#"[null,null,"x"]"#),
        ("/operator/intake/pause".to_owned(), r#"{"reason":"x","reason":"y"}"#),
        ("/operator/intake/pause".to_owned(), r#"{"reason":"x","users":["G"]}"#),
        ("/operator/intake/resume".to_owned(), "[]"),
        (format!("/operator/dead-letters/{ID}/discard"), r#"["x"]"#),
    ] {
        let answer = raw(gateway, &request("POST", &path, JSON, body)).await;
        assert_eq!(refused(&answer), (400, "INVALID_REQUEST".to_owned()), "{path} {body}");
    }
    let paused: Vec<Value> = gateway.get("/operator/intake").await.json().await.unwrap();
    assert!(paused.is_empty(), "{paused:?}");

    for (method, path, body, status) in [
        ("DELETE", "/operator/intake/pause?user=x", "", 405),
        ("POST", "/ready", "", 405),
        ("DELETE", "/live?x=1", "", 405),
        ("GET", "/ready?x=1", "", 400),
        ("POST", "/operator/queue?limit=1", "", 405),
    ] {
        let answer = raw(gateway, &request(method, path, JSON, body)).await;
        assert_eq!(refused(&answer).0, status, "{method} {path}");
    }
    let foreign = "GET /ready HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(refused(&raw(gateway, foreign).await).0, 421);
    assert_eq!(gateway.get("/live").await.text().await.unwrap(), "live\n");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_of_the_login_keep_the_rules_of_all_routes() {
    let fixture = Fixture::new().await;
    let runner = start(&fixture, &[]).await;
    let gateway = &runner.gateway;
    let user = fixture.user.address();
    let login = log_in_at(gateway, &fixture.user).await;
    let token = login["token"].as_str().unwrap();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let with_token = format!("{JSON}{bearer}");

    for (method, path, allow) in [
        ("DELETE", "/auth", "allow: GET,HEAD,POST"),
        ("PUT", "/sep45?account=x", "allow: GET,HEAD,POST"),
        ("GET", "/auth/refresh", "allow: POST"),
        ("POST", "/.well-known/stellar.toml", "allow: GET,HEAD"),
        ("POST", "/ready", "allow: GET,HEAD"),
    ] {
        let answer = raw(gateway, &request(method, path, "", "")).await;
        assert_eq!(refused(&answer), (405, "METHOD_NOT_ALLOWED".to_owned()), "{method} {path}");
        assert!(answer.contains(allow), "{answer}");
    }
    let text = "Content-Type: text/plain\r\n";
    for (method, path, headers, body, status) in [
        ("GET", format!("/auth?account={user}&account={user}"), "", "", 400),
        ("GET", format!("/sep45?account={user}&account={user}"), "", "", 400),
        ("GET", "/.well-known/stellar.toml?x=1".to_owned(), "", "", 400),
        ("POST", "/auth".to_owned(), text, "transaction=AAAA", 415),
        ("POST", "/auth".to_owned(), "", "", 415),
        ("POST", "/sep45".to_owned(), text, "x", 415),
        ("POST", "/auth?x=1".to_owned(), JSON, "{}", 400),
        ("POST", "/auth/refresh?x=1".to_owned(), JSON, "{}", 400),
        ("POST", "/auth/logout?everywhere=true".to_owned(), with_token.as_str(), "", 400),
        ("POST", "/auth/logout".to_owned(), with_token.as_str(), "[true]", 400),
        ("POST", "/auth/logout".to_owned(), with_token.as_str(), r#"{"everywhere":1}"#, 400),
        ("POST", "/auth".to_owned(), JSON, r#"{"transaction":"A","transaction":"B"}"#, 400),
        ("POST", "/auth".to_owned(), FORM, "transaction=A&transaction=B", 400),
        ("POST", "/auth".to_owned(), JSON, r#"["A"]"#, 400),
        (
            "POST",
            "/auth/refresh".to_owned(),
            JSON,
            r#"{"refresh_token":"a","refresh_token":"b"}"#,
            400,
        ),
        // These are read, and are no login.
        ("POST", "/auth".to_owned(), FORM, "transaction=A", 401),
        ("POST", "/auth".to_owned(), JSON, r#"{"transaction":"A","more":1}"#, 401),
    ] {
        let answer = raw(gateway, &request(method, &path, headers, body)).await;
        assert_eq!(refused(&answer).0, status, "{method} {path} {body}: {answer}");
    }
    for path in ["/auth", "/auth/refresh", "/sep45"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 99999999\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(refused(&raw(gateway, &head).await).0, 413, "{path}");
        for method in ["GET", "POST"] {
            let foreign = format!(
                "{method} {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
            );
            assert_eq!(refused(&raw(gateway, &foreign).await).0, 421, "{path}");
        }
    }

    // SEP-10 and SEP-45 have parameters that this gateway does not know, and ignores.
    let path = format!("/auth?account={user}&client_domain=wallet.example&later=1");
    assert_eq!(gateway.get(&path).await.status(), 200);
    let mine = gateway.as_user(token);
    assert_eq!(mine.get("/auth/session").await.status(), 200, "nothing has ended the session");
    let ended = mine.post("/auth/logout", &json!({ "everywhere": true })).await;
    assert_eq!(ended.status(), 204);
    assert_eq!(mine.get("/auth/session").await.status(), 401);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_names_no_length_that_is_not_known_and_asks_no_gate_for_it() {
    let fixture = Fixture::new().await;
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let away = "http://127.0.0.1:9";
    let settings = [
        ("RUNNER_PORT", port.as_str()),
        ("RUNNER_MODULE_GATE_URL", away),
        ("RUNNER_MODULE_GATE_TOKEN", "0123456789abcdef"),
        ("RUNNER_ORACLE_GATE_URL", away),
        ("RUNNER_ORACLE_GATE_TOKEN", "0123456789abcdef"),
    ];
    let _process = spawn(&fixture, &settings);
    gateway.up().await;
    let text = "INSERT INTO runs (id, user_account, agent_id, budgets, input, input_digest, \
            seed, status, phase, attempt, traceparent, created_at, updated_at) \
         VALUES (gen_random_uuid(), $1, 1, \
            '{\"llm_in\":0,\"llm_out\":0,\"http_calls\":0,\"runtime_ms\":1}', \
            '{}', decode(repeat('00', 32), 'hex'), 1, 'finalized', 'done', 1, '', now(), now()) \
         RETURNING id";
    let user = fixture.user.address().to_string();
    let inserted = sqlx::query_scalar::<_, uuid::Uuid>(text).bind(user);
    let id = inserted.fetch_one(&fixture.db.pool).await.unwrap();
    let head = async |path: &str| raw(&gateway, &request("HEAD", path, "", "")).await;
    let bundle = format!("/runs/{id}/bundle");
    let text = "INSERT INTO attempts (run_id, number, nonce, created_at) \
         VALUES ($1, 1, decode(repeat('07', 32), 'hex'), now())";
    sqlx::query(text).bind(id).execute(&fixture.db.pool).await.unwrap();
    assert!(head(&bundle).await.starts_with("HTTP/1.1 404 "), "it was not sealed");

    let digest = "0".repeat(64);
    let seal = json!({
        "pack_id": "pack", "seal_digest": digest, "manifest_digest": digest, "facts_ref": "",
    });
    let sealed = "UPDATE attempts SET seal = $2 WHERE run_id = $1";
    sqlx::query(sealed).bind(id).bind(seal).execute(&fixture.db.pool).await.unwrap();
    let answer = head(&bundle).await;
    let name = format!("content-disposition: attachment; filename=\"{id}.tar\"\r\n");
    for line in ["HTTP/1.1 200 ", "content-type: application/x-tar\r\n", name.as_str()] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    assert!(!answer.contains("\r\ncontent-length:"), "{answer}");

    for path in [format!("/runs/{id}/events"), "/events".to_owned()] {
        let answer = head(&path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(answer.contains("content-type: text/event-stream\r\n"), "{path}: {answer}");
        assert!(!answer.contains("\r\ncontent-length:"), "{path}: {answer}");
    }
    // What is made before it is sent has the length that GET has.
    for path in [format!("/runs/{id}"), format!("/runs/{id}/outputs"), "/runs".to_owned()] {
        let length = gateway.get(&path).await.bytes().await.unwrap().len();
        let answer = head(&path).await;
        assert!(answer.contains(&format!("content-length: {length}\r\n")), "{path}: {answer}");
    }
}
