//! Runs whose module calls a service that has every fault: what the chain says that they used is
//! what the service's own log says, call by call.
//!
//! An ordinary test makes some calls of each of two runs; with `LUMIO_LONG=1` ten runs make a
//! thousand.

use std::fs;
use std::ops::Range;

use e2e::{Stack, repository};
use lumio::verify::facts::{self, Hints, Lists, Own};
use serde_json::{Value, json};
use stellar::registry::Registry;
use stellar::vault::{RunFinalized, RunOpened, Vault};
use stellar::{Network, Rpc, local};
use testkit::faulty_model::{FaultyModel, Kind, Reconciled, faulty_model};
use wire::Usage;
use wire::egress::{CALLS_FILE, Call, lines};

const RATES: &str = "llm_in=3stroops,llm_out=7stroops,http_calls=11stroops,runtime_ms=1stroops";

/// The calls of each run, by their seeds.
fn parts() -> Vec<Range<u64>> {
    let (runs, each) = match std::env::var_os("LUMIO_LONG") {
        Some(_) => (10, 100),
        None => (2, 60),
    };
    (0..runs).map(|run| run * each..(run + 1) * each).collect()
}

/// The operator's word on the service: as slow, silent or large as some of its answers are, they
/// are given up soon.
fn upstreams(model: &FaultyModel) -> String {
    json!({ "upstreams": [{ "kind": "openai", "url": "https://models.example/",
        "via": model.service.url(), "plain_http": true, "everyone": true,
        "limits": { "idle_ms": 400, "total_ms": 1_500, "response_bytes": 256 << 10 } }] })
    .to_string()
}

/// Asks for a run that makes the calls of these seeds.
async fn ask(stack: &Stack, agent: u64, seeds: Range<u64>, most_calls: u64) -> String {
    let of = |which: fn(Kind) -> bool| -> Vec<u64> {
        seeds.clone().filter(|seed| which(Kind::of(*seed))).collect()
    };
    let body = json!({
        "user": stack.alice().unwrap(), "agentId": agent,
        "input": { "seeds": of(|_| true), "streamed": of(Kind::is_streamed),
            "left": of(|kind| kind == Kind::LeftByTheModule) },
        "budgets": { "llmIn": 500_000, "llmOut": 50_000, "httpCalls": most_calls,
            "runtimeMs": 60_000 },
    });
    let (status, run) = stack.post("/runs", &body).await.unwrap();
    assert_eq!(status, 202, "{run:#}");
    run["id"].as_str().unwrap().to_owned()
}

/// What the vault's own events say of the run's opening and settlement.
async fn on_chain(stack: &Stack, id: &str) -> (RunOpened, RunFinalized) {
    let rpc = Rpc::new(&stack.rpc_url()).unwrap();
    let own = Own {
        network: Network::standalone(),
        vault: Vault(local::vault_id().unwrap()),
        registry: Registry(local::registry_id().unwrap()),
        unit: stellar::amount::Unit::default(),
    };
    let hints = Hints { attempt: 1, ..Hints::default() };
    let known = facts::gather(&rpc, &own, id.parse().unwrap(), &hints, |_| Ok(Lists::default()));
    let mut known = known.await.unwrap();
    assert_eq!(known.attempts.len(), 1);
    let attempt = known.attempts.remove(0);
    (attempt.opened.unwrap(), attempt.finalized.unwrap())
}

/// The sealed list of the run's calls.
fn listed(stack: &Stack, id: &str) -> Vec<Call> {
    let to = stack.folder().join(format!("outputs-{id}"));
    stack.lumio(&["run", "outputs", id, "--to", to.to_str().unwrap()]).unwrap();
    let list = fs::read(to.join(CALLS_FILE)).unwrap();
    lines(&list).into_iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Waits for the run's end, and compares the log of the service with the list that was sealed and
/// with what was charged on chain. Answers the calls' sums and the charge.
async fn reconcile(stack: &Stack, model: &FaultyModel, id: &str) -> (Reconciled, i128) {
    let run = stack.ended(id).await.unwrap();
    assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
    let sums = model.reconcile(&listed(stack, id));

    let (opened, settled) = on_chain(stack, id).await;
    let runtime_ms = settled.usage.runtime_ms;
    let reconciled =
        Usage { llm_in: sums.llm_in, llm_out: sums.llm_out, http_calls: sums.left, runtime_ms };
    assert_eq!(settled.usage, reconciled, "what was settled is what the service's log says");
    assert!(runtime_ms > 0 && settled.usage.is_within(&opened.terms.budgets));
    let charge = wire::usage::charge(&opened.terms.rates, &settled.usage).unwrap();
    assert_eq!(settled.actual_charge, charge);
    let proof: Value =
        serde_json::from_str(&stack.lumio(&["--output", "json", "verify", id]).unwrap()).unwrap();
    assert_eq!((&proof["proven"], &proof["broken"]), (&json!(true), &json!([])), "{proof:#}");
    (sums, charge)
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_on_chain_equal_the_log_of_a_service_with_faults_call_by_call() {
    let (model, parts) = (faulty_model(), parts());
    let stack = Stack::start_with_services(Some(&upstreams(&model))).await.unwrap();
    let module = repository().join("tests/e2e/modules/mixed-calls");
    let agent = stack.publish_and_grant_at(&module, RATES).unwrap();
    let (before, _) = stack.alice_balance().unwrap();

    let count = parts.iter().map(|part| part.end - part.start).sum::<u64>();
    let mut runs = Vec::new();
    for part in parts {
        let most = part.end - part.start;
        runs.push(ask(&stack, agent, part, most).await);
    }
    // And one whose budget ends before its calls do: the others do not leave.
    let short = ask(&stack, agent, count..count + 30, 10).await;

    let (mut all, mut charged) = (Reconciled::default(), 0);
    for id in &runs {
        let (sums, charge) = reconcile(&stack, &model, id).await;
        assert_eq!(sums.refused, 0);
        (all.left, all.marked) = (all.left + sums.left, all.marked + sums.marked);
        all.kinds.extend(sums.kinds);
        charged += charge;
    }
    assert_eq!(all.left, count);
    assert!(all.marked > 0 && all.marked < count, "{} of {count}", all.marked);
    if count >= 1_000 {
        assert!(Kind::ALL.iter().all(|kind| all.kinds.contains(kind)), "{:?}", all.kinds);
    }
    let (sums, charge) = reconcile(&stack, &model, &short).await;
    assert_eq!((sums.left, sums.refused), (10, 20));

    // Totals reconcile to the call and to the stroop.
    assert_eq!(model.billed(), count + 10);
    assert_eq!(model.service.arrived().len() as u64, count + 10, "none arrived twice");
    assert_eq!(stack.alice_balance().unwrap(), (before - charged - charge, 0));
    stack.account().await.unwrap();
}
