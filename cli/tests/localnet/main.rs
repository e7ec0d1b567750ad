//! The command line against a real local network: from an empty ledger to a settled run, and the
//! chain's facts about it as the verifier reads them.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step ends the test; helpers are not marked as tests"
)]

mod contracts;
mod receipts;
mod tokens;
mod withheld;
mod fixture;

use lumio::verify::facts::{self, ChainFacts, Hints, Lists, Own};
use serde_json::Value;
use stellar::ids::{self, RunIdentity};
use stellar::registry::Registry;
use stellar::rpc::Outcome;
use stellar::vault::{self, Finalize, Lifecycle, Open, OpenTerms, RunReceipt, Vault};
use stellar::{Address, Keypair, Network};
use uuid::Uuid;
use wire::{Digest, Nonce, RunId, Usage};

use fixture::Fixture;

fn vault() -> Vault {
    Vault(stellar::local::vault_id().unwrap())
}

fn open(user: Address, runner: Address, nonce: Nonce, now: u64) -> Open {
    let request = ids::Request {
        input_digest: Digest::of(b"{}"),
        module_digest: Digest::of(b"module"),
        seed: 1,
        workflow_id: "",
    };
    Open {
        user,
        caller: runner,
        agent_id: 1,
        rate_version: 1,
        budgets: Usage { runtime_ms: 1_000, ..Usage::default() },
        terms: OpenTerms {
            nonce,
            max_charge: 100_000,
            runner_fee: 0,
            deadline: now + 3_600,
            request_hash: ids::request_hash(&request).unwrap(),
            valid_until: now + 60,
        },
    }
}

async fn gather(fixture: &Fixture, own: &Own, run: RunId, hints: &Hints) -> ChainFacts {
    facts::gather(&fixture.rpc, own, run, hints, |_| Ok(Lists::default())).await.unwrap()
}

#[tokio::test]
async fn a_run_is_opened_and_settled_and_its_facts_are_on_chain() {
    let fixture = Fixture::prepared().await;
    let (alice, runner) = (fixture.key("alice").address(), fixture.key("runner"));
    let (run, now) = (Uuid::from_u128(7), fixture.rpc.clock().await.unwrap().latest_close);
    let nonce = ids::nonce(&run, 1);
    let open = open(alice, runner.address(), nonce, now);

    let prepared = fixture.prepare(&runner, vault().open_run(&open).unwrap()).await.unwrap();
    assert!(matches!(
        fixture.rpc.transaction(&prepared.hash).await.unwrap().outcome,
        Outcome::NotFound
    ));
    let opening = fixture.applied(&prepared).await;
    assert!(opening.success, "{opening:?}");
    let network = Network::standalone();
    let identity = RunIdentity {
        network: &network,
        vault: &vault().0,
        user: &alice,
        caller: &runner.address(),
        nonce: &nonce,
        deadline: now + 3_600,
    };
    let run_id = ids::run_id(&identity).unwrap();
    let opened =
        vault::opened(&opening, &vault(), &run_id).unwrap().expect("the run's own id in its event");
    let state = vault().read_run(&fixture.rpc, &run_id).await.unwrap();
    let (record, live_until) = state.record.unwrap();
    assert_eq!(
        (record.terms_hash, record.lifecycle),
        (opened.terms.hash().unwrap(), Lifecycle::Open)
    );
    assert!(
        live_until > state.ledger + 3_600,
        "the record outlives its deadline at a second a ledger"
    );

    // The same open again answers the same run and opens nothing.
    let again = fixture.prepare(&runner, vault().open_run(&open).unwrap()).await.unwrap();
    let again = fixture.applied(&again).await;
    assert!(again.success);
    assert_eq!(vault::opened(&again, &vault(), &run_id).unwrap(), None);

    let usage = Usage { runtime_ms: 400, ..Usage::default() };
    let finalize = Finalize {
        run_id,
        runner: runner.address(),
        terms: opened.terms.clone(),
        usage,
        output_hash: Digest::of(b"seal"),
        attestation: Some(fixture.attest(&run_id, &opened.terms, usage)),
        valid_until: now + 60,
    };
    let prepared =
        fixture.prepare(&runner, vault().finalize_run(&finalize).unwrap()).await.unwrap();
    let closing = fixture.applied(&prepared).await;
    let receipt = RunReceipt::from_val(closing.value.as_ref().unwrap()).unwrap();
    assert_eq!((receipt.actual_charge, receipt.refund), (40_000, 60_000));
    let event = vault::finalized(&closing, &vault(), &run_id).unwrap().unwrap();
    assert_eq!(event.receipt(&opened.terms), receipt);

    let own = Own {
        network: network.clone(),
        vault: vault(),
        registry: Registry(stellar::local::registry_id().unwrap()),
        unit: stellar::amount::Unit::default(),
    };
    let hints = Hints::default();
    let facts = gather(&fixture, &own, RunId::from(run), &hints).await;
    assert_eq!(facts.attempts.len(), 1, "found among all events, by its nonce alone");
    let found = &facts.attempts[0];
    assert_eq!((found.attempt, found.run_id), (1, run_id));
    assert_eq!((found.opened.as_ref(), found.finalized.as_ref()), (Some(&opened), Some(&event)));
    assert_eq!(found.rate_card.unwrap().manifest_hash, Digest::of(b"module"));
    let account = facts.account.unwrap();
    assert_eq!((account.count, account.hash), (1, event.receipts_hash));
    let list = facts.receipts.unwrap();
    list.check().unwrap();
    assert_eq!(list.end(), Some((1, event.receipts_hash)), "the text has the hash of the chain");
    let record = found.record.unwrap();
    let Lifecycle::Finalized { settlement, .. } = record.lifecycle else { panic!("{record:?}") };
    assert_eq!(settlement, vault::settlement_hash(&runner.address(), &usage, true).unwrap());

    let balance = fixture.json(&["balance", "show", "alice"]).await;
    assert_eq!(balance["balance"], (500_000_000 - 40_000).to_string());
    let earned = fixture.json(&["balance", "earned", "dev"]).await;
    assert_eq!(earned["claimable"], "40000");
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn deploying_twice_changes_nothing_and_says_so() {
    let fixture = Fixture::new().await;
    let first = fixture.json(&["deploy"]).await;
    let second = fixture.json(&["deploy"]).await;
    assert_eq!(
        (&first["registryExisted"], &second["registryExisted"]),
        (&false.into(), &true.into())
    );
    assert_eq!(second["vaultExisted"], true);
    assert_eq!(first["vault"], stellar::local::vault_id().unwrap().to_string());
    assert_eq!(first["token"], fixture.localnet.native_contract());
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn an_invalid_token_is_named_before_anything_is_deployed() {
    let fixture = Fixture::new().await;
    let absent = Address::Contract([7; 32]).to_string();
    let said = fixture.fails(1, &["deploy", "--token", &absent, "--force"]).await;
    assert!(said.contains(&format!("no contract {absent}")), "{said}");

    let registry = fixture.json(&["deploy"]).await["registry"].as_str().unwrap().to_owned();
    let said = fixture.fails(1, &["deploy", "--token", &registry, "--force"]).await;
    assert!(said.contains(&format!("{registry} is no token")), "{said}");

    let account = Keypair::generate().unwrap().address().to_string();
    let said = fixture.fails(3, &["deploy", "--token", &account]).await;
    assert!(said.contains("is an account"), "{said}");
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn what_the_vault_refuses_is_named() {
    let fixture = Fixture::prepared().await;
    let (alice, runner) = (fixture.key("alice").address(), fixture.key("runner"));

    let said = fixture.fails(1, &["balance", "withdraw", "51", "--as", "alice"]).await;
    assert!(said.contains("InsufficientBalance (vault error 5)"), "{said}");
    let said = fixture
        .fails(1, &["grant", "add", "--as", "alice", "--runner", "runner", "--agent", "1"])
        .await;
    assert!(said.contains("RunnerGrantExists"), "{said}");

    fixture.json(&["policy", "set", "--as", "alice", "--paused", "true"]).await;
    let now = fixture.rpc.clock().await.unwrap().latest_close;
    let open = open(alice, runner.address(), Nonce::from([1; 32]), now);
    let refused = fixture.prepare(&runner, vault().open_run(&open).unwrap()).await.unwrap_err();
    assert_eq!(refused.contract().map(|error| error.name), Some("PolicyPaused"));

    let ghost = Keypair::generate().unwrap();
    let refused = fixture.prepare(&ghost, vault().sweep(alice)).await.unwrap_err().to_string();
    assert!(
        refused.contains(&ghost.address().to_string()) && refused.contains("fund it first"),
        "{refused}"
    );

    fixture.json(&["policy", "set", "--as", "alice", "--paused", "false"]).await;
    fixture.json(&["grant", "revoke", "--as", "alice", "--runner", "runner", "--agent", "1"]).await;
    let refused = fixture.prepare(&runner, vault().open_run(&open).unwrap()).await.unwrap_err();
    assert_eq!(refused.contract().map(|error| error.name), Some("UnauthorizedRunner"));
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn a_lost_transaction_is_proven_absent_only_after_its_last_moment() {
    let fixture = Fixture::prepared().await;
    let (alice, runner) = (fixture.key("alice").address(), fixture.key("runner"));
    let now = fixture.rpc.clock().await.unwrap().latest_close;
    let open = open(alice, runner.address(), Nonce::from([1; 32]), now);
    let prepared = fixture.prepare(&runner, vault().open_run(&open).unwrap()).await.unwrap();

    let early = fixture.rpc.transaction(&prepared.hash).await.unwrap();
    assert!(!early.proves_absent(prepared.max_time, prepared.ledger));
    fixture.localnet.advance_time(120);
    fixture.localnet.close_ledger().await.unwrap();
    let late = fixture.rpc.transaction(&prepared.hash).await.unwrap();
    assert!(late.proves_absent(prepared.max_time, prepared.ledger));
    // A node that no longer keeps the ledger of the signing proves nothing.
    assert!(
        !late.proves_absent(prepared.max_time, late.clock.oldest_ledger - 1)
            || late.clock.oldest_ledger == 0
    );
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn the_exit_code_distinguishes_usage_from_unknown() {
    let fixture = Fixture::new().await;
    fixture.fails(3, &["balance", "deposit", "1,5", "--as", "alice"]).await;
    fixture.fails(3, &["no-such-command"]).await;
    let said = fixture.fails(3, &["balance", "show", "nobody"]).await;
    assert!(said.contains("there is no key named 'nobody'"), "{said}");
    let said =
        fixture.fails(3, &["balance", "show", "nobody", "--network-passphrase", "another"]).await;
    assert!(said.contains("'another' is configured"), "{said}");
    let said =
        fixture.fails(2, &["balance", "show", "nobody", "--rpc-url", "http://127.0.0.1:1"]).await;
    assert!(said.contains("cannot reach the node http://127.0.0.1:1"), "{said}");
    let said = fixture.fails(2, &["run", "list", "--gateway-url", "http://127.0.0.1:1"]).await;
    assert!(said.contains("cannot reach the gateway http://127.0.0.1:1"), "{said}");
    let run = "0197e4a0-0000-7000-8000-00000000000a";
    let bundle = fixture.folder.path().join("bundle");
    std::fs::create_dir(&bundle).unwrap();
    let claimed = serde_json::json!({
        "id": run, "user": "G", "agentId": 1, "status": "finalized", "phase": "done", "attempt": 1,
        "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 1 }, "retries": 0,
        "seed": 1, "inputDigest": Digest::of(b"{}"), "escrow": "settled",
        "runId": Digest::of(b"run"), "transactionHashes": {}, "traceId": "0",
        "createdAt": "2026-01-02T03:04:05.000Z", "updatedAt": "2026-01-02T03:04:05.000Z",
    });
    std::fs::write(bundle.join("run.json"), claimed.to_string()).unwrap();
    let verify = ["verify", run, "--bundle", bundle.to_str().unwrap()];
    let said =
        fixture.fails(2, &[&verify[..], &["--rpc-url", "http://127.0.0.1:1"]].concat()).await;
    assert!(said.contains("http://127.0.0.1:1"), "{said}");
    let unknown = fixture.run(&[&verify[..], &["--output", "json"]].concat()).await;
    let event: Value = serde_json::from_slice(&unknown.stdout).unwrap();
    assert_eq!((unknown.status.code(), &event["broken"][0]), (Some(1), &"vault".into()));
    assert!(fixture.run(&["--help"]).await.status.success());
    fixture.localnet.shutdown().await;
}
