//! A fresh database for a test, and a server that a test may stop.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::{Instant, sleep, timeout};

use crate::programs::program;
use crate::supervised::{Account, Supervised};
use crate::{eventually, fresh_name, in_own_runtime};

/// How long a private server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Nothing has to survive a crash, so nothing is synced.
const FORGETS_AT_A_CRASH: &[&str] =
    &["-cfsync=off", "-csynchronous_commit=off", "-cfull_page_writes=off"];
/// A commit survives the end of the server; that of the machine is in no test.
const KEEPS_COMMITS: &[&str] = &["-cfsync=off"];
/// A commit is on the disk when it is answered, as in production.
const DURABLE: &[&str] = &["-cfsync=on", "-csynchronous_commit=on", "-cfull_page_writes=on"];

/// A database of the test's own; dropped with this value.
#[derive(Debug)]
pub struct TestDb {
    /// Where it is, for a `DATABASE_URL`.
    pub url: String,
    /// Connections to it.
    pub pool: PgPool,
    admin_url: String,
    name: String,
}

/// Postgres ends a transaction of a service that is idle for 30 s: one that was left open must be
/// seen before.
const LEFT_OPEN_FOR: Duration = Duration::from_secs(20);

impl TestDb {
    /// Waits until no transaction is open without a statement in it.
    ///
    /// # Panics
    ///
    /// When one still is after 20 s.
    pub async fn has_no_open_transaction(&self) {
        let text = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        let none = eventually(|| async {
            let open: i64 =
                sqlx::query_scalar(text).fetch_one(&self.pool).await.expect("Postgres answers");
            open == 0
        });
        timeout(LEFT_OPEN_FOR, none).await.expect("no transaction is left open");
    }
}

/// A server of the test's own, that it may stop and start again at the same address.
#[derive(Debug)]
pub struct PostgresServer {
    url: String,
    layout: Layout,
    settings: Vec<String>,
    running: Option<Supervised>,
}

/// Where a private server has its programs and its data.
#[derive(Debug)]
struct Layout {
    bin: PathBuf,
    folder: PathBuf,
    account: Option<Account>,
}

/// A new, empty database.
///
/// # Panics
///
/// When there is no server and none can be started; the text says what is missing.
pub async fn postgres() -> TestDb {
    fresh().await.unwrap_or_else(|error| panic!("no database for this test: {error:#}"))
}

impl PostgresServer {
    /// Makes a server, and starts it.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(KEEPS_COMMITS).await
    }

    /// The same for measurements: a commit is on the disk when it is answered.
    ///
    /// # Errors
    ///
    /// As [`PostgresServer::start`].
    pub async fn durable() -> anyhow::Result<Self> {
        Self::start_with(DURABLE).await
    }

    async fn start_with(settings: &[&str]) -> anyhow::Result<Self> {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let made = tokio::task::spawn_blocking(|| {
            let layout = Layout::make()?;
            let running = Some(layout.start(&settings, None)?);
            anyhow::Ok(Self { url: layout.url(), layout, settings, running })
        });
        let server = made.await??;
        until_open(&server.url, START_TIMEOUT).await?;
        Ok(server)
    }

    /// A new, empty database of it.
    ///
    /// # Errors
    ///
    /// When the server is stopped.
    pub async fn database(&self) -> anyhow::Result<TestDb> {
        fresh_of(self.url.clone()).await
    }

    /// Kills it (SIGKILL). What was committed is kept.
    pub fn stop(&mut self) {
        drop(self.running.take());
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    ///
    /// As [`PostgresServer::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop();
        let give_up_at = Instant::now() + START_TIMEOUT;
        loop {
            // A server refuses to start while a process of the killed one still ends.
            self.running = Some(self.layout.start(&self.settings, None)?);
            match until_open(&self.url, Duration::from_secs(5)).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= give_up_at => return Err(error),
                Err(_) => self.stop(),
            }
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
        drop(std::fs::remove_dir_all(&self.layout.folder));
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (admin, name) = (self.admin_url.clone(), self.name.clone());
        in_own_runtime(async move {
            if let Ok(mut conn) = PgConnection::connect(&admin).await {
                // FORCE, since the pool's connections may still be open.
                let text = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                drop(execute(&mut conn, text).await);
            }
        });
    }
}

async fn fresh() -> anyhow::Result<TestDb> {
    let admin_url = match env::var_os("DATABASE_URL") {
        Some(url) => url.into_string().ok().context("DATABASE_URL is not text")?,
        None => private_server().await?,
    };
    fresh_of(admin_url).await
}

async fn fresh_of(admin_url: String) -> anyhow::Result<TestDb> {
    let name = fresh_name("test_");
    let mut conn = PgConnection::connect(&admin_url).await.context("cannot reach the server")?;
    execute(&mut conn, format!("CREATE DATABASE {name}")).await?;
    let mut url = url::Url::parse(&admin_url)?;
    url.set_path(&name);
    let pool = PgPool::connect(url.as_str()).await?;
    Ok(TestDb { url: url.into(), pool, admin_url, name })
}

/// `text` holds only names made here.
async fn execute(conn: &mut PgConnection, text: String) -> sqlx::Result<()> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(conn).await.map(drop)
}

/// The URL of this process's own server, started by the first who asks.
async fn private_server() -> anyhow::Result<String> {
    static SERVER: OnceLock<Result<(String, Supervised), String>> = OnceLock::new();
    // Starting takes seconds and blocks; the runtime of a test has one thread.
    let started = tokio::task::spawn_blocking(|| {
        let start = || {
            let layout = Layout::make()?;
            let running = layout.start(FORGETS_AT_A_CRASH, Some(&layout.folder))?;
            anyhow::Ok((layout.url(), running))
        };
        let server = SERVER.get_or_init(|| start().map_err(|error| format!("{error:#}")));
        server.as_ref().map(|(url, _)| url.clone()).map_err(Clone::clone)
    });
    let url = started.await?.map_err(anyhow::Error::msg)?;
    until_open(&url, START_TIMEOUT).await?;
    Ok(url)
}

async fn until_open(url: &str, limit: Duration) -> anyhow::Result<()> {
    let give_up_at = Instant::now() + limit;
    loop {
        match PgConnection::connect(url).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= give_up_at => {
                return Err(error).context("the private Postgres does not answer");
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Layout {
    /// A folder with an empty cluster in it.
    fn make() -> anyhow::Result<Self> {
        let initdb = program("initdb").context("DATABASE_URL is not set and there is no initdb")?;
        let account = Account::if_root()?;
        let folder = folder(account)?;
        let bin = initdb.parent().context("initdb has no folder")?;
        let bin = if account.is_some() { reachable(bin, &folder)? } else { bin.to_owned() };
        init(&bin, &folder.join("data"), account)?;
        Ok(Self { bin, folder, account })
    }

    /// Listens on a socket in its own folder only: no port to collide on.
    fn start(
        &self,
        settings: &[impl AsRef<OsStr>],
        remove: Option<&Path>,
    ) -> anyhow::Result<Supervised> {
        let mut server: Vec<OsString> = [
            self.bin.join("postgres").into_os_string(),
            "-D".into(),
            self.folder.join("data").into(),
            "-k".into(),
            self.folder.clone().into(),
            "-clisten_addresses=".into(),
            "-cmax_connections=300".into(),
        ]
        .into();
        server.extend(settings.iter().map(|setting| setting.as_ref().to_owned()));
        Supervised::start(&server, &self.folder.join("log"), remove, self.account)
    }

    fn url(&self) -> String {
        let folder = self.folder.as_os_str().as_encoded_bytes();
        let host: String = url::form_urlencoded::byte_serialize(folder).collect();
        format!("postgres://postgres@localhost/postgres?host={host}")
    }
}

fn init(bin: &Path, data: &Path, account: Option<Account>) -> anyhow::Result<()> {
    let mut initdb = Command::new(bin.join("initdb"));
    initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    initdb.args(["--no-sync", "-D"]).arg(data).current_dir("/");
    if let Some(account) = account {
        account.apply(&mut initdb);
    }
    let done = initdb.output().context("cannot run initdb")?;
    if !done.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// A folder of the server's own, whose path is short enough for a socket (107 bytes).
fn folder(account: Option<Account>) -> anyhow::Result<PathBuf> {
    let temporary = env::temp_dir();
    let short = temporary.as_os_str().len() <= 64;
    let parent = if short { temporary.as_path() } else { Path::new("/tmp") };
    let folder = tempfile::Builder::new().prefix("lumio-pg-").tempdir_in(parent)?.keep();
    if let Some(account) = account {
        account.own(&folder)?;
    }
    Ok(folder)
}

/// `bin`, or a copy of its installation where the other account can reach it.
fn reachable(bin: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let open = |path: &Path| {
        path.metadata().is_ok_and(|found| found.permissions().mode() & 0o005 == 0o005)
    };
    if bin.ancestors().all(open) {
        return Ok(bin.to_owned());
    }
    let installation = bin.parent().context("Postgres has no folder")?;
    let copy = folder.join("pg");
    let copied = Command::new("cp").arg("-rL").arg(installation).arg(&copy).status()?;
    let opened = Command::new("chmod").args(["-R", "a+rX"]).arg(&copy).status()?;
    if !copied.success() || !opened.success() {
        bail!("cannot copy {} to where Postgres can reach it", installation.display());
    }
    Ok(copy.join("bin"))
}
