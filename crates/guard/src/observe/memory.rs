//! The memory of a caller, as far as the judgement of its call reads it.
//!
//! Another thread of the command can rewrite it meanwhile. So what is read is remembered, and read
//! once more before the call is let go on: what was rewritten is not believed. Judgements read
//! memory in no other way. Two things are not remembered, because nothing depends on whether they
//! stay the same: what is copied for a call that the supervisor makes itself, since the kernel does
//! not read that again; and the arguments of a program, which are only shown.

use std::cell::RefCell;
use std::io;
use std::iter;
use std::sync::Arc;

use crate::sys;

const PATH_MAX: usize = 4096;
/// Bytes read at once; most strings are shorter.
const CHUNK: usize = 256;
/// Pieces for which room is kept from one call to the next. A call with very many is rare, and its
/// room would stay for the rest of the run.
const MAX_ROOM: usize = 64;

/// What was read at one place.
#[derive(Debug)]
pub(super) struct Piece {
    address: u64,
    bytes: Arc<[u8]>,
    /// It is a string: a zero byte follows.
    is_string: bool,
}

impl Piece {
    fn length(&self) -> usize {
        self.bytes.len() + usize::from(self.is_string)
    }

    fn is(&self, now: &[u8]) -> bool {
        let now = if self.is_string { now.strip_suffix(&[0]) } else { Some(now) };
        now == Some(&*self.bytes)
    }
}

/// The memory of the thread that makes one call.
pub(super) struct Memory {
    tid: u32,
    read: RefCell<Vec<Piece>>,
}

impl Memory {
    /// Nothing of it was read yet. `room` is what [`Self::into_room`] gave back of an earlier one.
    pub(super) fn of(tid: u32, room: Vec<Piece>) -> Self {
        Self { tid, read: RefCell::new(room) }
    }

    /// Room for what is read of the next one.
    pub(super) fn into_room(self) -> Vec<Piece> {
        let mut room = self.read.into_inner();
        if room.capacity() > MAX_ROOM {
            return Vec::new();
        }
        room.clear();
        room
    }

    /// Nothing that was read until now is compared, or known, any more.
    pub(super) fn forget(&self) {
        self.read.borrow_mut().clear();
    }

    /// A string.
    ///
    /// # Errors
    /// The address cannot be read, or nothing ends the string.
    pub(super) fn string(&self, address: u64) -> io::Result<Arc<[u8]>> {
        let is_known = |piece: &&Piece| piece.is_string && piece.address == address;
        let known = self.read.borrow().iter().find(is_known).map(|piece| Arc::clone(&piece.bytes));
        if let Some(known) = known {
            return Ok(known);
        }
        let bytes = self.read_string(address)?;
        self.remember(address, Arc::clone(&bytes), true);
        Ok(bytes)
    }

    fn read_string(&self, address: u64) -> io::Result<Arc<[u8]>> {
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < PATH_MAX {
            let mut chunk = [0u8; CHUNK];
            let read = sys::read_memory(self.tid, at, &mut chunk[..in_page(at)])?;
            if let Some(end) = chunk[..read].iter().position(|byte| *byte == 0) {
                let last = &chunk[..end];
                // Nearly always the first is the last too, and is copied once.
                return Ok(if text.is_empty() {
                    last.into()
                } else {
                    [&text, last].concat().into()
                });
            }
            if read == 0 {
                break;
            }
            text.extend_from_slice(&chunk[..read]);
            at = at.saturating_add(read as u64);
        }
        Err(io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Reads two strings by one look, where both are short and nothing was read before.
    pub(super) fn read_both(&self, addresses: [u64; 2]) {
        if self.read.borrow().is_empty()
            && let Some(strings) = self.short_strings(addresses)
        {
            for (address, bytes) in addresses.into_iter().zip(strings) {
                self.remember(address, bytes, true);
            }
        }
    }

    fn short_strings(&self, addresses: [u64; 2]) -> Option<[Arc<[u8]>; 2]> {
        let lengths = addresses.map(in_page);
        let mut chunk = [0u8; 2 * CHUNK];
        let chunk = &mut chunk[..lengths[0] + lengths[1]];
        let parts = [(addresses[0], lengths[0]), (addresses[1], lengths[1])];
        let read = sys::read_parts(self.tid, &parts, chunk).ok()?;
        let (first, second) = chunk[..read].split_at_checked(lengths[0])?;
        let string =
            |bytes: &[u8]| Some(Arc::from(&bytes[..bytes.iter().position(|byte| *byte == 0)?]));
        Some([string(first)?, string(second)?])
    }

    /// As many bytes as asked.
    ///
    /// # Errors
    /// They cannot all be read.
    pub(super) fn bytes(&self, address: u64, length: usize) -> io::Result<Arc<[u8]>> {
        let mut bytes: Arc<[u8]> = iter::repeat_n(0, length).collect();
        let into = Arc::get_mut(&mut bytes).expect("what was just made has one owner");
        if sys::read_memory(self.tid, address, into)? < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        self.remember(address, Arc::clone(&bytes), false);
        Ok(bytes)
    }

    /// Adds as many bytes as asked to a copy with which the supervisor makes the call itself. They
    /// are not remembered: such a call is never let go on.
    ///
    /// # Errors
    /// They cannot all be read.
    pub(super) fn copy_into(
        &self,
        copy: &mut Vec<u8>,
        address: u64,
        length: usize,
    ) -> io::Result<()> {
        if length == 0 {
            // The kernel does not look at the address of nothing either.
            return Ok(());
        }
        let before = copy.len();
        copy.resize(before + length, 0);
        if sys::read_memory(self.tid, address, &mut copy[before..])? < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(())
    }

    /// The strings of an array that ends with a null pointer, as far as they can be read: the
    /// arguments of a program that is about to be started. They are not remembered. Nothing is
    /// decided by them, and once the program has started they are replaced by those that the kernel
    /// has copied, or recorded as uncertain (`Observer::started`). Compared, they would only make
    /// starts fail that are declared.
    pub(super) fn shown_strings(&self, address: u64, most: usize) -> Vec<Arc<[u8]>> {
        const BYTES: usize = size_of::<u64>();
        let mut array = vec![0; most * BYTES];
        let read = sys::read_memory(self.tid, address, &mut array).unwrap_or(0);
        let word = |word: &[u8]| word.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let words = array[..read].chunks_exact(BYTES).map(word);
        let addresses = words.take_while(|address| *address != 0);
        addresses.map_while(|address| self.read_string(address).ok()).collect()
    }

    fn remember(&self, address: u64, bytes: Arc<[u8]>, is_string: bool) {
        self.read.borrow_mut().push(Piece { address, bytes, is_string });
    }

    /// Whether all that was read still says the same. Where nothing was read, nothing is asked.
    pub(super) fn is_unchanged(&self) -> bool {
        self.read.borrow().chunks(sys::MAX_PARTS).all(|pieces| self.holds(pieces))
    }

    /// Whether these pieces are still there, by one look.
    fn holds(&self, pieces: &[Piece]) -> bool {
        let mut parts = [(0, 0); sys::MAX_PARTS];
        for (part, piece) in parts.iter_mut().zip(pieces) {
            *part = (piece.address, piece.length());
        }
        let parts = &parts[..pieces.len()];
        let length = parts.iter().map(|(_, length)| length).sum();
        let (mut short, mut long) = ([0; 2 * CHUNK], Vec::new());
        let now = if length <= short.len() {
            &mut short[..length]
        } else {
            long.resize(length, 0);
            &mut long[..]
        };
        let read = sys::read_parts(self.tid, parts, now).unwrap_or(0);
        let mut rest = &*now;
        read == now.len()
            && pieces.iter().all(|piece| {
                let (this, more) = rest.split_at(piece.length());
                rest = more;
                piece.is(this)
            })
    }
}

/// Bytes to read at an address: never across a page, the next one may not be mapped.
fn in_page(address: u64) -> usize {
    let page = sys::page_bytes();
    usize::try_from(page - address % page).unwrap_or(CHUNK).min(CHUNK)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    use super::*;

    fn at<T>(place: &[T]) -> u64 {
        // Exposed: the kernel reads there too.
        place.as_ptr().expose_provenance() as u64
    }

    /// Never across the end of a page, where two strings are not read at once.
    #[repr(align(16))]
    #[derive(Default)]
    struct Text([AtomicU8; 8]);

    fn set(place: &[AtomicU8], text: &[u8]) {
        for (byte, value) in place.iter().zip(text) {
            byte.store(*value, Ordering::Relaxed);
        }
    }

    /// This process's own memory; atomics, since the compiler does not see who reads it.
    #[test]
    fn whatever_was_read_is_compared() {
        /// A way to read, and a change of what it has read.
        type Case<'c> = (&'static str, &'c dyn Fn(&Memory), &'c dyn Fn());
        let Text(text) = &Text::default();
        let words: [AtomicU64; 3] = Default::default();
        let change = |place: usize, value: u64| words[place].store(value, Ordering::Relaxed);
        let cases: [Case<'_>; 4] = [
            (
                "a string",
                &|memory| assert_eq!(&*memory.string(at(text)).unwrap(), b"name"),
                &|| set(text, b"nama"),
            ),
            (
                "a string that goes on",
                &|memory| assert_eq!(&*memory.string(at(text)).unwrap(), b"name"),
                &|| set(text, b"names"),
            ),
            ("two strings", &|memory| memory.read_both([at(text), at(&text[2..])]), &|| {
                set(text, b"nome");
            }),
            (
                "a structure",
                &|memory| assert_eq!(memory.bytes(at(&words), 24).unwrap()[8], 2),
                &|| change(1, 5),
            ),
        ];
        for (what, read, changes) in cases {
            set(text, b"name\0\0\0\0");
            words
                .iter()
                .zip([1, 2, 0])
                .for_each(|(word, value)| word.store(value, Ordering::Relaxed));
            let memory = Memory::of(std::process::id(), Vec::new());
            read(&memory);
            assert!(memory.is_unchanged(), "{what}");
            changes();
            assert!(!memory.is_unchanged(), "{what}");
            memory.forget();
            assert!(memory.is_unchanged(), "{what}");
        }
    }

    #[test]
    fn copies_and_what_is_only_shown_are_not_compared() {
        let Text(text) = &Text::default();
        set(text, b"name");
        let words = [at(text), at(text), 0].map(AtomicU64::new);
        let memory = Memory::of(std::process::id(), Vec::new());
        let mut copy = b"a ".to_vec();
        memory.copy_into(&mut copy, at(text), 4).unwrap();
        memory.copy_into(&mut copy, 0, 0).unwrap();
        assert_eq!(copy, b"a name");
        let shown = memory.shown_strings(at(&words), 3);
        assert_eq!(shown.len(), 2);
        assert!(shown.iter().all(|string| **string == *b"name"));
        set(text, b"nama");
        words[1].store(0, Ordering::Relaxed);
        assert!(memory.is_unchanged());
    }

    #[test]
    fn more_pieces_than_one_look_takes_are_all_compared() {
        let words: [AtomicU64; 3 * sys::MAX_PARTS] = std::array::from_fn(|_| AtomicU64::new(7));
        for changed in &words {
            let memory = Memory::of(std::process::id(), Vec::new());
            for word in words.chunks(1) {
                memory.bytes(at(word), 8).unwrap();
            }
            assert!(memory.is_unchanged());
            changed.store(8, Ordering::Relaxed);
            assert!(!memory.is_unchanged());
            changed.store(7, Ordering::Relaxed);
        }
    }
}
