//! `inotify_add_watch`, where reads are denied: it reveals the names that other programs create in
//! a directory, and no Landlock right confines it. The supervisor adds the watch itself, on a
//! duplicate of the command's descriptor and by a handle that it has judged.

use std::io;

use super::files::{FOLLOWED, LAST, missing};
use super::{Decision, Observer, StoppedCall, error};
use crate::calls::At;
use crate::emulate::Handle;
use crate::emulate::sockets::Action;
use crate::report::{Category, Charge};
use crate::view::{Destination, Found};

impl Observer {
    pub(super) fn watch(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let mask = seen.int(2).cast_unsigned();
        let last = mask & libc::IN_DONT_FOLLOW != 0;
        let at = At { dir: None, path: 1 };
        let (path, found) = match self.place(seen, at, if last { LAST } else { FOLLOWED })? {
            Destination::File { path, found } => (path, found),
            // A pipe or socket, which the command has open.
            Destination::Nameless { .. } => return Ok(error(libc::EACCES)),
        };
        match found {
            Found::Missing => return Ok(missing()),
            Found::Unreachable(number) => return Ok(error(number)),
            Found::Here(_) | Found::Hidden => {}
        }
        // Links are resolved already: one at the end is meant itself.
        let handle = match Handle::open(&path, false) {
            Ok(handle) => handle,
            Err(failure) => return Ok(error(failure.raw_os_error().unwrap_or(libc::EACCES))),
        };
        // From here on the thing is held, and it is where it leads that is judged.
        let (Some(path), _) = handle.place()? else { return Ok(error(libc::EACCES)) };
        if !self.resolved.may_read(&path) {
            // Runtimes look upwards from the root as a matter of course.
            let charge =
                if self.resolved.leads_here(&path) { Charge::Listed } else { Charge::Outside };
            self.record(seen, Category::FsRead, charge, seen.show(&path), false);
            return Ok(error(libc::EACCES));
        }
        let held = match self.hold(seen)? {
            Ok(held) => held,
            Err(decision) => return Ok(decision),
        };
        // The way to a handle is itself a link.
        let mask = mask & !libc::IN_DONT_FOLLOW;
        self.perform_on(seen, held, Action::Watch { target: handle.into(), mask })
    }
}
