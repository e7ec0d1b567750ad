//! No setting gives its secret away (R9): not by an answer, a log line, a metric, a span, an event
//! or the process list.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use chassis::Secret;
use chassis::grpc::client;
use testkit::secrets::{
    CANARY, RecordedProcess, assert_all_are_considered, assert_none_is_shown, free_port,
    grpc_answers, with_password, with_secret,
};
use wire::pb::module::v1::module_gate_client::ModuleGateClient;

use crate::fixture::{Fixture, csv_profile, node, request, weather};

/// Settings that may hold a secret; each is filled by a test of this file.
const SECRET: [&str; 7] = [
    "DATABASE_URL",
    "NATS_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "MODULE_GATE_ATTESTATION_SECRET",
    "MODULE_GATE_FORMER_ATTESTATION_SECRETS",
    "MODULE_GATE_GRPC_TOKENS",
    // A file, which names files and variables with credentials.
    "MODULE_GATE_UPSTREAMS",
];

/// Settings that hold none.
const OPEN: [&str; 14] = [
    "NATS_PREFIX",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
    "LUMIO_CONFINE",
    "MODULE_GATE_BIND",
    "MODULE_GATE_STORE",
    "MODULE_GATE_SCRATCH",
    "MODULE_GATE_NODE",
    "MODULE_GATE_CONCURRENCY",
    "MODULE_GATE_PIN_PROCESSORS",
    "MODULE_GATE_LOG_LEVEL",
];

fn own(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Settings with which the service starts, as far as the others are set.
fn usual(fixture: &Fixture, address: &str) -> Vec<(String, String)> {
    let config = fixture.config();
    own(&[
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("NATS_PREFIX", &fixture.bus.prefix),
        ("MODULE_GATE_BIND", address),
        ("MODULE_GATE_STORE", config.store.to_str().unwrap()),
        ("MODULE_GATE_SCRATCH", config.scratch.to_str().unwrap()),
        ("MODULE_GATE_NODE", node().to_str().unwrap()),
        ("MODULE_GATE_LOG_LEVEL", "trace"),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_gives_its_secret_away() {
    assert_all_are_considered("module-gate", &SECRET, &OPEN);
    let fixture = Fixture::new().await;
    let module = fixture.publish(&csv_profile());
    let (database, password) = with_password(&fixture.db.url);
    let (seed, former) = ("a7".repeat(32), ["b7".repeat(32), "c7".repeat(32)]);
    let token = format!("{CANARY}token0123456789");
    let folder = tempfile::tempdir().unwrap();
    let (upstreams, file) = (folder.path().join("upstreams.json"), folder.path().join("key"));
    let entries = serde_json::json!({ "upstreams": [
        { "kind": "openai", "url": "https://one.example/v1", "everyone": true,
            "credential": { "env": "ONE_KEY" } },
        { "kind": "openai", "url": "https://two.example/v1", "everyone": true,
            "credential": { "file": file } },
    ] });
    fs::write(&upstreams, entries.to_string()).unwrap();
    fs::write(&file, format!("{CANARY}file")).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    // With a bus, and without one.
    for nats in [fixture.bus.url.as_str(), "nats://127.0.0.1:9"] {
        let address = format!("127.0.0.1:{}", free_port().await);
        let mut settings = usual(&fixture, &address);
        settings.extend(own(&[
            ("DATABASE_URL", &database),
            ("NATS_URL", &with_secret(nats)),
            ("MODULE_GATE_ATTESTATION_SECRET", &seed),
            ("MODULE_GATE_FORMER_ATTESTATION_SECRETS", &former.join(",")),
            ("MODULE_GATE_GRPC_TOKENS", &format!("test:{token}")),
            ("MODULE_GATE_UPSTREAMS", upstreams.to_str().unwrap()),
            ("ONE_KEY", &format!("{CANARY}variable")),
        ]));
        let mut process =
            RecordedProcess::start(env!("CARGO_BIN_EXE_module-gate"), &settings).await;
        process.says("listens on").await;

        let url = format!("http://{address}");
        let mut calls =
            ModuleGateClient::new(client(&url, Some(&Secret::from(token.as_str()))).unwrap());
        let asked = request(module, &weather());
        let mut events = calls.execute(asked).await.unwrap().into_inner();
        let mut shown = String::new();
        while let Some(event) = events.message().await.unwrap() {
            if let Some(wire::pb::module::v1::execute_event::Event::Finished(ended)) = &event.event
            {
                shown += &String::from_utf8_lossy(&ended.statement);
            }
            shown += &format!("{event:?}\n");
        }
        shown += &grpc_answers(&url, "module/v1/module_gate.proto", &[&token]).await;
        shown += &process.stop().await;
        let events: Vec<String> = sqlx::query_scalar("SELECT body FROM outbox")
            .fetch_all(&fixture.db.pool)
            .await
            .unwrap();
        assert!(!events.is_empty());
        shown += &events.concat();
        let secrets = [CANARY, &password, &seed, &former[0], &former[1]];
        assert_none_is_shown(&shown, secrets);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_named_without_its_value() {
    let fixture = Fixture::new().await;
    let (wrong, seed) = (format!("{CANARY} \\ {CANARY}://"), "a7".repeat(32));
    let away = with_secret("postgres://127.0.0.1:9/db");
    let two = format!("{seed},{CANARY}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let entries = serde_json::json!({ "upstreams": [
        { "kind": "openai", "url": with_secret("https://one.example/v1"), "everyone": true,
            "credential": { "value": CANARY } },
    ] });
    fs::write(file.path(), entries.to_string()).unwrap();
    let cases = [
        ("DATABASE_URL", wrong.as_str()),
        ("DATABASE_URL", away.as_str()),
        ("NATS_URL", &wrong),
        ("MODULE_GATE_ATTESTATION_SECRET", &wrong),
        ("MODULE_GATE_FORMER_ATTESTATION_SECRETS", &two),
        ("MODULE_GATE_GRPC_TOKENS", &wrong),
        ("MODULE_GATE_UPSTREAMS", file.path().to_str().unwrap()),
    ];
    let starts = cases.map(async |(name, value)| {
        let mut settings = usual(&fixture, "127.0.0.1:0");
        settings.extend(own(&[
            ("DATABASE_URL", &fixture.db.url),
            ("NATS_URL", &fixture.bus.url),
            ("MODULE_GATE_ATTESTATION_SECRET", &seed),
            ("MODULE_GATE_GRPC_TOKENS", "test:0123456789abcdef"),
        ]));
        settings.retain(|(other, _)| other != name);
        settings.extend(own(&[(name, value)]));
        let process = RecordedProcess::start(env!("CARGO_BIN_EXE_module-gate"), &settings).await;
        let (status, said) = process.ended().await;
        // A database that is away may be there later; all else is a wrong setting (C1).
        let code = if value == away { 2 } else { 3 };
        assert_eq!(status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(name), "{name}: {said}");
        assert_none_is_shown(&said, [CANARY, &seed]);
    });
    futures::future::join_all(starts).await;
}
