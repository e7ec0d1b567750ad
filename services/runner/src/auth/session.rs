//! Sessions and used challenges in Postgres. A token is good while its session is.

use chassis::postgres::{self, in_time};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{ChallengeId, Problem};

use crate::auth::{Login, Proof};
use crate::error::{Error, Result};

/// Rows removed with each login, so that the tables stay as small as their use.
const SWEPT: i64 = 100;

/// A session, as a token is made from it.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// Who logged in.
    pub subject: String,
    /// The account on the network.
    pub account: String,
    /// The challenge that was answered.
    pub challenge: ChallengeId,
    /// The number of the newest refresh token.
    pub number: i64,
    /// When it ends.
    pub expires_at: OffsetDateTime,
}

/// Begins a session with a proof that was not used before.
///
/// # Errors
///
/// [`Problem::Unauthenticated`] for a challenge that was answered already, and [`Error::Database`].
pub async fn begin(login: &Login, proof: &Proof) -> Result<Session> {
    let now = chassis::clock::now();
    let secs = i64::try_from(login.session_secs).unwrap_or(i64::MAX);
    let session = Session {
        id: chassis::clock::new_uuid(),
        subject: proof.subject.clone(),
        account: proof.account.to_string(),
        challenge: proof.challenge,
        number: 1,
        expires_at: now.saturating_add(time::Duration::seconds(secs)),
    };
    let mut tx = chassis::postgres::begin(&login.db).await?;
    // The primary key decides between two answers that arrive together.
    let until = i64::try_from(proof.expires_at).ok();
    let until = until.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()).unwrap_or(now);
    let used = sqlx::query!(
        "INSERT INTO auth_challenges (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        proof.challenge.as_bytes().as_slice(),
        until,
    );
    if used.execute(in_time(&mut *tx)).await?.rows_affected() == 0 {
        let text = "this challenge was answered already; ask for another one";
        return Err(super::refused(text));
    }
    let made = sqlx::query!(
        "INSERT INTO auth_sessions
            (id, subject, account, challenge, refresh_number, created_at, rotated_at, expires_at)
         VALUES ($1, $2, $3, $4, 1, $5, $5, $6)",
        session.id,
        session.subject,
        session.account,
        proof.challenge.as_bytes().as_slice(),
        now,
        session.expires_at,
    );
    made.execute(in_time(&mut *tx)).await?;
    sweep(&mut tx).await?;
    postgres::commit(tx).await?;
    Ok(session)
}

/// Removes what can have no effect any more: challenges that their own time refuses, and sessions
/// that ended a month ago.
async fn sweep(conn: &mut PgConnection) -> Result<()> {
    // Rows that another login removes just now are left to it.
    let challenges = sqlx::query!(
        "DELETE FROM auth_challenges WHERE digest IN (SELECT digest FROM auth_challenges
            WHERE expires_at < now() - interval '1 hour' LIMIT $1 FOR UPDATE SKIP LOCKED)",
        SWEPT,
    );
    challenges.execute(in_time(&mut *conn)).await?;
    let sessions = sqlx::query!(
        "DELETE FROM auth_sessions WHERE id IN (SELECT id FROM auth_sessions
            WHERE expires_at < now() - interval '30 days' LIMIT $1 FOR UPDATE SKIP LOCKED)",
        SWEPT,
    );
    sessions.execute(in_time(conn)).await?;
    Ok(())
}

/// The account of a session that is neither revoked nor over.
///
/// # Errors
///
/// [`Problem::Unauthenticated`], and [`Error::Database`]: what cannot be looked up is not accepted.
pub async fn account(db: &PgPool, id: Uuid) -> Result<String> {
    let account = sqlx::query_scalar!(
        "SELECT account FROM auth_sessions
         WHERE id = $1 AND revoked_at IS NULL AND expires_at > now()",
        id,
    );
    account.fetch_optional(in_time(db)).await?.ok_or_else(ended)
}

/// Exchanges a refresh token for the next one. For a minute the one before the newest is still
/// answered, with the same newest one: a client that lost an answer may ask again.
///
/// # Errors
///
/// [`Problem::Unauthenticated`] for a session that is over. An old refresh token revokes its
/// session: either its owner or a thief holds a newer one, and nothing shows which.
pub async fn rotate(db: &PgPool, id: Uuid, number: i64) -> Result<Session> {
    let mut tx = chassis::postgres::begin(db).await?;
    // Locked: two clients that refresh together are answered one after the other.
    let row = sqlx::query!(
        r#"SELECT subject, account, challenge, refresh_number, expires_at,
               rotated_at > now() - interval '60 seconds' AS "is_recent!"
           FROM auth_sessions
           WHERE id = $1 AND revoked_at IS NULL AND expires_at > now() FOR UPDATE"#,
        id,
    );
    let row = row.fetch_optional(in_time(&mut *tx)).await?.ok_or_else(ended)?;
    let newest = row.refresh_number;
    // 1: the client lost the answer and asks again; more: somebody holds an old one.
    let next = match newest - number {
        0 => newest + 1,
        1 if row.is_recent => newest,
        _ => {
            let revoked =
                sqlx::query!("UPDATE auth_sessions SET revoked_at = now() WHERE id = $1", id);
            revoked.execute(in_time(&mut *tx)).await?;
            postgres::commit(tx).await?;
            tracing::warn!("an old refresh token was used; its session {id} is revoked");
            return Err(ended());
        }
    };
    if next != newest {
        let rotated = sqlx::query!(
            "UPDATE auth_sessions SET refresh_number = $2, rotated_at = now() WHERE id = $1",
            id,
            next,
        );
        rotated.execute(in_time(&mut *tx)).await?;
    }
    postgres::commit(tx).await?;
    let challenge = ChallengeId::try_from(row.challenge.as_slice())
        .map_err(|_| Error::Broken("a session's challenge has not 32 bytes".to_owned()))?;
    Ok(Session {
        id,
        subject: row.subject,
        account: row.account,
        challenge,
        number: next,
        expires_at: row.expires_at,
    })
}

/// Revokes one session.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn revoke(db: &PgPool, id: Uuid) -> Result<()> {
    let revoked = sqlx::query!(
        "UPDATE auth_sessions SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL",
        id,
    );
    revoked.execute(in_time(db)).await?;
    Ok(())
}

/// Revokes every session of a subject (`G…`, `M…`, `G…:memo`, `C…`). Answers how many there were.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn revoke_all(db: &PgPool, subject: &str) -> Result<u64> {
    let revoked = sqlx::query!(
        "UPDATE auth_sessions SET revoked_at = now()
         WHERE subject = $1 AND revoked_at IS NULL AND expires_at > now()",
        subject,
    );
    Ok(revoked.execute(in_time(db)).await?.rows_affected())
}

/// The subject of a session, revoked or not.
///
/// # Errors
///
/// [`Problem::Unauthenticated`] when there is none, [`Error::Database`].
pub async fn subject(db: &PgPool, id: Uuid) -> Result<String> {
    let subject = sqlx::query_scalar!("SELECT subject FROM auth_sessions WHERE id = $1", id);
    subject.fetch_optional(in_time(db)).await?.ok_or_else(ended)
}

fn ended() -> Error {
    Error::refused(Problem::Unauthenticated, "the session has ended; log in again")
}
