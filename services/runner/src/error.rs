//! Everything that can go wrong here, sorted by what the other side can do about it.

use chassis::postgres::{self, Kind};
use wire::problem::{Issue, ProblemBody, tombstone_of};
use wire::{Problem, RunId};

/// What this service's functions answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// After how many seconds a caller may ask again whom a pause of the intake has refused. A pause has
/// no known end.
const PAUSED_RETRY_AFTER_SECS: u64 = 30;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another worker has the run by now, or it is in another phase than expected (R1). Stop.
    #[error("run {0} is held by another worker, or has moved on")]
    LeaseLost(RunId),
    /// Another process holds the channel by now (R17). Stop.
    #[error("the channel {0} is held by another process")]
    ChannelLost(String),
    /// A call was called off, or judged by another process, meanwhile (R17). Look again.
    #[error("a call has changed meanwhile")]
    CallGone,
    /// The database did not do it.
    #[error("{}", postgres::kind(.0).words())]
    Database(#[from] sqlx::Error),
    /// The chain did not answer, or refused.
    #[error(transparent)]
    Chain(#[from] stellar::ChainError),
    /// A gate did not answer, or refused.
    #[error("{gate} answered {code:?}: {message}")]
    Gate {
        /// Which one.
        gate: &'static str,
        /// The gRPC code.
        code: tonic::Code,
        /// Its words.
        message: String,
        /// The refusal by its name, if it is one of ours.
        problem: Option<Problem>,
    },
    /// module-gate took a schema that this release cannot use. No repetition changes that.
    #[error("the module's schema of inputs cannot be used by this release: {0}")]
    SchemaUnusable(String),
    /// The network's history is not the one this service has lived in (R13). Stop the service.
    #[error("{0}")]
    NetworkReset(String),
    /// The caller asked for something that can't be done.
    #[error("{detail}")]
    Refused {
        /// Which kind of refusal.
        problem: Problem,
        /// What happened this time.
        detail: String,
        /// Every mistake of the request.
        issues: Vec<Issue>,
    },
    /// As many runs wait as can be served before their deadlines.
    #[error("{waiting} runs wait, and no more can be served in time")]
    QueueFull {
        /// How many wait.
        waiting: u64,
        /// When there will be room, in seconds.
        retry_after_secs: u64,
    },
    /// An operator has paused the intake that the run would come by.
    #[error("{whose} are paused: {reason}")]
    IntakePaused {
        /// Whose new runs are refused.
        whose: String,
        /// Why, in the operator's words.
        reason: String,
    },
    /// The caller makes more requests than it may.
    #[error("{whose} makes too many requests")]
    TooManyRequests {
        /// Whose requests are counted.
        whose: &'static str,
        /// When the next one is taken, in seconds.
        retry_after_secs: u64,
    },
    /// A temporary refusal with an estimated `Retry-After`.
    #[error("{detail}")]
    Later {
        /// Which kind of refusal.
        problem: Problem,
        /// What happened this time.
        detail: String,
        /// When to try again, in seconds.
        retry_after_secs: u64,
    },
    /// An invariant of this code does not hold.
    #[error("{0}")]
    Broken(String),
}

impl Error {
    /// A refusal without a list of mistakes.
    pub fn refused(problem: Problem, detail: impl Into<String>) -> Self {
        Self::Refused { problem, detail: detail.into(), issues: Vec::new() }
    }

    /// A refusal that ends without any action after about so many seconds.
    pub fn later(problem: Problem, detail: impl Into<String>, retry_after_secs: u64) -> Self {
        Self::Later { problem, detail: detail.into(), retry_after_secs }
    }

    /// When the same request may succeed, in seconds, if it may.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::QueueFull { retry_after_secs, .. }
            | Self::TooManyRequests { retry_after_secs, .. }
            | Self::Later { retry_after_secs, .. } => Some(*retry_after_secs),
            Self::IntakePaused { .. } => Some(PAUSED_RETRY_AFTER_SECS),
            _ => None,
        }
    }

    /// Everything that is known of it, for the log of a task that no caller waits for. What the
    /// database refused is counted.
    pub fn logged(&self) -> String {
        match self {
            Self::Database(error) => {
                postgres::note(error);
                postgres::describe(error)
            }
            other => other.to_string(),
        }
    }

    /// A gate's answer, made an error.
    pub fn gate(gate: &'static str, status: &tonic::Status) -> Self {
        let problem = Problem::of(status);
        Self::Gate { gate, code: status.code(), message: status.message().to_owned(), problem }
    }

    /// The problem as the outside sees it, logged once if it is ours. Nothing inner leaves (R9).
    pub fn problem(self) -> (Problem, ProblemBody) {
        let (problem, detail) = match self {
            Self::Refused { problem, detail, issues } => {
                return (problem, problem.body(detail).with_issues(issues));
            }
            Self::Later { problem, detail, .. } => return (problem, problem.body(detail)),
            Self::QueueFull { waiting, retry_after_secs } => {
                let text = format!(
                    "{waiting} runs wait, and no more can be served before their deadlines; try \
                     again in {retry_after_secs} seconds"
                );
                return (Problem::RateLimited, Problem::RateLimited.body(text));
            }
            Self::TooManyRequests { whose, retry_after_secs } => {
                let text = format!(
                    "{whose} makes more requests than it may; try again in {retry_after_secs} \
                     seconds"
                );
                return (Problem::RateLimited, Problem::RateLimited.body(text));
            }
            Self::IntakePaused { whose, reason } => {
                let text = format!(
                    "{whose} are paused by the operator ({reason}); runs that were accepted go on; \
                     try again later"
                );
                return (Problem::IntakePaused, Problem::IntakePaused.body(text));
            }
            Self::Database(error) => database(&error),
            Self::Chain(error) => {
                tracing::warn!("the chain did not answer: {error}");
                (Problem::Unavailable, "the network did not answer; try again")
            }
            Self::Gate { gate, message, problem: Some(problem), .. }
                if !problem.row().retryable =>
            {
                // Of a gate's own words only a tombstone leaves: its reader has to learn that the
                // files are withheld by a decision, whose, and why.
                let is_tombstone =
                    problem == Problem::CheckFailed && tombstone_of(&message).is_some();
                let detail = match is_tombstone {
                    true => message,
                    false => format!("{gate} refused: {}", problem.row().title),
                };
                return (problem, problem.body(detail));
            }
            Self::Gate { gate, message, .. } => {
                tracing::warn!("{gate} did not answer: {message}");
                (Problem::Unavailable, "a gate did not answer; try again")
            }
            Self::SchemaUnusable(why) => {
                tracing::warn!("a module's schema cannot be used: {why}");
                (Problem::Internal, "the module's schema cannot be used by this runner's release")
            }
            Self::LeaseLost(_) | Self::ChannelLost(_) | Self::CallGone => {
                (Problem::Conflict, "the run was changed while the request was answered; try again")
            }
            Self::NetworkReset(text) | Self::Broken(text) => {
                tracing::error!("{text}");
                (Problem::Internal, "the runner could not do it; its log says why")
            }
        };
        (problem, problem.body(detail))
    }
}

/// What went wrong with the database, logged and counted by its kind: an outage, a lock that
/// another keeps and a mistake of ours concern different people.
pub fn database(error: &sqlx::Error) -> (Problem, &'static str) {
    let kind = postgres::note(error);
    tracing::error!(kind = kind.name(), "{}", postgres::describe(error));
    match kind {
        Kind::Outage | Kind::Unwritable | Kind::Exhausted | Kind::Timeout => {
            (Problem::Unavailable, "the runner's database did not answer; try again")
        }
        Kind::Lock | Kind::Duplicate => {
            (Problem::Conflict, "another request is changing the same thing; try again")
        }
        // What a caller sent is checked before it gets here. Should something slip through, it is
        // still the caller's to change, and no repetition helps.
        Kind::InvalidText => {
            (Problem::InvalidRequest, "the request holds text that the database cannot store")
        }
        Kind::Other => (Problem::Internal, "the runner could not do it; its log says why"),
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        let retry_after = error.retry_after().map(std::time::Duration::from_secs);
        let (problem, body) = error.problem();
        problem.status_of(&body, retry_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> String {
        let status = Problem::CheckFailed.status(message);
        let (problem, body) = Error::gate("oracle-gate", &status).problem();
        assert_eq!(problem, Problem::CheckFailed);
        body.detail
    }

    #[test]
    fn a_tombstone_is_named_to_the_caller_and_nothing_else_that_a_gate_says() {
        let tombstone = "PACK_TOMBSTONED: LEGAL_ORDER, by the court, 2026-12-01";
        assert_eq!(refused(tombstone), tombstone);
        for inner in ["packs/a/outputs/x is gone", "PACK_TOMBSTONED", "PACK_TOMBSTONED: "] {
            let title = "oracle-gate refused: The facts view does not pass its check";
            assert_eq!(refused(inner), title, "{inner:?}");
        }
        let other = Problem::SealMismatch.status(tombstone);
        let (_, body) = Error::gate("oracle-gate", &other).problem();
        assert_eq!(body.detail, "oracle-gate refused: The existing seal has other content");
    }
}
