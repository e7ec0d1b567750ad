//! What the command writes on one of its output streams.

use std::os::fd::OwnedFd;

use crate::report::Captured;

/// One output pipe.
pub(super) struct Stream {
    pub(super) pipe: Option<OwnedFd>,
    limit: usize,
    pub(super) captured: Captured,
}

impl Stream {
    pub(super) fn new(pipe: OwnedFd, limit: u64) -> Self {
        Self {
            pipe: Some(pipe),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            captured: Captured::default(),
        }
    }

    /// Takes what is there. Beyond the limit bytes are dropped, so that nobody hangs on a full pipe.
    pub(super) fn read(&mut self) {
        let mut buffer = [0; 1 << 16];
        // One pipe's fill at a time, so that a flood does not keep the limits from being looked at.
        for _ in 0..16 {
            let Some(pipe) = &self.pipe else { return };
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(read) => {
                    let room = self.limit - self.captured.bytes.len();
                    self.captured.bytes.extend_from_slice(&buffer[..read.min(room)]);
                    self.captured.truncated |= read > room;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
