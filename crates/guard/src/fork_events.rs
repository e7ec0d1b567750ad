//! Counts the processes a tree makes, without stopping any: the kernel writes a record of every
//! fork into memory shared with it.
//!
//! A fork cannot be stopped like other calls where processes are declared: a stopped call can be
//! interrupted by a signal, and shells, which fork while the signals of ended children arrive, take
//! that for a lack of processes.
#![expect(unsafe_code, reason = "perf_event_open, and memory shared with the kernel")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys;

/// Pages of one processor's records, a power of two: some two thousand starts and ends of processes
/// between two looks.
const PAGES: usize = 16;
/// With more processors than this every fork would make as many counters.
const MAX_PROCESSORS: usize = 64;

const SOFTWARE: u32 = 1;
const DUMMY: u64 = 9;
const INHERIT: u64 = 1 << 1;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
const TASK_RECORDS: u64 = 1 << 13;
const CLOEXEC: u64 = 8;

const LOST: u32 = 2;
const FORK: u32 = 7;

// The positions of writer (kernel) and reader (we), in the first page.
const HEAD: usize = 1024;
const TAIL: usize = 1032;

/// `struct perf_event_attr` in its first published size.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    period: u64,
    samples: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    config1: u64,
}

/// The forks of one tree.
#[derive(Debug)]
pub(crate) struct ForkEvents {
    rings: Vec<Ring>,
    made: u64,
    exact: bool,
}

/// The records of one processor.
#[derive(Debug)]
struct Ring {
    base: *mut u8,
    bytes: usize,
    // The kernel writes as long as this is open.
    _event: OwnedFd,
}

impl ForkEvents {
    /// Counts from now on what this process and its descendants make.
    ///
    /// # Errors
    /// The host does not allow it, or has too many processors.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let processors = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
        let processors = numbers(&processors).ok_or(io::ErrorKind::InvalidData)?;
        if processors.len() > MAX_PROCESSORS {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        let rings = processors
            .into_iter()
            .map(|processor| Ring::open(pid, processor))
            .collect::<Result<_, _>>()?;
        Ok(Self { rings, made: 0, exact: true })
    }

    /// Takes up what was written since the last look.
    pub(crate) fn look(&mut self) {
        for ring in &self.rings {
            let (made, exact) = ring.take();
            self.made += made;
            self.exact &= exact;
        }
    }

    /// Processes made, as far as recorded.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// Processes made, unless records were lost.
    pub(crate) fn count(&self) -> Option<u64> {
        self.exact.then_some(self.made)
    }
}

impl Ring {
    fn open(pid: u32, processor: i32) -> io::Result<Self> {
        let attributes = Attributes {
            // The event itself never counts: it exists for the records of tasks that go with it.
            kind: SOFTWARE,
            size: size_of::<Attributes>() as u32,
            config: DUMMY,
            // Inherited, so that descendants are recorded as well.
            flags: INHERIT | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR | TASK_RECORDS,
            ..Attributes::default()
        };
        let page = usize::try_from(sys::page_bytes()).unwrap_or(4096);
        // SAFETY: the kernel reads the structure, whose size is in it, and answers a descriptor
        // that belongs to no other code; the mapping is new memory of the size given.
        unsafe {
            let event = libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                pid.cast_signed(),
                processor,
                -1,
                CLOEXEC,
            );
            if event < 0 {
                return Err(io::Error::last_os_error());
            }
            let event = OwnedFd::from_raw_fd(event as i32);
            let base = libc::mmap(
                ptr::null_mut(),
                (1 + PAGES) * page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            );
            if base == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { base: base.cast(), bytes: PAGES * page, _event: event })
        }
    }

    /// The number of forks, and whether all of them were recorded.
    fn take(&self) -> (u64, bool) {
        let (mut made, mut exact) = (0, true);
        // Acquire: what was written before the kernel moved its position is seen.
        let head = self.position(HEAD).load(Ordering::Acquire);
        let mut tail = self.position(TAIL).load(Ordering::Relaxed);
        while tail < head {
            let (kind, size) = (self.word(tail), self.word(tail + 4) >> 16);
            match kind {
                // Pid and tid: equal for a new process; a new thread has the pid of its process.
                FORK if self.word(tail + 8) == self.word(tail + 16) => made += 1,
                LOST => exact = false,
                _ => {}
            }
            if size == 0 {
                // Never written by the kernel.
                exact = false;
                break;
            }
            tail += u64::from(size);
        }
        // Release: the kernel may write over records only once they were read.
        self.position(TAIL).store(tail, Ordering::Release);
        (made, exact)
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the first page is mapped as long as this lives, and holds aligned numbers there
        // that both sides change atomically.
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast()) }
    }

    /// Four bytes of a record; records begin at multiples of eight and may go on at the start.
    fn word(&self, at: u64) -> u32 {
        let offset = usize::try_from(at).unwrap_or(0) % self.bytes;
        let page = usize::try_from(sys::page_bytes()).unwrap_or(4096);
        // SAFETY: inside the mapping, aligned to four, and not written by the kernel between tail
        // and head.
        unsafe { self.base.add(page + offset).cast::<u32>().read_volatile() }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let page = usize::try_from(sys::page_bytes()).unwrap_or(4096);
        // SAFETY: unmaps what was mapped, of the same size; no reference into it outlives this.
        unsafe { libc::munmap(self.base.cast(), self.bytes + page) };
    }
}

/// The numbers of a list like `0-3,5`.
fn numbers(list: &str) -> Option<Vec<i32>> {
    let mut all = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.parse::<i32>().ok()?..=last.parse().ok()?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(numbers("0\n"), Some(vec![0]));
        assert_eq!(numbers("0-3,5,7-8"), Some(vec![0, 1, 2, 3, 5, 7, 8]));
        assert_eq!(numbers("x"), None);
    }
}
