//! SHA-256 in the one spelling used everywhere: 64 lower-case hex digits.

use sha2::Digest as _;

use crate::bytes32::bytes32;

bytes32! {
    /// The SHA-256 of bytes that are kept somewhere.
    pub struct Digest: "a digest";
}

/// Makes a [`Digest`] of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    /// The digest of all pieces in their order.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_prints_as_it_was_written(text in "[0-9a-fA-Fg]{63,65}|\\PC{0,70}|[0-9a-f]{64}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }

    #[test]
    fn pieces_and_whole_agree() {
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update("bc");

        let whole = Digest::of(b"abc");
        assert_eq!(hasher.finish(), whole);
        // FIPS 180-4, appendix B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(whole.to_string(), known);
        assert_eq!(known.parse(), Ok(whole));
    }

    #[test]
    fn only_the_one_spelling_is_taken() {
        let good = Digest::of(b"abc").to_string();
        for text in [&good[1..], &good.to_uppercase(), &format!("{good}0"), &good.replace('b', "g")]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
