//! Whether a program is a Node that modules can rely on.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::time::Instant;

use super::SYSTEM_PATH;

/// The first release of Node that modules can rely on.
const OLDEST: u32 = 20;
/// How long it may take to say which one it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two checks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A version is shorter than this.
const MAX_BYTES: u64 = 256;

/// The version that `program` says it is.
///
/// # Errors
/// Why it is not a Node that can be used.
pub fn version(program: &Path) -> Result<String, String> {
    let said = ask(program).map_err(|error| format!("{}: {error}", program.display()))?;
    let said = said.trim();
    let number = said.strip_prefix('v').and_then(|rest| rest.split('.').next());
    match number.and_then(|number| number.parse::<u32>().ok()) {
        Some(major) if major >= OLDEST => Ok(said.to_owned()),
        Some(_) => Err(format!("is {said}; Node {OLDEST} or later is needed")),
        None => Err(format!("{} is not Node: `--version` printed no version", program.display())),
    }
}

/// What it prints if it is asked for its version.
fn ask(program: &Path) -> io::Result<String> {
    let mut command = Command::new(program);
    // Without this process's environment, which holds secrets (R9). In a group of its own, by which
    // what it starts is ended too.
    command.env_clear().env("PATH", SYSTEM_PATH).arg("--version").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let ended = wait_for(&child);

    // As long as the child is not waited for, no other group has its number.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let status = child.wait()?;
    if !ended? {
        return Err(io::Error::other("it does not print its version in time"));
    }
    if !status.success() {
        return Err(io::Error::other(format!("asked for its version, it ends with {status}")));
    }
    let mut said = Vec::new();
    if let Some(out) = child.stdout.take() {
        // A process that has left the group may hold the pipe open, so its end is not waited for.
        ioctl_fionbio(&out, true)?;
        match out.take(MAX_BYTES).read_to_end(&mut said) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => drop(read?),
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Whether `child` ends within [`PATIENCE`]. Its output is buffered in the pipe; a program that
/// fills the pipe does not end in time. Its status is kept for the call that waits for it.
fn wait_for(child: &Child) -> io::Result<bool> {
    let until = Instant::now() + PATIENCE;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    loop {
        if waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some() {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_program_that_is_no_node_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let says = |text: &str| {
            let program = folder.path().join("node");
            std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            version(&program)
        };
        assert_eq!(says("echo v22.3.0").unwrap(), "v22.3.0");
        assert!(says("echo v18.1.0").unwrap_err().contains("Node 20 or later"));
        for other in ["true", "echo 22.3.0", "echo version"] {
            assert!(says(other).unwrap_err().contains("is not Node"), "{other}");
        }
        let error = says("echo v22.3.0; exit 1").unwrap_err();
        assert!(error.contains("exit status: 1"), "{error}");

        // A process that it leaves behind has the pipe, and is ended.
        assert_eq!(says("sleep 86400 & echo v22.3.0").unwrap(), "v22.3.0");
        assert!(version(&folder.path().join("absent")).is_err());
    }
}
