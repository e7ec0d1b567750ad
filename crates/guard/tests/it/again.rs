//! What programs ask of their own host, once more as an ordinary user and where another supervisor
//! listens already; with `LUMIO_LONG=1` everything else of this binary too.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// No user of any machine, so that no process of another user is in the way.
const USER: u32 = 54_322;
/// A command can see that it is traced, so a run in which it looks is inconclusive: these look.
const LOOK_WHO_TRACES: [&str; 3] = [
    "environment::no_right_is_left",
    "reads::other_processes_are_as_private_as_files",
    "tampering::a_look_at_the_own_status_shows_no_tracer",
];

#[test]
fn ordinary_programs_are_accused_of_nothing_as_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: every other test has just run as an ordinary user");
        return;
    }
    let (folder, binary) = copied();
    let own = folder.path().join("tmp");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(USER), Some(USER)).unwrap();
    let mut command = Command::new(binary);
    command.uid(USER).gid(USER).current_dir(&own).env("TMPDIR", &own).env("HOME", &own);
    assert_passed(&command.args(wanted()).output().unwrap());
}

/// There the guard traces.
#[test]
fn ordinary_programs_are_accused_of_nothing_where_another_supervisor_listens() {
    let (folder, binary) = copied();
    let source = folder.path().join("beside.c");
    fs::write(&source, include_str!("../adversarial/programs/beside.c")).unwrap();
    let beside = folder.path().join("beside");
    let mut gcc = Command::new("gcc");
    let built = gcc.args(["-static", "-O1", "-o"]).arg(&beside).arg(source).status().unwrap();
    assert!(built.success(), "gcc is needed for this test");
    let skipped = LOOK_WHO_TRACES.iter().flat_map(|name| ["--skip", name]);
    let mut command = Command::new(beside);
    assert_passed(&command.arg(binary).args(wanted()).args(skipped).output().unwrap());
}

/// This binary where every user can reach it.
fn copied() -> (TempDir, PathBuf) {
    let folder = tempfile::Builder::new().prefix("guard-again-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("it");
    install(&std::env::current_exe().unwrap(), &copy);
    (folder, copy)
}

/// Copies a program for every user. Another process does it: a child that a thread of this one
/// starts meanwhile would have the copy open for writing, and such a file cannot be started.
pub fn install(program: &Path, to: &Path) {
    let copied = Command::new("install").args(["-m", "755"]).args([program, to]).status().unwrap();
    assert!(copied.success(), "{} cannot be copied", program.display());
}

fn wanted() -> Vec<&'static str> {
    let mut arguments = vec!["--test-threads", "2", "--skip", "again::"];
    if std::env::var_os("LUMIO_LONG").is_none() {
        arguments.push("conventions::");
    }
    arguments
}

fn assert_passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("running 0 tests"), "{text}");
}
