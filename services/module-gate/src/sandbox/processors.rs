//! Which processor a run is held on.
//!
//! A call that the guard stops waits for the supervisor. On one processor that is a change of
//! tasks; between two, each has to wake the other, which takes many times as long. So every run
//! gets one processor, and runs at once get different ones as long as there are enough.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu};

/// The processors of this process, shared by all its runs.
#[derive(Debug, Clone)]
pub struct Processors {
    occupancy: Arc<Mutex<Occupancy>>,
}

/// A run's hold on a processor, until it is dropped.
#[derive(Debug)]
pub struct ProcessorLease {
    processors: Processors,
    number: usize,
}

#[derive(Debug, Default)]
struct Occupancy {
    /// Runs on each processor.
    runs: BTreeMap<usize, usize>,
    /// The lowest processor of the core that a processor is a thread of, where it has several.
    cores: BTreeMap<usize, usize>,
}

impl Processors {
    /// Looks at what the machine has; no run is on a processor yet.
    pub fn new() -> Self {
        let cores = allowed().into_iter().filter_map(|number| Some((number, core(number)?)));
        let occupancy = Occupancy { cores: cores.collect(), ..Occupancy::default() };
        Self { occupancy: Arc::new(Mutex::new(occupancy)) }
    }

    /// A place for a run on the processor that fewest runs are on. None where this process may use
    /// one processor only: every run is there already.
    pub fn take(&self) -> Option<ProcessorLease> {
        let mut occupancy = self.occupancy.lock().unwrap_or_else(PoisonError::into_inner);
        let number = occupancy.choose(&allowed(), sched_getcpu())?;
        *occupancy.runs.entry(number).or_default() += 1;
        Some(ProcessorLease { processors: self.clone(), number })
    }
}

impl Default for Processors {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcessorLease {
    /// The processor, as the kernel counts them.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl Drop for ProcessorLease {
    fn drop(&mut self) {
        let mut occupancy =
            self.processors.occupancy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = occupancy.runs.get_mut(&self.number) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Occupancy {
    /// Among equals one whose core has fewest runs; then the one the kernel runs this thread on: it
    /// keeps threads of all processes apart, and we know our own only.
    fn choose(&self, allowed: &[usize], current: usize) -> Option<usize> {
        if allowed.len() < 2 {
            return None;
        }
        let core = |number: usize| self.cores.get(&number).copied().unwrap_or(number);
        let on = |number: usize| self.runs.get(&number).copied().unwrap_or(0);
        let on_core = |number: usize| -> usize {
            let beside = self.runs.iter().filter(|(other, _)| core(**other) == core(number));
            beside.map(|(_, count)| count).sum()
        };
        let order = |number: &usize| (on(*number), on_core(*number), *number != current, *number);
        allowed.iter().copied().min_by_key(order)
    }
}

/// What this process may use now: a container's set of processors can change while it runs. Asked
/// of its first thread, which is not held on a processor while another thread waits for a run.
pub(super) fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Some(getpid()));
    set.map_or_else(|_| Vec::new(), |set| (0..CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect())
}

/// The lowest processor of a processor's core, if the machine says which.
fn core(number: usize) -> Option<usize> {
    let file = format!("/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list");
    let list = fs::read_to_string(file).ok()?;

    // "0-1", "0,4"
    list.split([',', '-', '\n']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where so many runs at once go.
    fn spread(
        mut occupancy: Occupancy,
        allowed: &[usize],
        current: usize,
        runs: usize,
    ) -> Vec<usize> {
        let next = |_| {
            let number = occupancy.choose(allowed, current).unwrap();
            *occupancy.runs.entry(number).or_default() += 1;
            number
        };
        (0..runs).map(next).collect()
    }

    #[test]
    fn a_single_processor_is_nothing_to_choose() {
        assert_eq!(Occupancy::default().choose(&[], 0), None);
        assert_eq!(Occupancy::default().choose(&[3], 3), None);
    }

    #[test]
    fn runs_spread_over_what_is_allowed_and_nothing_else() {
        let chosen = spread(Occupancy::default(), &[1, 4, 6], 4, 6);
        assert_eq!(chosen, [4, 1, 6, 4, 1, 6], "the current one first, each as often");
        assert_eq!(Occupancy::default().choose(&[1, 4], 0), Some(1), "0 is not allowed");
    }

    #[test]
    fn a_core_of_its_own_comes_before_a_thread_of_a_busy_one() {
        let cores = BTreeMap::from([(0, 0), (1, 0), (2, 2), (3, 2)]);
        let occupancy = Occupancy { cores, ..Occupancy::default() };
        assert_eq!(spread(occupancy, &[0, 1, 2, 3], 1, 4), [1, 2, 0, 3]);
    }

    #[test]
    fn a_place_is_free_again_when_its_run_ends() {
        let processors = Processors::new();
        let (Some(one), Some(other)) = (processors.take(), processors.take()) else {
            assert!(allowed().len() < 2);
            return;
        };
        assert_ne!(one.number(), other.number());
        assert!([&one, &other].iter().all(|place| allowed().contains(&place.number())));
        drop((one, other));
        assert!(processors.occupancy.lock().unwrap().runs.values().all(|count| *count == 0));
    }
}
