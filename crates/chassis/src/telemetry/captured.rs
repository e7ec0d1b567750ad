//! A log that a test reads.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Dispatch;

/// What was logged.
#[derive(Clone)]
pub(crate) struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// A second subscriber beside the one that writes here. As long as a process has one alone,
    /// `tracing` asks whether a statement is logged on the thread that comes to it first: if that
    /// is another test's, which has no subscriber, the answer is no for all threads.
    _second: Dispatch,
}

impl Default for Log {
    fn default() -> Self {
        Self { bytes: Arc::default(), _second: Dispatch::new(tracing_subscriber::registry()) }
    }
}

impl Log {
    /// What a subscriber writes to.
    pub(crate) fn writer(&self) -> impl Fn() -> Self + use<> {
        let log = self.clone();
        move || log.clone()
    }

    /// The lines, each of which is one JSON value.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
