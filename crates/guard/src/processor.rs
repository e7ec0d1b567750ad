//! Command and supervisor on one processor.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The calling thread, and whatever it forks, is held on one processor until this is dropped.
#[derive(Debug)]
pub(crate) struct PinnedThread {
    before: CpuSet,
}

impl PinnedThread {
    /// Moves the calling thread to `processor`.
    ///
    /// # Errors
    /// There is no such processor, or this process may not use it.
    pub(crate) fn pin_to(processor: usize) -> io::Result<Self> {
        if processor >= CpuSet::MAX_CPU {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let before = sched_getaffinity(None)?;
        let mut only = CpuSet::new();
        only.set(processor);
        sched_setaffinity(None, &only)?;
        Ok(Self { before })
    }
}

impl Drop for PinnedThread {
    fn drop(&mut self) {
        // Should the set have been taken from this process meanwhile, it stays where it is.
        let _ = sched_setaffinity(None, &self.before);
    }
}
