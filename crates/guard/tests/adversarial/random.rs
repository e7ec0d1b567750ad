//! Random programs: several threads and processes change names by chance; what the guard reports is
//! held against what is on disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use guard::Capability::{FsWrite, ProcessShell};
use guard::{Capability, Category, Charge, Code, Report, Verdict};

use crate::case::show;
use crate::programs;
use crate::setting::{FileStates, Setting};

/// Whether the workers of a program get in each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ways {
    /// Each has a folder of its own: what is seen before a call is what the call finds, and
    /// everything must agree.
    Apart,
    /// All change the same names: between a look and the call, another may have changed what is
    /// there.
    Together,
}

/// One line of what the program says about itself: an operation and how it ended.
struct Line {
    failed: bool,
    operation: String,
    paths: Vec<String>,
}

fn lines_of(report: &Report) -> Vec<Line> {
    let lines = report.stdout.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let words = lines.map(|line| {
        line.split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
            .map(escaped)
            .collect::<Vec<_>>()
    });
    words
        .map(|words| Line {
            failed: words[0] != "0",
            operation: words[1].clone(),
            paths: words[2..].to_vec(),
        })
        .collect()
}

/// As reports write names.
fn escaped(bytes: &[u8]) -> String {
    let show = |byte: &u8| {
        if byte.is_ascii_graphic() {
            char::from(*byte).to_string()
        } else {
            format!("\\x{byte:02x}")
        }
    };
    bytes.iter().map(show).collect()
}

fn run(
    seed: u64,
    threads: u32,
    processes: u32,
    ways: Ways,
    declared: &[Capability],
) -> (Setting, FileStates, FileStates, Report) {
    let mut setting = Setting::new();
    setting.declare(declared);
    let shape =
        [seed, 60, u64::from(threads), u64::from(processes)].map(|number| number.to_string());
    let ways = match ways {
        Ways::Apart => "apart",
        Ways::Together => "together",
    };
    let command = setting.command(programs::random()).args(shape).args([ways]);
    guard::prepare_ownership(&setting.base, guard::Identity::Auto).unwrap();
    let before = setting.inside();
    let report = setting.run(&command);
    let after = setting.inside();
    (setting, before, after, report)
}

/// How many programs, and which.
#[expect(clippy::disallowed_methods, reason = "a longer run for those who ask for it")]
fn seeds() -> std::ops::RangeInclusive<u64> {
    1..=std::env::var("GUARD_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

/// Threads and processes.
fn shape(seed: u64) -> (u32, u32) {
    [(1, 1), (4, 1), (1, 3), (2, 3)][usize::try_from(seed % 4).unwrap()]
}

#[test]
fn what_is_reported_and_what_is_on_disk_agree() {
    for seed in seeds() {
        let (threads, processes) = shape(seed);
        let (setting, before, after, report) =
            run(seed, threads, processes, Ways::Apart, &[FsWrite, ProcessShell]);
        let case = format!("seed {seed}, {threads} threads, {processes} processes");
        assert_eq!(report.verdict, Verdict::Pass, "{case}\n{}", show(&report));
        every_change_has_a_cause(&setting.root, &before, &after, &report, &case);
        nothing_is_made_up(&setting.root, &report, &case);
        nothing_is_missed(&report, &case);
    }
}

/// Who changes a name between the guard's look and the kernel's makes the guard report another
/// name, or of none. What was declared is then still all that happened, and a change that cannot be
/// explained is not a pass.
#[test]
fn workers_in_each_others_way_are_never_accused() {
    for seed in seeds() {
        let (threads, processes) = shape(seed);
        let (setting, _, _, report) =
            run(seed, threads, processes, Ways::Together, &[FsWrite, ProcessShell]);
        let case = format!("seed {seed}, {threads} threads, {processes} processes");
        let unexplained = report.code == Some(Code::Incomplete)
            && report.reason.starts_with("changed without an observed cause");
        assert!(
            report.verdict == Verdict::Pass || unexplained,
            "{case}: {}\n{}",
            report.reason,
            show(&report)
        );
        nothing_is_made_up(&setting.root, &report, &case);
    }
}

#[test]
fn nothing_lands_that_was_not_declared() {
    for seed in 100..112 {
        let (_, before, after, report) = run(seed, 2, 2, Ways::Together, &[ProcessShell]);
        assert!(before == after, "seed {seed}\n{}", show(&report));
        assert_eq!(report.code, Some(Code::Undeclared), "seed {seed}\n{}", show(&report));
    }
}

/// Every name that differs was the target of an effect, or is below one that was moved, or is
/// another name of such a file.
fn every_change_has_a_cause(
    root: &Path,
    before: &FileStates,
    after: &FileStates,
    report: &Report,
    case: &str,
) {
    let root_name = root.display().to_string();
    let targets: BTreeSet<PathBuf> = report
        .effects
        .iter()
        .filter(|effect| effect.category == Category::FsWrite)
        .flat_map(|effect| std::iter::once(&effect.target).chain(&effect.other))
        .map(PathBuf::from)
        .collect();
    let linked = report.effects.iter().any(|effect| effect.operation.starts_with("link"));
    let names: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    for name in names.into_iter().filter(|name| before.get(*name) != after.get(*name)) {
        let shown =
            PathBuf::from(escaped(std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str())));
        let caused = shown
            .ancestors()
            .take_while(|above| above.display().to_string() != root_name)
            .any(|above| targets.contains(above));
        // A file with several names changes under all of them.
        let shared = linked
            && [before, after]
                .iter()
                .any(|state| state.get(name).is_some_and(|line| !line.contains(" 1 (")));
        assert!(
            caused || shared,
            "{case}: {} changed without an effect that names it\n{}",
            name.display(),
            show(report)
        );
    }
}

/// Every effect is one the program says it tried.
fn nothing_is_made_up(root: &Path, report: &Report, case: &str) {
    let lines = lines_of(report);
    let tried: BTreeSet<String> = lines
        .iter()
        .flat_map(|line| &line.paths)
        .map(|path| format!("{}/{path}", root.display()))
        .collect();
    let changes: Vec<_> =
        report.effects.iter().filter(|effect| effect.category == Category::FsWrite).collect();
    // Paths that lead through symbolic links are reported as resolved, so only those without one
    // can be held against each other.
    let plain = !lines.iter().any(|line| line.operation == "symlink" && !line.failed);
    for effect in &changes {
        assert_eq!(effect.charge, Charge::Declared, "{case}: {effect:?}");
        assert!(!plain || tried.contains(&effect.target), "{case}: no process tried {effect:?}");
    }
    let seen = report.counts.get(&Category::FsWrite).copied().unwrap_or(0);
    assert!(
        seen <= lines.len() as u64,
        "{case}: {} operations were tried, {seen} \
        seen",
        lines.len()
    );
}

/// Every success the program reports was seen.
fn nothing_is_missed(report: &Report, case: &str) {
    let lines = lines_of(report);
    let done = lines.iter().filter(|line| !line.failed).count() as u64;
    let seen = report.counts.get(&Category::FsWrite).copied().unwrap_or(0);
    // A rename onto the same file and an open that truncates nothing succeed and change nothing.
    let idle = lines
        .iter()
        .filter(|line| !line.failed && ["rename", "exchange"].contains(&line.operation.as_str()))
        .count() as u64;
    assert!(seen + idle >= done, "{case}: {done} operations succeeded, {seen} were seen");
}
