//! From what was seen to a verdict (M1, M2, M6).

use crate::ledger::Ledger;
use crate::policy::{Capability, Policy};
use crate::report::{Code, Exit, Verdict};

/// Verdict, code and reason.
pub(crate) type Judgement = (Verdict, Option<Code>, String);

/// Judges a finished run. `unexplained` is the first change without an observed cause.
pub(crate) fn judge(
    ledger: &Ledger,
    exit: &Exit,
    policy: &Policy,
    unexplained: Option<String>,
) -> Judgement {
    let fail = |code, reason| (Verdict::Fail, Some(code), reason);
    let unknown = |reason| (Verdict::Inconclusive, Some(Code::Incomplete), reason);
    // A proven violation holds, whatever else was missed.
    if let Some(first) = &ledger.outside {
        return fail(Code::Forbidden, format!("outside the module root: {first}"));
    }
    if !ledger.undeclared.is_empty() {
        let list: Vec<String> = ledger
            .undeclared
            .iter()
            .map(|(capability, first)| missing(*capability, first, policy))
            .collect();
        return fail(Code::Undeclared, list.join("; "));
    }
    match exit {
        Exit::NotStarted => {
            return unknown(
                ledger
                    .incomplete
                    .clone()
                    .unwrap_or_else(|| "the command was not started".to_owned()),
            );
        }
        // Ended by the caller, so the module did nothing wrong and proved nothing.
        Exit::Limit(name) if name == "cancelled" => {
            return unknown("cancelled by the caller before it ended".to_owned());
        }
        Exit::Code(0) => {}
        Exit::Code(code) => return fail(Code::Exec, format!("exited with code {code}")),
        Exit::Signal(signal) => return fail(Code::Exec, format!("ended by signal {signal}")),
        Exit::Timeout => {
            return fail(Code::Exec, format!("did not end within {} ms", policy.limits.wall_ms));
        }
        Exit::Limit(name) => return fail(Code::Exec, format!("reached the limit {name}")),
    }
    // After the exits: a command that failed did so whatever else was missed (M2).
    if let Some(incomplete) = &ledger.incomplete {
        return unknown(incomplete.clone());
    }
    match unexplained {
        Some(change) => unknown(format!("changed without an observed cause: {change}")),
        None => (Verdict::Pass, None, String::new()),
    }
}

fn missing(capability: Capability, first: &str, policy: &Policy) -> String {
    if capability == Capability::Network && policy.reaches_some() {
        return format!("{capability} is declared for other addresses alone: {first}");
    }
    format!("{capability} is not declared: {first}")
}
