//! A failed start names the setting that is wrong.

use serde_json::Value;
use stellar::Rpc;
use tokio::net::{TcpListener, TcpStream};

use crate::crashing::free_port;
use crate::fixture::Fixture;

async fn refused(fixture: &Fixture, more: &[(&str, &str)]) -> String {
    let (_, started) = fixture.try_start(more).await;
    format!("{:#}", started.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() {
    let fixture = Fixture::new().await;
    let absent = stellar::Address::Contract([7; 32]).to_string();
    let error = refused(&fixture, &[("RUNNER_CONTRACT_ID", &absent)]).await;
    assert!(error.starts_with("RUNNER_CONTRACT_ID: "), "{error}");
    let registry = fixture.registry.0.to_string();
    let error = refused(&fixture, &[("RUNNER_CONTRACT_ID", &registry)]).await;
    assert!(error.starts_with("RUNNER_CONTRACT_ID: "), "{error}");
    let error = refused(&fixture, &[("RUNNER_AGENT_REGISTRY_ID", &absent)]).await;
    assert!(error.starts_with("RUNNER_AGENT_REGISTRY_ID: "), "{error}");

    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = refused(&fixture, &[("RUNNER_PORT", &port)]).await;
    assert!(error.starts_with("RUNNER_PORT: "), "{error}");
    // Of a block that is kept for documents (RFC 5737), so that no machine has it.
    let elsewhere = [("RUNNER_BIND", "203.0.113.5"), ("RUNNER_ALLOW_INSECURE_BIND", "true")];
    let error = refused(&fixture, &elsewhere).await;
    assert!(error.starts_with("RUNNER_BIND: "), "{error}");
    let mut url: Vec<_> = fixture.db.url.splitn(2, '?').collect();
    let elsewhere = url[0].rsplit_once('/').unwrap().0.to_owned() + "/no_such_database";
    url[0] = &elsewhere;
    let error = refused(&fixture, &[("DATABASE_URL", &url.join("?"))]).await;
    assert!(error.starts_with("DATABASE_URL: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_port_is_open_before_the_database_is_ready() {
    let fixture = Fixture::new().await;
    let port = free_port().await;
    // A server that takes connections and never answers.
    let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://lumio@{}/lumio", database.local_addr().unwrap());
    let more = [("RUNNER_PORT", port.as_str()), ("DATABASE_URL", &url)];
    let mut starting = std::pin::pin!(fixture.try_start(&more));
    tokio::select! {
        (_, started) = &mut starting => panic!("it started: {:?}", started.is_ok()),
        asked = database.accept() => drop(asked.unwrap()),
    }
    // The start is still there, and waits for the database.
    let refused = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_holds_no_stop_up() {
    let fixture = Fixture::new().await;
    let node = fixture.localnet.url();
    let (address, hangs) = testkit::hanging(node.trim_start_matches("http://")).await;
    let url = format!("http://{address}");
    let runner = fixture.start(&[("RUNNER_RPC_URL", &url)]).await;
    hangs.cancel();
    testkit::eventually(async || {
        let health: Value = runner.gateway.get("/health").await.json().await.unwrap();
        health["checks"]["rpc"]["ok"] == false
    })
    .await;

    // A request with the same patience as the runner's, to a node that never answers. Work on a run
    // begins after it and asks the node as well: a stop that waited for an answer to that would end
    // after this request.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = Rpc::new(&format!("http://{}", silent.local_addr().unwrap())).unwrap();
    let asked = tokio::spawn(async move { node.network_at(0).await.is_ok() });
    let _never_answered = silent.accept().await.unwrap();
    let run: uuid::Uuid = runner.gateway.accepted(&fixture.body()).await.parse().unwrap();
    testkit::eventually(async || {
        let text = "SELECT lease_owner IS NOT NULL FROM runs WHERE id = $1";
        let query = sqlx::query_scalar::<_, bool>(text).bind(run);
        query.fetch_one(&fixture.db.pool).await.unwrap()
    })
    .await;
    tokio::select! {
        () = runner.stop() => {}
        _ = asked => panic!("the stop waits for a request to the node"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_was_reset_stops_the_service() {
    let fixture = Fixture::new().await;
    fixture.localnet.close_ledgers(500).await.unwrap();
    let runner = fixture.start(&[]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&id, "failed").await;
    runner.stop().await;

    let other = Fixture::new().await;
    other.localnet.advance_time(1_000_000);
    other.localnet.close_ledger().await.unwrap();
    let url = other.localnet.url();
    let error = refused(&fixture, &[("RUNNER_RPC_URL", &url)]).await;
    assert!(error.starts_with("RUNNER_RPC_URL: ") && error.contains("another history"), "{error}");
}
