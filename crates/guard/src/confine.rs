//! The Landlock domain a command runs in: the kernel's own refusal of everything the policy does
//! not grant.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    PathFd, PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    Scope,
};

use crate::error::GuardError;
use crate::policy::{Capability, Destinations, Policy};
use crate::resolved_policy::{FREE_DEVICES, ResolvedPolicy};
use crate::shebang;
use crate::stat::FileStat;
use crate::system_reads;

/// The newest ABI whose rights are understood here; the kernel drops what it does not know.
const KNOWN: ABI = ABI::V7;

/// Makes the domain of a run.
///
/// # Errors
/// A path of the policy cannot be opened, or the kernel refuses the rules.
pub(crate) fn domain(
    policy: &Policy,
    resolved: &ResolvedPolicy,
    program: &Path,
) -> Result<OwnedFd, GuardError> {
    let created = build(policy, resolved, program).map_err(|error| GuardError::System {
        doing: "describe the Landlock domain",
        cause: io::Error::other(error),
    })?;
    // There is no descriptor where the kernel has no Landlock at all.
    Option::<OwnedFd>::from(created).ok_or_else(|| GuardError::System {
        doing: "create the Landlock domain",
        cause: io::Error::from(io::ErrorKind::Unsupported),
    })
}

fn build(
    policy: &Policy,
    resolved: &ResolvedPolicy,
    program: &Path,
) -> Result<RulesetCreated, RulesetError> {
    // What is not handled here stays allowed: reads are, unless the policy denies them.
    let mut handled = AccessFs::from_write(KNOWN) | AccessFs::Execute | AccessFs::IoctlDev;
    if resolved.denies_reads {
        handled |= AccessFs::from_read(KNOWN);
    }
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled)?;
    if !policy.reaches_all() {
        ruleset = ruleset.handle_access(AccessNet::from_all(KNOWN))?;
    }
    // Signals and abstract sockets stay within the domain, where the kernel knows how (ABI 6).
    let mut created = ruleset.scope(Scope::from_all(KNOWN))?.create()?;
    if let Destinations::Proxy(proxy) = &policy.destinations
        && policy.reaches_some()
    {
        // The supervisor connects on a thread inside this domain. Landlock knows ports and no
        // addresses: which address it is, the supervisor alone decides.
        let port = NetPort::new(proxy.listener.port(), AccessNet::ConnectTcp);
        created = created.add_rule(port)?;
    }
    for (path, access) in grants(policy, resolved, program) {
        created = grant(created, &path, access & handled)?;
    }
    Ok(created)
}

/// What is granted at each path. All of it in one rule: each takes four system calls, and many
/// paths are named several times.
fn grants(
    policy: &Policy,
    resolved: &ResolvedPolicy,
    program: &Path,
) -> BTreeMap<PathBuf, BitFlags<AccessFs>> {
    let write = AccessFs::from_write(KNOWN);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut all: BTreeMap<PathBuf, BitFlags<AccessFs>> = BTreeMap::new();
    let mut add = |path: &Path, access: BitFlags<AccessFs>| {
        *all.entry(path.to_owned()).or_default() |= access;
    };
    resolved.free.iter().for_each(|free| add(free, write));
    if policy.declares(Capability::FsWrite) {
        add(&resolved.root, write);
        resolved.scratch.iter().for_each(|scratch| add(scratch, write));
    }
    for device in FREE_DEVICES {
        let access = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
        add(Path::new(device), access);
    }
    resolved.readable.iter().for_each(|path| add(path, read));
    for path in executables(policy, resolved, program) {
        add(&path, AccessFs::Execute.into());
    }
    all
}

/// What may be executed: with `Process:shell` whatever can be read, else the program itself and
/// what the kernel starts for it.
fn executables(policy: &Policy, resolved: &ResolvedPolicy, program: &Path) -> Vec<PathBuf> {
    if policy.declares(Capability::ProcessShell) {
        return if resolved.denies_reads {
            resolved.readable.clone()
        } else {
            vec![PathBuf::from("/")]
        };
    }
    let mut paths = system_reads::loaders();
    paths.extend(resolved.script.iter().cloned());
    // What `env` looks up for the command is the command's own interpreter too.
    if let Some(interpreter) = &resolved.interpreter {
        paths.push(interpreter.clone());
        paths.extend(shebang::interpreters(interpreter));
    }
    paths.push(program.to_owned());
    if policy.declares(Capability::ProcessGit) {
        paths.extend(resolved.git_paths().cloned());
    }
    paths
}

fn grant(
    created: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    // What the caller cannot open, the command cannot reach either; a device may be missing.
    let Ok(opened): Result<PathFd, PathFdError> = PathFd::new(path) else { return Ok(created) };
    // A rule on a file may hold only rights that a file can have; the kernel refuses others.
    let directory = FileStat::of(&opened).is_ok_and(|stat| stat.is_dir());
    let access = if directory { access } else { access & AccessFs::from_file(KNOWN) };
    if access.is_empty() { Ok(created) } else { created.add_rule(PathBeneath::new(opened, access)) }
}
