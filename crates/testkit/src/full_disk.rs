//! Standard output on a disk without space.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

/// Runs a program whose standard output cannot be written. It has to exit with `expected`, and to say
/// why on one line of standard error.
pub fn assert_full_disk_is_no_success(program: &str, arguments: &[&str], expected: i32) {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a disk without space");
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/").stdout(full).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let output = child.wait_with_output().expect("the program ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert!(said.contains("standard output") && said.contains("No space left"), "{said}");
}
