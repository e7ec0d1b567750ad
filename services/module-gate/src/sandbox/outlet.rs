//! The proxy that a module's services are reached by: live for a run, from recordings for tests and
//! oracles, which must repeat equal.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use egress::replay::{MAX_BYTES, Recording};
use egress::{Plan, Proxy, Source};
use thiserror::Error;
use walkdir::WalkDir;
use wire::usage::Usage;

use crate::module::manifest::Manifest;
use crate::sandbox::Sandbox;
use crate::upstreams::{self, Asker};

/// Where recordings lie in a module's folder, and how their names end.
pub const RECORDINGS: &str = "oracles/fixtures";
/// How the name of a recording ends.
pub const SUFFIX: &str = ".http.jsonl";
/// What tests and oracles may use: recorded answers cost nothing.
const UNLIMITED: u64 = wire::json::MAX_INTEGER;

/// Where answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The services, as far as the operator allows them.
    Live {
        /// Who asks.
        asker: Asker,
        /// Whether answers are kept for a recording.
        records: bool,
    },
    /// The recordings in the module's folder.
    Recorded,
}

/// Why a module's services cannot be reached.
#[derive(Debug, Error)]
pub enum OutletError {
    /// The operator does not allow one of them.
    #[error("{0}")]
    Refused(String),
    /// A recording of the module is invalid.
    #[error("{0}")]
    Recording(String),
    /// The host's own.
    #[error("could not start the proxy: {0}")]
    Host(#[from] io::Error),
}

/// Starts the proxy for one start of a program of the module in `folder`; nothing where it names no
/// services.
///
/// # Errors
/// [`OutletError`].
pub fn open(
    sandbox: &Sandbox,
    manifest: &Manifest,
    folder: &Path,
    budgets: Usage,
    way: Way,
) -> Result<Option<Proxy>, OutletError> {
    if manifest.upstreams.is_empty() {
        return Ok(None);
    }
    let (routes, source, records) = match way {
        Way::Live { asker, records } => {
            let allowed = sandbox.allowed.routes(&manifest.upstreams, asker);
            let (routes, clients) = allowed.map_err(OutletError::Refused)?;
            (routes, Source::Live(clients), records)
        }
        Way::Recorded => {
            let routes = manifest.upstreams.iter().map(upstreams::route);
            let routes = routes.collect::<Result<_, _>>().map_err(OutletError::Refused)?;
            let recording = recording(folder)?;
            (routes, Source::Recorded(Arc::new(recording)), false)
        }
    };
    let plan = Plan { routes, budgets, source, records, open: false };
    Ok(Some(Proxy::start(sandbox.engine()?, plan)?))
}

/// What tests and oracles may use.
pub fn unlimited() -> Usage {
    Usage { llm_in: UNLIMITED, llm_out: UNLIMITED, http_calls: UNLIMITED, runtime_ms: UNLIMITED }
}

/// Whether the module in `folder` brings a recording.
pub fn has_recording(folder: &Path) -> bool {
    files(folder).next().is_some()
}

/// Recordings in the order of their names. None where there is no such folder, which is not a
/// mistake: a module may declare services and bring no test that asks them.
fn files(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    WalkDir::new(folder.join(RECORDINGS))
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(SUFFIX))
        .map(walkdir::DirEntry::into_path)
}

/// Every recording of the module in `folder`.
fn recording(folder: &Path) -> Result<Recording, OutletError> {
    let mut recording = Recording::default();
    let mut bytes = 0;
    for path in files(folder) {
        let shown = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let text = fs::read_to_string(&path)
            .map_err(|error| OutletError::Recording(format!("{shown}: {error}")))?;
        // Together, since they are in memory together.
        bytes += text.len();
        if bytes > MAX_BYTES {
            let text = format!("the recordings have more than {MAX_BYTES} bytes together");
            return Err(OutletError::Recording(text));
        }
        recording
            .add(&text)
            .map_err(|error| OutletError::Recording(format!("{shown}: {error}")))?;
    }
    Ok(recording)
}
