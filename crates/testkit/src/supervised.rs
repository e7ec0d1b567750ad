//! A server that cannot outlive its test process.
//!
//! A shell starts the server and then reads from a pipe that only the test process holds open.
//! However that process ends, also by SIGKILL, the pipe closes; the shell then kills the server
//! and removes its folder. The shell has a process group of its own, so that a signal to the
//! test's group does not end it before it has cleaned up.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use nix::unistd::{User, geteuid};

/// `$1` is the folder to remove at the end (or empty), `$2` the log, and the rest the server.
const SCRIPT: &str = r#"
folder=$1 log=$2
shift 2
"$@" >"$log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -KILL "$server"
wait "$server"
if [ -n "$folder" ]; then rm -rf "$folder"; fi
"#;

/// A running server; it is killed when this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Supervised(Child);

/// Who a server runs as when the tests run as root, which Postgres refuses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Supervised {
    /// Starts `server`, its output going to `log`. `remove` is deleted after its end.
    pub(crate) fn start(
        server: &[OsString],
        log: &Path,
        remove: Option<&Path>,
        account: Option<Account>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(SCRIPT).arg("supervised");
        command.arg(remove.map(Path::as_os_str).unwrap_or_default()).arg(log).args(server);
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(account) = account {
            account.apply(&mut command);
        }
        command.spawn().map(Self).context("cannot start the supervising shell")
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // The shell reads from this pipe; its end is the signal to clean up.
        drop(self.0.stdin.take());
        // Waiting keeps the next test from meeting what is left of this server.
        drop(self.0.wait());
    }
}

impl Account {
    /// The account to use, if this process is root; `None` if it is not.
    pub(crate) fn if_root() -> anyhow::Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let user =
            ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok()?);
        let user = user.context("running as root, and there is no user postgres or nobody")?;
        Ok(Some(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }

    /// Makes `command` run as this account.
    pub(crate) fn apply(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives `folder` to this account.
    pub(crate) fn own(self, folder: &Path) -> io::Result<()> {
        std::os::unix::fs::chown(folder, Some(self.uid), Some(self.gid))
    }
}
