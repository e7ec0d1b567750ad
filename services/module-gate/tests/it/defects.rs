//! What went wrong in the earlier implementation cannot happen here: one test for each defect.

use serde_json::{Value, json};

use crate::command::{Ended, Home, link};
use crate::gates::{planned, ship};

const FORBIDDEN: &str = "E_SIDEEFFECTS_FORBIDDEN";
const UNDECLARED: &str = "E_SIDEEFFECTS_DECLARATION";

fn home(declares: &[&str], main: &str, case: &Value) -> Home {
    let home = Home::new();
    let mut whole = json!({ "entry": "main.mjs" });
    for (name, value) in case.as_object().unwrap() {
        whole[name] = value.clone();
    }
    home.module("a", declares, main, &json!([whole]));
    home
}

fn oracles(declares: &[&str], main: &str, case: &Value) -> Ended {
    home(declares, main, case).oracles(&["--variations", "none"])
}

fn assert_code(ended: &Ended, code: &str) {
    assert_eq!(ended.report()["code"], code, "{}", ended.text);
}

#[test]
fn g01_named_imports_are_seen() {
    let main = "import { writeFileSync } from 'node:fs'; import { rm } from 'node:fs/promises';
        try { writeFileSync('../out', 'x') } catch {} try { await rm('../lib/f') } catch {}";
    let home = home(&["FS:write"], main, &json!({}));
    home.put("modules/lib/f", "1");
    let ended = home.oracles(&["--variations", "none"]);
    assert_code(&ended, FORBIDDEN);
    assert!(home.path("modules/lib/f").exists() && !home.path("modules/out").exists());
}

#[test]
fn g02_every_way_to_write_is_seen_and_a_move_out_of_the_root_too() {
    let ways = [
        "fs.copyFileSync('main.mjs', '../copy')",
        "fs.renameSync('main.mjs', '../moved')",
        "fs.linkSync('main.mjs', '../linked')",
        "fs.symlinkSync('main.mjs', '../link')",
        "fs.chmodSync('..', 0o777)",
        "fs.cpSync('oracles', '../oracles', { recursive: true })",
        "fs.mkdtempSync('../d-')",
        "fs.closeSync(fs.openSync('../opened', 'w'))",
    ];
    for way in ways {
        let main = format!("import fs from 'node:fs'; try {{ {way} }} catch {{}}");
        let home = home(&["FS:write"], &main, &json!({}));
        let before = home.state();
        assert_code(&home.oracles(&["--variations", "none"]), FORBIDDEN);
        assert_eq!(home.state(), before, "{way}");
    }
}

#[test]
fn g03_a_link_that_leads_out_does_not_count_as_inside() {
    let main = "import fs from 'node:fs'; try { fs.writeFileSync('inside/f', 'x') } catch {}";
    let home = home(&["FS:write"], main, &json!({}));
    home.put("elsewhere/f", "1");
    link(home.path("elsewhere"), home.path("modules/a/inside"));
    assert_code(&home.oracles(&["--variations", "none"]), FORBIDDEN);
}

#[test]
fn g04_children_are_watched_and_only_git_is_git() {
    let main = "import { execSync } from 'node:child_process';
        try { execSync('echo x > ../by-a-child', { stdio: 'ignore' }) } catch {}";
    assert_code(&oracles(&["FS:write", "Process:shell"], main, &json!({})), FORBIDDEN);
    let main = "import { execSync } from 'node:child_process';
        try { execSync('git --version && echo x', { stdio: 'ignore' }) } catch {}";
    assert_code(&oracles(&["Process:git"], main, &json!({})), UNDECLARED);
    let main = "import fs from 'node:fs'; import { spawnSync } from 'node:child_process';
        fs.writeFileSync('git', '#!/bin/sh\\necho x'); fs.chmodSync('git', 0o755);
        spawnSync('./git');";
    assert_code(&oracles(&["FS:write", "Process:git"], main, &json!({})), UNDECLARED);
}

#[test]
fn g05_no_log_can_be_deleted_or_redirected() {
    let main = "import fs from 'node:fs';
        for (const name of Object.keys(process.env)) if (/LOG/.test(name)) fs.rmSync(
        process.env[name], { force: true });
        try { fs.writeFileSync('../out', 'x') } catch {}";
    let env = json!({ "env": { "TM_SIDEEFFECTS_LOG": "/dev/null", "NODE_OPTIONS": "" } });
    assert_code(&oracles(&["FS:write"], main, &env), FORBIDDEN);
}

#[test]
fn g06_a_skip_hides_no_violation() {
    let main = "import fs from 'node:fs'; try { fs.writeFileSync('../out', 'x') } catch {}
        console.log('SKIP not here'); process.exit(64);";
    assert_code(&home(&["FS:write"], main, &json!({})).ship("a"), FORBIDDEN);
}

#[test]
fn g07_rejections_and_errors_end_a_program_as_they_do_without_a_guard() {
    let ended = home(&[], "Promise.reject(new Error('lost'))", &json!({})).ship("a");
    assert_code(&ended, "E_TEST");
    assert!(ended.text.contains("exited with code 1"), "{}", ended.text);
    let ended = home(&[], "throw new Error('thrown')", &json!({})).ship("a");
    assert!(ended.text.contains("exited with code 1"), "{}", ended.text);
}

#[test]
fn g08_and_g09_failing_tests_and_oracle_attempts_count_in_what_was_seen() {
    let main = "import fs from 'node:fs'; fs.writeFileSync('f', 'x'); process.exit(1);";
    let ended = home(&["FS:write"], main, &json!({})).ship("a");
    let report = ended.report();
    let starts: Vec<_> =
        report["effects"].as_array().unwrap().iter().map(|one| &one["start"]).collect();
    assert!(starts.contains(&&json!("test main.mjs")), "{starts:?}");
    assert!(starts.contains(&&json!("case case_1, attempt 1")), "{starts:?}");
    assert_eq!(report["observed"][0], json!(["FS:write", 2]));
}

#[test]
fn g10_a_violation_keeps_its_code_where_events_are_strict() {
    let main = "import fs from 'node:fs'; try { fs.writeFileSync('../../out', 'x') } catch {}";
    let home = planned(&["FS:write"], main, &json!([{ "entry": "main.mjs" }]));
    let (code, summary, events) = ship(&home, &[]);
    assert_eq!((code, &summary["code"]), (Some(1), &json!(FORBIDDEN)), "{summary:#}");
    let last = events.last().unwrap();
    let said = (&last["event"], &last["detail"]["code"]);
    assert_eq!(said, (&json!("GATES_FAIL"), &json!(FORBIDDEN)));
}

#[test]
fn g11_a_captured_file_that_is_never_made_is_no_pass() {
    let case = json!({ "capture": { "files": ["never"] } });
    assert_code(&oracles(&[], "console.log(1)", &case), "E_ORACLE_EXEC");
}

#[test]
fn g12_what_depends_on_its_surroundings_does_not_pass_for_repeatable() {
    let home = home(&[], "console.log(new Date(0).toString())", &json!({}));
    assert_code(&home.oracles(&[]), "E_ORACLE_NONDETERMINISM");
}

#[test]
fn g13_no_path_of_a_spec_leaves_the_module() {
    for case in [
        json!({ "reset": ["../lib"] }),
        json!({ "reset": ["/etc"] }),
        json!({ "entry": "../lib/x.mjs" }),
        json!({ "cwd": ".." }),
        json!({ "capture": { "files": ["/etc/passwd"] } }),
    ] {
        let home = home(&[], "console.log(1)", &case);
        home.put("modules/lib/x.mjs", "1");
        let before = home.state();
        let ended = home.oracles(&[]);
        assert_eq!(ended.code, Some(3), "{case}: {}", ended.text);
        assert!(ended.text.contains("E_ORACLE_SPEC"), "{}", ended.text);
        assert_eq!(home.state(), before);
    }
}

#[test]
fn g14_output_is_whole_nothing_is_inherited_and_all_processes_end() {
    let main = "process.stdout.write('\\u20ac'.repeat(100_000));
        if (Object.keys(process.env).some((name) => /CARGO|HUSH/.test(name))) process.exit(3);";
    let ended = oracles(&[], main, &json!({}));
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    // The one that holds the pipe open outlives its program, and is ended with it.
    let main = "import { spawn } from 'node:child_process';
        spawn('/bin/sleep', ['600'], { stdio: 'inherit' }).unref(); process.exit(0);";
    let ended = oracles(&["Process:shell"], main, &json!({}));
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

#[test]
fn g15_everything_runs_and_is_reported_after_a_failure() {
    let home = Home::new();
    let cases = json!([
        { "name": "fails", "entry": "main.mjs", "args": ["1"] },
        { "name": "passes", "entry": "main.mjs", "args": ["0"] },
    ]);
    home.module("a", &[], "process.exit(Number(process.argv[2]))", &cases);
    let report = home.oracles(&["--variations", "none"]).report();
    assert_eq!(report["oracle"]["cases"], 2, "{report}");
    assert_eq!(report["passed"], json!(["passes"]));
    assert!(report["findings"][0].as_str().unwrap().contains("case fails"), "{report}");
}

#[test]
fn g16_a_skipped_test_is_no_failed_one_and_names_that_look_alike_share_nothing() {
    let main = "if (process.argv.length > 2) process.exit(0);
        console.log('TEST_SKIPPED'); process.exit(64);";
    let home = home(&[], main, &json!({ "args": ["oracle"] }));
    let report = home.ship("a").report();
    assert_eq!(report["verdict"], "PASS", "{report}");
    assert_eq!((&report["tests"]["skipped"], &report["tests"]["passed"]), (&json!(1), &json!(0)));

    let home = Home::new();
    for name in ["x-y", "x.y", "x_y"] {
        let main = format!(
            "import fs from 'node:fs'; fs.writeFileSync('{name}', ''); \
            if (fs.readdirSync('.').filter((n) => n.startsWith('x')).length > 1) process.exit(1)"
        );
        home.module(name, &["FS:write"], &main, &json!([{ "name": "same", "entry": "main.mjs" }]));
    }
    let ended = home.oracles(&["--variations", "none"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

#[test]
fn g17_imports_inside_are_fine_and_every_form_that_leads_out_is_found() {
    let home = home(&[], "import './lib/a.mjs'; console.log(1)", &json!({}));
    home.put("modules/a/lib/a.mjs", "export { b } from '../b.mjs';\n");
    home.put("modules/a/b.mjs", "export const b = 1; // from '../elsewhere.mjs'\n");
    let ended = home.ship("a");
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    for line in ["export { x } from '../../x.mjs';", "await import('../../x.mjs');"] {
        home.put("modules/a/lib/more.mjs", line);
        assert_code(&home.ship("a"), "E_LINT");
    }
}

#[test]
fn g18_oracles_leave_the_module_as_it_was() {
    let main = "import fs from 'node:fs'; fs.writeFileSync('oracle-output.txt', 'x')";
    let case = json!({ "capture": { "files": ["oracle-output.txt"] } });
    let home = home(&["FS:write"], main, &case);
    let before = home.state();
    assert_eq!(home.oracles(&[]).code, Some(0));
    assert_eq!(home.state(), before);
}
