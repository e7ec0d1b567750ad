//! What a spec names must lie in the module, and what it captures must be there (M5, M6).

use std::fs;

use serde_json::{Value, json};
use wire::statement::{Code, Verdict};

use crate::command::{Home, link};
use crate::fixture::{Fixture, shipped};

const PRINTS: &str = "console.log('here');";

#[test]
fn a_spec_that_leads_out_by_a_link_is_refused_before_anything_runs() {
    for (what, case) in [
        ("entry", json!({ "entry": "run.mjs" })),
        ("cwd", json!({ "entry": "main.mjs", "cwd": "away" })),
        ("reset", json!({ "entry": "main.mjs", "reset": ["away/tool.mjs"] })),
        (
            "capture/files",
            json!({ "entry": "main.mjs", "capture": { "files": ["away/tool.mjs"] } }),
        ),
    ] {
        let home = Home::new();
        home.put("tools/tool.mjs", PRINTS);
        // The first case would show that something ran.
        home.module("a", &[], PRINTS, &json!([{ "entry": "main.mjs" }, case]));
        link("../../tools/tool.mjs", home.path("modules/a/run.mjs"));
        link("../../tools", home.path("modules/a/away"));
        let before = home.state();
        let ended = home.oracles(&[]);
        assert_eq!(ended.code, Some(3), "{what}: {}", ended.text);
        assert!(
            ended.text.contains("E_ORACLE_SPEC") && ended.text.contains(what),
            "{what}: {}",
            ended.text
        );
        assert!(!ended.text.contains("oracle case"), "{what}: {}", ended.text);
        assert_eq!(home.state(), before, "{what}");
    }
}

#[test]
fn links_that_stay_in_the_module_are_followed() {
    let home = Home::new();
    let case = json!({ "entry": "run.mjs", "cwd": "here", "reset": ["left"],
        "capture": { "files": ["../real/data"] } });
    home.module("a", &[], PRINTS, &json!([case]));
    home.put("modules/a/real/data", "data");
    home.put("outside", "outside");
    link("main.mjs", home.path("modules/a/run.mjs"));
    link("real", home.path("modules/a/here"));
    // A link that is to be removed is removed, wherever it leads.
    link("../../../outside", home.path("modules/a/real/left"));
    let before = home.state();
    let ended = home.oracles(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_eq!(home.state(), before);
}

/// What comes out of a case that runs `main` and captures `out`: its code and its reason.
fn captured(declares: &[&str], main: &str) -> (Value, String) {
    let home = Home::new();
    let case =
        json!({ "entry": "main.mjs", "capture": { "files": ["out"], "side_effects": false } });
    home.module("a", declares, main, &json!([case]));
    let ended = home.oracles(&[]);
    (ended.report()["code"].clone(), ended.text)
}

#[test]
fn a_captured_file_that_was_never_made_is_no_pass() {
    let (code, text) = captured(&[], PRINTS);
    assert_eq!(code, "E_ORACLE_EXEC", "{text}");
    assert!(text.contains("is not there"), "{text}");
}

#[test]
fn a_captured_folder_is_compared_file_by_file() {
    let fills = "import { randomBytes } from 'node:crypto'; \
        import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'; \
        mkdirSync('out/sub', { recursive: true });";
    let with = |more: &str| captured(&["FS:write"], &format!("{fills} {more}"));
    for same in ["", "writeFileSync('out/sub/a', 'same'); writeFileSync('out/b', '');"] {
        let (code, text) = with(same);
        assert!(code.is_null(), "{text}");
    }
    for different in [
        "writeFileSync('out/sub/a', String(process.hrtime.bigint()));",
        "writeFileSync('out/' + process.hrtime.bigint(), '');",
        "mkdirSync('out/' + process.hrtime.bigint());",
        // 32 bits by chance, so that no two attempts are alike.
        "for (const [at, bits] of randomBytes(4).entries()) \
           { writeFileSync(`out/${at}`, ''); chmodSync(`out/${at}`, 0o400 | (bits & 0o377)); }",
    ] {
        let (code, text) = with(different);
        assert_eq!(code, "E_ORACLE_NONDETERMINISM", "{text}");
        assert!(text.contains("file:out"), "{text}");
    }
    let (code, text) = with("symlinkSync('/etc/hostname', 'out/link');");
    assert_eq!(code, "E_ORACLE_EXEC", "{text}");
}

#[test]
fn modes_and_link_targets_of_captured_files_are_compared() {
    let differs = |files: &[&str], main: &str, said: &str| {
        let home = Home::new();
        let capture = json!({ "files": files, "side_effects": false });
        home.module(
            "a",
            &["FS:write"],
            main,
            &json!([{ "entry": "main.mjs", "capture": capture }]),
        );
        let ended = home.oracles(&["--variations", "none"]);
        assert_eq!(ended.report()["code"], "E_ORACLE_NONDETERMINISM", "{}", ended.text);
        assert!(ended.text.contains(said), "{}", ended.text);
    };
    // 64 bits by chance in all, so that no two attempts are alike; always readable.
    differs(
        &["0", "1", "2", "3", "4", "5", "6", "7"],
        "import { randomBytes } from 'node:crypto';
        import { chmodSync, writeFileSync } from 'node:fs';
        for (const [at, bits] of randomBytes(8).entries()) {
          writeFileSync(String(at), 'same');
          chmodSync(String(at), 0o400 | bits);
        }",
        "its mode is",
    );
    differs(
        &["link"],
        "import { randomUUID } from 'node:crypto';
        import { symlinkSync, writeFileSync } from 'node:fs';
        const name = randomUUID();
        writeFileSync(name, 'same');
        symlinkSync(name, 'link');",
        "a link to",
    );
}

#[test]
fn empty_folders_that_are_left_as_outputs_are_compared() {
    let leaves = |main: &str| {
        let home = Home::new();
        let main = format!("import {{ mkdirSync }} from 'node:fs'; {main}");
        let case = json!({ "entry": "main.mjs", "capture": { "side_effects": false } });
        home.module("a", &[], &main, &json!([case]));
        home.oracles(&[])
    };
    let out = "process.env.LUMIO_OUTPUT";
    let same = leaves(&format!("mkdirSync({out} + '/empty/below', {{ recursive: true }});"));
    assert!(same.report()["code"].is_null(), "{}", same.text);
    let random = leaves(&format!("mkdirSync({out} + '/' + process.hrtime.bigint());"));
    assert_eq!(random.report()["code"], "E_ORACLE_NONDETERMINISM", "{}", random.text);
    assert!(random.text.contains("output_folders"), "{}", random.text);
}

#[test]
fn what_cannot_be_read_like_a_file_is_no_pass() {
    for (main, reason) in [
        (
            "import { symlinkSync } from 'node:fs'; symlinkSync('/etc/hostname', 'out');",
            "leads out",
        ),
        ("import { symlinkSync } from 'node:fs'; symlinkSync('out', 'out');", "leads nowhere"),
        (
            "import { execFileSync } from 'node:child_process'; execFileSync('mkfifo', ['out']);",
            "neither file nor folder",
        ),
        (
            "import { mkdirSync } from 'node:fs'; mkdirSync('out'); process.chdir('out');
             for (let n = 0; n < 30; n++) { mkdirSync('n'.repeat(200)); \
             process.chdir('n'.repeat(200)); }",
            "cannot be captured",
        ),
        (
            "import { openSync, ftruncateSync } from 'node:fs'; for (const name of ['out']) \
             ftruncateSync(openSync(name, 'w'), 64 * 2 ** 20 + 1);",
            "",
        ),
    ] {
        let (code, text) = captured(&["FS:write", "Process:shell"], main);
        assert_eq!(code, "E_ORACLE_EXEC", "{text}");
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_captured_file_that_may_not_be_read_is_no_pass() {
    let (code, text) = captured(
        &["FS:write"],
        "import { chmodSync, writeFileSync } from 'node:fs'; writeFileSync('out', ''); \
         chmodSync('out', 0);",
    );
    // Root may read everything.
    if !rustix::process::geteuid().is_root() {
        assert_eq!(code, "E_ORACLE_EXEC", "{text}");
        assert!(text.contains("may not be read"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shipping_holds_captures_to_the_same() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let home = Home::new();
    let main = "import { mkdirSync, writeFileSync } from 'node:fs'; mkdirSync('made'); \
        writeFileSync('made/file', 'x');";
    let ship = async |file: &str| {
        let case = json!({ "entry": "main.mjs", "capture": { "files": [file] } });
        home.module("a", &["FS:write"], main, &json!([case]));
        shipped(&gate.ship(fixture.publish(&home.path("modules/a"))).await.unwrap())
    };
    let missing = ship("never").await;
    assert_eq!((missing.verdict, missing.code), (Verdict::Fail, Some(Code::OracleExec)));
    let folder = ship("made").await;
    assert_eq!((folder.verdict, folder.code), (Verdict::Pass, None), "{:?}", folder.reason);
    let outside = ship("../a").await;
    assert_eq!((outside.verdict, outside.code), (Verdict::Fail, Some(Code::OracleSpec)));
    assert!(fs::exists(home.path("modules/a")).unwrap());
    gate.stop().await;
}
