//! `runner export` and `runner restore`: everything that Postgres holds of runs in one file, and a
//! lost database made again from it.
//!
//! A file is older than the loss. What happened in between is not in it: runs were accepted, opened
//! and settled. So nothing that a file brings back is worked on before it is proven what became of
//! it: every unfinished run is held, the contracts' events since the export are read, and
//! [`judge`] compares them with what was restored. Runs that only the lost database knew are found
//! by the escrow that the vault holds of them.
//!
//! The file is lines of JSON: a header, one line a row as Postgres itself writes it (so that no
//! number and no text of a caller is read on the way), and a last line that counts them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chassis::postgres::{self, in_time};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use stellar::ids::{self, RunIdentity};
use stellar::{Address, Network, Rpc};
use time::OffsetDateTime;
use wire::event::{Fact, Opened};
use wire::view::milliseconds;
use wire::{NetworkId, Nonce, RunId};

use crate::event_reader::EventReader;
use crate::operations::reconcile::{self, Reconciler, Reconciliation};
use crate::runs::store;
use crate::sight::{Followed, attempts};

/// What the header calls itself.
const KIND: &str = "lumio-runner-export-v1";
/// Tables that belong to a database and not to its runs: logins are made again, and the schema is
/// this release's.
const LEFT_OUT: [&str; 5] =
    ["_sqlx_migrations", "_chassis_migrations", "auth_challenges", "auth_sessions", "sources"];
/// Rows and bytes of one statement of a restore.
const MOST_ROWS: usize = 500;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// How far positions of events are moved on, so that none that was given after the export is given
/// again.
const POSITIONS_APART: i64 = 1_000_000;
/// The beginning of the reason for which restored runs are held.
const HELD: &str = "restored from an export";

/// Whose runs a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    kind: String,
    /// Of the network's passphrase.
    network: NetworkId,
    vault: String,
    registry: String,
    runner: String,
    #[serde(with = "milliseconds")]
    exported_at: OffsetDateTime,
    /// The migrations of the database, so that a newer file is refused.
    migrations: Vec<i64>,
}

/// One row of a table.
#[derive(Deserialize)]
struct Row<'a> {
    table: &'a str,
    #[serde(borrow)]
    row: &'a RawValue,
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct End {
    rows: u64,
}

/// How many rows of each table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tables {
    /// By the table's name.
    pub rows: BTreeMap<String, u64>,
}

/// What became of the runs that were restored.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// Runs of which it turned out that they were opened after the export.
    pub opened_since: u64,
    /// Runs of which it is proven that they were not opened: workers take them.
    pub resumed: u64,
    /// Runs of which nothing is known: they wait for an operator.
    pub unknown: u64,
    /// What a comparison with the vault found beside them, such as escrows of runs that are not in
    /// the file.
    pub reconciliation: Reconciliation,
}

fn header(followed: &Followed, migrations: Vec<i64>) -> Header {
    Header {
        kind: KIND.to_owned(),
        network: followed.network,
        vault: followed.vault.to_string(),
        registry: followed.registry.to_string(),
        runner: followed.runner.to_string(),
        exported_at: chassis::clock::now(),
        migrations,
    }
}

/// Writes everything of runs as one moment of the database has it. The engine may go on meanwhile.
///
/// # Errors
///
/// When the database does not answer, or the file cannot be written.
pub async fn export(
    db: &PgPool,
    followed: &Followed,
    to: &mut (dyn Write + Send),
) -> anyhow::Result<Tables> {
    let mut tx = chassis::postgres::begin_snapshot(db).await?;
    sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(in_time(&mut *tx)).await?;
    // The driver makes this table: no migration has it, by which the compiler could check this.
    let migrations = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
    let migrations = sqlx::query_scalar(migrations).fetch_all(in_time(&mut *tx)).await?;
    writeln!(to, "{}", serde_json::to_string(&header(followed, migrations))?)?;

    let (mut tables, mut rows) = (Tables::default(), 0);
    for table in in_order(&mut tx).await? {
        let name = serde_json::to_string(&table)?;
        // Which tables there are is read from the schema: a new one is exported without a change here.
        let text = format!("SELECT row_to_json(t)::text FROM {} t", quoted(&table));
        let mut found =
            sqlx::query_scalar::<_, String>(AssertSqlSafe(text)).fetch(in_time(&mut *tx));
        let mut count = 0;
        while let Some(row) = found.try_next().await? {
            // Postgres breaks lines between members of a nested value at most.
            let row = row.replace('\n', " ");
            writeln!(to, r#"{{"table":{name},"row":{row}}}"#)?;
            count += 1;
        }
        drop(found);
        rows += count;
        tables.rows.insert(table, count);
    }
    writeln!(to, "{}", serde_json::to_string(&End { rows })?)?;
    to.flush()?;
    Ok(tables)
}

/// Fills an empty database from a file, and holds every run that had not ended.
///
/// # Errors
///
/// When the file is not one, not whole, of other contracts or of a newer release; when the database
/// is not empty or does not answer. Nothing is restored then.
pub async fn restore(
    db: &PgPool,
    followed: &Followed,
    from: &mut (dyn BufRead + Send),
) -> anyhow::Result<Tables> {
    let mut lines = from.lines();
    let first = lines.next().context("the file is empty")??;
    let read: Header = serde_json::from_str(&first)
        .context("the first line is no header of an export; expected a file of `runner export`")?;
    check(&read, followed)?;

    let mut tx = chassis::postgres::begin(db).await?;
    sqlx::raw_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        .execute(in_time(&mut *tx))
        .await?;
    let known = in_order(&mut tx).await?;
    for table in &known {
        // As in `export`: the schema says which tables there are.
        let text = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(table));
        let any: bool =
            sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(in_time(&mut *tx)).await?;
        ensure!(
            !any,
            "DATABASE_URL: the table {table} is not empty; restore into a fresh database, after \
             `runner migrate` and before any runner uses it"
        );
    }

    let (mut tables, mut rows, mut is_whole) = (Tables::default(), 0_u64, false);
    let mut batch = Batch::default();
    for line in lines {
        let line = line?;
        ensure!(!is_whole, "the file goes on after its last line");
        // Rows first: each may have an input of megabytes, and only the last line is not a row.
        let Row { table, row } = match serde_json::from_str(&line) {
            Ok(row) => row,
            Err(error) => {
                let Ok(End { rows: expected }) = serde_json::from_str(&line) else {
                    let text = format!("line {} is no row of a table", rows + 2);
                    return Err(anyhow::Error::new(error).context(text));
                };
                batch.put(&mut tx).await?;
                ensure!(
                    rows == expected,
                    "the file has {rows} rows, and its last line says {expected}"
                );
                is_whole = true;
                continue;
            }
        };
        ensure!(
            known.iter().any(|name| name == table),
            "the table {table} is not known to this release"
        );
        if batch.is_full() || batch.table != table {
            batch.put(&mut tx).await?;
            table.clone_into(&mut batch.table);
        }
        batch.add(row.get());
        rows += 1;
        *tables.rows.entry(table.to_owned()).or_default() += 1;
    }
    ensure!(is_whole, "the file is not whole: its last line is missing");
    move_sequences_on(&mut tx, &known).await?;
    hold(&mut tx, &read).await?;
    postgres::commit(tx).await?;
    Ok(tables)
}

fn check(read: &Header, followed: &Followed) -> anyhow::Result<()> {
    ensure!(read.kind == KIND, "the file is a {}, expected a {KIND}", read.kind);
    let ours = header(followed, Vec::new());
    ensure!(read.network == ours.network, "RUNNER_NETWORK_PASSPHRASE: the file is of another one");
    for (name, read, ours) in [
        ("RUNNER_CONTRACT_ID", &read.vault, &ours.vault),
        ("RUNNER_AGENT_REGISTRY_ID", &read.registry, &ours.registry),
        ("RUNNER_PUBLIC_KEY", &read.runner, &ours.runner),
    ] {
        ensure!(read == ours, "{name}: the file is of {read}, this runner has {ours}");
    }
    let known: BTreeSet<_> = crate::MIGRATIONS.iter().map(|migration| migration.version).collect();
    let newer: Vec<_> = read.migrations.iter().filter(|version| !known.contains(version)).collect();
    ensure!(newer.is_empty(), "the file is of a newer release: migrations {newer:?} are not known");
    Ok(())
}

/// Rows of one table on their way into it.
#[derive(Default)]
struct Batch {
    table: String,
    text: String,
    rows: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.rows >= MOST_ROWS || self.text.len() >= MOST_BYTES
    }

    fn add(&mut self, row: &str) {
        self.text.push(if self.rows == 0 { '[' } else { ',' });
        self.text.push_str(row);
        self.rows += 1;
    }

    async fn put(&mut self, conn: &mut PgConnection) -> anyhow::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut rows = std::mem::take(&mut self.text);
        rows.push(']');
        self.rows = 0;
        // Columns that the file does not know keep their defaults; those that the schema computes
        // are computed.
        let columns = sqlx::query_scalar!(
            r#"SELECT c.column_name::text AS "name!" FROM information_schema.columns c
               WHERE c.table_schema = current_schema() AND c.table_name::text = $1
                 AND c.is_generated = 'NEVER'
                 AND c.column_name::text IN (SELECT json_object_keys($2::text::json -> 0))
               ORDER BY c.ordinal_position"#,
            self.table,
            rows,
        );
        let columns = columns.fetch_all(in_time(&mut *conn)).await?;
        let columns: Vec<_> = columns.iter().map(|name| quoted(name)).collect();
        // The table and its columns are those of the schema, each quoted.
        let (columns, table) = (columns.join(", "), quoted(&self.table));
        let text = format!(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE \
             SELECT {columns} FROM json_populate_recordset(NULL::{table}, $1::text::json)"
        );
        let put = sqlx::query(AssertSqlSafe(text)).bind(&rows).execute(in_time(conn)).await;
        put.with_context(|| format!("rows of {} do not fit their table", self.table))?;
        Ok(())
    }
}

/// The tables of runs, each after those that it refers to.
async fn in_order(conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let tables: Vec<String> = sqlx::query_scalar!(
        r#"SELECT table_name::text AS "name!" FROM information_schema.tables
           WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
           ORDER BY table_name"#,
    )
    .fetch_all(in_time(&mut *conn))
    .await?;
    let references = sqlx::query!(
        r#"SELECT child.relname::text AS "child!", parent.relname::text AS "parent!"
           FROM pg_constraint c JOIN pg_class child ON child.oid = c.conrelid
               JOIN pg_class parent ON parent.oid = c.confrelid
           WHERE c.contype = 'f' AND c.connamespace = current_schema()::regnamespace
             AND c.conrelid <> c.confrelid"#,
    );
    let references = references.fetch_all(in_time(conn)).await?;
    let mut left: Vec<String> =
        tables.into_iter().filter(|table| !LEFT_OUT.contains(&table.as_str())).collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |table: &String| {
            references.iter().any(|one| one.child == *table && left.contains(&one.parent))
        };
        let (later, now): (Vec<_>, Vec<_>) = left.iter().cloned().partition(waits);
        if now.is_empty() {
            bail!("tables refer to each other in a circle: {later:?}");
        }
        ordered.extend(now);
        left = later;
    }
    Ok(ordered)
}

/// A name as an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// No number that a row has is drawn again.
async fn move_sequences_on(conn: &mut PgConnection, tables: &[String]) -> anyhow::Result<()> {
    let columns = sqlx::query!(
        r#"SELECT table_name::text AS "table!", column_name::text AS "column!"
           FROM information_schema.columns
           WHERE table_schema = current_schema() AND is_identity = 'YES'"#,
    );
    for found in columns.fetch_all(in_time(&mut *conn)).await? {
        if !tables.contains(&found.table) {
            continue;
        }
        // Both are names of the schema.
        let (table, column) = (quoted(&found.table), quoted(&found.column));
        let text = format!(
            "SELECT setval(pg_get_serial_sequence($1, $2), \
                (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)"
        );
        let moved = sqlx::query(AssertSqlSafe(text)).bind(&table).bind(&found.column);
        moved.execute(in_time(&mut *conn)).await?;
    }
    sqlx::query!(
        r#"SELECT setval('outbox_position',
            (SELECT coalesce(max(position), 0) + $1 FROM outbox)) AS "moved!""#,
        POSITIONS_APART,
    )
    .fetch_one(in_time(conn))
    .await?;
    Ok(())
}

/// Holds every run that had not ended: no worker touches it before it is judged. What was signed is
/// only looked up until then, and nothing that may have been done since is done again.
async fn hold(conn: &mut PgConnection, header: &Header) -> anyhow::Result<()> {
    let at = chassis::clock::rfc3339(header.exported_at);
    let reason = format!("{HELD} of {at}; `runner restore --judge` proves what became of it");
    sqlx::query!(
        "UPDATE runs SET operator_reason = $1, lease_owner = NULL, lease_until = NULL,
            lease_token = lease_token + 1, waiting_for = NULL, wake_at = now()
         WHERE phase <> 'done' AND operator_reason IS NULL",
        reason,
    )
    .execute(in_time(&mut *conn))
    .await?;
    // An opening that was wanted is wanted anew, if it turns out not to have happened.
    sqlx::query!(
        "UPDATE calls SET state = 'withdrawn', updated_at = now()
         WHERE state = 'wanted' AND kind = 'open'",
    )
    .execute(in_time(&mut *conn))
    .await?;
    sqlx::query!(
        "UPDATE channels SET lease_owner = NULL, lease_until = NULL, lease_token = lease_token + 1"
    )
    .execute(in_time(&mut *conn))
    .await?;
    // The lost database may have sent what the file has as unsent: a refusal would prove nothing.
    sqlx::query!(
        "UPDATE chain_transactions SET state = 'sent', sends = greatest(sends, 1)
         WHERE state = 'prepared'"
    )
    .execute(in_time(&mut *conn))
    .await?;
    // It may have moved these lumens too. An operator sees by the accounts whether it did.
    sqlx::query!(
        "UPDATE channel_orders SET state = 'unknown', updated_at = now(),
            words = 'restored: whether it was done is not known'
         WHERE state = 'wanted'"
    )
    .execute(in_time(&mut *conn))
    .await?;
    // From here on the events are read that the file does not have.
    let cursors = sqlx::query!("SELECT max(next_ledger) AS next FROM contract_cursors");
    let next = cursors.fetch_one(in_time(&mut *conn)).await?.next;
    sqlx::query!(
        "INSERT INTO restores (exported_at, next_ledger) VALUES ($1, $2)",
        header.exported_at,
        next,
    )
    .execute(in_time(conn))
    .await?;
    Ok(())
}

/// What a restored database is judged with.
#[derive(Debug)]
pub struct Judge<'a> {
    /// The restored database.
    pub db: &'a PgPool,
    /// The node.
    pub rpc: &'a Arc<Rpc>,
    /// The network, for ids.
    pub network: &'a Network,
    /// The contracts and the runner.
    pub followed: &'a Followed,
    /// First token of subjects.
    pub nats_prefix: &'a str,
}

/// A run that is held since it was restored.
struct HeldRun {
    run: RunId,
    attempt: u32,
    user: Address,
    nonce: Nonce,
}

impl Judge<'_> {
    /// Proves what became of every run that was restored, lets workers go on with those of which it
    /// is known, and gives back what the vault holds of runs that are not in the file. It may be
    /// repeated.
    ///
    /// # Errors
    ///
    /// When the database or the node does not answer: what was proven until then is done.
    pub async fn judge(&self) -> anyhow::Result<Judged> {
        let reader = EventReader {
            db: self.db.clone(),
            rpc: self.rpc.clone(),
            followed: self.followed.clone(),
            nats_prefix: self.nats_prefix.to_owned(),
            poll: Duration::from_secs(1),
        };
        let read_to = reader.catch_up().await.context("the contracts' events cannot be read")?;
        let is_whole = self.is_whole(read_to).await?;
        let opened = self.opened_since().await?;

        let mut judged = Judged::default();
        for held in self.held().await? {
            if let Some(event) = opened.iter().find(|event| self.is_of(&held, event)) {
                self.take_over(&held, event).await?;
                judged.opened_since += 1;
            } else if is_whole && attempts::asked(self.db, held.run).await?.is_none() {
                // Nothing was signed for it in the file, and no event names it since, of all there
                // are: it was not opened.
                store::resume(self.db, held.run).await?;
                judged.resumed += 1;
            }
        }
        // What has an id in the vault by now is judged as every run in an operator's hands is, and
        // escrows that no run owns are given back.
        let reconciler = Reconciler {
            db: self.db,
            rpc: self.rpc,
            followed: self.followed,
            nats_prefix: self.nats_prefix,
            repair: true,
        };
        judged.reconciliation = reconciler.run().await?;
        judged.unknown = self.held().await?.len() as u64;
        Ok(judged)
    }

    /// Whether every event since the export is known.
    async fn is_whole(&self, read_to: u32) -> anyhow::Result<bool> {
        let known = sqlx::query_scalar!(
            r#"SELECT (next_ledger IS NOT NULL AND next_ledger <= $1::bigint + 1
                AND NOT EXISTS (SELECT 1 FROM contract_event_gaps g
                    WHERE g.last_ledger >= restores.next_ledger)
                AND NOT EXISTS (SELECT 1 FROM contract_events e
                    WHERE e.name IS NULL AND e.ledger >= restores.next_ledger)) AS "whole!"
               FROM restores ORDER BY id DESC LIMIT 1"#,
            i64::from(read_to),
        );
        Ok(known.fetch_optional(in_time(self.db)).await?.unwrap_or(false))
    }

    /// What this runner opened that no attempt owns.
    async fn opened_since(&self) -> anyhow::Result<Vec<Opened>> {
        let rows = sqlx::query_scalar!(
            r#"SELECT e.data AS "data!" FROM contract_events e
               WHERE e.name = 'run_opened' AND e.data->>'opened_by' = $1 AND e.contract = $2
                 AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.vault_run_id = e.run_id)"#,
            self.followed.runner.to_string(),
            self.followed.vault.to_string(),
        );
        let mut opened = Vec::new();
        for data in rows.fetch_all(in_time(self.db)).await? {
            let fact = serde_json::from_value(data).context("a kept event cannot be read")?;
            if let Fact::RunOpened(event) = fact {
                opened.push(*event);
            }
        }
        Ok(opened)
    }

    async fn held(&self) -> anyhow::Result<Vec<HeldRun>> {
        let rows = sqlx::query!(
            "SELECT r.id, r.attempt, r.user_account, a.nonce
             FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
             WHERE r.phase <> 'done' AND starts_with(r.operator_reason, $1)
             ORDER BY r.created_at",
            HELD,
        );
        let mut held = Vec::new();
        for row in rows.fetch_all(in_time(self.db)).await? {
            held.push(HeldRun {
                run: RunId::from(row.id),
                attempt: u32::try_from(row.attempt)?,
                user: row.user_account.parse().context("a stored account")?,
                nonce: Nonce::try_from(row.nonce.as_slice())?,
            });
        }
        Ok(held)
    }

    /// Whether the vault opened this very attempt: its id follows from the nonce and the deadline.
    fn is_of(&self, held: &HeldRun, event: &Opened) -> bool {
        let identity = RunIdentity {
            network: self.network,
            vault: &self.followed.vault,
            user: &held.user,
            caller: &self.followed.runner,
            nonce: &held.nonce,
            deadline: event.deadline,
        };
        ids::run_id(&identity).is_ok_and(|id| id == event.run_id)
    }

    /// Writes down that the attempt was opened, as the event says. Workers go on by asking
    /// module-gate what was executed.
    async fn take_over(&self, held: &HeldRun, event: &Opened) -> anyhow::Result<()> {
        let mut tx = chassis::postgres::begin(self.db).await?;
        sqlx::query!(
            "UPDATE attempts SET terms = $3, vault_run_id = $4, deadline = $5, manifest_hash = $6,
                escrow = 'open', ended_at = NULL
             WHERE run_id = $1 AND number = $2 AND escrow IN ('none', 'open')",
            held.run.as_uuid(),
            i32::try_from(held.attempt)?,
            serde_json::to_value(reconcile::terms(event)?)?,
            event.run_id.as_bytes(),
            i64::try_from(event.deadline)?,
            event.manifest_hash.as_bytes(),
        )
        .execute(in_time(&mut *tx))
        .await?;
        sqlx::query!(
            "UPDATE runs SET phase = 'executing', status = 'running', runner = $2,
                admitted_at = coalesce(admitted_at, now()), updated_at = now()
             WHERE id = $1 AND phase IN ('queued', 'opening')",
            held.run.as_uuid(),
            event.opened_by,
        )
        .execute(in_time(&mut *tx))
        .await?;
        postgres::commit(tx).await?;
        Ok(())
    }
}
