//! The list of an account's receipts, and attempts that only it still knows.

use lumio::verify::facts::{ChainFacts, Hints, Lists, Own, asked_at};
use stellar::amount::Unit;
use stellar::ids::{self, RunIdentity};
use stellar::registry::Registry;
use stellar::vault::Finalize;
use stellar::{Network, Rpc};
use uuid::Uuid;
use wire::receipts::{ReceiptText, ReceiptsDocument};
use wire::{Digest, RunId, Usage};

use super::{Fixture, facts, gather, open, vault};

/// How many ledgers a node keeps that is to forget.
const KEPT: u32 = 5_000;

/// Opens and settles one attempt of `run` with a charge of 100 stroops per millisecond.
pub async fn settle(fixture: &Fixture, run: &Uuid, attempt: u32, runtime_ms: u64) {
    let (alice, runner) = (fixture.key("alice").address(), fixture.key("runner"));
    let now = fixture.rpc.clock().await.unwrap().latest_close;
    let open = open(alice, runner.address(), ids::nonce(run, attempt), now);
    let prepared = fixture.prepare(&runner, vault().open_run(&open).unwrap()).await.unwrap();
    let applied = fixture.applied(&prepared).await;
    let network = Network::standalone();
    let identity = RunIdentity {
        network: &network,
        vault: &vault().0,
        user: &alice,
        caller: &runner.address(),
        nonce: &open.terms.nonce,
        deadline: open.terms.deadline,
    };
    let run_id = ids::run_id(&identity).unwrap();
    let opened = stellar::vault::opened(&applied, &vault(), &run_id).unwrap().unwrap();
    let usage = Usage { runtime_ms, ..Usage::default() };
    let attestation = Some(fixture.attest(&run_id, &opened.terms, usage));
    let finalize = Finalize {
        run_id,
        runner: runner.address(),
        terms: opened.terms,
        usage,
        output_hash: Digest::of(b"seal"),
        attestation,
        valid_until: now + 600,
    };
    let prepared =
        fixture.prepare(&runner, vault().finalize_run(&finalize).unwrap()).await.unwrap();
    assert!(fixture.applied(&prepared).await.success);
}

/// The id of a run that is asked for now.
pub async fn asked_now(fixture: &Fixture) -> Uuid {
    let now = fixture.rpc.clock().await.unwrap().latest_close;
    uuid::Builder::from_unix_timestamp_millis(now * 1_000, &[7; 10]).into_uuid()
}

fn own() -> Own {
    let registry = Registry(stellar::local::registry_id().unwrap());
    let unit = Unit::default();
    Own { network: Network::standalone(), vault: vault(), registry, unit }
}

#[tokio::test]
async fn the_list_of_receipts_is_the_chains_and_finds_every_attempt() {
    let fixture = Fixture::prepared().await;
    let run = asked_now(&fixture).await;
    settle(&fixture, &run, 1, 300).await;
    settle(&fixture, &Uuid::from_u128(9), 1, 50).await;
    settle(&fixture, &run, 2, 400).await;

    let first = fixture.json(&["receipts", "export", "alice"]).await;
    assert_eq!((&first["whole"], &first["total"]), (&true.into(), &"75000".into()), "{first}");
    let out = fixture.folder.path().join("list.json");
    let path = out.to_str().unwrap();
    fixture.json(&["receipts", "export", "alice", "--out", path]).await;
    let again = fixture.json(&["receipts", "verify", "alice", "--receipts", path]).await;
    assert_eq!(again["receipts"].as_array().unwrap().len(), 3);

    // A user who names one attempt only still sees both.
    let hints = Hints { attempt: 1, ..Hints::default() };
    let seen = gather(&fixture, &own(), RunId::from(run), &hints).await;
    let attempts: Vec<_> = seen.attempts.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    assert_eq!(seen.settled().len(), 3);

    // A text that was changed, and one that is missing, are named.
    let list = std::fs::read_to_string(&out).unwrap();
    let mut changed: ReceiptsDocument = serde_json::from_str(&list).unwrap();
    changed.receipts[1].text = changed.receipts[0].text.clone();
    std::fs::write(&out, serde_json::to_string(&changed).unwrap()).unwrap();
    let said = fixture.fails(1, &["receipts", "verify", "alice", "--receipts", path]).await;
    assert!(said.contains("receipt 2 does not have its hash"), "{said}");
    let mut short: ReceiptsDocument = serde_json::from_str(&list).unwrap();
    short.receipts.pop();
    std::fs::write(&out, serde_json::to_string(&short).unwrap()).unwrap();
    let said = fixture.run(&["receipts", "verify", "alice", "--receipts", path]).await;
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(2));
    assert!(text.contains("at least 0.0035 XLM") && text.contains("3 to 3 are not"), "{text}");
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn the_list_works_after_the_node_has_forgotten() {
    // On a busy machine minutes pass between a settlement and the command that reads its event, and
    // a ledger closes every 100 ms.
    let fixture = Fixture::prepared_with(|builder| builder.retention(KEPT)).await;
    let run = asked_now(&fixture).await;
    settle(&fixture, &run, 1, 300).await;
    let list = fixture.json(&["receipts", "export", "alice"]).await;
    assert_eq!(list["whole"], true);
    fixture.localnet.close_ledgers(KEPT + 10).await.unwrap();

    let rpc: &Rpc = &fixture.rpc;
    let forgotten = gather(&fixture, &own(), RunId::from(run), &Hints::default()).await;
    assert!(forgotten.attempts.is_empty(), "no event and no hint is left: {forgotten:?}");
    let kept = std::fs::read(fixture.folder.path().join(list["kept"].as_str().unwrap())).unwrap();
    let kept = ReceiptsDocument::read(&kept).unwrap();
    let hints = Hints { user: Some(fixture.key("alice").address()), ..Hints::default() };
    let lists = |_: &stellar::Address| Ok(Lists { own: Some(kept.clone()), stored: None });
    let known = facts::gather(rpc, &own(), RunId::from(run), &hints, lists).await.unwrap();
    // The same where a gateway has the list, and not where that does not lead to the chain's hash.
    let lists = |_: &stellar::Address| Ok(Lists { own: None, stored: Some(kept.clone()) });
    let stored = facts::gather(rpc, &own(), RunId::from(run), &hints, lists).await.unwrap();
    // Ledgers may have closed between the two, in which nothing happened.
    let stored = ChainFacts {
        ledger: known.ledger,
        ledger_time: known.ledger_time,
        oldest_ledger: known.oldest_ledger,
        oldest_time: known.oldest_time,
        ..stored
    };
    assert_eq!(stored, known);
    let mut other = kept.clone();
    let text = other.receipts[0].xdr().unwrap();
    other.receipts[0] = ReceiptText::new(&other.before, 1, &text[1..]);
    let lists = |_: &stellar::Address| Ok(Lists { own: None, stored: Some(other.clone()) });
    let lied = facts::gather(rpc, &own(), RunId::from(run), &hints, lists).await.unwrap();
    assert!(lied.attempts.is_empty() && lied.receipts.unwrap().receipts.is_empty());
    assert_eq!(known.attempts.len(), 1, "{known:?}");
    assert!(asked_at(RunId::from(run)).is_some());
    assert_eq!(known.settled()[0].1.actual_charge, 30_000);

    // The list goes on where it ended, though its first receipt is gone everywhere else.
    settle(&fixture, &run, 2, 100).await;
    let list = fixture.json(&["receipts", "export", "alice"]).await;
    assert_eq!((&list["whole"], &list["total"]), (&true.into(), &"40000".into()), "{list}");

    // A receipt that this machine missed leaves a gap. What is kept stays; what is new can be kept
    // beside.
    settle(&fixture, &run, 3, 10).await;
    fixture.localnet.close_ledgers(KEPT + 10).await.unwrap();
    settle(&fixture, &run, 4, 20).await;
    settle(&fixture, &run, 5, 30).await;
    let path = fixture.folder.path().join(list["kept"].as_str().unwrap());
    let before = std::fs::read(&path).unwrap();
    let out = fixture.folder.path().join("newer.json");
    let newer = ["receipts", "export", "alice", "--out", out.to_str().unwrap()];
    let said = fixture.run(&newer).await;
    assert_eq!(said.status.code(), Some(2));
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("receipts 1 to 2, which this list lacks"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let newer = ReceiptsDocument::read(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(newer.end().map(|(number, _)| number), Some(5));
    fixture.localnet.shutdown().await;
}
