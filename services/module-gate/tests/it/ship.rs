//! Shipping verdicts: what they need, and that the newest conclusive one is answered (R8).

use ed25519_dalek::SigningKey;
use module_gate::config::Config;
use module_gate::keys::AttestationKeys;
use tonic::Status;
use wire::dsse::key_id;
use wire::pb::module::v1::{ExecuteRequest, GetInputSchemaRequest, GetVerdictRequest};
use wire::problem::Problem;
use wire::statement::{Code, ExecutionStatement, GuardTier, ShippingStatement, Verdict};

use crate::fixture::{Fixture, Running, csv_profile, request, shipped, test_module, weather};

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_keeps_its_word_passes_and_its_verdict_can_be_had() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&csv_profile());
    let ask =
        GetVerdictRequest { manifest_hash: module.to_string(), attesters: Vec::new(), agent_id: 0 };
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

    let ask = |digest: &str| GetInputSchemaRequest { manifest_hash: digest.to_owned() };
    let mut calls = gate.calls.clone();
    let schema = calls.get_input_schema(ask(&module.to_string())).await.unwrap().into_inner();
    let schema: serde_json::Value = serde_json::from_slice(&schema.schema.unwrap()).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["csv"]));
    let none = fixture.publish(&test_module("exits-one"));
    let none = calls.get_input_schema(ask(&none.to_string())).await.unwrap().into_inner();
    assert_eq!(none.schema, None, "a module need not say what it expects");
    let unknown = calls.get_input_schema(ask(&"0".repeat(64))).await.unwrap_err();
    assert_eq!(Problem::of(&unknown), Some(Problem::ModuleUnknown));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_code() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    for (name, code) in [
        ("nondeterministic", Code::OracleNondeterminism),
        ("skips-and-writes", Code::SideEffectsForbidden),
        ("no-outputs", Code::OracleMissing),
        ("exits-one", Code::Test),
    ] {
        let verdict = shipped(&gate.ship(fixture.publish(&test_module(name))).await.unwrap());
        assert_eq!(
            (verdict.verdict, verdict.code),
            (Verdict::Fail, Some(code)),
            "{name}: {:?}",
            verdict.reason
        );
    }
    gate.stop().await;
}

/// The rotation that docs/operations/module-gate.md describes, from the side of a caller that
/// accepts what the agent's record names.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_key_signs_for_who_names_it_until_it_is_dropped() {
    let fixture = Fixture::new().await;
    let module = fixture.publish(&csv_profile());
    let (old, new) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let named = |key: &SigningKey| vec![key_id(&key.verifying_key())];
    let with = |keys| Config { attestation: keys, ..fixture.config() };
    let verdict = |gate: &Running, key: &SigningKey| {
        let ask = GetVerdictRequest {
            manifest_hash: module.to_string(),
            attesters: named(key),
            agent_id: 0,
        };
        let (mut calls, key) = (gate.calls.clone(), key.verifying_key());
        async move {
            let statement = calls.get_verdict(ask).await?.into_inner().statement;
            Ok::<_, Status>(ShippingStatement::open(&statement, &[key]).is_ok())
        }
    };
    let execute = |gate: &Running, key: &SigningKey| {
        let asked = ExecuteRequest { attesters: named(key), ..request(module, &weather()) };
        let (gate, key) = (Running::at(gate.address), key.verifying_key());
        async move {
            let statement = gate.execute(&asked).await?;
            let stated = ExecutionStatement::open(&statement, &[key]).unwrap().0.into_predicate();
            let settlement = stated.settlement.unwrap();
            Ok::<_, Status>(settlement.attester.as_bytes() == key.as_bytes())
        }
    };

    let before = fixture.serve_with(&with(AttestationKeys::new(old.clone(), Vec::new()))).await;
    before.ship(module).await.unwrap();
    assert!(verdict(&before, &old).await.unwrap());
    let refused = verdict(&before, &new).await.unwrap_err();
    assert_eq!(Problem::of(&refused), Some(Problem::VerdictMissing));
    before.stop().await;

    let keys = AttestationKeys::new(new.clone(), vec![old.clone()]);
    let both = fixture.serve_with(&with(keys)).await;
    for key in [&old, &new] {
        assert!(verdict(&both, key).await.unwrap());
        assert!(execute(&both, key).await.unwrap());
    }
    both.stop().await;

    // Judged by the old key alone: the module is judged again, and not answered from what is kept.
    let after = fixture.serve_with(&with(AttestationKeys::new(new.clone(), Vec::new()))).await;
    let missing = verdict(&after, &new).await.unwrap_err();
    assert_eq!(Problem::of(&missing), Some(Problem::VerdictMissing));
    let refused = execute(&after, &old).await.unwrap_err();
    assert_eq!(Problem::of(&refused), Some(Problem::VerdictMissing));
    after.ship(module).await.unwrap();
    assert!(verdict(&after, &new).await.unwrap());
    after.stop().await;
}
