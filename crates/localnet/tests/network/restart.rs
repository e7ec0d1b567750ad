//! The chain outlives the process.

use std::path::Path;

use serde_json::{Value, json};
use soroban_env_host::xdr::ScVal;
use soroban_localnet::{Lifetimes, Network};
use tempfile::TempDir;

use crate::harness::{Client, START, builder, client_of, invoke};

#[tokio::test]
async fn a_restart_goes_on_where_the_network_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let client = client_of(builder().state_dir(directory.path())).await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 1).await;
    let bump = || invoke(&counter, "bump", vec![source.sc()]);
    let (done, _) = client.run(&source, bump(), &[]).await;
    let events = client.call("getEvents", json!({"startLedger": 1})).await["events"].clone();
    let account = client.account(&source).await;
    let latest = client.network.latest_ledger();
    client.network.shutdown().await;

    let client = client_of(builder().state_dir(directory.path())).await;
    assert_eq!(client.network.latest_ledger(), latest + 1);
    assert_eq!(client.account(&source).await, account);
    let again = client.get(&done["txHash"]).await;
    assert_eq!(again["resultMetaXdr"], done["resultMetaXdr"]);
    let kept = client.call("getEvents", json!({"startLedger": 1})).await["events"].clone();
    assert_eq!(kept, events);
    let envelope = json!({"transaction": done["envelopeXdr"]});
    let sent = client.call("sendTransaction", envelope).await;
    assert_eq!(sent["status"], "TRY_AGAIN_LATER", "an applied hash stays banned");
    assert_eq!(client.run(&source, bump(), &[]).await.1, ScVal::U32(3));
}

#[tokio::test]
async fn the_history_on_disk_does_not_grow_with_what_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let client = client_of(builder().retention(10).state_dir(directory.path())).await;
    let lines = || {
        let text = std::fs::read_to_string(directory.path().join("history.jsonl")).unwrap();
        text.lines().count()
    };
    let mut most = 0;
    for _ in 0..300 {
        client.network.close_ledger().await.unwrap();
        most = most.max(lines());
    }
    assert!((50..=130).contains(&most), "{most} lines for 10 ledgers");
    let latest = client.network.latest_ledger();
    client.network.shutdown().await;

    // What was written anew is read as before.
    let client = client_of(builder().retention(10).state_dir(directory.path())).await;
    assert!(client.network.latest_ledger() >= latest);
    let oldest = client.call("getHealth", json!({})).await["oldestLedger"].as_u64().unwrap();
    assert!(oldest + 10 >= u64::from(latest), "{oldest} of {latest}");
}

#[tokio::test]
async fn time_goes_on_from_the_last_ledger_after_a_restart() {
    for is_manual in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let start = || {
            let plain = Network::builder().state_dir(directory.path());
            client_of(if is_manual { plain.manual_clock(START) } else { plain })
        };
        let client = start().await;
        client.network.advance_time(1_000_000);
        client.network.close_ledger().await.unwrap();
        let before = client.network.close_time();
        client.network.shutdown().await;

        let client = start().await;
        client.network.advance_time(60);
        client.network.close_ledger().await.unwrap();
        let after = client.network.close_time();
        assert!(after >= before + 60, "manual: {is_manual}, {before} to {after}");
        client.network.shutdown().await;
    }
}

/// What a process that is killed now leaves behind.
fn left_behind(directory: &Path, cut: usize) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["state.json", "history.jsonl"] {
        let mut bytes = std::fs::read(directory.join(name)).unwrap();
        if name == "history.jsonl" {
            bytes.truncate(bytes.len() - cut);
        }
        std::fs::write(copy.path().join(name), bytes).unwrap();
    }
    copy
}

#[tokio::test]
async fn a_ledger_writes_what_it_changes_and_a_kill_at_any_byte_of_it_loses_none_before() {
    let directory = tempfile::tempdir().unwrap();
    let client = client_of(builder().state_dir(directory.path())).await;
    let state = || std::fs::read(directory.path().join("state.json")).unwrap();
    let entries = state();
    let source = client.funded(1).await;
    let counter = client.counter(&source, 1).await;
    for _ in 0..5 {
        client.run(&source, invoke(&counter, "bump", vec![source.sc()]), &[]).await;
    }
    assert!(state() == entries, "all entries were written anew");

    let (latest, account) = (client.network.latest_ledger(), client.account(&source).await);
    let history = std::fs::read_to_string(directory.path().join("history.jsonl")).unwrap();
    let last = history.lines().last().unwrap().len() + 1;
    for cut in [0, 1, 2, last / 3, last / 2, last - 1, last] {
        let copy = left_behind(directory.path(), cut);
        let again = client_of(builder().state_dir(copy.path())).await;
        // Without its newline a line is whole; a start closes one ledger.
        let lost = u32::from(cut > 1);
        assert_eq!(again.network.latest_ledger(), latest + 1 - lost, "cut by {cut}");
        if lost == 0 {
            assert_eq!(again.account(&source).await, account, "cut by {cut}");
        }
        let bump = invoke(&counter, "bump", vec![source.sc()]);
        let count = again.run(&source, bump, &[]).await.1;
        assert_eq!(count, ScVal::U32(7 - lost), "cut by {cut}");
        again.network.shutdown().await;
    }
}

#[tokio::test]
async fn entries_that_a_ledger_removed_stay_away_after_a_restart_and_a_revert_holds() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let lifetimes = Lifetimes { min_temporary: 16, min_persistent: 4_000, max: 10_000 };
        client_of(builder().lifetimes(lifetimes).control(true).state_dir(directory.path()))
    };
    let client = start().await;
    let (source, other) = (client.funded(1).await, client.funded(2).await);
    let counter = client.counter(&source, 1).await;
    let bump = || invoke(&counter, "bump", vec![other.sc()]);
    client.run(&source, bump(), &[&other]).await;
    let before = client.network.snapshot();
    client.run(&source, bump(), &[&other]).await;
    client.network.revert(before).await.unwrap();

    // The nonce of the other's signature is a temporary entry: it ends, and is removed.
    let entries = async |client: &Client| client.described().await["kept"]["entries"].clone();
    let with_nonce = entries(&client).await;
    client.network.close_ledgers(80).await.unwrap();
    let kept = entries(&client).await;
    assert_eq!(kept.as_u64().unwrap() + 1, with_nonce.as_u64().unwrap());
    client.network.shutdown().await;

    let client = start().await;
    assert_eq!(entries(&client).await, kept);
    assert_eq!(client.run(&source, bump(), &[&other]).await.1, ScVal::U32(3));
}

#[tokio::test]
async fn a_directory_of_another_network_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let client = client_of(builder().state_dir(directory.path())).await;
    client.network.shutdown().await;
    let other = builder().state_dir(directory.path()).passphrase("another network");
    let error = other.start().await.err().unwrap().to_string();
    assert!(error.contains("another network passphrase"), "{error}");
}

#[tokio::test]
async fn a_directory_of_the_first_format_goes_on_without_its_history() {
    let directory = tempfile::tempdir().unwrap();
    let client = client_of(builder().state_dir(directory.path())).await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 1).await;
    let account = client.account(&source).await;
    let latest = client.network.latest_ledger();
    client.network.shutdown().await;
    // A start writes all entries anew, as that format did with each ledger.
    client_of(builder().state_dir(directory.path())).await.network.shutdown().await;

    // Format 1 had the same state and a history without headers, which is not read.
    let state = directory.path().join("state.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    file["version"] = json!(1);
    std::fs::write(&state, file.to_string()).unwrap();
    let old = json!({"sequence": latest, "close_time": 1, "transactions": []});
    std::fs::write(directory.path().join("history.jsonl"), format!("{old}\n")).unwrap();

    let client = client_of(builder().state_dir(directory.path())).await;
    assert_eq!(client.network.latest_ledger(), latest + 1);
    assert_eq!(client.account(&source).await, account);
    let health = client.call("getHealth", json!({})).await;
    assert_eq!(health["oldestLedger"], latest);
    let bump = invoke(&counter, "bump", vec![source.sc()]);
    assert_eq!(client.run(&source, bump, &[]).await.1, ScVal::U32(2));
    client.network.shutdown().await;

    // From then on it is one of the present format, history included.
    let client = client_of(builder().state_dir(directory.path())).await;
    let health = client.call("getHealth", json!({})).await;
    assert_eq!(health["oldestLedger"], latest);
}

#[tokio::test]
async fn a_directory_of_a_later_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let client = client_of(builder().state_dir(directory.path())).await;
    client.network.shutdown().await;
    let state = directory.path().join("state.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    file["version"] = json!(5);
    std::fs::write(&state, file.to_string()).unwrap();
    let refused = builder().state_dir(directory.path()).start().await.err().unwrap().to_string();
    assert!(refused.contains("format 5"), "{refused}");
    let kept: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    assert_eq!(kept, file);
}
