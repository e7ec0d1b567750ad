//! An S3 service that holds to conditions and keeps versions: moto, as a process of its own.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use crate::programs::program;
use crate::supervised::Supervised;

const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The endpoint of moto, one server for each test process; `None` where moto is not installed. It
/// is the program named by `MOTO_SERVER`, or `moto_server`.
///
/// # Panics
/// When moto does not start, or is missing where `MOTO_SERVER` or `CI` is set: there it has to be.
pub async fn moto() -> Option<String> {
    let program = env::var_os("MOTO_SERVER").map(PathBuf::from).or_else(|| program("moto_server"));
    let Some(program) = program else {
        assert!(env::var_os("CI").is_none(), "there is no moto_server; set MOTO_SERVER");
        eprintln!("skipped: there is no moto_server (./dev test brings it)");
        return None;
    };
    Some(server(program).await.unwrap_or_else(|error| panic!("cannot start moto: {error:#}")))
}

async fn server(program: PathBuf) -> anyhow::Result<String> {
    static SERVER: OnceLock<Result<(PathBuf, Supervised), String>> = OnceLock::new();
    let log = tokio::task::spawn_blocking(|| {
        let server = SERVER.get_or_init(|| {
            let start = || {
                let folder = tempfile::Builder::new().prefix("lumio-moto-").tempdir()?.keep();
                let log = folder.join("log");
                let server: [OsString; 5] =
                    [program.into(), "-H".into(), "127.0.0.1".into(), "-p".into(), "0".into()];
                anyhow::Ok((log.clone(), Supervised::start(&server, &log, Some(&folder), None)?))
            };
            start().map_err(|error| format!("{error:#}"))
        });
        server.as_ref().map(|(log, _)| log.clone()).map_err(Clone::clone)
    });
    read_address(&log.await?.map_err(anyhow::Error::msg)?).await
}

/// Where it listens, as it says in its log.
async fn read_address(log: &Path) -> anyhow::Result<String> {
    let give_up_at = Instant::now() + START_TIMEOUT;
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let said = text.split_once("Running on http://").and_then(|(_, rest)| {
            let (address, _) = rest.split_once(char::is_whitespace)?;
            Some(format!("http://{address}"))
        });
        if let Some(url) = said {
            return Ok(url);
        }
        let lost = || format!("it does not say where it listens: {text}");
        ensure!(Instant::now() < give_up_at, lost());
        sleep(Duration::from_millis(20)).await;
    }
}
