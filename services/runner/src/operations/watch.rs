//! What an operator watches: how much waits and for what, and what the channels have.

use std::collections::BTreeMap;

use chassis::postgres::in_time;
use sqlx::{PgConnection, PgPool};
use stellar::{Address, Rpc};

use crate::chain::store::channels;
use crate::error::Result;
use crate::metrics;

/// What waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Unfinished runs by status.
    pub by_status: BTreeMap<String, u64>,
    /// Runs that only an operator can go on with.
    pub unknown: u64,
    /// Runs past their deadline whose escrow is open.
    pub overdue_escrows: u64,
}

/// Counts what waits. Only unfinished runs are read, by their index.
///
/// # Errors
///
/// When the database does not answer.
pub async fn waiting(db: &PgPool) -> Result<Waiting> {
    let rows = sqlx::query!(
        r#"SELECT r.status, count(*) AS "count!",
            count(*) FILTER (WHERE r.operator_reason IS NOT NULL) AS "unknown!",
            count(*) FILTER (WHERE a.escrow = 'open'
                AND a.deadline < (SELECT max(closed_at) FROM networks)) AS "overdue!"
           FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
           WHERE r.phase <> 'done' GROUP BY r.status"#
    );
    let mut waiting = Waiting::default();
    for row in rows.fetch_all(in_time(db)).await? {
        waiting.unknown += row.unknown.unsigned_abs();
        waiting.overdue_escrows += row.overdue.unsigned_abs();
        waiting.by_status.insert(row.status, row.count.unsigned_abs());
    }
    Ok(waiting)
}

/// The session that has kept locks on runs for longest, if one has for more than a few seconds, in
/// words. It reads no table of runs, so that it answers whatever is locked.
///
/// # Errors
///
/// When the database does not answer.
pub async fn oldest_lock(conn: &mut PgConnection) -> Result<Option<String>> {
    // Readers block no writer, and what this service does takes a moment. A session that waits itself
    // is not the one to end.
    let found = sqlx::query!(
        r#"SELECT a.pid AS "pid!", coalesce(a.application_name, '') AS "name!",
            coalesce(a.state, 'unknown') AS "state!",
            extract(epoch FROM now() - a.xact_start)::bigint AS "seconds!"
           FROM pg_stat_activity a
           WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
             AND a.xact_start < now() - interval '5 seconds'
             AND EXISTS (SELECT 1 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                WHERE l.pid = a.pid AND l.granted AND c.relname IN ('runs', 'attempts', 'calls')
                    AND l.mode <> 'AccessShareLock')
           ORDER BY cardinality(pg_blocking_pids(a.pid)) > 0, a.xact_start LIMIT 1"#,
    );
    Ok(found.fetch_optional(in_time(conn)).await?.map(|row| {
        format!(
            "session {} of Postgres ({}{}) has kept locks on runs for {} s; end it with \
             pg_terminate_backend({0}) if it is not needed",
            row.pid,
            row.state,
            if row.name.is_empty() { String::new() } else { format!(", {}", row.name) },
            row.seconds
        )
    }))
}

/// Reads what the channels have, records it, and says whether it is enough.
///
/// # Errors
///
/// The accounts that have less than `least` stroops or do not exist, or that the node did not
/// answer.
pub async fn channels(
    (db, rpc): (Option<&PgPool>, &Rpc),
    own: &[Address],
    least: i64,
) -> Result<(), String> {
    let payers: Vec<String> = own.iter().map(Address::to_string).collect();
    let mut added = Vec::new();
    if let Some(db) = db {
        added = channels::served(db, &payers).await.map_err(|error| error.to_string())?;
    }
    let added = added.iter().filter_map(|channel| channel.account.parse().ok());
    let accounts: Vec<Address> = own.iter().copied().chain(added).collect();
    let mut found = Vec::with_capacity(accounts.len());
    // A request takes 200 keys.
    for some in accounts.chunks(200) {
        found.extend(rpc.accounts(some).await.map_err(|error| error.to_string())?);
    }
    let mut low = Vec::new();
    for (account, state) in accounts.iter().zip(found) {
        let balance = state.map_or(0, |state| state.balance);
        metrics::record_channel(&account.to_string(), balance);
        match state {
            None => low.push(format!("{account} does not exist")),
            Some(_) if balance < least => {
                low.push(format!("{account} has {balance} stroops, expected {least} or more"));
            }
            Some(_) => {}
        }
    }
    if low.is_empty() {
        return Ok(());
    }
    Err(format!("{}: pay XLM to it", low.join("; ")))
}
