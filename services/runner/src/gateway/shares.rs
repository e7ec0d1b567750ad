//! Places that callers take and give back, counted for each caller, so that none takes all of them.
//!
//! An account costs nothing to make, so that places are counted by address as well: a caller that
//! has one address and many accounts has the places of one address.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Who has how many places.
type Taken<K> = Arc<Mutex<HashMap<K, usize>>>;

/// Places, so many for each caller. Copies share them.
#[derive(Debug, Clone)]
pub struct Shares<K> {
    most: usize,
    taken: Taken<K>,
}

/// A caller's place, until it is dropped.
#[derive(Debug)]
pub struct Share<K: Hash + Eq> {
    key: K,
    taken: Taken<K>,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// `most` places for each caller.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// One more place for this caller; nothing where it has as many as it may.
    pub fn take(&self, key: &K) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { key: key.clone(), taken: Arc::clone(&self.taken) })
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = taken.get_mut(&self.key) else { return };
        *count = count.saturating_sub(1);
        // No row for who has no place: the table stays as small as its use.
        if *count == 0 {
            taken.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_its_places_and_gives_them_back() {
        let shares = Shares::new(2);
        let first = shares.take(&"a").unwrap();
        let _second = shares.take(&"a").unwrap();
        assert!(shares.take(&"a").is_none());
        assert!(shares.take(&"b").is_some(), "another caller has places of its own");
        drop(first);
        let again = shares.take(&"a");
        assert!(again.is_some());
        assert_eq!(shares.taken.lock().unwrap().len(), 1, "who has no place has no row");
    }
}
