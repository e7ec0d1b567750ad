//! Calls beyond files: programs, processes, sockets.

use std::io;
use std::path::Path;

use super::files::{FOLLOWED, LAST, missing};
use super::{CONTINUE, Decision, Observer, Seen, error};
use crate::calls::{At, NEW_NAMESPACES};
use crate::facts::Facts;
use crate::ground::Zone;
use crate::ledger::Event;
use crate::policy::Capability;
use crate::report::{Category, Charge, Exit};
use crate::sys::Answer;
use crate::text;
use crate::tree;
use crate::view::{Found, Place};

const MAX_SHOWN_ARGUMENTS: usize = 32;
const MESSAGE_HEADER_BYTES: u64 = 64;
/// The kernel's own bound on messages of one call.
const MAX_MESSAGES: u64 = 1_024;

impl Observer<'_> {
    pub(super) fn exec(
        &mut self,
        seen: &Seen<'_>,
        at: At,
        flags: Option<usize>,
    ) -> io::Result<Decision> {
        if !self.started && seen.stopped.tid == self.main {
            // The command itself: until here its process ran no line but the guard's.
            self.started = true;
            self.tasks.forget();
            return Ok(CONTINUE);
        }
        let flags = flags.map_or(0, |index| seen.int(index));
        let place =
            if flags & libc::AT_EMPTY_PATH != 0 && seen.string(seen.arg(at.path))?.is_empty() {
                seen.view.descriptor(seen.int(at.dir.unwrap_or(0)))?
            } else {
                self.place(
                    seen,
                    at,
                    if flags & libc::AT_SYMLINK_NOFOLLOW == 0 { FOLLOWED } else { LAST },
                )?
            };
        let arguments = Some(self.arguments(seen, if at.dir.is_some() { 2 } else { 1 }));
        let path = match place {
            Place::Nameless { shown, .. } => {
                return Ok(self.start(seen, Path::new(""), shown, arguments));
            }
            Place::File { found: Found::Missing, .. } => return Ok(missing()),
            Place::File { found: Found::Nowhere(number), .. } => return Ok(error(number)),
            Place::File { found: Found::Here(facts), .. } if !executable(&facts) => {
                return Ok(error(libc::EACCES));
            }
            Place::File { found: Found::Hidden, .. } => return Ok(error(libc::EACCES)),
            Place::File { path, .. } => path,
        };
        let shown = seen.show(&path);
        Ok(self.start(seen, &path, shown, arguments))
    }

    fn start(
        &mut self,
        seen: &Seen<'_>,
        path: &Path,
        shown: String,
        arguments: Option<String>,
    ) -> Decision {
        if self.unreadable_program(path) {
            return self.charge(seen, Category::FsRead, Charge::Outside, shown, arguments);
        }
        let by_git = || {
            self.ground.is_git_part(path)
                && seen.view.task.link("exe").is_ok_and(|own| self.ground.is_git_part(&own))
        };
        let git = self.ground.is_git(path) || by_git();
        let category = if git { Category::ProcessGit } else { Category::ProcessShell };
        let declared = self.policy.declares(Capability::ProcessShell)
            || (git && self.policy.declares(Capability::ProcessGit));
        let charge = if declared { Charge::Declared } else { Charge::Undeclared };
        let decision = self.charge(seen, category, charge, shown, arguments);
        self.tasks.forget();
        decision
    }

    fn arguments(&self, seen: &Seen<'_>, index: usize) -> String {
        let mut shown = Vec::new();
        for address in seen.view.pointers(seen.arg(index), MAX_SHOWN_ARGUMENTS) {
            let Ok(argument) = seen.view.string(address) else { break };
            shown.push(text::escape(&argument));
        }
        shown.join(" ")
    }

    /// Stopped where no process was declared. It goes on even undeclared, within the limit: the program it starts is refused by name.
    pub(super) fn fork(&mut self, seen: &Seen<'_>) -> Decision {
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
            },
        );
        self.forked += 1;
        self.forks += 1;
        if self.alive + self.forked > self.policy.limits.processes {
            self.alive = tree::usage(self.keeper, &self.policy.limits, false).processes;
            self.forked = 1;
            if self.alive >= self.policy.limits.processes {
                return Decision::End(Exit::Limit("processes".to_owned()));
            }
        }
        CONTINUE
    }

    /// Sockets other than local ones; nobody gets exotic families, whose effects nothing here understands.
    pub(super) fn socket(&mut self, seen: &Seen<'_>) -> Decision {
        let family = seen.int(0);
        let known = matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_NETLINK);
        let target = format!("socket family {family}");
        if known {
            return self.network(seen, target);
        }
        let declared = self.policy.declares(Capability::Network);
        let charge = if declared { Charge::Listed } else { Charge::Undeclared };
        self.record(seen, Category::Network, charge, target, false);
        error(libc::EAFNOSUPPORT)
    }

    fn network(&mut self, seen: &Seen<'_>, target: String) -> Decision {
        let declared = self.policy.declares(Capability::Network);
        self.charge(
            seen,
            Category::Network,
            if declared { Charge::Declared } else { Charge::Undeclared },
            target,
            None,
        )
    }

    pub(super) fn connect(
        &mut self,
        seen: &Seen<'_>,
        address: u64,
        length: u64,
    ) -> io::Result<Decision> {
        match self.address(seen, address, length)? {
            Address::None => Ok(CONTINUE),
            Address::Far(shown) => Ok(self.network(seen, shown)),
            Address::Local { place: Place::Nameless { .. }, .. } => Ok(CONTINUE),
            Address::Local {
                place: Place::File { found: Found::Missing | Found::Nowhere(_), .. },
                ..
            } => Ok(missing()),
            Address::Local { place: Place::File { path, .. }, shown } => {
                match self.ground.zone(&path) {
                    Zone::Free => Ok(CONTINUE),
                    // Made by the command itself, having declared that it writes.
                    Zone::Own if self.policy.declares(Capability::FsWrite) => Ok(CONTINUE),
                    Zone::Own | Zone::Outside => Ok(self.network(seen, shown)),
                }
            }
        }
    }

    pub(super) fn bind(&mut self, seen: &Seen<'_>) -> io::Result<Decision> {
        match self.address(seen, seen.arg(1), seen.arg(2))? {
            Address::Far(shown) => Ok(self.network(seen, shown)),
            Address::Local { place: Place::File { path, found: Found::Here(_) }, .. } => {
                Ok(self.in_vain(&[&path], Answer::Error(libc::EADDRINUSE)))
            }
            Address::Local { place: Place::File { path, found }, .. } => {
                Ok(self.make(seen, &path, &found))
            }
            Address::None | Address::Local { .. } => Ok(CONTINUE),
        }
    }

    /// The addresses of `sendmsg` and `sendmmsg`.
    pub(super) fn message(&mut self, seen: &Seen<'_>, many: bool) -> io::Result<Decision> {
        let count = if many { seen.arg(2).min(MAX_MESSAGES) } else { 1 };
        for index in 0..count {
            let header =
                seen.view.bytes(seen.arg(1).wrapping_add(index * MESSAGE_HEADER_BYTES), 12)?;
            let address =
                header[..8].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            let length =
                header[8..].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            if address != 0 && length != 0 {
                let decision = self.connect(seen, address, length)?;
                if !matches!(decision, Decision::Answer(Answer::Continue)) {
                    return Ok(decision);
                }
            }
        }
        Ok(CONTINUE)
    }

    fn address(&self, seen: &Seen<'_>, address: u64, length: u64) -> io::Result<Address> {
        let length = usize::try_from(length & 0xffff_ffff).unwrap_or(0).min(128);
        if address == 0 || length < 2 {
            return Ok(Address::None);
        }
        let bytes = seen.view.bytes(address, length)?;
        let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let rest = &bytes[2..];
        match family {
            libc::AF_UNSPEC => Ok(Address::None),
            libc::AF_UNIX if rest.is_empty() => Ok(Address::None),
            libc::AF_UNIX if rest[0] == 0 => {
                Ok(Address::Far(format!("unix:@{}", text::escape(&rest[1..]))))
            }
            libc::AF_UNIX => {
                let path = rest.split(|byte| *byte == 0).next().unwrap_or_default();
                let create = seen.call.number == libc::SYS_bind;
                let reading = if create { LAST } else { FOLLOWED };
                let place = seen.view.resolve(libc::AT_FDCWD, path, reading)?;
                Ok(Address::Local { place, shown: format!("unix:{}", text::escape(path)) })
            }
            _ => Ok(Address::Far(far(family, rest))),
        }
    }
}

/// Where a socket's address leads.
enum Address {
    None,
    /// A socket with a name in the file system.
    Local {
        place: Place,
        shown: String,
    },
    Far(String),
}

fn far(family: i32, rest: &[u8]) -> String {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    let port = || rest.get(..2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let v4 = || <[u8; 4]>::try_from(rest.get(2..6)?).ok().map(Ipv4Addr::from);
    let v6 = || <[u8; 16]>::try_from(rest.get(6..22)?).ok().map(Ipv6Addr::from);
    let address = match family {
        libc::AF_INET => v4().zip(port()).map(SocketAddr::from),
        libc::AF_INET6 => v6().zip(port()).map(SocketAddr::from),
        _ => None,
    };
    address.map_or_else(|| format!("address family {family}"), |address| address.to_string())
}

/// What the kernel would refuse to execute anyway is no start of a program.
fn executable(facts: &Facts) -> bool {
    facts.is_file() && facts.mode() & 0o111 != 0
}
