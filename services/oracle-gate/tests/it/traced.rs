//! What the service logs about a call is in the trace of its caller, and what it logs about a seal
//! that it completes when it starts in that of the run.

use chassis::grpc::client;
use chassis::{Secret, telemetry};
use oracle_gate::runs::Draft;
use serde_json::Value;
use tracing::{Instrument as _, info_span};
use wire::pb::oracle::v1::ReadBundleRequest;
use wire::pb::oracle::v1::oracle_gate_client::OracleGateClient;

use crate::fixture::{Fixture, TOKEN, run};
use crate::killed::serve;

const RUN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_of_a_call_or_a_run_is_in_its_trace() {
    telemetry::init("oracle-gate-test", "error").unwrap();
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let draft = Draft { traceparent: Some(RUN.to_owned()), ..fixture.passed(1) };
    fixture.begun(&db, draft).await;

    let mut served = serve(&fixture, &db, &bus, &[]).await;
    let line = served.logged("completed the seal").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["run.id"], run(1).to_string());
    assert_eq!(line["trace_id"], telemetry::trace_id(RUN).unwrap(), "{line}");
    assert!(line["span_id"].is_string(), "{line}");

    let span = info_span!("caller");
    let place = telemetry::traceparent_of(&span).unwrap();
    let channel = client(&served.url, Some(&Secret::from(TOKEN))).unwrap();
    let ask = ReadBundleRequest { run_id: run(9).to_string(), attempt: 1 };
    let mut calls = OracleGateClient::new(channel);
    calls.read_bundle(ask).instrument(span).await.unwrap_err();
    let line = served.logged("refused a call").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["trace_id"], telemetry::trace_id(&place).unwrap(), "{line}");
}
