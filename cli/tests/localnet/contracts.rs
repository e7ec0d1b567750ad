//! What concerns the contracts themselves: limits and fees, escrow by hand, administration, and
//! their code.

use stellar::Keypair;
use stellar::administration::Administered;
use stellar::ids::{self, RunIdentity};
use stellar::registry::Registry;
use stellar::vault::Finalize;
use wire::{Digest, Usage};

use super::{Network, Uuid, Value, World, open, vault};

/// Opens a run of alice by the runner, with a fee.
async fn opened(world: &World, run: u128, fee: i128) -> (Digest, stellar::vault::RunTerms) {
    let (alice, runner) = (world.key("alice").address(), world.key("runner"));
    let now = world.rpc.clock().await.unwrap().latest_close;
    let nonce = ids::nonce(&Uuid::from_u128(run), 1);
    let mut open = open(alice, runner.address(), nonce, now);
    open.terms.runner_fee = fee;
    let prepared = world.prepare(&runner, vault().open_run(&open).unwrap()).await.unwrap();
    let applied = world.applied(&prepared).await;
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
    let world = World::prepared().await;
    let (alice, runner) = (world.key("alice").address(), world.key("runner"));
    let limits = ["grant", "limits", "--as", "alice", "--runner", "runner", "--agent", "1"];

    let now = world.rpc.clock().await.unwrap().latest_close;
    let mut dear = open(alice, runner.address(), Digest::of(b"dear"), now);
    dear.terms.runner_fee = 5_001;
    let refused = world.prepare(&runner, vault().open_run(&dear).unwrap()).await.unwrap_err();
    assert_eq!(refused.contract().map(|error| error.name), Some("RunnerFeeExceeded"));

    let set = world.json(&[&limits[..], &["--max-runner-fee", "5000stroops"]].concat()).await;
    assert_eq!(set["limits"]["maxRunnerFee"], "5000");
    let set = world.json(&[&limits[..], &["--total-cap", "200000stroops"]].concat()).await;
    assert_eq!(set["limits"]["maxRunnerFee"], "5000", "what is not named stays");
    let listed = world.json(&["grant", "list", "alice"]).await;
    assert_eq!(listed["grants"][0]["limits"]["totalCap"], "200000");
    let refused = world.prepare(&runner, vault().open_run(&dear).unwrap()).await.unwrap_err();
    assert_eq!(refused.contract().map(|error| error.name), Some("RunnerFeeExceeded"));

    let (run_id, terms) = opened(&world, 1, 5_000).await;
    let usage = Usage { runtime_ms: 400, ..Usage::default() };
    let attestation = Some(world.attest(&run_id, &terms, usage));
    let finalize = Finalize {
        run_id,
        runner: runner.address(),
        terms,
        usage,
        output_hash: Digest::of(b"seal"),
        attestation,
        valid_until: now + 600,
    };
    let prepared = world.prepare(&runner, vault().finalize_run(&finalize).unwrap()).await.unwrap();
    assert!(world.applied(&prepared).await.success);
    let earned = world.json(&["balance", "earned", "runner"]).await;
    assert_eq!((&earned["claimable"], &earned["claimableAsRunner"]), (&"0".into(), &"5000".into()));
    let claim = ["balance", "claim", "5000stroops", "--as", "runner"];
    let said = world.fails(1, &claim).await;
    assert!(said.contains("InsufficientBalance"), "it is no developer: {said}");
    let left = world.json(&[&claim[..], &["--role", "runner"]].concat()).await;
    assert_eq!(left["claimableAsRunner"], "0");
    let shown = world.json(&["escrow", "show", &run_id.to_string()]).await;
    assert_eq!((&shown["state"], &shown["charge"]), (&"finalized".into(), &"40000".into()));
    world.localnet.shutdown().await;
}

#[tokio::test]
async fn escrow_goes_back_by_void_reclaim_and_sweep() {
    let world = World::prepared().await;
    let (first, second) = (opened(&world, 1, 0).await.0, opened(&world, 2, 0).await.0);
    let (first, second) = (first.to_string(), second.to_string());
    // The third is left to the sweep.
    opened(&world, 3, 0).await;
    let said = world.fails(1, &["escrow", "reclaim", &first, "--as", "alice"]).await;
    assert!(said.contains("DeadlineNotReached"), "{said}");
    let said = world.fails(1, &["escrow", "void", &first, "--as", "alice"]).await;
    assert!(said.contains("UnauthorizedRunner"), "{said}");
    let voided = world.json(&["escrow", "void", &first, "--as", "runner", "--reason", "7"]).await;
    assert_eq!(voided["state"], "voided");

    world.localnet.advance_time(3_600);
    world.localnet.close_ledger().await.unwrap();
    let shown = world.json(&["escrow", "show", &second]).await;
    assert_eq!(shown["state"], "past its deadline");
    let reclaimed = world.json(&["escrow", "reclaim", &second, "--as", "dev"]).await;
    assert_eq!(reclaimed["state"], "reclaimed");
    world.localnet.advance_time(2 * 86_400);
    world.localnet.close_ledger().await.unwrap();
    let swept = world.json(&["escrow", "sweep", "alice", "--as", "dev"]).await;
    assert_eq!(swept["returned"], "100000");
    let balance = world.json(&["balance", "show", "alice"]).await;
    assert_eq!((&balance["balance"], &balance["escrowed"]), (&"500000000".into(), &"0".into()));
    let said = world.fails(2, &["escrow", "show", &Digest::of(b"none").to_string()]).await;
    assert!(said.contains("its escrow is not at risk"), "{said}");
    world.localnet.shutdown().await;
}

/// A deployment by a key of this machine, with the words that lead to it.
async fn deployed_by_ops(world: &World) -> (Value, Vec<String>) {
    for name in ["ops", "next"] {
        world.json(&["keys", "generate", name]).await;
    }
    world.json(&["fund", "ops", "next"]).await;
    let deployed = world.json(&["deploy", "--as", "ops"]).await;
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
    let world = World::new().await;
    let (_, at) = deployed_by_ops(&world).await;
    let address = |name| world.key(name).address().to_string();

    let paused = world.json(&with(&["contract", "pause", "--as", "ops"], &at)).await;
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
    let resumed = world.json(&with(&["contract", "resume", "--as", "ops"], &at)).await;
    assert_eq!(resumed["opensPaused"], false);
    let said = world.fails(3, &with(&["contract", "pause", "--as", "next"], &at)).await;
    assert!(said.contains(&address("ops")), "whose key is missing: {said}");

    for contract in ["vault", "registry"] {
        let accept = ["contract", "accept-admin", contract, "--as", "next"];
        let said = world.fails(1, &with(&accept, &at)).await;
        assert!(said.contains("AdminNotProposed"), "{said}");
        let propose = ["contract", "propose-admin", contract, "next", "--as", "ops"];
        let proposed = world.json(&with(&propose, &at)).await;
        assert_eq!(proposed["proposed"], address("next"));
        assert_eq!(proposed["administrator"], address("ops"));
        let accepted = world.json(&with(&accept, &at)).await;
        assert_eq!(accepted["administrator"], address("next"));
        assert_eq!(accepted["proposed"], Value::Null);
    }
    world.localnet.shutdown().await;
}

#[tokio::test]
async fn new_code_waits_seven_days_and_is_distinguished_from_the_old() {
    let world = World::new().await;
    let (_, at) = deployed_by_ops(&world).await;
    let verified = world.json(&with(&["contract", "verify"], &at)).await;
    assert_eq!(verified["verified"], true);
    assert!(verified["contracts"][1]["metadata"]["rsver"].is_string(), "{verified}");

    // The same contract with a custom section of three bytes more: other code, the same functions.
    let mut code = std::fs::read("../contracts/wasm/agent_registry.wasm").unwrap();
    code.extend_from_slice(&[0, 3, 1, b'x', 0]);
    let path = world.folder.path().join("new.wasm");
    std::fs::write(&path, &code).unwrap();
    let file = path.to_str().unwrap();
    let upgrade = ["contract", "upgrade", "registry", "--wasm", file, "--as", "ops"];
    let said = world.fails(1, &with(&upgrade, &at)).await;
    assert!(said.contains("UpgradeNotScheduled"), "{said}");
    let schedule = ["contract", "schedule-upgrade", "registry", "--wasm", file, "--as", "ops"];
    let scheduled = world.json(&with(&schedule, &at)).await;
    assert_eq!(scheduled["upgrade"]["code"], Digest::of(&code).to_string());
    let said = world.fails(1, &with(&upgrade, &at)).await;
    assert!(said.contains("UpgradeNotReady"), "{said}");
    assert_eq!(scheduled["upgrade"]["codeOnLedger"], true);
    let cancel = ["contract", "cancel-upgrade", "registry", "--as", "ops"];
    assert_eq!(world.json(&with(&cancel, &at)).await["upgrade"], Value::Null);

    world.json(&with(&schedule, &at)).await;
    world.localnet.advance_time(7 * 86_400 + 60);
    world.localnet.close_ledger().await.unwrap();
    let upgraded = world.json(&with(&upgrade, &at)).await;
    assert_eq!(upgraded["upgrade"], Value::Null);
    let verify = ["contract", "verify", "registry"];
    let output = world.run(&with(&verify, &at)).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((output.status.code(), said.contains("IS OTHER CODE")), (Some(1), true), "{said}");
    let same = world.json(&with(&[&verify[..], &["--wasm", file]].concat(), &at)).await;
    assert_eq!(same["contracts"][0]["same"], true);
    world.localnet.shutdown().await;
}

/// An administrator with another program than ours can announce a hash whose code was never
/// uploaded (V20).
#[tokio::test]
async fn announced_code_that_is_not_on_the_ledger_is_shown_as_such() {
    let world = World::new().await;
    for name in ["ops", "source"] {
        world.json(&["keys", "generate", name]).await;
    }
    world.json(&["fund", "ops", "source"]).await;
    let deployed = world.json(&["deploy", "--as", "ops"]).await;
    let registry = deployed["registry"].as_str().unwrap();
    let administered = Administered::from(Registry(registry.parse().unwrap()));
    let call = administered.schedule_upgrade(&Digest::of(b"unseen")).unwrap();
    let prepared = world.prepare(&world.key("ops"), call).await.unwrap();
    assert!(world.applied(&prepared).await.success);

    let show = ["contract", "show", "registry", "--registry-id", registry];
    let shown = world.json(&show).await;
    assert_eq!(shown["upgrade"]["code"], Digest::of(b"unseen").to_string());
    assert_eq!(shown["upgrade"]["codeOnLedger"], false);
    let output = world.run(&show).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("is not on the ledger"), "{text}");
    world.localnet.shutdown().await;
}

#[tokio::test]
async fn verifying_code_distinguishes_other_from_unknown_from_usage() {
    let world = World::new().await;
    let (deployed, at) = deployed_by_ops(&world).await;
    let stranger = Keypair::generate().unwrap().address();
    let no_contract = stellar::Address::Contract(*stranger.as_bytes()).to_string();
    let verify = |id: &'static str| ["contract", "verify", "vault", "--id", id];
    let said =
        world.fails(2, &with(&["contract", "verify", "vault", "--id", &no_contract], &at)).await;
    assert!(said.contains("no contract"), "{said}");
    // The native token's contract has no Wasm at all.
    let token = deployed["token"].as_str().unwrap().to_owned();
    let output = world.run(&with(&["contract", "verify", "vault", "--id", &token], &at)).await;
    assert_eq!(output.status.code(), Some(1));
    world.fails(3, &with(&verify("G123"), &at)).await;
    world
        .fails(3, &with(&["contract", "verify", "vault", "--wasm", "/nothing/here.wasm"], &at))
        .await;
    world.fails(3, &with(&["contract", "verify", "vault", "--wasm", "Cargo.toml"], &at)).await;
    let errors = world.json(&["contract", "errors", "--rpc-url", "http://127.0.0.1:1"]).await;
    assert_eq!(errors["vault"][11]["name"], "RunNotOpen");
    world.localnet.shutdown().await;
}
