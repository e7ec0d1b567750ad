//! How a command can fail, and the exit code that follows (C1).

use std::fmt;

use stellar::{ChainError, RpcError};

/// A failed command: one line for a person, one number for the shell.
#[derive(Debug)]
pub enum CliError {
    /// Exit code 1: the subject is bad, or the chain or gateway refused.
    Bad(String),
    /// Exit code 2: nothing is known about the subject. Says whether to try again.
    Unknown(String),
    /// Exit code 2: the network's node did not answer. Its address is added where it is known.
    Node(String),
    /// Exit code 3: wrong usage or configuration.
    Usage(String),
}

/// What a command answers.
pub type Result<T> = std::result::Result<T, CliError>;

impl CliError {
    /// C1's number.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Bad(_) => 1,
            Self::Unknown(_) | Self::Node(_) => 2,
            Self::Usage(_) => 3,
        }
    }

    /// The name of its kind in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Bad(_) => "bad",
            Self::Unknown(_) | Self::Node(_) => "unknown",
            Self::Usage(_) => "usage",
        }
    }

    /// The failure with the node's address, if it is about the node.
    pub fn at_node(self, node: &str) -> Self {
        match self {
            Self::Node(reason) => Self::Unknown(format!(
                "cannot reach the node {node}: {reason}; start it, or correct its address"
            )),
            other => other,
        }
    }

    /// Usage or configuration that cannot work.
    pub fn usage(reason: impl Into<String>) -> Self {
        Self::Usage(reason.into())
    }

    /// The subject is bad.
    pub fn bad(reason: impl Into<String>) -> Self {
        Self::Bad(reason.into())
    }

    /// Nothing is known; `what` could not be done because of `error`.
    pub fn unknown(what: &str, error: impl fmt::Display) -> Self {
        Self::Unknown(format!("{what}: {error}"))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(reason)
            | Self::Unknown(reason)
            | Self::Node(reason)
            | Self::Usage(reason) => f.write_str(reason),
        }
    }
}

impl From<ChainError> for CliError {
    fn from(error: ChainError) -> Self {
        let text = error.to_string();
        match error {
            // Without the address, which `at_node` adds where the setting that names it is known.
            ChainError::Rpc(RpcError::Unreachable { reason, .. }) => Self::Node(reason),
            ChainError::Rpc(RpcError::Address(_)) | ChainError::Invalid(_) => Self::Usage(text),
            // A node that answers nonsense says nothing about the subject.
            ChainError::Rpc(_) | ChainError::Decode { .. } | ChainError::Signer { .. } => {
                Self::Unknown(text)
            }
            ChainError::Contract { .. }
            | ChainError::Simulation { .. }
            | ChainError::FeeCeiling { .. }
            | ChainError::Archived { .. }
            | ChainError::Transaction { .. } => Self::Bad(text),
        }
    }
}

impl From<RpcError> for CliError {
    fn from(error: RpcError) -> Self {
        ChainError::from(error).into()
    }
}

impl From<tonic::Status> for CliError {
    fn from(status: tonic::Status) -> Self {
        use tonic::Code;
        let text = format!("{} ({:?})", status.message(), status.code());
        match status.code() {
            // The call may have been carried out or not: gates take a repeated one (R11).
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::Unknown
            | Code::Cancelled => Self::Unknown(format!("{text}; try again")),
            Code::Unauthenticated | Code::PermissionDenied => {
                Self::Usage(format!("{text}; check the token"))
            }
            _ => Self::Bad(text),
        }
    }
}
