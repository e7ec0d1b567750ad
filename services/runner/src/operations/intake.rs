//! Pauses of the intake: an operator stops new runs of everybody, of one agent or of one user, and
//! resumes them. Runs that were accepted go on.
//!
//! A pause is a row, and the process that accepts a run reads the rows in the transaction that
//! accepts it (the function `accept_runs` of the database), under a shared lock that a pause takes
//! alone. So once a pause is committed, no process accepts a run that it covers, not even one whose
//! request was on its way.

use std::fmt;

use chassis::postgres::{self, in_time};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use stellar::Address;
use time::OffsetDateTime;
use wire::Problem;
use wire::view::milliseconds;

use crate::error::{Error, Result};

/// The most characters of a reason.
pub const LONGEST_REASON: usize = 500;

/// The advisory lock between processes that accept runs, which share it, and the command that
/// pauses them. The function `accept_runs` of the database names it, too.
const LOCK: i64 = 0x6c75_6d69_6f5f_696e;

/// Whose new runs a pause is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    All,
    /// Those of one agent.
    Agent(u32),
    /// Those of one user.
    User(String),
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseView {
    /// Whose new runs: `all`, `agent` or `user`.
    pub scope: String,
    /// The agent's number or the user's account; absent for everybody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Why, in the operator's words. Callers who are refused are shown it.
    pub reason: String,
    /// The operator's account, or `command line`; only for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<String>,
    /// Since when.
    #[serde(with = "milliseconds")]
    pub paused_at: OffsetDateTime,
}

impl Scope {
    /// The scope of an order that names an agent, a user or neither.
    ///
    /// # Errors
    ///
    /// [`Problem::InvalidRequest`] when it names both, or a user who is no address.
    pub fn read(agent: Option<u32>, user: Option<&str>) -> Result<Self> {
        let invalid = |text: &str| Error::refused(Problem::InvalidRequest, text);
        match (agent, user) {
            (None, None) => Ok(Self::All),
            (Some(agent), None) => Ok(Self::Agent(agent)),
            (None, Some(user)) => match user.parse::<Address>() {
                Ok(address) => Ok(Self::User(address.to_string())),
                Err(_) => Err(invalid("user: expected an account (G…) or a contract (C…)")),
            },
            (Some(_), Some(_)) => {
                Err(invalid("expected an agent or a user, found both: pause them one by one"))
            }
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Agent(_) => "agent",
            Self::User(_) => "user",
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::All => String::new(),
            Self::Agent(agent) => agent.to_string(),
            Self::User(user) => user.clone(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("new runs"),
            Self::Agent(agent) => write!(f, "new runs of agent {agent}"),
            Self::User(user) => write!(f, "new runs of {user}"),
        }
    }
}

/// A reason that can be stored and shown.
///
/// # Errors
///
/// [`Problem::InvalidRequest`].
pub fn read_reason(text: Option<&str>) -> Result<String> {
    let text = text.map_or("no reason was given", str::trim);
    if text.is_empty() || text.chars().count() > LONGEST_REASON || text.contains(char::is_control) {
        let text =
            format!("reason: expected 1 to {LONGEST_REASON} characters without control characters");
        return Err(Error::refused(Problem::InvalidRequest, text));
    }
    Ok(text.to_owned())
}

/// Pauses new runs from now on; of what is paused already, the reason is replaced. When this
/// returns, no process accepts a run that the pause covers.
///
/// # Errors
///
/// When the database does not answer.
pub async fn pause(db: &PgPool, scope: &Scope, reason: &str, by: &str) -> Result<()> {
    let mut tx = chassis::postgres::begin(db).await?;
    // Waits for those who are accepting a run right now: they looked before this row was there.
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).fetch_one(in_time(&mut *tx)).await?;
    sqlx::query!(
        "INSERT INTO intake_pauses (scope, subject, reason, paused_by) VALUES ($1, $2, $3, $4)
         ON CONFLICT (scope, subject) DO UPDATE SET reason = EXCLUDED.reason,
            paused_by = EXCLUDED.paused_by",
        scope.name(),
        scope.subject(),
        reason,
        by,
    )
    .execute(in_time(&mut *tx))
    .await?;
    postgres::commit(tx).await?;
    tracing::warn!(by, "{scope} are paused: {reason}");
    Ok(())
}

/// Accepts new runs again. `false` if this very scope was not paused; other pauses go on.
///
/// # Errors
///
/// When the database does not answer.
pub async fn resume(db: &PgPool, scope: &Scope, by: &str) -> Result<bool> {
    let done = sqlx::query!(
        "DELETE FROM intake_pauses WHERE scope = $1 AND subject = $2",
        scope.name(),
        scope.subject(),
    );
    let was_paused = done.execute(in_time(db)).await?.rows_affected() == 1;
    if was_paused {
        tracing::warn!(by, "{scope} are accepted again");
    }
    Ok(was_paused)
}

/// All pauses, the widest first.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(db: &PgPool) -> Result<Vec<PauseView>> {
    let rows = sqlx::query!(
        "SELECT scope, subject, reason, paused_by, paused_at FROM intake_pauses
         ORDER BY scope <> 'all', scope, paused_at, subject LIMIT 1000"
    );
    let rows = rows.fetch_all(in_time(db)).await?.into_iter();
    Ok(rows
        .map(|row| PauseView {
            scope: row.scope,
            subject: Some(row.subject).filter(|subject| !subject.is_empty()),
            reason: row.reason,
            paused_by: Some(row.paused_by),
            paused_at: row.paused_at,
        })
        .collect())
}

/// Refuses a run of this user and agent whose intake is paused. No pause that covers it begins
/// before the caller's transaction has ended.
///
/// # Errors
///
/// [`Error::IntakePaused`], with the widest pause.
pub async fn check(conn: &mut PgConnection, user: Address, agent: u32) -> Result<()> {
    // A statement of its own: what the next one sees begins after the lock is held.
    sqlx::query!("SELECT pg_advisory_xact_lock_shared($1)", LOCK)
        .fetch_one(in_time(&mut *conn))
        .await?;
    let paused = sqlx::query!(
        "SELECT scope, reason FROM intake_pauses WHERE scope = 'all'
            OR (scope = 'agent' AND subject = $1) OR (scope = 'user' AND subject = $2)
         ORDER BY scope <> 'all', scope LIMIT 1",
        agent.to_string(),
        user.to_string(),
    );
    let Some(found) = paused.fetch_optional(in_time(conn)).await? else { return Ok(()) };
    Err(paused_by(&found.scope, agent, found.reason))
}

/// The refusal of a run of this agent by a pause of this scope.
pub fn paused_by(scope: &str, agent: u32, reason: String) -> Error {
    let whose = match scope {
        "agent" => format!("new runs of agent {agent}"),
        "user" => "new runs of this account".to_owned(),
        _ => "new runs".to_owned(),
    };
    Error::IntakePaused { whose, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_about_one_thing() {
        let user = Address::Account([7; 32]).to_string();
        assert_eq!(Scope::read(None, None).unwrap(), Scope::All);
        assert_eq!(Scope::read(Some(3), None).unwrap(), Scope::Agent(3));
        assert_eq!(Scope::read(None, Some(&user)).unwrap(), Scope::User(user.clone()));
        assert!(Scope::read(Some(3), Some(&user)).is_err());
        assert!(Scope::read(None, Some("somebody")).is_err());
    }

    #[test]
    fn a_reason_can_be_shown() {
        assert_eq!(read_reason(Some(" upgrade ")).unwrap(), "upgrade");
        assert!(read_reason(None).is_ok());
        for wrong in ["", " ", "a\nb", &"x".repeat(501)] {
            assert!(read_reason(Some(wrong)).is_err(), "{wrong:?}");
        }
    }
}
