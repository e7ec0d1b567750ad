//! Removes a credential from what a service answers, which may echo what it was sent.
//!
//! A module may have its guesses echoed. Whoever could see that a guess is right so far would need
//! a few hundred of them to read the credential, sign by sign. So what a module can see or measure
//! depends on a form of the credential that came whole, and never on a part of one:
//!
//! - What is held back of an answer that is still coming depends on lengths and line ends alone.
//! - The search does the same work for every byte, whatever the bytes are.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::secret::Credential;

/// What is put where a credential was.
const REMOVED: &[u8] = b"[credential removed]";
/// What is held back is a multiple of this, so that it does not tell how long the credential is.
const STEP: usize = 512;

/// What is looked for, and how.
///
/// The search is that of Karp and Rabin: a hash of every window of a form's length, made from the
/// one before it. Only a window with a form's own hash is compared byte by byte. Searches that skip
/// ahead or compare as they go take longer the more of a form the text resembles, which can be
/// measured over megabytes of guesses. The table that hashes bytes is unknown to everybody, so that
/// nothing but a whole form has its hash.
pub(crate) struct Forms {
    table: [u64; 256],
    groups: Vec<Group>,
    /// Bytes at the end of what came that may be the beginning of a form.
    held: usize,
}

/// Forms of one length, with their hashes.
struct Group {
    length: usize,
    forms: Vec<(u64, Zeroizing<Vec<u8>>)>,
}

impl Forms {
    /// Forms without line ends. None is empty.
    pub(crate) fn new(forms: Vec<Zeroizing<Vec<u8>>>) -> Self {
        // Its keys are random.
        let random = RandomState::new();
        let table = std::array::from_fn(|byte| random.hash_one(byte));
        let longest = forms.iter().map(|form| form.len()).max().unwrap_or(1);
        let mut groups: Vec<Group> = Vec::new();
        for form in forms {
            let (length, hash) = (form.len(), hash(&table, &form));
            match groups.iter_mut().find(|group| group.length == length) {
                Some(group) => group.forms.push((hash, form)),
                None => groups.push(Group { length, forms: vec![(hash, form)] }),
            }
        }
        Self { table, groups, held: (longest - 1).next_multiple_of(STEP) }
    }

    /// Where forms are, in the order of their beginnings. They may overlap.
    fn places(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        for group in &self.groups {
            group.search(&self.table, bytes, &mut places);
        }
        places.sort_unstable_by_key(|place| place.start);
        places
    }

    /// The bytes before `end` without forms that begin there. Those before `covered` belong to one
    /// that was removed already. Answers also how far forms reach that were removed.
    fn without(&self, bytes: &[u8], covered: usize, end: usize) -> (Vec<u8>, usize) {
        let mut out = Vec::with_capacity(end);
        let mut next = covered;
        for place in self.places(bytes).into_iter().take_while(|place| place.start < end) {
            // Of two that overlap nothing is left of either.
            if place.start >= next {
                out.extend_from_slice(&bytes[next..place.start]);
                out.extend_from_slice(REMOVED);
            }
            next = next.max(place.end);
        }
        out.extend_from_slice(bytes.get(next..end).unwrap_or_default());
        (out, next)
    }

    /// How many bytes of what came can be decided on. By their number, all but the last that may be
    /// the beginning of a form; and no form goes across the end of a line.
    fn decided(&self, bytes: &[u8]) -> usize {
        let lines = bytes.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        lines.map_or(0, |at| at + 1).max(bytes.len().saturating_sub(self.held))
    }
}

impl Group {
    fn search(&self, table: &[u64; 256], bytes: &[u8], places: &mut Vec<Range<usize>>) {
        let Some(first) = bytes.get(..self.length) else { return };
        let mut found = |start: usize, hash: u64| {
            let window = &bytes[start..start + self.length];
            if self.forms.iter().any(|(own, form)| *own == hash && form.as_slice() == window) {
                places.push(start..start + self.length);
            }
        };
        let mut hash = hash(table, first);
        found(0, hash);
        let turns = (self.length % 64) as u32;
        let moves = bytes.iter().zip(&bytes[self.length..]);
        for (start, (out, new)) in (1..).zip(moves) {
            let gone = table[usize::from(*out)].rotate_left(turns);
            hash = hash.rotate_left(1) ^ gone ^ table[usize::from(*new)];
            found(start, hash);
        }
    }
}

fn hash(table: &[u64; 256], bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |hash: u64, byte| hash.rotate_left(1) ^ table[usize::from(*byte)])
}

/// Removes one credential from one answer.
pub struct Scrubber {
    forms: Option<Arc<Forms>>,
    /// The end of what came, which may hold the beginning of a form.
    carried: Vec<u8>,
    /// Bytes at its beginning that belong to a form that was removed.
    covered: usize,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrubber")
    }
}

impl Scrubber {
    /// For answers to requests with this credential.
    pub fn new(credential: Option<&Credential>) -> Self {
        let forms = credential.map(|one| Arc::clone(one.forms()));
        Self { forms, carried: Vec::new(), covered: 0 }
    }

    /// The piece without the credential, and without an end in which one may begin: that waits for
    /// the next piece. A line leaves whole as soon as it has ended.
    pub fn feed(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(forms) = &self.forms else { return bytes };
        self.carried.extend(bytes);
        let end = forms.decided(&self.carried);
        let (out, next) = forms.without(&self.carried, self.covered, end);
        self.carried.drain(..end);
        self.covered = next.saturating_sub(end);
        out
    }

    /// What still waited.
    pub fn finish(&mut self) -> Vec<u8> {
        let carried = std::mem::take(&mut self.carried);
        let covered = std::mem::take(&mut self.covered);
        match &self.forms {
            Some(forms) => forms.without(&carried, covered, carried.len()).0,
            None => carried,
        }
    }

    /// A whole text without the credential.
    pub fn text(&self, text: &str) -> String {
        match &self.forms {
            Some(forms) => {
                let (out, _) = forms.without(text.as_bytes(), 0, text.len());
                String::from_utf8_lossy(&out).into_owned()
            }
            None => text.to_owned(),
        }
    }

    /// Whether the bytes hold the credential.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.forms.as_ref().is_some_and(|forms| !forms.places(bytes).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "sk-aaab-secret";

    fn scrubber() -> Scrubber {
        let secret = Zeroizing::new(SECRET.to_owned());
        Scrubber::new(Some(&Credential::new("authorization", "Bearer ", secret).unwrap()))
    }

    /// What comes out of each piece, and at the end.
    fn pieces(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut scrubber = scrubber();
        let mut out: Vec<_> = pieces.iter().map(|piece| scrubber.feed(piece.to_vec())).collect();
        out.push(scrubber.finish());
        out
    }

    #[test]
    fn forms_that_overlap_leave_nothing_of_either() {
        let form = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let forms = Forms::new(vec![form("abcdefgh"), form("efghijklmn"), form("abcdefghij")]);
        let of = |text: &str| {
            String::from_utf8(forms.without(text.as_bytes(), 0, text.len()).0).unwrap()
        };
        assert_eq!(of("<abcdefghijklmn>"), "<[credential removed]>");
        assert_eq!(of("<abcdefghijk>"), "<[credential removed]k>");
        assert_eq!(of("abcdefghabcdefgh"), "[credential removed][credential removed]");
        assert_eq!(of("<abcdefg efghijklm>"), "<abcdefg efghijklm>");
        assert_eq!(of(""), "");
    }

    #[test]
    fn a_line_leaves_when_it_has_ended() {
        for end in ["\n", "\r", "\r\n", "\n\n"] {
            let first = format!("data: {}{end}", &SECRET[..9]);
            let out = pieces(&[first.as_bytes(), b"more"]);
            assert_eq!(out, [first.as_bytes(), b"", b"more"], "{end:?}");
        }
    }

    #[test]
    fn a_form_may_be_longer_than_what_is_held_back_of_others() {
        let secret = Zeroizing::new("s".repeat(3_000));
        let credential = Credential::new("authorization", "", secret.clone()).unwrap();
        let mut scrubber = Scrubber::new(Some(&credential));
        let mut out = Vec::new();
        for piece in secret.as_bytes().chunks(700) {
            out.extend(scrubber.feed(piece.to_vec()));
        }
        out.extend(scrubber.finish());
        assert_eq!(out, REMOVED);
    }

    proptest! {
        /// However an answer is cut into pieces, the credential is not in what comes out, and
        /// everything else is.
        #[test]
        fn no_piece_lets_it_through(
            cuts in proptest::collection::vec(0_usize..2_000, 0..8), before in 0_usize..1_600,
        ) {
            let text = "key sk-aaasksk-aaab-secret, sk-aaab-secretsk-aaab-secre!";
            let text = ["-".repeat(before).as_bytes(), text.as_bytes()].concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let mut from = 0;
            let mut parts: Vec<&[u8]> = Vec::new();
            for cut in cuts {
                parts.push(&text[from..cut]);
                from = cut;
            }
            let out = pieces(&parts).concat();
            let expected = format!(
                "{}key sk-aaask[credential removed], [credential removed]sk-aaab-secre!",
                "-".repeat(before)
            );
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }

        /// What leaves with each piece is decided by lengths and line ends: any text in place of a
        /// beginning of the credential gives pieces of the same lengths.
        #[test]
        fn a_right_guess_leaves_like_a_wrong_one(
            right in 1_usize..SECRET.len(), lengths in proptest::collection::vec(0_usize..900, 1..4),
            line in any::<bool>(),
        ) {
            let shapes = [&SECRET[..right], &"?".repeat(right)].map(|guess| {
                let parts = lengths.iter().map(|length| {
                    format!("{}{}{guess}", "x".repeat(*length), if line { "\n" } else { "" })
                });
                let parts: Vec<Vec<u8>> = parts.map(String::into_bytes).collect();
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                pieces(&parts).iter().map(Vec::len).collect::<Vec<_>>()
            });
            prop_assert_eq!(&shapes[0], &shapes[1]);
        }
    }
}
