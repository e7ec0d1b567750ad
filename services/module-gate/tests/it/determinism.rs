//! What an oracle finds, what it says about it, and whom it does not accuse.

use serde_json::{Value, json};

use crate::command::Home;

/// The result of the only case of a module with this program.
fn case(main: &str, more: &Value, options: &[&str]) -> (Value, Value) {
    let home = Home::new();
    let mut case = json!({ "name": "main", "entry": "main.mjs" });
    for (name, value) in more.as_object().into_iter().flatten() {
        case[name] = value.clone();
    }
    home.module("a", &["FS:write", "Process:shell"], main, &json!([case]));
    for name in ["delta", "alpha", "charlie", "bravo"] {
        home.put(&format!("modules/a/data/{name}.txt"), name);
    }
    let report = home.oracles(options).report();
    (report["cases"][0].clone(), report)
}

/// Programs whose output is not the same in every run, each with the class of its cause.
const CAUSES: &[(&str, &str)] = &[
    ("clock", "console.log(Date.now())"),
    ("clock", "console.log(new Date().toISOString())"),
    ("clock", "console.log(new Date().toISOString().slice(0, 10))"),
    ("clock", "console.log(new Date().getFullYear() > 2027 ? 'later' : 'now')"),
    ("clock", "console.log(new Intl.DateTimeFormat('en', { timeZone: 'UTC' }).format())"),
    ("clock", "console.log('took ' + performance.now() + 'ms')"),
    ("clock", "console.log(process.hrtime.bigint().toString())"),
    ("random", "console.log(Math.random())"),
    ("random", "import { randomUUID } from 'node:crypto'; console.log(randomUUID())"),
    (
        "random",
        "import { randomBytes } from 'node:crypto'; console.error(randomBytes(16).toString('hex'))",
    ),
    ("random", "console.log(crypto.getRandomValues(new Uint32Array(4)).join())"),
    ("random", "import fs from 'node:fs'; fs.mkdtempSync('x-')"),
    (
        "random",
        "import fs from 'node:fs'; fs.writeFileSync(process.env.LUMIO_OUTPUT + '/f', \
         crypto.randomUUID())",
    ),
    ("pid", "console.log('pid ' + process.pid)"),
    ("pid", "console.log('above ' + process.pid + ' of ' + process.ppid)"),
    ("path", "console.log(process.cwd())"),
    ("path", "console.log(import.meta.url)"),
    ("path", "console.log(process.env.HOME)"),
    ("path", "import os from 'node:os'; console.log(os.tmpdir())"),
    ("path", "console.log(process.env.LUMIO_OUTPUT.length)"),
    (
        "order",
        "import fs from 'node:fs'; const d = fs.opendirSync('data'); for (let e; (e = \
         d.readSync());) console.log(e.name)",
    ),
    (
        "order",
        "import { execSync } from 'node:child_process'; console.log(execSync('ls -U \
         data').toString())",
    ),
    ("locale", "console.log((1234567.891).toLocaleString())"),
    ("locale", "console.log(Intl.DateTimeFormat().resolvedOptions().locale)"),
    ("timezone", "console.log(new Date(0).getHours())"),
    ("timezone", "console.log(new Date(2020, 0, 1).toISOString())"),
    (
        "environment",
        "console.log(Object.keys(process.env).filter((n) => !/^(LC_|LANG|PERL)/.test(n)).join())",
    ),
    (
        "file_times",
        "import fs from 'node:fs'; console.log(fs.statSync('main.mjs').mtime.getFullYear())",
    ),
    ("processors", "import os from 'node:os'; console.log(os.availableParallelism())"),
    ("user", "console.log(process.getuid())"),
    ("host", "import os from 'node:os'; console.log(os.hostname())"),
    (
        "permissions",
        "import fs from 'node:fs'; fs.writeFileSync('f', ''); \
         console.log(fs.statSync('f').mode & 0o777)",
    ),
    ("permissions", "console.log(process.umask())"),
];

/// Programs that do the same every time.
const ORDINARY: &[&str] = &[
    "console.log('plain')",
    "console.error('a word on standard error')",
    "import fs from 'node:fs'; console.log(fs.readdirSync('data').join())",
    "import fs from 'node:fs'; console.log(fs.readFileSync('data/alpha.txt', 'utf8'))",
    "import fs from 'node:fs'; fs.writeFileSync('out.tmp', 'x'); fs.renameSync('out.tmp', 'out')",
    "import fs from 'node:fs'; const t = 'out.' + process.pid; fs.writeFileSync(t, 'x'); \
     fs.renameSync(t, 'out')",
    "import fs from 'node:fs'; const d = fs.mkdtempSync(process.env.TMPDIR + '/'); \
     fs.writeFileSync(d + '/f', 'x'); fs.rmSync(d, { recursive: true })",
    "import fs from 'node:fs'; fs.mkdirSync('data', { recursive: true }); console.log('ok')",
    "console.log(new Date(0).toISOString(), new Date(86400000).getUTCDate())",
    "console.log(new Date('2020-01-01T00:00:00Z').getTime(), new Date() instanceof Date)",
    "const t = Date.now(); console.log(typeof t, Date.now() >= t)",
    "import { createHash } from 'node:crypto'; \
     console.log(createHash('sha256').update('x').digest('hex'))",
    "console.log([3, 1, 2].sort().join(), 'b' < 'a')",
    "console.log((1.005).toFixed(2), (1e21).toString(), (0.1 + 0.2).toPrecision(5))",
    "console.log((1234.5).toLocaleString('en-US'), 'I'.toLocaleLowerCase('en'))",
    "console.log(new Intl.DateTimeFormat('en', { timeZone: 'UTC' }).format(new Date(0)))",
    "await new Promise((done) => setTimeout(done, 5)); console.log('waited')",
    "const all = await Promise.all([1, 2, 3].map(async (n) => n * 2)); console.log(all.join())",
    "import fs from 'node:fs'; await Promise.all([1, 2, 3, 4].map((n) => fs.promises.writeFile('f' \
     + n, 'x')))",
    "import { execFileSync } from 'node:child_process'; console.log(execFileSync('/bin/echo', \
     ['x']).toString())",
    "import { execSync } from 'node:child_process'; console.log(execSync('ls data').toString())",
    "import { Worker } from 'node:worker_threads'; new \
     Worker('require(\\'node:worker_threads\\').parentPort.postMessage(1)', { eval: true \
     }).on('message', (m) => console.log(m))",
    "let s = Number(process.env.LUMIO_SEED) || 1; console.log((s = (s * 48271) % 2147483647))",
    "import fs from 'node:fs'; fs.writeFileSync(process.env.LUMIO_OUTPUT + '/a.json', '{}')",
    "import fs from 'node:fs'; console.log(JSON.parse(fs.readFileSync(process.env.LUMIO_INPUT, \
     'utf8')))",
    "import path from 'node:path'; console.log(path.relative(process.cwd(), path.resolve('data')))",
    "import zlib from 'node:zlib'; console.log(zlib.gzipSync('x').length)",
    "process.stdout.write('\\u20ac'.repeat(20000))",
    "console.log(structuredClone(new Map([[1, new Date(0)]])))",
    "import fs from 'node:fs'; fs.chmodSync('data/alpha.txt', 0o600); \
     console.log(fs.statSync('data/alpha.txt').mode & 0o777)",
];

/// Every how-manyth program is run: all with `LUMIO_LONG=1`.
fn step() -> usize {
    if std::env::var_os("LUMIO_LONG").is_some() { 1 } else { 4 }
}

#[test]
fn every_cause_is_found_with_its_class() {
    let root = rustix::process::geteuid().is_root();
    let mut wrong = Vec::new();
    for (class, main) in CAUSES.iter().step_by(step()) {
        if ["user", "host"].contains(class) && !root {
            continue;
        }
        let (case, report) = case(main, &json!({}), &[]);
        let found = &case["divergence"]["class"];
        if report["code"] != "E_ORACLE_NONDETERMINISM" || found != class {
            wrong.push(format!("{main}: expected {class}, found {found}: {}", report["findings"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn ordinary_modules_are_never_accused() {
    let mut wrong = Vec::new();
    for main in ORDINARY.iter().step_by(step()) {
        let (_, report) = case(main, &json!({}), &[]);
        if report["verdict"] != "PASS" {
            wrong.push(format!("{main}: {}", report["findings"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What differs is where reports write it in another form than it has on the disk: with a
/// backslash, a line end, a byte that is no UTF-8, behind a path, or as a permission.
#[test]
fn what_differs_is_found_however_it_is_written() {
    let cases = [
        "import fs from 'node:fs'; fs.writeFileSync('a\\\\' + crypto.randomUUID(), '')",
        "import fs from 'node:fs'; fs.mkdirSync('a\\n' + crypto.randomUUID())",
        "import fs from 'node:fs'; const at = 128 + Math.floor(Math.random() * 64); \
         fs.writeFileSync(Buffer.from([97, at]), '')",
        "import fs from 'node:fs'; import { execFileSync } from 'node:child_process'; \
         fs.writeFileSync('own.sh', '#!/bin/sh\\n', { mode: 0o755 }); \
         execFileSync(process.cwd() + '/own.sh', [crypto.randomUUID()])",
        "import fs from 'node:fs'; const f = process.env.LUMIO_OUTPUT + '/f'; \
         fs.writeFileSync(f, ''); fs.chmodSync(f, Math.random() < 0.5 ? 0o755 : 0o644)",
    ];
    let mut wrong = Vec::new();
    for main in cases {
        let (_, report) = case(main, &json!({ "repeat": 12 }), &[]);
        if report["code"] != "E_ORACLE_NONDETERMINISM" {
            wrong.push(format!("{main}: {} {}", report["code"], report["findings"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Names that leave no trace may be arguments, and Node hands its own options on to what it forks.
#[test]
fn temporary_names_and_the_gates_own_option_in_arguments_are_no_difference() {
    let cases = [
        "import { fork } from 'node:child_process'; if (!process.argv[2]) \
         fork(import.meta.filename, ['child'])",
        "import fs from 'node:fs'; import { execFileSync } from 'node:child_process'; const d = \
         fs.mkdtempSync(process.env.TMPDIR + '/'); fs.writeFileSync(d + '/f', 'x'); \
         execFileSync('/bin/cp', [d + '/f', d + '/g']); fs.rmSync(d, { recursive: true })",
        "import { execSync } from 'node:child_process'; \
         execSync('t=$(mktemp); echo hi >$t; cat $t; rm $t')",
    ];
    let mut wrong = Vec::new();
    for main in cases {
        let (_, report) = case(main, &json!({}), &[]);
        if report["verdict"] != "PASS" {
            wrong.push(format!("{main}: {}", report["findings"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_divergence_says_where_both_sides_part_and_what_was_asked_last() {
    let main = "console.log('same'); console.log('id ' + crypto.randomUUID());";
    let (case, report) = case(main, &json!({}), &[]);
    let divergence = &case["divergence"];
    assert_eq!(divergence["field"], "stdout", "{report}");
    assert_eq!((&divergence["attempt"], &divergence["cause"]), (&json!(2), &json!("repeat")));
    assert_eq!(divergence["first"]["line"], 2);
    assert!(divergence["first"]["first"].as_str().unwrap().starts_with("id "));
    let asked = divergence["last_input"].as_str().unwrap();
    assert!(asked.starts_with("crypto.randomUUID() at main.mjs:1:"), "{asked}");
    assert!(divergence["advice"].as_str().unwrap().contains("LUMIO_SEED"));
}

#[test]
fn what_a_spec_pins_is_never_varied_and_none_is_the_documents_literal_behaviour() {
    let main = "console.log(new Date(0).getHours())";
    let (free, _) = case(main, &json!({}), &[]);
    assert_eq!(free["divergence"]["variations"], json!(["timezone"]), "{free}");
    for pinned in [json!({ "env": { "TZ": "Europe/Rome" } }), json!({ "pins": ["timezone"] })] {
        let (result, report) = case(main, &pinned, &[]);
        assert_eq!(report["verdict"], "PASS", "{report}");
        assert!(!result["varied"].as_array().unwrap().contains(&json!("timezone")));
    }
    let (none, report) = case(main, &json!({}), &["--variations", "none"]);
    assert_eq!((&report["verdict"], &none["varied"]), (&json!("PASS"), &json!([])), "{report}");
    let (_, some) = case(main, &json!({}), &["--variations", "locale,path"]);
    assert_eq!(some["verdict"], "PASS", "{some}");
}

#[test]
fn a_pass_states_attempts_confidence_and_time() {
    let (case, report) = case("console.log(1)", &json!({ "repeat": 9 }), &["--variations", "none"]);
    assert_eq!(report["verdict"], "PASS", "{report}");
    assert_eq!(case["attempts"], 9);
    // 1 - 0.05^(1/9)
    assert!((case["at_most"].as_f64().unwrap() - 0.2831).abs() < 0.001, "{case}");
    assert!(case["duration_ms"].as_u64().unwrap() > 0);
}

#[test]
fn repeating_ends_at_its_time_limit_and_then_nothing_is_known() {
    let options = ["--case-limit-ms", "300", "--variations", "none"];
    let (_, report) = case("console.log(1)", &json!({ "repeat": 10000 }), &options);
    assert_eq!(report["verdict"], "INCONCLUSIVE", "{report}");
    let finding = report["findings"][0].as_str().unwrap();
    assert!(finding.contains("of 10000 attempts were equal"), "{finding}");
}
