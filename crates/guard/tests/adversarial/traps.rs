//! Known traps of this kind of supervisor, each as a test.

use std::process::{Command, Output};

use guard::Capability::{FsWrite, ProcessShell};
use guard::{Category, Report, Tier, Verdict};

use crate::case::show;
use crate::programs;
use crate::setting::Setting;

fn probe(setting: &Setting, name: &str) -> Report {
    setting.run(&setting.command(programs::probe()).args([name, "", setting.argument.as_str()]))
}

/// A process that is watched by a supervisor already cannot be watched by a second one: no pass may
/// come of it.
#[test]
fn a_busy_listener_is_reported_and_never_a_pass() {
    let output =
        beside(&["--ignored", "--exact", "traps::beside_another_supervisor", "--nocapture"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("judged"), "{text}");
}

/// Run by the test above.
#[test]
#[ignore = "runs where another supervisor listens"]
fn beside_another_supervisor() {
    let mut setting = Setting::new();
    for (name, declared) in
        [("open_create", true), ("open_create", false), ("change_directory", true)]
    {
        setting.policy.declared.clear();
        if declared {
            setting.declare(&[FsWrite]);
        }
        let report = probe(&setting, name);
        // Otherwise no supervisor listened, and this test shows nothing.
        assert!(matches!(report.tier, Tier::Traced | Tier::Degraded), "{}", show(&report));
        let honest = name == "open_create" && declared;
        if report.verdict == Verdict::Pass {
            assert!(honest, "{}", show(&report));
        }
        if report.verdict == Verdict::Inconclusive {
            assert!(report.reason.contains("supervisor"), "{}", show(&report));
        }
        assert!(!setting.base.join("a").exists());
    }
    println!("judged");
}

/// Runs tests of this program where another supervisor listens.
pub fn beside(arguments: &[&str]) -> Output {
    beside_with(arguments, ("GUARD_CASE", ""))
}

/// The same with one more variable in the environment.
pub fn beside_with(arguments: &[&str], (name, value): (&str, &str)) -> Output {
    let own = std::env::current_exe().unwrap();
    Command::new(programs::beside()).arg(own).args(arguments).env(name, value).output().unwrap()
}

/// There the guard traces, and owes the same verdicts.
fn hold_beside(tests: &[&str]) {
    let output = beside(tests);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(&format!("{} passed", tests.len())), "{text}");
}

/// All but those in which Node does the deed, whose start alone is thousands of calls.
const WITHOUT_NODE: [&str; 6] = [
    "every_door_of_the_kernel",
    "no_other_entry",
    "no_way_round",
    "nothing_rewritten",
    "processes_are_declared",
    "knowing_the_guard",
];

#[test]
fn the_cases_hold_beside_another_supervisor() {
    hold_beside(&WITHOUT_NODE);
}

#[test]
#[ignore = "takes minutes: cargo test -p side-effect-guard --test adversarial -- --ignored \
    every_case_holds_beside"]
fn every_case_holds_beside_another_supervisor() {
    let others = [
        "no_door",
        "every_door_of_node",
        "limits_hold",
        "sockets_and",
        "ordinary_modules",
        "transcripts_stand",
        "transcripts_differ",
    ];
    hold_beside(&[&WITHOUT_NODE[..], &others].concat());
}

/// The supervisor waits for calls of a tree whose last task ends at that moment: it must see the
/// end, every time.
#[test]
fn the_supervisor_ends_with_the_last_task() {
    let mut setting = Setting::new();
    setting.declare(&[FsWrite, ProcessShell]);
    for _ in 0..40 {
        let report = probe(&setting, "all_end_at_once");
        assert_eq!(report.exit, guard::Exit::Signal(9), "{}", show(&report));
    }
}

/// Interrupted calls are neither lost nor made twice without being counted.
#[test]
fn interrupted_calls_are_each_seen() {
    let mut setting = Setting::new();
    setting.declare(&[FsWrite]);
    let report = probe(&setting, "storm_of_signals_restarting");
    assert_eq!(report.verdict, Verdict::Pass, "{}", show(&report));
    let seen = report.counts.get(&Category::FsWrite).copied().unwrap_or(0);
    assert!(seen >= 600, "300 files were made and removed, {seen} changes seen");
}

/// A million changes: an exact count, a bounded report, bounded memory of this process.
#[test]
#[ignore = "takes minutes: cargo test -p side-effect-guard --test adversarial -- --ignored \
    a_million_changes"]
fn a_million_changes_are_counted_exactly_in_bounded_memory() {
    let mut setting = Setting::new();
    setting.declare(&[FsWrite]);
    setting.policy.limits.wall_ms = 600_000;
    setting.policy.limits.cpu_ms = 600_000;
    let before = peak_kib();
    setting.argument = "1000000".to_owned();
    let report = probe(&setting, "many_changes");
    assert_eq!(report.verdict, Verdict::Pass, "{}", show(&report));
    assert_eq!(report.counts.get(&Category::FsWrite), Some(&1_000_000));
    setting.argument = "500000".to_owned();
    let report = probe(&setting, "many_names");
    assert_eq!(report.verdict, Verdict::Pass, "{}", show(&report));
    assert_eq!(report.counts.get(&Category::FsWrite), Some(&1_000_000));
    let grown = peak_kib() - before;
    eprintln!("{} ms, {grown} KiB more at the peak", report.wall_ms);
    assert!(grown < 100_000, "{grown} KiB more at the peak");
}

/// Two gibibytes of output, as much as a limit allows: kept to the limit, the rest dropped, the run
/// ended.
#[test]
fn a_flood_of_output_is_bounded_in_memory() {
    let mut setting = Setting::new();
    setting.argument = (2u64 << 30).to_string();
    let before = peak_kib();
    let report = probe(&setting, "much_output");
    assert_eq!(report.exit, guard::Exit::Limit("stdout_bytes".to_owned()), "{}", show(&report));
    assert!(peak_kib() - before < 200_000, "{} KiB more at the peak", peak_kib() - before);
}

/// The most memory this process ever held, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
