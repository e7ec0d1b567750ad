//! Where close times come from: the machine's clock, moved by time travel, or a clock that only a
//! test moves.

use std::time::{SystemTime, UNIX_EPOCH};

/// The network's clock, in seconds of Unix time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    /// The machine's clock plus an offset in seconds.
    System {
        /// Seconds added by time travel.
        offset: u64,
    },
    /// Stands still until somebody moves it.
    Manual {
        /// The present, in seconds of Unix time.
        now: u64,
    },
}

impl Clock {
    /// Seconds of Unix time.
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::System { offset } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                since.as_secs().saturating_add(*offset)
            }
            Self::Manual { now } => *now,
        }
    }

    /// The clock as no time travel moves it, in seconds: the machine's, or the one that only a test
    /// moves, whose time passes in no other way.
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
}
