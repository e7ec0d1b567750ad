//! The contracts' numbered errors by name (V11), and finding them in what the network says.

use std::fmt;

use stellar_xdr::{ContractEventBody, DiagnosticEvent, ScError, ScVal};

mod table;

pub use table::{REGISTRY, Row, TOKEN, VAULT, guide};

/// Which of the contracts we know a code belongs to. The same number means different things in
/// each.
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

impl ContractKind {
    /// The table of the contract's errors.
    pub const fn table(self) -> &'static [Row] {
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
        let row = contract.table().iter().find(|row| row.number == code);
        Self { contract, code, name: row.map_or("Unknown", |row| row.name) }
    }

    /// The error by its name, for what is matched on.
    pub fn is(&self, contract: ContractKind, name: &str) -> bool {
        self.contract == contract && self.name == name
    }

    /// Its row of the table; `None` for a number that this release does not know.
    pub fn row(&self) -> Option<&'static Row> {
        self.contract.table().iter().find(|row| row.number == self.code)
    }

    /// What it means for the person who reads it.
    pub fn meaning(&self) -> &'static str {
        let unknown = "this release does not know the number; is the contract newer?";
        self.row().map_or(unknown, |row| row.meaning)
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        self.row().is_some_and(|row| row.retryable)
    }

    /// Finds the contract's code in a simulation's error text, `HostError: Error(Contract, #12) …`.
    /// The first one counts: the host names the outermost error first.
    pub fn in_text(contract: ContractKind, text: &str) -> Option<Self> {
        const MARK: &str = "Error(Contract, #";
        let rest = &text[text.find(MARK)? + MARK.len()..];
        let digits = &rest[..rest.find(')')?];
        digits.parse().ok().map(|code| Self::new(contract, code))
    }

    /// Finds the contract's code in a failed transaction's diagnostic events. The last one counts:
    /// the outermost frame fails last.
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
        write!(f, "{} ({} error {}): {}", self.name, self.contract, self.code, self.meaning())?;
        match self.row().map(|row| row.action) {
            None | Some("nothing") => Ok(()),
            Some(action) => write!(f, "; {action}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_the_hosts_words() {
        let text = concat!(
            "HostError: Error(Contract, #12)\n\nEvent log (newest first):\n",
            "   0: [Diagnostic Event] topics:[error, Error(Contract, #5)]",
        );
        let error = ContractError::in_text(ContractKind::Vault, text).unwrap();
        assert_eq!((error.code, error.name), (12, "RunNotOpen"));
        assert_eq!(
            ContractError::in_text(ContractKind::Registry, text),
            Some(ContractError::new(ContractKind::Registry, 12))
        );
        assert_eq!(ContractError::new(ContractKind::Registry, 99).name, "Unknown");
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
}
