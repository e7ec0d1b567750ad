//! What is decided about a pack after its seal: holds and their releases, archiving, a tombstone.
//!
//! The decisions are a log beside the seal, `_records/1.json`, `2.json`, … Each record is created
//! once and names the digest of the one before it, so the log has one order however many write at
//! once: of two writers that both want to be number 3, one is, and the other reads again and
//! decides again. That is what makes "a hold blocks a tombstone" hold without a lock, and the life
//! of a pack go one way.
//!
//! A record removes no byte. A tombstone outranks the seal and every file: a reader that finds one
//! reads nothing else of the pack. A record that cannot be read is an error, never an absent one
//! (O1).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use wire::digest::Digest;

use crate::json;
use crate::marker::SealStatus;

/// Folder of the records inside a pack.
pub const RECORDS_DIR: &str = "_records";
/// Longest text of a record, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;
/// Most bytes that a record may have.
pub const MAX_RECORD_BYTES: u64 = 64 << 10;
/// Most records that a pack may have.
pub const MAX_RECORDS: u32 = 1000;

const UNFINISHED_HEAD: &str = ".oracle-gate-";
const UNFINISHED_TAIL: &str = ".part";

/// The name of a file that oracle-gate is writing, on a file system where it needs one before it is
/// whole and gets its own. The nonce is drawn for each file.
pub fn unfinished_name(nonce: [u8; 16]) -> String {
    format!("{UNFINISHED_HEAD}{}{UNFINISHED_TAIL}", hex::encode(nonce))
}

/// Whether a name is one of [`unfinished_name`]. Any program may have made a file of such a name.
pub fn is_unfinished(name: &str) -> bool {
    let nonce = name.strip_prefix(UNFINISHED_HEAD);
    let nonce = nonce.and_then(|rest| rest.strip_suffix(UNFINISHED_TAIL));
    nonce.is_some_and(|nonce| {
        nonce.len() == 32 && nonce.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether a path below a pack's root is that of a record that is being written, or that a crash
/// has left: it is no record, and no part of the log.
pub fn is_unfinished_record(path: &str) -> bool {
    let name = path.strip_prefix(RECORDS_DIR).and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(is_unfinished)
}

/// Where the record of a number lies, below the pack's root.
pub fn path(number: u32) -> String {
    format!("{RECORDS_DIR}/{number}.json")
}

/// Whether a path below a pack's root is that of a record. Records come after the seal, so no
/// inventory names them.
pub fn is_record(name: &str) -> bool {
    let name = name.strip_prefix(RECORDS_DIR).and_then(|rest| rest.strip_prefix('/'));
    name.and_then(number_of).is_some()
}

/// The number of the record with this name in the folder of the records; `None` if it is the name
/// of no record.
pub fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".json")?.parse().ok()?;
    // By the spelling too: `+1` and `01` are numbers as well.
    ((1..=MAX_RECORDS).contains(&number) && format!("{number}.json") == name).then_some(number)
}

/// How many records a log has of whose folder these are all names: as many as the highest number
/// says. A reader then reads every record from 1 to that number, and each has to be there. One that
/// stopped at the first number that is missing would take a log with a gap, and a tombstone behind
/// it, for a shorter log.
///
/// # Errors
/// A name that is not that of a record: nothing else may be in that folder.
pub fn count<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<u32, RecordError> {
    let mut highest = 0;
    for name in names {
        let number = number_of(name).ok_or_else(|| {
            RecordError(format!("{name:?} in {RECORDS_DIR} is not the name of a record"))
        })?;
        highest = highest.max(number);
    }
    Ok(highest)
}

/// Why a pack got a tombstone: a closed list, so that it can be counted and audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TombstoneReason {
    /// A person asked for the erasure of their data.
    ErasureRequest,
    /// A court or an authority ordered it.
    LegalOrder,
    /// The time of its retention class is over.
    RetentionExpired,
    /// Another pack takes its place.
    Superseded,
    /// Its content is wrong.
    Defective,
    /// Its producer took it back.
    Withdrawn,
}

/// What is meant to survive of a pack with a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survives {
    /// Every file stays, for evidence, and is not to be read.
    Everything,
    /// Manifest and seal stay, and with them every digest; the files go.
    Digests,
    /// Only the records stay.
    Records,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decision {
    /// The pack is kept for a matter: it gets no tombstone.
    Hold {
        /// What it is kept for: 1 to 1,024 bytes.
        matter: String,
    },
    /// A hold ends.
    Release {
        /// The number of its record.
        hold: u32,
    },
    /// The files moved to where they are read rarely.
    Archived {
        /// Where they are now, for people: 1 to 1,024 bytes.
        location: String,
    },
    /// The pack must not be read any more.
    Tombstone {
        /// Why.
        reason: TombstoneReason,
        /// The pack that takes its place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replacement: Option<Digest>,
        /// What is meant to survive.
        survives: Survives,
        /// sha256 of the exact bytes of the manifest. With the seal's digest, which every record
        /// names, it keeps verifiable what was sealed after the bytes are gone.
        manifest_digest: Digest,
        /// More about it, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
}

/// A record: a decision, whose it is, and its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Always `v1`.
    pub version: Version,
    /// Its number in the pack's log, from 1.
    pub number: u32,
    /// sha256 of the exact bytes of the record before it; the first has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The pack.
    pub oracle_pack_id: Digest,
    /// sha256 of the exact bytes of its seal.
    pub seal_digest: Digest,
    /// Who decided it: 1 to 1,024 bytes.
    pub authority: String,
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at_utc: OffsetDateTime,
    /// What was decided.
    pub decision: Decision,
}

/// The version of these records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// The only one so far.
    #[serde(rename = "v1")]
    V1,
}

/// The bytes are not the record that they should be.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct RecordError(String);

/// Why a decision cannot be recorded now.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// The pack has a tombstone: nothing comes after it.
    #[error("the pack has a tombstone (record {0})")]
    Tombstoned(u32),
    /// The pack is archived already.
    #[error("the pack is archived already (record {0})")]
    Archived(u32),
    /// A hold is not released.
    #[error("hold {0} is not released")]
    Held(u32),
    /// The hold to release does not exist, or was released before.
    #[error("record {0} is not a hold that could be released")]
    NotHeld(u32),
    /// The log is full.
    #[error("the pack has {MAX_RECORDS} records already")]
    Full,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// Anything unknown or missing, a text out of its limits, and bytes that are not the canonical
    /// ones.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: Self = json::read(bytes).map_err(|error| RecordError(json::explain(&error)))?;
        record.check()?;
        // We write one form only; another was written by another program, or is read differently.
        if record.to_bytes().is_ok_and(|written| written == bytes) {
            return Ok(record);
        }
        Err(RecordError("it is not canonical JSON".to_owned()))
    }

    /// Whether its texts and its number are within their limits.
    ///
    /// # Errors
    /// Which one is not.
    pub fn check(&self) -> Result<(), RecordError> {
        if !(1..=MAX_RECORDS).contains(&self.number) {
            return Err(RecordError(format!("its number is not one of 1 to {MAX_RECORDS}")));
        }
        text("authority", &self.authority)?;
        match &self.decision {
            Decision::Hold { matter } => text("matter", matter),
            Decision::Archived { location } => text("location", location),
            Decision::Tombstone { note: Some(note), .. } => text("note", note),
            Decision::Release { .. } | Decision::Tombstone { .. } => Ok(()),
        }
    }

    /// What a tombstone says, for a report: why, by whom, on which day, and what replaces the pack.
    /// `None` if it is another record.
    pub fn tombstone_text(&self) -> Option<String> {
        let Decision::Tombstone { reason, replacement, .. } = &self.decision else { return None };
        let replaced = replacement.map(|id| format!("; pack {id} replaces it")).unwrap_or_default();
        let (authority, day) = (&self.authority, self.recorded_at_utc.date());
        Some(format!("{reason}, by {authority}, {day}{replaced}"))
    }

    /// The bytes to store: canonical JSON (RFC 8785).
    ///
    /// # Errors
    /// Only the serializer's own, which these types do not raise.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        wire::json::canonical(self)
    }
}

fn text(name: &str, text: &str) -> Result<(), RecordError> {
    if (1..=MAX_TEXT_BYTES).contains(&text.len()) {
        return Ok(());
    }
    Err(RecordError(format!("{name} needs 1 to {MAX_TEXT_BYTES} bytes")))
}

/// The records of one pack, in their order, each of which was allowed by the ones before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    records: Vec<Record>,
    last: Option<Digest>,
}

impl Log {
    /// Adds the next record as it was read.
    ///
    /// # Errors
    /// When it is no record, does not follow the one before it, is about another seal, or is one
    /// that the log does not allow. Then nothing is known about the pack.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        let record = Record::parse(bytes)?;
        let wrong = |what: &str| Err(RecordError(what.to_owned()));
        if record.number != self.next_number() {
            return wrong("its number is not its place in the log");
        }
        // The chain of digests: a record that was replaced or left out breaks every later one.
        if record.previous != self.last {
            return wrong("it does not follow the record before it");
        }
        // Otherwise the records of one pack could be copied below another one.
        if let Some(first) = self.records.first()
            && (first.oracle_pack_id, first.seal_digest)
                != (record.oracle_pack_id, record.seal_digest)
        {
            return wrong("it is about another seal than the records before it");
        }
        // A writer asks before it writes; a reader asks again, since the writer may have been
        // another program.
        self.allows(&record.decision).map_err(|error| RecordError(error.to_string()))?;

        self.last = Some(Digest::of(bytes));
        self.records.push(record);
        Ok(())
    }

    /// Whether a decision may come next.
    ///
    /// # Errors
    /// Why it may not.
    pub fn allows(&self, decision: &Decision) -> Result<(), Forbidden> {
        if let Some(tombstone) = self.tombstone() {
            return Err(Forbidden::Tombstoned(tombstone.number));
        }
        if self.next_number() > MAX_RECORDS {
            return Err(Forbidden::Full);
        }
        match decision {
            Decision::Hold { .. } => Ok(()),
            Decision::Release { hold } if self.holds().contains_key(hold) => Ok(()),
            Decision::Release { hold } => Err(Forbidden::NotHeld(*hold)),
            Decision::Archived { .. } => match self.archived() {
                Some(archived) => Err(Forbidden::Archived(archived.number)),
                None => Ok(()),
            },
            Decision::Tombstone { .. } => match self.holds().keys().next() {
                Some(hold) => Err(Forbidden::Held(*hold)),
                None => Ok(()),
            },
        }
    }

    /// The number that the next record gets.
    pub fn next_number(&self) -> u32 {
        u32::try_from(self.records.len()).map_or(u32::MAX, |length| length + 1)
    }

    /// The digest that the next record has to name.
    pub fn last(&self) -> Option<Digest> {
        self.last
    }

    /// The pack that the records are about, and the digest of its seal; `None` without records.
    pub fn about(&self) -> Option<(Digest, Digest)> {
        self.records.first().map(|first| (first.oracle_pack_id, first.seal_digest))
    }

    /// Every record.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The record of the tombstone, if there is one. It is the last.
    pub fn tombstone(&self) -> Option<&Record> {
        let last = self.records.last();
        last.filter(|record| matches!(record.decision, Decision::Tombstone { .. }))
    }

    fn archived(&self) -> Option<&Record> {
        let mut records = self.records.iter();
        records.find(|record| matches!(record.decision, Decision::Archived { .. }))
    }

    /// The holds that are not released, by their numbers.
    pub fn holds(&self) -> BTreeMap<u32, &Record> {
        let mut holds = BTreeMap::new();
        for record in &self.records {
            match &record.decision {
                Decision::Hold { .. } => drop(holds.insert(record.number, record)),
                Decision::Release { hold } => drop(holds.remove(hold)),
                Decision::Archived { .. } | Decision::Tombstone { .. } => {}
            }
        }
        holds
    }

    /// Where the pack is in its life: what comes later outranks what came before.
    pub fn lifecycle(&self, seal: Option<SealStatus>) -> Lifecycle {
        if self.tombstone().is_some() {
            return Lifecycle::Tombstoned;
        }
        match seal {
            // Records follow a seal, so that an archived pack without one is still in staging.
            Some(_) if self.archived().is_some() => Lifecycle::Archived,
            Some(SealStatus::Ok) => Lifecycle::SealedOk,
            Some(SealStatus::Failed) => Lifecycle::SealedFailed,
            None => Lifecycle::Staging,
        }
    }
}

/// Where a pack is in its life. It only ever goes to a greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Lifecycle {
    /// Files are there, and no seal closes them.
    Staging,
    /// Closed, complete.
    SealedOk,
    /// Closed for looking at what failed.
    SealedFailed,
    /// Closed, and moved to where it is read rarely.
    Archived,
    /// Not to be read any more.
    Tombstoned,
}

impl Lifecycle {
    /// Its name in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "STAGING",
            Self::SealedOk => "SEALED_OK",
            Self::SealedFailed => "SEALED_FAILED",
            Self::Archived => "ARCHIVED",
            Self::Tombstoned => "TOMBSTONED",
        }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TombstoneReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ErasureRequest => "ERASURE_REQUEST",
            Self::LegalOrder => "LEGAL_ORDER",
            Self::RetentionExpired => "RETENTION_EXPIRED",
            Self::Superseded => "SUPERSEDED",
            Self::Defective => "DEFECTIVE",
            Self::Withdrawn => "WITHDRAWN",
        })
    }
}
