//! A run is held on one processor, each on another as long as there are enough, and never on one
//! that this process may not use.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use module_gate::judging::judge;
use module_gate::judging::oracle::{CASE_LIMIT, ModuleRunner};
use module_gate::module::manifest;
use module_gate::module::manifest::Manifest;
use module_gate::module::variation::Variations;
use module_gate::sandbox::conditions::Conditions;
use module_gate::sandbox::workspace::Workspace;
use module_gate::sandbox::{LIMITS, Sandbox};
use rustix::thread::{CpuSet, sched_getaffinity};
use seal::tree::Limits;
use serde_json::json;
use tokio::time::Instant;

use crate::command::Home;
use crate::fixture::node;

const PRINTS: &str = "
    import { existsSync, readFileSync, writeFileSync } from 'node:fs';
    const list = /Cpus_allowed_list:\\s*(.*)/.exec(readFileSync('/proc/self/status', 'utf8'))[1];
    const [wanted, go] = process.argv.slice(2);
    writeFileSync(`${process.env.LUMIO_OUTPUT}/started`, '');
    const moment = new Int32Array(new SharedArrayBuffer(4));
    while (go && !existsSync(go)) Atomics.wait(moment, 0, 0, 5);
    console.log(list);
    if (wanted && wanted !== list) process.exit(4);";

fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|number| set.is_set(*number)).collect()
}

fn run(sandbox: &Sandbox, workspace: &Workspace, manifest: &Manifest, go: &Path) -> String {
    workspace.prepare(b"{}").unwrap();
    let cancel = Arc::default();
    let runner = ModuleRunner {
        sandbox,
        workspace,
        manifest,
        strict_reads: false,
        variations: Variations::none(),
        case_limit: CASE_LIMIT,
        cancel,
    };
    let args = [String::new(), go.display().to_string()];
    let report = runner
        .start(
            (workspace.layout(), &Conditions::default()),
            ("main.mjs", &args, ""),
            &BTreeMap::new(),
            60_000,
        )
        .unwrap();
    assert_eq!(report.verdict, guard::Verdict::Pass, "{}", report.reason);
    String::from_utf8(report.stdout.bytes).unwrap().trim().to_owned()
}

#[test]
fn two_runs_at_once_have_a_processor_each() {
    let home = Home::new();
    home.module("a", &[], PRINTS, &json!([{ "entry": "main.mjs" }]));
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o711)).unwrap();
    let sandbox = Sandbox::new(scratch.path(), &node(), "", true).unwrap();
    let manifest = manifest::parse(&fs::read(home.path("modules/a/module.json")).unwrap()).unwrap();
    let workspaces = ["one", "two"].map(|job| {
        let mut workspace = Workspace::create(scratch.path(), job).unwrap();
        workspace.import(&home.path("modules/a"), &Limits::MODULE).unwrap();
        workspace
    });
    let go = home.path("go");
    let lists: Vec<String> = std::thread::scope(|scope| {
        let runs = workspaces.each_ref().map(|workspace| {
            let (sandbox, manifest, go) = (&sandbox, &manifest, &go);
            scope.spawn(move || run(sandbox, workspace, manifest, go))
        });
        let since = Instant::now();
        // Both run at this moment, or the test fails below: a run that was never let go ends by its
        // limit.
        while !workspaces.iter().all(|one| one.layout().output.join("started").exists())
            && since.elapsed() < Duration::from_secs(50)
        {
            std::thread::yield_now();
        }
        fs::write(&go, "").unwrap();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let allowed = allowed();
    if allowed.len() < 2 {
        return;
    }
    let numbers: Vec<usize> = lists.iter().map(|list| list.parse().unwrap()).collect();
    assert_ne!(numbers[0], numbers[1]);
    assert!(numbers.iter().all(|number| allowed.contains(number)), "{numbers:?} of {allowed:?}");
}

#[test]
fn a_run_stays_where_the_command_was_put() {
    for processor in allowed() {
        let processor = processor.to_string();
        let home = Home::new();
        home.module("a", &[], PRINTS, &json!([{ "entry": "main.mjs", "args": [processor] }]));
        let ended = home.oracles_by(&["taskset", "-c", &processor], &["--variations", "none"]);
        assert_eq!(ended.code, Some(0), "{}", ended.text);
    }
}

#[test]
fn runs_can_be_given_all_processors() {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let all = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let home = Home::new();
    let case = json!([{ "entry": "main.mjs", "args": [all.unwrap().trim()] }]);
    home.module("a", &[], PRINTS, &case);
    let ended = home.oracles(&["--pin-processors", "false", "--variations", "none"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let ended = home.oracles(&["--pin-processors", "some"]);
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    let all = Variations::all();
    let digest = |pinned| judge::policy_digest(true, pinned, &all, &LIMITS);
    assert_ne!(digest(true), digest(false));
}
