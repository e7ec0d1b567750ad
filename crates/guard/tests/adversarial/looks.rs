//! What happens to a call while it is looked at. The programs see for themselves when that is, so
//! that none of it is left to chance.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use guard::Capability::{FsWrite, ProcessShell};
use guard::{Capability, Exit, Report, Verdict};

use crate::case::show;
use crate::programs;
use crate::setting::Setting;

/// The mode that the programs give the file `x`.
const CHANGED: u32 = 0o604;

fn probe(name: &str, declared: &[Capability]) -> (Setting, Report) {
    let mut setting = Setting::new();
    setting.declare(declared);
    let report = setting.run(&setting.command(programs::probe()).arg(name));
    (setting, report)
}

/// Whether the program could not see when a call was looked at.
fn is_blind(report: &Report) -> bool {
    let blind = report.stdout.bytes == b"no times of access\n";
    if blind {
        eprintln!("skipped: this file system keeps no times of access");
    }
    blind
}

fn is_recorded(report: &Report, operation: &str) -> bool {
    report.effects.iter().any(|effect| effect.operation == operation)
}

/// Whether the mode of the file was changed. If it was, that is on record, and only then.
fn is_changed(setting: &Setting, report: &Report) -> bool {
    let mode = fs::metadata(setting.root.join("x")).unwrap().permissions().mode();
    let changed = mode & 0o777 == CHANGED;
    assert_eq!(changed, is_recorded(report, "chmod"), "{}", show(report));
    changed
}

/// Flags in memory ask for nothing when they are looked at, and for a write to a file before the
/// look is over (M13).
#[test]
fn a_structure_that_is_rewritten_during_the_look_is_not_believed() {
    let (setting, report) = probe("open_how_rewritten_during_the_look", &[FsWrite]);
    if is_blind(&report) {
        return;
    }
    assert_eq!(report.stdout.bytes, b"Permission denied\n", "{}", show(&report));
    assert_eq!(report.verdict, Verdict::Inconclusive, "{}", show(&report));
    assert!(report.reason.contains("the arguments of openat2 changed"), "{}", show(&report));
    // What they asked for in the end is on record, though it was not done.
    assert!(is_recorded(&report, "openat2"), "{}", show(&report));
    assert_eq!(fs::read(setting.root.join("x")).unwrap(), b"x\n");
}

/// Neither of the two programs starts. Which one was asked for in the end is on record, as refused.
#[test]
fn a_program_that_is_exchanged_during_the_look_does_not_start() {
    for _ in 0..20 {
        let (_setting, report) =
            probe("program_exchanged_during_the_look", &[FsWrite, ProcessShell]);
        if is_blind(&report) {
            return;
        }
        if report.stdout.bytes.is_empty() {
            // Exchanged too early or too late: one of them has started.
            continue;
        }
        assert_eq!(report.stdout.bytes, b"Permission denied\n", "{}", show(&report));
        assert_eq!(report.verdict, Verdict::Inconclusive, "{}", show(&report));
        assert!(report.reason.contains("the arguments of execve changed"), "{}", show(&report));
        let refused = report
            .effects
            .iter()
            .any(|effect| effect.operation == "execve" && !effect.allowed && !effect.exact);
        assert!(refused, "{}", show(&report));
        return;
    }
    panic!("the program was never exchanged during the look");
}

/// The supervisor itself changes metadata, which must not happen unseen.
#[test]
fn nothing_is_changed_for_a_process_that_has_ended() {
    for _ in 0..20 {
        let (setting, report) = probe("ended_during_the_look", &[FsWrite]);
        if is_blind(&report) {
            return;
        }
        assert!(report.stdout.bytes.starts_with(b"started\n"), "{}", show(&report));
        let changed = is_changed(&setting, &report);
        // The process may also have ended after the change, which is on record then, and before it
        // could say that the call returned.
        if report.stdout.bytes == b"started\n" && !changed {
            return;
        }
    }
    panic!("the process never ended during the look");
}

#[test]
fn a_change_is_on_record_whatever_becomes_of_the_process() {
    for _ in 0..30 {
        let (setting, report) = probe("ended_after_the_change", &[FsWrite]);
        assert!(is_changed(&setting, &report), "{}", show(&report));
    }
}

/// What is changed is what is judged, not what the number meant before.
#[test]
fn a_descriptor_that_is_swapped_during_the_look_changes_nothing_undeclared() {
    let (setting, report) = probe("descriptor_swapped_during_the_look", &[]);
    let mode = fs::metadata(setting.root.join("x")).unwrap().permissions().mode();
    assert_ne!(mode & 0o777, CHANGED, "{}", show(&report));
    assert_eq!(report.exit, Exit::Code(0), "{}", show(&report));
    assert!(is_recorded(&report, "fchmod"), "{}", show(&report));
}
