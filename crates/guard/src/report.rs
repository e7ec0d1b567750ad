//! What a run turned out to be: verdict, exit, output and effects.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::overflow::OmittedEffects;
use crate::text;

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Pass, fail or inconclusive (M7).
    pub verdict: Verdict,
    /// Why it is not a pass.
    pub code: Option<Code>,
    /// One sentence for people, naming the path, program or limit; empty on a pass.
    pub reason: String,
    /// How the command's own process ended.
    pub exit: Exit,
    /// Standard output, up to its limit.
    pub stdout: Captured,
    /// Standard error, up to its limit.
    pub stderr: Captured,
    /// Effects in the order they were seen, at most [`Report::MAX_EFFECTS`]; of charged ones the
    /// first are always among them.
    pub effects: Vec<Effect>,
    /// Effects that were seen and are not among [`Report::effects`]. They are in the counts and in
    /// the transcript anyway.
    #[serde(default)]
    pub effects_omitted: u64,
    /// Those of them that are compared; see [`Report::each_effect`]. Not part of the serialized
    /// form.
    #[serde(skip)]
    pub omitted: OmittedEffects,
    /// Covers all effects but reads, shown or not: two runs with the same transcript had the
    /// same effects, in whatever order (M14).
    #[serde(default)]
    pub transcript: Transcript,
    /// Exact numbers by category, however many effects are kept; free ones are not counted.
    pub counts: BTreeMap<Category, u64>,
    /// How many operations were refused.
    pub denied: u64,
    /// How many processes the tree made by forking, whether they became another program or not;
    /// nothing where the host does not let the guard count them (`perf_event_open`, more than 64
    /// processors). Bounded in any case.
    #[serde(default)]
    pub forks: Option<u64>,
    /// Processes that were still alive when the command's own process ended, and were killed then.
    #[serde(default)]
    pub killed_at_end: u64,
    /// Wall time of the run in milliseconds.
    pub wall_ms: u64,
    /// CPU time of the whole tree in milliseconds.
    pub cpu_ms: u64,
    /// What the host let the guard do.
    pub tier: Tier,
    /// The Landlock ABI the kernel offers; 0 without Landlock.
    pub landlock_abi: u32,
}

impl Report {
    /// Most effects kept in one report.
    pub const MAX_EFFECTS: usize = 1_000;

    /// Hands out all effects but reads, shown or not, in no certain order and in bounded memory.
    /// For a report that was serialized meanwhile, only those shown are left.
    ///
    /// # Errors
    ///
    /// What is not shown could not be read again.
    pub fn each_effect(&self, mut take: impl FnMut(&Effect)) -> io::Result<()> {
        let compared = self.effects.iter().filter(|effect| effect.category != Category::FsRead);
        compared.for_each(&mut take);
        self.omitted.each(take)
    }
}

/// All effects of a run but reads, as a multiset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// 64 hexadecimal digits. Only digests made with the same
    /// [`transcript_key`](crate::Policy::transcript_key) can be compared.
    pub digest: String,
    /// How many effects it covers.
    pub effects: u64,
}

/// The judgement over a run (M7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Ended with 0, did nothing it had not declared, and every change has an observed cause.
    Pass,
    /// A violation, or an end other than 0, is proven.
    Fail,
    /// Nothing is known about the command: the host could not run or watch it to the end.
    Inconclusive,
}

/// The reason codes of the guard; a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Code {
    /// Something outside the root was changed, or an attempt was made; or read, where reads are
    /// denied.
    #[serde(rename = "E_SIDEEFFECTS_FORBIDDEN")]
    Forbidden,
    /// Something was done that was not declared.
    #[serde(rename = "E_SIDEEFFECTS_DECLARATION")]
    Undeclared,
    /// Ended with another code than 0, by a signal, by a limit (M6).
    #[serde(rename = "E_ORACLE_EXEC")]
    Exec,
    /// The host could not start or watch the command completely (M1, M6).
    #[serde(rename = "E_GUARD_INCOMPLETE")]
    Incomplete,
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Forbidden => "E_SIDEEFFECTS_FORBIDDEN",
            Self::Undeclared => "E_SIDEEFFECTS_DECLARATION",
            Self::Exec => "E_ORACLE_EXEC",
            Self::Incomplete => "E_GUARD_INCOMPLETE",
        })
    }
}

/// How the command's own process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was ended because its wall time was over.
    Timeout,
    /// It was ended by a limit: `cpu_ms`, `processes`, `threads`, `memory_bytes`, `stdout_bytes`,
    /// `stderr_bytes`, `file_bytes`, `tree_bytes`, `tree_entries`, or `cancelled`.
    Limit(String),
    /// It was never started.
    NotStarted,
}

/// One of a command's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a run wrote on one of its output streams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The bytes, base64 in serialized form; at most as many as the limit.
    #[serde(with = "text::base64")]
    pub bytes: Vec<u8>,
    /// More was written than the limit allows.
    pub truncated: bool,
}

/// One thing the command did or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// What kind of thing.
    pub category: Category,
    /// The system call.
    pub operation: String,
    /// The resolved path, the program, or the address; bytes that are no UTF-8 are written `\xNN`,
    /// a backslash as `\\`.
    pub target: String,
    /// A second path, for calls that have two.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub other: Option<String>,
    /// The process that did it.
    pub pid: u32,
    /// The executable of that process. A process has many effects, which share this and the two
    /// lists.
    pub executable: Arc<str>,
    /// The arguments of that process.
    pub argv: Arc<[String]>,
    /// Whether the arguments are those the kernel started it with. If not, they are what the
    /// process shows of itself, which it can rewrite.
    #[serde(default = "yes")]
    pub argv_exact: bool,
    /// The processes above it, the nearest first, up to the command's own.
    #[serde(default)]
    pub parents: Arc<[Ancestor]>,
    /// `false` where the guard or the kernel refused it.
    pub allowed: bool,
    /// What it means for the verdict.
    pub charge: Charge,
    /// Whether target and second path are what the kernel used. If not, they are what was asked
    /// for when the guard looked: a declared address, or a program that did not start.
    #[serde(default = "yes")]
    pub exact: bool,
}

/// Reports of older versions do not say.
const fn yes() -> bool {
    true
}

/// A process above another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Its number.
    pub pid: u32,
    /// Its executable.
    pub executable: Arc<str>,
}

/// The kind of an [`Effect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Category {
    /// Opening a file for reading outside the root.
    #[serde(rename = "FS:read")]
    FsRead,
    /// Any change of files, directories or their metadata.
    #[serde(rename = "FS:write")]
    FsWrite,
    /// Starting a process or program other than git's.
    #[serde(rename = "Process:shell")]
    ProcessShell,
    /// Starting git or one of its parts.
    #[serde(rename = "Process:git")]
    ProcessGit,
    /// Sockets and their addresses.
    #[serde(rename = "Network")]
    Network,
    /// A signal to, or a change of, a process outside the tree.
    #[serde(rename = "Process:outside")]
    OutsideProcess,
    /// A system call no guarded command gets: listed, not charged.
    #[serde(rename = "Refused")]
    Refused,
}

/// What an effect means for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// Declared, and inside its bounds.
    Declared,
    /// Worth showing, without meaning for the verdict.
    Listed,
    /// Not declared: `E_SIDEEFFECTS_DECLARATION`.
    Undeclared,
    /// Outside the bounds of any declaration: `E_SIDEEFFECTS_FORBIDDEN`.
    Outside,
}

/// What the host let the guard do. All but the last can pass (M11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Landlock, user notification and snapshot; the command runs as another user without any
    /// capability.
    Separated,
    /// The same, under the caller's own user.
    Unprivileged,
    /// Landlock and snapshot, and every call traced, where another supervisor already listens to
    /// this process's calls. As strict, many times slower, and the command can see that it is
    /// traced: where it looked, the run is inconclusive.
    Traced,
    /// Something is missing; a verdict is at best inconclusive.
    Degraded,
}

impl fmt::Display for Tier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Separated => "separated",
            Self::Unprivileged => "unprivileged",
            Self::Traced => "traced",
            Self::Degraded => "degraded",
        })
    }
}
