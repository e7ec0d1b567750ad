//! A program under test as a process of its own, which a test can kill.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running program. Killed when dropped, and by the kernel should the test process die.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` of this build with exactly `env` (and [`inherited`]), its output going to
    /// `<folder>/<name>.log`.
    pub fn start(
        name: &str,
        program: &str,
        args: &[&str],
        env: &BTreeMap<String, String>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(binary(program)?)
            .args(args)
            .env_clear()
            .envs(inherited())
            .envs(env)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("could not start {program}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until something answers on `port`.
    ///
    /// # Errors
    ///
    /// When the program ends first or the port stays silent for 60 seconds; with the end of its
    /// log.
    pub async fn answering(mut self, port: u16) -> anyhow::Result<Self> {
        for _ in 0..600 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(self);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{} does not answer on port {port}:\n{}", self.name, self.log_tail())
    }

    /// SIGKILL: no goodbye.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it (SIGSTOP) until [`Process::go_on`].
    pub fn hold(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it continue (SIGCONT).
    pub fn go_on(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Whether it is stopped by a SIGSTOP.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn is_held(&mut self) -> anyhow::Result<bool> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, self.log_tail());
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name before the state may hold blanks, and ends with the last bracket.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('T'));
        state.context("/proc says nothing of the process's state")
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process has an id")?, signal)?;
        Ok(())
    }

    /// Waits for the end of the program, `limit` at most.
    pub async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if deadline < tokio::time::Instant::now() {
                bail!("{} still runs after {limit:?}:\n{}", self.name, self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last lines of its log, for a failing test.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What programs have of this process's environment: where other programs are, and which root
/// certificates a client of TLS reads.
pub fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    let value = |name| std::env::var_os(name).map(|value| (name, value));
    ["PATH", "SSL_CERT_FILE"].into_iter().filter_map(value)
}

/// The folder that was chosen for the programs.
static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();

/// Takes the programs from this folder from now on.
///
/// # Errors
///
/// When a folder was chosen before.
pub fn use_programs(folder: PathBuf) -> anyhow::Result<()> {
    PROGRAMS
        .set(folder)
        .map_err(|_| anyhow::anyhow!("the folder of the programs is chosen already"))
}

/// Where `program` is: in the folder that was chosen, else where cargo put it, which is beside this
/// program, or beside the folder of the test binary.
pub fn binary(program: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().context("a program has a folder")?;
    let is_test = folder.file_name().is_some_and(|name| name == "deps");
    let folder = folder.parent().filter(|_| is_test).unwrap_or(folder);
    let path = PROGRAMS.get().map_or(folder, PathBuf::as_path).join(program);
    if !path.exists() {
        let place = path.display();
        bail!("there is no {place}: run cargo build --workspace, or ./dev test");
    }
    Ok(path)
}

/// A port nobody listens on, given out once in this process.
pub fn free_port() -> anyhow::Result<u16> {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().map_err(|_| anyhow::anyhow!("another test panicked"))?;
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        if !given.contains(&port) {
            given.push(port);
            return Ok(port);
        }
    }
}
