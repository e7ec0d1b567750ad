//! Senders: one for each channel, which gathers wanted calls into transactions and carries each
//! transaction to its end (R17).
//!
//! A channel is leased by one process at a time and has one live transaction at most. A sender that
//! loses its lease stops at once: what it was doing is stored, and the next holder of the channel
//! goes on from there. Whatever process it is, what a dead one left is carried on by the others,
//! with or without the channel's key: the stored bytes need no key to be sent again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::postgres;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::steps::RunDriver;
use crate::chain::call::{CallState, WantedCall};
use crate::chain::fees::Exceeded;
use crate::chain::follow::{Refused, alone, backoff, judged_at};
use crate::chain::outcomes::Shortage;
use crate::chain::sign::{Batch, NotSigned, Times};
use crate::chain::store::calls::{self, CallUpdate, Ready};
use crate::chain::store::channels;
use crate::chain::store::{self, ChannelLease};
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::model::state::Lane;
use crate::runs::gathering::Gathered;
use crate::runs::signal::WorkSignal;
use crate::runs::{event, store as runs};

/// How long reserved calls are left alone by other senders, in milliseconds: longer than it takes
/// to sign. Nothing but double work depends on it.
const RESERVED_MS: i64 = 10_000;
/// A transaction needs at least this many seconds of ledger time to be of any use.
const LEAST_SECS: u64 = 5;
/// How long openings are held back once executors were found to have enough to do. An execution that
/// ends makes place for few openings, and executors have work for longer than this.
const HELD_BACK: Duration = Duration::from_millis(250);
/// After what time a sender looks again whose calls others have taken, or which were called off.
const SOON: Duration = Duration::from_millis(50);
/// How long a sender waits at most before it looks for calls again.
const IDLE: Duration = Duration::from_secs(2);
/// How long a look at what others have left may take for one channel.
const TURN: Duration = Duration::from_secs(20);

/// How often added channels are looked for, at most.
const ADDED_POLL: Duration = Duration::from_millis(500);

/// Between two looks at what others have left, at least and at most. A key that is not seen for a
/// minute counts as gone, however slow the poll is.
const RECOVERY_POLL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// What the sender knows that looks for calls, for those that look after it.
#[derive(Debug, Default)]
pub struct Looking {
    /// Until when no opening is reserved, since executors have enough to do: whether they have reads
    /// every opened run.
    held_back_until: Option<Instant>,
}

/// What a sender found.
enum Found {
    /// Calls of one kind, which are reserved for it.
    Calls(Kind, Vec<WantedCall>),
    /// Nothing; how long to wait at most.
    Nothing(Duration),
    /// Calls that wait for others, for so long at most, and while there is work in these lanes.
    Gathering(Duration, &'static [Lane]),
}

/// Serves one channel of this process until `stop`.
///
/// # Errors
///
/// Only when the network turned out to have another history (R13): the service must stop.
pub async fn serve(
    driver: Arc<RunDriver>,
    account: String,
    work_signal: WorkSignal,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut changed = work_signal.calls();
    let mut failures = 0;
    while !stop.is_cancelled() {
        let outcome = hold(&driver, &account, &work_signal, &mut changed, &stop).await;
        let pause = match outcome {
            Ok(()) => {
                failures = 0;
                IDLE
            }
            Err(error @ Error::NetworkReset(_)) => {
                tracing::error!("{error}");
                return Err(error.into());
            }
            Err(error) => {
                tracing::warn!(channel = account, "the channel waits: {}", error.logged());
                failures += 1;
                backoff(failures)
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
    Ok(())
}

/// Leases the channel, if it is free, and carries calls until the lease is lost or something fails.
async fn hold(
    driver: &RunDriver,
    account: &str,
    work_signal: &WorkSignal,
    changed: &mut watch::Receiver<u64>,
    stop: &CancellationToken,
) -> Result<()> {
    let (owner, lease_ms) = (&driver.chain.owner, driver.policy.lease_ms);
    let Some(channel) = store::lease_channel(&driver.db, account, owner, lease_ms).await? else {
        return Ok(());
    };
    let reserved = Reserved::default();
    let outcome = tokio::select! {
        outcome = carry(driver, &channel, work_signal, changed, &reserved) => outcome,
        () = driver.chain.lease_lost(&channel, lease_ms) => Err(Error::ChannelLost(channel.account.clone())),
        // It can be cut off anywhere: the next holder goes on from what is stored.
        () = stop.cancelled() => Ok(()),
    };
    // Given back whatever happened; after a crash it is free when the lease ends.
    let released = reserved.release(&driver.db).await;
    store::release_channel(&driver.db, &channel).await?;
    released?;
    outcome
}

/// The calls that a sender has reserved and not yet signed, kept where they are found when it is cut
/// off: others sign them at once.
#[derive(Debug, Default)]
struct Reserved(Mutex<Vec<i64>>);

impl Reserved {
    fn set(&self, calls: Vec<i64>) {
        *self.locked() = calls;
    }

    /// Those that were signed are not wanted any more; the rest is anybody's again.
    async fn release(&self, db: &PgPool) -> Result<()> {
        let calls = self.locked().clone();
        if calls.is_empty() {
            return Ok(());
        }
        calls::release(db, &calls).await?;
        // Only now: where this is cut off or fails, they are released when the channel is.
        self.set(Vec::new());
        Ok(())
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<i64>> {
        // Every change of it is one assignment: a panic leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn carry(
    driver: &RunDriver,
    channel: &ChannelLease,
    work_signal: &WorkSignal,
    changed: &mut watch::Receiver<u64>,
    reserved: &Reserved,
) -> Result<()> {
    loop {
        // Read again in every turn: what is stored decides, not what this process remembers.
        if let Some(live) = store::live(&driver.db, &channel.account).await? {
            driver.chain.follow(channel, &live).await?;
            work_signal.notify_all();
            continue;
        }
        // An operator's orders go first: they are few, and a drained channel takes no more calls.
        if driver.chain.sign_order(channel).await? {
            continue;
        }
        if !channels::takes_calls(&driver.db, &channel.account).await? {
            return Ok(());
        }
        // One sender of this process looks for calls, also while it waits for some: all would find
        // the same. The others look at their channels again from time to time.
        let Ok(mut looking) = timeout(IDLE, driver.looking.lock()).await else { continue };
        changed.mark_unchanged();
        match driver.look(work_signal, reserved, &mut looking).await? {
            Found::Calls(kind, wanted) => {
                drop(looking);
                if driver.send(channel, kind, wanted, reserved).await? {
                    work_signal.notify_all();
                } else {
                    sleep(SOON).await;
                }
            }
            Found::Nothing(pause) => tokio::select! {
                // The sender of the signal lives as long as this process.
                _ = changed.changed() => {}
                () = sleep(pause) => {}
            },
            Found::Gathering(pause, lanes) => tokio::select! {
                _ = changed.changed() => {}
                () = work_signal.until_idle(lanes) => {}
                () = sleep(pause) => {}
            },
        }
    }
}

/// Serves the channels that were added by command, from soon after they are added until they are
/// drained.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_added(
    driver: Arc<RunDriver>,
    work_signal: WorkSignal,
    poll: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let payers = driver.chain.accounts();
    let mut served: BTreeMap<String, CancellationToken> = BTreeMap::new();
    let mut senders = JoinSet::new();
    while !stop.is_cancelled() {
        match channels::served(&driver.db, &payers).await {
            Ok(wanted) => {
                served.retain(|account, stop_one| {
                    let is_wanted = wanted.iter().any(|channel| channel.account == *account);
                    if !is_wanted {
                        stop_one.cancel();
                    }
                    is_wanted
                });
                for channel in wanted {
                    if served.contains_key(&channel.account) {
                        continue;
                    }
                    if let Err(error) = driver.chain.adopt(&channel) {
                        tracing::warn!("{error}");
                        continue;
                    }
                    let stop_one = stop.child_token();
                    let account = channel.account.clone();
                    served.insert(account.clone(), stop_one.clone());
                    let (driver, work_signal) = (driver.clone(), work_signal.clone());
                    senders.spawn(serve(driver, account, work_signal, stop_one));
                }
            }
            Err(error) => {
                tracing::warn!("the added channels are not known now: {}", error.logged());
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(poll.max(ADDED_POLL)) => {}
            Some(ended) = senders.join_next() => ended??,
        }
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}

/// Carries on what no other process does: transactions on channels of dead processes whose keys are
/// not here, and calls whose transaction has ended without their being judged.
///
/// # Errors
///
/// As [`serve`].
pub async fn recover_abandoned(
    driver: Arc<RunDriver>,
    work_signal: WorkSignal,
    poll: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        let recovered = tokio::select! {
            recovered = driver.recover_once() => recovered,
            () = stop.cancelled() => return Ok(()),
        };
        match recovered {
            Ok(true) => work_signal.notify_all(),
            Ok(false) => {}
            Err(error @ Error::NetworkReset(_)) => {
                tracing::error!("{error}");
                return Err(error.into());
            }
            Err(error) => {
                tracing::warn!("what others left is not carried on now: {}", error.logged());
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(poll.clamp(RECOVERY_POLL.0, RECOVERY_POLL.1)) => {}
        }
    }
    Ok(())
}

impl RunDriver {
    async fn recover_once(&self) -> Result<bool> {
        let mut done = false;
        // First, and again between channels below: a key that is not seen for a minute counts as gone.
        let runner = self.chain.runner.address().to_string();
        runs::serve_identity(&self.db, &runner).await?;
        if self.policy.places.is_limited() {
            runs::note_places(&self.db, self.policy.places).await?;
        }
        if self.gates.is_some() {
            runs::note_executors(&self.db, self.policy.lookahead()).await?;
        }
        let orphaned = calls::orphaned(&self.db, &runner).await?;
        done |= !orphaned.is_empty();
        calls::conclude_unsigned(&self.db, &orphaned).await?;
        for ended in store::unjudged(&self.db).await? {
            self.chain.judge_ended(&ended).await?;
            done = true;
        }
        let own = self.chain.accounts();
        for account in store::abandoned_channels(&self.db).await? {
            if own.contains(&account) {
                continue;
            }
            let (owner, lease_ms) = (&self.chain.owner, self.policy.lease_ms);
            let leased = store::lease_channel(&self.db, &account, owner, lease_ms).await?;
            let Some(channel) = leased else { continue };
            let outcome = tokio::select! {
                outcome = timeout(TURN, self.carry_on(&channel)) => outcome.unwrap_or(Ok(())),
                () = self.chain.lease_lost(&channel, lease_ms) => Ok(()),
            };
            store::release_channel(&self.db, &channel).await?;
            outcome?;
            runs::serve_identity(&self.db, &runner).await?;
            done = true;
        }
        Ok(calls::wake_forgotten(&self.db).await? > 0 || done)
    }

    async fn carry_on(&self, channel: &ChannelLease) -> Result<()> {
        match store::live(&self.db, &channel.account).await? {
            Some(live) => self.chain.follow(channel, &live).await,
            None => Ok(()),
        }
    }

    /// Reserves the calls that are signed next, if there are any.
    async fn look(
        &self,
        work_signal: &WorkSignal,
        reserved: &Reserved,
        looking: &mut Looking,
    ) -> Result<Found> {
        let runner = self.chain.runner.address().to_string();
        let ready = calls::ready(&self.db, &runner).await?;
        let Some((kind, ready)) = most_urgent(&ready) else {
            let next = calls::next_at(&self.db, &runner).await?;
            return Ok(Found::Nothing(next.map_or(IDLE, |next| next.min(IDLE))));
        };
        let most = kind.most_together().min(self.policy.batch_most);
        // What this process works on is known without a question to the database. What others work
        // on is not waited for: a batch is at most smaller for it.
        let lanes = lanes_before(kind);
        let gathered = Gathered {
            count: ready.count,
            waited: ready.waited,
            may_grow: !work_signal.are_idle(lanes),
            until_close: self.chain.pulse.until_close(),
        };
        if let Some(wait) = gathered.wait(most, self.policy.batch_delay) {
            return Ok(Found::Gathering(wait, lanes));
        }
        let is_executed = kind == Kind::Open && self.gates.is_some();
        if is_executed && looking.held_back_until.is_some_and(|until| Instant::now() < until) {
            return Ok(Found::Nothing(HELD_BACK));
        }
        let lookahead = is_executed.then(|| self.policy.lookahead());
        let (wanted, unreadable) =
            calls::reserve(&self.db, kind, most, (&runner, RESERVED_MS), lookahead).await?;
        reserved.set(wanted.iter().map(|call| call.id).collect());
        calls::conclude_unsigned(&self.db, &unreadable).await?;
        if !wanted.is_empty() {
            return Ok(Found::Calls(kind, wanted));
        }
        if let Some(lookahead) = lookahead
            && !calls::has_executor(&self.db, lookahead).await?
        {
            looking.held_back_until = Some(Instant::now() + HELD_BACK);
            return Ok(Found::Nothing(HELD_BACK));
        }
        // A sender of another process was faster.
        Ok(Found::Nothing(SOON))
    }

    /// Signs reserved calls and stores them as the next transaction of a channel that has none.
    /// Answers whether anything may have changed.
    async fn send(
        &self,
        channel: &ChannelLease,
        kind: Kind,
        wanted: Vec<WantedCall>,
        reserved: &Reserved,
    ) -> Result<bool> {
        // From the signature on the deadline of an opening runs.
        let outcome = self.sign_and_store(channel, kind, wanted).await;
        reserved.release(&self.db).await?;
        match outcome {
            // A run was called off, or its call was, while it was being signed.
            Err(Error::CallGone) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Ok(true),
        }
    }

    async fn sign_and_store(
        &self,
        channel: &ChannelLease,
        kind: Kind,
        wanted: Vec<WantedCall>,
    ) -> Result<()> {
        let now = self.chain.now().await?.latest_close;
        let deadline = now.saturating_add(self.policy.deadline_secs);
        let latest = |call: &WantedCall| match (call.repeats, call.deadline) {
            // The vault answers what it keeps at any time.
            (true, _) => u64::MAX,
            (false, fixed) => self.latest(kind, fixed.unwrap_or(deadline)),
        };
        let (mut wanted, late): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|call| latest(call) >= now.saturating_add(LEAST_SECS));
        let late: Vec<_> = late.iter().map(too_late).collect();
        calls::conclude_unsigned(&self.db, &late).await?;

        // A call that is nearly late goes alone: it would shorten the life of a shared transaction.
        let full = now.saturating_add(self.chain.transaction_secs);
        if kind != Kind::Open
            && let Some(urgent) = wanted.iter().position(|call| latest(call) < full)
        {
            wanted = vec![wanted.swap_remove(urgent)];
        }
        let Some(last) = wanted.iter().map(latest).min() else { return Ok(()) };
        let times = Times { deadline, max_time: full.min(last) };

        // In each round the calls become fewer, or they are signed.
        while !wanted.is_empty() {
            match self.chain.prepare(channel, kind, &wanted, times).await? {
                Ok(batch) => match self.store(channel, &batch).await? {
                    None => return Ok(()),
                    Some(exceeded) => {
                        let why = NotSigned::Ceiling(exceeded);
                        wanted = self.not_signed(kind, wanted, why).await?;
                    }
                },
                Err(why) => wanted = self.not_signed(kind, wanted, why).await?,
            }
        }
        Ok(())
    }

    /// Notes why calls were not signed. Answers those that may be signed without the others.
    async fn not_signed(
        &self,
        kind: Kind,
        wanted: Vec<WantedCall>,
        why: NotSigned,
    ) -> Result<Vec<WantedCall>> {
        let together = wanted.len();
        let retry = |call: &WantedCall, words: &str| {
            CallUpdate::new(call.id, call.run, CallState::Wanted, words)
        };
        let (mut updates, mut rest) = (Vec::new(), Vec::new());
        match why {
            NotSigned::Refused(refused) => {
                for (place, call) in wanted.into_iter().enumerate() {
                    match refused.iter().find(|(at, _)| *at == place) {
                        Some((_, error)) => {
                            let subject = Refused {
                                call: call.id,
                                run: call.run,
                                failures: call.failures,
                                judged_at: judged_at(Some(&call.arguments)),
                                together,
                            };
                            updates.push(self.chain.after_refusal(kind, &subject, error));
                        }
                        None => rest.push(call),
                    }
                }
            }
            NotSigned::Alone(places) => {
                for (place, call) in wanted.into_iter().enumerate() {
                    if places.contains(&place) {
                        let bundle = Some(alone(call.id));
                        updates.push(CallUpdate { bundle, ..retry(&call, "") });
                    } else {
                        rest.push(call);
                    }
                }
            }
            NotSigned::Ceiling(exceeded) => {
                for call in wanted {
                    if exceeded.runs.contains(&call.run) {
                        let update = retry(&call, &exceeded.words);
                        updates.push(self.chain.wait(Shortage::Ceiling, call.failures, update));
                    } else {
                        rest.push(call);
                    }
                }
            }
            NotSigned::Split(words) => {
                tracing::warn!(calls = together, "{kind}s are split: {words}");
                // One half's place in the numbering of bundles is its first call's.
                let middle = together.div_ceil(2);
                let firsts = [wanted[0].id, wanted[middle].id];
                for (place, call) in wanted.iter().enumerate() {
                    let first = firsts[usize::from(place >= middle)];
                    let bundle = if together == 2 { alone(call.id) } else { shared(first) };
                    updates.push(CallUpdate { bundle: Some(bundle), ..retry(call, "") });
                }
            }
            NotSigned::Wait(shortage, words) => {
                for call in &wanted {
                    updates.push(self.chain.wait(shortage, call.failures, retry(call, &words)));
                }
            }
            NotSigned::Operator(words) => {
                for call in &wanted {
                    updates.push(CallUpdate::new(call.id, call.run, CallState::Unknown, &*words));
                }
            }
        }
        calls::conclude_unsigned(&self.db, &updates).await?;
        Ok(rest)
    }

    /// Stores what was signed: envelope, calls, channel, and what openings pin, all or nothing.
    /// Nothing is sent before. If a ceiling stops some of the runs, nothing is stored and they are
    /// named.
    async fn store(&self, channel: &ChannelLease, batch: &Batch) -> Result<Option<Exceeded>> {
        let kind = batch.transaction.kind;
        let members = &batch.members;
        let runs: Vec<_> = members.iter().map(|member| member.run).collect();
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence_channel(&mut tx, channel).await?;
        let fee = batch.transaction.max_fee;
        if let Some(exceeded) = self.chain.fees.check(&mut tx, kind, &runs, fee).await? {
            return Ok(Some(exceeded));
        }
        calls::lock_runs(&mut tx, &runs).await?;
        store::insert(&mut tx, &batch.transaction, members).await?;
        if kind == Kind::Open {
            for member in members {
                if runs::pin(&mut tx, member).await? {
                    let now = chassis::clock::now();
                    let prefix = &self.policy.nats_prefix;
                    event::publish(&mut tx, prefix, member.run, now).await?;
                }
            }
        }
        runs::note_signed(&mut tx, &runs).await?;
        postgres::commit(tx).await?;
        tracing::info!(
            hash = %batch.transaction.hash,
            calls = members.len(),
            "{kind} is signed on channel {}",
            channel.account
        );
        self.chain.crash_point(kind, "after_persist");
        Ok(None)
    }
}

fn too_late(call: &WantedCall) -> CallUpdate {
    CallUpdate::new(
        call.id,
        call.run,
        CallState::Late,
        "it cannot land before its deadline any more",
    )
}

/// The bundle of calls that go with each other only, from the first one's number. Bundles of a
/// transaction's halves are small positive numbers, those of single calls negative.
const fn shared(first: i64) -> i64 {
    i64::MAX - first
}

/// The lanes whose work may lead to a call of this kind soon. What is executed has been opened.
const fn lanes_before(kind: Kind) -> &'static [Lane] {
    match kind {
        Kind::Open => &[Lane::Chain],
        Kind::Finalize | Kind::Void | Kind::Reclaim | Kind::Channel => &[Lane::Chain, Lane::Gates],
    }
}

/// Which calls are signed next: what ends an escrow before what begins one, and of equals what has
/// waited longest.
fn most_urgent(ready: &[(Kind, Ready)]) -> Option<(Kind, Ready)> {
    let rank = |kind: Kind| match kind {
        Kind::Finalize | Kind::Void => 0,
        Kind::Reclaim => 1,
        Kind::Open => 2,
        // No call is of this kind.
        Kind::Channel => 3,
    };
    let order = |(kind, ready): &&(Kind, Ready)| (rank(*kind), std::cmp::Reverse(ready.waited));
    ready.iter().min_by_key(order).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_an_escrow_goes_before_what_begins_one() {
        let waited = |secs| Ready { count: 1, waited: Duration::from_secs(secs) };
        let ready = [
            (Kind::Open, waited(900)),
            (Kind::Reclaim, waited(90)),
            (Kind::Finalize, waited(1)),
            (Kind::Void, waited(2)),
        ];
        assert_eq!(most_urgent(&ready).map(|(kind, _)| kind), Some(Kind::Void));
        assert_eq!(most_urgent(&ready[..3]).map(|(kind, _)| kind), Some(Kind::Finalize));
        assert_eq!(most_urgent(&ready[..2]).map(|(kind, _)| kind), Some(Kind::Reclaim));
        assert!(most_urgent(&[]).is_none());
    }
}
