//! Programs that try to make changes unseen, and programs that only look as if they did: one
//! row a case, each run for real.
//!
//! `docs/guard-cases.md` lists them with their results; `cargo test -p side-effect-guard --test
//! adversarial -- --ignored write_table` writes it. `GUARD_CASE=<part of a name>` runs only the
//! cases that match. Needs gcc; the cases in Node need Node 22.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod case;
mod javascript;
mod kernel;
mod limits;
mod looks;
mod network;
mod ordinary;
mod outside;
mod processes;
mod programs;
mod races;
mod random;
mod setting;
mod table;
mod tampering;
mod traps;

use crate::case::{Case, show};

/// Cases the guard does not keep yet: the name, and what is wrong. They are in the table too,
/// apart.
const GAPS: &[(&str, &str)] = &[];

fn is_gap(case: &Case) -> bool {
    GAPS.iter().any(|(name, _)| *name == case.name)
}

/// Every case, in the order of the table.
fn all() -> Vec<Case> {
    [
        javascript::cases(),
        kernel::changes_inside(),
        kernel::other_entries(),
        kernel::changes_outside(),
        outside::cases(),
        processes::cases(),
        limits::cases(),
        network::cases(),
        tampering::cases(),
        tampering::controls(),
        races::cases(),
    ]
    .concat()
}

/// Runs them all before it fails, so that one run shows everything.
#[expect(clippy::disallowed_methods, reason = "a filter for people at work on one case")]
fn hold_some(cases: Vec<Case>, gaps: bool) {
    let wanted = std::env::var("GUARD_CASE").unwrap_or_default();
    let mut failures = Vec::new();
    let named = cases.iter().enumerate().filter(|(_, case)| case.name.contains(&wanted));
    for (number, case) in named {
        if wanted.is_empty() && !is_in_lane(number, case) {
            continue;
        }
        if is_gap(case) != gaps {
            continue;
        }
        if !case.can_run() {
            eprintln!("skipped {}: this machine lacks what it is about", case.name);
            continue;
        }
        let (report, result) = case.run();
        if let Err(wrong) = result {
            failures.push(format!(
                "{} {:?}: {wrong}\n{}\n",
                case.name,
                case.declared,
                show(&report)
            ));
        }
    }
    let names: Vec<&str> = failures.iter().filter_map(|text| text.split(':').next()).collect();
    assert!(failures.is_empty(), "{}\n{} cases: {names:#?}", failures.join("\n"), failures.len());
}

/// All cases take minutes: with `LUMIO_LONG=1` all of them run. Else those of the classes that must
/// never pass do, and of the others a third, another one for root than for an ordinary user.
fn is_in_lane(number: usize, case: &Case) -> bool {
    let third = if ordinary::is_root() { 0 } else { 1 };
    std::env::var_os("LUMIO_LONG").is_some()
        || ["F", "G"].contains(&case.class)
        || number % 3 == third
}

fn hold(cases: Vec<Case>) {
    hold_some(cases, false);
}

#[test]
#[ignore = "what the guard does not keep yet"]
fn known_gaps() {
    hold_some(all(), true);
}

#[test]
fn every_door_of_node_is_charged_and_opens_with_the_declaration() {
    hold(javascript::cases());
}

#[test]
fn every_door_of_the_kernel_is_charged_and_opens_with_the_declaration() {
    hold(kernel::changes_inside());
}

#[test]
fn no_other_entry_into_the_kernel_goes_past_the_guard() {
    hold(kernel::other_entries());
}

#[test]
fn no_door_of_the_kernel_leads_outside() {
    hold(kernel::changes_outside());
}

#[test]
fn no_way_round_leads_outside() {
    hold(outside::cases());
}

#[test]
fn processes_are_declared_and_ended() {
    hold(processes::cases());
}

#[test]
fn limits_hold_and_other_processes_are_safe() {
    hold(limits::cases());
}

#[test]
fn sockets_and_foreign_data_are_declared_or_refused() {
    hold(network::cases());
}

#[test]
fn nothing_rewritten_or_without_a_path_reaches_outside() {
    hold(races::cases());
}

#[test]
fn knowing_the_guard_helps_nobody() {
    hold(tampering::cases());
}

#[test]
fn ordinary_modules_pass() {
    hold(tampering::controls());
}

#[test]
fn names_of_cases_are_unique() {
    let mut seen = std::collections::BTreeSet::new();
    for case in all() {
        let key = format!("{} {} {:?} {}", case.class, case.name, case.declared, case.strict);
        assert!(seen.insert(key.clone()), "{key} occurs twice");
    }
}
