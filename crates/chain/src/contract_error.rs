//! The contracts' numbered errors by name (V11), and finding them in what the network says.

use std::fmt;

use stellar_xdr::{ContractEventBody, DiagnosticEvent, ScError, ScVal};

/// Which of the contracts we know a code belongs to. The same number means different things in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContractKind {
    /// The prepaid vault.
    Vault,
    /// The agent registry.
    Registry,
    /// A SEP-41 token.
    Token,
    /// None of them.
    Other,
}

/// A contract's refusal. The name is stable and is what people search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractError {
    /// Whose number it is.
    pub contract: ContractKind,
    /// The number.
    pub code: u32,
    /// Its name; `Unknown` for a number that this release does not know.
    pub name: &'static str,
}

/// The vault's errors: number, name, what it means for the person who reads it.
pub const VAULT: &[(u32, &str, &str)] = &[
    (1, "AlreadyInitialized", "the vault is set up already"),
    (2, "NotInitialized", "the vault has no configuration: is the contract id right?"),
    (3, "Unauthorized", "the run belongs to another user"),
    (4, "InvalidAmount", "an amount, cap, budget or usage is negative, zero or too large"),
    (5, "InsufficientBalance", "the balance in the vault is less than the amount or the escrow"),
    (6, "PolicyPaused", "the user has paused new runs"),
    (7, "PerRunCapExceeded", "the escrow is more than the user allows one run"),
    (8, "DailyCapExceeded", "the escrow is more than is left of the user's daily cap"),
    (9, "AgentRegistryNotSet", "the vault names no registry"),
    (10, "AgentNotFound", "the registry knows no such agent"),
    (11, "RunNotFound", "no record of this run: never opened, or ended a day ago"),
    (12, "RunNotOpen", "the run is settled, voided, reclaimed or past its deadline"),
    (13, "UsageExceedsBudget", "the usage of a meter is above its budget"),
    (14, "InvalidRateVersion", "neither the agent's latest nor its previous rate version"),
    (15, "UnauthorizedRunner", "no live grant for this runner, or the agent does not list it"),
    (16, "RunnerGrantExists", "a live grant for this runner and agent exists already"),
    (17, "RunnerGrantNotFound", "no live grant for this runner and agent"),
    (18, "Expired", "the call came too late: its valid_until has passed"),
    (19, "DeadlineOutOfRange", "the deadline is not 10 minutes to 24 hours away"),
    (20, "DeadlineNotReached", "the run cannot be reclaimed before its deadline"),
    (21, "RunTermsMismatch", "the terms are not those that the run was opened with"),
    (22, "RegistryUnavailable", "the registry could not be read; try again"),
    (23, "TokenFailed", "the token refused, or moved another amount"),
    (24, "EmptyBudget", "every meter's budget is zero"),
    (25, "MaxChargeExceeded", "rates times budgets is more than the runner expected"),
    (26, "RunnerFeeExceeded", "the runner's fee is more than the grant allows"),
    (27, "InvalidExpiry", "the grant's expiry is in the past"),
    (28, "TooManyGrants", "the user has 32 grants; revoke one first"),
    (29, "AccountingBroken", "the vault's books do not add up; nothing was changed"),
];

/// The registry's errors, likewise.
pub const REGISTRY: &[(u32, &str, &str)] = &[
    (1, "AlreadyInitialized", "the registry is set up already"),
    (2, "AgentNotFound", "no agent has this id"),
    (3, "Unauthorized", "not this agent's developer"),
    (4, "InvalidRunnerList", "no runner at registration, or more than 16"),
    (5, "InvalidRates", "a rate is negative"),
    (6, "RunnerNotFound", "the agent does not list this runner"),
    (7, "RateCardNotFound", "the agent has no rate card of this version"),
    (8, "InvalidMetadataUri", "the metadata URI has more than 256 bytes"),
    (9, "InvalidAttesters", "more than 4 attestation keys"),
    (10, "CounterExhausted", "no id or version is left to give"),
];

/// The errors of the network's own asset contract that our calls can meet.
pub const TOKEN: &[(u32, &str, &str)] = &[
    (6, "AccountMissing", "the account does not exist on this network; fund it first"),
    (8, "NegativeAmount", "the amount is negative"),
    (9, "AllowanceError", "the allowance is too small"),
    (10, "BalanceError", "the account holds too little, its reserve counted"),
    (11, "BalanceDeauthorized", "the issuer has frozen the account"),
    (13, "TrustlineMissing", "the account has no trustline to the asset"),
];

impl ContractKind {
    /// The table of the contract's errors.
    pub const fn table(self) -> &'static [(u32, &'static str, &'static str)] {
        match self {
            Self::Vault => VAULT,
            Self::Registry => REGISTRY,
            Self::Token => TOKEN,
            Self::Other => &[],
        }
    }
}

impl ContractError {
    /// The error of that number.
    pub fn new(contract: ContractKind, code: u32) -> Self {
        let row = contract.table().iter().find(|(number, ..)| *number == code);
        Self { contract, code, name: row.map_or("Unknown", |(_, name, _)| name) }
    }

    /// The error by its name, for what is matched on.
    pub fn is(&self, contract: ContractKind, name: &str) -> bool {
        self.contract == contract && self.name == name
    }

    /// What it means for the person who reads it.
    pub fn meaning(&self) -> &'static str {
        let row = self.contract.table().iter().find(|(number, ..)| *number == self.code);
        row.map_or(
            "this release does not know the number; is the contract newer?",
            |(.., meaning)| meaning,
        )
    }

    /// Finds the contract's code in a simulation's error text, `HostError: Error(Contract, #12) …`. The
    /// first one counts: the host names the outermost error first.
    pub fn in_text(contract: ContractKind, text: &str) -> Option<Self> {
        const MARK: &str = "Error(Contract, #";
        let rest = &text[text.find(MARK)? + MARK.len()..];
        let digits = &rest[..rest.find(')')?];
        digits.parse().ok().map(|code| Self::new(contract, code))
    }

    /// Finds the contract's code in a failed transaction's diagnostic events. The last one counts: the
    /// outermost frame fails last.
    pub fn in_events(contract: ContractKind, events: &[DiagnosticEvent]) -> Option<Self> {
        events.iter().rev().find_map(|event| {
            let ContractEventBody::V0(body) = &event.event.body;
            body.topics.iter().find_map(|topic| match topic {
                ScVal::Error(ScError::Contract(code)) => Some(Self::new(contract, *code)),
                _ => None,
            })
        })
    }
}

impl fmt::Display for ContractKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vault => "vault",
            Self::Registry => "registry",
            Self::Token => "token",
            Self::Other => "contract",
        })
    }
}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} error {}): {}", self.name, self.contract, self.code, self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_the_hosts_words() {
        let text = "HostError: Error(Contract, #12)\n\nEvent log (newest first):\n   0: [Diagnostic Event] topics:[error, Error(Contract, #5)]";
        let error = ContractError::in_text(ContractKind::Vault, text).unwrap();
        assert_eq!((error.code, error.name), (12, "RunNotOpen"));
        assert_eq!(
            ContractError::in_text(ContractKind::Registry, text),
            Some(ContractError::new(ContractKind::Registry, 12))
        );
        assert_eq!(ContractError::new(ContractKind::Registry, 12).name, "Unknown");
    }

    #[test]
    fn other_failures_are_no_contract_error() {
        for text in [
            "",
            "HostError: Error(Auth, InvalidAction)",
            "Error(Contract, #",
            "Error(Contract, #x)",
            "Error(Contract, #99999999999)",
        ] {
            assert_eq!(ContractError::in_text(ContractKind::Vault, text), None, "{text}");
        }
    }

    /// Reads `Name = number,` lines, so that table and contract cannot part.
    fn source_table(source: &str) -> Vec<(u32, String)> {
        let row = |line: &str| {
            let (name, number) = line.trim().strip_suffix(',')?.split_once(" = ")?;
            Some((number.parse().ok()?, name.to_owned()))
        };
        source.lines().filter_map(row).collect()
    }

    #[test]
    fn the_tables_are_the_contracts_own() {
        let vault = include_str!("../../../contracts/prepaid-vault/src/error.rs");
        let registry = include_str!("../../../contracts/agent-registry/src/error.rs");
        for (table, source) in [(VAULT, vault), (REGISTRY, registry)] {
            let ours: Vec<_> =
                table.iter().map(|(code, name, _)| (*code, (*name).to_owned())).collect();
            let theirs = source_table(source);
            assert!(theirs.len() >= 6, "the contract's error file has another form");
            assert_eq!(ours, theirs);
        }
    }
}
