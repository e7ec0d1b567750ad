//! Names as the stopped process means them: read from its memory and resolved in its view, as far as that can be known from outside.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::sys;

const PATH_MAX: usize = 4096;
const MAX_LINKS: usize = 40;

/// Where a name leads.
#[derive(Debug)]
pub(crate) enum Place {
    /// Something with a name; whether it is there.
    File { path: PathBuf, found: Found },
    /// Something without a name: a pipe, a socket, memory.
    Nameless(String),
}

/// What is at the end of a path.
#[derive(Debug)]
pub(crate) enum Found {
    Here(Metadata),
    Missing,
    /// We may not look; then the process may not either, unless the host separates users in unusual ways.
    Hidden,
}

/// One stopped thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) tid: u32,
}

impl View {
    /// A string of the process.
    ///
    /// # Errors
    /// The address cannot be read, or nothing ends the string.
    pub(crate) fn string(self, address: u64) -> io::Result<Vec<u8>> {
        let page = sys::page_bytes();
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < PATH_MAX {
            let mut chunk = [0u8; 256];
            // Never across a page: the next one may not be mapped.
            let length = usize::try_from((page - at % page).min(256)).unwrap_or(256);
            let read = sys::read_memory(self.tid, at, &mut chunk[..length])?;
            if let Some(end) = chunk[..read].iter().position(|byte| *byte == 0) {
                text.extend_from_slice(&chunk[..end]);
                return Ok(text);
            }
            if read == 0 {
                break;
            }
            text.extend_from_slice(&chunk[..read]);
            at = at.saturating_add(read as u64);
        }
        Err(io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Bytes of the process, exactly as many as asked.
    ///
    /// # Errors
    /// The address cannot be read.
    pub(crate) fn bytes(self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = sys::read_memory(self.tid, address, &mut bytes)?;
        if read == length { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
    }

    /// What an open descriptor refers to.
    ///
    /// # Errors
    /// There is no such descriptor.
    pub(crate) fn descriptor(self, fd: i32) -> io::Result<Place> {
        let link = PathBuf::from(format!("/proc/{}/fd/{fd}", self.tid));
        let target = fs::read_link(&link)?;
        if !target.is_absolute() {
            return Ok(Place::Nameless(target.to_string_lossy().into_owned()));
        }
        if target.as_os_str().as_bytes().starts_with(b"/memfd:") {
            return Ok(Place::Nameless(target.to_string_lossy().into_owned()));
        }
        // Through the link: what is really open, whatever the name leads to by now.
        let found = fs::metadata(&link).map_or(Found::Missing, Found::Here);
        Ok(Place::File { path: target, found })
    }

    /// Resolves a path relative to a directory descriptor.
    ///
    /// # Errors
    /// The base directory is unknown, or there are too many links.
    pub(crate) fn resolve(self, dir: i32, path: &[u8], follow: bool) -> io::Result<Place> {
        let given = Path::new(OsStr::from_bytes(path));
        let base = if given.is_absolute() { PathBuf::from("/") } else { self.base(dir)? };
        let trailing = path.ends_with(b"/") || path.ends_with(b"/.");
        Walk { view: self, at: base, rest: parts(given), links: 0 }.run(follow || trailing)
    }

    fn base(self, dir: i32) -> io::Result<PathBuf> {
        let link = if dir == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{dir}") };
        fs::read_link(format!("/proc/{}/{link}", self.tid))
    }
}

/// One resolution under way.
struct Walk {
    view: View,
    at: PathBuf,
    rest: VecDeque<OsString>,
    links: usize,
}

impl Walk {
    fn run(mut self, follow: bool) -> io::Result<Place> {
        while let Some(name) = self.rest.pop_front() {
            if name == ".." {
                self.at.pop();
                continue;
            }
            let next = self.step(&name);
            let last = self.rest.is_empty();
            match fs::read_link(&next) {
                Ok(_) if last && !follow => self.at = next,
                Ok(target) if is_magic(&next) => {
                    if !target.is_absolute()
                        || target.as_os_str().as_bytes().starts_with(b"/memfd:")
                    {
                        return Ok(Place::Nameless(target.to_string_lossy().into_owned()));
                    }
                    if last {
                        let found = fs::metadata(&next).map_or(Found::Missing, Found::Here);
                        return Ok(Place::File { path: target, found });
                    }
                    self.at = target;
                }
                Ok(target) => self.link(&target)?,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINVAL) => self.at = next,
                    Some(libc::ENOENT | libc::ENOTDIR) => {
                        return Ok(self.ends_at(next, Found::Missing));
                    }
                    _ => return Ok(self.ends_at(next, Found::Hidden)),
                },
            }
        }
        let found = match fs::symlink_metadata(&self.at) {
            Ok(metadata) => Found::Here(metadata),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                Found::Missing
            }
            Err(_) => Found::Hidden,
        };
        Ok(Place::File { path: self.at, found })
    }

    /// `/proc/self` is the stopped process, not this one.
    fn step(&self, name: &OsStr) -> PathBuf {
        let proc = self.at == Path::new("/proc");
        match name.as_bytes() {
            b"self" if proc => PathBuf::from(format!("/proc/{}", self.view.tid)),
            b"thread-self" if proc => PathBuf::from(format!("/proc/{0}/task/{0}", self.view.tid)),
            _ => self.at.join(name),
        }
    }

    fn link(&mut self, target: &Path) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        if target.is_absolute() {
            self.at = PathBuf::from("/");
        }
        for part in parts(target).into_iter().rev() {
            self.rest.push_front(part);
        }
        Ok(())
    }

    /// The rest of the way is taken as written: nothing is there to follow.
    fn ends_at(self, mut path: PathBuf, found: Found) -> Place {
        for part in self.rest {
            if part == ".." {
                path.pop();
            } else {
                path.push(part);
            }
        }
        Place::File { path, found }
    }
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
