//! A database that falls silent: its connections stay open, and nothing ever comes.

use std::time::Duration;

use serde_json::Value;
use testkit::{SilentWay, eventually};
use tokio::time::timeout;

use crate::crashing::{free_port, spawn};
use crate::fixture::{Fixture, Gateway};

/// Seconds, and not minutes, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_within_seconds_and_work_goes_on_when_it_is_back() {
    let fixture = Fixture::new().await;
    let way = SilentWay::to(&fixture.db).await;
    // What waits for an answer gives up some seconds after this.
    let mut url = url::Url::parse(&way.url).unwrap();
    url.query_pairs_mut().append_pair("options[statement_timeout]", "5s");
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let _process = spawn(&fixture, &[("RUNNER_PORT", &port), ("DATABASE_URL", url.as_str())]);
    gateway.up().await;
    eventually(async || gateway.get("/health").await.status() == 200).await;
    let id = gateway.accepted(&fixture.body()).await;
    gateway.ended(&id, "failed").await;

    way.fall_silent();
    let health = timeout(SOON, gateway.get("/health")).await.unwrap();
    assert_eq!(health.status(), 503, "the first answer says so");
    let health: Value = health.json().await.unwrap();
    assert_eq!(health["checks"]["postgres"]["ok"], false, "{health:#}");
    assert_eq!(gateway.get("/ready").await.status(), 503);
    for _ in 0..2 {
        let refused = timeout(SOON, gateway.post_with_key("one", &fixture.body())).await.unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert!(refused.headers().contains_key("retry-after"));
    }
    let listed = timeout(SOON, gateway.get("/runs")).await.unwrap();
    assert_eq!(listed.status(), 503);

    // Connections that fell silent stay so, for good.
    way.come_back();
    eventually(async || gateway.get("/ready").await.status() == 200).await;
    let accepted = async || {
        let answer = gateway.post_with_key("one", &fixture.body()).await;
        if answer.status() != 202 {
            return None;
        }
        let run: Value = answer.json().await.unwrap();
        run["id"].as_str().map(str::to_owned)
    };
    let id = eventually(accepted).await;
    gateway.ended(&id, "failed").await;
    let text = "SELECT count(*) FROM runs";
    let runs: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(runs, 2, "a request with one key is one run, however often it was sent");
}
