//! No setting gives its secret away (R9): not by an answer, a log line, a metric, a span, an event
//! or the process list.

use chassis::Secret;
use chassis::grpc::client;
use testkit::secrets::{
    CANARY, RecordedProcess, assert_all_are_considered, assert_none_is_shown, free_port,
    grpc_answers, with_password, with_secret,
};
use testkit::{Arrived, upstream};
use wire::pb::oracle::v1::CheckRequest;
use wire::pb::oracle::v1::oracle_gate_client::OracleGateClient;

use crate::fixture::Fixture;
use crate::served::request;

/// Settings that may hold a secret; each is filled by a test of this file.
const SECRET: [&str; 9] = [
    "DATABASE_URL",
    "NATS_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "ORACLE_GATE_ROOT",
    "ORACLE_GATE_S3_ENDPOINT",
    "ORACLE_GATE_GRPC_TOKENS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// Settings that hold none.
const OPEN: [&str; 15] = [
    "NATS_PREFIX",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
    "LUMIO_CONFINE",
    "ORACLE_GATE_BIND",
    "ORACLE_GATE_PROFILE",
    "ORACLE_GATE_S3_REGION",
    "ORACLE_GATE_S3_PATH_STYLE",
    "ORACLE_GATE_S3_ALLOW_HTTP",
    "ORACLE_GATE_EXCHANGE",
    "ORACLE_GATE_ATTESTATION_KEYS",
    "ORACLE_GATE_LOG_LEVEL",
];

fn own(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A store that repeats what a request was signed with, as S3 does when a signature is wrong.
fn repeats(request: &Arrived) -> Vec<testkit::Step> {
    let body = format!(
        "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message><CanonicalRequest>{:?}\
         </CanonicalRequest></Error>",
        request.headers
    );
    testkit::upstream::answer("403 Forbidden", "application/xml", &body)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_gives_its_secret_away() {
    assert_all_are_considered("oracle-gate", &SECRET, &OPEN);
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let (database, password) = with_password(&db.url);
    let token = format!("{CANARY}token0123456789");
    let (tokens, key) = (format!("test:{token}"), hex::encode(fixture.key.verifying_key()));
    let (folder, store) = (fixture.dir.path().display().to_string(), upstream(repeats));
    // A folder, and a bus that is there; then a bucket that refuses every request, and no bus.
    for is_bucket in [false, true] {
        let address = format!("127.0.0.1:{}", free_port().await);
        let nats = if is_bucket { "nats://127.0.0.1:9" } else { &bus.url };
        let nats = with_secret(nats);
        let mut settings = own(&[
            ("DATABASE_URL", database.as_str()),
            ("NATS_URL", &nats),
            ("NATS_PREFIX", &bus.prefix),
            ("ORACLE_GATE_BIND", &address),
            ("ORACLE_GATE_ROOT", &folder),
            ("ORACLE_GATE_GRPC_TOKENS", &tokens),
            ("ORACLE_GATE_ATTESTATION_KEYS", &key),
            ("ORACLE_GATE_LOG_LEVEL", "trace"),
        ]);
        if is_bucket {
            settings.retain(|(name, _)| name != "ORACLE_GATE_ROOT");
            settings.extend(own(&[
                ("ORACLE_GATE_ROOT", "s3://bucket/prefix"),
                ("ORACLE_GATE_EXCHANGE", &folder),
                ("ORACLE_GATE_S3_ENDPOINT", &store.url()),
                ("ORACLE_GATE_S3_ALLOW_HTTP", "true"),
                ("AWS_ACCESS_KEY_ID", &format!("{CANARY}id")),
                ("AWS_SECRET_ACCESS_KEY", &format!("{CANARY}key")),
                ("AWS_SESSION_TOKEN", &format!("{CANARY}session")),
            ]));
        }
        let mut process =
            RecordedProcess::start(env!("CARGO_BIN_EXE_oracle-gate"), &settings).await;
        process.says("listens on").await;

        let url = format!("http://{address}");
        let mut calls =
            OracleGateClient::new(client(&url, Some(&Secret::from(token.as_str()))).unwrap());
        let sealed = calls.seal(request(fixture.passed(1 + u128::from(is_bucket)))).await;
        assert_eq!(sealed.is_err(), is_bucket, "{sealed:?}");
        let facts = sealed.as_ref().map(|sealed| sealed.get_ref().facts_ref.clone());
        let run_facts_ref = facts.unwrap_or_else(|_| "sr/run_facts_view/latest.json".to_owned());
        let check = CheckRequest { run_facts_ref, ..CheckRequest::default() };
        let mut shown = format!("{sealed:?} {:?}", calls.check(check).await);
        shown += &grpc_answers(&url, "oracle/v1/oracle_gate.proto", &[&token]).await;
        shown += &process.stop().await;
        let events: Vec<String> =
            sqlx::query_scalar("SELECT body FROM outbox").fetch_all(&db.pool).await.unwrap();
        assert!(!events.is_empty());
        shown += &events.concat();
        assert_none_is_shown(&shown, [CANARY, &password]);
    }
    assert!(!store.arrived().is_empty(), "the bucket was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_named_without_its_value() {
    let fixture = Fixture::new();
    let (wrong, root) = (format!("{CANARY} \\ {CANARY}://"), fixture.dir.path().display());
    let (key, root) = (hex::encode(fixture.key.verifying_key()), root.to_string());
    let (away, bucket) = (with_secret("postgres://127.0.0.1:9/db"), format!("s3://{CANARY} / "));
    let endpoint = with_secret("https://127.0.0.1:9");
    let cases = [
        ("DATABASE_URL", wrong.as_str()),
        ("DATABASE_URL", away.as_str()),
        ("NATS_URL", &wrong),
        ("ORACLE_GATE_GRPC_TOKENS", &wrong),
        ("ORACLE_GATE_ROOT", &bucket),
        ("ORACLE_GATE_S3_ENDPOINT", &wrong),
        ("ORACLE_GATE_S3_ENDPOINT", &endpoint),
        ("ORACLE_GATE_ATTESTATION_KEYS", &wrong),
    ];
    let starts = cases.map(async |(name, value)| {
        let mut settings = own(&[
            ("DATABASE_URL", "postgres://127.0.0.1:9/db"),
            ("NATS_URL", "nats://127.0.0.1:9"),
            ("ORACLE_GATE_BIND", "127.0.0.1:0"),
            ("ORACLE_GATE_ROOT", &root),
            ("ORACLE_GATE_EXCHANGE", &root),
            ("ORACLE_GATE_GRPC_TOKENS", "test:0123456789abcdef"),
            ("ORACLE_GATE_ATTESTATION_KEYS", &key),
        ]);
        if name.contains("S3") {
            settings.retain(|(name, _)| name != "ORACLE_GATE_ROOT");
            settings.extend(own(&[
                ("ORACLE_GATE_ROOT", "s3://bucket/prefix"),
                ("AWS_ACCESS_KEY_ID", "id"),
                ("AWS_SECRET_ACCESS_KEY", "key"),
            ]));
        }
        settings.retain(|(other, _)| other != name);
        settings.extend(own(&[(name, value)]));
        let process = RecordedProcess::start(env!("CARGO_BIN_EXE_oracle-gate"), &settings).await;
        let (status, said) = process.ended().await;
        // A database that is away may be there later; all else is a wrong setting (C1).
        let code = if value == away { 2 } else { 3 };
        assert_eq!(status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(name) || name.contains("S3"), "{name}: {said}");
        assert_none_is_shown(&said, [CANARY]);
    });
    futures::future::join_all(starts).await;
}
