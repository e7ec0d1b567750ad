//! A command's output on its way to this program's own streams. Their reader may be slow, or stop;
//! the run must not wait for it.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use guard::OutputStream;

/// What was taken up and is not written yet: at most what the limits of a run allow on both
/// streams.
#[derive(Debug, Default)]
pub(super) struct Relay {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    out: Vec<u8>,
    error: Vec<u8>,
    over: bool,
}

impl Relay {
    /// Takes up a piece of output, without waiting for anybody.
    pub(super) fn push(&self, stream: OutputStream, bytes: &[u8]) {
        let mut waiting = self.lock();
        match stream {
            OutputStream::Stdout => waiting.out.extend_from_slice(bytes),
            OutputStream::Stderr => waiting.error.extend_from_slice(bytes),
        }
        self.more.notify_one();
    }

    /// Once this is dropped, nothing follows.
    pub(super) fn end(&self) -> End<'_> {
        End(self)
    }

    /// Writes what comes, until its end.
    ///
    /// # Errors
    /// The first failure on one of the streams, but that the reader has gone away.
    pub(super) fn write(&self) -> io::Result<()> {
        let mut result = Ok(());
        loop {
            let idle = |waiting: &mut Waiting| {
                waiting.out.is_empty() && waiting.error.is_empty() && !waiting.over
            };
            let mut waiting =
                self.more.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            let Waiting { out, error, over } = std::mem::take(&mut *waiting);

            // Kept, since the next turn has to see it.
            waiting.over = over;
            drop(waiting);

            // Awake without output: this is the end.
            if out.is_empty() && error.is_empty() {
                return result;
            }

            // The first failure is kept. What follows is taken up anyway, so that the run
            // never waits.
            for written in [put(io::stdout().lock(), &out), put(io::stderr().lock(), &error)] {
                result = result.and(written);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the output.
#[derive(Debug)]
pub(super) struct End<'p>(&'p Relay);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.more.notify_one();
    }
}

fn put(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    match stream.write_all(bytes).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
