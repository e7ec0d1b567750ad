//! Class D: programs, forks, daemons, signals, limits.

use std::os::unix::fs::PermissionsExt;

use guard::Capability::{FsWrite, ProcessGit, ProcessShell};

use crate::case::{Case, Expect, Program, case};
use crate::programs;
use crate::setting::Setting;

/// Each is a process that must be declared.
const STARTS: &[&str] = &[
    "fork_alone",
    "vfork_alone",
    "clone_untraced",
    "clone_of_the_parent_s_parent",
    "clone3_or_clone",
    "exec_in_place",
    "exec_itself",
    "posix_spawn_call",
    "system_call",
    "popen_call",
    "execveat_descriptor",
    "exec_of_memory",
    "exec_of_memory_by_proc",
    "exec_of_a_script",
    "exec_by_the_dynamic_linker",
    "exec_from_a_thread",
];

const NODE_STARTS: &[(&str, &str)] = &[
    (
        "spawn-named",
        "import {spawnSync} from 'node:child_process'; spawnSync('sh', ['-c', 'true'])",
    ),
    (
        "spawn-callback",
        "import {spawn} from 'node:child_process'; spawn('sh', ['-c', 'true']).on('error', () => \
         {})",
    ),
    (
        "spawn-by-shell",
        "import {spawn} from 'node:child_process'; spawn('true', {shell: true}).on('error', () => \
         {})",
    ),
    (
        "spawn-detached",
        "import {spawn} from 'node:child_process'; spawn('true', {detached: true, stdio: \
         'ignore'}).on('error', () => {}).unref()",
    ),
    ("exec", "import {exec} from 'node:child_process'; exec('true', () => {})"),
    ("exec-sync", "import {execSync} from 'node:child_process'; try { execSync('true') } catch {}"),
    (
        "exec-file",
        "import {execFile} from 'node:child_process'; execFile('/bin/sh', ['-c', 'true'], () => \
         {})",
    ),
    (
        "exec-file-sync",
        "import {execFileSync} from 'node:child_process'; try { execFileSync('/bin/true') } catch \
         {}",
    ),
    (
        "fork",
        "import fs from 'node:fs'; import {fork} from 'node:child_process'; if (!process.send) { \
         const c = fork('main.mjs'); c.on('error', () => {}); c.on('spawn', () => c.disconnect()) \
         }",
    ),
    (
        "child-process-constructor",
        "import {ChildProcess} from 'node:child_process'; try { new ChildProcess().spawn({file: \
         '/bin/sh', args: ['sh', '-c', 'true'], stdio: 'ignore'}) } catch {}",
    ),
    (
        "cluster",
        "import cluster from 'node:cluster'; if (cluster.isPrimary) cluster.fork().on('error', () \
         => {}).on('online', function () { this.kill() })",
    ),
    (
        "spawn-binding",
        "try { process.binding('spawn_sync').spawn({file: '/bin/true', args: ['true'], stdio: \
         [{type: 'inherit', fd: 0}], envPairs: []}) } catch {}",
    ),
    (
        "from-a-worker",
        "import {Worker} from 'node:worker_threads'; new \
         Worker(`require('child_process').spawnSync('/bin/true')`, {eval: true})",
    ),
    (
        "replace-the-process",
        "if (process.execve) process.execve('/bin/true', ['true']); else (await \
         import('node:child_process')).spawnSync('/bin/true')",
    ),
];

pub fn cases() -> Vec<Case> {
    let probes = STARTS.iter().map(|name| (*name, Program::Probe(name, "")));
    let scripts = NODE_STARTS.iter().map(|(name, text)| (*name, Program::Module(text)));
    let starts = probes.chain(scripts).flat_map(|(name, program)| {
        [
            case("D", name, program, &[], Expect::Undeclared(&[ProcessShell])),
            case("D", name, program, &[ProcessShell], Expect::Pass),
        ]
    });
    starts.map(|one| one.ready(furnish)).chain(children()).chain(git()).chain(daemons()).collect()
}

fn program(setting: &Setting, name: &str, text: &[u8], mode: u32) {
    let path = setting.root.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn furnish(setting: &mut Setting) {
    program(setting, "script", b"#!/bin/sh\nexit 0\n", 0o755);
    let probe = std::fs::read(programs::probe()).unwrap();
    program(setting, "closed", &probe, 0o111);
    program(setting, "git", b"#!/bin/sh\necho fake\n", 0o755);
}

fn children() -> Vec<Case> {
    let row = |name, declared: &[_], expect| {
        case("D", name, Program::Probe(name, ""), declared, expect).ready(furnish)
    };
    vec![
        row("clone_untraced_and_write", &[], Expect::Undeclared(&[ProcessShell, FsWrite])),
        row("child_without_environment", &[ProcessShell], Expect::Undeclared(&[FsWrite])),
        row("child_without_environment", &[ProcessShell, FsWrite], Expect::Pass),
        row("child_writes_outside", &[ProcessShell, FsWrite], Expect::Forbidden),
        row("unreadable_child_writes_outside", &[ProcessShell, FsWrite], Expect::NoPass),
        row("exec_what_is_missing", &[], Expect::Pass),
        row("exec_what_is_no_program", &[], Expect::Pass),
        row("main_thread_ends_first", &[FsWrite], Expect::Pass),
        row("main_thread_ends_first", &[], Expect::Undeclared(&[FsWrite])),
        case(
            "D",
            "shell-without-environment",
            Program::Shell("env -i /bin/sh -c 'unset PATH; echo 1 > a'"),
            &[ProcessShell],
            Expect::Undeclared(&[FsWrite]),
        ),
        case(
            "D",
            "shell-child-outside",
            Program::Shell("sh -c 'echo x > ../f' 2>/dev/null; true"),
            &[ProcessShell, FsWrite],
            Expect::Forbidden,
        ),
        case(
            "D",
            "shell-background",
            Program::Shell("(sleep 0.05; echo 1 > ../late) 2>/dev/null & wait"),
            &[ProcessShell, FsWrite],
            Expect::Forbidden,
        ),
    ]
}

fn git() -> Vec<Case> {
    let row = |name, text, declared: &[_], expect| {
        case("D", name, Program::Shell(text), declared, expect).needs("/usr/bin/git").ready(furnish)
    };
    let script = |name, text, declared: &[_], expect| {
        case("D", name, Program::Module(text), declared, expect)
            .needs("/usr/bin/git")
            .ready(furnish)
    };
    vec![
        script(
            "git-declared",
            "import {execFileSync} from 'node:child_process'; execFileSync('/usr/bin/git', \
             ['--version'])",
            &[ProcessGit],
            Expect::Pass,
        ),
        script(
            "git-undeclared",
            "import {spawnSync} from 'node:child_process'; spawnSync('/usr/bin/git', \
             ['--version'])",
            &[FsWrite],
            Expect::Undeclared(&[ProcessGit]),
        ),
        script(
            "git-declared-as-shell",
            "import {execFileSync} from 'node:child_process'; execFileSync('git', ['--version'])",
            &[ProcessShell],
            Expect::Pass,
        ),
        script(
            "git-semicolon",
            "import {exec} from 'node:child_process'; exec('git --version; echo x > f', () => {})",
            &[ProcessGit, FsWrite],
            Expect::Undeclared(&[ProcessShell]),
        ),
        script(
            "fake-git",
            "import {execFile} from 'node:child_process'; execFile('./git', () => {})",
            &[ProcessGit],
            Expect::Undeclared(&[ProcessShell]),
        ),
        script(
            "copied-git",
            "import fs from 'node:fs'; import {execFile} from 'node:child_process'; \
             fs.copyFileSync('/usr/bin/git', 'g'); fs.chmodSync('g', 0o755); execFile('./g', \
             ['--version'], () => {})",
            &[ProcessGit, FsWrite],
            Expect::Undeclared(&[ProcessShell]),
        ),
        script(
            "git-by-a-link",
            "import fs from 'node:fs'; import {execFileSync} from 'node:child_process'; \
             fs.symlinkSync('/usr/bin/git', 'g'); execFileSync('./g', ['--version'])",
            &[ProcessGit, FsWrite],
            Expect::Pass,
        ),
        script(
            "git-alias",
            "import {spawnSync} from 'node:child_process'; spawnSync('/usr/bin/git', ['-c', \
             'alias.x=!echo x', 'x'])",
            &[ProcessGit],
            Expect::Undeclared(&[ProcessShell]),
        ),
        script(
            "git-pager",
            "import {spawnSync} from 'node:child_process'; spawnSync('/usr/bin/git', ['-c', \
             'core.pager=sh -c true', '--paginate', 'help', '-a'], {env: {GIT_PAGER: 'sh -c true', \
             GIT_PAGER_IN_USE: '1'}}); spawnSync('/usr/bin/git', ['-c', 'core.editor=true', \
             'config', '--edit', '--file', 'x'])",
            &[ProcessGit, FsWrite],
            Expect::Undeclared(&[ProcessShell]),
        ),
        row(
            "git-at-work",
            "set -e; git init -q .; git -c user.name=a -c user.email=a@b.c add x; git -c \
             user.name=a -c user.email=a@b.c commit -qm x; git status --short; git log --oneline | \
             wc -l",
            &[ProcessGit, ProcessShell, FsWrite],
            Expect::Pass,
        ),
        row(
            "git-outside",
            "git -C .. init -q . 2>/dev/null; true",
            &[ProcessGit, ProcessShell, FsWrite],
            Expect::Forbidden,
        ),
    ]
}

fn daemons() -> Vec<Case> {
    let row = |name, expect| {
        case("D", name, Program::Probe(name, ""), &[ProcessShell, FsWrite], expect)
            .check(|setting, _| nobody_left(setting))
    };
    vec![
        row("daemon_writes_outside", Expect::Forbidden),
        row("daemon_writes_outside_when_alone", Expect::Harmless),
        row("daemon_writes_inside_for_ever", Expect::Pass),
        row("daemon_ignores_signals", Expect::Pass),
        row("daemon_never_stays", Expect::Pass),
        row("all_end_at_once", Expect::Exec("signal 9")),
        row("killed_while_it_waits", Expect::Pass),
    ]
}

/// None of the tree lives on: no process has its working directory in this case's folders.
pub fn nobody_left(setting: &Setting) -> Result<(), String> {
    let names = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let left = names
        .filter(|name| {
            std::fs::read_link(name.path().join("cwd"))
                .is_ok_and(|cwd| cwd.starts_with(&setting.base))
        })
        .find(|name| !ends(&name.path()));
    left.map_or(Ok(()), |name| Err(format!("process {} lives on", name.path().display())))
}

/// Dead, or not there any more.
fn ends(process: &std::path::Path) -> bool {
    std::fs::read_to_string(process.join("stat")).map_or(true, |stat| {
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
    })
}
