//! Holds a run against its limits.

use std::sync::atomic::Ordering;

use super::{Run, locked, stops_forks};
use crate::fork_events::ForkEvents;
use crate::launch::Reaper;
use crate::report::Exit;
use crate::sys;
use crate::tree;

/// How often the tree is looked at: that takes a look at every thread of it.
const USAGE_MS: u64 = 50;
/// How often the trees it writes are, at most.
pub(super) const WEIGH_MS: u64 = 250;

impl Run<'_> {
    /// Holds the run against its limits, once a tick.
    pub(super) fn look(&mut self, reaper: &Reaper) {
        if self.exit.is_some() {
            return;
        }
        let now = sys::monotonic_ms();
        self.fork_events.iter_mut().for_each(ForkEvents::look);
        let limits = &self.policy.limits;
        let limit = |name: &str| Some(Exit::Limit(name.to_owned()));
        if now - self.begun_ms >= limits.wall_ms {
            self.exit = Some(Exit::Timeout);
            return;
        }
        // Relaxed: the flag orders no other memory.
        if self.policy.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            self.exit = limit("cancelled");
            return;
        }
        // Many forks since the last look are a reason not to wait for the next.
        let made = self.fork_events.as_ref().map_or(0, ForkEvents::made);
        if now < self.measured_ms + USAGE_MS && made < self.made + limits.processes {
            return;
        }
        self.made = made;
        self.measured_ms = now;
        if let Some(name) = self.weigh(now, reaper.pid) {
            self.exit = limit(name);
            return;
        }
        let (files, forks) = {
            let observer = locked(self.observer);
            (observer.memory_files, observer.forks)
        };
        // Where every fork stops, a tree without one is the command's own process.
        let only = (stops_forks(self.policy) && forks == 0).then_some(self.main);
        let usage = tree::usage(reaper.pid, only, limits, files);
        self.cpu_ms = self.cpu_ms.max(usage.cpu_ms);
        self.exit = if usage.cpu_ms >= limits.cpu_ms {
            limit("cpu_ms")
        } else if usage.memory_bytes > limits.memory_bytes {
            limit("memory_bytes")
        } else if usage.processes > limits.processes {
            limit("processes")
        } else if usage.threads > limits.processes.saturating_mul(64) {
            limit("threads")
        } else {
            None
        };
    }

    /// Walks through the trees from time to time, the more seldom the longer it takes.
    fn weigh(&mut self, now: u64, reaper: i32) -> Option<&'static str> {
        if now < self.weighed_ms {
            return None;
        }
        let exceeded = self.watched.exceeds(&self.policy.limits, reaper);
        let took = sys::monotonic_ms() - now;
        // At most a twentieth of the time goes into walking.
        self.weighed_ms = now + WEIGH_MS.max(20 * took);
        exceeded
    }
}
