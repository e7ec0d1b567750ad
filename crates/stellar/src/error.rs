//! What can go wrong between us and the chain.

use crate::{ContractError, RpcError};

/// Why a chain operation did not give an answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The RPC could not be asked, or its answer was no answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A contract refused, by one of its numbered errors.
    #[error("{function}: {error}")]
    Contract {
        /// The function that was called.
        function: String,
        /// Which contract refused, and how.
        error: ContractError,
    },
    /// Simulation failed for a reason that no contract of ours gave.
    #[error("{function}: the simulation failed: {reason}")]
    Simulation {
        /// The function that was called.
        function: String,
        /// What the host said, shortened.
        reason: String,
    },
    /// The fee would pass the ceiling that was set; nothing was signed.
    #[error(
        "{function}: the fee of {needed} stroops passes the ceiling of {ceiling}; raise the \
         ceiling or wait for lower fees"
    )]
    FeeCeiling {
        /// The function that was called.
        function: String,
        /// Stroops it would take.
        needed: u64,
        /// Stroops that are allowed.
        ceiling: u64,
    },
    /// An entry that the call needs is archived and has to be restored first.
    #[error("{function}: an entry it needs is archived; restore it first, then try again")]
    Archived {
        /// The function that was called.
        function: String,
    },
    /// A value from the chain is not what it should be.
    #[error("cannot read {what}: {why}")]
    Decode {
        /// What was being read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A transaction was applied and failed, was rejected, or did not appear in time.
    #[error("transaction {hash}: {reason}")]
    Transaction {
        /// Its hash, 64 hex digits.
        hash: String,
        /// What happened to it.
        reason: String,
    },
    /// Whatever holds an account's key gave no signature; nothing was signed.
    #[error("{account} does not sign: {reason}")]
    Signer {
        /// The account.
        account: String,
        /// Why, and what to do.
        reason: String,
    },
    /// An argument that cannot be used.
    #[error("{0}")]
    Invalid(String),
}

impl ChainError {
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }

    pub(crate) fn encode(what: &str) -> Self {
        Self::Invalid(format!("{what} is too large for its XDR form"))
    }

    pub(crate) fn decode(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Decode { what: what.into(), why: why.to_string() }
    }

    /// The refusal of a contract, where that is what happened.
    pub const fn contract(&self) -> Option<&ContractError> {
        match self {
            Self::Contract { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether nothing is known about the subject, so that asking again later may help (C1: exit
    /// code 2).
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Rpc(_) | Self::Signer { .. })
    }
}
