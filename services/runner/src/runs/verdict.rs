//! What module-gate's signed statements prove about a run (R8, R10, M12). Pure.

use ed25519_dalek::VerifyingKey;
use stellar::Address;
use wire::statement::{Execution, ExecutionStatement, GuardTier, Mode, ShippingStatement, Verdict};
use wire::{Digest, PublicKey, RunId, Usage, VaultRunId};

use crate::gates::ModuleVerdict;
use crate::model::settlement::{Attestation, Failure};
use crate::runs::preflight::refuse;

/// What a statement must be about.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: u32,
    /// The attempt's id in the vault.
    pub vault_run_id: VaultRunId,
    /// Who pays.
    pub user: Address,
    /// Empty when the caller named none.
    pub workflow_id: &'a str,
    /// Digest of the module's tree, as pinned.
    pub module: Digest,
    /// Digest of the input.
    pub input: Digest,
    /// The seed.
    pub seed: u64,
    /// The most it may have used.
    pub budgets: Usage,
}

/// The keys whose statements count: those the agent's record names (V12), and of them, if this
/// runner is configured with keys, only those.
pub fn accepted_keys(attesters: &[PublicKey], configured: &[VerifyingKey]) -> Vec<VerifyingKey> {
    let keys = attesters.iter().filter_map(|key| VerifyingKey::from_bytes(key.as_bytes()).ok());
    keys.filter(|key| configured.is_empty() || configured.contains(key)).collect()
}

/// Reads an execution statement that is about exactly what was asked.
///
/// # Errors
///
/// `STATEMENT_INVALID`, with what does not fit. Nothing is charged on such a statement.
pub fn execution(
    envelope: &[u8],
    keys: &[VerifyingKey],
    expected: &Expected<'_>,
) -> Result<Execution, Failure> {
    let (statement, _) =
        ExecutionStatement::open(envelope, keys).map_err(|error| invalid(&error))?;
    let execution = statement.into_predicate();
    let rules = [
        (execution.run_id == expected.run, "run"),
        (execution.attempt == expected.attempt, "attempt"),
        (execution.vault_run_id == Some(expected.vault_run_id), "run id in the vault"),
        (execution.user == expected.user.to_string(), "user"),
        (execution.workflow_id == expected.workflow_id, "workflow"),
        (execution.module_digest == expected.module, "module"),
        (execution.input_digest == expected.input, "input"),
        (execution.seed == expected.seed, "seed"),
        (execution.budgets == expected.budgets, "budgets"),
        (execution.usage.is_within(&expected.budgets), "usage (above the budgets)"),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(invalid(&format!("it states another {what}"))),
        None => Ok(execution),
    }
}

/// The signature with which this usage may be settled, by the place of its key among the pinned
/// attesters. None if what is settled is not what module-gate signed: then nothing may be taken
/// (V16). A wrong signature would fail the whole call, so it is verified here first.
pub fn attestation(
    execution: &Execution,
    usage: Usage,
    attesters: &[PublicKey],
) -> Option<Attestation> {
    let signed = execution.settlement?;
    let settled = execution.settled()?;
    if settled.usage != usage || !signed.verifies(&settled) {
        return None;
    }
    let place = attesters.iter().position(|key| *key == signed.attester)?;
    Some(Attestation { attester: u32::try_from(place).ok()?, signature: signed })
}

/// Why the execution failed, if it did. Its usage is what is charged either way (R10).
pub fn failure(execution: &Execution) -> Option<Failure> {
    if execution.verdict == Verdict::Pass {
        return None;
    }
    let code = execution.code.map_or("E_ORACLE_EXEC", |code| code.as_str());
    Some(Failure::new(
        code,
        execution.reason.clone().unwrap_or_else(|| execution.verdict.to_string()),
    ))
}

/// Judges module-gate's verdict on the module that would run (R8).
///
/// # Errors
///
/// A refusal before opening that says what is missing.
pub fn shipping(envelope: &[u8], keys: &[VerifyingKey], module: Digest) -> Result<(), Failure> {
    if keys.is_empty() {
        return Err(refuse(
            "ATTESTER_MISSING",
            "registry: the agent names no attestation key that this runner accepts",
        ));
    }
    let (statement, _) = ShippingStatement::open(envelope, keys).map_err(|error| {
        refuse(
            "VERDICT_UNTRUSTED",
            format!("module-gate's verdict does not count: {}", chain(&error)),
        )
    })?;
    let shipping = statement.predicate();
    let rules = [
        (shipping.module_digest == module, "it is about another module"),
        (shipping.mode == Mode::Shipping, "it was not reached in mode shipping"),
        (shipping.verdict == Verdict::Pass, "it is not a pass"),
        (shipping.oracle.passed >= 1, "no oracle case passed"),
        (shipping.guard.tier == GuardTier::Full, "the guard was not complete"),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, why)) => Err(refuse("VERDICT_FAILED", format!("module-gate's verdict: {why}"))),
        None => Ok(()),
    }
}

/// Judges what module-gate says about a module before a run of it is opened: its verdict, and
/// whether the operator allows the services that it names. What is not allowed is known before
/// anything is escrowed: such a run would only be opened to be voided.
///
/// # Errors
///
/// A refusal before opening that says what is missing.
pub fn before_opening(
    found: &ModuleVerdict,
    keys: &[VerifyingKey],
    module: Digest,
) -> Result<(), Failure> {
    shipping(&found.statement, keys, module)?;
    match &found.refused_upstream {
        Some(why) => Err(refuse("UPSTREAM_REFUSED", format!("module-gate: {why}"))),
        None => Ok(()),
    }
}

fn invalid(why: &dyn std::fmt::Display) -> Failure {
    Failure::new("STATEMENT_INVALID", format!("module-gate's execution statement: {why}"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use time::OffsetDateTime;
    use wire::statement::{Code, Effects, Exit, Guard, OracleCount, Output, Shipping, TestCount};

    use super::*;

    const BUDGETS: Usage = Usage { llm_in: 0, llm_out: 0, http_calls: 0, runtime_ms: 1_000 };

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn guard() -> Guard {
        Guard { tier: GuardTier::Full, landlock_abi: 7, version: "1".to_owned() }
    }

    fn statement() -> Execution {
        Execution {
            run_id: RunId::from(uuid::Uuid::nil()),
            attempt: 1,
            vault_run_id: Some(VaultRunId::from([9; 32])),
            user: USER.to_string(),
            workflow_id: "profile".to_owned(),
            module_digest: Digest::of(b"module"),
            input_digest: Digest::of(b"{}"),
            seed: 7,
            budgets: BUDGETS,
            outputs: vec![Output { path: "a".to_owned(), length: 1, sha256: Digest::of(b"a") }],
            usage: Usage { runtime_ms: 10, ..Usage::default() },
            guard: guard(),
            effects: Effects::default(),
            egress: None,
            exit: Exit::Code(0),
            verdict: Verdict::Pass,
            code: None,
            settlement: None,
            reason: None,
            started_at: OffsetDateTime::UNIX_EPOCH,
            finished_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    const USER: Address = Address::Account([1; 32]);

    fn expected() -> Expected<'static> {
        Expected {
            run: RunId::from(uuid::Uuid::nil()),
            attempt: 1,
            vault_run_id: VaultRunId::from([9; 32]),
            user: USER,
            workflow_id: "profile",
            module: Digest::of(b"module"),
            input: Digest::of(b"{}"),
            seed: 7,
            budgets: BUDGETS,
        }
    }

    fn signed(execution: Execution, by: u8) -> Vec<u8> {
        ExecutionStatement::new(execution).unwrap().sign(&key(by)).to_json()
    }

    #[test]
    fn a_statement_about_anything_else_is_refused() {
        let keys = [key(1).verifying_key()];
        let accepts = |expected: &Expected<'_>| execution(&signed(statement(), 1), &keys, expected);
        assert!(accepts(&expected()).is_ok());
        let others = [
            Expected { run: RunId::from(uuid::Uuid::max()), ..expected() },
            Expected { attempt: 2, ..expected() },
            Expected { vault_run_id: VaultRunId::from([8; 32]), ..expected() },
            Expected { user: Address::Account([2; 32]), ..expected() },
            Expected { workflow_id: "", ..expected() },
            Expected { module: Digest::of(b"other"), ..expected() },
            Expected { input: Digest::of(b"other"), ..expected() },
            Expected { seed: 8, ..expected() },
            Expected { budgets: Usage { runtime_ms: 999, ..BUDGETS }, ..expected() },
        ];
        for other in others {
            assert_eq!(accepts(&other).unwrap_err().code, "STATEMENT_INVALID", "{other:?}");
        }
    }

    #[test]
    fn only_an_accepted_key_counts() {
        let by_other = signed(statement(), 2);
        assert!(execution(&by_other, &[key(1).verifying_key()], &expected()).is_err());
        assert!(execution(&by_other, &[], &expected()).is_err());

        let pinned = [PublicKey::from(key(1).verifying_key().to_bytes())];
        assert_eq!(accepted_keys(&pinned, &[]), [key(1).verifying_key()]);
        assert_eq!(accepted_keys(&pinned, &[key(2).verifying_key()]), []);
    }

    #[test]
    fn an_exhausted_budget_is_a_failure_that_is_charged() {
        let mut spent = statement();
        (spent.verdict, spent.exit, spent.code) =
            (Verdict::Fail, Exit::Budget, Some(Code::BudgetExhausted));
        spent.outputs.clear();
        spent.usage = BUDGETS;
        let read = execution(&signed(spent, 1), &[key(1).verifying_key()], &expected()).unwrap();
        assert_eq!(read.usage, BUDGETS);
        assert_eq!(failure(&read).unwrap().code, "BUDGET_EXHAUSTED");
    }

    fn shipped(verdict: Verdict) -> Vec<u8> {
        let pass = verdict == Verdict::Pass;
        let shipping = Shipping {
            module_digest: Digest::of(b"module"),
            module_id: "m".to_owned(),
            module_version: "1".to_owned(),
            mode: Mode::Shipping,
            verdict,
            code: (!pass).then_some(Code::Test),
            reason: None,
            oracle: OracleCount { cases: 1, attempts: 2, passed: 1 },
            tests: TestCount::default(),
            side_effects: Effects::default(),
            guard: guard(),
            policy_digest: Digest::of(b"policy"),
            issued_at: OffsetDateTime::UNIX_EPOCH,
        };
        ShippingStatement::new(shipping).unwrap().sign(&key(1)).to_json()
    }

    #[test]
    fn only_a_pass_for_exactly_this_module_lets_a_run_open() {
        let keys = [key(1).verifying_key()];
        let module = Digest::of(b"module");
        let code = |envelope: &[u8], keys: &[VerifyingKey], module| {
            shipping(envelope, keys, module)
                .map_or_else(|failure| failure.code, |()| "pass".to_owned())
        };
        assert_eq!(code(&shipped(Verdict::Pass), &keys, module), "pass");
        assert_eq!(code(&shipped(Verdict::Fail), &keys, module), "PREFLIGHT_VERDICT_FAILED");
        let other = Digest::of(b"other");
        assert_eq!(code(&shipped(Verdict::Pass), &keys, other), "PREFLIGHT_VERDICT_FAILED");
        assert_eq!(code(b"{}", &keys, module), "PREFLIGHT_VERDICT_UNTRUSTED");
        assert_eq!(code(&shipped(Verdict::Pass), &[], module), "PREFLIGHT_ATTESTER_MISSING");
    }

    #[test]
    fn a_service_that_is_not_allowed_to_the_agent_is_known_before_a_run_opens() {
        let keys = [key(1).verifying_key()];
        let code = |verdict, refused: Option<&str>| {
            let found = ModuleVerdict {
                statement: shipped(verdict),
                refused_upstream: refused.map(str::to_owned),
            };
            before_opening(&found, &keys, Digest::of(b"module"))
                .map_or_else(|failure| failure.code, |()| "pass".to_owned())
        };
        assert_eq!(code(Verdict::Pass, None), "pass");
        assert_eq!(code(Verdict::Pass, Some("not allowed")), "PREFLIGHT_UPSTREAM_REFUSED");
        assert_eq!(code(Verdict::Fail, Some("not allowed")), "PREFLIGHT_VERDICT_FAILED");
    }
}
