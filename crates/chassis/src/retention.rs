//! A service that removes an entity removes here what is stored about that entity.

use sqlx::PgConnection;

use crate::postgres::in_time;

/// Forgets how many facts were published about these entities, in the caller's transaction. How many
/// of them were known is answered.
///
/// Only for entities that are gone and do not come back under their keys: a further fact about one
/// would be numbered from 1 again, and taken for the one that had its id before.
///
/// # Errors
///
/// When the database does not answer.
pub async fn forget(conn: &mut PgConnection, keys: &[String]) -> sqlx::Result<u64> {
    let forgotten = sqlx::query!("DELETE FROM outbox_sequences WHERE key = ANY($1)", keys);
    Ok(forgotten.execute(in_time(conn)).await?.rows_affected())
}
