//! Runs any command on Linux so that the kernel decides, and reports, which effects it has.
//!
//! A command gets one directory, its *root*, and a list of [`Capability`]s it declared. It is run
//! with those and nothing more, and the [`Report`] says what it did or tried, whatever language it
//! is written in and whatever it says itself:
//!
//! - **Landlock** confines it: no write outside the root (inside only with `FS:write`), no reading
//!   beyond a list ([`Reads::Deny`]), no program but its own, no TCP, no signal to processes
//!   outside.
//! - **seccomp user notification** sees it: every call that opens for writing, changes names or
//!   metadata, starts programs or uses sockets stops until the supervisor has looked at it. What is
//!   not allowed is answered with an error; what is allowed goes on under Landlock. Only metadata,
//!   for which Landlock has no rights, is changed on the command's behalf. Reads cost nothing
//!   unless the policy looks at them.
//! - **A snapshot** of the root before and after is held against what was seen: a change without an
//!   observed cause is never a pass.
//!
//! The verdict: a write or, where reads are denied, a read outside is `E_SIDEEFFECTS_FORBIDDEN`;
//! anything undeclared is `E_SIDEEFFECTS_DECLARATION`; then an end other than exit code 0 is
//! `E_ORACLE_EXEC`; what the host could not do or see is inconclusive, `E_GUARD_INCOMPLETE`
//! (decisions M1 to M6). Attempts count like deeds; calls that could change nothing (making a
//! directory that exists, removing what is missing) do not.
//!
//! ```
//! use guard::{Capability, Command, Identity, Policy, Verdict, prepare_ownership};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = tempfile::tempdir()?;
//! prepare_ownership(root.path(), Identity::Auto)?;
//! let command = Command::new("/bin/sh", root.path()).args(["-c", "echo hello > greeting"]);
//!
//! let report = guard::run(&command, &Policy::new(root.path()))?;
//! assert_eq!(report.verdict, Verdict::Fail);
//! assert!(report.reason.starts_with("FS:write is not declared"), "{}", report.reason);
//!
//! let report = guard::run(&command, &Policy::new(root.path()).declare(Capability::FsWrite))?;
//! assert_eq!(report.verdict, Verdict::Pass, "{}", report.reason);
//! # Ok(())
//! # }
//! ```
//!
//! # Needs
//!
//! Linux 5.19 and Landlock ABI 2 on x86-64 or aarch64; no privilege, no daemon, no namespace
//! ([`probe`] says what is missing). Started by root, the command runs as user 65534 without
//! capabilities, and its directories must be reachable for that user ([`prepare_ownership`]). Where
//! another supervisor already listens to this process's calls, the tree is traced instead
//! ([`Tier::Traced`], x86-64). There a command can look up that it is, and do otherwise for it: a
//! run in which it looked is inconclusive.
//!
//! # What it does not do
//!
//! - It does not hide the host: names, sizes and times of files outside can be looked up, only not
//!   their content.
//! - What reaches further than the kernel confines is never let go on by what is in memory: the
//!   supervisor makes such calls itself, with its own copy of their arguments.
//!   `docs/guard-calls.md` says for every call why it cannot be raced.
//! - A call whose argument is swapped after it was looked at, and which Landlock then refuses, has
//!   changed nothing, and is seen only where the swap is (the run is then inconclusive). Swapped
//!   after the answer, an argument can lead to another of the command's own files than the report
//!   names.
//! - Where processes are declared, forks that start no program are counted only where the host lets
//!   the guard ([`Report::forks`]).
//! - A stopped call that a signal interrupts before it was looked at fails with `EINTR` where the
//!   handler was installed without `SA_RESTART`.
//! - A call that waits for a lock fails with `EINTR` when a signal is to be handled, also where the
//!   handler was installed with `SA_RESTART`; and with `EAGAIN` where 256 others wait already.
//! - A memory file (`memfd`), or a file on disk without a name, that is under way between two
//!   processes and open in none is bounded only by the limit on file size. A file without a name
//!   that is mapped and no longer open counts by what is mapped of it, where the host does not let
//!   the guard look through mappings (`CAP_CHECKPOINT_RESTORE`).
//! - Where reads are not denied, opening a pipe or terminal outside for reading is charged only as
//!   far as it is seen: not at all with [`Reads::Ignore`], and with [`Reads::List`] not if the path
//!   is swapped after it was looked at.
//! - Extended attributes are compared by the change time of their file.
//!
//! Reading order: `run.rs`, `supervise.rs`, `observe.rs` with its parts, `calls.rs`; then
//! `reaper.rs` and `child.rs`, the code between fork and exec.

mod attempt;
mod calls;
mod child;
mod command;
mod confine;
mod copy_tree;
mod disk_usage;
mod emulate;
mod error;
mod exec_stop;
mod filter;
mod fork_events;
mod judge;
mod launch;
mod ledger;
mod mounts;
mod nameless_files;
mod neutral_files;
mod observe;
mod overflow;
mod ownership;
mod paths;
mod policy;
mod processor;
mod protocol;
mod reaper;
mod report;
mod resolved_policy;
mod run;
mod shebang;
mod snapshot;
mod stat;
mod supervise;
mod support;
mod sys;
mod system_reads;
mod tasks;
mod text;
mod trace;
mod transcript;
mod tree;
mod view;

pub use command::{Command, Stdin};
pub use copy_tree::{Copied, copy_tree};
pub use error::GuardError;
pub use overflow::OmittedEffects;
pub use ownership::prepare_ownership;
pub use policy::{
    Capability, Destinations, Identity, Limits, Policy, Proxy, Reads, UnknownCapability,
};
pub use report::{
    Ancestor, Captured, Category, Charge, Code, Effect, Exit, OutputStream, Report, Tier,
    Transcript, Verdict,
};
pub use support::{Support, TierSupport};
pub use system_reads::system_read_allow;
pub use transcript::Multiset;

/// Runs `command` under `policy`, and returns when its whole process tree is gone.
///
/// Blocks; from asynchronous code call it on a thread for blocking work. Any number of runs may go
/// on at once. The calling process may have threads: it is forked, and only system calls are made
/// until the program starts.
///
/// # Errors
///
/// Only what is wrong before anything was started: a path, a limit, an identity. What happens
/// later, a missing feature of the host included, is a [`Report`].
pub fn run(command: &Command, policy: &Policy) -> Result<Report, GuardError> {
    run::run(command, policy, support::waiting(), &mut |_, _| {})
}

/// [`run()`], handing on what the command writes while it runs. The report holds it as well.
///
/// `output` gets the bytes of both streams in the order in which they were received, never more
/// than the limits allow. It is called by the calling thread, which keeps the limits: while it
/// works, none is checked, and the command may have to wait. What may block, as writing to a
/// terminal does, belongs on another thread.
///
/// # Errors
///
/// As there.
pub fn run_live(
    command: &Command,
    policy: &Policy,
    mut output: impl FnMut(OutputStream, &[u8]),
) -> Result<Report, GuardError> {
    run::run(command, policy, support::waiting(), &mut output)
}

/// Whether [`Policy::hostname`] has an effect here: it needs a namespace of its own for the
/// command, which root may make unless the host forbids it. Found by trying, once a process.
pub fn can_name_host() -> bool {
    support::can_name_host()
}

/// Says what a run here would be, and why: asks the kernel, and tries in processes of their own
/// what it only shows by doing: taking a listener, tracing. Takes some milliseconds.
pub fn probe() -> Support {
    support::probe()
}
