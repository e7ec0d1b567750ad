//! Every SQL statement about what is seen of the network. All of it runs on the one connection that
//! holds the reader's lock: a reader that lost the lock with its connection writes nothing more.

use chassis::postgres::{begin_on, in_time};
use sqlx::{PgConnection, PgPool};
use stellar::registry::{Agent, RateCard};
use stellar::rpc::SeenEvent;
use stellar::vault::StoredGrant;
use time::OffsetDateTime;
use wire::PublicKey;
use wire::event::{ChainData, Data as _, Fact};

use crate::error::Result;
use crate::sight::{Followed, ReadPosition};

/// What the reader's transactions notify when they commit.
pub const CHANNEL: &str = "lumio_runner_sight";

/// Makes this connection the database's one reader. `false` while another one is.
pub async fn try_lock(conn: &mut PgConnection) -> Result<bool> {
    let locked = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(hashtextextended('sight of ' || current_schema(), 0))
            AS "locked!""#,
    );
    Ok(locked.fetch_one(in_time(conn)).await?)
}

/// The next ledger to read; `None` before the first.
pub async fn next_ledger(conn: &mut PgConnection, followed: &Followed) -> Result<Option<u32>> {
    let found = sqlx::query_scalar!(
        "SELECT next_ledger FROM contract_cursors
         WHERE network_id = $1 AND vault = $2 AND registry = $3",
        followed.network.as_bytes(),
        followed.vault.to_string(),
        followed.registry.to_string(),
    );
    let found = found.fetch_optional(in_time(conn)).await?;
    Ok(found.map(|ledger| u32::try_from(ledger).unwrap_or(u32::MAX)))
}

/// Begins to read with ledger `next`, unless that is known already.
pub async fn start(
    conn: &mut PgConnection,
    followed: &Followed,
    next: u32,
    read_until: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO contract_cursors
            (network_id, vault, registry, first_ledger, next_ledger, read_until, updated_at)
         VALUES ($1, $2, $3, $4, $4, $5, now()) ON CONFLICT DO NOTHING",
        followed.network.as_bytes(),
        followed.vault.to_string(),
        followed.registry.to_string(),
        i64::from(next),
        read_until,
    )
    .execute(in_time(conn))
    .await?;
    Ok(())
}

/// Moves the reader from `from` to `next`. `false` if it was not at `from` any more.
pub async fn advance(
    conn: &mut PgConnection,
    followed: &Followed,
    from: u32,
    next: u32,
    read_until: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE contract_cursors SET next_ledger = $5, read_until = $6, updated_at = now()
         WHERE network_id = $1 AND vault = $2 AND registry = $3 AND next_ledger = $4",
        followed.network.as_bytes(),
        followed.vault.to_string(),
        followed.registry.to_string(),
        i64::from(from),
        i64::from(next),
        read_until,
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected() == 1)
}

/// Keeps an event. `false` if it is there already.
pub async fn keep(
    conn: &mut PgConnection,
    seen: &SeenEvent,
    data: Option<&ChainData>,
) -> Result<bool> {
    // An event that this release cannot read is kept without its meaning (V19).
    let json = data.map(serde_json::to_value).transpose();
    let json = json.map_err(|error| crate::error::Error::Broken(error.to_string()))?;
    let done = sqlx::query!(
        "INSERT INTO contract_events (id, contract, name, key, run_id, tx_hash, ledger, closed_at,
            data, topics, value, seen_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now()) ON CONFLICT (id) DO NOTHING",
        seen.id,
        seen.contract.to_string(),
        data.map(|data| data.fact.name()),
        data.map(wire::event::ChainData::key),
        data.and_then(|data| data.fact.run_id()).map(|id| id.as_bytes().to_vec()),
        seen.transaction.as_bytes(),
        i64::from(seen.ledger),
        seen.closed_at,
        json,
        &seen.topics,
        seen.value,
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected() == 1)
}

/// Notes ledgers whose events no node has any more.
pub async fn note_gap(
    conn: &mut PgConnection,
    followed: &Followed,
    (first, last): (u32, u32),
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO contract_event_gaps (network_id, first_ledger, last_ledger, found_at)
         VALUES ($1, $2, $3, now())",
        followed.network.as_bytes(),
        i64::from(first),
        i64::from(last),
    )
    .execute(in_time(conn))
    .await?;
    Ok(())
}

/// Says to every process that there is something new.
pub async fn notify(conn: &mut PgConnection) -> Result<()> {
    sqlx::query!(r#"SELECT pg_notify($1, '')::text AS "notified""#, CHANNEL)
        .fetch_one(in_time(conn))
        .await?;
    Ok(())
}

/// Applies an event of the registry to its agent. What the row knows from a later ledger stays.
pub async fn apply_to_agent(
    conn: &mut PgConnection,
    registry: &str,
    ledger: u32,
    fact: &Fact,
) -> Result<()> {
    let ledger = i64::from(ledger);
    match fact {
        Fact::AgentRegistered { agent_id, developer, metadata_uri, runners } => {
            sqlx::query!(
                "INSERT INTO agents (registry, agent_id, developer, metadata_uri, runners,
                    attesters, rate_version, ledger, updated_at)
                 VALUES ($1, $2, $3, $4, $5, '{}', 0, $6, now()) ON CONFLICT DO NOTHING",
                registry,
                i64::from(*agent_id),
                developer,
                metadata_uri.as_deref(),
                runners,
                ledger,
            )
            .execute(in_time(conn))
            .await?;
        }

        Fact::AgentMetadata { agent_id, metadata_uri } => {
            sqlx::query!(
                "UPDATE agents SET metadata_uri = $3, ledger = $4, updated_at = now()
                 WHERE registry = $1 AND agent_id = $2 AND ledger <= $4",
                registry,
                i64::from(*agent_id),
                metadata_uri.as_deref(),
                ledger,
            )
            .execute(in_time(conn))
            .await?;
        }

        Fact::AgentRunnerAdded { agent_id, runner } => {
            sqlx::query!(
                "UPDATE agents SET runners = array_append(array_remove(runners, $3), $3),
                    ledger = $4, updated_at = now()
                 WHERE registry = $1 AND agent_id = $2 AND ledger <= $4",
                registry,
                i64::from(*agent_id),
                runner,
                ledger,
            )
            .execute(in_time(conn))
            .await?;
        }

        Fact::AgentRunnerRemoved { agent_id, runner } => {
            sqlx::query!(
                "UPDATE agents SET runners = array_remove(runners, $3), ledger = $4,
                    updated_at = now()
                 WHERE registry = $1 AND agent_id = $2 AND ledger <= $4",
                registry,
                i64::from(*agent_id),
                runner,
                ledger,
            )
            .execute(in_time(conn))
            .await?;
        }

        Fact::AgentAttesters { agent_id, attesters } => {
            let attesters: Vec<_> = attesters.iter().map(ToString::to_string).collect();
            sqlx::query!(
                "UPDATE agents SET attesters = $3, ledger = $4, updated_at = now()
                 WHERE registry = $1 AND agent_id = $2 AND ledger <= $4",
                registry,
                i64::from(*agent_id),
                &attesters,
                ledger,
            )
            .execute(in_time(conn))
            .await?;
        }

        Fact::RatesPublished { agent_id, version, rates, manifest_hash } => {
            let rates = as_json(rates)?;
            sqlx::query!(
                "UPDATE agents SET rate_version = $3, rates = $4, manifest_hash = $5, ledger = $6,
                    updated_at = now()
                 WHERE registry = $1 AND agent_id = $2 AND ledger <= $6 AND rate_version <= $3",
                registry,
                i64::from(*agent_id),
                i64::from(*version),
                rates,
                manifest_hash.as_bytes(),
                ledger,
            )
            .execute(in_time(conn))
            .await?;
        }
        _ => {}
    }
    Ok(())
}

/// Keeps an agent as the registry's state has it in `ledger`.
pub async fn keep_agent(
    conn: &mut PgConnection,
    registry: &str,
    ledger: u32,
    (agent_id, agent): (u32, &Agent),
    card: Option<&RateCard>,
) -> Result<()> {
    let runners: Vec<_> = agent.runners.iter().map(ToString::to_string).collect();
    let attesters: Vec<_> =
        agent.attesters.iter().map(|key| PublicKey::from(*key).to_string()).collect();
    // Postgres takes no zero byte in a text, and the registry takes any.
    let uri = agent.metadata_uri.as_ref().map(|uri| uri.replace('\0', "\u{fffd}"));
    sqlx::query!(
        "INSERT INTO agents (registry, agent_id, developer, metadata_uri, runners, attesters,
            rate_version, rates, manifest_hash, ledger, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now())
         ON CONFLICT (registry, agent_id) DO UPDATE SET developer = EXCLUDED.developer,
            metadata_uri = EXCLUDED.metadata_uri, runners = EXCLUDED.runners,
            attesters = EXCLUDED.attesters, rate_version = EXCLUDED.rate_version,
            rates = EXCLUDED.rates, manifest_hash = EXCLUDED.manifest_hash,
            ledger = EXCLUDED.ledger, updated_at = now()
         WHERE agents.ledger <= EXCLUDED.ledger",
        registry,
        i64::from(agent_id),
        agent.developer.to_string(),
        uri,
        &runners,
        &attesters,
        card.map_or(0, |_| i64::from(agent.latest_rate_version)),
        card.map(|card| as_json(&card.rates)).transpose()?,
        card.map(|card| card.manifest_hash.as_bytes().to_vec()),
        i64::from(ledger),
    )
    .execute(in_time(conn))
    .await?;
    Ok(())
}

/// Applies an event of a grant. What the row knows from a later ledger stays.
pub async fn apply_to_grant(
    conn: &mut PgConnection,
    vault: &str,
    ledger: u32,
    fact: &Fact,
) -> Result<()> {
    let ledger = i64::from(ledger);
    match fact {
        Fact::RunnerGranted { user, runner, agent_id, issued_at, expires_at, serial } => {
            sqlx::query!(
                "INSERT INTO grants (vault, user_account, runner, agent_id, serial, issued_at,
                    expires_at, ledger, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now())
                 ON CONFLICT (vault, user_account, runner, agent_id) DO UPDATE SET
                    serial = EXCLUDED.serial, issued_at = EXCLUDED.issued_at,
                    expires_at = EXCLUDED.expires_at, revoked_at = NULL,
                    ledger = EXCLUDED.ledger, updated_at = now()
                 WHERE grants.ledger <= EXCLUDED.ledger",
                vault,
                user,
                runner,
                i64::from(*agent_id),
                i64::from(*serial),
                seconds(*issued_at),
                expires_at.map(seconds),
                ledger,
            )
            .execute(in_time(conn))
            .await?;
        }

        Fact::RunnerRevoked { user, runner, agent_id, revoked_at } => {
            sqlx::query!(
                "INSERT INTO grants (vault, user_account, runner, agent_id, revoked_at, ledger,
                    updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, now())
                 ON CONFLICT (vault, user_account, runner, agent_id) DO UPDATE SET
                    revoked_at = EXCLUDED.revoked_at, ledger = EXCLUDED.ledger,
                    updated_at = now()
                 WHERE grants.ledger <= EXCLUDED.ledger",
                vault,
                user,
                runner,
                i64::from(*agent_id),
                seconds(*revoked_at),
                ledger,
            )
            .execute(in_time(conn))
            .await?;
        }

        Fact::RunnerLimits { user, runner, agent_id, per_run_cap, total_cap, max_runner_fee } => {
            sqlx::query!(
                "INSERT INTO grants (vault, user_account, runner, agent_id, per_run_cap,
                    total_cap, max_runner_fee, ledger, updated_at)
                 VALUES ($1, $2, $3, $4, $5::text::numeric, $6::text::numeric, $7::text::numeric,
                    $8, now())
                 ON CONFLICT (vault, user_account, runner, agent_id) DO UPDATE SET
                    per_run_cap = EXCLUDED.per_run_cap, total_cap = EXCLUDED.total_cap,
                    max_runner_fee = EXCLUDED.max_runner_fee, ledger = EXCLUDED.ledger,
                    updated_at = now()
                 WHERE grants.ledger <= EXCLUDED.ledger",
                vault,
                user,
                runner,
                i64::from(*agent_id),
                per_run_cap.to_string(),
                total_cap.to_string(),
                max_runner_fee.to_string(),
                ledger,
            )
            .execute(in_time(conn))
            .await?;
        }
        // An expired grant was dead before it was cleared away; its row says so already.
        _ => {}
    }
    Ok(())
}

/// A grant by its parties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantKey {
    /// Who grants.
    pub user: String,
    /// To whom.
    pub runner: String,
    /// For which agent.
    pub agent_id: u32,
}

/// Grants that are known, and those that `runner` needs for unfinished runs.
pub async fn grants_to_read(
    conn: &mut PgConnection,
    vault: &str,
    runner: &str,
) -> Result<Vec<GrantKey>> {
    let found = sqlx::query!(
        r#"SELECT user_account AS "user!", runner AS "runner!", agent_id AS "agent_id!"
           FROM grants WHERE vault = $1
           UNION SELECT DISTINCT user_account, $2, agent_id FROM runs WHERE phase <> 'done'"#,
        vault,
        runner,
    );
    let found = found.fetch_all(in_time(conn)).await?.into_iter().map(|row| GrantKey {
        user: row.user,
        runner: row.runner,
        agent_id: u32::try_from(row.agent_id).unwrap_or(u32::MAX),
    });
    Ok(found.collect())
}

/// Keeps a grant as the vault's state has it in `ledger`. The state holds no time of issue.
pub async fn keep_grant(
    conn: &mut PgConnection,
    vault: &str,
    (ledger, closed_at): (u32, u64),
    key: &GrantKey,
    grant: &StoredGrant,
) -> Result<()> {
    let (limits, serial) = (grant.limits, grant.serial);
    sqlx::query!(
        "INSERT INTO grants (vault, user_account, runner, agent_id, serial, expires_at, revoked_at,
            per_run_cap, total_cap, max_runner_fee, ledger, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::numeric, $9::text::numeric,
            $10::text::numeric, $11, now())
         ON CONFLICT (vault, user_account, runner, agent_id) DO UPDATE SET
            issued_at = CASE WHEN grants.serial = EXCLUDED.serial THEN grants.issued_at END,
            serial = coalesce(EXCLUDED.serial, grants.serial), expires_at = EXCLUDED.expires_at,
            revoked_at = CASE WHEN EXCLUDED.serial IS NULL
                THEN coalesce(grants.revoked_at, EXCLUDED.revoked_at) END,
            per_run_cap = EXCLUDED.per_run_cap, total_cap = EXCLUDED.total_cap,
            max_runner_fee = EXCLUDED.max_runner_fee, ledger = EXCLUDED.ledger, updated_at = now()
         WHERE grants.ledger <= EXCLUDED.ledger",
        vault,
        key.user,
        key.runner,
        i64::from(key.agent_id),
        serial.map(i64::from),
        grant.expires_at.map(seconds),
        serial.is_none().then(|| seconds(closed_at)),
        limits.map(|limits| limits.per_run_cap.to_string()),
        limits.map(|limits| limits.total_cap.to_string()),
        limits.map(|limits| limits.max_runner_fee.to_string()),
        i64::from(ledger),
    )
    .execute(in_time(conn))
    .await?;
    Ok(())
}

/// A known grant whose entry is gone from the state was revoked.
pub async fn forget_grant(
    conn: &mut PgConnection,
    vault: &str,
    (ledger, closed_at): (u32, u64),
    key: &GrantKey,
) -> Result<()> {
    sqlx::query!(
        "UPDATE grants SET revoked_at = coalesce(revoked_at, $5), ledger = $6, updated_at = now()
         WHERE vault = $1 AND user_account = $2 AND runner = $3 AND agent_id = $4
            AND ledger <= $6",
        vault,
        key.user,
        key.runner,
        i64::from(key.agent_id),
        seconds(closed_at),
        i64::from(ledger),
    )
    .execute(in_time(conn))
    .await?;
    Ok(())
}

/// Where the reader is, and the gaps that no operator took note of.
pub async fn position(db: &PgPool, followed: &Followed) -> Result<ReadPosition> {
    let row = sqlx::query!(
        r#"SELECT
            (SELECT next_ledger - 1 FROM contract_cursors
                WHERE network_id = $1 AND vault = $2 AND registry = $3) AS read,
            (SELECT ledger FROM networks WHERE network_id = $1) AS newest,
            (SELECT read_until FROM contract_cursors
                WHERE network_id = $1 AND vault = $2 AND registry = $3) AS read_until,
            (SELECT closed_at FROM networks WHERE network_id = $1) AS newest_at,
            (SELECT count(*) FROM contract_event_gaps
                WHERE network_id = $1 AND acknowledged_at IS NULL) AS "gaps!",
            (SELECT min(first_ledger) FROM contract_event_gaps
                WHERE network_id = $1 AND acknowledged_at IS NULL) AS first_lost,
            (SELECT max(last_ledger) FROM contract_event_gaps
                WHERE network_id = $1 AND acknowledged_at IS NULL) AS last_lost"#,
        followed.network.as_bytes(),
        followed.vault.to_string(),
        followed.registry.to_string(),
    );
    let row = row.fetch_one(in_time(db)).await?;
    let behind_secs = match (row.read_until, row.newest_at) {
        (Some(read), Some(newest)) => (newest - read.unix_timestamp()).max(0),
        _ => 0,
    };
    let behind = match (row.read, row.newest) {
        (Some(read), Some(newest)) => (newest - read).max(0),
        _ => 0,
    };
    Ok(ReadPosition {
        behind: behind.unsigned_abs(),
        behind_secs: behind_secs.unsigned_abs(),
        gaps: row.gaps.unsigned_abs(),
        lost: row.first_lost.zip(row.last_lost),
    })
}

/// A stretch of ledgers whose events were lost.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The first ledger of it.
    pub first_ledger: i64,
    /// The last one.
    pub last_ledger: i64,
    /// When it was found, RFC 3339.
    pub found_at: String,
    /// Whether an operator took note of it.
    pub acknowledged: bool,
}

/// Every gap, oldest first.
pub async fn gaps(db: &PgPool) -> Result<Vec<Gap>> {
    let found = sqlx::query!(
        r#"SELECT first_ledger, last_ledger, found_at, acknowledged_at IS NOT NULL AS "noted!"
           FROM contract_event_gaps ORDER BY id"#
    );
    let found = found.fetch_all(in_time(db)).await?.into_iter().map(|row| Gap {
        first_ledger: row.first_ledger,
        last_ledger: row.last_ledger,
        found_at: chassis::clock::rfc3339(row.found_at),
        acknowledged: row.noted,
    });
    Ok(found.collect())
}

/// Takes note of every gap. How many there were.
pub async fn acknowledge_gaps(db: &PgPool) -> Result<u64> {
    let done = sqlx::query!(
        "UPDATE contract_event_gaps SET acknowledged_at = now() WHERE acknowledged_at IS NULL"
    );
    Ok(done.execute(in_time(db)).await?.rows_affected())
}

/// Begins a transaction on the reader's own connection.
pub async fn begin(conn: &mut PgConnection) -> Result<sqlx::Transaction<'_, sqlx::Postgres>> {
    Ok(begin_on(conn).await?)
}

fn as_json(value: &impl serde::Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| crate::error::Error::Broken(error.to_string()))
}

fn seconds(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
