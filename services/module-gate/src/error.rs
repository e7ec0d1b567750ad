//! What can go wrong here, and the one problem each of it is to a caller.

use chassis::postgres;
use thiserror::Error as ThisError;
use wire::digest::Digest;
use wire::id::AttemptKey;
use wire::problem::Problem;

/// Why a call has no statement to answer with. What is wrong with a module is no error but a
/// verdict.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The request itself cannot be served.
    #[error("{0}")]
    Invalid(String),
    /// No such module is stored.
    #[error("module {0} is not in the store: publish it first")]
    ModuleUnknown(Digest),
    /// What is stored under a digest, or was sent with it, has another one.
    #[error("{what} is not what its digest says: {detail}")]
    DigestMismatch {
        /// What was looked at.
        what: String,
        /// What was found.
        detail: String,
    },
    /// Another request is recorded under this attempt.
    #[error("attempt {} of run {} was accepted with another request", .0.attempt, .0.run)]
    Conflict(AttemptKey),
    /// There is no conclusive shipping verdict.
    #[error("module {0} has no conclusive shipping verdict: ask for one with Ship")]
    VerdictMissing(Digest),
    /// No key of this service is among those that the caller accepts.
    #[error(
        "attesters: none of them is a key that this module-gate signs with: let the agent name its \
         current key"
    )]
    NoAcceptedKey,
    /// The execution was stopped from outside before it had a result.
    #[error("the execution was interrupted: {0}; the same call starts it again")]
    Interrupted(&'static str),
    /// Disk or store failed.
    #[error("could not {doing}")]
    Host {
        /// What was attempted.
        doing: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Postgres failed.
    #[error("could not use the database")]
    Database(#[from] sqlx::Error),
}

impl Error {
    pub(crate) fn host<E>(doing: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Host { doing, source: source.into() }
    }

    /// Everything that led to it, from the nearest cause to the first.
    fn causes(&self) -> String {
        let first = std::error::Error::source(self);
        let all = std::iter::successors(first, |error| error.source());
        all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// Everything that is known of it, for the log. What the database refused is counted.
    pub(crate) fn logged(&self) -> String {
        match self {
            Self::Database(error) => {
                postgres::note(error);
                postgres::describe(error)
            }
            Self::Host { .. } => format!("{self}: {}", self.causes()),
            other => other.to_string(),
        }
    }

    /// The problem this is to a caller.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Invalid(_) => Problem::InvalidRequest,
            Self::ModuleUnknown(_) => Problem::ModuleUnknown,
            Self::DigestMismatch { .. } => Problem::DigestMismatch,
            Self::Conflict(_) => Problem::ExecutionConflict,
            // No verdict that counts for the caller, and no statement that would.
            Self::VerdictMissing(_) | Self::NoAcceptedKey => Problem::VerdictMissing,
            Self::Interrupted(_) | Self::Host { .. } => Problem::Unavailable,
            Self::Database(error) => postgres::kind(error).problem(),
        }
    }
}

impl From<Error> for tonic::Status {
    /// Logs what is this service's own trouble with its whole chain, once; callers get the
    /// sentence.
    fn from(error: Error) -> Self {
        if matches!(error, Error::Host { .. } | Error::Database(_)) {
            tracing::error!("{}", error.logged());
        }
        error.problem().status(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_of_a_failure_are_all_there() {
        let disk = std::io::Error::other(std::io::Error::other("no space is left"));
        let error = Error::host("judge the module")(disk);
        assert_eq!(error.to_string(), "could not judge the module");
        assert!(error.causes().contains("no space is left"), "{}", error.causes());
    }
}
