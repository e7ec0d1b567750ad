//! What programs ask of their own host by convention is not an effect (M15).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use guard::Capability::{FsWrite, ProcessShell};
use guard::{Category, Charge};

use crate::setting::{
    Setting, assert_forbidden, assert_pass, assert_undeclared, no_node, node, show, text,
};

#[test]
fn the_interpreter_of_the_command_itself_is_the_command() {
    for line in ["#!/bin/sh", "#!/usr/bin/env sh", "#!/usr/bin/env -S sh -e"] {
        let setting = Setting::new();
        let program = setting.script("tool", &format!("{line}\necho it runs\n"));
        let report = setting.run(&setting.command(&program));
        assert_pass(&report);
        assert_eq!(report.stdout.bytes, b"it runs\n", "{line}");
        // The same where reads are denied.
        let setting = setting.deny_reads();
        assert_pass(&setting.run(&setting.command(&program)));
    }
    // Only the interpreter, and only once.
    let setting = Setting::new();
    let program = setting.script("tool", "#!/usr/bin/env sh\n/usr/bin/env sh -c :\n");
    assert_undeclared(&setting.run(&setting.command(&program)), ProcessShell);
    let program = setting.script("tool", "#!/usr/bin/env sh\nexec sh -c :\n");
    assert_undeclared(&setting.run(&setting.command(&program)), ProcessShell);
    let report = setting.run(&setting.command("/usr/bin/env").arg("sh"));
    assert_undeclared(&report, ProcessShell);
}

#[test]
fn a_node_program_by_its_first_line() {
    if no_node() {
        return;
    }
    let setting = Setting::new();
    let program = setting.script("bin", "#!/usr/bin/env node\nconsole.log('it runs')\n");
    let folder = fs::canonicalize(node()).unwrap_or_else(|_| "/usr/bin/node".into());
    let path = format!("{}:/usr/bin:/bin", folder.parent().unwrap().display());
    let mut command = setting.command(&program);
    command.env.retain(|(name, _)| name != "PATH");
    let report = setting.run(&command.env("PATH", path));
    assert_pass(&report);
    assert_eq!(report.stdout.bytes, b"it runs\n");
}

#[test]
fn the_list_of_interfaces_is_a_listed_read() {
    if no_node() {
        return;
    }
    let report = Setting::new().cjs("require('os').networkInterfaces()");
    assert_pass(&report);
    let read = report.effects.iter().find(|effect| effect.category == Category::FsRead);
    assert!(read.is_some_and(|read| read.charge == Charge::Listed), "{}", show(&report));
    assert_eq!(report.counts.get(&Category::Network), None, "{}", show(&report));
    // Other families of this kind reach further.
    let source = "int main() { return socket(AF_NETLINK, SOCK_RAW, 15) >= 0; }";
    assert_undeclared(&Setting::new().c(source), guard::Capability::Network);
}

#[test]
fn a_library_that_looks_for_ipv6_when_it_is_loaded_is_not_accused() {
    // As urllib3 does.
    let look = "import socket; s = socket.socket(socket.AF_INET6); s.bind(('::1', 0)); s.close()";
    let Some(python) = tool("python3").filter(|path| path.starts_with("/usr")) else {
        eprintln!("skipped: there is no python3 of the system");
        return;
    };
    let setting = Setting::new();
    let run = |script: &str| {
        // It would write what it compiles beside its library.
        let command = setting.command(&python).env("PYTHONDONTWRITEBYTECODE", "1");
        setting.run(&command.args(["-c", script]))
    };
    assert_pass(&run(look));
    // To wait for connections there is another matter.
    let waits = look.replace("s.close()", "s.listen()");
    assert_undeclared(&run(&waits), guard::Capability::Network);
}

#[test]
fn the_name_services_of_the_host_are_not_there() {
    let folder = Path::new("/run/nslcd");
    if folder.exists() || fs::create_dir(folder).is_err() {
        eprintln!("skipped: only root can put a name service where libraries look for one");
        return;
    }
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let source = "int main() { struct sockaddr_un a = {AF_UNIX, \"/run/nslcd/socket\"};
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        return !(connect(s, (void *)&a, sizeof a) < 0 && errno == ENOENT); }";
    let report = Setting::new().c(source);
    let asked = listener.accept().is_ok();
    fs::remove_dir_all(folder).unwrap();
    assert_pass(&report);
    assert!(!asked && report.counts.is_empty(), "{}", show(&report));
}

#[test]
fn files_about_the_host_are_neutral_where_reads_are_denied() {
    let source =
        "int main() { char b[4096]; int f = open(PATH, O_RDONLY | O_CLOEXEC); if (f < 0) return 1;
        write(1, b, read(f, b, sizeof b)); return 0; }";
    for path in ["/etc/passwd", "/etc/group", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname"] {
        let Ok(truth) = fs::read_to_string(path) else { continue };
        let report = Setting::new().deny_reads().c(&source.replace("PATH", &format!("{path:?}")));
        if report.tier != guard::Tier::Traced {
            assert_pass(&report);
            let seen = text(&report.stdout.bytes);
            assert!(!seen.is_empty() && (seen != truth || truth.len() < 64), "{path}: {seen}");
        }
        assert!(!text(&report.stdout.bytes).contains("daemon:"), "{path}");
    }
    // Nothing else is.
    let shadow = source.replace("PATH", "\"/etc/fstab\"");
    if Path::new("/etc/fstab").exists() {
        assert_forbidden(&Setting::new().deny_reads().c(&shadow));
    }
}

#[test]
fn programs_that_look_up_their_user_run_where_reads_are_denied() {
    let setting = Setting::new().deny_reads().declare(&[ProcessShell]);
    assert_pass(&setting.sh("ls -l >&2; id -u; id -un >&2 || true; bash -c 'echo ~' >&2"));
    if no_node() {
        return;
    }
    let mut setting = Setting::new();
    setting.policy.reads = guard::Reads::Deny { allow: vec![node()] };
    assert_pass(&setting.cjs("require('dns'); require('os').userInfo(); require('os').hostname()"));
}

/// A tool of the machine, if it has it.
fn tool(name: &str) -> Option<std::path::PathBuf> {
    let found = ["/usr/bin", "/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(name));
    found.into_iter().find_map(|path| path.canonicalize().ok())
}

#[test]
fn compilers_and_machines_of_languages_run_where_reads_are_denied() {
    let setting = Setting::new().deny_reads().declare(&[ProcessShell, FsWrite]);
    if let Some(python) = tool("python3").filter(|path| path.starts_with("/usr")) {
        let command = setting.command(&python);
        let asked = "import getpass; print(getpass.getuser())";
        assert_pass(&setting.run(&command.args(["-c", asked])));
    }
    if tool("gcc").is_some() {
        fs::write(setting.root.join("a.c"), "int main() { return 0; }").unwrap();
        assert_pass(&setting.sh("gcc -O1 a.c -o a && ./a"));
    }
    if let Some(java) = tool("java") {
        let report = setting.run(&setting.command(&java).arg("-version"));
        assert_pass(&report);
        // Its counters are not published, and that it tried is no charge.
        assert!(
            report
                .effects
                .iter()
                .all(|effect| !effect.allowed || effect.category != Category::FsWrite),
            "{}",
            show(&report)
        );
    }
}

/// The root file system of a container is an overlay: the first change of anything in it copies
/// what is above.
#[test]
fn changes_on_an_overlay_have_their_cause() {
    let setting = Setting::new().declare(&[FsWrite, ProcessShell]);
    let base = setting.base.join("layers");
    let dirs = ["lower", "upper", "work", "merged"].map(|name| base.join(name));
    dirs.iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    let [lower, upper, work, merged] = &dirs;
    fs::create_dir_all(lower.join("root/a/b/c")).unwrap();
    fs::write(lower.join("root/a/b/c/file"), "1").unwrap();
    fs::write(lower.join("root/one"), "1").unwrap();
    fs::hard_link(lower.join("root/one"), lower.join("root/two")).unwrap();
    guard::prepare_ownership(lower, guard::Identity::Auto).unwrap();
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &layers])
        .arg(merged)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: only root can mount an overlay");
        return;
    }
    let root = merged.join("root");
    let mut policy = setting.policy.clone();
    policy.root = root.clone();
    let run = |script: &str| {
        let command = guard::Command::new("/bin/sh", &root).args(["-c", script]);
        guard::run(&command, &policy).unwrap()
    };
    let reports = [
        "echo 2 > a/b/c/file",
        "echo 2 > one; chmod 600 two",
        "mkdir a/b/d",
        "touch a/b/c/new",
        "rm a/b/c/file",
        "mv a/b/c a/moved",
    ]
    .map(run);
    let unmounted = Command::new("umount").arg(merged).status().unwrap().success();
    reports.iter().for_each(assert_pass);
    assert!(unmounted);
}
