//! The one table of what follows from every answer of the network and every error of the vault
//! (R13, R16). Pure.
//!
//! Two questions are kept apart. What an answer *proves* about a transaction is
//! [`decide`](super::decide)'s subject. What *follows* for the intent is this one's: only the vault
//! can say that a call will never be done; whatever the operator or the network lacks is waited
//! for, until the deadline.

use stellar::{ChainError, ContractError, RpcError};

use crate::chain::transaction::Kind;

/// What is lacking. While anything is, the service is degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// The source account holds too little, or does not exist.
    Money,
    /// The fee that the network asks is above the ceiling, or was offered too low.
    Fee,
    /// What runs or days may cost is spent.
    Ceiling,
    /// The sequence number was used by another transaction.
    Sequence,
    /// A signature was not accepted: the account's signers were changed.
    Signature,
    /// What holds the key gave no signature.
    Signer,
    /// The node gave no answer that counts.
    Node,
    /// An entry of the ledger is archived.
    Archived,
    /// The registry could not be read (V6).
    Registry,
    /// The network refused or failed the transaction for a reason of its own.
    Network,
}

/// What follows for an intent from a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// The vault's word, which no repetition changes.
    Refused,
    /// The vault's word about a state that may have changed since: its record decides.
    AskRecord,
    /// Something is lacking: tried again, with back-off, until the deadline.
    Wait(Shortage),
    /// The call came too late and has to be signed with a later `valid_until`.
    SignAgain,
    /// A defect: a person has to look.
    Operator,
}

impl Shortage {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Money,
        Self::Fee,
        Self::Ceiling,
        Self::Sequence,
        Self::Signature,
        Self::Signer,
        Self::Node,
        Self::Archived,
        Self::Registry,
        Self::Network,
    ];

    /// The name in metrics and health.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Money => "money",
            Self::Fee => "fee",
            Self::Ceiling => "ceiling",
            Self::Sequence => "sequence",
            Self::Signature => "signature",
            Self::Signer => "signer",
            Self::Node => "node",
            Self::Archived => "archived",
            Self::Registry => "registry",
            Self::Network => "network",
        }
    }
}

/// What a transaction result's code says is lacking. Whether the transaction can still land is not
/// known from it, except where [`stellar::rpc::Rejection::definite`] is set.
const RESULTS: [(&str, Shortage); 20] = {
    use Shortage::{Fee, Money, Network, Sequence, Signature};
    [
        ("TxFeeBumpInnerSuccess", Network),
        ("TxSuccess", Network),
        ("TxFailed", Network),
        ("TxTooEarly", Network),
        ("TxTooLate", Network),
        ("TxMissingOperation", Network),
        ("TxBadSeq", Sequence),
        ("TxBadAuth", Signature),
        ("TxInsufficientBalance", Money),
        ("TxNoAccount", Money),
        ("TxInsufficientFee", Fee),
        ("TxBadAuthExtra", Signature),
        ("TxInternalError", Network),
        ("TxNotSupported", Network),
        ("TxFeeBumpInnerFailed", Network),
        ("TxBadSponsorship", Network),
        ("TxBadMinSeqAgeOrGap", Sequence),
        ("TxMalformed", Network),
        ("TxSorobanInvalid", Network),
        ("TxFrozenKeyAccessed", Network),
    ]
};

/// What is lacking after a transaction was refused or failed with this code.
pub fn result(code: &str) -> Shortage {
    let row = RESULTS.iter().find(|(name, _)| *name == code);
    row.map_or(Shortage::Network, |(_, shortage)| *shortage)
}

/// One error of the vault, and what follows from it for each kind of call.
struct Row {
    name: &'static str,
    open: Follow,
    finalize: Follow,
    void: Follow,
    reclaim: Follow,
}

/// Every error of the vault. An opening is refused by the state of user, agent and vault; a
/// settlement by what is wrong with the settlement itself, while what contradicts the run's record
/// is for the record to decide.
const VAULT: &[Row] = {
    use Follow::{AskRecord, Operator, Refused, SignAgain, Wait};
    use Shortage::{Network, Registry};
    const fn row(name: &'static str, follows: [Follow; 4]) -> Row {
        let [open, finalize, void, reclaim] = follows;
        Row { name, open, finalize, void, reclaim }
    }
    /// Refuses an opening, and contradicts the record of an open run.
    const OPENING: [Follow; 4] = [Refused, AskRecord, AskRecord, AskRecord];
    /// Never raised by these calls, or a sign of a broken vault.
    const DEFECT: [Follow; 4] = [Operator; 4];
    &[
        row("AlreadyInitialized", DEFECT),
        row("NotInitialized", DEFECT),
        row("Unauthorized", OPENING),
        row("InvalidAmount", [Refused, Refused, AskRecord, AskRecord]),
        row("InsufficientBalance", OPENING),
        row("PolicyPaused", OPENING),
        row("PerRunCapExceeded", OPENING),
        row("DailyCapExceeded", OPENING),
        row("AgentRegistryNotSet", DEFECT),
        row("AgentNotFound", OPENING),
        row("RunNotFound", [AskRecord; 4]),
        row("RunNotOpen", [AskRecord; 4]),
        row("UsageExceedsBudget", [Refused, Refused, AskRecord, AskRecord]),
        row("InvalidRateVersion", OPENING),
        row("UnauthorizedRunner", OPENING),
        row("RunnerGrantExists", OPENING),
        row("RunnerGrantNotFound", OPENING),
        row("Expired", [SignAgain; 4]),
        row("DeadlineOutOfRange", OPENING),
        row("DeadlineNotReached", [AskRecord; 4]),
        row("RunTermsMismatch", [AskRecord, Refused, AskRecord, AskRecord]),
        row("RegistryUnavailable", [Wait(Registry); 4]),
        row("TokenFailed", [Wait(Network); 4]),
        row("EmptyBudget", OPENING),
        row("MaxChargeExceeded", OPENING),
        row("RunnerFeeExceeded", OPENING),
        row("InvalidExpiry", OPENING),
        row("TooManyGrants", OPENING),
        row("AccountingBroken", DEFECT),
        row("GrantRunCapExceeded", OPENING),
        row("GrantTotalExceeded", OPENING),
        row("OpensPaused", OPENING),
        row("AdminNotProposed", DEFECT),
        row("UpgradeNotScheduled", DEFECT),
        row("UpgradeNotReady", DEFECT),
        row("InvalidBatchSize", DEFECT),
        // The frozen settlement lacks a signature that counts; nothing can be taken, so it is given
        // back.
        row("NotAttested", [AskRecord, Refused, AskRecord, AskRecord]),
    ]
};

/// What follows from an error of the vault. One that this release does not know refuses an opening,
/// which costs nothing, and is waited out otherwise: a newer release may know it.
pub fn contract(kind: Kind, error: &ContractError) -> Follow {
    let Some(row) = VAULT.iter().find(|row| row.name == error.name) else {
        return match kind {
            Kind::Open => Follow::Refused,
            Kind::Finalize | Kind::Void | Kind::Reclaim | Kind::Channel => {
                Follow::Wait(Shortage::Network)
            }
        };
    };
    match kind {
        Kind::Open => row.open,
        Kind::Finalize => row.finalize,
        Kind::Void => row.void,
        Kind::Reclaim => row.reclaim,
        // It calls no contract.
        Kind::Channel => Follow::Operator,
    }
}

/// What follows from a call that could not be prepared; nothing was signed.
pub fn preparation(kind: Kind, error: &ChainError) -> Follow {
    match error {
        ChainError::Contract { error, .. } => contract(kind, error),
        ChainError::Rpc(RpcError::Refused { .. } | RpcError::Malformed { .. })
        | ChainError::Rpc(RpcError::Unreachable { .. } | RpcError::Behind { .. })
        | ChainError::Rpc(RpcError::OtherNetwork { .. } | RpcError::Address(_))
        | ChainError::Decode { .. } => Follow::Wait(Shortage::Node),
        ChainError::Simulation { .. } | ChainError::Transaction { .. } => {
            Follow::Wait(Shortage::Network)
        }
        ChainError::FeeCeiling { .. } => Follow::Wait(Shortage::Fee),
        ChainError::Signer { .. } => Follow::Wait(Shortage::Signer),
        ChainError::Archived { .. } => Follow::Wait(Shortage::Archived),
        // An account that does not exist; or a node that proposes to sign something else.
        ChainError::Invalid(_) => Follow::Wait(Shortage::Money),
    }
}

#[cfg(test)]
mod tests {
    use stellar::ContractKind;
    use stellar::contract_error;
    use stellar_xdr::TransactionResultCode;

    use super::*;

    const KINDS: [Kind; 4] = [Kind::Open, Kind::Finalize, Kind::Void, Kind::Reclaim];

    #[test]
    fn every_result_code_of_the_network_has_one_row() {
        for code in TransactionResultCode::VARIANTS {
            let rows = RESULTS.iter().filter(|(name, _)| *name == code.name()).count();
            assert_eq!(rows, 1, "{}", code.name());
        }
        assert_eq!(result("unreadable"), Shortage::Network);
    }

    #[test]
    fn every_error_of_the_vault_has_one_row() {
        for known in contract_error::VAULT {
            let rows = VAULT.iter().filter(|row| row.name == known.name).count();
            assert_eq!(rows, 1, "{}", known.name);
        }
        assert_eq!(VAULT.len(), contract_error::VAULT.len());
    }

    #[test]
    fn what_may_pass_by_itself_never_ends_an_intent() {
        for known in contract_error::VAULT {
            let error = ContractError::new(ContractKind::Vault, known.number);
            for kind in KINDS {
                let follow = contract(kind, &error);
                if known.retryable && known.name != "UpgradeNotReady" {
                    assert!(
                        matches!(follow, Follow::Wait(_) | Follow::AskRecord),
                        "{} for {kind}: {follow:?}",
                        known.name
                    );
                }
            }
        }
        let unknown = ContractError::new(ContractKind::Vault, 9_999);
        assert_eq!(contract(Kind::Finalize, &unknown), Follow::Wait(Shortage::Network));
    }

    #[test]
    fn only_the_vault_ends_a_settlement() {
        let failures = [
            ChainError::Simulation { function: "f".into(), reason: "r".into() },
            ChainError::FeeCeiling { function: "f".into(), needed: 2, ceiling: 1 },
            ChainError::Archived { function: "f".into() },
            ChainError::Decode { what: "w".into(), why: "y".into() },
            ChainError::Transaction { hash: "h".into(), reason: "r".into() },
            ChainError::Invalid("i".into()),
            ChainError::Signer { account: "G".into(), reason: "r".into() },
            RpcError::Address("a".into()).into(),
            RpcError::Unreachable { method: "m", reason: "r".into() }.into(),
            RpcError::Refused { method: "m", code: 1, message: "r".into() }.into(),
            RpcError::Behind { method: "m", ledger: 1, least: 2 }.into(),
            RpcError::Malformed { method: "m", reason: "r".into() }.into(),
            RpcError::OtherNetwork { number: 2, theirs: "t".into() }.into(),
        ];
        for error in &failures {
            for kind in KINDS {
                assert!(matches!(preparation(kind, error), Follow::Wait(_)), "{error}");
            }
        }
        // The vault's word ends a settlement only by what is wrong with the settlement itself.
        let ending: Vec<_> = VAULT
            .iter()
            .filter(|row| row.finalize == Follow::Refused)
            .map(|row| row.name)
            .collect();
        assert_eq!(
            ending,
            ["InvalidAmount", "UsageExceedsBudget", "RunTermsMismatch", "NotAttested"]
        );
    }
}
