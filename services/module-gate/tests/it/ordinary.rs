//! What depends on who owns files, once more as an ordinary user: root runs this test program again
//! as a user who owns nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::command::{PROGRAM, program};

/// No user of any machine, so that no process of another user is in the way.
const USER: u32 = 54_323;

#[test]
fn repositories_workspaces_and_surroundings_are_the_same_for_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: every other test has just run as an ordinary user");
        return;
    }
    let node = testkit::program("node").unwrap().canonicalize().unwrap();
    if !reachable(&node) {
        eprintln!("skipped: {} is in a folder that is closed to other users", node.display());
        return;
    }
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let own = folder.path().join("tmp");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(USER), Some(USER)).unwrap();
    let tests = copy(&std::env::current_exe().unwrap(), folder.path().join("it"));
    let program = copy(&program(), folder.path().join("module-gate"));

    let mut command = Command::new(tests);
    command.uid(USER).gid(USER).current_dir(&own).env("TMPDIR", &own).env("HOME", &own);
    command.env(PROGRAM, program).args(["--test-threads", "2"]);
    command.args(["repository::", "surroundings::", "edges::", "capture::"]);
    // It asks the service, which is the same for every user.
    command.args(["--skip", "shipping_holds_captures"]);
    if std::env::var_os("LUMIO_LONG").is_none() {
        command.args(["--skip", "ten_thousand_files"]);
    }
    let output = command.output().unwrap();

    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("running 0 tests"), "{text}");
}

/// The program where every user can start it.
fn copy(program: &Path, to: PathBuf) -> PathBuf {
    testkit::install(program, &to);
    to
}

fn reachable(program: &Path) -> bool {
    let open = |path: &Path| {
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    };
    program.ancestors().all(open)
}
