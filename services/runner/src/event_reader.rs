//! Reads the events of vault and registry, ledger by ledger, and lets runs react to them.
//!
//! One reader a database holds an advisory lock on one connection and makes every write on it. It
//! reads `getEvents` from the stored ledger on; a ledger's events, what follows from them, their
//! published form and the new position become true in one transaction. So nothing is lost and
//! nothing doubled, wherever the process dies and whichever node answers: an event's id is the
//! network's own, and the position moves only over ledgers that were read whole.
//!
//! A node keeps events for a time only. If none has a ledger any more, the gap is stored, logged,
//! measured and shown by the health until an operator takes note of it; what follows from state
//! (agents, grants) is read from the contracts instead.
//!
//! Each round compares the node with the newest ledger that was seen of the network, and raises
//! that mark: a service without work notices another history as soon as one that sends (R13).
//! Before the first round, and now and then, every node is asked for a transaction that landed.

use std::sync::Arc;
use std::time::Duration;

use chassis::{outbox, postgres};
use sqlx::{Connection as _, PgConnection, PgPool};
use stellar::Rpc;
use stellar::rpc::{Clock, EventsFrom, SeenEvent};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wire::event::ChainData;

use crate::chain::client::{another_history, remember};
use crate::chain::history::{self, Landmark};
use crate::chain::network::{LedgerMark, NodeStatus, compare};
use crate::chain::store as chain_store;
use crate::error::{Error, Result};
use crate::event_reader::reactions::Reactions;
use crate::metrics;
use crate::sight::{Followed, decode, state, store};

mod reactions;

/// How often a process that does not read asks whether it should.
const LEAD_EVERY: Duration = Duration::from_secs(1);
/// How often nodes are asked for what landed: the answer is large.
const HISTORY_EVERY: Duration = Duration::from_secs(60);
/// Events of one page.
const PAGE: u32 = 1_000;
/// How many ledgers a node may be behind and keep its turn: one may have closed while it answered.
const MOST_BEHIND: u32 = 1;
/// The pause after a failure, and the longest one after several.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The reader.
#[derive(Debug)]
pub struct EventReader {
    /// Where everything is kept.
    pub db: PgPool,
    /// The node.
    pub rpc: Arc<Rpc>,
    /// What is followed.
    pub followed: Followed,
    /// First token of subjects.
    pub nats_prefix: String,
    /// How often the node is asked for a new ledger.
    pub poll: Duration,
}

impl EventReader {
    /// Follows the events until `stop`, whenever no other process does.
    ///
    /// # Errors
    ///
    /// Only when the network turned out to have another history (R13): the service must stop.
    /// Whatever else fails is tried again, waiting longer each time.
    pub async fn follow(self, stop: CancellationToken) -> anyhow::Result<()> {
        self.rpc.expect_network(self.followed.network);
        let mut failures = 0_u32;
        while !stop.is_cancelled() {
            let led = tokio::select! {
                led = self.lead(&mut failures) => led,
                // The node may be silent: a stop does not wait for it. It can be cut off anywhere, as
                // by a crash: the position moves with what was read, in one transaction.
                () = stop.cancelled() => return Ok(()),
            };
            let pause = match led {
                Ok(()) => LEAD_EVERY,
                Err(error @ Error::NetworkReset(_)) => {
                    tracing::error!("{error}");
                    return Err(error.into());
                }
                Err(error) => {
                    // The first one may be a moment's; what lasts is said once.
                    if failures == 1 {
                        tracing::warn!("the contracts' events wait: {}", wire::causes(&error));
                    }
                    failures = failures.saturating_add(1);
                    PAUSE.saturating_mul(1 << failures.min(5)).min(LONGEST_PAUSE)
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    /// Reads everything that there is now, for a command that must know it; where another process
    /// reads, until that has. The newest ledger that was read.
    ///
    /// # Errors
    ///
    /// When database or node do not answer; [`Error::NetworkReset`].
    pub async fn catch_up(&self) -> Result<u32> {
        self.rpc.expect_network(self.followed.network);
        self.check_history(None).await?;
        let newest = self.rpc.clock().await?.latest_ledger;
        let mut conn = self.db.acquire().await?.detach();
        let mut reactions = Reactions::default();
        loop {
            if store::try_lock(&mut conn).await? {
                self.round(&mut conn, &mut reactions).await?;
            }
            let next = store::next_ledger(&mut conn, &self.followed).await?;
            if next.is_some_and(|next| next > newest) {
                break;
            }
            sleep(self.poll).await;
        }
        // The lock goes with the connection.
        conn.close().await?;
        Ok(newest)
    }

    /// Reads as the database's one reader until a failure; answers at once if another one reads.
    async fn lead(&self, failures: &mut u32) -> Result<()> {
        // Out of the pool, so that dropping it closes it and the lock goes with it.
        let mut conn = self.db.acquire().await?.detach();
        if !store::try_lock(&mut conn).await? {
            conn.close().await?;
            return Ok(());
        }
        tracing::debug!("this process reads the contracts' events");
        let mut reactions = Reactions::default();
        let (mut landmark, mut checked_at) = (None, None::<Instant>);
        loop {
            if checked_at.is_none_or(|at| at.elapsed() >= HISTORY_EVERY) {
                landmark = self.check_history(landmark).await?;
                checked_at = Some(Instant::now());
            }
            self.round(&mut conn, &mut reactions).await?;
            if *failures > 1 {
                tracing::info!("the contracts' events are read again");
            }
            *failures = 0;
            sleep(self.poll).await;
        }
    }

    /// Reads what there is to read now.
    async fn round(&self, conn: &mut PgConnection, reactions: &mut Reactions) -> Result<()> {
        let mut clock = self.clock().await?;
        let next = match store::next_ledger(conn, &self.followed).await? {
            Some(next) => next,
            None => self.start(conn, &clock).await?,
        };
        // A node that is behind has nothing new; what it has is true nevertheless.
        if clock.latest_ledger < next {
            return Ok(());
        }
        if clock.oldest_ledger > next
            && let Some(other) = self.turn_to_history(next).await?
        {
            clock = other;
        }
        let next = self.skip_forgotten(conn, next, &clock).await?;
        self.read_on(conn, reactions, next, &clock).await
    }

    /// Fails if a node lacks what landed. `before` is what the last check answered: what landed since
    /// then could be a reset network's own.
    async fn check_history(&self, before: Option<Landmark>) -> Result<Option<Landmark>> {
        let newest = chain_store::landmark(&self.db, self.followed.network).await?;
        let before = before.filter(|before| Some(*before) != newest);
        for landmark in before.into_iter().chain(newest) {
            if let Some(wrong) = history::wrong_node(&self.rpc, landmark).await {
                return Err(Error::NetworkReset(wrong));
            }
        }
        Ok(newest)
    }

    /// The clock of a node that lives in the history that is known, of one that is not behind if
    /// there is one.
    async fn clock(&self) -> Result<Clock> {
        let clock = self.rpc.clock().await?;
        if self.observe(&clock).await? <= MOST_BEHIND || self.rpc.nodes() < 2 {
            return Ok(clock);
        }
        self.rpc.turn_away();
        let clock = self.rpc.clock().await?;
        self.observe(&clock).await?;
        Ok(clock)
    }

    /// Remembers what a node says of itself. How many ledgers it is behind what was seen before.
    async fn observe(&self, clock: &Clock) -> Result<u32> {
        let network = (self.followed.network, self.followed.passphrase.as_str());
        let (status, known) = remember(&self.db, network, clock).await?;
        match status {
            NodeStatus::Current => Ok(0),
            NodeStatus::Behind => Ok(known.ledger.saturating_sub(clock.latest_ledger)),
            NodeStatus::NetworkReset => Err(another_history(&known, clock)),
        }
    }

    /// Looks for a node that still has this ledger, and lets it have the turn. Its clock.
    async fn turn_to_history(&self, ledger: u32) -> Result<Option<Clock>> {
        if self.rpc.nodes() < 2 {
            return Ok(None);
        }
        let known = chain_store::high_water(&self.db, self.followed.network).await?;
        for place in 0..self.rpc.nodes() {
            let clock = match self.rpc.clock_at(place).await {
                Ok(clock) => clock,
                Err(error) => {
                    tracing::debug!("node {} does not say what it keeps: {error}", place + 1);
                    continue;
                }
            };
            let seen = LedgerMark::newest(&clock);
            let is_reset =
                known.is_some_and(|known| compare(&known, &seen) == NodeStatus::NetworkReset);
            if !is_reset && (clock.oldest_ledger..=clock.latest_ledger).contains(&ledger) {
                self.rpc.turn_to(place);
                return Ok(Some(clock));
            }
        }
        Ok(None)
    }

    /// Begins with the oldest ledger that the node has. Of what was before it, state says enough.
    async fn start(&self, conn: &mut PgConnection, clock: &Clock) -> Result<u32> {
        let next = clock.oldest_ledger.max(1);
        let mut tx = store::begin(conn).await?;
        store::start(&mut tx, &self.followed, next, time_of(clock.oldest_close)?).await?;
        state::read(&mut tx, &self.rpc, &self.followed, clock.latest_close).await?;
        postgres::commit(tx).await?;
        tracing::info!("the contracts' events are read from ledger {next} on");
        Ok(next)
    }

    /// If the node forgot ledgers that were not read, this is noted, and the position moves
    /// behind them.
    async fn skip_forgotten(
        &self,
        conn: &mut PgConnection,
        next: u32,
        clock: &Clock,
    ) -> Result<u32> {
        let oldest = clock.oldest_ledger;
        if oldest <= next {
            return Ok(next);
        }
        let lost = (next, oldest - 1);
        let mut tx = store::begin(conn).await?;
        store::note_gap(&mut tx, &self.followed, lost).await?;
        state::read(&mut tx, &self.rpc, &self.followed, clock.latest_close).await?;
        let at = time_of(clock.oldest_close)?;
        if !store::advance(&mut tx, &self.followed, next, oldest, at).await? {
            return Err(moved());
        }
        // Runs may have been closed meanwhile: all of them look.
        reactions::wake_all(&mut tx).await?;
        postgres::commit(tx).await?;
        metrics::event_gaps().add(1, &[]);
        tracing::error!(
            first = lost.0,
            last = lost.1,
            "the node forgot the contracts' events of ledgers {} to {} before they were read; \
             agents and grants were read from state",
            lost.0,
            lost.1
        );
        Ok(oldest)
    }

    /// Reads page by page up to the newest ledger. Each page's whole ledgers are kept before the
    /// next page is asked for.
    async fn read_on(
        &self,
        conn: &mut PgConnection,
        reactions: &mut Reactions,
        first: u32,
        clock: &Clock,
    ) -> Result<()> {
        let contracts = [self.followed.vault, self.followed.registry];
        let (mut next, mut cursor) = (first, None::<String>);
        let mut waiting: Vec<SeenEvent> = Vec::new();
        loop {
            let from = cursor.as_deref().map_or(EventsFrom::Ledger(next), EventsFrom::Cursor);
            let page = self.rpc.event_page(&contracts, from, PAGE).await?;
            // It forgot ledgers between the two answers: the next round notes the gap.
            if cursor.is_none() && page.oldest_ledger.is_some_and(|oldest| oldest > next) {
                return Ok(());
            }
            waiting.extend(page.events);
            let complete = page.complete_until.unwrap_or_default();
            if complete >= next {
                // Events of a ledger that is not complete wait for the rest of it.
                let rest =
                    waiting.split_off(waiting.partition_point(|seen| seen.ledger <= complete));
                let whole = std::mem::replace(&mut waiting, rest);
                let at = read_until(&whole, complete, clock)?;
                self.keep(conn, reactions, (next, complete), at, &whole, page.is_last).await?;
                next = complete + 1;
            }
            if page.is_last {
                return Ok(());
            }
            // A page whose cursor does not move would be asked for again and again.
            if cursor.as_deref() == Some(page.cursor.as_str()) {
                return Ok(());
            }
            cursor = Some(page.cursor);
        }
    }

    /// Keeps whole ledgers: their events, what follows from them, and the new position.
    async fn keep(
        &self,
        conn: &mut PgConnection,
        reactions: &mut Reactions,
        (first, last): (u32, u32),
        read_until: OffsetDateTime,
        events: &[SeenEvent],
        is_newest: bool,
    ) -> Result<()> {
        let mut tx = store::begin(conn).await?;
        let mut kept = Vec::new();
        for seen in events {
            let data = self.data(seen);
            if !store::keep(&mut tx, seen, data.as_ref()).await? {
                continue;
            }
            if let Some(data) = data {
                self.apply(&mut tx, seen, &data).await?;
                kept.push(data);
            }
        }
        let reacted = reactions.react(&mut tx, self, &kept, is_newest).await?;
        if !store::advance(&mut tx, &self.followed, first, last + 1, read_until).await? {
            return Err(moved());
        }
        if !kept.is_empty() {
            store::notify(&mut tx).await?;
        }
        postgres::commit(tx).await?;
        reactions.done(reacted);
        for data in &kept {
            metrics::contract_event(data.fact.name());
        }
        Ok(())
    }

    /// What an event says; `None` for one that this release cannot read, which is kept as it is and
    /// holds nothing up (V19).
    fn data(&self, seen: &SeenEvent) -> Option<ChainData> {
        let read = seen.decode().and_then(|event| decode::fact(&event, &self.followed.vault));
        let fact = match read {
            Ok(Some(fact)) => fact,
            Ok(None) => return None,
            Err(error) => {
                metrics::contract_event("unreadable");
                tracing::warn!("event {} of {} cannot be read: {error}", seen.id, seen.contract);
                return None;
            }
        };
        Some(ChainData {
            event_id: seen.id.clone(),
            contract: seen.contract.to_string(),
            ledger: seen.ledger,
            transaction: seen.transaction,
            fact,
        })
    }

    /// Publishes an event, and applies it to what follows from it.
    async fn apply(
        &self,
        conn: &mut PgConnection,
        seen: &SeenEvent,
        data: &ChainData,
    ) -> Result<()> {
        let name = data.fact.name();
        outbox::publish(conn, &self.nats_prefix, name, data, seen.closed_at, None).await?;
        if seen.contract == self.followed.registry {
            store::apply_to_agent(conn, &data.contract, seen.ledger, &data.fact).await
        } else {
            store::apply_to_grant(conn, &data.contract, seen.ledger, &data.fact).await
        }
    }
}

/// When the newest of these ledgers closed, as far as it is known.
fn read_until(events: &[SeenEvent], complete: u32, clock: &Clock) -> Result<OffsetDateTime> {
    if complete >= clock.latest_ledger {
        return time_of(clock.latest_close);
    }
    match events.last() {
        Some(seen) => Ok(seen.closed_at),
        // Ledgers without events say nothing of time; it is made good at the end of the reading.
        None => time_of(clock.oldest_close),
    }
}

fn time_of(seconds: u64) -> Result<OffsetDateTime> {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|error| Error::Broken(format!("a ledger closed at {seconds}: {error}")))
}

/// The position is another's by now: this reader has lost its lock, and begins again.
fn moved() -> Error {
    Error::Broken("the position in the contracts' events was moved by another reader".to_owned())
}
