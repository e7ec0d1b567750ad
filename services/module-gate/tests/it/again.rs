//! The same call again is harmless; another call under the same attempt is refused (R11).

use chassis::grpc::client;
use wire::pb::module::v1::module_gate_client::ModuleGateClient;
use wire::problem::Problem;

use crate::fixture::{Fixture, request, test_module};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_gets_the_same_bytes_also_at_the_same_time() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let asked =
        request(fixture.publish(&test_module("slow")), &serde_json::json!({ "sleep_ms": 700 }));
    let mut relaxed = asked.clone();
    relaxed.wall_limit_ms += 1;
    relaxed.deadline_unix += 1;

    let (one, other) = tokio::join!(gate.execute(&asked), gate.execute(&relaxed));

    let one = one.unwrap();
    assert_eq!(one, other.unwrap(), "two calls at once are one execution");
    assert_eq!(one, gate.execute(&asked).await.unwrap(), "a later call gets what is stored");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_under_an_attempt_is_a_conflict() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&test_module("slow"));
    let asked = request(module, &serde_json::json!({}));
    let first = gate.execute(&asked).await.unwrap();

    let mut other = asked.clone();
    other.seed += 1;
    let status = gate.execute(&other).await.unwrap_err();
    assert_eq!(Problem::of(&status), Some(Problem::ExecutionConflict), "{status:?}");

    other.attempt = 2;
    assert_ne!(gate.execute(&other).await.unwrap(), first, "the next attempt is one of its own");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_calls_without_a_token() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let asked = request(fixture.publish(&test_module("slow")), &serde_json::json!({}));
    let mut stranger =
        ModuleGateClient::new(client(&format!("http://{}", gate.address), None).unwrap());
    let status = stranger.execute(asked).await.unwrap_err();
    assert_eq!(Problem::of(&status), Some(Problem::Unauthenticated), "{status:?}");
    gate.stop().await;
}
