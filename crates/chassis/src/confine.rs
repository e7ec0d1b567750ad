//! What the process may still touch of the file system, by Landlock: each service keeps its own
//! row of privileges even when it is taken over.
//!
//! Landlock binds the calling thread and the threads and processes it starts afterwards. So call
//! [`confine`] first in `main`, before a runtime or an exporter starts threads, and then build
//! the runtime; it refuses to pretend otherwise. A kernel without Landlock is said, not fatal:
//! containers confine by other means too.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, path_beneath_rules,
};

use crate::config::Env;

/// Set to `off` to run without confinement, for debugging. The only other value is `on`.
pub const SWITCH: &str = "LUMIO_CONFINE";

/// What every program here needs to read or execute: libraries, certificates, name resolution.
pub const SYSTEM: [&str; 10] =
    ["/bin", "/dev", "/etc", "/lib", "/lib64", "/nix", "/proc", "/sbin", "/sys", "/usr"];

/// What every program here may write beside its own folders.
const DEVICES: [&str; 5] = ["/dev/full", "/dev/null", "/dev/shm", "/dev/tty", "/dev/zero"];

/// How far the process is confined; log it once the log is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confinement {
    /// The kernel enforces all of it.
    Full,
    /// The kernel enforces a part of it, being too old for the rest.
    Partial,
    /// Nothing is enforced, and why.
    None(String),
    /// Switched off by [`SWITCH`].
    Off,
}

/// Why the process was not confined although it could be.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The process has other threads already, and they would stay free.
    #[error("the process has {0} threads; confine it before the runtime starts")]
    Threads(usize),
    /// [`SWITCH`] says neither that the process is to be confined nor that it is not.
    #[error("expected on or off")]
    Switch,
    /// A folder to be written is not there, so the rule for it could not be made.
    #[error("{0} is not there; create it first")]
    Missing(PathBuf),
    /// The kernel refused.
    #[error("the kernel refused the confinement")]
    Refused(#[source] RulesetError),
}

/// From now on this process reads and executes only what is below `read`, `write` and [`SYSTEM`],
/// and writes only what is below `write`. Paths in `read` that are not there are left out.
/// Network and signals are not restricted here. There is no way back.
///
/// # Errors
///
/// See [`ConfineError`]; a kernel without Landlock is not an error.
pub fn confine(read: &[&Path], write: &[&Path]) -> Result<Confinement, ConfineError> {
    if !is_on(&Env::process()).ok_or(ConfineError::Switch)? {
        return Ok(Confinement::Off);
    }
    // Without /proc nothing can be counted; then the caller's word counts.
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(ConfineError::Threads(threads));
    }
    // The rules below pass over a folder that is not there, and each write would fail much later.
    if let Some(missing) = write.iter().find(|path| !path.exists()) {
        return Err(ConfineError::Missing((*missing).to_owned()));
    }
    restrict(read, write).map_err(ConfineError::Refused)
}

/// Notes a mistake if [`SWITCH`] is neither `on` nor `off`. Any other word could be meant either way.
pub fn check_switch(env: &Env) {
    if is_on(env).is_none() {
        env.mistake(SWITCH, &ConfineError::Switch.to_string());
    }
}

fn is_on(env: &Env) -> Option<bool> {
    match env.with_default(SWITCH, "on").to_ascii_lowercase().as_str() {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// Rights up to ABI 3: read, execute, write, truncate, link and rename across folders. What is
/// newer concerns devices and the network.
fn restrict(read: &[&Path], write: &[&Path]) -> Result<Confinement, RulesetError> {
    let (reads, all) = (AccessFs::from_read(ABI::V3), AccessFs::from_all(ABI::V3));
    // The crate asks for as much as the kernel has, and its status says how much that was.
    let status = Ruleset::default()
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, reads))?
        .add_rules(path_beneath_rules(DEVICES, all))?
        .add_rules(path_beneath_rules(read, reads))?
        .add_rules(path_beneath_rules(write, all))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Confinement::Full,
        RulesetStatus::PartiallyEnforced => Confinement::Partial,
        RulesetStatus::NotEnforced => Confinement::None("the kernel has no Landlock".to_owned()),
    })
}

impl Confinement {
    /// Logs it, as a warning unless it is full.
    pub fn log(&self) {
        match self {
            Self::Full => tracing::info!("{self}"),
            _ => tracing::warn!("{self}"),
        }
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("files are confined by Landlock"),
            Self::Partial => {
                f.write_str("files are confined by Landlock, as far as this kernel can")
            }
            Self::None(cause) => write!(f, "files are not confined: {cause}"),
            Self::Off => write!(f, "files are not confined: {SWITCH} is off"),
        }
    }
}
