//! Class A: undeclared writes inside the root, by every door of Node.

use guard::Capability::{FsWrite, ProcessShell};

use crate::setting::{Setting, assert_pass, assert_undeclared, no_node};

/// Each must be charged without the declaration, and pass with it.
const WRITES: &[(&str, &str)] = &[
    ("esm named import", "import {writeFileSync} from 'node:fs'; writeFileSync('a', '1')"),
    ("esm namespace", "import * as fs from 'node:fs'; fs.writeFileSync('a', '1')"),
    ("promises", "import {writeFile} from 'node:fs/promises'; await writeFile('a', '1')"),
    (
        "descriptor",
        "import {openSync, writeSync} from 'node:fs'; writeSync(openSync('a', 'w'), '1')",
    ),
    (
        "file handle",
        "import fsp from 'node:fs/promises'; const h = await fsp.open('a', 'w'); await \
         h.writeFile('1'); await h.close()",
    ),
    ("stream", "import fs from 'node:fs'; new fs.WriteStream('a').end('1')"),
    ("append", "import fs from 'node:fs'; fs.appendFileSync('x', '1')"),
    ("copy", "import fs from 'node:fs'; fs.copyFileSync('x', 'y')"),
    ("symlink", "import fs from 'node:fs'; fs.symlinkSync('/etc/passwd', 'ln')"),
    ("hard link", "import fs from 'node:fs'; fs.linkSync('x', 'y')"),
    ("remove folder", "import fs from 'node:fs'; fs.rmdirSync('empty')"),
    ("make folder", "import fs from 'node:fs'; fs.mkdirSync('new/er', {recursive: true})"),
    ("unlink", "import fs from 'node:fs'; fs.unlinkSync('x')"),
    ("rename", "import fs from 'node:fs'; fs.renameSync('x', 'z')"),
    ("chmod", "import fs from 'node:fs'; fs.chmodSync('x', 0o600)"),
    (
        "handle chmod",
        "import fsp from 'node:fs/promises'; const h = await fsp.open('x', 'r'); await \
         h.chmod(0o600); await h.close()",
    ),
    ("utimes", "import fs from 'node:fs'; fs.utimesSync('x', 1, 2)"),
    ("truncate", "import fs from 'node:fs'; fs.truncateSync('x')"),
    ("ftruncate", "import fs from 'node:fs'; fs.ftruncateSync(fs.openSync('x', 'r+'))"),
    (
        "worker",
        "import {Worker} from 'node:worker_threads'; new \
         Worker(`require('fs').writeFileSync('a','1')`, {eval: true})",
    ),
    ("report", "process.report.excludeNetwork = true; process.report.writeReport('rep.json')"),
    (
        "socket file",
        "import net from 'node:net'; net.createServer().listen('./sock', function () { \
         this.close() })",
    ),
    ("ephemeral", "import fs from 'node:fs'; fs.writeFileSync('t', '1'); fs.unlinkSync('t')"),
    (
        "tmpdir",
        "import fs from 'node:fs'; import os from 'node:os'; fs.mkdtempSync(os.tmpdir() + '/t')",
    ),
];

#[test]
fn every_door_of_node_is_charged_without_the_declaration() {
    if no_node() {
        return;
    }
    for (name, script) in WRITES {
        let setting = Setting::new();
        std::fs::create_dir(setting.root.join("empty")).unwrap();
        eprintln!("{name}");
        assert_undeclared(&setting.mjs(script), FsWrite);
    }
}

#[test]
fn every_door_of_node_is_open_with_the_declaration() {
    if no_node() {
        return;
    }
    for (name, script) in WRITES {
        let setting = Setting::new().declare(&[FsWrite]).deny_reads();
        std::fs::create_dir(setting.root.join("empty")).unwrap();
        eprintln!("{name}");
        assert_pass(&setting.mjs(script));
    }
}

#[test]
fn a_function_kept_from_a_preload_is_charged() {
    if no_node() {
        return;
    }
    let setting = Setting::new();
    setting.file("pre.cjs", "globalThis.kept = require('fs').writeFileSync");
    setting.file("main.cjs", "kept('a', '1')");
    let command = setting
        .command(crate::setting::node())
        .arg("main.cjs")
        .env("NODE_OPTIONS", "--require ./pre.cjs");
    assert_undeclared(&setting.run(&command), FsWrite);
}

#[test]
fn every_way_to_start_a_process_is_charged_by_the_program_s_name() {
    if no_node() {
        return;
    }
    let ways = [
        "import {spawnSync} from 'node:child_process'; spawnSync('sh', ['-c', 'true'])",
        "import {execSync} from 'node:child_process'; execSync('true')",
        "import {execFile} from 'node:child_process'; execFile('/bin/sh', ['-c', 'true'], () => \
         {})",
        "import {ChildProcess} from 'node:child_process'; new ChildProcess().spawn({file: \
         '/bin/sh', args: ['sh', '-c', 'true'], stdio: 'ignore'})",
    ];
    for way in ways {
        let report = Setting::new().deny_reads().mjs(way);
        assert!(!report.reason.is_empty());
        if report.code == Some(guard::Code::Forbidden) {
            // Reads being denied, the shell itself lies outside what may be read.
            continue;
        }
        assert_undeclared(&report, ProcessShell);
    }
    for way in ways {
        let report = Setting::new().mjs(way);
        assert_undeclared(&report, ProcessShell);
        let started = report
            .effects
            .iter()
            .any(|effect| effect.operation.starts_with("exec") && effect.target.ends_with("sh"));
        assert!(started, "{}", crate::setting::show(&report));
    }
    for way in ways {
        assert_pass(&Setting::new().deny_reads().declare(&[ProcessShell]).mjs(way));
    }
}
