//! A path followed part by part, with a handle on every directory on the way: names may be longer
//! than any path the kernel takes.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat, readlinkat};
use rustix::io::Errno;

use super::{Destination, Found, Reading, View, path_of};
use crate::stat::FileStat;
use crate::tree;

// As many as the kernel follows.
const MAX_LINKS: usize = 40;
const HELD: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// One resolution under way.
pub(super) struct Walk<'v> {
    view: &'v View,
    at: PathBuf,
    handle: OwnedFd,
    /// No name leads above this, and absolute ones start here.
    top: Option<PathBuf>,
    links: usize,
}

/// What one step came to.
enum Step {
    On,
    Ended(Destination),
}

impl<'v> Walk<'v> {
    pub(super) fn from_top(view: &'v View) -> io::Result<Self> {
        let handle = open("/", HELD, Mode::empty())?;
        Ok(Self { view, at: PathBuf::from("/"), handle, top: None, links: 0 })
    }

    pub(super) fn from_directory(
        view: &'v View,
        link: &Path,
        reading: Reading,
    ) -> io::Result<Self> {
        let handle = open(link, HELD, Mode::empty())?;
        let at = match fs::read_link(link) {
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => path_of(link)?,
            at => at?,
        };
        let top = reading.jailed.then(|| at.clone());
        Ok(Self { view, at, handle, top, links: 0 })
    }

    pub(super) fn run(mut self, given: &Path, reading: Reading) -> io::Result<Destination> {
        let mut rest = parts(given);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                self.up()?;
                continue;
            }
            if let Step::Ended(place) = self.step(&name, &mut rest, reading.follow)? {
                return Ok(place);
            }
        }
        let found = FileStat::of(self.handle).map_or(Found::Hidden, Found::Here);
        Ok(Destination::File { path: self.at, found })
    }

    fn up(&mut self) -> io::Result<()> {
        // Nothing is above the top, as nothing is above `/`.
        if self.top.as_ref() != Some(&self.at) {
            self.handle = openat(&self.handle, "..", HELD, Mode::empty())?;
            self.at.pop();
        }
        Ok(())
    }

    fn step(
        &mut self,
        name: &OsStr,
        rest: &mut VecDeque<OsString>,
        follow: bool,
    ) -> io::Result<Step> {
        let next = self.next(name);
        // `/proc/self` is the stopped process, not this one.
        let own = next.file_name() != Some(name) || next.parent() != Some(&self.at);
        let opened = if own {
            open(&next, HELD | OFlags::NOFOLLOW, Mode::empty())
        } else {
            openat(&self.handle, name, HELD | OFlags::NOFOLLOW, Mode::empty())
        };
        let held = match opened {
            Ok(held) => held,
            Err(error) => return Ok(Step::Ended(ends(next, rest, error))),
        };
        let last = rest.is_empty() && !follow;
        if !last && is_magic(&next) && self.is_foreign(&next) {
            // What another program has open is its own, whatever it is.
            return Ok(Step::Ended(ends(next, rest, Errno::ACCESS)));
        }
        let target = match readlinkat(&held, "", Vec::new()) {
            // It is no link: the step is made.
            Err(Errno::INVAL | Errno::NOENT) => {
                (self.at, self.handle) = (next, held);
                return Ok(Step::On);
            }
            Err(error) => return Ok(Step::Ended(ends(next, rest, error))),
            Ok(target) => PathBuf::from(OsString::from_vec(target.into_bytes())),
        };
        if last {
            (self.at, self.handle) = (next, held);
            return Ok(Step::On);
        }
        if is_magic(&next) { self.jump(next, target) } else { self.link(&target, rest) }
    }

    fn next(&self, name: &OsStr) -> PathBuf {
        let (proc, tid) = (self.at == Path::new("/proc"), self.view.tid);
        match name.as_bytes() {
            b"self" if proc => PathBuf::from(format!("/proc/{tid}")),
            b"thread-self" if proc => PathBuf::from(format!("/proc/{tid}/task/{tid}")),
            _ => self.at.join(name),
        }
    }

    /// Through a link that leads to a thing, not to a name.
    fn jump(&mut self, link: PathBuf, target: PathBuf) -> io::Result<Step> {
        if is_nameless(&target) {
            let shown = target.to_string_lossy().into_owned();
            return Ok(Step::Ended(Destination::Nameless { shown, link }));
        }
        match open(&link, HELD, Mode::empty()) {
            Ok(held) => (self.at, self.handle) = (target, held),
            Err(error) => return Ok(Step::Ended(ends(target, &VecDeque::new(), error))),
        }
        Ok(Step::On)
    }

    /// A link of a process that is not of this tree.
    fn is_foreign(&self, link: &Path) -> bool {
        let pid = link.iter().nth(2).and_then(OsStr::to_str).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pid != self.view.tid && !tree::contains(self.view.reaper, pid))
    }

    fn link(&mut self, target: &Path, rest: &mut VecDeque<OsString>) -> io::Result<Step> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        if target.is_absolute() {
            let top = self.top.clone().unwrap_or_else(|| PathBuf::from("/"));
            self.handle = open(&top, HELD, Mode::empty())?;
            self.at = top;
        }
        // In front of what is left, in their own order.
        for part in parts(target).into_iter().rev() {
            rest.push_front(part);
        }
        Ok(Step::On)
    }
}

/// The rest of the way is taken as written: nothing is there to follow.
fn ends(mut path: PathBuf, rest: &VecDeque<OsString>, error: Errno) -> Destination {
    let found = match error {
        Errno::NOENT if rest.is_empty() => Found::Missing,
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => {
            Found::Unreachable(error.raw_os_error())
        }
        _ => Found::Hidden,
    };
    for part in rest {
        if part == ".." {
            path.pop();
        } else {
            path.push(part);
        }
    }
    Destination::File { path, found }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from_vec(b"..".to_vec())),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// What the kernel shows for pipes, sockets and memory.
pub(super) fn is_nameless(target: &Path) -> bool {
    !target.is_absolute() || target.as_os_str().as_bytes().starts_with(b"/memfd:")
}

/// The links of `/proc/<pid>` that lead to a thing, not to a name.
fn is_magic(path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix("/proc") else { return false };
    let names: Vec<&str> = inside.iter().filter_map(OsStr::to_str).collect();
    let names = match names.as_slice() {
        [pid, "task", tid, rest @ ..] if number(pid) && number(tid) => rest,
        [pid, rest @ ..] if number(pid) => rest,
        _ => return false,
    };
    matches!(names, ["cwd" | "root" | "exe"] | ["fd" | "map_files" | "ns", _])
}

fn number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
