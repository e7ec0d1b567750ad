//! How much was read and written, for who waits.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what is done through one [`super::Objects`] and its clones.
#[derive(Debug, Default)]
pub struct Meter {
    objects_read: AtomicU64,
    bytes_read: AtomicU64,
    objects_written: AtomicU64,
    bytes_written: AtomicU64,
    bytes_expected: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metered {
    /// Objects that were opened.
    pub objects_read: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Objects that were created.
    pub objects_written: u64,
    /// Bytes of them.
    pub bytes_written: u64,
    /// Bytes that are to be read, as far as the lengths of objects are known beforehand.
    pub bytes_expected: u64,
}

impl Meter {
    /// The counts now.
    pub fn now(&self) -> Metered {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Metered {
            objects_read: get(&self.objects_read),
            bytes_read: get(&self.bytes_read),
            objects_written: get(&self.objects_written),
            bytes_written: get(&self.bytes_written),
            bytes_expected: get(&self.bytes_expected),
        }
    }

    pub(super) fn expect(&self, bytes: u64) {
        self.bytes_expected.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) {
        self.objects_read.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn wrote(&self, bytes: u64) {
        self.objects_written.fetch_add(1, Ordering::Relaxed);
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }
}
