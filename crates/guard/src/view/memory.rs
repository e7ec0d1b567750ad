//! Reads the memory of the stopped process.

use std::io;
use std::sync::Arc;

use super::View;
use crate::sys;

const PATH_MAX: usize = 4096;
/// Bytes read at once; most strings are shorter.
const CHUNK: usize = 256;

impl View {
    /// A string of the process.
    ///
    /// # Errors
    /// The address cannot be read, or nothing ends the string.
    pub(crate) fn string(&self, address: u64) -> io::Result<Arc<[u8]>> {
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

    /// Two strings by one look; nothing where that is not enough.
    pub(crate) fn short_strings(&self, addresses: [u64; 2]) -> Option<[Arc<[u8]>; 2]> {
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

    /// Whether these strings are still at their addresses.
    pub(crate) fn has_strings(&self, strings: &[(u64, Arc<[u8]>)]) -> bool {
        strings.chunks(sys::MAX_PARTS).all(|strings| {
            let mut parts = [(0, 0); sys::MAX_PARTS];
            for (part, (address, text)) in parts.iter_mut().zip(strings) {
                *part = (*address, text.len() + 1);
            }
            let parts = &parts[..strings.len()];
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
                && strings.iter().all(|(_, text)| {
                    let (this, more) = rest.split_at(text.len() + 1);
                    rest = more;
                    this.strip_suffix(&[0]) == Some(&**text)
                })
        })
    }

    /// Bytes of the process, exactly as many as asked.
    ///
    /// # Errors
    /// The address cannot be read.
    pub(crate) fn bytes(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = sys::read_memory(self.tid, address, &mut bytes)?;
        if read == length { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
    }

    /// The addresses in an array that ends with a null pointer, as far as they can be read.
    pub(crate) fn pointers(&self, address: u64, most: usize) -> Vec<u64> {
        let mut bytes = vec![0; most * 8];
        let read = sys::read_memory(self.tid, address, &mut bytes).unwrap_or(0);
        let words = bytes[..read].chunks_exact(8);
        words
            .map(|word| word.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
            .take_while(|address| *address != 0)
            .collect()
    }
}

/// Bytes to read at an address: never across a page, the next one may not be mapped.
fn in_page(address: u64) -> usize {
    let page = sys::page_bytes();
    usize::try_from(page - address % page).unwrap_or(CHUNK).min(CHUNK)
}
