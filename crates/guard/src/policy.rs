//! What a command is allowed to do.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

/// The rules one command runs under. Build it with [`Policy::new`] and change the fields that
/// differ.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The module root: the only tree the command may change, and only when `FS:write` is declared.
    /// Must be an existing directory; it is compared before and after, so no other program may
    /// write in it during the run.
    pub root: PathBuf,
    /// Files or directories that may be written freely: neither charged nor compared. They must
    /// exist, so that they can be granted.
    pub free_writes: Vec<PathBuf>,
    /// The command's private directory (`HOME`, `TMPDIR`): written under `FS:write`, never counted
    /// as outside (M5).
    pub scratch: Option<PathBuf>,
    /// What the command said it would do. Anything else is refused and charged.
    pub declared: BTreeSet<Capability>,
    /// Where a command that declares `Network` may connect to. Without that declaration it has no
    /// sockets but local ones, whatever this says.
    pub destinations: Destinations,
    /// How reading outside the root is treated (M4).
    pub reads: Reads,
    /// Bounds on time, processes, memory and output.
    pub limits: Limits,
    /// Set to `true` by another thread to end the run; the report is then inconclusive. Looked at
    /// every 20 ms.
    pub cancel: Option<Arc<AtomicBool>>,
    /// The user the command runs as.
    pub identity: Identity,
    /// Keeps command and supervisor on this processor. A stopped call then waits for one change of
    /// tasks instead of for two processors to wake each other, which takes many times as long. The
    /// command sees that it has one processor.
    pub processor: Option<usize>,
    /// The key of [`Report::transcript`](crate::Report::transcript). Runs with the same key can be
    /// compared. Without one, all runs of this process have the same random key. The command must
    /// not know it.
    pub transcript_key: Option<[u8; 32]>,
    /// The file mode mask the command starts with.
    pub umask: u32,
    /// Gives the command the same addresses in every run: without randomization of its memory.
    pub fixed_addresses: bool,
    /// The name of the host as the command sees it. Only root can give one; otherwise the command
    /// sees the true one.
    pub hostname: Option<String>,
}

impl Policy {
    /// Nothing declared, reads ignored, default limits, the rights of user 65534 where the caller
    /// is root.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            free_writes: Vec::new(),
            scratch: None,
            declared: BTreeSet::new(),
            destinations: Destinations::Any,
            reads: Reads::Ignore,
            limits: Limits::default(),
            cancel: None,
            identity: Identity::Auto,
            processor: None,
            transcript_key: None,
            umask: 0o022,
            fixed_addresses: false,
            hostname: None,
        }
    }

    /// Adds a declared capability.
    #[must_use]
    pub fn declare(mut self, capability: Capability) -> Self {
        self.declared.insert(capability);
        self
    }

    pub(crate) fn declares(&self, capability: Capability) -> bool {
        self.declared.contains(&capability)
    }

    /// Whether every address is declared.
    pub(crate) fn reaches_all(&self) -> bool {
        self.declares(Capability::Network) && matches!(self.destinations, Destinations::Any)
    }

    /// Whether the command gets sockets of TCP over IPv4, although not every address is declared.
    pub(crate) fn reaches_some(&self) -> bool {
        self.declares(Capability::Network) && !self.reaches_all()
    }
}

/// Where a command that declares `Network` may connect to.
#[derive(Debug, Clone, Default)]
pub enum Destinations {
    /// Every address.
    #[default]
    Any,
    /// No address. Sockets of TCP over IPv4 can be made, and reach no other process.
    None,
    /// One address: the supervisor connects the command's socket to a proxy of the caller's.
    /// Everything else, other ports of the same machine included, is refused and charged.
    Proxy(Proxy),
}

/// A proxy that is a command's only way out.
#[derive(Clone)]
pub struct Proxy {
    /// The address that the command connects to. It is a name only, the same in every run; nothing
    /// has to listen there.
    pub shown: SocketAddrV4,
    /// Where the supervisor connects the command's socket to instead.
    pub listener: SocketAddrV4,
    /// Gets the command's own address of every such connection, from the thread that made it. Any
    /// process of the machine can connect to the listener: what was not admitted here is not the
    /// command's.
    pub admit: Arc<dyn Fn(SocketAddr) + Send + Sync>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shown, listener, admit: _ } = self;
        write!(out, "Proxy {{ shown: {shown}, listener: {listener} }}")
    }
}

/// How reading outside the root is treated (M4). Directories above the root are never charged:
/// looking for a `package.json` upwards is what runtimes do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// Reads are neither looked at nor restricted, and cost nothing. Opening a pipe or terminal
    /// outside for reading is then not seen either.
    Ignore,
    /// Files opened for reading outside root, scratch and free paths are listed as effects, not
    /// charged. A pipe or terminal there is refused and charged like a write: what is read of it is
    /// gone for others.
    List,
    /// Only root, scratch, free paths, the program itself, [`crate::system_read_allow`] and these
    /// files or trees can be read. An attempt on anything else that exists is refused and charged
    /// as `E_SIDEEFFECTS_FORBIDDEN`; looking for what does not exist is free. What does not exist
    /// when the run starts is ignored in this list.
    Deny {
        /// Files and trees that may be read and executed beyond the built-in list: the runtime, the
        /// declared inputs.
        allow: Vec<PathBuf>,
    },
}

/// Bounds of one run. Reaching one ends the whole process tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall time in milliseconds.
    pub wall_ms: u64,
    /// CPU time of the whole tree in milliseconds, user and system.
    pub cpu_ms: u64,
    /// Processes alive at once in the tree; threads are bounded to 64 times this.
    pub processes: u64,
    /// Resident memory of the whole tree in bytes; pages shared between processes count once.
    pub memory_bytes: u64,
    /// Bytes on standard output. What exceeds it ends the run.
    pub stdout_bytes: u64,
    /// Bytes on standard error. What exceeds it ends the run.
    pub stderr_bytes: u64,
    /// Size of any one file the command writes, in bytes.
    pub file_bytes: u64,
    /// Bytes on disk by which root, scratch and free paths may grow together. Files that are held
    /// open or mapped there without a name are included.
    pub tree_bytes: u64,
    /// Names by which they may grow together; a file without a name counts as one. A folder that may
    /// not be listed at the end holds too many.
    pub tree_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall_ms: 60_000,
            cpu_ms: 60_000,
            processes: 64,
            memory_bytes: 1 << 30,
            stdout_bytes: 8 << 20,
            stderr_bytes: 8 << 20,
            file_bytes: 256 << 20,
            tree_bytes: 1 << 30,
            tree_entries: 500_000,
        }
    }
}

/// The user the command runs as. Directories it needs must be reachable for that user, see
/// [`crate::prepare_ownership`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// As root: [`Identity::NOBODY`]. Otherwise the caller's own user.
    Auto,
    /// The caller's own user. Refused for root.
    Caller,
    /// This user and group, without supplementary groups; needs a caller that may change its user.
    /// User 0 is refused.
    User {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl Identity {
    /// The user and group 65534, which own nothing.
    pub const NOBODY: Self = Self::User { uid: 65534, gid: 65534 };
}

/// A kind of effect a command can declare. The names are a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// Reading files outside the root.
    #[serde(rename = "FS:read")]
    FsRead,
    /// Changing files in the root or the scratch directory.
    #[serde(rename = "FS:write")]
    FsWrite,
    /// Starting any process.
    #[serde(rename = "Process:shell")]
    ProcessShell,
    /// Starting the system's `git`, and what `git` starts of its own parts.
    #[serde(rename = "Process:git")]
    ProcessGit,
    /// Sockets other than those between the command's own processes.
    #[serde(rename = "Network")]
    Network,
}

impl Capability {
    /// All of them, in declaration order.
    pub const ALL: [Self; 5] =
        [Self::FsRead, Self::FsWrite, Self::ProcessShell, Self::ProcessGit, Self::Network];

    /// The name used in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FsRead => "FS:read",
            Self::FsWrite => "FS:write",
            Self::ProcessShell => "Process:shell",
            Self::ProcessGit => "Process:git",
            Self::Network => "Network",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|one| one.name() == name)
            .ok_or_else(|| UnknownCapability(name.to_owned()))
    }
}

/// A name that is no [`Capability`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown capability {0:?}: expected FS:read, FS:write, Process:shell, Process:git or Network"
)]
pub struct UnknownCapability(pub String);
