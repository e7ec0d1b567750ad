//! A module is run in a copy, with what surrounds it at home placed round the copy, and
//! nothing of all that changes (M5).

use std::fs;

use serde_json::json;

use crate::command::{Home, link};

fn home() -> Home {
    let home = Home::new();
    home.put("modules/lib/x.mjs", "export const x = 'from beside';\n");
    home.put("modules/lib/data.txt", "data\n");
    home.put(
        "node_modules/dep/package.json",
        r#"{"name":"dep","type":"module","exports":"./dep.js"}"#,
    );
    home.put("node_modules/dep/dep.js", "export const dep = 'from above';\n");
    home
}

#[test]
fn what_stands_round_a_module_is_found_as_at_home() {
    let home = home();
    let main = "
        import { x } from '../lib/x.mjs';
        import { dep } from 'dep';
        import { readFileSync, existsSync } from 'node:fs';
        const text = (path) => readFileSync(path, 'utf8').trim();
        console.log(x, dep, text('../lib/data.txt'), text('data'), text('up/lib/data.txt'), \
        text('../self/own.txt'));
        if (existsSync('gone')) process.exit(3);";
    home.module("a", &[], main, &json!([{ "entry": "main.mjs" }]));
    home.put("modules/a/own.txt", "own");
    link("../lib/data.txt", home.path("modules/a/data"));
    link("..", home.path("modules/a/up"));
    link("../missing", home.path("modules/a/gone"));
    link("a", home.path("modules/self"));
    let before = home.state();

    let ended = home.oracles(&[]);

    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let reported = ended.report();
    assert_eq!(reported["oracle"]["attempts"], 2, "{}", ended.text);
    let tier = if rustix::process::geteuid().is_root() { "separated" } else { "unprivileged" };
    assert!(
        [tier, "traced"].contains(&reported["guard"]["tier"].as_str().unwrap()),
        "{}",
        ended.text
    );
    assert!(reported["module_digest"].is_null(), "what has links cannot be stored");
    assert_eq!(home.state(), before);
}

#[test]
fn nothing_round_a_module_can_be_changed() {
    let home = home();
    let absolute = home.path("modules/lib/data.txt");
    let deeds = [
        "writeFileSync('../lib/data.txt', 'x')",
        "writeFileSync('../lib/new.txt', 'x')",
        "writeFileSync('../new.txt', 'x')",
        "renameSync('../lib/data.txt', '../lib/moved.txt')",
        "renameSync('../lib', '../moved')",
        "renameSync('main.mjs', '../lib/main.mjs')",
        "rmSync('../lib', { recursive: true })",
        "unlinkSync('../lib')",
        "chmodSync('../lib/data.txt', 0o600)",
        "utimesSync('../lib/data.txt', 0, 0)",
        "linkSync('../lib/data.txt', 'mine')",
        "writeFileSync('data', 'x')",
        "writeFileSync('up/lib/data.txt', 'x')",
        "writeFileSync('gone', 'x')",
        "writeFileSync('far', 'x')",
        "writeFileSync('../../node_modules/dep/dep.js', 'x')",
    ];
    let cases: Vec<_> =
        (0..deeds.len()).map(|n| json!({ "entry": "main.mjs", "args": [n] })).collect();
    let deeds = deeds.map(|deed| format!("() => {deed}")).join(",\n");
    let main = format!(
        "import {{ writeFileSync, renameSync, rmSync, unlinkSync, chmodSync, utimesSync, linkSync \
         }} from 'node:fs';
         const deeds = [{deeds}];
         try {{ deeds[process.argv[2]](); }} catch {{}}"
    );
    home.module("a", &["FS:write"], &main, &json!(cases));
    link("../lib/data.txt", home.path("modules/a/data"));
    link("..", home.path("modules/a/up"));
    link("../missing", home.path("modules/a/gone"));
    link(&absolute, home.path("modules/a/far"));
    let before = home.state();

    let ended = home.oracles(&[]);

    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let reported = ended.report();
    let findings: Vec<_> = reported["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding.as_str().unwrap())
        .collect();
    assert_eq!(findings.len(), cases.len(), "{findings:#?}");
    assert!(
        findings.iter().all(|finding| finding.starts_with("E_SIDEEFFECTS_FORBIDDEN")),
        "{findings:#?}"
    );
    assert_eq!(home.state(), before);
    let effect = &reported["effects"][0];
    assert_eq!(
        (&effect["start"], &effect["charge"]),
        (&json!("case case_1, attempt 1"), &json!("outside"))
    );
    assert!(effect["executable"].as_str().unwrap().ends_with("node"), "{effect}");
}

#[test]
fn a_declared_write_lands_in_the_copy_only_and_every_attempt_starts_afresh() {
    let home = home();
    let main = "
        import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs';
        appendFileSync('log', 'line\\n');
        writeFileSync('pair', 'changed\\n');
        chmodSync('main.mjs', 0o700);
        console.log(readFileSync('log', 'utf8'), readFileSync('twin', 'utf8'));";
    home.module("a", &["FS:write"], main, &json!([{ "entry": "main.mjs", "repeat": 3 }]));
    home.put("modules/a/pair", "pair\n");
    fs::hard_link(home.path("modules/a/pair"), home.path("modules/a/twin")).unwrap();
    let before = home.state();
    let ended = home.oracles(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_eq!(home.state(), before);
}

#[test]
fn a_file_that_also_stands_outside_is_outside() {
    let home = home();
    let main = "
        import { readFileSync, writeFileSync } from 'node:fs';
        const write = process.argv[2] === 'write';
        if (write) try { writeFileSync('shared', 'x'); } catch {}
        console.log(readFileSync('shared', 'utf8'));";
    let cases = json!([{ "name": "reads", "entry": "main.mjs" },
        { "name": "writes", "entry": "main.mjs", "args": ["write"] }]);
    home.module("a", &["FS:write"], main, &cases);
    fs::hard_link(home.path("modules/lib/data.txt"), home.path("modules/a/shared")).unwrap();
    let before = home.state();
    let ended = home.oracles(&[]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let reported = ended.report();
    assert_eq!(reported["passed"], json!(["reads"]), "{}", ended.text);
    assert_eq!(reported["code"], "E_SIDEEFFECTS_FORBIDDEN", "{}", ended.text);
    assert_eq!(home.state(), before);
}

#[test]
fn a_module_that_is_judged_for_shipping_stands_alone_as_one_from_the_store_does() {
    let home = home();
    let main = "
        import { existsSync } from 'node:fs';
        if (existsSync('../lib')) process.exit(3);";
    home.module("a", &[], main, &json!([{ "entry": "main.mjs" }]));
    let alone = home.ship("a");
    assert_eq!(alone.code, Some(0), "{}", alone.text);
    home.put("modules/a/main.mjs", "import '../lib/x.mjs';");
    let needs = home.ship("a");
    assert_eq!(needs.report()["code"], "E_LINT", "{}", needs.text);
    assert!(needs.text.contains("Cannot find module"), "{}", needs.text);
    link("../lib/x.mjs", home.path("modules/a/x.mjs"));
    let linked = home.ship("a");
    assert_eq!(linked.code, Some(2), "{}", linked.text);
    assert!(linked.text.contains("only regular files"), "{}", linked.text);
}

#[test]
fn strict_reads_close_the_surroundings() {
    let home = home();
    let main = "import '../lib/x.mjs';";
    home.module("a", &[], main, &json!([{ "entry": "main.mjs" }]));
    let ended = home.oracles(&["--strict-reads"]);
    assert_eq!(ended.report()["code"], "E_SIDEEFFECTS_FORBIDDEN", "{}", ended.text);
}

#[test]
fn what_is_too_large_or_no_file_is_refused_before_anything_runs() {
    let home = home();
    home.module("a", &[], "", &json!([{ "entry": "main.mjs" }]));
    let huge = fs::File::create(home.path("modules/a/huge")).unwrap();
    huge.set_len(1 << 30).unwrap();
    let ended = home.oracles(&[]);
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("too large"), "{}", ended.text);

    fs::remove_file(home.path("modules/a/huge")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(home.path("modules/a/socket")).unwrap();
    let ended = home.oracles(&[]);
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("socket"), "{}", ended.text);
}

#[test]
fn scratch_inside_a_module_is_refused() {
    let home = home();
    home.module("a", &[], "", &json!([{ "entry": "main.mjs" }]));
    let scratch = home.path("modules/a/scratch");
    let ended = home.oracles(&["--scratch", scratch.to_str().unwrap()]);
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("scratch folder lies in the module"), "{}", ended.text);
}
