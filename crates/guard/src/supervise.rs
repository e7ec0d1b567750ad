//! Follows a run from its start to the end of its last process: answers stopped calls, collects
//! output, keeps the limits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::disk_usage::WatchedTrees;
use crate::fork_events::ForkEvents;
use crate::launch::{Launched, Reaper};
use crate::observe::Observer;
use crate::policy::{Capability, Policy};
use crate::protocol::{self, EXECUTE, Message};
use crate::report::{Captured, Exit, OutputStream};
use crate::sys;
use crate::trace;
use crate::tree;

mod answers;
mod bounds;
mod others;
mod stream;

use answers::{AnsweringThread, Answers};
use bounds::WEIGH_MS;
use others::{Others, Ready};
pub(crate) use stream::Live;
use stream::Stream;

/// How often time and the caller's wish to stop are looked at.
const TICK_MS: u64 = 20;
/// How long the tree may take to die. Only a process held by the kernel's own work takes longer
/// than a moment.
const END_MS: u64 = 20_000;

/// How a run went, apart from its effects.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    pub(crate) wall_ms: u64,
    pub(crate) cpu_ms: u64,
    pub(crate) forks: Option<u64>,
    pub(crate) killed_at_end: u64,
}

/// Who waits for stopped calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The thread that waits for everything else too, so every call is waited for and then
    /// received.
    WithTheRest,
    /// A thread that waits inside the call that receives them. Only where the kernel ends that
    /// call when the last process is gone.
    Alone,
}

/// Runs the launched command to its end.
pub(crate) fn supervise(
    launched: Launched,
    policy: &Policy,
    observer: &Arc<Mutex<Observer>>,
    watched: &WatchedTrees,
    waiting: Waiting,
    live: &mut Live<'_>,
) -> Outcome {
    let Launched { reaper, listener, stdout, stderr, main } = launched;
    let begun_ms = sys::monotonic_ms();
    let over = Arc::new(Mutex::new(None));
    let mut run = Run {
        policy,
        observer,
        others: Others::new(reaper.line(), [&stdout, &stderr]),
        over: &over,
        live,
        stdout: Stream::new(OutputStream::Stdout, stdout, policy.limits.stdout_bytes),
        stderr: Stream::new(OutputStream::Stderr, stderr, policy.limits.stderr_bytes),
        traced: listener.is_none(),
        waiting,
        answering: Answering::Closed,
        silent: false,
        begun_ms,
        measured_ms: begun_ms,
        weighed_ms: begun_ms + WEIGH_MS,
        watched,
        main,
        fork_events: if stops_forks(policy) { None } else { ForkEvents::of(main).ok() },
        made: 0,
        cpu_ms: 0,
        killed_at_end: 0,
        exit: None,
        gone: false,
        lost: false,
    };
    let wall_ms = thread::scope(|scope| {
        let seized = run.traced.then(|| {
            let (sender, seized) = mpsc::channel();
            let (observer, over) = (run.observer, run.over);
            scope.spawn(move || traced(main, observer, over, &sender));
            seized
        });
        if let Err(failure) = run.follow(&reaper, listener, seized) {
            run.mark_incomplete(|| format!("the run could not be followed: {failure}"));
        }
        let wall_ms = sys::monotonic_ms() - begun_ms;
        if let Err(failure) = run.end(&reaper) {
            run.mark_incomplete(|| format!("the process tree could not be ended: {failure}"));
        }
        // Whatever happened: without its reaper the tree ends, and with it the tracer.
        drop(reaper);
        wall_ms
    });
    run.exit = ending(run.exit.take(), locked(&over).take());
    run.outcome(wall_ms)
}

/// How a run ended. A call that ends it may have been decided while the reaper's report of the
/// command's own end was on its way: the call came first, so it decides.
fn ending(reported: Option<Exit>, decided: Option<Exit>) -> Option<Exit> {
    match (reported, decided) {
        (None | Some(Exit::Code(_) | Exit::Signal(_)), Some(decided)) => Some(decided),
        (reported, _) => reported,
    }
}

/// Without a declared process every fork stops, and need not be counted in another way.
pub(crate) fn stops_forks(policy: &Policy) -> bool {
    !policy.declares(Capability::ProcessShell) && !policy.declares(Capability::ProcessGit)
}

/// The life of the tracer's thread.
fn traced(
    main: u32,
    observer: &Mutex<Observer>,
    over: &Mutex<Option<Exit>>,
    sender: &mpsc::Sender<io::Result<()>>,
) {
    let seized = trace::seize(main.cast_signed());
    let holds = seized.is_ok();
    // The other side waits for this, unless it has given up.
    let _ = sender.send(seized);
    if holds && let Err(failure) = trace::follow(observer, over) {
        locked(observer)
            .ledger
            .mark_incomplete(|| format!("the tree could not be traced: {failure}"));
    }
}

fn locked<'m, T>(mutex: &'m Mutex<T>) -> MutexGuard<'m, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who answers stopped calls.
enum Answering {
    /// This thread.
    Here(Answers),
    There(AnsweringThread),
    /// The tree is traced, or it is too late for answers.
    Closed,
}

struct Run<'r> {
    policy: &'r Policy,
    observer: &'r Arc<Mutex<Observer>>,
    /// What is waited for beside calls, or why that is impossible.
    others: io::Result<Others>,
    /// Set by another thread where a call ends the run.
    over: &'r Arc<Mutex<Option<Exit>>>,
    traced: bool,
    waiting: Waiting,
    /// When the run ends, stopped calls get no answer any more, so nothing new can be started.
    answering: Answering,
    live: &'r mut Live<'r>,
    stdout: Stream,
    stderr: Stream,
    /// The last process that could be stopped is gone.
    silent: bool,
    begun_ms: u64,
    measured_ms: u64,
    /// When the trees are walked through next.
    weighed_ms: u64,
    watched: &'r WatchedTrees,
    main: u32,
    /// Nothing where the host does not count.
    fork_events: Option<ForkEvents>,
    /// Of them, at the last look at the tree.
    made: u64,
    cpu_ms: u64,
    /// Alive when the command's own process had ended.
    killed_at_end: u64,
    exit: Option<Exit>,
    /// The last process of the tree is.
    gone: bool,
    /// Another process ended the reaper: what is left of its tree is not known.
    lost: bool,
}

impl Run<'_> {
    fn mark_incomplete(&self, why: impl FnOnce() -> String) {
        locked(self.observer).ledger.mark_incomplete(why);
    }

    fn follow(
        &mut self,
        reaper: &Reaper,
        listener: Option<OwnedFd>,
        seized: Option<mpsc::Receiver<io::Result<()>>>,
    ) -> io::Result<()> {
        if let Some(listener) = listener {
            let answers = Answers::new(listener, self.observer)?;
            self.answering = match self.waiting {
                Waiting::WithTheRest => Answering::Here(answers),
                Waiting::Alone => Answering::There(AnsweringThread::start(answers, self.over)?),
            };
        }
        // The tracer must have the command before it is let go on.
        if let Some(seized) = seized {
            seized.recv().map_err(io::Error::other)??;
        }
        reaper.go()?;
        while self.exit.is_none() {
            let ready = self.wait()?;
            if ready.listener {
                self.answer_waiting()?;
            }
            if ready.output {
                self.collect();
            }
            // Before the end of the command, which may have come after the call.
            if let Some(exit) = locked(self.over).take() {
                self.exit.get_or_insert(exit);
            }
            if ready.reaper {
                self.hear(reaper)?;
            }
            if ready.tick {
                self.look(reaper);
            }
        }
        Ok(())
    }

    /// Waits until there is something to do, a tick at most.
    fn wait(&mut self) -> io::Result<Ready> {
        let others = self.others.as_ref().map_err(same)?;
        let listener = match &self.answering {
            Answering::Here(answers) if !self.silent => Some(&answers.listener),
            _ => None,
        };
        let mut waiting = [
            PollFd::new(&others.handle, PollFlags::IN),
            // Left out below where there is none.
            PollFd::from_borrowed_fd(
                listener.map_or(others.handle.as_fd(), AsFd::as_fd),
                PollFlags::IN,
            ),
        ];
        let count = if listener.is_some() { 2 } else { 1 };
        match poll(&mut waiting[..count], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [other, calls] = waiting.map(|one| one.revents());
        let calls = if count == 2 { calls } else { PollFlags::empty() };
        let mut ready = if other.is_empty() { Ready::default() } else { others.ready()? };
        ready.listener = calls.contains(PollFlags::IN);
        // No process is left whose calls could be stopped. The kernel would say so again and again
        // until the reaper has its turn.
        self.silent |= !ready.listener && !calls.is_empty();
        Ok(ready)
    }

    /// One call at a time: other callers are seen by the next look at everything, without
    /// another one of its own.
    fn answer_waiting(&mut self) -> io::Result<()> {
        let Answering::Here(answers) = &mut self.answering else { return Ok(()) };
        let Some(stopped) = answers.next()? else { return Ok(()) };
        if let Some(exit) = answers.answer(&stopped)? {
            self.exit.get_or_insert(exit);
        }
        Ok(())
    }

    fn collect(&mut self) {
        for (stream, name) in
            [(&mut self.stdout, "stdout_bytes"), (&mut self.stderr, "stderr_bytes")]
        {
            stream.read(self.live);
            if stream.captured.truncated {
                self.exit.get_or_insert_with(|| Exit::Limit(name.to_owned()));
            }
        }
    }

    fn hear(&mut self, reaper: &Reaper) -> io::Result<()> {
        // Readable and without a message: the reaper is gone.
        let Some(message) = reaper.message()? else {
            (self.gone, self.lost) = (true, true);
            self.exit.get_or_insert(Exit::NotStarted);
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        };
        match message.kind {
            protocol::ENDED => {
                self.exit.get_or_insert(exit(message.value));
                if message.others == 0 {
                    self.end_of_tree(&message);
                }
            }
            protocol::FAILED if message.subject == EXECUTE => {
                let cause = io::Error::from_raw_os_error(message.value);
                self.mark_incomplete(|| format!("the program could not be executed: {cause}"));
                self.exit.get_or_insert(Exit::NotStarted);
            }
            protocol::GONE => self.end_of_tree(&message),
            _ => {}
        }
        Ok(())
    }

    fn end_of_tree(&mut self, message: &Message) {
        self.cpu_ms = self.cpu_ms.max(message.cpu_us / 1_000);
        self.gone = true;
    }

    fn late(&mut self) -> io::Result<()> {
        let Answering::Here(answers) = &mut self.answering else { return Ok(()) };
        if let Some(stopped) = answers.next()?
            && !answers.record(&stopped)
        {
            self.answering = Answering::Closed;
        }
        Ok(())
    }

    /// Ends the tree, and has seen all that it did when this is over.
    fn end(&mut self, reaper: &Reaper) -> io::Result<()> {
        if let Answering::There(thread) = &self.answering {
            thread.only_record();
        }
        let deadline_ms = sys::monotonic_ms() + END_MS;
        if !self.gone {
            self.end_tree(reaper, deadline_ms)?;
        }
        self.drain();
        match std::mem::replace(&mut self.answering, Answering::Closed) {
            Answering::There(thread) if !self.lost => {
                let left_ms = deadline_ms.saturating_sub(sys::monotonic_ms());
                thread.wait(Duration::from_millis(left_ms))
            }
            _ => Ok(()),
        }
    }

    fn end_tree(&mut self, reaper: &Reaper, deadline_ms: u64) -> io::Result<()> {
        // Held still first: a tree that forks as fast as it can would outrun its end.
        if matches!(self.exit, Some(Exit::Limit(_) | Exit::Timeout)) {
            tree::freeze(reaper.pid, self.main);
        }
        if matches!(self.exit, Some(Exit::Code(_) | Exit::Signal(_))) {
            // The command's own process is gone: whatever is left did not wait for it.
            let left = tree::usage(reaper.pid, None, &self.policy.limits, false);
            self.killed_at_end = left.processes;
        }
        reaper.end()?;
        while !self.gone {
            let ready = self.wait()?;
            if ready.listener
                && let Err(failure) = self.late()
            {
                self.answering = Answering::Closed;
                self.mark_incomplete(|| {
                    format!("what was done at the end could not be seen: {failure}")
                });
            }
            self.drain();
            if ready.reaper {
                self.hear(reaper)?;
            }
            if sys::monotonic_ms() > deadline_ms {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
        }
        Ok(())
    }

    fn drain(&mut self) {
        self.fork_events.iter_mut().for_each(ForkEvents::look);
        self.stdout.read(self.live);
        self.stderr.read(self.live);
    }

    fn outcome(self, wall_ms: u64) -> Outcome {
        let limits = &self.policy.limits;
        let limit = |name: &str| Exit::Limit(name.to_owned());
        let exit = match self.exit.unwrap_or(Exit::NotStarted) {
            // By these signals the kernel enforces the limits that it was given at the start.
            Exit::Signal(libc::SIGXFSZ) => limit("file_bytes"),
            Exit::Signal(libc::SIGXCPU) => limit("cpu_ms"),
            // Soft and hard limit are one, so the kernel kills without the signal above.
            Exit::Signal(libc::SIGKILL) if self.cpu_ms >= limits.cpu_ms => limit("cpu_ms"),
            // What was still in the pipe is read after the end, so this may be known only now.
            Exit::Code(_) | Exit::Signal(_) if self.stdout.captured.truncated => {
                limit("stdout_bytes")
            }
            Exit::Code(_) | Exit::Signal(_) if self.stderr.captured.truncated => {
                limit("stderr_bytes")
            }
            exit => exit,
        };
        Outcome {
            exit,
            stdout: self.stdout.captured,
            stderr: self.stderr.captured,
            wall_ms,
            killed_at_end: self.killed_at_end,
            cpu_ms: self.cpu_ms,
            forks: if stops_forks(self.policy) {
                Some(locked(self.observer).forks)
            } else {
                self.fork_events.and_then(|fork_events| fork_events.count())
            },
        }
    }
}

/// The same failure once more.
fn same(failure: &io::Error) -> io::Error {
    failure.raw_os_error().map_or_else(|| failure.kind().into(), io::Error::from_raw_os_error)
}

fn exit(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_ends_the_run_outranks_the_commands_own_end() {
        let foreign = || Some(Exit::Signal(libc::SIGSYS));
        assert_eq!(ending(Some(Exit::Code(0)), foreign()), foreign());
        assert_eq!(ending(Some(Exit::Signal(libc::SIGKILL)), foreign()), foreign());
        assert_eq!(ending(None, foreign()), foreign());
        assert_eq!(ending(Some(Exit::Code(0)), None), Some(Exit::Code(0)));
        assert_eq!(ending(Some(Exit::Timeout), foreign()), Some(Exit::Timeout));
    }
}
