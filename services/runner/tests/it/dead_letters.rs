//! Runs that no worker can go on with are listed, replayed and discarded, and contract state is asked
//! before anything is done.

use serde_json::{Value, json};

use crate::fixture::{DEPOSIT, Fixture, PRICE};
use crate::reconciling::{INTO_AN_OPERATORS_HANDS, OPEN};
use crate::retention::{command, said};

fn letters(fixture: &Fixture) -> Vec<Value> {
    let listed = command(fixture, &["dead-letters", "list", "--output", "json"]);
    assert!(listed.status.success(), "{}", said(&listed));
    serde_json::from_slice(&listed.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_replayed_without_being_charged_twice_and_discarded_with_its_escrow() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&OPEN).await;
    assert!(letters(&fixture).is_empty());
    let (id, _) = fixture.open_run(&runner).await;
    fixture.sql(INTO_AN_OPERATORS_HANDS).await;
    let listed = letters(&fixture);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["operatorReason"], "the outcome is unknown");
    let shown = command(&fixture, &["dead-letters", "show", &id]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["proof"], &shown["run"]["id"]), (&json!("open"), &json!(id)));
    assert_eq!(shown["attempts"][0]["transactions"][0]["purpose"], "open");

    // The vault holds its escrow, so workers go on with this attempt: it waits for a retry.
    let replayed = command(&fixture, &["dead-letters", "replay", &id]);
    assert!(replayed.status.success(), "{}", said(&replayed));
    runner.gateway.until(&id, |run| run["phase"] == "escrow_open").await;
    // The attempt is settled with zero before the next one opens.
    let replayed = command(&fixture, &["dead-letters", "replay", "--all"]);
    assert!(replayed.status.success(), "{}", said(&replayed));
    let again = |run: &Value| run["attempt"] == 2 && run["phase"] == "escrow_open";
    let run = runner.gateway.until(&id, again).await;
    assert_eq!(run["attempts"][0]["receipt"]["actualCharge"], "0", "{run:#}");
    assert_eq!(
        (fixture.succeeded(&id, "open").await, fixture.succeeded(&id, "finalize").await),
        (2, 1)
    );
    assert_eq!(fixture.account().await.balance, DEPOSIT - PRICE);

    let path = format!("/operator/dead-letters/{id}");
    let shown: Value = runner.gateway.get(&path).await.json().await.unwrap();
    assert_eq!(shown["proof"], "open", "{shown:#}");
    let order = json!({ "reason": "the module was withdrawn" });
    let answer = runner.gateway.post(&format!("{path}/discard"), &order).await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["outcome"], "started", "{answer:#}");
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!(run["escrow"], "returned", "{run:#}");
    assert_eq!(fixture.account().await.balance, DEPOSIT);
    let answer = runner.gateway.post(&format!("{path}/discard"), &order).await;
    assert_eq!(answer.status(), 409);
    let over = command(&fixture, &["dead-letters", "replay", &id]);
    assert_eq!(over.status.code(), Some(1), "{}", said(&over));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_the_vault_has_closed_ends_as_it_is_proven() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&OPEN).await;
    let (id, run) = fixture.open_run(&runner).await;
    fixture.sql(INTO_AN_OPERATORS_HANDS).await;
    fixture.reclaim_elsewhere(&run).await;
    fixture.until_seen("run_reclaimed").await;
    let answer =
        runner.gateway.post(&format!("/operator/dead-letters/{id}/replay"), &json!({})).await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["outcome"], "ended", "{answer:#}");
    let run = runner.gateway.ended(&id, "failed").await;
    assert_eq!((&run["escrow"], run["attempt"].as_i64()), (&json!("returned"), Some(1)));
    let unknown = "0199f2d0-0000-7000-8000-000000000000";
    let none = command(&fixture, &["dead-letters", "discard", unknown]);
    assert_eq!(none.status.code(), Some(1), "{}", said(&none));
    let path = format!("/operator/dead-letters/{unknown}/replay");
    assert_eq!(runner.gateway.post(&path, &json!({})).await.status(), 404);
    runner.stop().await;
}
