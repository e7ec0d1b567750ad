//! What every call needs at hand: database, store, sandbox, key, and the word to stop.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chassis::outbox;
use object_store::ObjectStore;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use wire::digest::{Digest, Hasher};
use wire::event::Data;

use crate::error::Error;
use crate::judging::finding::GUARD_VERSION;
use crate::keys::AttestationKeys;
use crate::progress::Progress;
use crate::sandbox::Sandbox;

/// Shared by all calls of one process.
#[derive(Clone)]
pub struct Gate {
    /// This service's own database.
    pub db: PgPool,
    /// Modules to read, staging to write.
    pub store: Arc<dyn ObjectStore>,
    /// Where modules run.
    pub sandbox: Sandbox,
    /// What statements are signed with.
    pub keys: Arc<AttestationKeys>,
    /// Prefix of subjects on the bus.
    pub prefix: String,
    /// How many modules may run at once.
    pub permits: Arc<Semaphore>,
    /// How long an execution stays its holder's without a renewal.
    pub lease: Duration,
    /// Cancelled when the service stops.
    pub stop: CancellationToken,
    /// The clock.
    pub now: fn() -> OffsetDateTime,
    /// Digest of what a verdict depends on beside policy and module: guard, kernel, runtime.
    pub engine: Digest,
}

/// Digest of guard, kernel and runtime (M10).
///
/// # Errors
/// The runtime cannot be read or does not run.
pub fn engine(sandbox: &Sandbox) -> anyhow::Result<Digest> {
    let support = guard::probe();

    // The version comes from the program itself. Builds of one version differ, so its digest counts
    // too.
    let version = Command::new(&sandbox.node).arg("--version").output()?.stdout;
    let engine = json!({
        "tier": support.tier, "kernel": support.kernel, "landlock": support.landlock_abi,
        "guard": GUARD_VERSION, "runtime": String::from_utf8_lossy(&version),
        "runtime_digest": digest_of(&sandbox.node)?,
    });
    Ok(wire::json::digest(&engine)?)
}

/// Digest of a whole file: two builds of a runtime may differ in a few bytes in its middle.
fn digest_of(path: &Path) -> std::io::Result<Digest> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

impl Gate {
    /// The lease in milliseconds, as the database counts it.
    pub fn lease_ms(&self) -> i64 {
        i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX)
    }

    /// Waits, unless the service stops.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if it stops.
    pub async fn pause(&self, time: Duration) -> Result<(), Error> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.stop.cancelled() => Err(Error::Interrupted("this service stops")),
        }
    }

    /// Waits for a place to run a module in.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the service stops.
    pub async fn permit(&self, progress: &Progress) -> Result<OwnedSemaphorePermit, Error> {
        // For the reader only: another call may take the last place right after this question.
        if self.permits.available_permits() == 0 {
            progress.report("queued", "all places are taken");
        }
        tokio::select! {
            permit = Arc::clone(&self.permits).acquire_owned() => {
                permit.map_err(Error::host("wait for a place"))
            }
            () = self.stop.cancelled() => Err(Error::Interrupted("this service stops")),
        }
    }

    /// Puts an event about a module into the outbox, in the transaction that makes it true (R14).
    ///
    /// # Errors
    /// The database's own.
    pub async fn publish_event<D: Data + Sync>(
        &self,
        conn: &mut PgConnection,
        name: D::Name,
        data: &D,
        at: OffsetDateTime,
    ) -> Result<(), Error> {
        let trace = Some(chassis::telemetry::traceparent());
        outbox::publish(conn, &self.prefix, name, data, at, trace)
            .await
            .map_err(Error::host("store the event"))
    }
}
