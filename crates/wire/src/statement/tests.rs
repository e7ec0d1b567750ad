use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::{RunId, Usage};

fn execution() -> Execution {
    Execution {
        run_id: RunId::from(uuid::Uuid::from_u128(7)),
        attempt: 1,
        vault_run_id: None,
        settlement: None,
        user: "GUSER".to_owned(),
        workflow_id: "profile".to_owned(),
        module_digest: Digest::of(b"module"),
        input_digest: Digest::of(b"{}"),
        seed: MAX_SEED,
        budgets: Usage { runtime_ms: 1_000, ..Usage::default() },
        outputs: vec![
            Output { path: "a.json".to_owned(), length: 2, sha256: Digest::of(b"{}") },
            Output { path: "b/c.json".to_owned(), length: 2, sha256: Digest::of(b"[]") },
        ],
        usage: Usage { runtime_ms: 900, ..Usage::default() },
        guard: Guard { tier: GuardTier::Full, landlock_abi: 7, version: "0.1.0".to_owned() },
        effects: Effects::default(),
        egress: None,
        exit: Exit::Code(0),
        verdict: Verdict::Pass,
        code: None,
        reason: None,
        started_at: datetime!(2026-01-02 03:04:05 UTC),
        finished_at: datetime!(2026-01-02 03:04:06 UTC),
    }
}

fn shipping() -> Shipping {
    Shipping {
        module_digest: Digest::of(b"module"),
        module_id: "profile.csv".to_owned(),
        module_version: "1.0.0".to_owned(),
        mode: Mode::Shipping,
        verdict: Verdict::Pass,
        code: None,
        reason: None,
        oracle: OracleCount { cases: 1, attempts: 3, passed: 1 },
        tests: TestCount { total: 2, passed: 1, skipped: 1 },
        side_effects: Effects::default(),
        guard: execution().guard,
        policy_digest: Digest::of(b"policy"),
        issued_at: datetime!(2026-01-02 03:04:05 UTC),
    }
}

fn broken_rule(change: impl FnOnce(&mut Execution)) -> String {
    let mut predicate = execution();
    change(&mut predicate);
    Statement::new(predicate).unwrap_err().to_string()
}

fn parse(change: impl FnOnce(&mut Value)) -> Result<ExecutionStatement, StatementError> {
    let mut value = serde_json::to_value(Statement::new(execution()).unwrap()).unwrap();
    change(&mut value);
    Statement::parse(&serde_json::to_vec(&value).unwrap())
}

#[test]
fn a_signed_statement_comes_back_whole() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let statement = Statement::new(execution()).unwrap();
    let envelope = statement.sign(&key).to_json();

    let (opened, signer) = ExecutionStatement::open(&envelope, &[key.verifying_key()]).unwrap();

    assert_eq!((opened, signer), (statement, key.verifying_key()));
}

#[test]
fn the_subject_is_the_module_and_every_output() {
    let statement = Statement::new(execution()).unwrap();
    let names: Vec<_> = statement.subject().iter().map(|subject| subject.name.as_str()).collect();
    assert_eq!(names, ["module", "outputs/a.json", "outputs/b/c.json"]);
}

#[test]
fn a_statement_about_other_artefacts_is_refused() {
    let other =
        parse(|statement| statement["subject"][1]["digest"]["sha256"] = json!("0".repeat(64)));
    assert!(matches!(other, Err(StatementError::WrongSubject)));
    let missing = parse(|statement| statement["subject"] = json!([]));
    assert!(matches!(missing, Err(StatementError::WrongSubject)));
}

#[test]
fn a_statement_of_another_kind_is_called_that() {
    let shipping = Statement::new(shipping()).unwrap().to_json();
    let error = ExecutionStatement::parse(&shipping).unwrap_err();
    assert!(matches!(error, StatementError::WrongType(kind) if kind == Shipping::TYPE));
    let version = parse(|statement| statement["_type"] = json!("https://in-toto.io/Statement/v2"));
    assert!(matches!(version, Err(StatementError::WrongType(_))));
}

#[test]
fn unknown_fields_pass_and_unknown_words_do_not() {
    assert!(parse(|statement| statement["predicate"]["later"] = json!(1)).is_ok());
    for (field, word) in [("verdict", json!("MAYBE")), ("exit", json!({"kind": "vanished"}))] {
        let unknown = parse(|statement| statement["predicate"][field] = word);
        assert!(matches!(unknown, Err(StatementError::Malformed(_))), "{field}");
    }
}

#[test]
fn a_pass_needs_exit_zero_outputs_and_the_full_guard() {
    assert!(broken_rule(|execution| execution.exit = Exit::Code(1)).contains("exit code 0"));
    assert!(broken_rule(|execution| execution.outputs.clear()).contains("needs an output"));
    assert!(
        broken_rule(|execution| execution.guard.tier = GuardTier::Degraded).contains("full guard")
    );
    assert!(broken_rule(|execution| execution.code = Some(Code::OracleExec)).contains("no code"));
}

#[test]
fn only_an_exhausted_budget_is_charged_on_failure() {
    let fail = |execution: &mut Execution, code| {
        (execution.verdict, execution.code, execution.exit) =
            (Verdict::Fail, Some(code), Exit::Budget);
        execution.outputs.clear();
    };
    assert!(
        broken_rule(|execution| fail(execution, Code::OracleExec)).contains("exhausted budget")
    );

    let mut exhausted = execution();
    fail(&mut exhausted, Code::BudgetExhausted);
    assert!(Statement::new(exhausted).is_ok());
}

#[test]
fn what_could_not_be_decided_charges_nothing() {
    let rule = broken_rule(|execution| {
        (execution.verdict, execution.code) = (Verdict::Inconclusive, Some(Code::GuardIncomplete));
        execution.outputs.clear();
    });
    assert!(rule.contains("charges nothing"), "{rule}");
}

#[test]
fn usage_above_budget_and_paths_that_leave_are_refused() {
    assert!(broken_rule(|execution| execution.usage.http_calls = 1).contains("budgets allow"));
    assert!(broken_rule(|execution| execution.outputs.reverse()).contains("sorted"));
    for path in ["../a", "/a", "a//b", "a\\b", "", "./a", "a/"] {
        let rule = broken_rule(|execution| execution.outputs[0].path = path.to_owned());
        assert!(rule.contains("not plain"), "{path}: {rule}");
    }
}

#[test]
fn a_module_without_a_passed_oracle_case_may_not_ship() {
    let mut predicate = shipping();
    predicate.oracle = OracleCount::default();
    let error = Statement::new(predicate).unwrap_err().to_string();
    assert!(error.contains("oracle case"), "{error}");

    let mut predicate = shipping();
    predicate.tests.skipped = 0;
    assert!(Statement::new(predicate).unwrap_err().to_string().contains("every test"));
    assert!(Statement::new(shipping()).is_ok());
}

#[test]
fn codes_are_spelled_in_json_as_they_print() {
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), json!(code.to_string()));
    }
}

#[test]
fn a_member_that_appears_twice_is_refused_at_any_depth() {
    let text = String::from_utf8(Statement::new(execution()).unwrap().to_json()).unwrap();
    for (from, to) in [
        ("{\"_type\"", "{\"later\":1,\"later\":1,\"_type\""),
        ("\"seed\":", "\"seed\":1,\"seed\":"),
        ("\"runtime_ms\":900", "\"x\":1,\"x\":2,\"runtime_ms\":900"),
    ] {
        let twice = text.replacen(from, to, 1);
        assert_ne!(twice, text, "{from}");
        let error = ExecutionStatement::parse(twice.as_bytes()).unwrap_err();
        assert!(matches!(error, StatementError::Malformed(_)), "{from}: {error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_statement(bytes in any::<Vec<u8>>()) {
        prop_assert!(ExecutionStatement::parse(&bytes).is_err());
        prop_assert!(ShippingStatement::parse(&bytes).is_err());
        prop_assert!(ExecutionStatement::open(&bytes, &[]).is_err());
    }

    /// What is still a statement after its bytes were damaged keeps every rule, and comes back the
    /// same from its own bytes.
    #[test]
    fn a_damaged_statement_is_refused_or_is_a_statement(
        of_execution in any::<bool>(),
        edits in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = if of_execution {
            Statement::new(execution()).unwrap().to_json()
        } else {
            Statement::new(shipping()).unwrap().to_json()
        };
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        if let Ok(read) = ExecutionStatement::parse(&bytes) {
            prop_assert!(of_execution && read.predicate().check().is_ok());
            prop_assert_eq!(ExecutionStatement::parse(&read.to_json()).unwrap(), read);
        }
        if let Ok(read) = ShippingStatement::parse(&bytes) {
            prop_assert!(!of_execution && read.predicate().check().is_ok());
            prop_assert_eq!(ShippingStatement::parse(&read.to_json()).unwrap(), read);
        }
    }
}
