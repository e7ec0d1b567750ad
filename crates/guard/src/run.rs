//! One run from request to report.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::calls::{self, Options};
use crate::command::{Command, Stdin};
use crate::confine;
use crate::disk_usage::WatchedTrees;
use crate::emulate::sockets::OwnSockets;
use crate::error::GuardError;
use crate::filter;
use crate::judge;
use crate::launch::{self, Failed, Launched, Start};
use crate::ledger::{Ledger, Touched};
use crate::mounts;
use crate::observe::{Observer, Watch};
use crate::overflow::OmittedEffects;
use crate::ownership;
use crate::policy::{Capability, Policy, Reads};
use crate::processor::PinnedThread;
use crate::protocol::{EXECUTE, FILTER, STEPS};
use crate::report::{Captured, Code, Exit, Report, Tier, Transcript, Verdict};
use crate::resolved_policy::{self, PathZone, ResolvedPolicy};
use crate::shebang;
use crate::snapshot::{self, TreeSnapshot, Unreadable};
use crate::stat::FileStat;
use crate::supervise::{self, Live, Outcome, Waiting};
use crate::support::{self, Support};
use crate::text;
use crate::trace;
use crate::transcript;
use crate::tree;
use crate::view::Home;

/// The run of [`crate::run_live`].
///
/// # Errors
/// What is wrong before anything was started.
pub(crate) fn run(
    command: &Command,
    policy: &Policy,
    waiting: Waiting,
    live: &mut Live<'_>,
) -> Result<Report, GuardError> {
    let identity = ownership::resolve(policy.identity)?;
    let mut support = support::support(policy.identity);
    check_limits(policy)?;
    if !support.missing.is_empty() {
        return Ok(not_started(
            &support,
            format!("this host lacks {}", support.missing.join("; ")),
        ));
    }
    let (cwd, program, resolved) = match places(command, policy, identity)? {
        Ok(places) => places,
        Err(reason) => return Ok(not_started(&support, reason)),
    };
    let mounted = mounts::first_inside(&resolved).map_err(GuardError::system("list the mounts"))?;
    if let Some(path) = mounted {
        return Err(GuardError::MountInRoot { path });
    }
    let before = TreeSnapshot::take(&resolved.root, &resolved.free, None).map_err(unreadable)?;
    if let Some(path) = before.first_special_file() {
        return Err(GuardError::SpecialFileInRoot { path: path.to_owned() });
    }
    let watched = WatchedTrees::new(&grow(policy, &resolved), &resolved, &before);
    let forks = supervise::stops_forks(policy);
    let options = Options {
        reads: policy.reads != Reads::Ignore,
        forks,
        listens: !policy.reaches_all(),
        denies: resolved.denies_reads,
        abi: support.landlock_abi,
    };
    let calls = calls::table(options);
    let user = identity.map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid);
    let domain = Arc::new(confine::domain(policy, &resolved, &program)?);
    let start = Start {
        command,
        program: &program,
        cwd: &cwd,
        domain: &domain,
        filter: filter::program(&calls),
        identity,
        umask: policy.umask & 0o777,
        fixed_addresses: policy.fixed_addresses,
        hostname: policy.hostname.as_deref(),
        file_bytes: policy.limits.file_bytes,
        // The kernel counts tasks by user, so those that the user has already are added. A last
        // bound between two looks at the tree, so it has ample room for threads.
        tasks: tree::tasks_of(user) + policy.limits.processes.saturating_mul(12).min(2_048) + 64,
        // Whole seconds, and later than the supervisor's own limit, which can say what was reached.
        cpu_seconds: policy.limits.cpu_ms.div_ceil(1_000).saturating_add(1),
        traced: false,
    };
    let pinned = policy.processor.map(PinnedThread::pin_to).transpose();
    let pinned = pinned.map_err(GuardError::system("move to the processor of the policy"))?;
    let launched = match start_with_fallback(start, &mut support)? {
        Ok(launched) => launched,
        Err(failed) => return Ok(not_started(&support, step(&failed))),
    };
    // A tracer is in view: who looks for it is watched doing so.
    let calls = match launched.listener {
        Some(_) => calls,
        None => calls::table(Options { reads: true, ..options }),
    };
    let resolved = Arc::new(resolved);
    let shared: HashSet<_> = before.shared_outside().into_iter().collect();
    let home = Home::open(&resolved.root).map_err(GuardError::path("root", &resolved.root))?;
    let (reaper, main) = (launched.reaper.pid, launched.main);
    let watch = Watch {
        resolved: Arc::clone(&resolved),
        policy: Arc::new(policy.clone()),
        calls: calls.into(),
        shared,
        reaper,
        main,
        abi: support.landlock_abi,
        traced: launched.listener.is_none(),
        identity,
        home: Arc::new(home),
        directory: (forks && launched.listener.is_some())
            .then(|| fixed_directory(&cwd, &resolved))
            .flatten()
            .map(Arc::from),
        env_program: resolved.script.first().cloned().unwrap_or_default(),
        own_sockets: OwnSockets::new(before.sockets()),
        input: match &command.stdin {
            Stdin::File(path) => FileStat::behind(path).ok().map(|stat| stat.identity()),
            Stdin::Null | Stdin::Bytes(_) => None,
        },
        domain,
        transcript_key: policy.transcript_key.unwrap_or_else(transcript::process_key),
    };
    let observer = Arc::new(Mutex::new(Observer::new(watch)));
    let mut outcome = supervise::supervise(launched, policy, &observer, &watched, waiting, live);
    // The tree is gone: what follows may use all processors.
    drop(pinned);
    let mut ledger = observer.lock().unwrap_or_else(PoisonError::into_inner).take_ledger();
    let after = TreeSnapshot::take(&resolved.root, &resolved.free, Some(&before));
    if let Exit::Code(_) = outcome.exit
        && let Some(limit) = watched.exceeds_at_end(&policy.limits, after.as_ref().ok())
    {
        outcome.exit = Exit::Limit(limit.to_owned());
    }
    let unexplained = compare(&resolved, &before, after, &mut ledger);
    Ok(report(policy, &support, outcome, ledger, unexplained))
}

/// Working directory, program and all else the policy speaks of, resolved. The inner error is a
/// program that cannot be found.
fn places(
    command: &Command,
    policy: &Policy,
    identity: Option<(u32, u32)>,
) -> Result<Result<(PathBuf, PathBuf, ResolvedPolicy), String>, GuardError> {
    let cwd = resolved_policy::directory("working directory", &command.cwd)?;
    let program = match find(command, &cwd) {
        Ok(program) => program,
        Err(cause) => {
            return Ok(Err(format!("no program {}: {cause}", command.program.display())));
        }
    };
    let script = shebang::interpreters(&program);
    // A program that is no script needs no second look.
    let interpreter = (!script.is_empty())
        .then(|| shebang::by_env(&program, search_path(command), &cwd))
        .flatten();
    let resolved = ResolvedPolicy::new(policy, &program, script, interpreter)?;
    if !cwd.starts_with(&resolved.root) {
        return Err(GuardError::OutsideRoot { path: cwd });
    }
    let needed = [&resolved.root, &cwd].into_iter().chain(&resolved.scratch).chain(&resolved.free);
    ownership::check_reach(needed.chain([&program]).map(PathBuf::as_path), identity)?;
    Ok(Ok((cwd, program, resolved)))
}

/// The working directory that every process has as long as it changes it by no call: the root,
/// where the tree cannot give it another name either, since the folder it is in is outside.
fn fixed_directory(cwd: &Path, resolved: &ResolvedPolicy) -> Option<PathBuf> {
    let fixed = cwd == resolved.root && resolved.entry_zone(cwd) == PathZone::Outside;
    fixed.then(|| cwd.to_owned())
}

/// The trees that can grow.
fn grow(policy: &Policy, resolved: &ResolvedPolicy) -> Vec<PathBuf> {
    let mut trees = resolved.free.clone();
    if policy.declares(Capability::FsWrite) {
        trees.extend(std::iter::once(&resolved.root).chain(&resolved.scratch).cloned());
    }
    trees
}

/// With a listener, or where another supervisor has it, traced.
fn start_with_fallback(
    mut start: Start<'_>,
    support: &mut Support,
) -> Result<Result<Launched, Failed>, GuardError> {
    let launched = launch::launch(&start)?;
    match launched {
        Err(Failed { step: FILTER, cause })
            if cause.raw_os_error() == Some(libc::EBUSY) && trace::AVAILABLE =>
        {
            support.tier = Tier::Traced;
            start.traced = true;
            launch::launch(&start)
        }
        launched => Ok(launched),
    }
}

fn check_limits(policy: &Policy) -> Result<(), GuardError> {
    let limits = &policy.limits;
    if [limits.wall_ms, limits.cpu_ms, limits.processes, limits.memory_bytes].contains(&0) {
        return Err(GuardError::Limit(
            "a limit on time, processes or memory is 0: nothing could run".to_owned(),
        ));
    }
    Ok(())
}

/// The program as the kernel will be asked to execute it: without links, so that what is granted is
/// what runs.
fn find(command: &Command, cwd: &Path) -> io::Result<PathBuf> {
    let name = command.program.as_os_str();
    if name.as_bytes().contains(&b'/') {
        return executable(&cwd.join(&command.program));
    }
    let folders = search_path(command).as_bytes().split(|byte| *byte == b':');
    let mut candidates = folders.map(|folder| cwd.join(OsStr::from_bytes(folder)).join(name));
    // The first one that can be executed, as `execvp` chooses.
    candidates.find_map(|path| executable(&path).ok()).ok_or_else(ownership::not_found)
}

/// The folders in which the command's programs are looked up.
fn search_path(command: &Command) -> &OsStr {
    let path = command.env.iter().find(|(name, _)| name == "PATH");
    path.map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), |(_, value)| value.as_os_str())
}

fn executable(path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    let metadata = path.metadata()?;
    if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        Ok(path)
    } else {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }
}

fn unreadable(cause: Unreadable) -> GuardError {
    match cause {
        Unreadable::TooLarge => GuardError::Limit(format!(
            "the root holds more than {} names",
            crate::snapshot::MAX_ENTRIES
        )),
        Unreadable::TooDeep(path) => GuardError::Limit(format!(
            "the root is deeper than {} directories: {}",
            crate::snapshot::MAX_DEPTH,
            text::escape_os(path)
        )),
        Unreadable::Failed(path, cause) => GuardError::Path { what: "root", path, cause },
    }
}

/// The first name that changed without anybody seen changing it.
fn compare(
    resolved: &ResolvedPolicy,
    before: &TreeSnapshot,
    after: Result<TreeSnapshot, Unreadable>,
    ledger: &mut Ledger,
) -> Option<String> {
    let after = match after {
        Ok(after) => after,
        Err(cause) => {
            ledger.mark_incomplete(|| {
                format!("the root could not be read after the run: {}", unreadable(cause))
            });
            return None;
        }
    };
    // On an overlay the first change of a file or folder of a lower layer copies it, and the
    // folders above it, to the upper one. They get other inodes and times of change by that.
    let overlay = before.overlay;
    let before_outside = before.shared_outside();
    let new_outside = after.shared_outside().into_iter().find(|inode| {
        let left_behind = overlay && left_behind(*inode, before, &after, &ledger.touched);
        !left_behind && !before_outside.contains(inode)
    });
    if new_outside.is_some() {
        ledger.mark_incomplete(|| "a file of the root got a name outside it".to_owned());
    }
    // What has a name outside too is never changed by a call that was let go on. A call raced past
    // the look leaves the change of an outside file behind, whatever else was seen of its name
    // (M5).
    if let Some(path) = after.content_changed(before, &before.shared_outside()) {
        ledger.mark_incomplete(|| {
            format!("a file with a name outside the root changed: {}", text::escape_os(path))
        });
    }
    let changes = after.changes(before);
    let inodes = touched_inodes(&ledger.touched, [before, &after]);
    let unexplained = changes.into_iter().find(|path| {
        let same_file = [before, &after].into_iter().filter_map(|one| one.get(path));
        let copied_up = overlay
            && ledger.touched.is_above(path)
            && same_but_for_copying(before.get(path), after.get(path));
        !ledger.touched.explains(path)
            && !copied_up
            && !same_file.into_iter().any(|entry| inodes.contains(&(entry.device, entry.inode)))
    });
    // A free path inside the root changes its directory.
    let unexplained =
        unexplained.filter(|path| !resolved.free.iter().any(|free| free.parent() == Some(*path)));
    if ledger.touched.overflowed() && unexplained.is_some() {
        ledger.mark_incomplete(|| "more names changed than the guard can remember".to_owned());
    }
    unexplained.map(text::escape_os)
}

/// Whether a file that seems to have a name outside has lost one inside: on an overlay without an
/// index the first write by one of its names makes that name a file of its own, and the others keep
/// the number of names that the lower layer has.
fn left_behind(
    inode: (u64, u64),
    before: &TreeSnapshot,
    after: &TreeSnapshot,
    touched: &Touched,
) -> bool {
    let is = |entry: &snapshot::Entry| (entry.device, entry.inode) == inode;
    let names = before.iter().filter(|(_, entry)| is(entry));
    let mut gone = names.filter(|(path, _)| !after.get(path).is_some_and(is));
    gone.all(|(path, _)| touched.explains(path))
}

/// Whether a directory differs only in what copying it to another layer changes.
fn same_but_for_copying(before: Option<&snapshot::Entry>, after: Option<&snapshot::Entry>) -> bool {
    before.zip(after).is_some_and(|(before, after)| before.same_but_for_copying(after))
}

/// A file with several names changes under all of them.
fn touched_inodes(touched: &Touched, snapshots: [&TreeSnapshot; 2]) -> HashSet<(u64, u64)> {
    let entries = snapshots.into_iter().flat_map(TreeSnapshot::iter);
    let files = entries
        .filter(|(path, entry)| !entry.directory && entry.links > 1 && touched.explains(path));
    files.map(|(_, entry)| (entry.device, entry.inode)).collect()
}

fn step(failed: &Failed) -> String {
    let name = usize::try_from(failed.step)
        .ok()
        .and_then(|step| STEPS.get(step))
        .copied()
        .unwrap_or("start");
    let hint = match (failed.step, failed.cause.raw_os_error()) {
        (FILTER, Some(libc::EBUSY)) => {
            " (another supervisor already listens to the calls of this process)"
        }
        (EXECUTE, _) => " (is it built for this machine?)",
        _ => "",
    };
    format!("could not {name}: {}{hint}", failed.cause)
}

fn not_started(support: &Support, reason: String) -> Report {
    Report {
        verdict: Verdict::Inconclusive,
        code: Some(Code::Incomplete),
        reason,
        exit: Exit::NotStarted,
        stdout: Captured::default(),
        stderr: Captured::default(),
        effects: Vec::new(),
        effects_omitted: 0,
        omitted: OmittedEffects::default(),
        transcript: Transcript::default(),
        counts: std::collections::BTreeMap::new(),
        denied: 0,
        forks: None,
        killed_at_end: 0,
        wall_ms: 0,
        cpu_ms: 0,
        tier: support.tier,
        landlock_abi: support.landlock_abi,
    }
}

fn report(
    policy: &Policy,
    support: &Support,
    outcome: Outcome,
    mut ledger: Ledger,
    unexplained: Option<String>,
) -> Report {
    let omitted = ledger.finish_omitted();
    let (verdict, code, reason) = judge::judge(&ledger, &outcome.exit, policy, unexplained);
    Report {
        verdict,
        code,
        reason,
        exit: outcome.exit,
        stdout: outcome.stdout,
        stderr: outcome.stderr,
        effects_omitted: ledger.omitted(),
        omitted,
        transcript: ledger.transcript(),
        effects: ledger.effects(),
        counts: ledger.counts,
        denied: ledger.denied,
        forks: outcome.forks,
        killed_at_end: outcome.killed_at_end,
        wall_ms: outcome.wall_ms,
        cpu_ms: outcome.cpu_ms,
        tier: support.tier,
        landlock_abi: support.landlock_abi,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::policy::Limits;

    /// In every way that this kernel lets calls be waited for.
    fn each_way(check: impl Fn(Waiting)) {
        check(Waiting::WithTheRest);
        if support::waiting() == Waiting::Alone {
            check(Waiting::Alone);
        }
    }

    fn shell(script: &str, waiting: Waiting, limits: Limits) -> Report {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = place.path().join("root");
        fs::create_dir(&root).unwrap();
        ownership::prepare_ownership(&root, crate::policy::Identity::Auto).unwrap();
        let declared = [Capability::FsWrite, Capability::ProcessShell];
        let mut policy = Policy::new(&root);
        policy.declared.extend(declared);
        policy.limits = limits;
        let command = Command::new("/bin/sh", &root).args(["-c", script]);
        run(&command, &policy, waiting, &mut |_, _| {}).unwrap()
    }

    #[test]
    fn calls_are_answered_however_they_are_waited_for() {
        each_way(|waiting| {
            let script = "echo 1 > inside; echo 2 > ../outside; echo done";
            let report = shell(script, waiting, Limits::default());
            assert_eq!(report.code, Some(Code::Forbidden), "{waiting:?}: {}", report.reason);
            assert_eq!(report.stdout.bytes, b"done\n", "{waiting:?}");
            let opened = report.effects.iter().filter(|one| one.operation == "openat");
            let allowed: Vec<bool> = opened.map(|one| one.allowed).collect();
            assert_eq!(allowed, [true, false], "{waiting:?}");
        });
    }

    #[test]
    fn the_end_of_a_tree_is_seen_however_calls_are_waited_for() {
        each_way(|waiting| {
            // No process is left: its end is said with that of the command.
            let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
            let report = shell(busy, waiting, Limits::default());
            assert_eq!(report.exit, Exit::Code(0), "{waiting:?}: {}", report.reason);
            assert!(report.cpu_ms > 0 && report.killed_at_end == 0, "{waiting:?}");
            let report = shell("sleep 600 & exit 3", waiting, Limits::default());
            assert_eq!(report.exit, Exit::Code(3), "{waiting:?}: {}", report.reason);
            assert_eq!(report.killed_at_end, 1, "{waiting:?}");
            let limits = Limits { wall_ms: 200, ..Limits::default() };
            let report = shell("sleep 600", waiting, limits);
            assert_eq!(report.exit, Exit::Timeout, "{waiting:?}: {}", report.reason);
        });
    }
}
