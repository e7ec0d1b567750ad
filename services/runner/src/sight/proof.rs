//! What is proven about an attempt, by the vault's state and by the events that were followed.
//!
//! A record says it while it lives. Once it has ended, the events say it, if every ledger in which
//! one could have been was read. Otherwise nothing is known, and nothing is concluded (R13).

use chassis::postgres::in_time;
use sqlx::{PgConnection, PgPool};
use stellar::Rpc;
use stellar::vault::{Lifecycle, RunRecord, Vault};
use time::OffsetDateTime;
use wire::event::{Fact, Finalized};
use wire::{Digest, RunId, VaultRunId};

use crate::chain::decide::record_lives_until;
use crate::chain::reads::refuse_older;
use crate::chain::store as chain_store;
use crate::error::{Error, Result};
use crate::sight::{Followed, store};

/// What became of an attempt's escrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The vault holds it.
    Open {
        /// Settle and void before it, reclaim from it on.
        deadline: u64,
    },
    /// It was settled.
    Settled {
        /// What the developer got.
        charge: i128,
        /// What the settlement commits to.
        output_hash: Digest,
        /// The event, if it was read.
        event: Option<Box<Finalized>>,
        /// The vault's record, while it lives.
        record: Option<Box<RunRecord>>,
    },
    /// All of it went back to the user.
    Returned(Returned),
    /// It was never taken, and cannot be any more.
    NeverOpened,
    /// Nothing follows from what is known.
    Unknown(String),
}

/// How an escrow went back as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// Given up before its deadline.
    Voided,
    /// Given back after its deadline.
    Reclaimed,
    /// Its record has ended unsettled, and its account's day sums return it (V3).
    Expired,
}

impl Returned {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Voided => "it was voided",
            Self::Reclaimed => "it was reclaimed",
            Self::Expired => "its deadline passed, and its account's sums return it",
        }
    }
}

/// Whose escrow is asked about.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: u32,
    /// The run's id in the vault.
    pub vault_run_id: VaultRunId,
    /// Unix seconds of ledger time.
    pub deadline: u64,
    /// Newest ledger known when anything was first signed for it; `None` if nothing was.
    pub first_ledger: Option<u32>,
    /// The last moment at which anything that was signed for it can land.
    pub last_max_time: u64,
}

/// What the proofs are read from.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The events.
    pub db: &'a PgPool,
    /// The node.
    pub rpc: &'a Rpc,
    /// Whose events they are.
    pub followed: &'a Followed,
}

impl Proof {
    /// In words.
    pub fn text(&self) -> String {
        match self {
            Self::Open { deadline } => format!("the vault holds the escrow until {deadline}"),
            Self::Settled { charge, .. } => format!("the vault settled it with {charge} stroops"),
            Self::Returned(how) => format!("the escrow went back: {}", how.text()),
            Self::NeverOpened => "the vault never took the escrow, and cannot any more".to_owned(),
            Self::Unknown(why) => format!("nothing is known: {why}"),
        }
    }

    /// The short name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Settled { .. } => "settled",
            Self::Returned(_) => "returned",
            Self::NeverOpened => "never_opened",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl Evidence<'_> {
    /// What is proven about this attempt.
    ///
    /// # Errors
    ///
    /// When the node or the database does not answer, or the node is behind.
    pub async fn prove(&self, asked: &Asked) -> Result<Proof> {
        let (ledger, records) = self.records(&[asked.vault_run_id]).await?;
        let record = records.into_iter().next().flatten();
        self.judge(asked, ledger, record).await
    }

    /// Records as one ledger of a node that is not behind has them.
    ///
    /// # Errors
    ///
    /// As [`Evidence::prove`].
    pub async fn records(&self, ids: &[VaultRunId]) -> Result<(u32, Vec<Option<RunRecord>>)> {
        // Before the node is asked, as in `ChainClient::record`.
        let known = chain_store::high_water(self.db, self.followed.network).await?;
        let (ledger, records) = Vault(self.followed.vault).read_runs(self.rpc, ids).await?;
        refuse_older(known, ledger)?;
        Ok((ledger, records))
    }

    /// What follows from the record, read in `ledger`, and the events.
    ///
    /// # Errors
    ///
    /// As [`Evidence::prove`].
    pub async fn judge(
        &self,
        asked: &Asked,
        ledger: u32,
        record: Option<RunRecord>,
    ) -> Result<Proof> {
        if let Some(record) = record {
            return Ok(match record.lifecycle {
                Lifecycle::Open => Proof::Open { deadline: record.deadline },
                Lifecycle::Finalized { charge, output_hash, .. } => {
                    let event = self.closing(asked.vault_run_id).await?.and_then(finalized);
                    Proof::Settled { charge, output_hash, event, record: Some(Box::new(record)) }
                }
                Lifecycle::Voided(_) => Proof::Returned(Returned::Voided),
                Lifecycle::Reclaimed => Proof::Returned(Returned::Reclaimed),
            });
        }
        // One snapshot: the reader commits a page's events with its cursor, and read one after the
        // other, the cursor could cover a closing event that the look before it did not see.
        let mut snapshot = chassis::postgres::begin_snapshot(self.db).await?;
        match closing_in(&mut snapshot, asked.vault_run_id).await? {
            Some(Fact::RunFinalized(event)) => {
                let (charge, output_hash) = (event.actual_charge, event.output_hash);
                let event = Some(event);
                return Ok(Proof::Settled { charge, output_hash, event, record: None });
            }
            Some(Fact::RunVoided { .. }) => return Ok(Proof::Returned(Returned::Voided)),
            Some(Fact::RunReclaimed { .. }) => return Ok(Proof::Returned(Returned::Reclaimed)),
            _ => {}
        }
        self.without_record(&mut snapshot, asked, ledger).await
    }

    /// There is no record and no closing event: it never was, or it has ended.
    async fn without_record(
        &self,
        snapshot: &mut PgConnection,
        asked: &Asked,
        ledger: u32,
    ) -> Result<Proof> {
        let opened_in = opened_in(snapshot, asked.vault_run_id).await?;
        // A run that was taken over from an open record has signed nothing yet: then only the event
        // says since when closing events have to be known. Without it, nothing is proven.
        let Some(first_ledger) = asked.first_ledger.into_iter().chain(opened_in).min() else {
            return Ok(Proof::Unknown(
                "there is no record, nothing was signed for it here, and its opening was not read; \
                 ask a node with full history for its events"
                    .to_owned(),
            ));
        };
        let reading = self.reading(snapshot, first_ledger).await?;
        let is_over = reading.read_until > asked.last_max_time;

        if opened_in.is_some() {
            return Ok(match reading.is_whole && reading.read_until > asked.deadline {
                // Opened, never closed, and its deadline is past: its account's day sums return it
                // (V3).
                true => Proof::Returned(Returned::Expired),
                false => Proof::Unknown(not_all_read(first_ledger, asked.vault_run_id)),
            });
        }
        if !is_over {
            return Ok(Proof::Unknown("what was signed may still land".to_owned()));
        }
        // A record that some transaction made would still be there (V17), or its event was read.
        let lives_until = record_lives_until(first_ledger, asked.last_max_time, asked.deadline);
        Ok(match ledger < lives_until || reading.is_whole {
            true => Proof::NeverOpened,
            false => Proof::Unknown(not_all_read(first_ledger, asked.vault_run_id)),
        })
    }

    /// Whether every event up to `ledger` was read or is lost: what is not there by then will not
    /// come.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn has_read(&self, ledger: u32) -> Result<bool> {
        let mut conn = self.db.acquire().await?;
        let next = store::next_ledger(&mut conn, self.followed).await?;
        Ok(next.is_some_and(|next| next > ledger))
    }

    /// The event that closed the run, if it was read.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn closing(&self, run: VaultRunId) -> Result<Option<Fact>> {
        closing_in(&mut *self.db.acquire().await?, run).await
    }

    /// How far events were read, and whether every ledger from `first` to there was.
    async fn reading(&self, snapshot: &mut PgConnection, first: u32) -> Result<Reading> {
        let found = sqlx::query!(
            r#"SELECT c.read_until AS "read_until!", c.first_ledger <= $4
                AND NOT EXISTS (SELECT 1 FROM contract_event_gaps g
                    WHERE g.network_id = $1 AND g.last_ledger >= $4)
                AND NOT EXISTS (SELECT 1 FROM contract_events e
                    WHERE e.contract = $2 AND e.name IS NULL AND e.ledger >= $4) AS "is_whole!"
               FROM contract_cursors c
               WHERE c.network_id = $1 AND c.vault = $2 AND c.registry = $3"#,
            self.followed.network.as_bytes(),
            self.followed.vault.to_string(),
            self.followed.registry.to_string(),
            i64::from(first),
        );
        let found = found.fetch_optional(in_time(snapshot)).await?;
        let seconds = |at: OffsetDateTime| u64::try_from(at.unix_timestamp()).unwrap_or_default();
        Ok(found.map_or(Reading { read_until: 0, is_whole: false }, |row| Reading {
            read_until: seconds(row.read_until),
            is_whole: row.is_whole,
        }))
    }
}

async fn closing_in(conn: &mut PgConnection, run: VaultRunId) -> Result<Option<Fact>> {
    let found = sqlx::query_scalar!(
        r#"SELECT data AS "data!" FROM contract_events WHERE run_id = $1
                AND name IN ('run_finalized', 'run_voided', 'run_reclaimed')
               ORDER BY id LIMIT 1"#,
        run.as_bytes(),
    );
    let found = found.fetch_optional(in_time(conn)).await?;
    let read = found.map(serde_json::from_value::<Fact>).transpose();
    read.map_err(|error| Error::Broken(format!("a kept event cannot be read: {error}")))
}

/// The ledger in which the run was opened, if that event was read.
async fn opened_in(conn: &mut PgConnection, run: VaultRunId) -> Result<Option<u32>> {
    let found = sqlx::query_scalar!(
        r#"SELECT min(ledger) AS "ledger" FROM contract_events
                WHERE run_id = $1 AND name = 'run_opened'"#,
        run.as_bytes(),
    );
    let ledger = found.fetch_one(in_time(conn)).await?;
    Ok(ledger.map(|ledger| u32::try_from(ledger).unwrap_or(u32::MAX)))
}

/// What was read of the events.
struct Reading {
    /// Close time of the newest ledger that was read.
    read_until: u64,
    is_whole: bool,
}

fn not_all_read(first: u32, run: VaultRunId) -> String {
    format!(
        "there is no record, and not every event since ledger {first} was read up to the deadline; \
         ask a node with full history for the events of run {run}"
    )
}

fn finalized(fact: Fact) -> Option<Box<Finalized>> {
    match fact {
        Fact::RunFinalized(event) => Some(event),
        _ => None,
    }
}
