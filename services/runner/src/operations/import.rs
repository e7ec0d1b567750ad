//! `runner import`: runs of the earlier runner's state file (`.runner-state.json`) become rows here.
//!
//! Its runs belong to another contract, whose ids are numbers, and whose usage was simulated. So
//! they come as what they are: history. One that was settled is `finalized`; everything else is
//! `failed` with `IMPORTED`, and its owner may retry it, which is a new attempt on this vault.
//! Nothing is opened, settled or charged by an import, and what the file said stays with the run.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use chassis::postgres::{self, in_time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use wire::statement::MAX_SEED;
use wire::{Digest, RunId, Usage};

use crate::model::run::draw_seed;

/// The most runs of one file.
const MOST_RUNS: usize = 1_000_000;
/// Runs of one transaction, and bytes of what they bring along.
const MOST_ROWS: usize = 500;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// What a run that was not settled fails with.
const CODE: &str = "IMPORTED";

/// A run of the file, as far as it means something here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldRun {
    id: RunId,
    user: String,
    agent_id: u64,
    rate_version: Option<u64>,
    #[serde(default)]
    budgets: OldMeters,
    workflow_id: Option<String>,
    label: Option<String>,
    metadata: Option<Value>,
    status: String,
    error: Option<String>,
    created_at: String,
    updated_at: String,
}

/// Its meters are numbers that may be fractions, as JavaScript has them.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OldMeters {
    llm_in: f64,
    llm_out: f64,
    http_calls: f64,
    runtime_ms: f64,
}

/// A run that can be kept.
#[derive(Debug)]
pub struct NewRow {
    id: RunId,
    user: String,
    agent_id: u32,
    rate_version: Option<u32>,
    budgets: Usage,
    workflow_id: String,
    label: Option<String>,
    /// JSON.
    metadata: String,
    is_settled: bool,
    error: String,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    /// What it takes in a statement, about.
    bytes: usize,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Runs that were settled by the earlier runner.
    pub finalized: u64,
    /// Runs that failed, or had not ended.
    pub failed: u64,
    /// Runs that are here already.
    pub known: u64,
}

/// Reads the file. Nothing of it is taken unless all of it can be.
///
/// # Errors
///
/// Every run that cannot be kept, with the reason.
pub fn read(text: &str) -> anyhow::Result<Vec<NewRow>> {
    let runs: Vec<Value> =
        serde_json::from_str(text).context("expected a JSON array of runs, as the file has it")?;
    ensure!(runs.len() <= MOST_RUNS, "the file has more than {MOST_RUNS} runs");
    let (mut rows, mut wrong, mut ids) =
        (Vec::with_capacity(runs.len()), Vec::new(), BTreeSet::new());
    for (place, run) in runs.into_iter().enumerate() {
        match row(run) {
            Ok(row) if !ids.insert(row.id) => {
                wrong.push(format!("/{place}: the id {} is there twice", row.id));
            }
            Ok(row) => rows.push(row),
            Err(error) => wrong.push(format!("/{place}: {error:#}")),
        }
    }
    if wrong.is_empty() {
        return Ok(rows);
    }
    let count = wrong.len();
    // Enough to see what kind of mistake it is.
    wrong.truncate(20);
    bail!("{count} runs cannot be imported: {}", wrong.join("; "))
}

fn row(run: Value) -> anyhow::Result<NewRow> {
    let old: OldRun = serde_json::from_value(run.clone())?;
    let user = old.user.parse::<stellar::Address>();
    let user = user.map_err(|_| anyhow::anyhow!("user: expected an account (G…) or a contract"))?;
    let status = old.status.as_str();
    let known = ["pending", "opening", "running", "finalizing", "finalized", "failed"];
    ensure!(known.contains(&status), "status: `{status}` is not known");
    // It ended some failed runs as finalized, with the error beside it.
    let is_settled = status == "finalized" && old.error.is_none();
    let error = match (&old.error, status) {
        (Some(error), _) => error.clone(),
        (None, "opening" | "running" | "finalizing") => format!(
            "the earlier runner left it {status}: its escrow is in the earlier contract, to be \
             settled or cancelled there"
        ),
        (None, _) => format!("the earlier runner left it {status}"),
    };
    let at = |name: &str, text: &str| {
        let read = OffsetDateTime::parse(text, &Rfc3339).ok();
        let read = read.filter(|at| (1970..10_000).contains(&at.year()));
        read.with_context(|| format!("{name}: expected a time (RFC 3339), found `{text}`"))
    };
    let mut metadata = json!({ "importedFrom": without_nul(run)? });
    if let Some(own) = old.metadata {
        metadata["metadata"] = without_nul(own)?;
    }
    let (metadata, error) = (metadata.to_string(), error.replace('\0', " "));
    Ok(NewRow {
        bytes: metadata.len() + error.len(),
        id: old.id,
        user: user.to_string(),
        agent_id: u32::try_from(old.agent_id).context("agentId: is above 4294967295")?,
        rate_version: old
            .rate_version
            .map(u32::try_from)
            .transpose()
            .context("rateVersion: is above 4294967295")?
            .filter(|version| *version > 0),
        budgets: meters(old.budgets)?,
        workflow_id: named(old.workflow_id).unwrap_or_else(|| "default".to_owned()),
        label: named(old.label),
        metadata,
        is_settled,
        error,
        created_at: at("createdAt", &old.created_at)?,
        updated_at: at("updatedAt", &old.updated_at)?,
    })
}

/// Names that the gates would refuse are left to the metadata, which has them.
fn named(name: Option<String>) -> Option<String> {
    name.filter(|name| (1..=256).contains(&name.len()) && !name.contains(char::is_control))
}

fn without_nul(value: Value) -> anyhow::Result<Value> {
    ensure!(!has_nul(&value), "it holds U+0000, which cannot be stored");
    Ok(value)
}

/// Whether a text or a name in it holds U+0000. The six characters of its escape are a text like
/// any other.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => {
            members.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Fractions were rounded down before they were used.
fn meters(old: OldMeters) -> anyhow::Result<Usage> {
    let whole = |name: &str, number: f64| -> anyhow::Result<u64> {
        #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is exact")]
        let most = MAX_SEED as f64;
        ensure!((0.0..=most).contains(&number), "budgets.{name}: {number} is out of range");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above, and rounded down as the earlier runner did"
        )]
        Ok(number as u64)
    };
    Ok(Usage {
        llm_in: whole("llmIn", old.llm_in)?,
        llm_out: whole("llmOut", old.llm_out)?,
        http_calls: whole("httpCalls", old.http_calls)?,
        runtime_ms: whole("runtimeMs", old.runtime_ms)?,
    })
}

/// Keeps the runs, in transactions of [`MOST_ROWS`] and [`MOST_BYTES`] at most, and counts in
/// `imported` what is kept. A run that is here already stays as it is: an import that was
/// interrupted goes on when it is repeated, from where it was.
///
/// # Errors
///
/// When the database does not take them; what is counted stays.
pub async fn import(db: &PgPool, rows: &[NewRow], imported: &mut Imported) -> anyhow::Result<()> {
    let mut rest = rows;
    while !rest.is_empty() {
        let (some, later) = rest.split_at(batch(rest));
        let new = put(db, some).await?;
        let settled = some.iter().filter(|row| row.is_settled && new.contains(row.id.as_uuid()));
        let (settled, new, some) = (settled.count() as u64, new.len() as u64, some.len() as u64);
        imported.finalized += settled;
        imported.failed += new - settled;
        imported.known += some - new;
        rest = later;
    }
    Ok(())
}

/// How many of these go together; at least one.
fn batch(rows: &[NewRow]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take(MOST_ROWS).take_while(|row| {
        bytes += row.bytes;
        bytes <= MOST_BYTES
    });
    fits.count().max(1).min(rows.len())
}

/// Keeps a batch, all or none. Answers the ids of those that were not here.
async fn put(db: &PgPool, rows: &[NewRow]) -> anyhow::Result<BTreeSet<Uuid>> {
    let budgets = rows.iter().map(|row| serde_json::to_value(row.budgets));
    let budgets: Vec<Value> = budgets.collect::<Result<_, _>>()?;
    let seeds = rows.iter().map(|_| i64::try_from(draw_seed()));
    let seeds: Vec<i64> = seeds.collect::<Result<_, _>>()?;
    let input = b"{}".as_slice();
    let digest = Digest::of(input);

    let mut tx = chassis::postgres::begin(db).await?;
    let made = sqlx::query_scalar!(
        "INSERT INTO runs (id, user_account, agent_id, rate_version, budgets, workflow_id, label,
            metadata, input, input_digest, seed, status, phase, attempt, traceparent, created_at,
            updated_at)
         SELECT r.id, r.user_account, r.agent_id, r.rate_version, r.budgets, r.workflow_id, r.label,
            r.metadata::json, $13, $14, r.seed, r.status, 'done', 1, $15, r.created_at, r.updated_at
         FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::jsonb[], $6::text[],
            $7::text[], $8::text[], $9::bigint[], $10::text[], $11::timestamptz[],
            $12::timestamptz[])
            AS r (id, user_account, agent_id, rate_version, budgets, workflow_id, label, metadata,
                seed, status, created_at, updated_at)
         ON CONFLICT (id) DO NOTHING RETURNING id",
        &each(rows, |row| *row.id.as_uuid()),
        &each(rows, |row| row.user.clone()),
        &each(rows, |row| i64::from(row.agent_id)),
        &each(rows, |row| row.rate_version.map(i64::from)) as &[Option<i64>],
        &budgets,
        &each(rows, |row| row.workflow_id.clone()),
        &each(rows, |row| row.label.clone()) as &[Option<String>],
        &each(rows, |row| row.metadata.clone()),
        &seeds,
        &each(rows, |row| if row.is_settled { "finalized" } else { "failed" }.to_owned()),
        &each(rows, |row| row.created_at),
        &each(rows, |row| row.updated_at),
        input,
        digest.as_bytes(),
        chassis::telemetry::traceparent(),
    );
    let made: BTreeSet<Uuid> = made.fetch_all(in_time(&mut *tx)).await?.into_iter().collect();

    let new: Vec<&NewRow> = rows.iter().filter(|row| made.contains(row.id.as_uuid())).collect();
    let code = |row: &NewRow| (!row.is_settled).then(|| CODE.to_owned());
    sqlx::query!(
        "INSERT INTO attempts (run_id, number, nonce, error_code, error, created_at, ended_at)
         SELECT a.run_id, 1, a.nonce, a.error_code, a.error, a.created_at, a.ended_at
         FROM UNNEST($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::timestamptz[],
            $6::timestamptz[]) AS a (run_id, nonce, error_code, error, created_at, ended_at)",
        &each(&new, |row| *row.id.as_uuid()),
        &each(&new, |row| stellar::ids::nonce(row.id.as_uuid(), 1).as_bytes().to_vec()),
        &each(&new, |row| code(row)) as &[Option<String>],
        &each(&new, |row| code(row).map(|_| row.error.clone())) as &[Option<String>],
        &each(&new, |row| row.created_at),
        &each(&new, |row| row.updated_at),
    )
    .execute(in_time(&mut *tx))
    .await?;
    postgres::commit(tx).await?;
    Ok(made)
}

/// A column: what each of the rows has in it.
fn each<R, T>(rows: &[R], column: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(change: &Value) -> String {
        let user = stellar::Address::Account([7; 32]).to_string();
        let mut run = json!({
            "id": "0b9f4a52-6c3e-4f57-9d2b-3f6b6d1f0a11", "user": user, "agentId": 1,
            "budgets": { "llmIn": 10.7, "llmOut": 0, "httpCalls": 0, "runtimeMs": 5 },
            "status": "finalized", "retries": 0, "runId": 12,
            "createdAt": "2025-11-02T10:00:00.000Z", "updatedAt": "2025-11-02T10:00:03.250Z",
        });
        for (name, value) in change.as_object().unwrap() {
            run[name] = value.clone();
        }
        json!([run]).to_string()
    }

    #[test]
    fn a_run_of_the_earlier_runner_is_history_and_what_had_not_ended_has_failed() {
        let rows = read(&old(&json!({ "rateVersion": null }))).unwrap();
        assert!(rows[0].is_settled);
        assert_eq!((rows[0].budgets.llm_in, rows[0].rate_version), (10, None));
        let metadata: Value = serde_json::from_str(&rows[0].metadata).unwrap();
        assert_eq!(metadata["importedFrom"]["runId"], 12);
        for (change, words) in [
            (json!({ "status": "running" }), "its escrow is in the earlier contract"),
            (json!({ "status": "pending" }), "left it pending"),
            (json!({ "error": "no funds" }), "no funds"),
        ] {
            let rows = read(&old(&change)).unwrap();
            assert!(!rows[0].is_settled && rows[0].error.contains(words), "{change}");
        }
    }

    #[test]
    fn the_escape_of_nul_as_a_text_is_a_text_like_any_other() {
        let spelled = json!({ "label": r"\u0000", "metadata": { "path": r"C:\u0000\x" } });
        assert!(read(&old(&spelled)).is_ok());
        for nul in
            [json!({ "metadata": { "a": ["\u{0}"] } }), json!({ "metadata": { "\u{0}": 1 } })]
        {
            assert!(read(&old(&nul)).unwrap_err().to_string().contains("U+0000"), "{nul}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_named_with_its_place() {
        for (change, words) in [
            (json!({ "user": "" }), "/0: user:"),
            (json!({ "status": "odd" }), "/0: status:"),
            (json!({ "createdAt": "yesterday" }), "/0: createdAt:"),
            (json!({ "budgets": { "llmIn": -1 } }), "/0: budgets.llmIn:"),
            (json!({ "id": 7 }), "/0: "),
            (json!({ "label": "\u{0}" }), "U+0000"),
            (json!({ "agentId": 4_294_967_296_u64 }), "agentId"),
        ] {
            let error = read(&old(&change)).unwrap_err().to_string();
            assert!(error.contains(words), "{change}: {error}");
        }
        assert!(read("{}").is_err());
        let one = old(&json!({}));
        let twice = format!("[{0},{0}]", one.trim_matches(['[', ']']));
        assert!(read(&twice).unwrap_err().to_string().contains("twice"));
    }
}
