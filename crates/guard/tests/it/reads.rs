//! Reading where other people's data is near (M4).

use guard::Capability::{FsWrite, ProcessShell};
use guard::{Category, Charge, Reads};
use std::fs;
use std::path::Path;

use crate::again::install;
use crate::setting::{Setting, assert_forbidden, assert_pass, no_node, show};

#[test]
fn a_module_that_reads_the_service_s_environment_file_is_refused() {
    if no_node() {
        return;
    }
    let setting = Setting::new().deny_reads();
    let secret = setting.base.join(".env.runner");
    fs::write(&secret, "RUNNER_SECRET=S0\n").unwrap();
    let script =
        format!("try {{ console.log(require('fs').readFileSync({secret:?}, 'utf8')) }} catch {{}}");
    let report = setting.cjs(&script);
    assert_forbidden(&report);
    assert!(report.reason.contains(".env.runner"), "{}", report.reason);
    assert!(!String::from_utf8_lossy(&report.stdout.bytes).contains("S0"));
}

#[test]
fn no_way_round_reaches_it() {
    let setting = Setting::new().deny_reads().declare(&[ProcessShell, FsWrite]);
    fs::write(setting.base.join("secret"), "S0").unwrap();
    for way in [
        "cat ../secret",
        "ln -s ../secret s; cat s",
        "cat /proc/self/root$PWD/../secret",
        "cd ..; cat secret",
        "ln ../secret l; cat l",
    ] {
        let report = setting.sh(&format!("({way}) 2>/dev/null; true"));
        assert_forbidden(&report);
        assert!(report.stdout.bytes.is_empty(), "{way}");
    }
}

#[test]
fn other_processes_are_as_private_as_files() {
    let setting = Setting::new().deny_reads().declare(&[ProcessShell]);
    for file in ["environ", "cmdline", "maps", "mem", "status"] {
        let report = setting.sh(&format!("cat /proc/$PPID/{file} 2>/dev/null; true"));
        assert_forbidden(&report);
        assert!(report.stdout.bytes.is_empty(), "{file}");
    }
    assert_pass(&setting.sh("cat /proc/self/status /proc/$$/environ /proc/meminfo > /dev/null"));
}

#[test]
fn what_is_not_there_may_be_looked_for() {
    if no_node() {
        return;
    }
    let setting = Setting::new().deny_reads();
    let script = "for (const p of ['../none', '/etc/none', '/missing/none']) try { \
        require('fs').readFileSync(p) } catch (e) { console.log(e.code) }";
    let report = setting.cjs(script);
    assert_pass(&report);
    assert_eq!(report.stdout.bytes, b"ENOENT\nENOENT\nENOENT\n");
}

#[test]
fn runtimes_start_without_a_false_alarm() {
    if no_node() {
        return;
    }
    let setting = Setting::new().deny_reads();
    setting.file("node_modules/dep/index.js", "module.exports = 42");
    setting.file("data.json", "{}");
    fs::write(setting.base.join("package.json"), "{}").unwrap();
    let script = "import dep from 'dep'; import {readFileSync} from 'node:fs'; import {Worker} \
        from 'node:worker_threads'; import 'node:crypto';
        import os from 'node:os'; readFileSync('data.json'); os.cpus(); os.totalmem(); os.loadavg();
        new Date().toLocaleString('de'); new Intl.DateTimeFormat('en', {timeZone: \
        'Asia/Tokyo'}).format(0);
        new Worker('1', {eval: true}); globalThis.crypto.randomUUID(); console.log(dep)";
    let report = setting.mjs(script);
    assert_pass(&report);
    assert!(
        !report.effects.iter().any(|effect| effect.charge == Charge::Outside),
        "{}",
        show(&report)
    );
    for (program, argument) in [
        ("/bin/sh", "true"),
        ("/usr/bin/python3", "import json, random, ssl, datetime; print(1)"),
        ("/usr/bin/perl", "1"),
    ] {
        if std::path::Path::new(program).exists() {
            let flag = if program.ends_with("perl") { "-e" } else { "-c" };
            assert_pass(&setting.run(&setting.command(program).args([flag, argument])));
        }
    }
}

#[test]
fn what_the_policy_allows_can_be_read() {
    let mut setting = Setting::new();
    let input = setting.base.join("input.json");
    fs::write(&input, "{\"a\":1}").unwrap();
    setting.policy.reads = Reads::Deny { allow: vec![input, setting.base.join("not-there")] };
    let report = setting.sh("read line < ../input.json; echo \"$line\"");
    assert_pass(&report);
    assert_eq!(report.stdout.bytes, b"{\"a\":1}\n");
}

#[test]
fn reads_are_listed_where_they_are_only_listed() {
    let mut setting = Setting::new();
    setting.policy.reads = Reads::List;
    let report = setting.sh("read line < ../victim; echo \"$line\"");
    assert_pass(&report);
    assert_eq!(report.counts.get(&Category::FsRead), Some(&1), "{}", show(&report));
    let listed = report.effects.iter().find(|effect| effect.category == Category::FsRead).unwrap();
    assert!(
        listed.target.ends_with("/victim") && listed.allowed && listed.charge == Charge::Listed
    );
}

#[test]
fn programs_outside_the_list_do_not_start() {
    let setting = Setting::new().deny_reads().declare(&[ProcessShell]);
    install(Path::new("/bin/true"), &setting.base.join("tool"));
    assert_forbidden(&setting.sh("../tool; true"));
}
