//! Where close times come from: the machine's clock, moved by time travel, or a clock that only a
//! test moves.

use std::time::{SystemTime, UNIX_EPOCH};

/// The latest time there is: the end of the year 9999, after which no time can be written as text.
pub(crate) const LATEST: u64 = 253_402_300_799;

/// The network's clock, in seconds of Unix time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    /// The machine's clock plus an offset in seconds.
    System {
        /// Seconds added by time travel.
        offset: u64,
    },
    /// Stops until a test moves it.
    Manual {
        /// The present, in seconds of Unix time.
        now: u64,
    },
}

impl Clock {
    /// Seconds of Unix time, at most [`LATEST`].
    pub(crate) fn now(&self) -> u64 {
        let now = match self {
            Self::System { offset } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                since.as_secs().saturating_add(*offset)
            }
            Self::Manual { now } => *now,
        };
        now.min(LATEST)
    }

    /// Seconds of a clock that `advance_time` does not move: the machine's, or the manual one,
    /// which only a test moves.
    pub(crate) fn steady(&self) -> u64 {
        match self {
            Self::System { .. } => Self::System { offset: 0 }.now(),
            Self::Manual { now } => *now,
        }
    }

    /// Moves the clock forward; time never runs backwards.
    pub(crate) fn advance(&mut self, seconds: u64) {
        match self {
            Self::System { offset } => *offset = offset.saturating_add(seconds),
            Self::Manual { now } => *now = now.saturating_add(seconds),
        }
    }

    /// Moves the clock forward to `time` in seconds of Unix time, unless it is later already.
    pub(crate) fn catch_up(&mut self, time: u64) {
        self.advance(time.saturating_sub(self.now()));
    }
}
