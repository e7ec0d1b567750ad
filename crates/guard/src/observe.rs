//! Decides every stopped call: what it is, whether it counts, and what the kernel is answered.
//!
//! A call is let go on only where the kernel itself confines what it can reach (Landlock), so a
//! thread that swaps a path after it was looked at wins nothing but the attempt. Everything refused
//! is refused by an error number, which nothing can race. What Landlock does not confine, metadata,
//! the supervisor changes itself on a handle it has checked.

mod files;
mod locks;
mod memory;
mod metadata;
mod names;
mod others;
mod processes;
mod requests;
mod sockets;
mod system_objects;
mod watches;

pub(crate) use system_objects::ObjectKind;

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libc::c_long;
use sha2::{Digest, Sha256};

use crate::calls::{self, Call, Shape, Stopping, UNKNOWN_NUMBERS};
use crate::emulate::MetadataChange;
use crate::emulate::sockets::{OwnSockets, SocketCall};
use crate::exec_stop::{self, Started};
use crate::filter;
use crate::ledger::{Event, Ledger};
use crate::paths;
use crate::policy::{Capability, Policy, Reads};
use crate::report::{Category, Charge, Exit};
use crate::resolved_policy::ResolvedPolicy;
use crate::sys::{Answer, Stopped};
use crate::tasks::{ProcessInfo, Tasks};
use crate::text;
use crate::view::{Home, View};

use memory::{Memory, Piece};

/// What follows from a stopped call.
#[derive(Debug)]
pub(crate) enum Decision {
    Answer(Answer),
    /// The call gives this open file instead of the one it asks for.
    Open {
        file: OwnedFd,
        close_on_exec: bool,
    },
    /// The supervisor makes this change, and its result is the answer.
    Change(Box<MetadataChange>),
    /// The supervisor makes the call, and its result is the answer.
    Perform(Box<SocketCall>),
    /// Let go on, and watched at its end: only then is it certain which program was started.
    Start(Box<Start>),
    /// The run is over.
    End(Exit),
}

/// A program that is about to be started, as the caller asked for it.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    /// The program that asks for it; nothing for the first start of the command itself, which is
    /// never recorded.
    who: Option<Arc<ProcessInfo>>,
    event: Event,
    /// As resolved; nothing for a program without a name.
    path: Option<PathBuf>,
    /// As it is in the caller's memory; nothing where the kernel makes up another one.
    name: Option<Vec<u8>>,
    /// The command itself: it is no effect.
    itself: bool,
}

/// Sees all calls of one run.
#[derive(Debug)]
pub(crate) struct Observer {
    resolved: Arc<ResolvedPolicy>,
    policy: Arc<Policy>,
    /// The table, and where it has the first row of each number.
    rows: Arc<[Call]>,
    first_rows: Vec<Option<usize>>,
    /// Inodes of the root that also have a name outside it.
    shared: HashSet<(u64, u64)>,
    reaper: i32,
    main: u32,
    abi: u32,
    traced: bool,
    identity: Option<(u32, u32)>,
    home: Arc<Home>,
    /// The working directory of every process, until one is let change its own.
    directory: Option<Arc<Path>>,
    domain: Arc<OwnedFd>,
    own_sockets: OwnSockets,
    /// Device and inode of the file that the command was given as its input.
    input: Option<(u64, u64)>,
    /// A process has given itself Landlock rules, which the supervisor does not have.
    restricted: bool,
    started: bool,
    /// The program that the kernel starts for the first line of the command's script.
    env_program: PathBuf,
    /// The command has become the interpreter that `env` was asked for.
    interpreted: bool,
    /// Processes at the last count, and started since.
    alive: u64,
    forked: u64,
    tasks: Tasks,
    /// Processes made, as far as every fork stops.
    pub(crate) forks: u64,
    /// Files of nothing but memory were made: what is in them is looked for.
    pub(crate) memory_files: bool,
    pub(crate) ledger: Ledger,
    /// Room for what is read of the next call's memory.
    room: Vec<Piece>,
    /// Effects of the call judged last, with the processes that did them: they count once it is
    /// known that the call still waited when all of it had been read.
    pending: Vec<(Event, Option<Arc<ProcessInfo>>)>,
}

/// What an observer is made from.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) resolved: Arc<ResolvedPolicy>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) calls: Arc<[Call]>,
    pub(crate) shared: HashSet<(u64, u64)>,
    pub(crate) reaper: i32,
    pub(crate) main: u32,
    pub(crate) abi: u32,
    pub(crate) traced: bool,
    pub(crate) identity: Option<(u32, u32)>,
    pub(crate) home: Arc<Home>,
    pub(crate) directory: Option<Arc<Path>>,
    pub(crate) domain: Arc<OwnedFd>,
    pub(crate) own_sockets: OwnSockets,
    pub(crate) input: Option<(u64, u64)>,
    pub(crate) transcript_key: [u8; 32],
    pub(crate) env_program: PathBuf,
}

const MAX_SHOWN_ARGUMENTS: usize = 32;
/// The Landlock ABI that confines signals.
const SIGNALS_CONFINED: u32 = 6;
const CONTINUE: Decision = Decision::Answer(Answer::Continue);

fn error(number: i32) -> Decision {
    Decision::Answer(Answer::Error(number))
}

impl Observer {
    pub(crate) fn new(watch: Watch) -> Self {
        let mut first_rows = vec![None; UNKNOWN_NUMBERS as usize];
        // Backwards, so that the first row of a number is the one that stays.
        for (row, call) in watch.calls.iter().enumerate().rev() {
            let number = usize::try_from(call.number).ok();
            if let Some(first) = number.and_then(|number| first_rows.get_mut(number)) {
                *first = Some(row);
            }
        }
        Self {
            resolved: watch.resolved,
            policy: watch.policy,
            rows: watch.calls,
            first_rows,
            shared: watch.shared,
            reaper: watch.reaper,
            main: watch.main,
            abi: watch.abi,
            traced: watch.traced,
            identity: watch.identity,
            home: watch.home,
            directory: watch.directory,
            domain: watch.domain,
            own_sockets: watch.own_sockets,
            input: watch.input,
            restricted: false,
            started: false,
            env_program: watch.env_program,
            interpreted: false,
            alive: 1,
            forked: 0,
            tasks: Tasks::new(),
            forks: 0,
            memory_files: false,
            ledger: Ledger::new(watch.transcript_key),
            room: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// What the filter would do with this call; one that is not of this machine's kind always
    /// stops.
    pub(crate) fn stopping(&self, stopped: &Stopped) -> Stopping {
        if is_foreign(stopped) {
            return Stopping::Stops;
        }
        calls::stopping(&self.rows, stopped.number, &stopped.args)
    }

    /// The answer to this call. `valid` says whether the call still waits, after its memory was
    /// read. Its effects count only after [`Self::conclude`]. Nothing is done here: what the
    /// supervisor itself has to do is in the decision.
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
        let row = self.first_rows.get(number).copied().flatten();
        let Some(call) = row.and_then(|row| self.rows.get(row)).copied() else {
            self.ledger.mark_incomplete(|| {
                format!("system call {} stopped without a rule", stopped.number)
            });
            return error(libc::ENOSYS);
        };
        let Ok(task) = self.tasks.task(stopped.tid, self.directory.as_ref()) else {
            // Killed meanwhile: nothing was done, and no caller waits for an answer.
            return error(libc::EINTR);
        };
        let home = Arc::clone(&self.home);
        let view = View { tid: stopped.tid, task, reaper: self.reaper, home };
        // What is read here may be read again by the kernel, so it is not certain in the record.
        let exact = !self.reads_again(call.shape);
        let memory = Memory::of(stopped.tid, std::mem::take(&mut self.room));
        let seen = StoppedCall { stopped, call, view, valid: &valid, memory, exact };
        let decision = self.judge(&seen);
        let goes_on = matches!(decision, Decision::Answer(Answer::Continue) | Decision::Start(_));
        // Only what goes on matters: an error cannot be raced.
        if goes_on && !seen.memory.is_unchanged() && valid() {
            // A process writes over the arguments while they are looked at. What they say now is on
            // record too, and nothing is done.
            seen.memory.forget();
            if let Decision::Start(start) = self.judge(&seen) {
                self.refuse_start(*start);
            }
            self.ledger.mark_incomplete(|| {
                format!("the arguments of {} changed while they were looked at", seen.call.name)
            });
            return error(libc::EACCES);
        }
        self.room = seen.memory.into_room();
        decision
    }

    fn judge(&mut self, seen: &StoppedCall<'_>) -> Decision {
        match self.dispatch(seen) {
            Ok(decision) => decision,
            Err(failure) => self.unreadable(seen, &failure),
        }
    }

    fn dispatch(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        match seen.call.shape {
            Shape::Open { at, flags } => self.open(seen, at, flags),
            Shape::Create { at } => self.create(seen, at),
            Shape::Remove { at, kind } => self.remove(seen, at, kind),
            Shape::Rename { from, to, flags } => self.rename(seen, from, to, flags),
            Shape::Link { from, to, flags } => self.link(seen, from, to, flags),
            Shape::Truncate { at } => self.truncate(seen, at),
            Shape::Metadata { target, change } => self.metadata(seen, target, change),
            Shape::Ioctl => self.ioctl(seen),
            Shape::Control => self.control(seen),
            Shape::Lock => self.lock(seen),
            Shape::Watch => self.watch(seen),
            Shape::Restrict => {
                // Whether it succeeds is not known: from here on nothing is done by the supervisor
                // that the command's own rules could forbid.
                self.restricted = true;
                Ok(CONTINUE)
            }
            Shape::MemoryFile => {
                self.memory_files = true;
                Ok(CONTINUE)
            }
            Shape::Exec { at, flags } => self.exec(seen, at, flags),
            Shape::Fork => Ok(self.fork(seen)),
            Shape::Directory => {
                // Whether it succeeds, and when, is not known: from here on every call is asked
                // where it is made.
                self.directory = None;
                Ok(CONTINUE)
            }
            Shape::Socket => Ok(self.socket(seen)),
            Shape::Connect => self.connect(seen, seen.arg(1), seen.arg(2)),
            Shape::SendTo => self.send_to(seen),
            Shape::Bind => self.bind(seen),
            Shape::Listen => self.listen(seen),
            Shape::SocketOption => self.socket_option(seen),
            Shape::Message { many } => self.message(seen, many),
            Shape::Process { pid, signal } => Ok(self.process(seen, pid, signal)),
            Shape::SignalHandle => self.signal_handle(seen),
            Shape::Peek { pid } => Ok(self.peek(seen, pid)),
            Shape::RefuseProcess { pid } => Ok(self.refuse_process(seen, pid)),
            Shape::SystemObject(object) => Ok(self.system_object(seen, object)),
            Shape::Refuse(number) => {
                self.refused(stopped_tid(seen), seen.call.name, String::new());
                Ok(error(number))
            }
        }
    }

    /// Arguments that cannot be read fail in the kernel too; memory that is withheld from us
    /// leaves the record incomplete. A guard that has no descriptor left has judged nothing, and
    /// the caller may try again.
    fn unreadable(&mut self, seen: &StoppedCall<'_>, failure: &io::Error) -> Decision {
        match failure.raw_os_error() {
            Some(
                number
                @ (libc::ELOOP | libc::ENOENT | libc::EBADF | libc::ENOTDIR | libc::ENOTSOCK),
            ) => error(number),
            Some(libc::EPERM | libc::EACCES) => {
                self.ledger.mark_incomplete(|| {
                    format!(
                        "the arguments of {} in process {} are unreadable",
                        seen.call.name, seen.stopped.tid
                    )
                });
                error(libc::EPERM)
            }
            Some(libc::EMFILE | libc::ENFILE) => error(libc::EAGAIN),
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
                exact: true,
            },
        );
    }

    /// Records an effect of a capability: declared and let go on, or refused.
    fn charge(
        &mut self,
        seen: &StoppedCall<'_>,
        category: Category,
        charge: Charge,
        target: String,
        other: Option<String>,
    ) -> Decision {
        let allowed = matches!(charge, Charge::Declared | Charge::Listed);
        let exact = seen.exact;
        self.pend(
            seen.stopped.tid,
            Event { category, operation: seen.call.name, target, other, allowed, charge, exact },
        );
        if allowed { CONTINUE } else { error(libc::EACCES) }
    }

    /// Records an effect whose answer is not that of its charge.
    fn record(
        &mut self,
        seen: &StoppedCall<'_>,
        category: Category,
        charge: Charge,
        target: String,
        allowed: bool,
    ) {
        let operation = seen.call.name;
        let exact = seen.exact;
        let event = Event { category, operation, target, other: None, allowed, charge, exact };
        self.pend(seen.stopped.tid, event);
    }

    /// Counts an effect that does not depend on memory.
    fn note(&mut self, tid: u32, event: Event) {
        let who = self.doer(tid, &event);
        self.ledger.add(event, who);
    }

    /// Keeps an effect until the call is concluded.
    fn pend(&mut self, tid: u32, event: Event) {
        let who = self.doer(tid, &event);
        self.pending.push((event, who));
    }

    /// Keeps a start that is refused, by what was asked for, until the call is concluded.
    fn refuse_start(&mut self, start: Start) {
        let Start { mut event, who, itself, .. } = start;
        if !itself {
            event.allowed = false;
            event.exact = false;
            self.pending.push((event, who));
        }
    }

    /// The process that did it, where that is recorded: looked up now, while its thread is stopped.
    fn doer(&mut self, tid: u32, event: &Event) -> Option<Arc<ProcessInfo>> {
        let recorded = Ledger::compares(event) || self.ledger.has_room(event);
        recorded.then(|| self.tasks.process_info(tid))
    }

    /// The end of the call judged last. Where it no longer waited its thread was gone, what was
    /// read was perhaps another's, and nothing was done: then its effects do not count.
    pub(crate) fn conclude(&mut self, waited: impl FnOnce() -> bool) {
        if !self.pending.is_empty() {
            let counts = waited();
            let pending = self.pending.drain(..).filter(|_| counts);
            pending.for_each(|(event, who)| self.ledger.add(event, who));
        }
    }

    /// The same before the decision is carried out: what the supervisor itself does counts,
    /// whatever becomes of the caller meanwhile, and for one that is gone nothing is done, and no
    /// program is started. Whether it waits is asked only where something depends on it.
    pub(crate) fn conclude_before(
        &mut self,
        decision: Decision,
        waits: impl FnOnce() -> bool,
    ) -> Decision {
        let acts =
            matches!(decision, Decision::Change(_) | Decision::Perform(_) | Decision::Start(_));
        if !acts {
            self.conclude(waits);
            return decision;
        }
        let waits = waits();
        self.conclude(|| waits);
        if waits { decision } else { error(libc::EINTR) }
    }

    /// Everything that was seen. What is seen afterwards is lost.
    pub(crate) fn take_ledger(&mut self) -> Ledger {
        std::mem::replace(&mut self.ledger, Ledger::new([0; 32]))
    }

    /// What became of a program that was let start. Answers whether it may run.
    pub(crate) fn started(&mut self, start: Start, started: Option<Started>) -> bool {
        let Start { pid, mut event, who, path, name, itself, .. } = start;
        let Some(started) = started else {
            if !itself {
                // Nothing was started, or the host does not let the guard look: what was asked for
                // is what is known.
                event.exact = false;
                self.ledger.add(event, who);
            }
            return true;
        };
        // The kernel's name decides where both are known; a name that it made up itself proves
        // nothing.
        let named = name.is_none_or(|name| started.name.is_none_or(|used| used == name));
        let confirmed = named
            && path.as_ref().is_some_and(|path| {
                *path == started.executable
                    || crate::shebang::interpreters(path).contains(&started.executable)
            });
        event.other = Some(command_line(&started.arguments));
        if !confirmed {
            event.target = text::escape_os(&started.executable);
        }
        event.exact = true;

        // What was let go on as git must be git: by no other way could a command that declared
        // only git start another program that it may execute for itself.
        let git = event.category == Category::ProcessGit;
        let may_run = (itself && (path.is_none() || confirmed))
            || !git && !itself
            || self.policy.declares(Capability::ProcessShell)
            || self.resolved.is_git(&started.executable)
            || self.resolved.is_git_part(&started.executable);
        if !may_run {
            event.category = Category::ProcessShell;
            event.charge = Charge::Undeclared;
            event.allowed = false;
        }
        if !itself || !may_run {
            self.ledger.add(event, who);
        }
        // The process has another program from here on, with these arguments.
        self.tasks.became(pid, &started.arguments);
        may_run
    }

    /// Whether the kernel reads an address again from memory after the guard has looked: only where
    /// every address is declared.
    fn reads_again(&self, shape: Shape) -> bool {
        use Shape::{Bind, Connect, Message, SendTo};
        self.policy.reaches_all() && matches!(shape, Connect | SendTo | Message { .. } | Bind)
    }

    fn watches_reads(&self) -> bool {
        self.policy.reads != Reads::Ignore
    }
}

/// One call under judgement.
struct StoppedCall<'s> {
    stopped: &'s Stopped,
    call: Call,
    view: View,
    valid: &'s dyn Fn() -> bool,
    memory: Memory,
    /// What is read of the call is what the kernel uses.
    exact: bool,
}

impl StoppedCall<'_> {
    fn arg(&self, index: usize) -> u64 {
        self.stopped.args[index]
    }

    /// The low half: descriptors, flags and pids are 32 bits wide for the kernel too.
    fn int(&self, index: usize) -> i32 {
        self.stopped.args[index] as i32
    }

    /// The string that an argument points to.
    fn string(&self, index: usize) -> io::Result<Arc<[u8]>> {
        self.memory.string(self.arg(index))
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

/// Arguments as they are shown. What is left out of a long line is represented by its digest, so
/// that two lines that differ anywhere are never shown alike.
fn command_line(arguments: &[u8]) -> String {
    let mut shown = exec_stop::split(arguments).take(MAX_SHOWN_ARGUMENTS);
    let line = shown.by_ref().map(text::escape_os).collect::<Vec<_>>().join(" ");
    let count = exec_stop::split(arguments).count();
    if count <= MAX_SHOWN_ARGUMENTS && line.len() <= text::MAX_TEXT {
        return line;
    }
    let digest = Sha256::digest(arguments);
    let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("({count} arguments, sha256 {digest}…) {line}")
}

/// Of another architecture, or by numbers that are not this one's.
fn is_foreign(stopped: &Stopped) -> bool {
    stopped.arch != filter::NATIVE
        || stopped.number >= c_long::from(filter::FOREIGN_NUMBERS)
        || stopped.number < 0
}

fn stopped_tid(seen: &StoppedCall<'_>) -> u32 {
    seen.stopped.tid
}
