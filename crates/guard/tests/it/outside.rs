//! Class C: writes outside the root, whatever was declared.

use guard::Capability::{FsWrite, ProcessShell};
use std::ffi::OsStr;
use std::fs;

use crate::setting::{Setting, assert_forbidden, assert_pass, no_node};

const ESCAPES: &[(&str, &str)] = &[
    ("plain", "fs.writeFileSync('../victim', '1')"),
    ("new file", "fs.writeFileSync('../fresh', '1')"),
    ("rename out", "fs.renameSync('x', '../out-of-it')"),
    ("rename in", "fs.renameSync('../victim', 'mine')"),
    ("copy out", "fs.copyFileSync('x', '../copied')"),
    ("cp out", "fs.cpSync('x', '../copied')"),
    ("through a link", "fs.symlinkSync('..', 'up'); fs.writeFileSync('up/f', '1')"),
    ("link to a file", "fs.symlinkSync('../victim', 'v'); fs.writeFileSync('v', '1')"),
    ("dangling link", "fs.symlinkSync('../not-yet', 'v'); fs.writeFileSync('v', '1')"),
    ("proc root", "fs.writeFileSync('/proc/self/root/tmp/guard-escape', '1')"),
    ("parent's cwd", "fs.writeFileSync(`/proc/${process.ppid}/cwd/f`, '1')"),
    ("chdir", "process.chdir('..'); fs.writeFileSync('f', '1')"),
    ("tmp", "fs.mkdtempSync('/tmp/guard-escape-')"),
    ("shm", "fs.writeFileSync('/dev/shm/guard-escape', '1')"),
    ("home", "fs.writeFileSync('/root/.evil', '1')"),
    ("root swap", "fs.renameSync(process.cwd(), process.cwd() + '.bak')"),
    ("hard link in", "fs.linkSync('../victim', 'mine')"),
    ("hard link out", "fs.linkSync('x', '../theirs')"),
    ("chmod", "fs.chmodSync('../victim', 0o666)"),
    ("utimes", "fs.utimesSync('..', 1, 1)"),
    ("chmod by descriptor", "fs.fchmodSync(fs.openSync('../victim', 'r'), 0o666)"),
    ("unlink", "fs.unlinkSync('../victim')"),
    ("rmdir", "fs.rmSync('../out', {recursive: true})"),
    ("truncate", "fs.truncateSync('../victim')"),
    ("parent's memory", "fs.openSync(`/proc/${process.ppid}/mem`, 'r+')"),
    ("own name", "fs.writeFileSync('/proc/self/comm', 'x')"),
    (
        "socket file",
        "require('net').createServer().listen('../sock', function () { this.close() })",
    ),
];

#[test]
fn no_declaration_opens_a_way_out() {
    if no_node() {
        return;
    }
    for (name, script) in ESCAPES {
        let setting = Setting::new().declare(&[FsWrite]);
        eprintln!("{name}");
        let report = setting.cjs(&format!(
            "const fs = require('fs'); try {{ {script} }} catch (e) {{ console.log(e.message) }}"
        ));
        assert_forbidden(&report);
        assert_eq!(fs::read_to_string(setting.base.join("victim")).unwrap(), "victim", "{name}");
        let mut names: Vec<_> =
            fs::read_dir(&setting.base).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["out", "root", "scratch", "victim"], "{name}");
    }
}

#[test]
fn an_escape_outweighs_an_undeclared_write() {
    let report = Setting::new().declare(&[ProcessShell]).sh("echo 1 > a; echo 1 > ../b");
    assert_forbidden(&report);
}

#[test]
fn a_child_that_writes_outside_is_the_command_s_own_deed() {
    let setting = Setting::new().declare(&[ProcessShell, FsWrite]);
    assert_forbidden(&setting.sh("sh -c 'echo x > ../f' 2>/dev/null; true"));
    assert!(!setting.base.join("f").exists());
}

#[test]
fn a_file_that_also_stands_outside_is_outside() {
    let setting = Setting::new().declare(&[FsWrite]);
    fs::hard_link(setting.base.join("victim"), setting.root.join("inner")).unwrap();
    assert_forbidden(&setting.sh("echo 1 > inner"));
    assert_eq!(fs::read_to_string(setting.base.join("victim")).unwrap(), "victim");
}

#[test]
fn a_mount_inside_the_root_is_refused_before_the_run() {
    let mut setting = Setting::new().declare(&[FsWrite]);
    let (place, source) = (setting.root.join("a mount"), setting.base.join("source"));
    fs::create_dir(&place).unwrap();
    fs::create_dir(&source).unwrap();
    guard::prepare_ownership(&setting.base, guard::Identity::Auto).unwrap();
    let mount = |program: &str, arguments: &[&OsStr]| {
        let mut command = std::process::Command::new(program);
        command.args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if !mount("mount", &[OsStr::new("--bind"), source.as_os_str(), place.as_os_str()]) {
        eprintln!("skipped: only root can mount a directory in another place");
        return;
    }
    let command = setting.command("/bin/sh").args(["-c", "echo 1 > 'a mount/f'"]);
    let refused = guard::run(&command, &setting.policy).map_err(|error| error.to_string());
    // What may be written freely, the caller has chosen.
    setting.policy.free_writes.push(place.clone());
    let allowed = guard::run(&command, &setting.policy);
    assert!(mount("umount", &[place.as_os_str()]));
    let refused = refused.unwrap_err();
    assert!(refused.contains("is a mount inside the root"), "{refused}");
    assert_pass(&allowed.unwrap());
    assert_eq!(fs::read_to_string(source.join("f")).unwrap(), "1\n");
}

#[test]
fn names_that_only_look_like_an_escape_are_none() {
    if no_node() {
        return;
    }
    let setting = Setting::new().declare(&[FsWrite]).deny_reads();
    let script = "const fs = require('fs'); fs.writeFileSync('..foo', '1'); \
        fs.writeFileSync('/proc/self/cwd/f', '1');
        fs.writeFileSync('/proc/thread-self/cwd/g', '1'); fs.writeFileSync(Buffer.from([0xff, \
        0xfe]), '1');
        fs.mkdirSync('d'); fs.writeFileSync('d/../h', '1'); fs.symlinkSync('d', 'l'); \
        fs.writeFileSync('l/i', '1')";
    let report = setting.cjs(script);
    assert_pass(&report);
    assert!(
        report.effects.iter().any(|effect| effect.target.ends_with("\\xff\\xfe")),
        "the name's bytes are kept"
    );
    assert!(
        setting.root.join("..foo").exists()
            && setting.root.join("d/i").exists()
            && setting.root.join("f").exists()
    );
}
