//! Shipping verdicts: what they need, and that the newest conclusive one is answered (R8).

use wire::pb::module::v1::GetVerdictRequest;
use wire::problem::Problem;
use wire::statement::{Code, GuardTier, Verdict};

use crate::world::{World, csv_profile, fixture, shipped};

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_keeps_its_word_passes_and_its_verdict_can_be_had() {
    let world = World::new().await;
    let gate = world.serve().await;
    let module = world.publish(&csv_profile());
    let ask = GetVerdictRequest { manifest_hash: module.to_string() };
    let status = gate.calls.clone().get_verdict(ask.clone()).await.unwrap_err();
    assert_eq!(Problem::of(&status), Some(Problem::VerdictMissing));

    let bytes = gate.ship(module).await.unwrap();

    let verdict = shipped(&bytes);
    assert_eq!((verdict.verdict, verdict.code), (Verdict::Pass, None), "{:?}", verdict.reason);
    assert_eq!((verdict.module_digest, verdict.module_id.as_str()), (module, "csv.profile"));
    assert_eq!((verdict.tests.total, verdict.tests.passed), (2, 2));
    assert_eq!((verdict.oracle.cases, verdict.oracle.attempts, verdict.oracle.passed), (2, 5, 2));
    assert_eq!(verdict.guard.tier, GuardTier::Full);
    let stored = gate.calls.clone().get_verdict(ask).await.unwrap().into_inner().statement;
    assert_eq!(stored, bytes);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_code() {
    let world = World::new().await;
    let gate = world.serve().await;
    for (name, code) in [
        ("nondeterministic", Code::OracleNondeterminism),
        ("skips-and-writes", Code::SideEffectsForbidden),
        ("no-outputs", Code::OracleMissing),
        ("exits-one", Code::Test),
    ] {
        let verdict = shipped(&gate.ship(world.publish(&fixture(name))).await.unwrap());
        assert_eq!(
            (verdict.verdict, verdict.code),
            (Verdict::Fail, Some(code)),
            "{name}: {:?}",
            verdict.reason
        );
    }
    gate.stop().await;
}
