//! What can go wrong in a call, and the problem it is reported as.

use chassis::postgres;
use thiserror::Error as ThisError;
use wire::Problem;

use crate::objects::StoreError;
use crate::reasons::{Class, Reason};
use crate::sealing::SealingError;

/// A call failed.
#[derive(Debug, ThisError)]
pub enum Error {
    /// It is refused, for a cause that is reported to the caller.
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
    #[error("internal error")]
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

    /// The problem it is reported as.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused { problem, .. } => *problem,
            Self::Store(error) => store_problem(error),
            Self::Database(error) => postgres::kind(error).problem(),
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

/// What a caller may do about a failure of the store. A caller that repeats what can never succeed
/// holds a user's escrow until its deadline, so what is terminal is a terminal problem. What only
/// lacks something of the operator's (a role, a key, a clock, a bucket) is waited for (R16).
fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Link { .. } => Problem::DigestMismatch,
        StoreError::Name { .. } => Problem::StatementInvalid,
        StoreError::TooLarge { .. } => Problem::PayloadTooLarge,
        StoreError::Unsupported { .. } => Problem::SealMismatch,
        StoreError::Denied { .. }
        | StoreError::Refused { .. }
        | StoreError::Timeout { .. }
        | StoreError::Throttled { .. }
        | StoreError::Conflict { .. }
        | StoreError::Changed { .. }
        | StoreError::Unavailable { .. } => Problem::Unavailable,
    }
}

fn sealing_problem(reason: Reason) -> Problem {
    match reason {
        // Whatever the store says is the same to a caller, in sealing and elsewhere.
        Reason::LinkRefused => Problem::DigestMismatch,
        Reason::NameRefused => Problem::StatementInvalid,
        Reason::ObjectTooLarge => Problem::PayloadTooLarge,
        Reason::PackAlreadySealed => Problem::PackAlreadySealed,
        Reason::SealMismatch | Reason::ManifestMismatch | Reason::PackNotClean => {
            Problem::SealMismatch
        }
        // No repetition makes a store write-once: the run ends, its escrow goes back.
        Reason::StoreNotWriteOnce => Problem::SealMismatch,
        other => match other.row().class {
            Class::Unverifiable => Problem::Unavailable,
            Class::Invalid | Class::Usage => Problem::SealMismatch,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> String {
        "packs/a".to_owned()
    }

    #[test]
    fn each_terminal_failure_of_the_store_is_reported_as_terminal() {
        let name = StoreError::Name { path: path(), cause: "too long".to_owned() };
        let terminal = [
            StoreError::Link { path: path() },
            name,
            StoreError::TooLarge { path: path(), most: 1 },
            StoreError::Unsupported { path: path() },
        ];
        for error in terminal {
            let text = error.to_string();
            let sealing = Error::Sealing(SealingError::Store(error)).problem();
            assert!(!sealing.row().retryable, "sealing, {text}");
            assert!(!matches!(sealing, Problem::Internal | Problem::Forbidden), "{text}");
        }
        for error in [StoreError::Link { path: path() }, StoreError::Unsupported { path: path() }] {
            assert!(!Error::Store(error).problem().row().retryable);
        }
        for error in [StoreError::Timeout { path: path() }, StoreError::Denied { path: path() }] {
            assert!(Error::Store(error).problem().row().retryable);
        }
    }

    #[test]
    fn every_reason_that_is_terminal_for_a_pack_is_terminal_for_its_run() {
        for reason in crate::reasons::ALL {
            let row = reason.row();
            let problem = sealing_problem(*reason).row();
            if row.class == Class::Invalid {
                assert!(!problem.retryable, "{}", row.code);
            }
            if row.retryable {
                assert!(problem.retryable, "{}", row.code);
            }
        }
    }
}
