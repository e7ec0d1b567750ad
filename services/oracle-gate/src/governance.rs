//! What is decided about a sealed pack: it is kept for a matter, archived, or read no more.
//!
//! Every decision is a record in the pack's log ([`seal::records`]), created once and never
//! changed. A decision is made on the whole log, and recorded under the next number by a
//! create-only write: if another writer was faster, the log is read again and the decision is made
//! anew. So a hold that was recorded before a tombstone blocks it, and one that comes after it is
//! refused; there is no time between at which both succeed.

use bytes::Bytes;
use seal::records::{
    self, Decision, Forbidden, Lifecycle, Log, MAX_RECORD_BYTES, RECORDS_DIR, Record, Version,
};
use seal::{MANIFEST_FILE, MAX_DOCUMENT_BYTES, SEAL_FILE, SealMarker};
use time::OffsetDateTime;
use wire::digest::Digest;

use crate::locator::inside;
use crate::objects::{Created, Objects, StoreError};
use crate::reasons::Reason;
use crate::sealing::SealingError;

/// Why the log of a pack is not known.
#[derive(Debug)]
pub enum LogError {
    /// The store did not give a record.
    Store(StoreError),
    /// A record is invalid, or does not follow; the pack may have a tombstone (O1).
    Invalid(String),
}

impl LogError {
    /// The reason that it is reported as.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::Invalid(_) => Reason::PackRecordInvalid,
        }
    }

    /// What went wrong.
    pub fn text(&self) -> String {
        match self {
            Self::Store(error) => error.to_string(),
            Self::Invalid(text) => text.clone(),
        }
    }
}

impl From<LogError> for SealingError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Store(error) => error.into(),
            LogError::Invalid(text) => Self::refused(Reason::PackRecordInvalid, text),
        }
    }
}

/// A sealed pack and everything that was decided about it.
#[derive(Debug, Clone)]
pub struct PackState {
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Its seal, if there is one that can be read, and the digest of its bytes.
    pub seal: Option<(Digest, SealMarker)>,
    /// The decisions.
    pub log: Log,
}

/// Reads the log of a pack. Its folder is listed, and every record up to the highest number has to
/// be there: a reader that stopped at the first number that is missing would take a pack whose first
/// record was removed for one without a tombstone. Records are only ever created, so in a bucket a
/// record that was deleted or replaced is found by what the bucket keeps of it.
///
/// # Errors
/// When the folder cannot be listed, holds anything but records, or a record cannot be read, is
/// none, or was removed. Then the pack is not to be read.
pub async fn log(objects: &Objects, root: &str) -> Result<Log, LogError> {
    let folder = inside(root, RECORDS_DIR);
    let beside = objects.beside_records(&folder).await.map_err(unlisted)?;
    // Whatever is no file is no record, and one that cannot be looked at may be one.
    if let Some(other) = beside.others.into_iter().next() {
        return Err(unlisted(other));
    }
    let invalid = |path: &str, text: String| LogError::Invalid(format!("{path}: {text}"));
    let count = records::count(beside.files.iter().map(String::as_str))
        .map_err(|error| invalid(&folder, error.to_string()))?;
    let mut log = Log::default();
    for number in 1..=count {
        let path = inside(root, &records::path(number));
        match objects.read(&path, MAX_RECORD_BYTES).await {
            Ok(Some(bytes)) => {
                log.add(&bytes).map_err(|error| invalid(&path, error.to_string()))?
            }
            Ok(None) => {
                return Err(invalid(&path, format!("it is not there, and record {count} is")));
            }
            // Something is there that is no record, and a tombstone may be what it was (O1).
            Err(error @ (StoreError::TooLarge { .. } | StoreError::Link { .. })) => {
                return Err(invalid(&path, error.to_string()));
            }
            Err(error) => return Err(LogError::Store(error)),
        }
    }
    // A tombstone is final; missing records do not change that.
    if log.tombstone().is_none() {
        removed(objects, &folder).await?;
    }
    Ok(log)
}

/// Whether the store keeps a deletion, or an earlier version, of a record. From a folder of this
/// machine nothing shows that the last records were removed.
async fn removed(objects: &Objects, folder: &str) -> Result<(), LogError> {
    let rewritten = objects.rewritten(folder).await.map_err(LogError::Store)?;
    let record = |name: &String| records::number_of(name).is_some();
    match rewritten.into_iter().flatten().find(record) {
        Some(name) => Err(LogError::Invalid(format!(
            "{folder}/{name}: the store keeps a deletion or an earlier version of it, and a record \
             is created once"
        ))),
        None => Ok(()),
    }
}

/// Anything else in place of the folder of records invalidates the log.
fn unlisted(error: StoreError) -> LogError {
    match error {
        StoreError::Link { .. } | StoreError::Name { .. } | StoreError::TooLarge { .. } => {
            LogError::Invalid(error.to_string())
        }
        error => LogError::Store(error),
    }
}

/// Whether a log is about the pack that this seal closed: the records of one pack say nothing about
/// another. A seal that cannot be read is reported separately.
///
/// # Errors
/// When it is about another one.
pub fn is_of(log: &Log, root: &str, seal: Option<&[u8]>) -> Result<(), LogError> {
    let marker = seal.and_then(|bytes| SealMarker::parse(bytes).ok());
    let seal = marker.zip(seal).map(|(marker, bytes)| (marker.pack_id(), Digest::of(bytes)));
    match (log.about(), seal) {
        (Some(about), Some(seal)) if about != seal => Err(LogError::Invalid(format!(
            "{}: it is about another seal than the pack's",
            inside(root, &records::path(1))
        ))),
        _ => Ok(()),
    }
}

/// What a tombstone says, for a report.
pub fn tombstone_text(record: &Record) -> String {
    record.tombstone_text().unwrap_or_default()
}

/// Where a pack is in its life, and what was decided about it.
///
/// # Errors
/// Store errors, or an invalid record or seal.
pub async fn state(objects: &Objects, root: &str) -> Result<PackState, SealingError> {
    let log = log(objects, root).await?;
    let bytes = objects.read(&inside(root, SEAL_FILE), MAX_DOCUMENT_BYTES).await?;
    if log.tombstone().is_none() {
        is_of(&log, root, bytes.as_deref())?;
    }
    let seal = match bytes {
        // A tombstone outranks the seal, also one that cannot be read any more.
        _ if log.tombstone().is_some() => None,
        None => None,
        Some(bytes) => {
            let seal = SealMarker::parse(&bytes)
                .map_err(|error| SealingError::refused(Reason::SealInvalid, error.to_string()))?;
            Some((Digest::of(&bytes), seal))
        }
    };
    let lifecycle = log.lifecycle(seal.as_ref().map(|(_, seal)| seal.status()));
    Ok(PackState { lifecycle, seal, log })
}

/// What is to be recorded.
#[derive(Debug, Clone)]
pub struct Order {
    /// Who decided it.
    pub authority: String,
    /// When.
    pub now: OffsetDateTime,
}

/// The digest of a sealed pack's manifest, which a tombstone keeps.
///
/// # Errors
/// `PACK_NOT_SEALED`, `PACK_MANIFEST_MISSING`, and store errors.
pub async fn manifest_digest(
    objects: &Objects,
    root: &str,
    state: &PackState,
) -> Result<Digest, SealingError> {
    let (_, seal) = sealed(state)?;
    // What the seal binds counts; the manifest itself may be another by now.
    if let Some(digest) = seal.manifest_digest() {
        return Ok(digest);
    }
    let manifest = objects.read(&inside(root, MANIFEST_FILE), MAX_DOCUMENT_BYTES).await?;
    manifest.map(|bytes| Digest::of(&bytes)).ok_or_else(|| {
        SealingError::refused(Reason::PackManifestMissing, "there is no digest of it to keep")
    })
}

fn sealed(state: &PackState) -> Result<&(Digest, SealMarker), SealingError> {
    if let Some(record) = state.log.tombstone() {
        return Err(SealingError::refused(Reason::PackTombstoned, tombstone_text(record)));
    }
    state.seal.as_ref().ok_or_else(|| {
        SealingError::refused(Reason::PackNotSealed, "only a sealed pack gets records")
    })
}

fn forbidden(state: &PackState, forbidden: &Forbidden) -> SealingError {
    let (reason, text) = match forbidden {
        Forbidden::Tombstoned(_) => {
            let text = state.log.tombstone().map(tombstone_text).unwrap_or_default();
            (Reason::PackTombstoned, text)
        }
        Forbidden::Held(number) => {
            let holds = state.log.holds();
            let text = match holds.get(number).map(|record| (record, &record.decision)) {
                Some((record, Decision::Hold { matter })) => {
                    format!("{forbidden}: by {}, for {matter}", record.authority)
                }
                _ => forbidden.to_string(),
            };
            (Reason::PackOnHold, text)
        }
        Forbidden::Archived(_) | Forbidden::NotHeld(_) | Forbidden::Full => {
            (Reason::PackRecordRefused, forbidden.to_string())
        }
    };
    SealingError::refused(reason, text)
}

/// Records a decision, as the next of the pack's log.
///
/// # Errors
/// `PACK_NOT_SEALED`; `PACK_TOMBSTONED`, `PACK_ON_HOLD` or `PACK_RECORD_REFUSED` where what was
/// decided before forbids it; `PACK_RECORD_INVALID` where that cannot be read; store errors. After
/// a doubtful answer of the store the record is read back: whether it is ours is seen by its bytes.
pub async fn record(
    objects: &Objects,
    root: &str,
    order: &Order,
    decision: &Decision,
) -> Result<Record, SealingError> {
    loop {
        // Each round decides anew on the whole log: a new record may forbid what was allowed
        // before.
        let state = state(objects, root).await?;
        let (seal_digest, seal) = sealed(&state)?;
        state.log.allows(decision).map_err(|refusal| forbidden(&state, &refusal))?;
        let record = Record {
            version: Version::V1,
            number: state.log.next_number(),
            previous: state.log.last(),
            oracle_pack_id: seal.pack_id(),
            seal_digest: *seal_digest,
            authority: order.authority.clone(),
            recorded_at_utc: order.now,
            decision: decision.clone(),
        };
        record
            .check()
            .map_err(|error| SealingError::refused(Reason::ConfigInvalid, error.to_string()))?;
        let path = inside(root, &records::path(record.number));
        let bytes = Bytes::from(record.to_bytes()?);
        match objects.create(&path, bytes.clone()).await {
            Ok(Created::New) => return Ok(record),
            // Another writer took the number, or an earlier try of ours did and its answer was
            // lost.
            doubtful => match (objects.read(&path, MAX_RECORD_BYTES).await?, doubtful) {
                (Some(found), _) if found == bytes => return Ok(record),
                (Some(_), _) => {}
                (None, Err(error)) => return Err(error.into()),
                (None, Ok(_)) => {
                    let text = format!("{path} went away");
                    return Err(SealingError::refused(Reason::SealUnconfirmed, text));
                }
            },
        }
    }
}
