//! What concerns the contracts themselves: limits and fees, escrow by hand, administration, and
//! their code.

use stellar::Keypair;
use stellar::administration::Administered;
use stellar::ids::{self, RunIdentity};
use stellar::registry::Registry;
use stellar::vault::Finalize;
use wire::{Digest, Nonce, Usage, VaultRunId};

use super::{Fixture, Network, Uuid, Value, open, vault};

/// Opens a run of alice by the runner, with a fee.
async fn opened(fixture: &Fixture, run: u128, fee: i128) -> (VaultRunId, stellar::vault::RunTerms) {
    let (alice, runner) = (fixture.key("alice").address(), fixture.key("runner"));
    let now = fixture.rpc.clock().await.unwrap().latest_close;
    let nonce = ids::nonce(&Uuid::from_u128(run), 1);
    let mut open = open(alice, runner.address(), nonce, now);
    open.terms.runner_fee = fee;
    let prepared = fixture.prepare(&runner, vault().open_run(&open).unwrap()).await.unwrap();
    let applied = fixture.applied(&prepared).await;
    assert!(applied.success, "{applied:?}");
    let network = Network::standalone();
    let id = ids::run_id(&RunIdentity {
        network: &network,
        vault: &vault().0,
        user: &alice,
        caller: &runner.address(),
        nonce: &nonce,
        deadline: open.terms.deadline,
    });
    let id = id.unwrap();
    let terms = stellar::vault::opened(&applied, &vault(), &id).unwrap().unwrap().terms;
    (id, terms)
}

#[tokio::test]
async fn a_runner_charges_a_fee_within_the_limits_and_claims_it() {
    let fixture = Fixture::prepared().await;
    let (alice, runner) = (fixture.key("alice").address(), fixture.key("runner"));
    let limits = ["grant", "limits", "--as", "alice", "--runner", "runner", "--agent", "1"];

    let now = fixture.rpc.clock().await.unwrap().latest_close;
    let mut dear = open(alice, runner.address(), Nonce::from([2; 32]), now);
    dear.terms.runner_fee = 5_001;
    let refused = fixture.prepare(&runner, vault().open_run(&dear).unwrap()).await.unwrap_err();
    assert_eq!(refused.contract().map(|error| error.name), Some("RunnerFeeExceeded"));

    let set = fixture.json(&[&limits[..], &["--max-runner-fee", "5000stroops"]].concat()).await;
    assert_eq!(set["limits"]["maxRunnerFee"], "5000");
    let set = fixture.json(&[&limits[..], &["--total-cap", "200000stroops"]].concat()).await;
    assert_eq!(set["limits"]["maxRunnerFee"], "5000", "what is not named stays");
    let listed = fixture.json(&["grant", "list", "alice"]).await;
    assert_eq!(listed["grants"][0]["limits"]["totalCap"], "200000");
    let refused = fixture.prepare(&runner, vault().open_run(&dear).unwrap()).await.unwrap_err();
    assert_eq!(refused.contract().map(|error| error.name), Some("RunnerFeeExceeded"));

    let (run_id, terms) = opened(&fixture, 1, 5_000).await;
    let usage = Usage { runtime_ms: 400, ..Usage::default() };
    let attestation = Some(fixture.attest(&run_id, &terms, usage));
    let finalize = Finalize {
        run_id,
        runner: runner.address(),
        terms,
        usage,
        output_hash: Digest::of(b"seal"),
        attestation,
        valid_until: now + 600,
    };
    let prepared =
        fixture.prepare(&runner, vault().finalize_run(&finalize).unwrap()).await.unwrap();
    assert!(fixture.applied(&prepared).await.success);
    let earned = fixture.json(&["balance", "earned", "runner"]).await;
    assert_eq!((&earned["claimable"], &earned["claimableAsRunner"]), (&"0".into(), &"5000".into()));
    let claim = ["balance", "claim", "5000stroops", "--as", "runner"];
    let said = fixture.fails(1, &claim).await;
    assert!(said.contains("InsufficientBalance"), "it is no developer: {said}");
    let left = fixture.json(&[&claim[..], &["--role", "runner"]].concat()).await;
    assert_eq!(left["claimableAsRunner"], "0");
    let shown = fixture.json(&["escrow", "show", &run_id.to_string()]).await;
    assert_eq!((&shown["state"], &shown["charge"]), (&"finalized".into(), &"40000".into()));
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn escrow_goes_back_by_void_reclaim_and_sweep() {
    let fixture = Fixture::prepared().await;
    let (first, second) = (opened(&fixture, 1, 0).await.0, opened(&fixture, 2, 0).await.0);
    let (first, second) = (first.to_string(), second.to_string());
    // The third is left to the sweep.
    opened(&fixture, 3, 0).await;
    let said = fixture.fails(1, &["escrow", "reclaim", &first, "--as", "alice"]).await;
    assert!(said.contains("DeadlineNotReached"), "{said}");
    let said = fixture.fails(1, &["escrow", "void", &first, "--as", "alice"]).await;
    assert!(said.contains("UnauthorizedRunner"), "{said}");
    let voided = fixture.json(&["escrow", "void", &first, "--as", "runner", "--reason", "7"]).await;
    assert_eq!(voided["state"], "voided");

    fixture.localnet.advance_time(3_600);
    fixture.localnet.close_ledger().await.unwrap();
    let shown = fixture.json(&["escrow", "show", &second]).await;
    assert_eq!(shown["state"], "past its deadline");
    let reclaimed = fixture.json(&["escrow", "reclaim", &second, "--as", "dev"]).await;
    assert_eq!(reclaimed["state"], "reclaimed");
    fixture.localnet.advance_time(2 * 86_400);
    fixture.localnet.close_ledger().await.unwrap();
    let swept = fixture.json(&["escrow", "sweep", "alice", "--as", "dev"]).await;
    assert_eq!(swept["returned"], "100000");
    let balance = fixture.json(&["balance", "show", "alice"]).await;
    assert_eq!((&balance["balance"], &balance["escrowed"]), (&"500000000".into(), &"0".into()));
    let said = fixture.fails(2, &["escrow", "show", &Digest::of(b"none").to_string()]).await;
    assert!(said.contains("its escrow is not at risk"), "{said}");
    fixture.localnet.shutdown().await;
}

/// A deployment by a key of this machine, with the words that lead to it.
async fn deployed_by_ops(fixture: &Fixture) -> (Value, Vec<String>) {
    for name in ["ops", "next"] {
        fixture.json(&["keys", "generate", name]).await;
    }
    fixture.json(&["fund", "ops", "next"]).await;
    let deployed = fixture.json(&["deploy", "--as", "ops"]).await;
    let at = |name: &str| deployed[name].as_str().unwrap().to_owned();
    let words =
        vec!["--vault-id".to_owned(), at("vault"), "--registry-id".to_owned(), at("registry")];
    (deployed, words)
}

fn with<'a>(command: &[&'a str], words: &'a [String]) -> Vec<&'a str> {
    command.iter().copied().chain(words.iter().map(String::as_str)).collect()
}

#[tokio::test]
async fn administration_is_handed_over_and_opens_pause() {
    let fixture = Fixture::new().await;
    let (_, at) = deployed_by_ops(&fixture).await;
    let address = |name| fixture.key(name).address().to_string();

    let paused = fixture.json(&with(&["contract", "pause", "--as", "ops"], &at)).await;
    assert_eq!(paused["opensPaused"], true);
    assert_eq!(
        (&paused["books"]["surplus"], &paused["books"]["deficit"]),
        (&"0".into(), &"0".into())
    );
    // The network's 120 days, of which a few ledgers are gone.
    let lives = |shown: &Value| {
        let at = |name: &str| shown[name].as_u64().unwrap();
        (at("liveUntilLedger") - at("ledger"), at("codeLiveUntilLedger") - at("ledger"))
    };
    let (instance, code) = lives(&paused);
    assert!(instance > 2_000_000 && code > 2_000_000, "{paused}");
    let resumed = fixture.json(&with(&["contract", "resume", "--as", "ops"], &at)).await;
    assert_eq!(resumed["opensPaused"], false);
    let said = fixture.fails(3, &with(&["contract", "pause", "--as", "next"], &at)).await;
    assert!(said.contains(&address("ops")), "whose key is missing: {said}");

    for contract in ["vault", "registry"] {
        let accept = ["contract", "accept-admin", contract, "--as", "next"];
        let said = fixture.fails(1, &with(&accept, &at)).await;
        assert!(said.contains("AdminNotProposed"), "{said}");
        let propose = ["contract", "propose-admin", contract, "next", "--as", "ops"];
        let proposed = fixture.json(&with(&propose, &at)).await;
        assert_eq!(proposed["proposed"], address("next"));
        assert_eq!(proposed["administrator"], address("ops"));
        let accepted = fixture.json(&with(&accept, &at)).await;
        assert_eq!(accepted["administrator"], address("next"));
        assert_eq!(accepted["proposed"], Value::Null);
    }
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn new_code_waits_seven_days_and_is_distinguished_from_the_old() {
    let fixture = Fixture::new().await;
    let (_, at) = deployed_by_ops(&fixture).await;
    let verified = fixture.json(&with(&["contract", "verify"], &at)).await;
    assert_eq!(verified["verified"], true);
    assert!(verified["contracts"][1]["metadata"]["rsver"].is_string(), "{verified}");

    // The same contract with a custom section of three bytes more: other code, the same functions.
    let mut code = std::fs::read("../contracts/wasm/agent_registry.wasm").unwrap();
    code.extend_from_slice(&[0, 3, 1, b'x', 0]);
    let path = fixture.folder.path().join("new.wasm");
    std::fs::write(&path, &code).unwrap();
    let file = path.to_str().unwrap();
    let upgrade = ["contract", "upgrade", "registry", "--wasm", file, "--as", "ops"];
    let said = fixture.fails(1, &with(&upgrade, &at)).await;
    assert!(said.contains("UpgradeNotScheduled"), "{said}");
    let schedule = ["contract", "schedule-upgrade", "registry", "--wasm", file, "--as", "ops"];
    let scheduled = fixture.json(&with(&schedule, &at)).await;
    assert_eq!(scheduled["upgrade"]["code"], Digest::of(&code).to_string());
    let said = fixture.fails(1, &with(&upgrade, &at)).await;
    assert!(said.contains("UpgradeNotReady"), "{said}");
    assert_eq!(scheduled["upgrade"]["codeOnLedger"], true);
    let cancel = ["contract", "cancel-upgrade", "registry", "--as", "ops"];
    assert_eq!(fixture.json(&with(&cancel, &at)).await["upgrade"], Value::Null);

    fixture.json(&with(&schedule, &at)).await;
    fixture.localnet.advance_time(7 * 86_400 + 60);
    fixture.localnet.close_ledger().await.unwrap();
    let upgraded = fixture.json(&with(&upgrade, &at)).await;
    assert_eq!(upgraded["upgrade"], Value::Null);
    let verify = ["contract", "verify", "registry"];
    let output = fixture.run(&with(&verify, &at)).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), said.contains("IS OTHER CODE")), (Some(1), true), "{said}");
    let same = fixture.json(&with(&[&verify[..], &["--wasm", file]].concat(), &at)).await;
    assert_eq!(same["contracts"][0]["same"], true);
    fixture.localnet.shutdown().await;
}

/// An administrator with another program than ours can announce a hash whose code was never
/// uploaded (V20).
#[tokio::test]
async fn announced_code_that_is_not_on_the_ledger_is_shown_as_such() {
    let fixture = Fixture::new().await;
    for name in ["ops", "source"] {
        fixture.json(&["keys", "generate", name]).await;
    }
    fixture.json(&["fund", "ops", "source"]).await;
    let deployed = fixture.json(&["deploy", "--as", "ops"]).await;
    let registry = deployed["registry"].as_str().unwrap();
    let administered = Administered::from(Registry(registry.parse().unwrap()));
    let call = administered.schedule_upgrade(&Digest::of(b"unseen")).unwrap();
    let prepared = fixture.prepare(&fixture.key("ops"), call).await.unwrap();
    assert!(fixture.applied(&prepared).await.success);

    let show = ["contract", "show", "registry", "--registry-id", registry];
    let shown = fixture.json(&show).await;
    assert_eq!(shown["upgrade"]["code"], Digest::of(b"unseen").to_string());
    assert_eq!(shown["upgrade"]["codeOnLedger"], false);
    let output = fixture.run(&show).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("is not on the ledger"), "{text}");
    fixture.localnet.shutdown().await;
}

#[tokio::test]
async fn verifying_code_distinguishes_other_from_unknown_from_usage() {
    let fixture = Fixture::new().await;
    let (deployed, at) = deployed_by_ops(&fixture).await;
    let stranger = Keypair::generate().unwrap().address();
    let no_contract = stellar::Address::Contract(*stranger.as_bytes()).to_string();
    let verify = |id: &'static str| ["contract", "verify", "vault", "--id", id];
    let said =
        fixture.fails(2, &with(&["contract", "verify", "vault", "--id", &no_contract], &at)).await;
    assert!(said.contains("no contract"), "{said}");
    // The native token's contract has no Wasm at all.
    let token = deployed["token"].as_str().unwrap().to_owned();
    let output = fixture.run(&with(&["contract", "verify", "vault", "--id", &token], &at)).await;
    assert_eq!(output.status.code(), Some(1));
    fixture.fails(3, &with(&verify("G123"), &at)).await;
    fixture
        .fails(3, &with(&["contract", "verify", "vault", "--wasm", "/nothing/here.wasm"], &at))
        .await;
    fixture.fails(3, &with(&["contract", "verify", "vault", "--wasm", "Cargo.toml"], &at)).await;
    let errors = fixture.json(&["contract", "errors", "--rpc-url", "http://127.0.0.1:1"]).await;
    assert_eq!(errors["vault"][11]["name"], "RunNotOpen");
    fixture.localnet.shutdown().await;
}
