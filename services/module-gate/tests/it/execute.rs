//! A module that does what it declared is executed, metered, stated and reported.

use chassis::clock;
use wire::digest::Digest;
use wire::event::GateData;
use wire::pb::module::v1::{ExecuteRequest, ExecutionState, GetExecutionRequest};
use wire::problem::Problem;
use wire::statement::{Code, Exit, GuardTier, Verdict};

use crate::fixture::{Fixture, csv_profile, request, stated, test_module, weather};

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_staged_under_the_digests_that_are_signed() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&csv_profile());
    let asked = request(module, &weather());
    let statement = stated(&gate.execute(&asked).await.unwrap());

    assert_eq!(
        (statement.verdict, statement.code),
        (Verdict::Pass, None),
        "{:?}",
        statement.reason
    );
    assert_eq!((statement.exit, statement.guard.tier), (Exit::Code(0), GuardTier::Full));
    assert_eq!(statement.module_digest, module);
    assert_eq!((statement.run_id.to_string(), statement.seed), (asked.run_id.clone(), 42));
    // What the vault takes: a signature of the key that signed the statement, for exactly this
    // opening, module, request and usage (V16).
    assert_eq!(statement.vault_run_id.map(|id| id.to_string()), Some(asked.vault_run_id.clone()));
    let (signed, settled) = (statement.settlement.unwrap(), statement.settled().unwrap());
    assert_eq!(signed.attester.as_bytes(), crate::fixture::signer().as_bytes());
    assert_eq!((settled.manifest_hash, settled.usage), (module, statement.usage));
    assert!(signed.verifies(&settled));
    assert!(
        statement.usage.runtime_ms > 0 && statement.usage.runtime_ms <= 30_000,
        "{:?}",
        statement.usage
    );
    let paths: Vec<_> = statement.outputs.iter().map(|output| output.path.as_str()).collect();
    assert_eq!(paths, ["profile.json", "report.md"]);
    for output in &statement.outputs {
        let staged = fixture.staged(&asked, &output.path).unwrap();
        assert_eq!((Digest::of(&staged), staged.len() as u64), (output.sha256, output.length));
    }
    let profile: serde_json::Value =
        serde_json::from_slice(&fixture.staged(&asked, "profile.json").unwrap()).unwrap();
    assert_eq!(profile["rows"], 1461);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_reported_once_and_its_state_can_be_asked() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&test_module("slow"));
    let asked = request(module, &serde_json::json!({}));
    let mut heard = fixture.bus.listen().await;
    let name = GetExecutionRequest { run_id: asked.run_id.clone(), attempt: 1 };
    let state = gate.calls.clone().get_execution(name.clone()).await.unwrap().into_inner();
    assert_eq!((state.state(), state.statement), (ExecutionState::Unknown, None));

    let bytes = gate.execute(&asked).await.unwrap();

    let state = gate.calls.clone().get_execution(name).await.unwrap().into_inner();
    assert_eq!(
        (state.state(), state.statement.as_deref()),
        (ExecutionState::Finished, Some(&*bytes))
    );
    let (subject, event) = heard.next().await;
    assert_eq!(subject, format!("{}.gate.v1.executed.{module}", fixture.bus.prefix));
    let data: GateData = event.read().unwrap();
    assert_eq!((data.module_digest, data.verdict), (module, Verdict::Pass));
    assert_eq!(data.run_id.unwrap().to_string(), asked.run_id);
    assert_eq!(event.id, format!("{module}:1"));
    assert!(event.time <= clock::now());
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_reaches_the_module() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let mut asked = request(fixture.publish(&test_module("slow")), &serde_json::json!({}));
    asked.seed = (1 << 53) - 1;
    let statement = stated(&gate.execute(&asked).await.unwrap());
    assert_eq!(statement.verdict, Verdict::Pass, "{:?}", statement.reason);
    assert_eq!(fixture.staged(&asked, "seed.txt").unwrap(), b"9007199254740991\n");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_budget_is_charged_and_an_operators_limit_is_not() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&test_module("loops-forever"));
    let mut budget = request(module, &serde_json::json!({}));
    budget.budgets.as_mut().unwrap().runtime_ms = 400;
    let mut limit = request(module, &serde_json::json!({}));
    limit.wall_limit_ms = 400;

    let (budget, limit) =
        (gate.execute(&budget).await.unwrap(), gate.execute(&limit).await.unwrap());

    let (budget, limit) = (stated(&budget), stated(&limit));
    assert_eq!(
        (budget.verdict, budget.code),
        (Verdict::Fail, Some(Code::BudgetExhausted)),
        "{:?}",
        budget.reason
    );
    assert_eq!((budget.usage.runtime_ms, budget.exit), (400, Exit::Budget));
    assert_eq!(
        (limit.verdict, limit.code),
        (Verdict::Fail, Some(Code::OracleExec)),
        "{:?}",
        limit.reason
    );
    assert!(limit.usage.is_zero() && limit.exit == Exit::Timeout);
    gate.stop().await;
}

type Spoil = fn(&mut ExecuteRequest);

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_is_refused_before_anything_stands() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let good = request(Digest::of(b"x"), &serde_json::json!({}));
    let cases: [(&str, Spoil, Problem); 8] = [
        ("run id", |request| request.run_id = "x".to_owned(), Problem::InvalidRequest),
        ("attempt", |request| request.attempt = 0, Problem::InvalidRequest),
        ("run in the vault", |request| request.vault_run_id.clear(), Problem::InvalidRequest),
        ("seed", |request| request.seed = 1 << 53, Problem::InvalidRequest),
        ("wall limit", |request| request.wall_limit_ms = 0, Problem::InvalidRequest),
        ("input digest", |request| request.input = b"{\"a\":1}".to_vec(), Problem::DigestMismatch),
        ("canonical", |request| request.input = b"{ }".to_vec(), Problem::DigestMismatch),
        ("unknown module", |_| {}, Problem::ModuleUnknown),
    ];
    for (what, spoil, problem) in cases {
        let mut asked = good.clone();
        spoil(&mut asked);
        let status = gate.execute(&asked).await.unwrap_err();
        assert_eq!(Problem::of(&status), Some(problem), "{what}: {status:?}");
    }
    gate.stop().await;
}
