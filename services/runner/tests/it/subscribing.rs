//! The documented inbox: each event is acted on once, however often it is in the stream.

use std::time::Duration;

use bytes::Bytes;
use testkit::eventually;
use wire::event::Family;

use crate::fixture::Fixture;

#[path = "../../../../examples/subscriber/subscriber.rs"]
mod subscriber;

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_of_the_documents_acts_once_on_what_comes_twice() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let id = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.ended(&id, "failed").await;
    let text = "SELECT count(*) FROM outbox WHERE published_at IS NULL";
    let published = || async {
        let left: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
        left == 0
    };
    eventually(published).await;
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT subject, body FROM outbox WHERE subject LIKE '%.run.%' ORDER BY position",
    )
    .fetch_all(&fixture.db.pool)
    .await
    .unwrap();
    for (subject, body) in &rows {
        assert!(subject.ends_with(&id), "{subject} spells the run otherwise than {id}");
        let event: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&event["subject"], &event["data"]["run_id"]),
            (&id.as_str().into(), &id.as_str().into())
        );
        assert!(event["id"].as_str().unwrap().starts_with(&id));
        assert_eq!(event["sequence"].as_str().unwrap().len(), 20);
        // Beyond the memory of the server: without a message id it keeps the repeat.
        let jetstream = async_nats::jetstream::new(fixture.bus.client.clone());
        let body = Bytes::from(body.clone());
        jetstream.publish(subject.clone(), body).await.unwrap().await.unwrap();
    }

    let db = testkit::postgres().await;
    sqlx::raw_sql(subscriber::SCHEMA).execute(&db.pool).await.unwrap();
    let stream = Family::Run.stream(&fixture.bus.prefix);
    let (client, messages) = (&fixture.bus.client, rows.len() * 2);
    let consumed = subscriber::consume(client, &db.pool, &stream, "counter", messages);
    tokio::time::timeout(Duration::from_secs(30), consumed).await.unwrap().unwrap();
    let counted: Vec<i64> =
        sqlx::query_scalar("SELECT number FROM counts").fetch_all(&db.pool).await.unwrap();
    assert_eq!(counted.iter().sum::<i64>(), i64::try_from(rows.len()).unwrap());
    runner.stop().await;
}
