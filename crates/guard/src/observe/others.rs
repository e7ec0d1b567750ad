//! Calls beyond files: programs, processes, sockets.

use std::io;
use std::path::{Path, PathBuf};

use super::files::{FOLLOWED, LAST, missing};
use super::{CONTINUE, Decision, MAX_SHOWN_ARGUMENTS, Observer, Start, StoppedCall, error};
use crate::calls::{At, NEW_NAMESPACES};
use crate::ledger::Event;
use crate::policy::Capability;
use crate::report::{Category, Charge, Exit};
use crate::shebang;
use crate::stat::FileStat;
use crate::text;
use crate::tree;
use crate::view::{Destination, Found};

impl Observer {
    pub(super) fn exec(
        &mut self,
        seen: &StoppedCall<'_>,
        at: At,
        flags: Option<usize>,
    ) -> io::Result<Decision> {
        if !self.started && seen.stopped.tid == self.main {
            // The command itself: until here its process ran no line but the guard's.
            self.started = true;
            let name = seen.string(at.path).ok().map(|name| name.to_vec());
            return Ok(self.watch_start(seen, own_start(seen), None, name, true));
        }
        let flags = flags.map_or(0, |index| seen.int(index));
        let place = if flags & libc::AT_EMPTY_PATH != 0 && seen.string(at.path)?.is_empty() {
            seen.view.descriptor(seen.int(at.dir.unwrap_or(0)))?
        } else {
            let last = flags & libc::AT_SYMLINK_NOFOLLOW != 0;
            self.place(seen, at, if last { LAST } else { FOLLOWED })?
        };
        let arguments = Some(self.arguments(seen, if at.dir.is_some() { 2 } else { 1 }));
        let name = seen.string(at.path)?;
        // Relative to a descriptor, the kernel makes up a name of its own.
        let name = (at.dir.is_none() || name.starts_with(b"/")).then(|| name.to_vec());
        let path = match place {
            Destination::Nameless { shown, .. } => {
                return Ok(self.start(seen, None, shown, arguments, name));
            }
            Destination::File { found: Found::Missing, .. } => return Ok(missing()),
            Destination::File { found: Found::Unreachable(number), .. } => {
                return Ok(error(number));
            }
            Destination::File { found: Found::Here(stat), .. } if !executable(&stat) => {
                return Ok(error(libc::EACCES));
            }
            Destination::File { found: Found::Hidden, .. } => return Ok(error(libc::EACCES)),
            Destination::File { path, .. } => path,
        };
        if self.is_own_interpreter(seen, &path) {
            self.interpreted = true;
            return Ok(self.watch_start(seen, own_start(seen), Some(path), name, true));
        }
        let shown = seen.show(&path);
        Ok(self.start(seen, Some(path), shown, arguments, name))
    }

    /// Whether the command's own process, still `env` as the kernel started it for the command's
    /// first line, goes on to the interpreter that the line asks for. Once, and only that program:
    /// what is executed in the end is looked up again.
    fn is_own_interpreter(&self, seen: &StoppedCall<'_>, path: &Path) -> bool {
        !self.interpreted
            && seen.stopped.tid == self.main
            && self.resolved.interpreter.as_deref() == Some(path)
            && seen.view.task.link("exe").is_ok_and(|own| own == self.env_program)
    }

    fn start(
        &mut self,
        seen: &StoppedCall<'_>,
        path: Option<PathBuf>,
        shown: String,
        arguments: Option<String>,
        name: Option<Vec<u8>>,
    ) -> Decision {
        let place = path.as_deref().unwrap_or(Path::new(""));
        if self.unreadable_program(place) {
            return self.charge(seen, Category::FsRead, Charge::Outside, shown, arguments);
        }
        let by_git = || {
            self.resolved.is_git_part(place)
                && seen.view.task.link("exe").is_ok_and(|own| self.resolved.is_git_part(&own))
        };
        let git = self.resolved.is_git(place) || by_git();
        // Some of git's parts, such as `git submodule`, are shell scripts: a shell is what runs.
        let interpreters = if git { shebang::interpreters(place) } else { Vec::new() };
        let shell = interpreters.iter().find(|program| !self.resolved.is_git_part(program));
        let git = git && shell.is_none();
        let category = if git { Category::ProcessGit } else { Category::ProcessShell };
        let declared = self.policy.declares(Capability::ProcessShell)
            || (git && self.policy.declares(Capability::ProcessGit));
        if !declared {
            let shown = match shell {
                Some(shell) => format!("{shown}, a script of git for {}", shell.display()),
                None => shown,
            };
            return self.charge(seen, category, Charge::Undeclared, shown, arguments);
        }
        let event = Event {
            category,
            operation: seen.call.name,
            target: shown,
            other: arguments,
            allowed: true,
            charge: Charge::Declared,
            exact: true,
        };
        self.watch_start(seen, event, path, name, false)
    }

    /// Lets a program start, to be recorded when it is certain which one it was.
    fn watch_start(
        &mut self,
        seen: &StoppedCall<'_>,
        event: Event,
        path: Option<PathBuf>,
        name: Option<Vec<u8>>,
        itself: bool,
    ) -> Decision {
        if !(seen.valid)() {
            return error(libc::EINTR);
        }
        let tid = seen.stopped.tid;
        // Now, while it is still the program that asks. The first start of the command itself needs
        // none: it may run whatever the kernel makes of it, and is no effect.
        let who = (!itself || path.is_some()).then(|| self.tasks.process_info(tid));
        let pid = tree::process_of(tid).unwrap_or(tid);
        // Its program, arguments and folder are about to change.
        self.tasks.forget();
        Decision::Start(Box::new(Start { pid, tid, who, event, path, name, itself }))
    }

    fn arguments(&self, seen: &StoppedCall<'_>, index: usize) -> String {
        let arguments = seen.memory.shown_strings(seen.arg(index), MAX_SHOWN_ARGUMENTS);
        let shown: Vec<String> = arguments.iter().map(|argument| text::escape(argument)).collect();
        shown.join(" ")
    }

    /// Stopped where no process was declared. It goes on even undeclared, within the limit: the
    /// program it starts is refused by name.
    pub(super) fn fork(&mut self, seen: &StoppedCall<'_>) -> Decision {
        if seen.call.number == libc::SYS_clone && seen.arg(0) & u64::from(NEW_NAMESPACES) != 0 {
            self.refused(seen.stopped.tid, "clone into a new namespace", String::new());
            return error(libc::EPERM);
        }
        if self.policy.declares(Capability::ProcessShell)
            || self.policy.declares(Capability::ProcessGit)
        {
            return CONTINUE;
        }
        let (category, charge) = (Category::ProcessShell, Charge::Undeclared);
        let target = "a new process".to_owned();
        self.note(
            seen.stopped.tid,
            Event {
                category,
                operation: seen.call.name,
                target,
                other: None,
                allowed: true,
                charge,
                exact: true,
            },
        );
        self.forked += 1;
        self.forks += 1;
        // Counted anew only when the sum could pass the limit: looking at the tree is slow.
        if self.alive + self.forked > self.policy.limits.processes {
            self.alive = tree::usage(self.reaper, None, &self.policy.limits, false).processes;
            self.forked = 1;
            if self.alive >= self.policy.limits.processes {
                return Decision::End(Exit::Limit("processes".to_owned()));
            }
        }
        CONTINUE
    }
}

/// What the kernel would refuse to execute anyway is no start of a program.
fn executable(stat: &FileStat) -> bool {
    stat.is_file() && stat.mode() & 0o111 != 0
}

/// The start of the command itself, which the caller asked for: listed, and never charged.
fn own_start(seen: &StoppedCall<'_>) -> Event {
    Event {
        category: Category::ProcessShell,
        operation: seen.call.name,
        target: String::new(),
        other: None,
        allowed: true,
        charge: Charge::Listed,
        exact: true,
    }
}
