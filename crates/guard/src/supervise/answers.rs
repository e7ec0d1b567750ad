//! Answers stopped calls: on the thread that follows the run, or, where the kernel ends the call
//! that receives them, on a thread of its own, which waits inside that call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::locked;
use crate::emulate::sockets::Calls;
use crate::exec_stop::{self, Hold, Started};
use crate::observe::{Decision, Observer, Start};
use crate::report::Exit;
use crate::sys::{self, Answer, Receiver, Stopped};

/// Calls made while the tree is ended that are recorded; those that follow fail.
const MAX_LATE: usize = 10_000;

/// Answers one call after the other. When this is dropped, waiting calls fail, and so do later ones.
pub(super) struct Answers {
    pub(super) listener: OwnedFd,
    receiver: Receiver,
    observer: Arc<Mutex<Observer>>,
    /// Socket calls that are made for the command.
    calls: Calls,
    /// Calls recorded after the end.
    late: usize,
}

impl Answers {
    /// # Errors
    /// The kernel has no user notification.
    pub(super) fn new(listener: OwnedFd, observer: &Arc<Mutex<Observer>>) -> io::Result<Self> {
        sys::hand_over(listener.as_fd());
        Ok(Self {
            listener,
            receiver: Receiver::new()?,
            observer: Arc::clone(observer),
            calls: Calls::default(),
            late: 0,
        })
    }

    /// The next call, or nothing where it vanished with its process. Waits where there is none.
    ///
    /// # Errors
    /// The listener is unusable.
    pub(super) fn next(&mut self) -> io::Result<Option<Stopped>> {
        self.receiver.receive(self.listener.as_fd())
    }

    /// Answers a call, and says how the run ends where the call ends it.
    ///
    /// # Errors
    /// The listener is unusable, or this process has no descriptors left.
    pub(super) fn answer(&mut self, stopped: &Stopped) -> io::Result<Option<Exit>> {
        let listener = self.listener.as_fd();
        let valid = || sys::still_waits(listener, stopped.id);
        let decision = locked(&self.observer).decide(stopped, valid);
        if let Decision::Answer(answer) = decision {
            let waited = sys::answer(listener, stopped.id, answer)?;
            locked(&self.observer).conclude(|| waited);
            return Ok(None);
        }
        let decision = locked(&self.observer).conclude_before(decision, valid);
        match decision {
            Decision::Answer(answer) => {
                sys::answer(listener, stopped.id, answer)?;
            }
            Decision::Change(change) => {
                sys::answer(listener, stopped.id, change.make())?;
            }
            Decision::Open { file, close_on_exec } => {
                sys::answer_with(listener, stopped.id, file.as_fd(), close_on_exec)?;
            }
            Decision::Perform(call) => {
                let (answers, id) = (self.listener.try_clone()?, stopped.id);
                let done = move |answer| {
                    // A listener that is gone has no caller left that waits.
                    let _ = sys::answer(answers.as_fd(), id, answer);
                };
                if self.calls.start(*call, done).is_err() {
                    sys::answer(listener, stopped.id, Answer::Error(libc::EAGAIN))?;
                }
            }
            Decision::Start(start) => watch_start(listener, stopped.id, *start, &self.observer)?,
            Decision::End(exit) => return Ok(Some(exit)),
        }
        Ok(None)
    }

    /// Records what a daemon is about to do when the command has ended. Nothing is done for it, and
    /// it gets no answer: it would only try again. Says whether more is recorded.
    pub(super) fn record(&mut self, stopped: &Stopped) -> bool {
        let listener = self.listener.as_fd();
        let valid = || sys::still_waits(listener, stopped.id);
        let mut observer = locked(&self.observer);
        let decision = observer.decide(stopped, valid);
        observer.conclude(valid);
        if let Decision::Start(start) = decision {
            observer.started(*start, None);
        }
        drop(observer);
        self.late += 1;
        self.late < MAX_LATE
    }

    /// Serves calls until no process is left that could make one.
    fn serve(&mut self, phase: &AtomicU8, over: &Mutex<Option<Exit>>) -> io::Result<()> {
        loop {
            let Some(stopped) = self.next()? else {
                if is_silent(self.listener.as_fd())? {
                    return Ok(());
                }
                continue;
            };
            match phase.load(Ordering::Acquire) {
                ANSWERING => {
                    if let Some(exit) = self.answer(&stopped)? {
                        locked(over).get_or_insert(exit);
                        let (order, failed) = (Ordering::AcqRel, Ordering::Acquire);
                        // Unless the following thread has set a later phase meanwhile.
                        let _ = phase.compare_exchange(ANSWERING, RECORDING, order, failed);
                    }
                }
                RECORDING if self.record(&stopped) => {}
                _ => return Ok(()),
            }
        }
    }
}

/// Whether no process is left whose calls could be stopped.
fn is_silent(listener: BorrowedFd<'_>) -> io::Result<bool> {
    let mut waiting = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
    match poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let found = waiting[0].revents();
    Ok(found.contains(PollFlags::HUP) && !found.contains(PollFlags::IN))
}

/// Calls are answered.
const ANSWERING: u8 = 0;
/// The run is over: calls are recorded.
const RECORDING: u8 = 1;
/// No caller waits for the thread any more: it ends at the next call.
const LEFT: u8 = 2;

/// A thread that answers. Nothing ends the call it waits in but a call of the tree or the end of
/// the tree's last process. So it owns all it needs: where the kernel holds a process fast, it is
/// left behind until that process is gone.
pub(super) struct AnsweringThread {
    phase: Arc<AtomicU8>,
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl AnsweringThread {
    /// `over` is set where a call, or a failure, ends the run.
    ///
    /// # Errors
    /// This process may start no thread.
    pub(super) fn start(mut answers: Answers, over: &Arc<Mutex<Option<Exit>>>) -> io::Result<Self> {
        let phase = Arc::new(AtomicU8::new(ANSWERING));
        let (sender, ended) = mpsc::channel();
        let (there, over) = (Arc::clone(&phase), Arc::clone(over));
        let serve = move || {
            // Dropped at the end, however that comes about, it wakes who waits.
            let _ended: mpsc::Sender<()> = sender;
            if let Err(failure) = answers.serve(&there, &over) {
                let what = if there.load(Ordering::Acquire) == ANSWERING {
                    "the run could not be followed"
                } else {
                    "what was done at the end could not be seen"
                };
                let mut observer = locked(&answers.observer);
                observer.ledger.mark_incomplete(|| format!("{what}: {failure}"));
                drop(observer);
                locked(&over).get_or_insert(Exit::NotStarted);
            }
            // Its calls end with it, before its end is reported.
            drop(answers);
        };
        let thread = thread::Builder::new().name("stopped calls".to_owned()).spawn(serve)?;
        Ok(Self { phase, ended, thread: Some(thread) })
    }

    /// From here on calls get no answer any more, so nothing new can be started.
    pub(super) fn only_record(&self) {
        self.phase.store(RECORDING, Ordering::Release);
    }

    /// Waits until the thread has seen everything. The tree must be gone.
    ///
    /// # Errors
    /// It did not end in time.
    pub(super) fn wait(mut self, patience: Duration) -> io::Result<()> {
        // Nothing is ever sent: the other end is dropped.
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        match self.thread.take().map(JoinHandle::join) {
            // What it should have answered is not known.
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl Drop for AnsweringThread {
    fn drop(&mut self) {
        self.phase.store(LEFT, Ordering::Release);
    }
}

/// Lets a program start and looks, before its first instruction, which one it is.
fn watch_start(
    listener: BorrowedFd<'_>,
    id: u64,
    start: Start,
    observer: &Mutex<Observer>,
) -> io::Result<()> {
    // Before it goes on: afterwards its exec could be over.
    let hold = Hold::of(start.pid, start.tid);
    sys::answer(listener, id, Answer::Continue)?;
    let Ok(hold) = hold else {
        // This host does not let the guard look. What was asked for is recorded as such.
        locked(observer).started(start, None);
        return Ok(());
    };
    match hold.wait() {
        exec_stop::Outcome::Failed => {
            locked(observer).started(start, None);
        }
        exec_stop::Outcome::Started(stopped) => {
            let started = Started::read(stopped.pid());
            if !locked(observer).started(start, started) {
                stopped.kill();
            }
        }
    }
    Ok(())
}
