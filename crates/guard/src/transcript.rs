//! A digest over all effects of a run, whatever their order and number, in bounded memory (M14).
//!
//! Each effect is hashed by itself with a secret key, and the hashes are added up as numbers of 256
//! bits: the sum does not depend on the order, and counts repetitions. The key is what makes a sum
//! of hashes safe: who does not know it cannot search for two lists of effects with one sum.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::ledger::Event;
use crate::report;
use crate::tasks::ProcessInfo;

/// The effects seen until now.
#[derive(Debug)]
pub(crate) struct Transcript {
    key: [u8; 32],
    /// A number of 256 bits, its lowest part first.
    sum: [u64; 4],
    effects: u64,
}

impl Transcript {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key, sum: [0; 4], effects: 0 }
    }

    /// Adds what is compared of an effect (M8): not process numbers, times or order.
    pub(crate) fn add(&mut self, event: &Event, who: &ProcessInfo) {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update([event.category as u8, u8::from(event.allowed)]);
        // Each part with its length, so that no two effects are written alike.
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(event.operation.as_bytes());
        part(event.target.as_bytes());
        part(event.other.as_deref().unwrap_or_default().as_bytes());
        part(who.executable.as_bytes());
        // Only what the kernel confirmed: a process that forked and started no program shows
        // arguments it could have written itself.
        part(who.started_with.as_ref().map_or(&[][..], |digest| &digest[..]));
        let hash: [u8; 32] = hash.finalize().into();

        self.effects += 1;
        let mut carry = false;
        for (part, bytes) in self.sum.iter_mut().zip(hash.chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            let (sum, first) = part.overflowing_add(u64::from_le_bytes(word));
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*part, carry) = (sum, first || second);
        }
    }

    pub(crate) fn finish(&self) -> report::Transcript {
        let mut digest = String::with_capacity(64);
        for byte in self.sum.iter().flat_map(|part| part.to_le_bytes()) {
            // Writing to a string cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        report::Transcript { digest, effects: self.effects }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Category, Charge};

    fn event(target: &str) -> Event {
        Event {
            category: Category::FsWrite,
            operation: "openat",
            target: target.to_owned(),
            other: None,
            allowed: true,
            charge: Charge::Declared,
            exact: true,
        }
    }

    fn digest(targets: &[&str], key: u8) -> report::Transcript {
        let who = ProcessInfo {
            pid: 1,
            executable: "/bin/true".to_owned(),
            argv: Vec::new(),
            argv_exact: true,
            started_with: None,
            parents: Vec::new(),
        };
        let mut transcript = Transcript::new([key; 32]);
        targets.iter().for_each(|target| transcript.add(&event(target), &who));
        transcript.finish()
    }

    #[test]
    fn order_does_not_count_and_number_does() {
        assert_eq!(digest(&["a", "b", "c"], 1), digest(&["c", "a", "b"], 1));
        assert_ne!(digest(&["a", "b"], 1), digest(&["a", "b", "b"], 1));
        assert_ne!(digest(&["a", "a"], 1), digest(&["b", "b"], 1));
        assert_ne!(digest(&["a"], 1).digest, digest(&["a"], 2).digest);
    }
}
