//! What can go wrong in a call, and the problem it is told as.

use thiserror::Error as ThisError;
use wire::Problem;

use crate::objects::StoreError;
use crate::reasons::{Class, Reason};
use crate::sealing::SealingError;

/// A call failed.
#[derive(Debug, ThisError)]
pub enum Error {
    /// It is refused, for a cause the caller can be told.
    #[error("{detail}")]
    Refused {
        /// Which kind.
        problem: Problem,
        /// What happened this time.
        detail: String,
    },
    /// The store failed.
    #[error("cannot use the store")]
    Store(#[from] StoreError),
    /// A pack was not closed.
    #[error("cannot seal the pack")]
    Sealing(#[from] SealingError),
    /// The database failed.
    #[error("cannot use the database")]
    Database(#[from] sqlx::Error),
    /// A mistake of ours.
    #[error("the service made a mistake")]
    Internal(#[source] anyhow::Error),
}

impl Error {
    /// A refusal.
    pub fn refused(problem: Problem, detail: impl Into<String>) -> Self {
        Self::Refused { problem, detail: detail.into() }
    }

    /// A mistake of ours.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self::Internal(error.into())
    }

    /// The problem it is told as.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused { problem, .. } => *problem,
            Self::Store(StoreError::Link { .. }) => Problem::DigestMismatch,
            Self::Store(StoreError::TooLarge { .. }) => Problem::PayloadTooLarge,
            Self::Store(_) | Self::Database(_) => Problem::Unavailable,
            Self::Sealing(error) => sealing_problem(error.reason()),
            Self::Internal(_) => Problem::Internal,
        }
    }

    /// The same as a gRPC status. Causes that are ours stay in the log.
    pub fn status(&self) -> tonic::Status {
        let problem = self.problem();
        match self {
            Self::Sealing(error) => problem.status(error.to_string()),
            Self::Store(error) => problem.status(format!("cannot use the store: {error}")),
            _ => problem.status(self.to_string()),
        }
    }
}

fn sealing_problem(reason: Reason) -> Problem {
    match reason {
        Reason::PackAlreadySealed => Problem::PackAlreadySealed,
        Reason::SealMismatch | Reason::ManifestMismatch | Reason::PackNotClean => {
            Problem::SealMismatch
        }
        Reason::StoreNotWriteOnce => Problem::Internal,
        other => match other.row().class {
            Class::Unverifiable => Problem::Unavailable,
            Class::Invalid | Class::Usage => Problem::SealMismatch,
        },
    }
}
