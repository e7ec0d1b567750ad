//! The interpreters of a script: they are named by its first line and belong to the command that
//! the script is (M15).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::paths::existing;

/// The kernel reads this much of a first line.
const LINE_BYTES: usize = 256;
/// How many interpreters of interpreters the kernel follows.
const MOST: usize = 4;

/// The interpreters named by the first line of a script, and of those that are scripts themselves.
pub(crate) fn interpreters(program: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut script = program.to_owned();
    while found.len() < MOST {
        let Some(line) = first_line(&script) else { break };
        let Some(path) = existing(line.split_whitespace().next().map(PathBuf::from)).pop() else {
            break;
        };
        found.push(path.clone());
        script = path;
    }
    found
}

/// The program that `env` starts for a script whose first line is `#!/usr/bin/env <name>`: looked
/// up in the command's own `PATH`, as `env` does.
pub(crate) fn by_env(program: &Path, path: &OsStr, cwd: &Path) -> Option<PathBuf> {
    let line = first_line(program)?;
    let mut words = line.split_whitespace();
    if Path::new(words.next()?).file_name()? != "env" {
        return None;
    }
    // Without -S the rest of the line is one word for env; with it, options and variables may come
    // before the name.
    let name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    let executable = |path: PathBuf| {
        let path = path.canonicalize().ok()?;
        let metadata = path.metadata().ok()?;
        (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(path)
    };
    if name.contains('/') {
        return executable(cwd.join(name));
    }
    let folders = path.as_bytes().split(|byte| *byte == b':');
    folders.map(|folder| cwd.join(OsStr::from_bytes(folder)).join(name)).find_map(executable)
}

/// What follows `#!`.
fn first_line(script: &Path) -> Option<String> {
    let mut head = [0; LINE_BYTES];
    let read = File::open(script).ok()?.read(&mut head).ok()?;
    let line = head[..read].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(std::str::from_utf8(line).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn env_is_looked_through() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        let path = OsStr::new("/nonexistent:/usr/bin:/bin");
        for line in ["#!/usr/bin/env sh", "#! /usr/bin/env -S A=1 sh -e", "#!/usr/bin/env -S sh"] {
            fs::write(&script, format!("{line}\necho")).unwrap();
            let found = by_env(&script, path, folder.path()).unwrap();
            assert_eq!(found, Path::new("/bin/sh").canonicalize().unwrap(), "{line}");
        }
        fs::write(&script, "#!/bin/sh\n").unwrap();
        assert_eq!(by_env(&script, path, folder.path()), None);
        assert_eq!(interpreters(&script), [Path::new("/bin/sh").canonicalize().unwrap()]);
    }
}
