//! What the command writes on one of its output streams.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use crate::report::{Captured, OutputStream};

/// Whom output is handed on to as it comes.
pub(crate) type Live<'l> = dyn FnMut(OutputStream, &[u8]) + 'l;

/// One output pipe.
pub(super) struct Stream {
    which: OutputStream,
    pub(super) pipe: Option<OwnedFd>,
    limit: usize,
    /// As much as a pipe holds.
    buffer: Box<[MaybeUninit<u8>]>,
    pub(super) captured: Captured,
}

impl Stream {
    pub(super) fn new(which: OutputStream, pipe: OwnedFd, limit: u64) -> Self {
        Self {
            which,
            pipe: Some(pipe),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            // No page of it exists before something is read.
            buffer: Box::new_uninit_slice(1 << 16),
            captured: Captured::default(),
        }
    }

    /// Takes what is there. Beyond the limit bytes are dropped, so that no writer hangs on a full
    /// pipe.
    pub(super) fn read(&mut self, live: &mut Live<'_>) {
        // One pipe's fill at a time, so that a flood does not keep the limits from being looked at.
        for _ in 0..16 {
            let Some(pipe) = &self.pipe else { return };
            match rustix::io::read(pipe, &mut *self.buffer) {
                Ok(([], _)) => self.pipe = None,
                Ok((read, _)) => {
                    let room = self.limit - self.captured.bytes.len();
                    let kept = &read[..read.len().min(room)];
                    if !kept.is_empty() {
                        live(self.which, kept);
                    }
                    self.captured.bytes.extend_from_slice(kept);
                    self.captured.truncated |= read.len() > room;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
