//! Decides every stopped call: what it is, whether it counts, and what the kernel is told.
//!
//! A call is let go on only where the kernel itself confines what it can reach (Landlock), so a thread that swaps a path after it was
//! looked at wins nothing but the attempt. Everything refused is refused by an error number, which nothing can race. What Landlock does
//! not confine, metadata, the supervisor changes itself on a handle it has checked.

mod files;
mod metadata;
mod names;
mod others;
mod processes;
mod requests;

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::path::Path;

use libc::c_long;

use crate::calls::{self, Call, Shape, Stopping, UNKNOWN_NUMBERS};
use crate::filter;
use crate::ground::Ground;
use crate::ledger::{Event, Ledger};
use crate::paths;
use crate::policy::{Policy, Reads};
use crate::report::{Category, Charge, Exit};
use crate::sys::{Answer, Stopped};
use crate::tasks::Tasks;
use crate::text;
use crate::view::{Home, View};

/// What follows from a stopped call.
#[derive(Debug)]
pub(crate) enum Decision {
    Answer(Answer),
    /// The run is over.
    End(Exit),
}

/// Sees all calls of one run.
#[derive(Debug)]
pub(crate) struct Observer<'a> {
    ground: &'a Ground,
    policy: &'a Policy,
    /// By number; the first row of each.
    calls: Vec<Option<Call>>,
    rows: &'a [Call],
    /// Inodes of the root that also stand outside it.
    shared: HashSet<(u64, u64)>,
    keeper: i32,
    main: u32,
    abi: u32,
    traced: bool,
    identity: Option<(u32, u32)>,
    home: &'a Home,
    started: bool,
    /// Processes at the last count, and started since.
    alive: u64,
    forked: u64,
    tasks: Tasks,
    /// Processes made, as far as every fork stops.
    pub(crate) forks: u64,
    /// Files of nothing but memory were made: what is in them is looked for.
    pub(crate) memory_files: bool,
    pub(crate) ledger: Ledger,
}

/// What an observer is made from.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) policy: &'a Policy,
    pub(crate) calls: &'a [Call],
    pub(crate) shared: HashSet<(u64, u64)>,
    pub(crate) keeper: i32,
    pub(crate) main: u32,
    pub(crate) abi: u32,
    pub(crate) traced: bool,
    pub(crate) identity: Option<(u32, u32)>,
    pub(crate) home: &'a Home,
}

const CONTINUE: Decision = Decision::Answer(Answer::Continue);

fn error(number: i32) -> Decision {
    Decision::Answer(Answer::Error(number))
}

impl<'a> Observer<'a> {
    pub(crate) fn new(watch: Watch<'a>) -> Self {
        let mut calls = vec![None; UNKNOWN_NUMBERS as usize];
        for call in watch.calls.iter().rev() {
            if let Some(known) = usize::try_from(call.number).ok().and_then(|at| calls.get_mut(at))
            {
                *known = Some(*call);
            }
        }
        Self {
            ground: watch.ground,
            policy: watch.policy,
            calls,
            rows: watch.calls,
            shared: watch.shared,
            keeper: watch.keeper,
            main: watch.main,
            abi: watch.abi,
            traced: watch.traced,
            identity: watch.identity,
            home: watch.home,
            started: false,
            alive: 1,
            forked: 0,
            tasks: Tasks::new(),
            forks: 0,
            memory_files: false,
            ledger: Ledger::default(),
        }
    }

    /// What the filter would do with this call; one that is not of this machine's kind always stops.
    pub(crate) fn stopping(&self, stopped: &Stopped) -> Stopping {
        if is_foreign(stopped) {
            return Stopping::Stops;
        }
        calls::stopping(self.rows, stopped.number, &stopped.args)
    }

    /// What the kernel is to be told about this call. `valid` says whether the call still waits, after its memory was read.
    pub(crate) fn decide(&mut self, stopped: &Stopped, valid: impl Fn() -> bool) -> Decision {
        if is_foreign(stopped) {
            self.refused(
                stopped.tid,
                "system call of another architecture",
                format!("number {}", stopped.number),
            );
            return Decision::End(Exit::Signal(libc::SIGSYS));
        }
        let number = usize::try_from(stopped.number).unwrap_or(usize::MAX);
        let Some(call) = self.calls.get(number).copied().flatten() else {
            self.ledger.hole(|| format!("system call {} stopped without a rule", stopped.number));
            return error(libc::ENOSYS);
        };
        let Ok(task) = self.tasks.task(stopped.tid) else {
            // Killed meanwhile: nothing was done, and nobody waits for an answer.
            return error(libc::EINTR);
        };
        let view = View { tid: stopped.tid, task, keeper: self.keeper, home: self.home };
        let seen = Seen { stopped, call, view, valid: &valid, strings: RefCell::default() };
        let decision = self.judge(&seen);
        let goes_on = matches!(decision, Decision::Answer(Answer::Continue));
        if goes_on && !seen.is_settled() && valid() {
            // Somebody writes over the arguments while they are looked at. What they say now is on record too, and nothing is done.
            seen.strings.take();
            self.judge(&seen);
            self.ledger.hole(|| {
                format!("the arguments of {} changed while they were looked at", seen.call.name)
            });
            return error(libc::EACCES);
        }
        decision
    }

    fn judge(&mut self, seen: &Seen<'_>) -> Decision {
        match self.dispatch(seen) {
            Ok(decision) => decision,
            Err(failure) => self.unreadable(seen, &failure),
        }
    }

    fn dispatch(&mut self, seen: &Seen<'_>) -> io::Result<Decision> {
        match seen.call.shape {
            Shape::Open { at, flags } => self.open(seen, at, flags),
            Shape::Create { at } => self.create(seen, at),
            Shape::Remove { at, kind } => self.remove(seen, at, kind),
            Shape::Rename { from, to, flags } => self.rename(seen, from, to, flags),
            Shape::Link { from, to, flags } => self.link(seen, from, to, flags),
            Shape::Truncate { at } => self.truncate(seen, at),
            Shape::Metadata { target, change } => self.metadata(seen, target, change),
            Shape::Ioctl => self.ioctl(seen),
            Shape::Owner => self.owner(seen),
            Shape::MemoryFile => {
                self.memory_files = true;
                Ok(CONTINUE)
            }
            Shape::Exec { at, flags } => self.exec(seen, at, flags),
            Shape::Fork => Ok(self.fork(seen)),
            Shape::Socket => Ok(self.socket(seen)),
            Shape::Connect { address, length } => {
                self.connect(seen, seen.arg(address), seen.arg(length))
            }
            Shape::Bind => self.bind(seen),
            Shape::Message { many } => self.message(seen, many),
            Shape::Process { pid, signal } => Ok(self.process(seen, pid, signal)),
            Shape::SignalHandle => self.signal_handle(seen),
            Shape::Peek { pid } => Ok(self.peek(seen, pid)),
            Shape::RefuseProcess { pid } => Ok(self.refuse_process(seen, pid)),
            Shape::Refuse(number) => {
                self.refused(stopped_tid(seen), seen.call.name, String::new());
                Ok(error(number))
            }
        }
    }

    /// Arguments that cannot be read fail in the kernel too; memory that is withheld from us is a hole in the record.
    fn unreadable(&mut self, seen: &Seen<'_>, failure: &io::Error) -> Decision {
        match failure.raw_os_error() {
            Some(number @ (libc::ELOOP | libc::ENOENT | libc::EBADF | libc::ENOTDIR)) => {
                error(number)
            }
            Some(libc::EPERM | libc::EACCES) => {
                self.ledger.hole(|| {
                    format!(
                        "the arguments of {} in process {} are unreadable",
                        seen.call.name, seen.stopped.tid
                    )
                });
                error(libc::EPERM)
            }
            Some(_) => error(libc::EFAULT),
            None if failure.kind() == io::ErrorKind::InvalidData => error(libc::ENAMETOOLONG),
            None => error(libc::EFAULT),
        }
    }

    fn refused(&mut self, tid: u32, operation: &'static str, target: String) {
        let charge = Charge::Listed;
        self.note(
            tid,
            Event {
                category: Category::Refused,
                operation,
                target,
                other: None,
                allowed: false,
                charge,
            },
        );
    }

    /// Records an effect of a capability: declared and let go on, or refused.
    fn charge(
        &mut self,
        seen: &Seen<'_>,
        category: Category,
        charge: Charge,
        target: String,
        other: Option<String>,
    ) -> Decision {
        if !(seen.valid)() {
            // The process is gone, and what was read was perhaps another's; nothing was done.
            return error(libc::EINTR);
        }
        let allowed = matches!(charge, Charge::Declared | Charge::Listed);
        self.note(
            seen.stopped.tid,
            Event { category, operation: seen.call.name, target, other, allowed, charge },
        );
        if allowed { CONTINUE } else { error(libc::EACCES) }
    }

    /// Records an effect whose answer is not that of its charge.
    fn record(
        &mut self,
        seen: &Seen<'_>,
        category: Category,
        charge: Charge,
        target: String,
        allowed: bool,
    ) {
        if (seen.valid)() {
            let operation = seen.call.name;
            let event = Event { category, operation, target, other: None, allowed, charge };
            self.note(seen.stopped.tid, event);
        }
    }

    /// Counts an effect, and looks up who did it while the thread is stopped, if there is room to tell.
    fn note(&mut self, tid: u32, event: Event) {
        if self.ledger.count(&event) {
            let who = self.tasks.who(tid);
            self.ledger.keep(event, who);
        }
    }

    fn watches_reads(&self) -> bool {
        self.policy.reads != Reads::Ignore
    }
}

/// One call under judgement.
struct Seen<'s> {
    stopped: &'s Stopped,
    call: Call,
    view: View<'s>,
    valid: &'s dyn Fn() -> bool,
    /// The strings read from its memory, by address.
    strings: RefCell<Vec<(u64, Vec<u8>)>>,
}

impl Seen<'_> {
    fn arg(&self, index: usize) -> u64 {
        self.stopped.args[index]
    }

    /// The low half: descriptors, flags and pids are 32 bits wide for the kernel too.
    fn int(&self, index: usize) -> i32 {
        self.stopped.args[index] as i32
    }

    /// A string among the arguments.
    fn string(&self, address: u64) -> io::Result<Vec<u8>> {
        let known = self.strings.borrow().iter().find(|(at, _)| *at == address).cloned();
        if let Some((_, text)) = known {
            return Ok(text);
        }
        let text = self.view.string(address)?;
        self.strings.borrow_mut().push((address, text.clone()));
        Ok(text)
    }

    /// Reads two strings at once, where both are short.
    fn read_both(&self, addresses: [u64; 2]) {
        if self.strings.borrow().is_empty()
            && let Some(texts) = self.view.short_strings(addresses)
        {
            self.strings.borrow_mut().extend(addresses.into_iter().zip(texts));
        }
    }

    /// Whether the strings are still what was read.
    fn is_settled(&self) -> bool {
        self.view.has_strings(&self.strings.borrow())
    }

    /// A path for people; the process's own folder in `/proc` by its usual name.
    fn show(&self, path: &Path) -> String {
        let own = || format!("/proc/{}", self.stopped.tid);
        let inside = paths::below(path, Path::new("/proc"))
            .and_then(|_| paths::below(path, Path::new(&own())));
        match inside {
            Some(rest) => text::escape_os(Path::new("/proc/self").join(rest)),
            None => text::escape_os(path),
        }
    }
}

/// Of another architecture, or by numbers that are not this one's.
fn is_foreign(stopped: &Stopped) -> bool {
    stopped.arch != filter::NATIVE
        || stopped.number >= c_long::from(filter::FOREIGN_NUMBERS)
        || stopped.number < 0
}

fn stopped_tid(seen: &Seen<'_>) -> u32 {
    seen.stopped.tid
}
