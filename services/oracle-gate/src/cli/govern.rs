//! `oracle-gate tombstone`, `hold`, `release`, `archive` and `state`: what is decided about a
//! sealed pack.

use clap::ValueEnum;
use seal::records::{Decision, Record, Survives, TombstoneReason};
use serde_json::{Value, json};
use wire::digest::Digest;
use wire::event::SealEvent;

use super::seal::failure;
use super::{
    CommandError, OutputFormat, answer, block_on, escape, events, named_root, print, store, usage,
};
use crate::governance::{self, Order, PackState};
use crate::objects::Objects;
use crate::profile::Profile;
use crate::reasons::Reason;
use crate::sealing::SealingError;

const TOMBSTONE_EXAMPLES: &str = "Examples:
  oracle-gate tombstone --profile prod --pack-root packs/<id> --reason superseded \\
      --authority 'data owner' --replacement <pack id>
  oracle-gate tombstone --profile prod --pack-root packs/<id> --reason erasure-request \\
      --authority 'data protection officer' --survives digests --events

Exit codes: 0 recorded, 1 refused (PACK_ON_HOLD, PACK_TOMBSTONED, PACK_NOT_SEALED,
RETENTION_NOT_OVER), 2 nothing is known, 3 usage or configuration. The record is written once; no
file is removed.";

const HOLD_EXAMPLES: &str = "Examples:
  oracle-gate hold --profile prod --pack-root packs/<id> --authority legal --matter 'case 7'
  oracle-gate release --profile prod --pack-root packs/<id> --authority legal --hold 1

Exit codes: 0 recorded, 1 refused (PACK_TOMBSTONED, PACK_NOT_SEALED, PACK_RECORD_REFUSED),
2 nothing is known, 3 usage or configuration.";

/// Which pack.
#[derive(Debug, clap::Args)]
pub(super) struct Pack {
    /// Profile: local, dev, prod, or the path of a YAML file.
    #[arg(long)]
    profile: String,
    /// The pack's folder below the oracle root.
    #[arg(long)]
    pack_root: String,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

/// What every record needs.
#[derive(Debug, clap::Args)]
pub(super) struct Recorded {
    #[command(flatten)]
    pack: Pack,
    /// Who decides it.
    #[arg(long)]
    authority: String,
    /// Publish the event too, through the database of the service (DATABASE_URL).
    #[arg(long)]
    events: bool,
}

/// Options of `tombstone`.
#[derive(Debug, clap::Args)]
#[command(after_help = TOMBSTONE_EXAMPLES)]
pub(super) struct TombstoneArgs {
    #[command(flatten)]
    recorded: Recorded,
    /// Why the pack must not be read any more.
    #[arg(long, value_enum)]
    reason: ReasonOption,
    /// The id of the pack that takes its place, 64 hex digits.
    #[arg(long)]
    replacement: Option<String>,
    /// What is meant to survive of it. This command removes nothing.
    #[arg(long, value_enum, default_value_t = SurvivesOption::Everything)]
    survives: SurvivesOption,
    /// More about it, for people.
    #[arg(long)]
    note: Option<String>,
}

/// Options of `hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = HOLD_EXAMPLES)]
pub(super) struct HoldArgs {
    #[command(flatten)]
    recorded: Recorded,
    /// The matter that the pack is kept for.
    #[arg(long)]
    matter: String,
}

/// Options of `release`.
#[derive(Debug, clap::Args)]
#[command(after_help = HOLD_EXAMPLES)]
pub(super) struct ReleaseArgs {
    #[command(flatten)]
    recorded: Recorded,
    /// The number of the hold, as `hold` and `state` print it.
    #[arg(long)]
    hold: u32,
}

/// Options of `archive`.
#[derive(Debug, clap::Args)]
pub(super) struct ArchiveArgs {
    #[command(flatten)]
    recorded: Recorded,
    /// Where its files are now, for people.
    #[arg(long)]
    location: String,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReasonOption {
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

/// What is meant to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SurvivesOption {
    /// Every file, for evidence.
    Everything,
    /// Manifest and seal.
    Digests,
    /// Only the records.
    Records,
}

impl From<ReasonOption> for TombstoneReason {
    fn from(option: ReasonOption) -> Self {
        match option {
            ReasonOption::ErasureRequest => Self::ErasureRequest,
            ReasonOption::LegalOrder => Self::LegalOrder,
            ReasonOption::RetentionExpired => Self::RetentionExpired,
            ReasonOption::Superseded => Self::Superseded,
            ReasonOption::Defective => Self::Defective,
            ReasonOption::Withdrawn => Self::Withdrawn,
        }
    }
}

impl From<SurvivesOption> for Survives {
    fn from(option: SurvivesOption) -> Self {
        match option {
            SurvivesOption::Everything => Self::Everything,
            SurvivesOption::Digests => Self::Digests,
            SurvivesOption::Records => Self::Records,
        }
    }
}

impl Pack {
    fn open(&self) -> Result<(Profile, Objects, String), CommandError> {
        let (profile, objects) = store(&self.profile)?;
        let root = named_root(&objects, &self.pack_root)?;
        Ok((profile, objects, root))
    }

    fn answer(&self, text: &str, facts: &Value) -> Result<u8, CommandError> {
        print(&match self.output {
            OutputFormat::Text => format!("{}\n", escape::line(text)),
            OutputFormat::Json => answer(facts)?,
        })
    }
}

impl Recorded {
    fn order(&self) -> Result<Order, CommandError> {
        let authority = bounded("--authority", &self.authority)?;
        // A wrong setting is named before anything is read or written.
        events::Publisher::read(self.events)?;
        Ok(Order { authority, now: chassis::clock::now() })
    }

    /// Records a decision, publishes the event where one is asked for, and prints.
    fn record(
        &self,
        objects: &Objects,
        root: &str,
        decision: &Decision,
        event: Option<SealEvent>,
        text: impl FnOnce(&Record) -> String,
    ) -> Result<u8, CommandError> {
        let order = self.order()?;
        let events = events::Publisher::read(self.events)?;
        let recorded = block_on(async {
            let record = governance::record(objects, root, &order, decision).await?;
            let published = match event {
                Some(event) => events.publish(event, record.oracle_pack_id, None, order.now).await,
                None => events::Published::NotAsked,
            };
            Ok::<_, SealingError>((record, published))
        })?;
        let (record, published) = recorded.map_err(|error| failure(&error))?;
        let facts = json!({ "pack_root": root, "record": record, "event": published.as_str() });
        self.pack.answer(&format!("{}{}", text(&record), published.text()), &facts)
    }
}

/// Records that a pack must not be read any more.
pub(super) fn tombstone(args: &TombstoneArgs) -> Result<u8, CommandError> {
    let recorded = &args.recorded;
    let replacement = args.replacement.as_deref().map(str::parse::<Digest>).transpose();
    let replacement = replacement
        .map_err(|_| usage("--replacement: expected a pack id of 64 lower hex digits"))?;
    let note = args.note.as_deref().map(|note| bounded("--note", note)).transpose()?;
    // Refused before the store is touched, so that a wrong option never leaves half an answer.
    recorded.order()?;
    let (profile, objects, root) = recorded.pack.open()?;
    let reason = TombstoneReason::from(args.reason);
    // The record names the manifest's digest, so that it stays clear what was given a tombstone
    // after the files are gone.
    let manifest_digest = block_on(async {
        let state = governance::state(&objects, &root).await?;
        if reason == TombstoneReason::RetentionExpired {
            expired(&profile, &root, &state)?;
        }
        governance::manifest_digest(&objects, &root, &state).await
    })?;
    let manifest_digest = manifest_digest.map_err(|error| failure(&error))?;
    let survives = args.survives.into();
    let decision = Decision::Tombstone { reason, replacement, survives, manifest_digest, note };
    recorded.record(&objects, &root, &decision, Some(SealEvent::Tombstoned), |record| {
        format!("pack {} has a tombstone: nothing of it may be read", record.oracle_pack_id)
    })
}

/// A pack whose time is not over did not expire.
fn expired(profile: &Profile, root: &str, state: &PackState) -> Result<(), SealingError> {
    let refused = |text: String| Err(SealingError::refused(Reason::RetentionNotOver, text));
    let Some(class) = profile.retention.class_of(root) else {
        return refused(format!("profile {} names no retention class for {root}", profile.id));
    };
    // A pack without a seal is refused when the record is made.
    let Some((_, seal)) = &state.seal else { return Ok(()) };
    match seal.sealed_at().map(|sealed_at| class.kept_until(sealed_at)) {
        Some(until) if until <= chassis::clock::now() => Ok(()),
        Some(until) => refused(format!("class {} keeps it until {until}", class.name)),
        None => refused("its seal does not say when it was sealed".to_owned()),
    }
}

/// Keeps a pack from getting a tombstone.
pub(super) fn hold(args: &HoldArgs) -> Result<u8, CommandError> {
    let matter = bounded("--matter", &args.matter)?;
    args.recorded.order()?;
    let (_, objects, root) = args.recorded.pack.open()?;
    // No event: a hold changes nothing for those who read the pack.
    args.recorded.record(&objects, &root, &Decision::Hold { matter }, None, |record| {
        format!("hold {} is recorded: the pack gets no tombstone before its release", record.number)
    })
}

/// Ends a hold.
pub(super) fn release(args: &ReleaseArgs) -> Result<u8, CommandError> {
    args.recorded.order()?;
    let (_, objects, root) = args.recorded.pack.open()?;
    let decision = Decision::Release { hold: args.hold };
    args.recorded.record(&objects, &root, &decision, None, |record| {
        format!("hold {} is released by record {}", args.hold, record.number)
    })
}

/// Records that the files moved.
pub(super) fn archive(args: &ArchiveArgs) -> Result<u8, CommandError> {
    let location = bounded("--location", &args.location)?;
    args.recorded.order()?;
    let (_, objects, root) = args.recorded.pack.open()?;
    let decision = Decision::Archived { location };
    args.recorded.record(&objects, &root, &decision, Some(SealEvent::Archived), |record| {
        format!("pack {} is recorded as archived", record.oracle_pack_id)
    })
}

/// Prints where a pack is in its life.
pub(super) fn state(pack: &Pack) -> Result<u8, CommandError> {
    let (profile, objects, root) = pack.open()?;
    let state = block_on(governance::state(&objects, &root))?;
    let state = state.map_err(|error| failure(&error))?;
    let class = profile.retention.class_of(&root);
    let sealed_at = state.seal.as_ref().and_then(|(_, seal)| seal.sealed_at());
    let kept_until = class.zip(sealed_at).map(|(class, sealed_at)| class.kept_until(sealed_at));

    let mut text = state.lifecycle.to_string();
    for (number, hold) in state.log.holds() {
        if let Decision::Hold { matter } = &hold.decision {
            text += &format!(", hold {number} by {} for {matter}", hold.authority);
        }
    }
    if let Some(record) = state.log.tombstone() {
        text += &format!(", {}", governance::tombstone_text(record));
    }
    if let (Some(class), Some(until)) = (class, kept_until) {
        text += &format!(", class {} until {}", class.name, until.date());
    }
    let until = kept_until.map(|until| until.date().to_string());
    pack.answer(
        &text,
        &json!({
            "pack_root": root,
            "state": state.lifecycle,
            "holds": state.log.holds().keys().collect::<Vec<_>>(),
            "records": state.log.records(),
            "retention_class": class.map(|class| &class.name),
            "kept_until": until,
        }),
    )
}

fn bounded(option: &str, text: &str) -> Result<String, CommandError> {
    let most = seal::records::MAX_TEXT_BYTES;
    if (1..=most).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(usage(format!("{option} needs 1 to {most} bytes")))
}
