//! Whether a program is a Node that modules can rely on.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tokio::time::Instant;

use super::SYSTEM_PATH;

/// The first release of Node that modules can rely on.
const OLDEST: u32 = 20;
/// How long it may take to say which one it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A version is shorter than this.
const MAX_BYTES: u64 = 256;

/// The version that `program` says it is.
///
/// # Errors
/// Why it is no Node that can be used.
pub fn version(program: &Path) -> Result<String, String> {
    let said = ask(program).map_err(|error| format!("{}: {error}", program.display()))?;
    let said = said.trim();
    let number = said.strip_prefix('v').and_then(|rest| rest.split('.').next());
    match number.and_then(|number| number.parse::<u32>().ok()) {
        Some(major) if major >= OLDEST => Ok(said.to_owned()),
        Some(_) => Err(format!("is {said}; Node {OLDEST} or later is needed")),
        None => Err(format!("{} is no Node: it names no version of it", program.display())),
    }
}

/// What it prints if it is asked for its version.
fn ask(program: &Path) -> std::io::Result<String> {
    let mut command = Command::new(program);
    // Without this process's environment, which holds secrets (R9).
    command.env_clear().env("PATH", SYSTEM_PATH).arg("--version");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let until = Instant::now() + PATIENCE;
    // What it prints waits in the pipe; a program that prints more than that has to be ended.
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Err(std::io::Error::other("it does not say its version in time"));
        }
        sleep(LOOK_EVERY);
    }
    let mut said = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(MAX_BYTES).read_to_end(&mut said)?;
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
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
        for other in ["true", "echo 22.3.0", "echo version", "exit 1"] {
            assert!(says(other).unwrap_err().contains("is no Node"), "{other}");
        }
        assert!(version(&folder.path().join("absent")).is_err());
    }
}
