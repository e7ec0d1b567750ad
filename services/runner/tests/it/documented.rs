//! The gateway's document against the gateway, by a tool that others wrote.

use serde_json::{Value, json};
use testkit::eventually;

use crate::fixture::Fixture;

/// Names the folder with schemathesis; with it, it has to be there.
const TOOL: &str = "LUMIO_SCHEMATHESIS";
/// Cases of each operation; many more where time does not matter.
const CASES: [&str; 2] = ["6", "100"];

#[tokio::test(flavor = "multi_thread")]
async fn no_request_gets_an_answer_that_the_document_does_not_name() {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.dev/tools/python/schemathesis");
    let folder = std::env::var_os(TOOL).unwrap_or_else(|| installed.into());
    if !std::path::Path::new(&folder).join("schemathesis").is_dir() {
        let needed = std::env::var_os(TOOL).is_some() || std::env::var_os("CI").is_some();
        assert!(!needed, "schemathesis is not installed in {}", folder.display());
        eprintln!("skipped: schemathesis is not installed (./dev test brings it)");
        return;
    }
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let run = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&run, "failed").await;

    // Random ids alone would see nothing but refusals.
    let room = tempfile::tempdir().unwrap();
    let config = format!(
        "[[operations]]\ninclude-path-regex = \"/runs/|/operator/packs/\"\nparameters = {{ \
         \"path.id\" = \"{run}\" }}\n\n[[operations]]\ninclude-path-regex = \"/agents/\"\n\
         parameters = {{ \"path.id\" = \"{}\" }}\n\n[[operations]]\ninclude-path-regex = \
         \"/grants/|/receipts/\"\nparameters = {{ \"path.user\" = \"{}\" }}\n",
        fixture.agent_id,
        fixture.user.address(),
    );
    std::fs::write(room.path().join("schemathesis.toml"), config).unwrap();

    let long = usize::from(std::env::var_os("LUMIO_LONG").is_some());
    let mut command = tokio::process::Command::new("python3");
    command.current_dir(&room).env("PYTHONPATH", &folder).kill_on_drop(true);
    command.args(["-m", "schemathesis.cli", "run"]);
    command.arg(format!("{}/openapi.json", runner.gateway.url));
    // Streams have no end, and the login is not there.
    command.args(["--exclude-path-regex", "/events$|^/auth|^/sep45|well-known"]);
    command.args(["--max-examples", CASES[long], "--seed", "1", "--no-color"]);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_headers_conformance,response_schema_conformance,unsupported_method";
    command.args(["--checks", checks, "--phases", "examples,coverage,fuzzing"]);
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_serves_the_committed_document() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let served: Value = runner.gateway.get("/openapi.json").await.json().await.unwrap();
    let committed = include_str!("../../../../spec/openapi.json");
    assert_eq!(served, serde_json::from_str::<Value>(committed).unwrap());
    assert_eq!(served["openapi"], "3.1.0");
    runner.stop().await;
}

/// The routes and members of the runner that frontends were written for, before this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_frontend_of_the_first_runner_finds_its_routes_and_members() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let health = eventually(|| async {
        let health: Value = gateway.get("/health").await.json().await.unwrap();
        (health["ok"] == true).then_some(health)
    })
    .await;
    assert!(health["status"]["queueDepth"].is_number(), "{health}");

    let summary: Value = gateway.get("/summary").await.json().await.unwrap();
    for member in
        ["runner", "contractId", "networkPassphrase", "rpcUrl", "agentRegistryId", "pollIntervalMs"]
    {
        assert!(!summary["config"][member].is_null(), "{member}: {summary}");
    }
    assert!(
        summary["status"]["queueDepth"].is_number() && summary["status"]["lastTickAt"].is_string()
    );

    let mut body = fixture.body();
    body["metadata"] = json!({ "from": "page" });
    body["label"] = json!("first");
    let accepted = gateway.post("/runs", &body).await;
    assert_eq!(accepted.status(), 202);
    let run: Value = accepted.json().await.unwrap();
    for (member, value) in [
        ("user", json!(fixture.user.address())),
        ("agentId", json!(fixture.agent_id)),
        ("workflowId", json!("profile")),
        ("label", json!("first")),
        ("metadata", json!({ "from": "page" })),
        ("status", json!("pending")),
        ("retries", json!(0)),
        ("budgets", json!({ "llmIn": 100, "llmOut": 0, "httpCalls": 0, "runtimeMs": 1_000 })),
    ] {
        assert_eq!(run[member], value, "{member}");
    }
    let id = run["id"].as_str().unwrap();
    assert!(run["createdAt"].is_string() && run["updatedAt"].is_string());

    let list: Value = gateway.get("/runs").await.json().await.unwrap();
    assert_eq!(list[0]["id"], id);
    let ended = gateway.ended(id, "failed").await;
    assert!(ended["transactionHashes"]["open"].is_string(), "{ended}");
    assert!(ended["transactionHashes"]["finalize"].is_string() && ended["error"].is_string());
    for member in ["runId", "actualCharge", "refund", "developer", "outputHash", "finalizedAt"] {
        assert!(ended["receipt"][member].is_string(), "{member}: {ended}");
    }
    assert!(ended["usage"]["runtimeMs"].is_number() && ended["outputHash"].is_string());

    let again = gateway.post(&format!("/runs/{id}/retry"), &json!({})).await;
    assert_eq!(again.status(), 200);
    let again: Value = again.json().await.unwrap();
    assert_eq!((&again["status"], &again["retries"]), (&json!("pending"), &json!(1)));

    // Refusals keep the member that they had, and come from any page.
    let missing = gateway.get(&format!("/runs/{}", uuid::Uuid::nil())).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.json::<Value>().await.unwrap()["error"], "Run not found");
    let wrong = gateway.post("/runs", &json!({ "user": "" })).await;
    assert_eq!(wrong.status(), 400);
    let wrong: Value = wrong.json().await.unwrap();
    assert!(wrong["error"].as_str().unwrap().starts_with("Invalid payload"), "{wrong}");
    assert!(wrong["issues"].is_array());
    runner.stop().await;
}
