//! Class C: ways out of the root, and names that only look like one.

use guard::Capability::{FsWrite, ProcessShell};
use guard::{Effect, Report};

use crate::case::{Case, Expect, Program, case};
use crate::setting::Setting;

const ESCAPES: &[&str] = &[
    "change_directory",
    "change_directory_by_descriptor",
    "directory_descriptor_outside",
    "descriptor_over_the_edge",
    "parent_s_working_directory",
    "parent_s_root",
    "own_root_link",
    "task_root_link",
    "parent_s_descriptors",
    "parent_s_memory",
    "swap_the_root",
    "rename_out",
    "rename_in",
    "exchange_with_outside",
    "directory_out_by_descriptor",
    "link_in",
    "link_in_by_descriptor",
    "link_out",
    "tmpfile_outside",
    "tmpfile_linked_out",
    "dangling_symlink",
    "chain_of_symlinks",
    "symlink_to_own_descriptor",
    "shared_memory_file",
    "very_long_way_out",
    "deep_and_then_out",
    "link_out_of_a_file_named_deleted",
    "link_in_of_a_file_named_deleted",
];

/// Absolute paths that no module may write.
const PLACES: &[(&str, &str, &str)] = &[
    ("tmp", "/tmp/guard-escape", "{ echo 0 >> /tmp/guard-escape; } 2>/dev/null; :"),
    ("var-tmp", "/var/tmp/guard-escape", "{ echo 0 >> /var/tmp/guard-escape; } 2>/dev/null; :"),
    (
        "shared-memory",
        "/dev/shm/guard-escape",
        "{ echo 0 >> /dev/shm/guard-escape; } 2>/dev/null; :",
    ),
    ("home", "/root/.guard-escape", "{ echo 0 >> /root/.guard-escape; } 2>/dev/null; :"),
    ("etc", "/etc/guard-escape", "{ echo 0 >> /etc/guard-escape; } 2>/dev/null; :"),
    ("passwd", "/etc/passwd", "{ echo 0 >> /etc/passwd; } 2>/dev/null; :"),
    ("own-name", "/proc/self/comm", "{ echo 0 >> /proc/self/comm; } 2>/dev/null; :"),
    ("own-memory", "/proc/self/mem", "{ echo 0 >> /proc/self/mem; } 2>/dev/null; :"),
    (
        "own-badness",
        "/proc/self/oom_score_adj",
        "{ echo 0 >> /proc/self/oom_score_adj; } 2>/dev/null; :",
    ),
    (
        "kernel-setting",
        "/proc/sys/kernel/hostname",
        "{ echo 0 >> /proc/sys/kernel/hostname; } 2>/dev/null; :",
    ),
    ("system-request", "/proc/sysrq-trigger", "{ echo 0 >> /proc/sysrq-trigger; } 2>/dev/null; :"),
    (
        "control-group",
        "/sys/fs/cgroup/cgroup.procs",
        "{ echo 0 >> /sys/fs/cgroup/cgroup.procs; } 2>/dev/null; :",
    ),
    ("terminal-master", "/dev/ptmx", "{ echo 0 >> /dev/ptmx; } 2>/dev/null; :"),
    ("kernel-log", "/dev/kmsg", "{ echo 0 >> /dev/kmsg; } 2>/dev/null; :"),
    ("kernel-memory", "/dev/mem", "{ echo 0 >> /dev/mem; } 2>/dev/null; :"),
];

/// By Node, since its functions resolve paths of their own.
const SCRIPTS: &[(&str, &str)] = &[
    ("node-write", "fs.writeFileSync('../a', '1')"),
    ("node-rename-out", "fs.renameSync('x', '../out-of-it')"),
    ("node-rename-in", "fs.renameSync('../victim', 'mine')"),
    ("node-cp-out", "fs.cpSync('x', '../copied')"),
    ("node-copy-file-out", "fs.copyFileSync('x', '../copied')"),
    ("node-symlink-folder", "fs.symlinkSync('..', 'up2'); fs.writeFileSync('up2/f', '1')"),
    ("node-chdir", "process.chdir('..'); fs.writeFileSync('f', '1')"),
    ("node-tmp", "fs.mkdtempSync('/tmp/guard-escape-')"),
    ("node-rm", "fs.rmSync('../full', {recursive: true})"),
    ("node-chmod", "fs.chmodSync('../victim', 0o666)"),
    ("node-chmod-descriptor", "fs.fchmodSync(fs.openSync('../victim', 'r'), 0o666)"),
    ("node-utimes", "fs.utimesSync('..', 1, 1)"),
    ("node-stream", "fs.createWriteStream('../a').on('error', () => {})"),
    ("node-handle", "fs.promises.open('../a', 'w').catch(() => {})"),
    (
        "node-report",
        "process.report.excludeNetwork = true; process.report.directory = '..'; \
         process.report.writeReport('rep.json')",
    ),
    (
        "node-report-absolute",
        "process.report.excludeNetwork = true; process.report.directory = '/tmp'; \
         process.report.writeReport('guard-escape.json')",
    ),
    (
        "node-socket-file",
        "require('net').createServer().on('error', () => {}).listen('../sock', function () { \
         this.close() })",
    ),
    ("node-heap-snapshot", "require('v8').writeHeapSnapshot('../h.heapsnapshot')"),
];

pub fn cases() -> Vec<Case> {
    let probes = ESCAPES.iter().map(|name| {
        case("C", name, Program::Probe(name, ""), &[FsWrite], Expect::Forbidden).ready(|setting| {
            setting.argument = format!("{}/a", setting.base.display());
        })
    });
    let scripts = SCRIPTS.iter().map(|(name, text)| {
        case("C", name, Program::Script(text), &[FsWrite], Expect::Forbidden).ready(shield)
    });
    probes
        .chain(places())
        .chain(scripts)
        .chain(shared())
        .chain(races())
        .chain(unusual_but_inside())
        .collect()
}

/// Errors of a script are not the point.
fn shield(setting: &mut Setting) {
    let pre = "globalThis.fs = require('fs'); process.on('uncaughtException', () => {})";
    std::fs::write(setting.root.join("pre.cjs"), pre).unwrap();
    setting.env.push(("NODE_OPTIONS", "--require ./pre.cjs".to_owned()));
}

fn places() -> Vec<Case> {
    let rows = PLACES.iter().map(|(name, path, text)| {
        let row =
            case("C", name, Program::Shell(text), &[FsWrite, ProcessShell], Expect::Forbidden);
        if path.contains("guard-escape") { row } else { row.needs(path) }
    });
    rows.collect()
}

fn shared() -> Vec<Case> {
    let link = |setting: &mut Setting| {
        std::fs::hard_link(setting.base.join("victim"), setting.root.join("shared")).unwrap();
    };
    let row =
        |name| case("C", name, Program::Probe(name, ""), &[FsWrite], Expect::Forbidden).ready(link);
    vec![
        row("file_shared_with_outside_is_written"),
        row("file_shared_with_outside_gets_another_mode"),
        row("file_shared_with_outside_by_a_new_name"),
    ]
}

fn races() -> Vec<Case> {
    let row = |name, declared: &[_]| {
        case("C", name, Program::Probe(name, ""), declared, Expect::Forbidden)
    };
    vec![
        row("racing_open", &[FsWrite]),
        row("racing_unlink", &[FsWrite]),
        row("racing_rename", &[FsWrite]),
        row("racing_symlink", &[FsWrite, ProcessShell]),
        row("racing_chmod", &[FsWrite, ProcessShell]),
    ]
}

fn unusual_but_inside() -> Vec<Case> {
    let row = |name| case("C", name, Program::Probe(name, ""), &[FsWrite], Expect::Pass);
    vec![
        row("deeper_than_a_path_may_be"),
        row("working_directory_removed"),
        row("removed_directory_and_up"),
        row("removed_file_is_written_by_descriptor"),
        row("name_that_ends_in_deleted"),
        row("odd_names").check(|_, report| {
            shown(report, |effect| effect.target.ends_with("\\xff\\xfe"))
                .and_then(|()| shown(report, |effect| effect.target.ends_with("line\\x0abreak")))
        }),
        row("longest_names"),
        row("path_at_the_end_of_memory"),
        row("folder_moved_under_an_open_file"),
        row("moves_across_folders"),
        case(
            "C",
            "nothing_can_change",
            Program::Probe("nothing_can_change", ""),
            &[],
            Expect::Pass,
        ),
        case(
            "C",
            "nothing_can_change",
            Program::Probe("nothing_can_change", ""),
            &[FsWrite],
            Expect::Pass,
        ),
        case(
            "C",
            "proc-cwd-inside",
            Program::Shell("echo 1 > /proc/self/cwd/f; echo 1 > /proc/$$/cwd/g"),
            &[FsWrite],
            Expect::Pass,
        ),
    ]
}

fn shown(report: &Report, is: impl Fn(&Effect) -> bool) -> Result<(), String> {
    if report.effects.iter().any(is) { Ok(()) } else { Err("a name's bytes are lost".to_owned()) }
}
