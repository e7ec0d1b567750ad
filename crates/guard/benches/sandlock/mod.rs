//! The same under sandlock as a library for Python (`pip install sandlock`); `SANDLOCK_PYTHON` names
//! the Python that has it where `python3` has not.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::{Fixture, Way};

/// Runs commands one after the other, and says how long each took.
struct Server {
    process: Child,
    /// Closed, it ends.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Adds it, where a Python has it; whether one has.
pub(crate) fn add(ways: &mut Vec<Way>) -> bool {
    let tried = python().args(["-c", "import sandlock"]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        return false;
    }
    let server = RefCell::new(None);
    let run = move |fixture: &Fixture, _: &[_]| {
        server.borrow_mut().get_or_insert_with(|| Server::start(fixture)).run()
    };
    ways.push(("sandlock".to_owned(), Box::new(run)));
    true
}

fn python() -> Command {
    let named = std::env::var_os("SANDLOCK_PYTHON");
    Command::new(named.unwrap_or_else(|| "python3".into()))
}

impl Server {
    fn start(fixture: &Fixture) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/sandlock/serve.py");
        let mut command = python();
        command
            .arg(script)
            .arg(&fixture.root)
            .arg(&fixture.node)
            .arg(fixture.root.join("main.mjs"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { orders: process.stdin.take(), answers, process }
    }

    fn run(&mut self) -> Duration {
        self.orders.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let seconds = line.trim().parse().unwrap_or_else(|_| panic!("sandlock {line}"));
        Duration::from_secs_f64(seconds)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}
