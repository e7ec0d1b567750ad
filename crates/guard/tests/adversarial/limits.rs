//! Class D, continued: bounds, and processes that are not the command's.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};

use guard::Capability::{FsWrite, ProcessShell};
use guard::{Category, Report, Tier, Verdict};

use crate::case::{Case, Expect, Program, case, end, show};
use crate::processes::nobody_left;
use crate::setting::Setting;

pub fn cases() -> Vec<Case> {
    [limits(), others()].concat()
}

fn limits() -> Vec<Case> {
    let row =
        |name, declared: &[_], expect| case("D", name, Program::Probe(name, ""), declared, expect);
    let long = |setting: &mut Setting| setting.policy.limits.wall_ms = 700;
    vec![
        row("storm_of_programs", &[ProcessShell], Expect::Pass)
            .ready(|setting| setting.argument = "1500".to_owned())
            .check(|_, report| counted(report, Category::ProcessShell, 1_500)),
        row("storm_of_forks", &[ProcessShell], Expect::Pass)
            .ready(|setting| setting.argument = "3000".to_owned()),
        row("fork_bomb", &[ProcessShell], Expect::Exec("limit processes"))
            .ready(|setting| setting.policy.limits.processes = 20)
            .check(|setting, _| nobody_left(setting)),
        row("thread_bomb", &[], Expect::Exec("")).ready(|setting| {
            setting.policy.limits.processes = 4;
            setting.policy.limits.wall_ms = 700;
        }),
        row("deaf_to_every_signal", &[ProcessShell], Expect::Exec("timeout"))
            .ready(long)
            .check(|setting, _| nobody_left(setting)),
        row("stops_itself", &[], Expect::Exec("timeout")).ready(long),
        row("exit_badly", &[FsWrite], Expect::Exec("code 7")),
        row("dies_by_a_signal", &[], Expect::Exec("signal 11")),
        row("dumps_core", &[FsWrite], Expect::Exec("signal 6")).check(|setting, _| {
            let core = setting.inside().keys().any(|path| path.to_string_lossy().contains("core"));
            if core { Err("a core was left".to_owned()) } else { Ok(()) }
        }),
        row("much_time", &[], Expect::Exec("limit cpu_ms"))
            .ready(|setting| setting.policy.limits.cpu_ms = 200),
        row("much_memory", &[], Expect::Exec("limit memory_bytes"))
            .ready(|setting| setting.policy.limits.memory_bytes = 60 << 20),
        row("large_file", &[FsWrite], Expect::Exec("limit file_bytes"))
            .ready(|setting| setting.policy.limits.file_bytes = 1_000),
    ]
}

pub fn counted(report: &Report, category: Category, number: u64) -> Result<(), String> {
    match report.counts.get(&category) {
        Some(found) if *found == number => Ok(()),
        found => Err(format!("{category:?} counted {found:?}, not {number}")),
    }
}

/// A process that has nothing to do with the case, in a group of its own.
struct Bystander(Child);

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn others() -> Vec<Case> {
    use std::os::unix::process::CommandExt;
    let bystander = |setting: &mut Setting| {
        let child = Command::new("/bin/sleep").arg("60").process_group(0).spawn().unwrap();
        setting.argument = child.id().to_string();
        setting.keep.push(Box::new(Bystander(child)));
    };
    let alive = |setting: &Setting, _: &Report| {
        let state =
            std::fs::read_to_string(format!("/proc/{}/stat", setting.argument)).unwrap_or_default();
        // It sleeps, or is about to. Stopped, dead or gone it was harmed.
        let harmed = |state: &str| state.starts_with(['T', 't', 'Z', 'X']);
        match state.rsplit_once(") ") {
            Some((_, state)) if !harmed(state) => Ok(()),
            _ => Err(format!("the bystander was harmed: {state}")),
        }
    };
    let row =
        |name, declared: &[_], expect| case("D", name, Program::Probe(name, ""), declared, expect);
    let harm = |name, expect| row(name, &[ProcessShell], expect).ready(bystander).check(alive);
    vec![
        row("kill_parent", &[], Expect::Forbidden),
        row("stop_parent", &[], Expect::Forbidden),
        row("limits_of_parent", &[], Expect::Forbidden),
        row("priority_of_parent", &[], Expect::Forbidden),
        row("processors_of_parent", &[], Expect::Forbidden),
        row("trace_parent", &[], Expect::Forbidden),
        row("write_parent_memory", &[], Expect::Forbidden),
        row("read_parent_memory", &[], Expect::Harmless),
        row("own_processors_and_priority", &[], Expect::Pass),
        row("signals_in_the_tree", &[ProcessShell], Expect::Pass),
        harm("kill_argument", Expect::Forbidden),
        harm("thread_kill_argument", Expect::Forbidden),
        harm("queue_to_argument", Expect::Forbidden),
        harm("handle_of_argument", Expect::Harmless),
        harm("handle_of_argument_by_proc", Expect::Forbidden),
        harm("kill_everybody", Expect::Forbidden),
        harm("kill_group_of_argument", Expect::Forbidden),
        harm("signal_by_descriptor_owner", Expect::Forbidden),
    ]
}

#[test]
fn what_its_maker_may_not_list_is_too_much_to_count() {
    let mut setting = Setting::new();
    setting.declare(&[ProcessShell]);
    let hides = "cd \"$OUT\" && mkdir closed && : >closed/file && chmod 300 closed";
    let report = setting.run(&setting.command("/bin/sh").args(["-c", hides]));
    let open = Permissions::from_mode(0o700);
    std::fs::set_permissions(setting.base.join("out/closed"), open).unwrap();
    // A guard of its own user lists everything.
    let expected = if report.tier == Tier::Separated { "code 0" } else { "limit tree_entries" };
    assert_eq!(end(&report.exit), expected, "{}", show(&report));
    assert_eq!(report.verdict == Verdict::Pass, report.tier == Tier::Separated);
}
