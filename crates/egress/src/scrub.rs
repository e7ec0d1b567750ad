//! Removes a credential from what a service answers, which may echo what it was sent.
//!
//! A service may escape what it echoes in many ways, in whole or in part. So an answer is searched
//! as it is and with layers of escapes undone ([`Reading`]), and what is compared are letters and
//! digits alone, of either size: then escaped punctuation, line ends and separators of any kind
//! make no other form of a credential.
//!
//! A module may have its guesses echoed. If it could see that a prefix of the credential is right,
//! a few hundred guesses would reveal all of it, one character at a time. So what a module can see
//! or measure depends on a form of the credential that came whole, and never on a part of one:
//!
//! - What is held back of an answer that is still coming depends on lengths and on what lines end
//!   with.
//! - The work for a text depends on the text and on lengths of forms, not on what forms hold.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::reading::Reading;
use crate::secret::{Credential, MIN_BYTES};

/// What is put where a credential was.
const REMOVED: &[u8] = b"[credential removed]";
/// Layers of escapes that are undone, such as those of HTML within JSON within a URL.
const LAYERS: usize = 3;
/// Most bytes of an answer for each byte of the credential in one of its forms, such as a number in
/// a line of its own. A form that is spread wider is found only where it comes at one time.
const SPREAD: usize = 16;
/// What is held back is a multiple of this, so that it does not tell how long the credential is.
/// It is also what is released at least at one time, so that no byte is searched many times.
const STEP: usize = 1_024;
/// Bytes that were released and are kept, so that escapes are read from their beginnings.
const CONTEXT: usize = 16;
/// Bytes that are searched at one time: a search takes some tens of bytes of memory for each.
const BLOCK: usize = 64 << 10;

/// What is looked for, and how.
///
/// The search is that of Karp and Rabin: a hash of every window of a form's length, made from the
/// one before it. Only a window with a form's own hash is compared byte by byte. Searches that skip
/// ahead or compare as they go take longer the more of a form the text resembles, which can be
/// measured over megabytes of guesses. The table that hashes bytes is random, so a module cannot
/// compute which texts have a form's hash. Other texts can have it nevertheless: above 64 bytes,
/// the same bytes with two of them swapped at a distance of 64. That is why windows are compared.
pub(crate) struct Forms {
    table: [u64; 256],
    /// Forms that are known by their letters and digits.
    words: Set,
    /// Forms with too few of these, which are known by all their bytes but blanks.
    signs: Set,
    /// Bytes at the end of what came that may be the beginning of a form.
    held: usize,
}

/// Forms of which the same bytes are compared.
struct Set {
    compares: fn(u8) -> bool,
    groups: Vec<Group>,
}

/// Forms of one length, as far as they are compared.
struct Group {
    length: usize,
    forms: Vec<Form>,
}

/// One form: what is compared of it, and what else it has at its ends.
struct Form {
    hash: u64,
    compared: Zeroizing<Vec<u8>>,
    before: Zeroizing<Vec<u8>>,
    after: Zeroizing<Vec<u8>>,
}

impl Forms {
    /// Forms of a credential with `length` bytes.
    pub(crate) fn new(forms: &[Zeroizing<Vec<u8>>], length: usize) -> Self {
        // `RandomState::new` is seeded randomly.
        let random = RandomState::new();
        let table = std::array::from_fn(|byte| random.hash_one(byte));
        let mut words = Set { compares: is_word, groups: Vec::new() };
        let mut signs = Set { compares: is_sign, groups: Vec::new() };
        for form in forms {
            let count = form.iter().filter(|byte| is_word(**byte)).count();
            let set = if count >= MIN_BYTES { &mut words } else { &mut signs };
            set.add(&table, form);
        }
        Self { table, words, signs, held: (length * SPREAD).next_multiple_of(STEP) }
    }

    /// Where forms are, in the order of their beginnings. They may overlap.
    fn places(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let text = Reading::of(bytes);
        let unquoted = text.unquoted();
        let layers = std::iter::successors(Some(text), Reading::unescaped).take(1 + LAYERS);
        let mut places: Vec<Range<usize>> = Vec::new();
        for reading in layers.chain(unquoted) {
            self.words.search(&self.table, &reading, &mut places);
            self.signs.search(&self.table, &reading, &mut places);
        }
        places.sort_unstable_by_key(|place| place.start);
        places
    }

    /// The bytes before `end` without forms that begin there. Those before `covered` were released,
    /// or belong to a form that was removed. Returns also how far forms reach that were removed.
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

    /// How many bytes can be released: everything up to the last line end that no form goes across,
    /// and everything but the last `held` bytes, which may be the beginning of a form.
    fn decided(&self, bytes: &[u8]) -> usize {
        let free = bytes.len().saturating_sub(self.held);
        last_closed_line(bytes).max(free - free % STEP)
    }
}

/// What comes after the last line end that no form goes across. Encoders that write lines end each
/// with one of their digits, a separator or a mark of their own. After an empty line, and after one
/// that ends with a bracket of JSON or of markup, as lines of JSON and events of a stream do, there
/// is nothing to go on with.
fn last_closed_line(bytes: &[u8]) -> usize {
    let (mut end, mut closed, mut before) = (0, true, 0);
    for (at, byte) in bytes.iter().copied().enumerate() {
        match byte {
            // The second half of a pair ends no line of its own.
            b'\n' if before == b'\r' => {
                if end == at {
                    end = at + 1;
                }
            }
            b'\n' | b'\r' => {
                if closed {
                    end = at + 1;
                }
                closed = true;
            }
            b' ' | b'\t' => {}
            other => closed = matches!(other, b'}' | b']' | b'>'),
        }
        before = byte;
    }
    end
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_sign(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !byte.is_ascii_control()
}

impl Set {
    fn add(&mut self, table: &[u64; 256], form: &[u8]) {
        let compares = |byte: &u8| (self.compares)(*byte);
        let compared = form.iter().filter(|byte| compares(byte)).map(u8::to_ascii_lowercase);
        let compared = Zeroizing::new(compared.collect::<Vec<u8>>());
        let (Some(first), Some(last)) =
            (form.iter().position(compares), form.iter().rposition(compares))
        else {
            return;
        };
        let length = compared.len();
        // A shorter one would be found by chance.
        if length < MIN_BYTES {
            return;
        }
        let form = Form {
            hash: hash(table, &compared),
            compared,
            before: Zeroizing::new(form[..first].to_vec()),
            after: Zeroizing::new(form[last + 1..].to_vec()),
        };
        match self.groups.iter_mut().find(|group| group.length == length) {
            Some(group) => group.forms.push(form),
            None => self.groups.push(Group { length, forms: vec![form] }),
        }
    }

    fn search(&self, table: &[u64; 256], reading: &Reading, places: &mut Vec<Range<usize>>) {
        if self.groups.is_empty() {
            return;
        }
        let mut compared = Vec::with_capacity(reading.bytes.len());
        let mut at = Vec::with_capacity(reading.bytes.len());
        for (index, byte) in reading.bytes.iter().enumerate() {
            if (self.compares)(*byte) {
                compared.push(byte.to_ascii_lowercase());
                at.push(index);
            }
        }
        for group in &self.groups {
            group.search(table, &compared, |start, form| {
                let last = at[start + group.length - 1];
                places.push(form.place(reading, at[start], last + 1));
            });
        }
    }
}

impl Group {
    fn search(&self, table: &[u64; 256], bytes: &[u8], mut found: impl FnMut(usize, &Form)) {
        let Some(first) = bytes.get(..self.length) else { return };
        let mut compare = |start: usize, hash: u64| {
            let window = &bytes[start..start + self.length];
            for form in &self.forms {
                if form.hash == hash && form.compared.as_slice() == window {
                    found(start, form);
                }
            }
        };
        let mut hash = hash(table, first);
        compare(0, hash);
        let turns = (self.length % 64) as u32;
        let moves = bytes.iter().zip(&bytes[self.length..]);
        for (start, (out, new)) in (1..).zip(moves) {
            let gone = table[usize::from(*out)].rotate_left(turns);
            hash = hash.rotate_left(1) ^ gone ^ table[usize::from(*new)];
            compare(start, hash);
        }
    }
}

impl Form {
    /// Where it is in the text of a reading in which its first and last byte that are compared are
    /// at `first` and before `end`.
    fn place(&self, reading: &Reading, first: usize, end: usize) -> Range<usize> {
        let (before, after) = (self.before.as_slice(), self.after.as_slice());
        let has_before = reading.bytes[..first].ends_with(before);
        let has_after = reading.bytes[end..].starts_with(after);
        let first = if has_before { first - before.len() } else { first };
        let end = if has_after { end + after.len() } else { end };
        reading.from[first]..reading.from[end]
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
    /// Bytes at its beginning that were released, or belong to a form that was removed.
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
    /// what follows. An event of a stream or a line of JSON leaves whole as soon as it has ended.
    pub fn feed(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(forms) = &self.forms else { return bytes };
        let mut out = Vec::new();
        for block in bytes.chunks(BLOCK) {
            self.carried.extend_from_slice(block);
            let end = forms.decided(&self.carried);
            if end <= self.covered {
                continue;
            }
            let (released, next) = forms.without(&self.carried, self.covered, end);
            out.extend(released);
            let gone = end.saturating_sub(CONTEXT);
            self.carried.drain(..gone);
            self.covered = next.max(end) - gone;
        }
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
        let forms = ["abcdefgh", "efghijklmn", "abcdefghij"];
        let forms = forms.map(|text| Zeroizing::new(text.as_bytes().to_vec()));
        let forms = Forms::new(&forms, 10);
        let of = |text: &str| {
            String::from_utf8(forms.without(text.as_bytes(), 0, text.len()).0).unwrap()
        };
        assert_eq!(of("<abcdefghijklmn>"), "<[credential removed]>");
        assert_eq!(of("<abcdefghijk>"), "<[credential removed]k>");
        assert_eq!(of("abcdefghabcdefgh"), "[credential removed][credential removed]");
        assert_eq!(of("<abcdefg efghijklm>"), "<abcdefg efghijklm>");
        assert_eq!(of("%61bcdefgh a%62cdefghij"), "[credential removed] [credential removed]");
        assert_eq!(of(""), "");
    }

    #[test]
    fn events_and_lines_of_json_leave_when_they_have_ended() {
        for end in ["\n\n", "\r\r", "\r\n\r\n", "}\n", "} ]\r\n", "\">\r", " \n \n"] {
            let first = format!("data: {}{end}", &SECRET[..9]);
            let out = pieces(&[first.as_bytes(), b"more"]);
            assert_eq!(out, [first.as_bytes(), b"", b"more"], "{end:?}");
        }
        // A line end may come in two pieces, and the one that ends an event by itself.
        for (first, second) in
            [("data: {}\r", "\n"), ("data: {}\n", "\n"), ("data: {}\r\n\r", "\n")]
        {
            let out = pieces(&[first.as_bytes(), second.as_bytes()]);
            assert_eq!(out, [first.as_bytes(), second.as_bytes(), b""], "{first:?}");
        }
    }

    #[test]
    fn a_form_in_lines_is_removed_wherever_pieces_end() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;

        let text = STANDARD.encode(format!("Bearer {SECRET}"));
        for end in ["\n", "\r\n", "\r\n "] {
            for (width, long) in [(5, 0), (12, 1_015), (20, 2_040), (20, 3_070)] {
                let lines = text.as_bytes().chunks(width);
                let lines = lines.map(|line| [line, end.as_bytes()].concat());
                let lines: Vec<Vec<u8>> =
                    std::iter::once("-".repeat(long).into_bytes()).chain(lines).collect();
                let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
                let out = String::from_utf8(pieces(&lines).concat()).unwrap();
                // Of the digits only those stay that also stand for what is around it.
                let (before, after) = out.split_once("[credential removed]").unwrap();
                let left = before.chars().chain(after.chars());
                let left = left.filter(char::is_ascii_alphanumeric).count();
                assert!(left <= 10, "{width} {long} {end:?}: {out:?}");
            }
        }
    }

    /// Small pieces are searched together.
    #[test]
    fn pieces_without_lines_leave_in_steps() {
        let text = "abcdefghij".repeat(2_000);
        let lengths: Vec<usize> =
            pieces(&text.as_bytes().chunks(7).collect::<Vec<_>>()).iter().map(Vec::len).collect();
        assert_eq!(lengths.iter().sum::<usize>(), text.len());
        let searches = lengths.iter().filter(|length| **length > 0).count();
        assert!(searches <= 2 * text.len() / STEP, "{searches}");
        let whole = pieces(&[text.as_bytes()]);
        assert_eq!(whole.concat(), text.as_bytes());
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
