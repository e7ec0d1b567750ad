//! `ioctl`: requests on open files that reach further than the descriptor.

use std::io;

use super::{CONTINUE, Decision, Observer, SIGNALS_CONFINED, StoppedCall, error};
use crate::calls::{INTERFACE_REQUESTS, OWNER_REQUESTS};
use crate::report::{Category, Charge};
use crate::resolved_policy::PathZone;
use crate::view::{Destination, Found};

const TERMINAL_INPUT: u32 = libc::TIOCSTI as u32;
const CONSOLE: u32 = 0x541c;
/// `FS_IOC_SET_ENCRYPTION_POLICY`: by its number it only reads.
const ENCRYPT: u32 = 0x800c_6613;
/// Requests on files and directories that change nothing, or only what is open for writing: block
/// maps, extents, clones, digests.
const HARMLESS: [u32; 9] = [
    0x0000_0001,
    0x0000_0002,
    0x4004_9409,
    0x4020_940d,
    0xc020_660b,
    0xc018_9436,
    0xc0c0_583b,
    0xc004_6686,
    0xc028_6687,
];
/// The Landlock ABI that confines requests on devices.
const DEVICES_CONFINED: u32 = 5;

impl Observer {
    pub(super) fn ioctl(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        let request = seen.int(1).cast_unsigned();
        if request == TERMINAL_INPUT || request == CONSOLE {
            return self.types_into(seen);
        }
        if OWNER_REQUESTS.contains(&request) {
            if self.abi < SIGNALS_CONFINED {
                // The process it names is in memory: only Landlock keeps the signals in the tree.
                return Ok(error(libc::EINVAL));
            }
            return self.socket_owner(seen);
        }
        let (first, end) = INTERFACE_REQUESTS;
        if self.resolved.denies_reads && (first..end).contains(&request) {
            // They say which addresses and neighbours the host has. As on one without interfaces
            // (M15).
            return Ok(error(libc::ENODEV));
        }
        let Destination::File { path, found } = seen.view.descriptor(seen.int(0))? else {
            // A pipe, a socket or memory; on older kernels a device could take its number.
            let confined = self.abi >= DEVICES_CONFINED;
            return Ok(if confined { CONTINUE } else { error(libc::ENOTTY) });
        };
        let Found::Here(stat) = &found else { return Ok(CONTINUE) };
        let device = stat.is_device();
        if is_of_terminals(request) {
            if device && self.resolved.zone(&path) == PathZone::Outside {
                // The settings of a terminal outside.
                let shown = seen.show(&path);
                self.record(seen, Category::FsWrite, Charge::Outside, shown, false);
                return Ok(error(libc::EACCES));
            }
            // Anything else is no terminal, and the kernel says so. Where nothing confines
            // requests on devices, a terminal could be put under this number meanwhile.
            let confined = self.abi >= DEVICES_CONFINED;
            return Ok(if confined { CONTINUE } else { error(libc::ENOTTY) });
        }
        if device {
            let confined =
                self.abi >= DEVICES_CONFINED || self.resolved.zone(&path) == PathZone::Free;
            return Ok(if confined { CONTINUE } else { error(libc::EPERM) });
        }
        if !(stat.is_file() || stat.is_dir()) || is_harmless(request) {
            return Ok(CONTINUE);
        }
        // Flags, attributes, snapshots: always refused, and asking for them is a change like any
        // other.
        let zone = self.zone(&path, &found);
        self.refused_change(seen, zone, &path);
        Ok(error(libc::ENOTTY))
    }
}

impl Observer {
    /// Input for the reader of a terminal, or a request to the console. It is never let go on; it
    /// counts as a write to that terminal, wherever the terminal is.
    fn types_into(&mut self, seen: &StoppedCall<'_>) -> io::Result<Decision> {
        if let Destination::File { path, found: Found::Here(stat) } =
            seen.view.descriptor(seen.int(0))?
            && stat.is_device()
        {
            let shown = seen.show(&path);
            self.record(seen, Category::FsWrite, Charge::Outside, shown, false);
            return Ok(error(libc::EPERM));
        }
        // No terminal: the kernel's own answer, and nothing was changed.
        Ok(error(libc::ENOTTY))
    }
}

fn is_of_terminals(request: u32) -> bool {
    request & 0xff00 == 0x5400
}

fn is_harmless(request: u32) -> bool {
    const READS: u32 = 2;
    HARMLESS.contains(&request) || (request >> 30 == READS && request != ENCRYPT)
}
