//! Files that programs read as a matter of course and that describe the people and the network of
//! the host. Where reads are denied a command gets a neutral one in place of the true one: enough
//! for a library to find the command's own user, and nothing about this host (M15).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, memfd_create, seek};

use crate::system_reads;

/// Whether this is a file below `/proc/<pid>/net` or `/proc/net`. Java machines, for example, read
/// there which versions of IP the host has.
fn is_network(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name).is_some_and(|name| name == "net");
    folder && system_reads::tells_about_host(path)
}

/// One of these files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NeutralFile {
    Users,
    Groups,
    Resolver,
    Hosts,
    HostName,
    /// What the kernel says about the host's network and programs: nothing.
    Nothing,
}

impl NeutralFile {
    /// The file at a resolved path, if it is one of them.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        Some(match path.to_str()? {
            "/etc/passwd" => Self::Users,
            "/etc/group" => Self::Groups,
            "/etc/resolv.conf"
            | "/run/systemd/resolve/stub-resolv.conf"
            | "/run/systemd/resolve/resolv.conf"
            | "/run/resolvconf/resolv.conf"
            | "/run/NetworkManager/resolv.conf" => Self::Resolver,
            "/etc/hosts" => Self::Hosts,
            "/etc/hostname" => Self::HostName,
            // Only the network's: other files of the kind are looked at by no ordinary program.
            "/proc/cmdline" | "/proc/locks" => Self::Nothing,
            _ if is_network(path) => Self::Nothing,
            _ => return None,
        })
    }

    /// What it says to a command that runs as this user and group.
    fn content(self, uid: u32, gid: u32) -> String {
        match self {
            Self::Users => {
                let mut users = "root:x:0:0:root:/root:/bin/sh\n".to_owned();
                if uid != 65_534 {
                    users += &format!("user:x:{uid}:{gid}:user:/nonexistent:/bin/sh\n");
                }
                users + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
            }
            Self::Groups => {
                let mut groups = "root:x:0:\n".to_owned();
                if gid != 65_534 && gid != 0 {
                    groups += &format!("user:x:{gid}:\n");
                }
                groups + "nogroup:x:65534:\n"
            }
            Self::Resolver => "# no name server\n".to_owned(),
            Self::Hosts => "127.0.0.1 localhost\n::1 localhost\n".to_owned(),
            Self::HostName => "localhost\n".to_owned(),
            Self::Nothing => String::new(),
        }
    }

    /// Opens a file with that content, which no process can change.
    ///
    /// # Errors
    ///
    /// The host has no memory or descriptor left.
    pub(crate) fn open(self, uid: u32, gid: u32) -> io::Result<OwnedFd> {
        let memory = memfd_create("neutral", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(memory);
        file.write_all(self.content(uid, gid).as_bytes())?;
        seek(&file, SeekFrom::Start(0))?;
        // Sealed: every process of the tree may get the same content, and none can change it.
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        Ok(file.into())
    }
}
