//! Channels that are added, topped up and drained while a runner runs.

use std::process::Output;

use serde_json::Value;
use soroban_localnet::Fault;
use stellar::Address;

use crate::fixture::Fixture;
use crate::retention::{command, command_with, said};

/// Nothing waits for company: there is enough to do for several channels.
const ALONE: (&str, &str) = ("RUNNER_BATCH_MAX_CALLS", "1");

fn listed(fixture: &Fixture) -> Vec<Value> {
    let listed = command(fixture, &["channels", "list", "--output", "json"]);
    assert!(listed.status.success(), "{}", said(&listed));
    serde_json::from_slice(&listed.stdout).unwrap()
}

fn added(fixture: &Fixture) -> Vec<Value> {
    let is_derived = |row: &Value| row["channel"]["payer"].is_string();
    listed(fixture).into_iter().filter(is_derived).collect()
}

async fn balance(fixture: &Fixture, account: &str) -> Option<i64> {
    let account: Address = account.parse().unwrap();
    fixture.rpc.account(&account).await.unwrap().map(|state| state.balance)
}

/// The command, off the threads that serve the runner of this process.
async fn commanded(fixture: &Fixture, arguments: &[&str]) -> Output {
    tokio::task::block_in_place(|| command(fixture, arguments))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_running_runner_serves_an_added_channel_and_leaves_a_drained_one() {
    let fixture = Fixture::new().await;
    let running = fixture.start(&[ALONE, ("RUNNER_WORKERS", "8")]).await;
    let done = commanded(&fixture, &["channels", "add", "--count", "2", "--stroops", "50000000"]);
    let done = done.await;
    assert!(done.status.success(), "{}", said(&done));
    let rows = added(&fixture);
    assert_eq!(rows.len(), 2, "{rows:#?}");
    for row in &rows {
        assert_eq!(row["channel"]["state"], "active");
        assert_eq!(row["balanceStroops"], "50000000");
    }

    // The running process takes them up without a restart.
    let mut ids = Vec::new();
    for _ in 0..9 {
        ids.push(running.gateway.accepted(&fixture.body()).await);
    }
    for id in &ids {
        running.gateway.ended(id, "failed").await;
    }
    let used = "SELECT count(DISTINCT source) FROM chain_transactions WHERE kind <> 'channel'";
    testkit::eventually(|| async {
        // Until it has looked for channels again there may have been too little to do.
        let id = running.gateway.accepted(&fixture.body()).await;
        let other = running.gateway.accepted(&fixture.body()).await;
        let third = running.gateway.accepted(&fixture.body()).await;
        for id in [id, other, third] {
            running.gateway.ended(&id, "failed").await;
        }
        let used: i64 = sqlx::query_scalar(used).fetch_one(&fixture.db.pool).await.unwrap();
        used == 3
    })
    .await;

    let account = rows[0]["channel"]["account"].as_str().unwrap();
    let before = balance(&fixture, account).await.unwrap();
    let paid = ["channels", "top-up", account, "--stroops", "7000000", "--output", "json"];
    let done = commanded(&fixture, &paid).await;
    assert!(done.status.success(), "{}", said(&done));
    let said_so: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said_so["account"], account);
    // Nothing but fees of transactions that were under way leaves it meanwhile.
    assert!(balance(&fixture, account).await.unwrap() > before, "it was topped up");

    let done = commanded(&fixture, &["channels", "drain", account]).await;
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(balance(&fixture, account).await, None, "its account is merged");
    let again = commanded(&fixture, &["channels", "drain", account]).await;
    assert!(again.status.success(), "{}", said(&again));
    let id = running.gateway.accepted(&fixture.body()).await;
    running.gateway.ended(&id, "failed").await;
    running.stop().await;

    let text = "SELECT count(*) FROM chain_transactions WHERE kind = 'channel'";
    let moved: i64 = sqlx::query_scalar(text).fetch_one(&fixture.db.pool).await.unwrap();
    assert_eq!(moved, 4, "two were made, one paid to, one merged: each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_made_without_a_running_runner_too_and_refusals_say_why() {
    let fixture = Fixture::new().await;
    let migrated = command(&fixture, &["migrate"]);
    assert!(migrated.status.success(), "{}", said(&migrated));
    let done = command(&fixture, &["channels", "add", "--stroops", "20000000"]);
    assert!(done.status.success(), "{}", said(&done));
    let account = added(&fixture)[0]["channel"]["account"].as_str().unwrap().to_owned();
    assert_eq!(balance(&fixture, &account).await, Some(20_000_000));
    let shown = said(&command(&fixture, &["channels", "list"]));
    assert!(shown.starts_with("account") && shown.contains(&account), "{shown}");

    // More than the paying account has.
    let all = ["channels", "top-up", &account, "--stroops", "9000000000000000000"];
    let refused = command(&fixture, &all);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let source = fixture.source.address().to_string();
    for (arguments, code) in [
        (["channels", "drain", source.as_str()].as_slice(), 1),
        (&["channels", "drain", "GABC"], 3),
        (&["channels", "top-up", &account], 3),
        (&["channels", "add", "--count", "0"], 3),
    ] {
        let refused = command(&fixture, arguments);
        assert_eq!(refused.status.code(), Some(code), "{}", said(&refused));
    }
    // Of another payer's key the same channel cannot be served.
    let other = stellar::Keypair::from_seed(&[77; 32]);
    fixture.localnet.fund(&other.address().to_string()).await.unwrap();
    let secret = other.secret();
    let settings = [("RUNNER_SOURCE_SECRET", secret.as_str())];
    let refused = command_with(&fixture, &settings, &["channels", "drain", &account]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));

    let done = command(&fixture, &["channels", "drain", &account]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(balance(&fixture, &account).await, None);
}

/// Orders as a node that gave no answer has left them: noted, and left alone for some seconds.
async fn waiting_payment(fixture: &Fixture, to: &str) {
    let text = "INSERT INTO channel_orders (kind, source, destination, stroops, state, words) \
         VALUES ('pay', $1, $2, 3000000, 'wanted', 'the node gave no answer')";
    let order = sqlx::query(text).bind(fixture.source.address().to_string()).bind(to);
    order.execute(&fixture.db.pool).await.unwrap();
}

/// The kinds of all orders in the order in which their transactions landed.
async fn landed(fixture: &Fixture) -> Vec<String> {
    let text = "SELECT o.kind FROM channel_orders o \
         JOIN chain_transactions t ON t.id = o.transaction_id \
         WHERE o.state = 'done' ORDER BY t.ledger, t.sequence";
    sqlx::query_scalar(text).fetch_all(&fixture.db.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_carried_out_as_they_came_also_while_the_first_one_waits() {
    let fixture = Fixture::new().await;
    assert!(command(&fixture, &["migrate"]).status.success());
    for _ in 0..2 {
        let done = command(&fixture, &["channels", "add", "--stroops", "20000000"]);
        assert!(done.status.success(), "{}", said(&done));
    }
    let rows = added(&fixture);
    let [kept, drained] = [0, 1].map(|at| rows[at]["channel"]["account"].as_str().unwrap());

    // A payment waits for a node: neither a later payment nor the channel's end goes before it.
    waiting_payment(&fixture, kept).await;
    let done = command(&fixture, &["channels", "top-up", kept, "--stroops", "5000000"]);
    assert!(done.status.success(), "{}", said(&done));
    let ascending = "SELECT bool_and(sequence > before) FROM (SELECT t.sequence, \
            lag(t.sequence) OVER (ORDER BY o.id) AS before FROM channel_orders o \
            JOIN chain_transactions t ON t.id = o.transaction_id) s";
    let ascending: bool = sqlx::query_scalar(ascending).fetch_one(&fixture.db.pool).await.unwrap();
    assert!(ascending, "the later order was signed before the earlier one");
    assert_eq!(balance(&fixture, kept).await, Some(28_000_000));

    waiting_payment(&fixture, drained).await;
    let done = command(&fixture, &["channels", "drain", drained]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(landed(&fixture).await, ["create", "create", "pay", "pay", "pay", "merge"]);
    assert_eq!(balance(&fixture, drained).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_does_not_say_which_channels_there_are() {
    let fixture = Fixture::new().await;
    assert!(command(&fixture, &["migrate"]).status.success());
    let behind = fixture.localnet.other_node(0, None).await.unwrap();
    // What it shows stays as it is now.
    behind.fault(Fault::Lag(1_000));
    let done = command(&fixture, &["channels", "add", "--stroops", "20000000"]);
    assert!(done.status.success(), "{}", said(&done));
    let account = added(&fixture)[0]["channel"]["account"].as_str().unwrap().to_owned();
    // As in a database that was restored from an export which is older than the channel.
    for text in ["DELETE FROM channel_orders", "DELETE FROM channels WHERE payer IS NOT NULL"] {
        sqlx::query(text).execute(&fixture.db.pool).await.unwrap();
    }

    let url = behind.url();
    let at_behind = [("RUNNER_RPC_URL", url.as_str())];
    let refused = command_with(&fixture, &at_behind, &["channels", "add"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("behind"), "{}", said(&refused));
    assert!(added(&fixture).is_empty(), "nothing is ordered by what it said");
    let done = command(&fixture, &["channels", "add"]);
    assert!(said(&done).contains("was taken over"), "{}", said(&done));
    assert_eq!(added(&fixture)[0]["channel"]["account"], account);
}

#[test]
fn an_answer_that_a_full_disk_does_not_take_is_no_success() {
    for command in [&["crash-points"][..], &["completions", "bash"], &["--help"]] {
        testkit::assert_full_disk_is_no_success(env!("CARGO_BIN_EXE_runner"), command, 2);
    }
}

#[test]
fn the_help_has_examples_and_exit_codes() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_runner"))
        .args(["channels", "--help"])
        .output()
        .unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    for part in ["Examples:", "runner channels add", "Exit codes", "list", "top-up", "drain"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
