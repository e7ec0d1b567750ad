//! The same cases once more as an ordinary user: root runs this test binary again as a user who
//! owns nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use tempfile::TempDir;

/// No user of any machine, so that no process of another user is in the way.
const USER: u32 = 54_321;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// This binary where that user can reach it, with its own folder for temporary files.
fn prepared() -> (TempDir, Command) {
    let folder = tempfile::Builder::new().prefix("guard-user-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("adversarial");
    // Another process copies it: a child that a thread of this one starts meanwhile would have the
    // copy open for writing, and such a file cannot be started.
    let program = std::env::current_exe().unwrap();
    let copied = Command::new("install").args(["-m", "755"]).args([&program, &copy]).status();
    assert!(copied.unwrap().success());
    let own = folder.path().join("tmp");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(USER), Some(USER)).unwrap();
    let mut command = Command::new(copy);
    command.uid(USER).gid(USER).current_dir(&own).env("TMPDIR", &own).env("HOME", &own);
    (folder, command)
}

/// [`run`] with one more variable in the environment.
pub fn run_with(arguments: &[&str], variable: (&str, &str)) -> Output {
    let (_folder, mut command) = prepared();
    command.args(arguments).env(variable.0, variable.1).output().unwrap()
}

/// Runs tests of this binary as the ordinary user.
pub fn run(arguments: &[&str]) -> Output {
    let (_folder, mut command) = prepared();
    command.args(arguments).output().unwrap()
}

#[test]
fn every_case_holds_for_an_ordinary_user_too() {
    if !is_root() {
        eprintln!("skipped: every other test has just run as an ordinary user");
        return;
    }
    let output = run(&[
        "--skip",
        "ordinary_user",
        "--skip",
        "table",
        "--skip",
        "another_supervisor",
        "--test-threads",
        "2",
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
