//! Which processor a run is held on.
//!
//! A call that the guard stops waits for the supervisor. On one processor that is a change of tasks; between two, each has to wake the
//! other, which takes many times as long. So every run gets one processor, and runs at once get different ones as long as there are enough.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu};

/// The processors of this process, shared by all its runs.
#[derive(Debug, Clone, Default)]
pub struct Processors {
    runs: Arc<Mutex<BTreeMap<usize, usize>>>,
}

/// A run's hold on a processor, until it is dropped.
#[derive(Debug)]
pub struct Place {
    processors: Processors,
    number: usize,
}

impl Processors {
    /// A place for a run on the processor that fewest runs are on. None where this process may use one processor only: every run is
    /// there already.
    pub fn take(&self) -> Option<Place> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let number = choose(&allowed(), &runs, sched_getcpu())?;
        *runs.entry(number).or_default() += 1;
        Some(Place { processors: self.clone(), number })
    }
}

impl Place {
    /// The processor, as the kernel counts them.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut runs = self.processors.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = runs.get_mut(&self.number) {
            *count = count.saturating_sub(1);
        }
    }
}

/// What this process may use now: a container's set of processors can change while it runs. Asked of its first thread, which is
/// held nowhere while another thread waits for a run.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Some(getpid()));
    set.map_or_else(|_| Vec::new(), |set| (0..CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect())
}

/// Among equals the one the kernel runs this thread on: it keeps threads of all processes apart, and we know our own only.
fn choose(allowed: &[usize], runs: &BTreeMap<usize, usize>, current: usize) -> Option<usize> {
    if allowed.len() < 2 {
        return None;
    }
    let on = |number: &usize| runs.get(number).copied().unwrap_or(0);
    allowed.iter().copied().min_by_key(|number| (on(number), *number != current, *number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_processor_is_nothing_to_choose() {
        assert_eq!(choose(&[], &BTreeMap::new(), 0), None);
        assert_eq!(choose(&[3], &BTreeMap::new(), 3), None);
    }

    #[test]
    fn runs_spread_over_what_is_allowed_and_nothing_else() {
        let allowed = [1, 4, 6];
        let mut runs = BTreeMap::new();
        let mut chosen = Vec::new();
        for _ in 0..6 {
            let number = choose(&allowed, &runs, 4).unwrap();
            *runs.entry(number).or_default() += 1;
            chosen.push(number);
        }
        assert_eq!(chosen, [4, 1, 6, 4, 1, 6], "the current one first, each as often");
        assert_eq!(choose(&allowed, &BTreeMap::new(), 0), Some(1), "0 is not allowed");
    }

    #[test]
    fn a_place_is_free_again_when_its_run_ends() {
        let processors = Processors::default();
        let (Some(one), Some(other)) = (processors.take(), processors.take()) else {
            assert!(allowed().len() < 2);
            return;
        };
        assert_ne!(one.number(), other.number());
        assert!([&one, &other].iter().all(|place| allowed().contains(&place.number())));
        drop((one, other));
        assert!(processors.runs.lock().unwrap().values().all(|count| *count == 0));
    }
}
