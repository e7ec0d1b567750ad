//! Errors of this crate.

use std::path::PathBuf;

/// Why a network could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalnetError {
    /// The address to listen on is taken or does not belong to this machine.
    #[error("cannot listen on {address}: {reason}")]
    Bind {
        /// Host and port that were asked for.
        address: String,
        /// What the operating system answered.
        reason: String,
    },
    /// The state directory cannot be read or written, or another process uses it.
    #[error("cannot use the state directory {path}: {reason}")]
    State {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A snapshot to revert to does not exist.
    #[error("there is no snapshot {0}: it was never taken, or a hundred others since")]
    NoSuchSnapshot(u64),
    /// A ledger snapshot cannot be read or used.
    #[error("cannot load the ledger snapshot: {0}")]
    LedgerSnapshot(String),
    /// Funding did not succeed.
    #[error("friendbot could not fund the account: {0}")]
    Friendbot(String),
    /// A rule of the network itself broke; a defect of this crate.
    #[error("the network cannot go on: {0}")]
    Internal(String),
}

/// A fault inside the network: never the caller's doing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Internal {
    /// Something could not be encoded.
    #[error(transparent)]
    Xdr(#[from] soroban_env_host::xdr::Error),
    /// The host refused what should always work.
    #[error(transparent)]
    Host(#[from] soroban_env_host::HostError),
    /// Simulation or configuration failed.
    #[error("{0}")]
    Other(String),
}

impl From<Internal> for LocalnetError {
    fn from(error: Internal) -> Self {
        Self::Internal(error.to_string())
    }
}
