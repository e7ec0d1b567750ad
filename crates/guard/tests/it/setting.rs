//! A fresh module root with everything around it, and shorthand for running things in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;

use guard::{
    Capability, Code, Command, Identity, Policy, Reads, Report, Verdict, prepare_ownership, run,
};
use tempfile::TempDir;

/// `outside/` (the command's user may write there by ordinary rights), `outside/root/`,
/// `outside/scratch/`, `outside/out/`.
pub struct Setting {
    _dir: TempDir,
    pub base: PathBuf,
    pub root: PathBuf,
    pub scratch: PathBuf,
    pub out: PathBuf,
    pub policy: Policy,
}

impl Setting {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("guard-").tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let (root, scratch, out) = (base.join("root"), base.join("scratch"), base.join("out"));
        for path in [&root, &scratch, &out] {
            fs::create_dir(path).unwrap();
        }
        fs::write(root.join("x"), "x").unwrap();
        fs::write(base.join("victim"), "victim").unwrap();
        let mut policy = Policy::new(&root);
        policy.scratch = Some(scratch.clone());
        policy.free_writes = vec![out.clone()];
        policy.limits.wall_ms = 600_000;
        Self { _dir: dir, base, root, scratch, out, policy }
    }

    pub fn declare(mut self, capabilities: &[Capability]) -> Self {
        self.policy.declared.extend(capabilities);
        self
    }

    pub fn deny_reads(mut self) -> Self {
        self.policy.reads = Reads::Deny { allow: Vec::new() };
        self
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A file of the root that can be executed.
    pub fn script(&self, name: &str, content: &str) -> PathBuf {
        let path = self.file(name, content);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn command(&self, program: impl Into<PathBuf>) -> Command {
        Command::new(program, &self.root)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.scratch)
            .env("TMPDIR", &self.scratch)
            .env("OUT", &self.out)
    }

    /// Gives everything to the command's user, then runs.
    pub fn run(&self, command: &Command) -> Report {
        prepare_ownership(&self.base, Identity::Auto).unwrap();
        run(command, &self.policy).unwrap()
    }

    pub fn sh(&self, script: &str) -> Report {
        self.run(&self.command("/bin/sh").args(["-c", script]))
    }

    /// CommonJS in a file of the root.
    pub fn cjs(&self, script: &str) -> Report {
        self.file("main.cjs", script);
        self.run(&self.command(node()).arg("main.cjs"))
    }

    /// An ES module in a file of the root.
    pub fn mjs(&self, script: &str) -> Report {
        self.file("main.mjs", script);
        self.run(&self.command(node()).arg("main.mjs"))
    }

    /// A C program, compiled statically into the root.
    pub fn c(&self, source: &str) -> Report {
        let program = self.compile("prog", source);
        self.run(&self.command(program))
    }

    pub fn compile(&self, name: &str, source: &str) -> PathBuf {
        let file = self.base.join(format!("{name}.c"));
        fs::write(&file, format!("{HEADERS}\n{source}")).unwrap();
        let program = self.root.join(name);
        let mut gcc = process::Command::new("gcc");
        let built = gcc
            .args(["-static", "-O1", "-w", "-o"])
            .arg(&program)
            .arg(&file)
            .arg("-lpthread")
            .status()
            .unwrap();
        assert!(built.success(), "gcc is needed for this test");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }
}

const HEADERS: &str = "#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sched.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/uio.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <netinet/in.h>
#include <arpa/inet.h>";

/// The project's own Node first, then the one on the path.
pub fn node() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .filter_map(|dir| dir.join(".dev/node/bin/node").canonicalize().ok())
        .find(|path| reachable(path));
    own.unwrap_or_else(|| PathBuf::from("node"))
}

/// Whether a user who owns nothing can get to a path without links.
fn reachable(path: &Path) -> bool {
    path.ancestors()
        .skip(1)
        .all(|dir| fs::metadata(dir).is_ok_and(|dir| dir.permissions().mode() & 0o001 != 0))
}

/// Without Node on the machine the tests that need it say so and end.
pub fn no_node() -> bool {
    let found = process::Command::new(node()).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: there is no node on this machine");
    }
    !found
}

pub fn assert_pass(report: &Report) {
    assert_eq!((report.verdict, report.code), (Verdict::Pass, None), "{}", show(report));
}

pub fn assert_forbidden(report: &Report) {
    assert_eq!(
        (report.verdict, report.code),
        (Verdict::Fail, Some(Code::Forbidden)),
        "{}",
        show(report)
    );
}

pub fn assert_undeclared(report: &Report, capability: Capability) {
    assert_eq!(
        (report.verdict, report.code),
        (Verdict::Fail, Some(Code::Undeclared)),
        "{}",
        show(report)
    );
    assert!(report.reason.contains(&format!("{capability} is not declared")), "{}", show(report));
}

pub fn assert_exec(report: &Report) {
    assert_eq!(
        (report.verdict, report.code),
        (Verdict::Fail, Some(Code::Exec)),
        "{}",
        show(report)
    );
}

pub fn show(report: &Report) -> String {
    let effects: Vec<String> =
        report.effects.iter().take(40).map(|effect| format!("{effect:?}")).collect();
    format!(
        "{:?} {:?} {}\nexit {:?}\nstdout {}\nstderr {}\ncounts {:?}\n{}",
        report.verdict,
        report.code,
        report.reason,
        report.exit,
        text(&report.stdout.bytes),
        text(&report.stderr.bytes),
        report.counts,
        effects.join("\n")
    )
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(4_000).collect()
}
