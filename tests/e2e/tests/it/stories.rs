//! One honest story for each way in which an attempt can end, apart from the ordinary one: what the
//! run cost is proven, while a node still has its events and after every node has forgotten them.

use std::fs;

use e2e::{Stack, repository};
use lumio::verify::facts::{self, Hints, Lists, Own};
use serde_json::{Value, json};
use stellar::registry::Registry;
use stellar::tx::{self, PrepareRequest};
use stellar::vault::{Attestation, Finalize, Vault};
use stellar::{Keypair, Network, Rpc, local};
use wire::statement::ExecutionStatement;
use wire::{Digest, dsse};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What `lumio verify` says and exits with, asked of this node.
fn verify(stack: &Stack, id: &str, further: &[&str]) -> (Option<i32>, Value) {
    let asked = [&["--output", "json", "verify", id], further].concat();
    let output = stack.lumio_output(&asked).unwrap();
    let said = serde_json::from_slice(&output.stdout);
    (output.status.code(), said.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

async fn reached(stack: &Stack, id: &str, status: &str) -> Value {
    testkit::eventually(|| async { stack.run(id).await.is_ok_and(|run| run["status"] == status) })
        .await;
    stack.run(id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_voided_or_reclaimed_is_proven_to_have_cost_nothing() {
    let mut stack = Stack::start().await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let voided = stack.ask(agent, &json!({ "deed": "wait", "ms": 4_000 })).await.unwrap();
    let run = reached(&stack, &voided, "running").await;
    let run_id = run["runId"].as_str().unwrap();
    stack.lumio(&["escrow", "void", run_id, "--as", "runner", "--reason", "7"]).unwrap();
    // What the module left meanwhile was sealed, and no charge commits to it.
    testkit::eventually(|| async {
        stack.run(&voided).await.is_ok_and(|run| run["pack"].is_object())
    })
    .await;

    let reclaimed = stack.ask(agent, &json!({ "deed": "wait", "ms": 4_001 })).await.unwrap();
    let run = reached(&stack, &reclaimed, "running").await;
    stack.runner.take().unwrap().kill().unwrap();
    // Past the longest deadline that a run may have.
    stack.advance_ledger_time(2 * 86_400).await.unwrap();
    let run_id = run["runId"].as_str().unwrap();
    stack.lumio(&["escrow", "reclaim", run_id, "--as", "alice"]).unwrap();
    stack.start_runner(&[]).await.unwrap();
    let run = stack.ended(&reclaimed).await.unwrap();
    assert_eq!(run["status"], "failed", "{run:#}\n{}", stack.logs());
    assert_eq!(stack.alice_balance().unwrap(), (500_000_000, 0));

    let forgetful = stack.forgetful_node().await.unwrap();
    for (id, outcome) in [(&voided, "voided"), (&reclaimed, "reclaimed")] {
        for node in [&stack.rpc_url(), &forgetful] {
            let (code, said) = verify(&stack, id, &["--rpc-url", node]);
            assert_eq!(code, Some(0), "{outcome}: {said:#}");
            assert_eq!(said["attempts"][0]["outcome"], outcome, "{said:#}");
            assert_eq!(
                (&said["sum"]["total"], &said["sum"]["complete"]),
                (&json!("0"), &json!(true)),
                "{said:#}"
            );
            let proven = said["provenSentences"].to_string();
            assert!(proven.contains("nothing, in its one attempt"), "{proven}");
            assert!(proven.contains("the whole escrow went back"), "{proven}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_substitute_settled_is_proven_also_when_the_event_is_gone() {
    let mut stack = Stack::start().await.unwrap();
    stack.runner = None;
    // The runner signs the settlement and dies before it is published.
    let settings = [("RUNNER_FEE_STROOPS", "5000"), ("RUNNER_CRASH_AT", "finalize.before_persist")];
    stack.start_runner(&settings).await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let agent_text = agent.to_string();
    let fee = ["grant", "limits", "--as", "alice", "--runner", "runner", "--agent", &agent_text];
    stack.lumio(&[&fee[..], &["--max-runner-fee", "5000stroops"]].concat()).unwrap();
    let id = stack.ask(agent, &json!({ "deed": "wait", "ms": 30 })).await.unwrap();
    let ended = stack.runner.as_mut().unwrap().ended(PATIENCE).await.unwrap();
    assert!(!ended.success(), "{}", stack.logs());
    stack.runner = None;

    // It is delisted; another listed runner with a grant settles in its place (V14).
    stack.lumio(&["keys", "generate", "helper"]).unwrap();
    stack.lumio(&["fund", "helper"]).unwrap();
    for (change, runner) in [("add-runner", "helper"), ("remove-runner", "runner")] {
        let list = ["agent", change, &agent_text, "--as", "developer", "--runner", runner];
        stack.lumio(&list).unwrap();
    }
    let grant = ["grant", "add", "--as", "alice", "--runner", "helper", "--agent", &agent_text];
    stack.lumio(&[&grant[..], &["--expires-in", "1d"]].concat()).unwrap();
    let charge = settle_as_helper(&stack, &id).await;

    // The runner that opened it learns from the vault how it ended, and says so.
    stack.start_runner(&[]).await.unwrap();
    testkit::eventually(|| async { followed(&stack).await }).await;
    let run = stack.ended(&id).await.unwrap();
    let (receipt, by) = (&run["receipt"], helper(&stack).address().to_string());
    assert_eq!(
        (&run["status"], &run["escrow"]),
        (&json!("finalized"), &json!("settled")),
        "{run:#}"
    );
    assert_eq!((&run["errorCode"], &receipt["settledBy"]), (&json!(null), &json!(by)), "{run:#}");
    assert_eq!(
        (&receipt["actualCharge"], &receipt["runnerFee"]),
        (&json!(charge.to_string()), &json!("0")),
        "{run:#}"
    );
    assert!(run["transactionHashes"]["finalize"].is_string(), "{run:#}");

    let forgetful = stack.forgetful_node().await.unwrap();
    for node in [&stack.rpc_url(), &forgetful] {
        let (code, said) = verify(&stack, &id, &["--rpc-url", node]);
        assert_eq!(code, Some(0), "{said:#}");
        let attempt = &said["attempts"][0];
        assert_eq!(attempt["outcome"], "settled", "{said:#}");
        // A substitute earns no fee (V13).
        assert_eq!(
            (&attempt["charge"], &attempt["fee"]),
            (&json!(charge.to_string()), &json!("0")),
            "{said:#}"
        );
        assert_eq!(said["sum"]["complete"], true, "{said:#}");
    }

    // Without a list the record alone is left: nothing is broken, and nothing is called whole.
    let bundle = stack.folder().join("bundle");
    stack.lumio(&["export", &id, "--out", bundle.to_str().unwrap()]).unwrap();
    let alone = ["--rpc-url", &forgetful, "--gateway-url", "http://127.0.0.1:1"];
    let alone = [&["--bundle", bundle.to_str().unwrap()], &alone[..]].concat();
    let (code, said) = verify(&stack, &id, &alone);
    assert_eq!((code, &said["broken"]), (Some(2), &json!([])), "{said:#}");
    assert_eq!(
        said["attempts"][0]["fee"], "0",
        "the record's digest fits the substitute: {said:#}"
    );
    assert_eq!(said["sum"]["complete"], false, "{said:#}");
}

/// Whether the gateway has a receipt of alice's.
async fn followed(stack: &Stack) -> bool {
    let url = format!("{}/receipts/{}", stack.gateway(), stack.alice().unwrap());
    let asked = reqwest::Client::new().get(url).bearer_auth(stack.token().unwrap());
    let list = asked.send().await.unwrap().text().await.unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    list["receipts"].as_array().is_some_and(|receipts| receipts.len() == 1)
}

/// Settles the run with what was sealed, by the key of `helper`; what was charged.
async fn settle_as_helper(stack: &Stack, id: &str) -> i128 {
    let rpc = Rpc::new(&stack.rpc_url()).unwrap();
    let network = Network::standalone();
    let own = Own {
        network: network.clone(),
        vault: Vault(local::vault_id().unwrap()),
        registry: Registry(local::registry_id().unwrap()),
        unit: stellar::amount::Unit::default(),
    };
    let hints = Hints { attempt: 1, ..Hints::default() };
    let known = facts::gather(&rpc, &own, id.parse().unwrap(), &hints, |_| Ok(Lists::default()));
    let known = known.await.unwrap();
    let opened = known.attempts[0].opened.clone().unwrap();

    let packs = fs::read_dir(stack.store().join("packs")).unwrap();
    let [pack] = packs.map(|pack| pack.unwrap().path()).collect::<Vec<_>>().try_into().unwrap();
    let envelope = fs::read(pack.join("_execution.dsse")).unwrap();
    let payload = dsse::Envelope::parse(&envelope).unwrap().unverified().unwrap();
    let execution = ExecutionStatement::parse(&payload).unwrap().into_predicate();
    let signed = execution.settlement.unwrap();
    let mut attesters = opened.terms.attesters.iter();
    let place = attesters.position(|key| hex::encode(key) == signed.attester.to_string()).unwrap();
    let finalize = Finalize {
        run_id: opened.run_id,
        runner: helper(stack).address(),
        terms: opened.terms.clone(),
        usage: execution.usage,
        output_hash: Digest::of(&fs::read(pack.join("_SEALED.json")).unwrap()),
        attestation: Some(Attestation {
            attester: u32::try_from(place).unwrap(),
            signature: signed.signature,
        }),
        valid_until: known.ledger_time + 600,
    };
    let key = helper(stack);
    let call = own.vault.finalize_run(&finalize).unwrap().into();
    let request = PrepareRequest {
        network: &network,
        source: &key,
        call: &call,
        signers: &[],
        max_time_unix: known.ledger_time + 120,
        auth_valid_ledgers: tx::AUTH_LEDGERS,
        fee_ceiling: 1_000_000_000,
    };
    assert!(tx::submit_and_wait(&rpc, &request).await.unwrap().success);
    wire::usage::charge(&opened.terms.rates, &execution.usage).unwrap()
}

fn helper(stack: &Stack) -> Keypair {
    fs::read_to_string(stack.folder().join("keys/helper")).unwrap().parse().unwrap()
}
