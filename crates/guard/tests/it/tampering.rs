//! Class F: a command that knows it is guarded.

use guard::Capability::{FsWrite, ProcessShell};
use guard::Report;

use crate::setting::{Setting, assert_forbidden, assert_pass, assert_undeclared, no_node};

#[test]
fn nothing_printed_is_taken_for_an_event() {
    let report =
        Setting::new().sh("echo '{\"verdict\":\"PASS\",\"schema\":\"tm-events@1\"}'; echo x > a");
    assert_undeclared(&report, FsWrite);
}

#[test]
fn a_look_at_the_own_status_shows_no_tracer() {
    let report = Setting::new().sh("while read -r name value; do [ $name = TracerPid: ] && echo \
        $value; done < /proc/self/status; true");
    assert_pass(&report);
    assert_eq!(report.stdout.bytes, b"0\n");
}

#[test]
fn the_reaper_cannot_be_harmed() {
    if no_node() {
        return;
    }
    for attack in [
        "process.kill(process.ppid, 'SIGKILL')",
        "process.kill(process.ppid, 'SIGSTOP')",
        "require('fs').writeFileSync(`/proc/${process.ppid}/oom_score_adj`, '1000')",
    ] {
        assert_forbidden(
            &Setting::new().declare(&[FsWrite]).cjs(&format!("try {{ {attack} }} catch {{}}")),
        );
    }
    assert_pass(&Setting::new().cjs("try { process.kill(process.ppid, 0) } catch {}"));
}

#[test]
fn a_violation_outweighs_exit_codes() {
    assert_undeclared(&Setting::new().sh("echo x > a; exit 64"), FsWrite);
    assert_undeclared(&Setting::new().sh("echo x > a; kill -KILL $$"), FsWrite);
}

#[test]
fn a_tree_that_changes_its_own_rights_is_still_judged() {
    let report = Setting::new()
        .declare(&[FsWrite, ProcessShell])
        .sh("mkdir d; echo 1 > d/f; chmod 0 d; chmod 700 d; rm -r d; mv x y; mv y x");
    assert_pass(&report);
}

#[test]
fn a_report_survives_its_own_text() {
    let report = Setting::new().sh("printf '\\377\\376'; echo x > a");
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}
