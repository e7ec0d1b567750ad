//! How many runs may wait: no more than can be opened, executed and settled within the time that a
//! run has (R16). What is accepted is served; what could not be is refused at once, with the time
//! to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::gateway::store::{ExecutionLoad, Load};

/// How long a transaction takes until one was measured, in milliseconds: a ledger of the public
/// network.
const ASSUMED_MS: u64 = 5_000;
/// A run takes its opening and its settlement.
const TRANSACTIONS: u64 = 2;
/// The least that may wait, however slow the network is.
const LEAST: u64 = 16;
/// The longest time that a caller is asked to wait, in seconds.
const LONGEST_WAIT: u64 = 600;
/// Most runs whose start lies in the future, whatever the deadlines allow: they are rows only.
const MOST_SCHEDULED: u64 = 10_000;

/// The intake of one gateway. Copies share it.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    /// Set by the operator; otherwise it follows from the deadlines.
    most: Option<u64>,
    deadline_ms: u64,
    /// Runs that wait, as counted last, and those that were accepted since.
    waiting: AtomicU64,
    scheduled: AtomicU64,
    transaction_ms: AtomicU64,
    /// Runs that are opened and were not executed yet.
    opened: AtomicU64,
    /// How long an execution takes on the whole; 0 if that is not known.
    execution_ms: AtomicU64,
}

/// A place among the runs that wait. It is free again when it is dropped, unless it was kept.
#[derive(Debug)]
pub struct QueueSlot {
    intake: Intake,
    scheduled: bool,
    is_taken: bool,
}

impl Intake {
    /// `most` runs may wait; without a number, as many as their deadline allows.
    pub fn new(most: Option<u64>, deadline_secs: u64) -> Self {
        Self(Arc::new(Counters {
            most,
            deadline_ms: deadline_secs.saturating_mul(1_000),
            waiting: AtomicU64::new(0),
            scheduled: AtomicU64::new(0),
            transaction_ms: AtomicU64::new(ASSUMED_MS),
            opened: AtomicU64::new(0),
            execution_ms: AtomicU64::new(0),
        }))
    }

    /// Takes over what was counted.
    pub fn observe(&self, load: &Load) {
        let waiting = u64::try_from(load.queued).unwrap_or_default();
        self.0.waiting.store(waiting, Ordering::Relaxed);
        let scheduled = u64::try_from(load.scheduled).unwrap_or_default();
        self.0.scheduled.store(scheduled, Ordering::Relaxed);
    }

    /// Takes over how long transactions took, in milliseconds, if any was measured.
    pub fn observe_transactions(&self, measured_ms: Option<i64>) {
        if let Some(measured) = measured_ms.and_then(|ms| u64::try_from(ms).ok()) {
            self.0.transaction_ms.store(measured.max(1), Ordering::Relaxed);
        }
    }

    /// Takes over what there is to do for executors.
    pub fn observe_executions(&self, load: &ExecutionLoad) {
        let opened = u64::try_from(load.opened).unwrap_or_default();
        self.0.opened.store(opened, Ordering::Relaxed);
        let each_ms = load.each_ms.and_then(|ms| u64::try_from(ms).ok());
        self.0.execution_ms.store(each_ms.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Whether another run may wait; one that is `scheduled` waits apart from those that could be
    /// opened now.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`], with the time after which there will be room.
    pub fn check(&self, scheduled: bool) -> Result<()> {
        self.admits(scheduled, self.counter(scheduled).load(Ordering::Relaxed))
    }

    /// Takes a place for a run that is about to be accepted, so that requests which arrive together
    /// do not all get the last one.
    ///
    /// # Errors
    ///
    /// As [`Self::check`].
    pub fn reserve(&self, scheduled: bool) -> Result<QueueSlot> {
        let counter = self.counter(scheduled);
        let mut waiting = counter.load(Ordering::Relaxed);
        loop {
            self.admits(scheduled, waiting)?;
            let (relaxed, more) = (Ordering::Relaxed, waiting.saturating_add(1));
            match counter.compare_exchange_weak(waiting, more, relaxed, relaxed) {
                Ok(_) => return Ok(QueueSlot { intake: self.clone(), scheduled, is_taken: false }),
                Err(now) => waiting = now,
            }
        }
    }

    fn admits(&self, scheduled: bool, waiting: u64) -> Result<()> {
        if scheduled {
            if waiting < MOST_SCHEDULED {
                return Ok(());
            }
            return Err(Error::QueueFull { waiting, retry_after_secs: LONGEST_WAIT });
        }
        let run_ms = self.run_ms();
        let execution_ms = self.0.execution_ms.load(Ordering::Relaxed);
        // Each run waits for those before it; the last one has to be served before its deadline
        // would be over, had it been pinned when the run was accepted. Executors have to do what is
        // opened as well.
        let most = self.0.most.unwrap_or_else(|| {
            let opened = self.0.opened.load(Ordering::Relaxed);
            let executed = self.0.deadline_ms.checked_div(execution_ms);
            let executed = executed.map_or(u64::MAX, |count| count.saturating_sub(opened));
            (self.0.deadline_ms / run_ms).min(executed).max(LEAST)
        });
        if waiting < most {
            return Ok(());
        }
        let excess = (waiting - most).saturating_add(1);
        let wait_ms = excess.saturating_mul(run_ms.max(execution_ms));
        let retry_after_secs = wait_ms.div_ceil(1_000).clamp(1, LONGEST_WAIT);
        Err(Error::QueueFull { waiting, retry_after_secs })
    }

    fn counter(&self, scheduled: bool) -> &AtomicU64 {
        if scheduled { &self.0.scheduled } else { &self.0.waiting }
    }

    fn run_ms(&self) -> u64 {
        self.0.transaction_ms.load(Ordering::Relaxed).saturating_mul(TRANSACTIONS).max(1)
    }
}

impl QueueSlot {
    /// Its run was accepted: it counts until the runs are counted again.
    pub fn keep(mut self) {
        self.is_taken = true;
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        if self.is_taken {
            return;
        }
        let relaxed = Ordering::Relaxed;
        // The runs may have been counted meanwhile, without this one.
        let less = |waiting: u64| Some(waiting.saturating_sub(1));
        let _ = self.intake.counter(self.scheduled).fetch_update(relaxed, relaxed, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(queued: i64) -> Load {
        Load {
            queued,
            scheduled: 0,
            limited: 0,
            running: 0,
            stuck: 0,
            escrows_open: 0,
            oldest_at: None,
            overdue: 0,
            held: 0,
            active: None,
        }
    }

    #[test]
    fn no_more_runs_wait_than_their_deadline_allows() {
        let intake = Intake::new(None, 3_600);
        intake.observe(&load(359));
        assert!(intake.check(false).is_ok(), "360 runs of 10 seconds fit an hour");
        intake.reserve(false).unwrap().keep();
        let Err(Error::QueueFull { waiting: 360, retry_after_secs }) = intake.check(false) else {
            panic!("accepted")
        };
        assert_eq!(retry_after_secs, 10);
        // A faster network takes more.
        intake.observe(&load(360));
        intake.observe_transactions(Some(500));
        assert!(intake.check(false).is_ok());
    }

    #[test]
    fn no_more_runs_wait_than_are_executed_before_their_deadline() {
        let intake = Intake::new(None, 3_600);
        // Four executors, and modules of ten minutes: 24 in an hour, five of which are opened.
        let slow = ExecutionLoad { opened: 5, each_ms: Some(150_000) };
        intake.observe_executions(&slow);
        intake.observe(&load(18));
        intake.reserve(false).unwrap().keep();
        let Err(Error::QueueFull { waiting: 19, retry_after_secs }) = intake.check(false) else {
            panic!("accepted")
        };
        assert_eq!(retry_after_secs, 150);
        // What binds is the longer of the two times: here that of the network.
        intake.observe_executions(&ExecutionLoad { opened: 300, each_ms: Some(100) });
        intake.observe(&load(359));
        assert!(intake.check(false).is_ok());
        intake.observe(&load(360));
        assert!(intake.check(false).is_err());
        // However slow they are, a few may wait.
        intake.observe_executions(&ExecutionLoad { opened: 40, ..slow });
        intake.observe(&load(15));
        assert!(intake.check(false).is_ok());
        // Without executors nothing is known of them.
        intake.observe_executions(&ExecutionLoad { opened: 0, each_ms: None });
        intake.observe(&load(359));
        assert!(intake.check(false).is_ok());
    }

    #[test]
    fn the_operator_may_set_the_number() {
        let intake = Intake::new(Some(2), 3_600);
        intake.observe(&load(1));
        assert!(intake.check(false).is_ok());
        intake.observe(&load(2));
        assert!(intake.check(false).is_err());
    }

    #[test]
    fn requests_that_arrive_together_do_not_all_get_the_last_place() {
        let intake = Intake::new(Some(2), 3_600);
        intake.observe(&load(1));
        let last = intake.reserve(false).unwrap();
        assert!(intake.reserve(false).is_err());
        drop(last);
        intake.reserve(false).unwrap().keep();
        assert!(intake.reserve(false).is_err(), "a run that was accepted keeps its place");
    }

    #[test]
    fn runs_of_the_future_wait_apart() {
        let intake = Intake::new(Some(1), 3_600);
        intake.observe(&load(1));
        assert!(intake.check(false).is_err());
        assert!(intake.check(true).is_ok());
        intake.observe(&Load { scheduled: 10_000, ..load(0) });
        assert!(intake.check(true).is_err());
        assert!(intake.check(false).is_ok());
    }
}
