//! Limits of worth (V13): what a run has to come to at least, and how many openings and failures of
//! one user and of one developer the operator bears within a window.
//!
//! Every opening costs the operator fees of the network, and a run that fails earns the developer
//! nothing for them. What is above a limit is refused before anything is opened.

use std::sync::LazyLock;

use chassis::postgres::in_time;
use sqlx::PgConnection;
use stellar::Address;
use wire::failure::RunnerCode;
use wire::statement::Code;
use wire::{FailureCode, Problem};

use crate::error::Result;
use crate::model::policy::WorthLimits;
use crate::model::settlement::Failure;
use crate::runs::preflight::{Pinned, refuse};

/// The advisory lock under which openings are counted and wanted, so that two workers that count at
/// one time do not both take the last one.
const LOCK: i64 = 0x6c75_6d69_6f5f_776f;

/// Whose limit a failure counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// Neither's: what the operator runs, or the network, may have caused it.
    Never,
    /// The developer's: no user can cause it.
    ForDeveloper,
    /// The user's and the developer's: the module failed on the user's input.
    ForBoth,
}

/// The codes of failures that do not count against a user, and those that do not count against a
/// developer.
static UNCOUNTED: LazyLock<(Vec<String>, Vec<String>)> = LazyLock::new(|| {
    let texts = |is_uncounted: fn(Counted) -> bool| -> Vec<String> {
        let codes = FailureCode::all().filter(|code| is_uncounted(counted(*code)));
        codes.map(|code| code.to_string()).collect()
    };
    (texts(|counted| counted != Counted::ForBoth), texts(|counted| counted == Counted::Never))
});

/// Whose limit a failure of this code counts against. Every code is named, so that a new one has to
/// be decided.
const fn counted(code: FailureCode) -> Counted {
    match code {
        // Nothing was opened: none of these is among the openings that are looked at.
        FailureCode::Preflight(_) | FailureCode::Open(_) => Counted::ForBoth,
        FailureCode::Runner(code) => match code {
            // What was called off did not fail. The others are the doing of the operator, of what
            // the operator runs, or of the network.
            RunnerCode::Cancelled
            | RunnerCode::Adopted
            | RunnerCode::DeadlinePassed
            | RunnerCode::EndedByOperator
            | RunnerCode::EscrowLeftOpen
            | RunnerCode::EscrowVoided
            | RunnerCode::ExecutionUnavailable
            | RunnerCode::ExecutorMissing
            | RunnerCode::Imported
            | RunnerCode::OpenNotDone
            | RunnerCode::OutcomeUnknown
            | RunnerCode::SealUnavailable
            | RunnerCode::TermsUnknown => Counted::Never,
            // The developer changed the attesters, or took this runner off the list, while the run
            // was open: it was paid for by the operator alone.
            RunnerCode::AttesterChanged
            | RunnerCode::SettledOtherwise
            | RunnerCode::SettlementRefused => Counted::ForDeveloper,
        },
        FailureCode::Module(code) => match code {
            // The host lacks something that the guard needs.
            Code::GuardIncomplete => Counted::Never,
            Code::SideEffectsForbidden
            | Code::SideEffectsDeclaration
            | Code::OracleExec
            | Code::BudgetExhausted
            | Code::OutputLimit
            | Code::OutputMissing => Counted::ForBoth,
            // Whatever the input was.
            Code::ModuleInvalid
            | Code::OracleNondeterminism
            | Code::OracleSpec
            | Code::OracleMissing
            | Code::RequireUnsat
            | Code::Lint
            | Code::PortConformance
            | Code::Test
            | Code::UpstreamRefused => Counted::ForDeveloper,
        },
        FailureCode::Refused(problem) => match problem {
            // More was left than a pack may hold.
            Problem::PayloadTooLarge => Counted::ForBoth,
            // What was asked of the gates is the runner's own, and so is what they hold and answer.
            // A pass whose outputs fail their check costs the user nothing for that reason.
            Problem::InvalidRequest
            | Problem::Unauthenticated
            | Problem::Forbidden
            | Problem::NotFound
            | Problem::MethodNotAllowed
            | Problem::UnsupportedMediaType
            | Problem::RequestTimeout
            | Problem::PreconditionFailed
            | Problem::RangeNotSatisfiable
            | Problem::MisdirectedRequest
            | Problem::RunNotRetryable
            | Problem::RunNotCancellable
            | Problem::IdempotencyConflict
            | Problem::IdempotencyMismatch
            | Problem::Conflict
            | Problem::RateLimited
            | Problem::IntakePaused
            | Problem::PackAlreadySealed
            | Problem::SealMismatch
            | Problem::StatementInvalid
            | Problem::DigestMismatch
            | Problem::CheckFailed
            | Problem::ModuleUnknown
            | Problem::VerdictMissing
            | Problem::ExecutionConflict
            | Problem::Unavailable
            | Problem::Internal => Counted::Never,
        },
    }
}

/// Refuses a run that comes to less than the operator asks for: the most that it can be charged,
/// and the fee.
///
/// # Errors
///
/// `PREFLIGHT_BELOW_WORTH`.
pub fn enough(pinned: &Pinned, fee: i128, limits: &WorthLimits) -> Result<(), Failure> {
    let worth = pinned.max_charge.saturating_add(fee);
    if worth >= limits.least {
        return Ok(());
    }
    let least = limits.least;
    Err(refuse(
        "BELOW_WORTH",
        format!(
            "the run comes to {worth} stroops at most, and this runner takes none below {least}: \
             raise the budgets"
        ),
    ))
}

/// Refuses an opening that is one too many for its user or its developer. The caller wants it in
/// this transaction.
///
/// # Errors
///
/// When the database does not answer; inside, `PREFLIGHT_TOO_MANY_OPENS` and
/// `PREFLIGHT_TOO_MANY_FAILURES`.
pub async fn within(
    conn: &mut PgConnection,
    user: Address,
    developer: Address,
    limits: &WorthLimits,
) -> Result<Result<(), Failure>> {
    if !limits.counts() {
        return Ok(Ok(()));
    }
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).fetch_one(in_time(&mut *conn)).await?;
    let window = i64::try_from(limits.window_secs).unwrap_or(i64::MAX);
    let (not_of_users, not_of_developers) = &*UNCOUNTED;
    // An opening that came to nothing cost nothing, and is not counted.
    let counted = sqlx::query!(
        r#"SELECT
            count(*) FILTER (WHERE c.user_account = $1) AS "user_opens!",
            count(*) FILTER (WHERE c.developer = $2) AS "developer_opens!",
            count(*) FILTER (WHERE c.user_account = $1 AND a.error_code <> ALL($4))
                AS "user_failures!",
            count(*) FILTER (WHERE c.developer = $2 AND a.error_code <> ALL($5))
                AS "developer_failures!"
           FROM calls c JOIN attempts a ON a.run_id = c.run_id AND a.number = c.attempt
           WHERE c.kind = 'open' AND c.state IN ('wanted', 'signed', 'done', 'unknown')
             AND (c.user_account = $1 OR c.developer = $2)
             AND c.wanted_at > now() - $3::bigint * interval '1 second'"#,
        user.to_string(),
        developer.to_string(),
        window,
        not_of_users,
        not_of_developers,
    );
    let counted = counted.fetch_one(in_time(conn)).await?;
    let rules = [
        (counted.user_opens, limits.opens_per_user, "OPENS", "this user's runs were opened"),
        (
            counted.developer_opens,
            limits.opens_per_developer,
            "OPENS",
            "runs of this agent's developer were opened",
        ),
        (counted.user_failures, limits.failures_per_user, "FAILURES", "this user's runs failed"),
        (
            counted.developer_failures,
            limits.failures_per_developer,
            "FAILURES",
            "runs of this agent's developer failed",
        ),
    ];
    for (count, most, code, what) in rules {
        if most.is_some_and(|most| count >= i64::from(most)) {
            let window = limits.window_secs;
            let text = format!(
                "{count} {what} within the last {window} seconds, which is as many as this runner \
                 takes: try again later"
            );
            return Ok(Err(refuse(&format!("TOO_MANY_{code}"), text)));
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use wire::{Digest, Rates};

    use super::*;

    #[test]
    fn a_run_below_the_configured_worth_is_refused_and_the_fee_counts() {
        let rates = Rates { llm_in: 1, llm_out: 1, http_calls: 1, runtime_ms: 1 };
        let pinned = Pinned {
            rate_version: 1,
            rates,
            manifest_hash: Digest::of(b"module"),
            developer: Address::Account([1; 32]),
            attesters: Vec::new(),
            max_charge: 90,
        };
        let limits = WorthLimits { least: 100, ..WorthLimits::default() };
        assert_eq!(enough(&pinned, 9, &limits).unwrap_err().code, "PREFLIGHT_BELOW_WORTH");
        assert!(enough(&pinned, 10, &limits).is_ok());
        assert!(enough(&pinned, 0, &WorthLimits::default()).is_ok());
    }

    #[test]
    fn what_the_operator_or_the_network_caused_counts_against_nobody() {
        let (users, developers) = &*UNCOUNTED;
        for code in [
            FailureCode::CANCELLED,
            FailureCode::CHECK_FAILED,
            FailureCode::STATEMENT_INVALID,
            FailureCode::Runner(RunnerCode::Adopted),
            FailureCode::Runner(RunnerCode::EscrowLeftOpen),
            FailureCode::Runner(RunnerCode::EscrowVoided),
            FailureCode::Runner(RunnerCode::OpenNotDone),
            FailureCode::Module(Code::GuardIncomplete),
        ] {
            let text = code.to_string();
            assert!(users.contains(&text) && developers.contains(&text), "{text}");
        }
    }

    #[test]
    fn what_no_user_can_cause_counts_against_the_developer_alone() {
        let (users, developers) = &*UNCOUNTED;
        for code in ["ATTESTER_CHANGED", "SETTLEMENT_REFUSED", "E_UPSTREAM_REFUSED"] {
            let code = code.to_owned();
            assert!(users.contains(&code) && !developers.contains(&code), "{code}");
        }
        for code in ["E_ORACLE_EXEC", "BUDGET_EXHAUSTED", "PAYLOAD_TOO_LARGE"] {
            let code = code.to_owned();
            assert!(!users.contains(&code) && !developers.contains(&code), "{code}");
        }
    }
}
