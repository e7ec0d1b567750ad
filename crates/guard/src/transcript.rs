//! A digest over all effects of a run, whatever their order and number, in bounded memory (M14).

use std::fmt::Write;
use std::sync::OnceLock;

use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

use crate::ledger::Event;
use crate::report;
use crate::tasks::ProcessInfo;

/// A digest of a multiset: it depends on what was added and how often, not on the order.
///
/// Each item is hashed separately with a secret key, and the hashes are added up as numbers of 256
/// bits. The key is what makes a sum of hashes safe: without it no program can search for two lists
/// of items with the same sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multiset {
    key: [u8; 32],
    /// A number of 256 bits, its lowest part first.
    sum: [u64; 4],
    items: u64,
}

impl Default for Multiset {
    fn default() -> Self {
        Self::new(process_key())
    }
}

impl Multiset {
    /// An empty one. Only those with the same key can be compared; the default has a random key of
    /// this process.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, sum: [0; 4], items: 0 }
    }

    /// Adds one item, given in parts. Each part counts with its length, so that no two lists of
    /// parts are the same item.
    pub fn add<'p>(&mut self, parts: impl IntoIterator<Item = &'p [u8]>) {
        let mut hash = Sha256::new();
        hash.update(self.key);
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let hash: [u8; 32] = hash.finalize().into();

        self.items += 1;
        let mut carry = false;
        for (part, bytes) in self.sum.iter_mut().zip(hash.chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            // At most one of the two additions overflows.
            let (sum, first) = part.overflowing_add(u64::from_le_bytes(word));
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*part, carry) = (sum, first || second);
        }
    }

    /// How many items were added.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// The digest as 64 hexadecimal digits.
    pub fn digest(&self) -> String {
        let mut digest = String::with_capacity(64);
        for byte in self.sum.iter().flat_map(|part| part.to_le_bytes()) {
            // Writing to a string cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        digest
    }
}

/// The key of all digests of this process that are given none.
pub(crate) fn process_key() -> [u8; 32] {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = [0; 32];
        let mut filled = 0;
        while filled < key.len() {
            // The call waits until the system has gathered randomness; a signal may interrupt it.
            let rest = &mut key[filled..];
            filled += getrandom(rest, GetRandomFlags::empty()).unwrap_or(0);
        }
        key
    })
}

/// The effects seen until now.
#[derive(Debug)]
pub(crate) struct Transcript(Multiset);

impl Transcript {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(Multiset::new(key))
    }

    /// Adds what is compared of an effect (M8): not process numbers, times or order.
    pub(crate) fn add(&mut self, event: &Event, process: &ProcessInfo) {
        self.0.add([
            &[event.category as u8, u8::from(event.allowed)][..],
            event.operation.as_bytes(),
            event.target.as_bytes(),
            event.other.as_deref().unwrap_or_default().as_bytes(),
            process.executable.as_bytes(),
            // Only what the kernel confirmed: a process that forked and started no program shows
            // arguments that it could have written itself.
            process.started_with.as_ref().map_or(&[][..], |digest| &digest[..]),
        ]);
    }

    pub(crate) fn finish(&self) -> report::Transcript {
        report::Transcript { digest: self.0.digest(), effects: self.0.items() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(items: &[&str], key: u8) -> Multiset {
        let mut multiset = Multiset::new([key; 32]);
        items.iter().for_each(|item| multiset.add([item.as_bytes()]));
        multiset
    }

    #[test]
    fn order_does_not_count_and_number_does() {
        assert_eq!(digest(&["a", "b", "c"], 1), digest(&["c", "a", "b"], 1));
        assert_ne!(digest(&["a", "b"], 1), digest(&["a", "b", "b"], 1));
        assert_ne!(digest(&["a", "a"], 1), digest(&["b", "b"], 1));
        assert_ne!(digest(&["a"], 1).digest(), digest(&["a"], 2).digest());
        let (mut whole, mut parts) = (Multiset::new([1; 32]), Multiset::new([1; 32]));
        whole.add([&b"ab"[..], b"c"]);
        parts.add([&b"a"[..], b"bc"]);
        assert_ne!(whole, parts);
    }
}
