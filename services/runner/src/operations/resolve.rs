//! What a proof changes: one transaction a run, under the run's lock.

use chassis::postgres::{self, in_time};
use sqlx::{PgConnection, PgPool};
use wire::event::{Finalized, Opened};
use wire::{Digest, RunId};

use crate::chain::call;
use crate::chain::store::calls;
use crate::error::{Error, Result};
use crate::model::run::{Escrow, Snapshot};
use crate::model::settlement::{CANCELLED, Failure};
use crate::model::state::{Phase, Status};
use crate::model::terms::Terms;
use crate::runs::closed::{self, Settled};
use crate::runs::{event, store};
use crate::sight::proof::{Asked, Proof, Returned};
use crate::wakeups::wake_workers;

/// What became of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// What was done.
    Done(String),
    /// Why nothing was.
    Not(String),
}

/// Ends the run as the proof says, or lets workers go on with it.
///
/// # Errors
///
/// When the database does not answer.
pub async fn apply(
    db: &PgPool,
    nats_prefix: &str,
    asked: &Asked,
    proof: &Proof,
) -> Result<Applied> {
    let mut tx = chassis::postgres::begin(db).await?;
    let Some(snapshot) = locked(&mut tx, asked).await? else {
        return Ok(Applied::Not("the run has moved on meanwhile".to_owned()));
    };
    let (status, what) = match proof {
        Proof::Unknown(why) => return Ok(Applied::Not(why.clone())),
        Proof::Open { .. } => {
            resume(&mut tx, asked.run).await?;
            postgres::commit(tx).await?;
            return Ok(Applied::Done("workers go on with it".to_owned()));
        }
        // The event has what the record lacks: fee, refund and usage.
        Proof::Settled { event: None, .. } => {
            resume(&mut tx, asked.run).await?;
            postgres::commit(tx).await?;
            return Ok(Applied::Done("workers ask the vault for the receipt".to_owned()));
        }
        Proof::Settled { event: Some(event), .. } => {
            (settled(&mut tx, &snapshot, event).await?, "it ended as the vault settled it")
        }
        Proof::Returned(how) => {
            (end_returned(&mut tx, &snapshot, *how).await?, "its escrow was returned")
        }
        Proof::NeverOpened => {
            (end_never_opened(&mut tx, &snapshot).await?, "it never had an escrow")
        }
    };
    let withdrawn = calls::withdraw_all(&mut tx, snapshot.key()).await?;
    end(&mut tx, asked.run, status).await?;
    event::publish(&mut tx, nats_prefix, asked.run, chassis::clock::now()).await?;
    postgres::commit(tx).await?;
    call::count_ends(&withdrawn);
    tracing::warn!(run.id = %asked.run, "run {} was ended by proof: {}", asked.run, proof.text());
    Ok(Applied::Done(what.to_owned()))
}

/// Opens a run again that has ended while the vault holds its escrow: workers give it back.
///
/// # Errors
///
/// When the database does not answer.
pub async fn reopen_to_refund(db: &PgPool, asked: &Asked) -> Result<Applied> {
    let mut tx = chassis::postgres::begin(db).await?;
    let reopened = sqlx::query!(
        "UPDATE runs SET phase = 'voiding', status = 'failed', operator_reason = NULL, failures = 0,
            lease_token = lease_token + 1, lease_owner = NULL, lease_until = NULL,
            wake_at = now(), updated_at = now()
         WHERE id = $1 AND attempt = $2 AND phase = 'done'",
        asked.run.as_uuid(),
        i32::try_from(asked.attempt).unwrap_or(i32::MAX),
    );
    if reopened.execute(in_time(&mut *tx)).await?.rows_affected() != 1 {
        return Ok(Applied::Not("the run has moved on meanwhile".to_owned()));
    }
    let reopened = sqlx::query!(
        "UPDATE attempts SET escrow = 'open', ended_at = NULL,
            error_code = coalesce(error_code, 'ESCROW_LEFT_OPEN'),
            error = coalesce(error, 'it had ended while the vault held its escrow')
         WHERE run_id = $1 AND number = $2 AND receipt IS NULL AND terms IS NOT NULL",
        asked.run.as_uuid(),
        i32::try_from(asked.attempt).unwrap_or(i32::MAX),
    );
    if reopened.execute(in_time(&mut *tx)).await?.rows_affected() != 1 {
        return Ok(Applied::Not("it has a receipt, or no terms: see the record".to_owned()));
    }
    let withdrawn = calls::withdraw_all(&mut tx, (asked.run, asked.attempt)).await?;
    wake_workers(&mut tx).await?;
    postgres::commit(tx).await?;
    call::count_ends(&withdrawn);
    Ok(Applied::Done("workers give the escrow back".to_owned()))
}

/// Makes a run for an open record that no run belongs to; workers give its escrow back.
///
/// # Errors
///
/// When the database does not answer.
pub async fn adopt(
    db: &PgPool,
    nats_prefix: &str,
    opened: &Opened,
    terms: &Terms,
    now: u64,
) -> Result<RunId> {
    let id = RunId::from(chassis::clock::new_uuid());
    let at = chassis::clock::now();
    let phase = if now < opened.deadline { Phase::Voiding } else { Phase::Reclaiming };
    let json = |error: serde_json::Error| Error::Broken(error.to_string());
    let input_digest = Digest::of(b"{}");
    let mut tx = chassis::postgres::begin(db).await?;
    sqlx::query!(
        "INSERT INTO runs (id, user_account, agent_id, rate_version, budgets, workflow_id, label,
            input, input_digest, seed, status, phase, attempt, traceparent, created_at, updated_at,
            runner)
         VALUES ($1, $2, $3, $4, $5, 'adopted', 'an escrow that no run owned', $6, $7, 0, 'failed',
            $8, 1, $9, $10, $10, $11)",
        id.as_uuid(),
        opened.user,
        i64::from(opened.agent_id),
        i64::from(opened.rate_version),
        serde_json::to_value(opened.budgets).map_err(json)?,
        b"{}".as_slice(),
        input_digest.as_bytes(),
        phase.name(),
        chassis::telemetry::traceparent(),
        at,
        opened.opened_by,
    )
    .execute(in_time(&mut *tx))
    .await?;
    // The nonce that made the id is not known. The id is as good: it is drawn from it, and nothing
    // is ever opened for this attempt.
    sqlx::query!(
        "INSERT INTO attempts (run_id, number, terms, nonce, vault_run_id, deadline, manifest_hash,
            escrow, error_code, error, created_at)
         VALUES ($1, 1, $2, $3, $3, $4, $5, 'open', 'ADOPTED',
            'the vault held an escrow of this runner that no run owned', $6)",
        id.as_uuid(),
        serde_json::to_value(terms).map_err(json)?,
        opened.run_id.as_bytes(),
        i64::try_from(opened.deadline).unwrap_or(i64::MAX),
        opened.manifest_hash.as_bytes(),
        at,
    )
    .execute(in_time(&mut *tx))
    .await?;
    event::publish(&mut tx, nats_prefix, id, at).await?;
    wake_workers(&mut tx).await?;
    postgres::commit(tx).await?;
    Ok(id)
}

/// The run, locked, if this is still its present attempt and has not ended.
async fn locked(conn: &mut PgConnection, asked: &Asked) -> Result<Option<Snapshot>> {
    store::lock(conn, asked.run).await?;
    let snapshot = store::load(conn, asked.run).await?;
    Ok(snapshot.filter(|snapshot| {
        snapshot.run.attempt == asked.attempt
            && snapshot.run.phase != Phase::Done
            && snapshot.attempt.vault_run_id == Some(asked.vault_run_id)
    }))
}

async fn settled(
    conn: &mut PgConnection,
    snapshot: &Snapshot,
    event: &Finalized,
) -> Result<Status> {
    closed::settled(conn, snapshot, &Settled::of_event(event)?).await
}

async fn end_returned(
    conn: &mut PgConnection,
    snapshot: &Snapshot,
    how: Returned,
) -> Result<Status> {
    store::note_failure(conn, snapshot.key(), &closed::failure_of(how)).await?;
    store::close(conn, snapshot.key(), Escrow::Returned, None, chassis::clock::now()).await?;
    let code = snapshot.attempt.failure.as_ref().map(|failure| failure.code.as_str());
    Ok(if code == Some(CANCELLED) { Status::Cancelled } else { Status::Failed })
}

async fn end_never_opened(conn: &mut PgConnection, snapshot: &Snapshot) -> Result<Status> {
    let failure = Failure::new(
        "OPEN_NOT_DONE",
        "nothing that was signed to open the run landed, and none of it can any more",
    );
    store::note_failure(conn, snapshot.key(), &failure).await?;
    store::close(conn, snapshot.key(), Escrow::None, None, chassis::clock::now()).await?;
    Ok(Status::Failed)
}

/// Ends the run. A worker that holds it loses it.
pub(super) async fn end(conn: &mut PgConnection, run: RunId, status: Status) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE runs SET phase = 'done', status = $2, operator_reason = NULL, waiting_for = NULL,
            retry_requested = false, lease_token = lease_token + 1, lease_owner = NULL,
            lease_until = NULL, updated_at = now()
         WHERE id = $1 AND phase <> 'done'",
        run.as_uuid(),
        status.name(),
    );
    match done.execute(in_time(conn)).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::LeaseLost(run)),
    }
}

/// Lets workers take the run now.
async fn resume(conn: &mut PgConnection, run: RunId) -> Result<()> {
    sqlx::query!(
        "UPDATE runs SET operator_reason = NULL, failures = 0, wake_at = now(), updated_at = now()
         WHERE id = $1",
        run.as_uuid(),
    )
    .execute(in_time(&mut *conn))
    .await?;
    // What was unknown is asked again: the chain may say it by now.
    calls::judge_again(conn, run).await?;
    wake_workers(conn).await
}
