//! `oracle-gate audit`: whether packs are still what was sealed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::event::SealEvent;

use super::check::{Format, report, sarif};
use super::{
    CommandError, Jobs, answer, block_on, escape, events, named_root, print, progress, say, store,
    usage,
};
use crate::audit::audit;
use crate::check::{Outcome, Rules, Status};
use crate::objects::Objects;
use crate::profile::Profile;

/// Most bytes of a file that names packs.
const MAX_NAMES_BYTES: u64 = 64 << 20;

const EXAMPLES: &str = "Examples:
  oracle-gate audit --profile prod --pack-root packs/<id>
  oracle-gate audit --profile prod --pack-roots-from packs.txt --journal audit.journal --output json
  oracle-gate audit --profile prod --pack-roots-from packs.txt --events --output sarif > audit.sarif

Exit codes: 0 every pack is as it was sealed, 1 a pack is not, 2 nothing is known of a pack and
nothing bad of another, 3 usage or configuration. Given the journal of an audit that was
interrupted, only the packs that it did not finish are read again; remove it to begin anew.";

/// Options of `audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Profile: local, dev, prod, or the path of a YAML file.
    #[arg(long)]
    profile: String,
    /// A pack's folder below the oracle root; may be repeated.
    #[arg(long = "pack-root", required_unless_present = "pack_roots_from")]
    pack_roots: Vec<String>,
    /// A file that names a pack's folder in each line.
    #[arg(long, value_name = "FILE")]
    pack_roots_from: Option<PathBuf>,
    /// A file that remembers which packs were audited; given again after an interruption, only the
    /// rest is read.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Publish `drift` for each pack that is not what was sealed (DATABASE_URL).
    #[arg(long)]
    events: bool,
    /// How the answer is printed: as text, as one line of JSON for each pack, or as one SARIF log.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    jobs: Jobs,
}

/// Audits, prints, and answers the exit code of C1: what is bad of one pack outranks what could not
/// be determined of another.
pub(super) fn run(args: &Args) -> Result<u8, CommandError> {
    let (profile, objects) = store(&args.profile)?;
    let mut roots = Vec::new();
    for named in args.pack_roots.iter().cloned().chain(named_in_file(args)?) {
        let root = named_root(&objects, &named)?;
        // A pack that is named twice is read once.
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    let events = events::Publisher::read(args.events)?;
    let journal = args.journal.as_deref();
    let mut journal = journal.map(|path| Journal::open(path, &objects, &profile)).transpose()?;
    let rules = Rules::strict(&profile, Vec::new());
    let (objects, meter) = progress::metered(&args.jobs.apply(&objects));
    // One moment for all packs, however long the audit takes.
    let now = chassis::clock::now();

    let mut unpublished = Vec::new();
    let work = async {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for root in &roots {
            if let Some(known) = journal.as_ref().and_then(|journal| journal.known.get(root)) {
                outcomes.push(known.clone());
                continue;
            }
            let outcome = audit(&objects, &rules, &profile.retention, root, now).await;
            if outcome.is_drift() {
                let packs = outcome.details.packs.iter();
                for pack in packs.filter_map(|pack| pack.oracle_pack_id) {
                    let result = Some(outcome.status.as_str());
                    let published = events.publish(SealEvent::Drift, pack, result, now).await;
                    if events::exit(&published) != 0 {
                        unpublished.push(format!("pack {pack}{}", published.text()));
                    }
                }
            }
            // A pack of which nothing is known is looked at again by the next call.
            if let Some(journal) = journal.as_mut().filter(|_| !outcome.is_doubtful()) {
                journal.note(root, &outcome)?;
            }
            outcomes.push(outcome);
        }
        Ok::<_, CommandError>(outcomes)
    };
    let outcomes = block_on(progress::shown(&meter, work))??;
    print(&match args.output {
        Format::Text => outcomes.iter().map(text).collect(),
        Format::Json => {
            let lines = outcomes.iter().map(|outcome| answer(&report::json(outcome)));
            lines.collect::<Result<String, _>>()?
        }
        Format::Sarif => escape::json(&log(&outcomes)) + "\n",
    })?;
    // The lowest: a pack that is bad outranks one of which nothing is known.
    let exits = outcomes.iter().map(|outcome| outcome.exit(false)).filter(|exit| *exit > 0);
    let found = exits.min();
    if unpublished.is_empty() {
        return Ok(found.unwrap_or_default());
    }
    // The report is printed; that an event is missing must not go unseen.
    say(&unpublished.join("; "));
    Ok(found.unwrap_or(super::UNKNOWN))
}

fn named_in_file(args: &Args) -> Result<Vec<String>, CommandError> {
    let Some(path) = &args.pack_roots_from else { return Ok(Vec::new()) };
    let wrong = |text: String| usage(format!("--pack-roots-from {}: {text}", path.display()));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut text = String::new();
    let mut limited = std::io::Read::take(file, MAX_NAMES_BYTES + 1);
    std::io::Read::read_to_string(&mut limited, &mut text)
        .map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > MAX_NAMES_BYTES {
        return Err(wrong(format!("it has more than {MAX_NAMES_BYTES} bytes")));
    }
    let names: Vec<String> =
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    // Nothing passes vacuously (O12).
    if names.is_empty() && args.pack_roots.is_empty() {
        return Err(wrong("it names no pack".to_owned()));
    }
    Ok(names)
}

fn text(outcome: &Outcome) -> String {
    let hashed = outcome.details.evidence.hashed_bytes;
    let end = if outcome.status == Status::Ok { ": every file is as it was sealed" } else { "" };
    let (found, packs) = (report::findings(outcome), report::packs(outcome));
    format!("{found}{packs}{hashed} files hashed{end}\n")
}

/// One log with a run for each pack.
fn log(outcomes: &[Outcome]) -> Value {
    let mut logs = outcomes.iter().map(sarif::log);
    let mut log = logs.next().unwrap_or_else(|| json!({ "runs": [] }));
    for mut other in logs {
        if let (Some(Value::Array(runs)), Some(Value::Array(more))) =
            (log.get_mut("runs"), other.get_mut("runs"))
        {
            runs.append(more);
        }
    }
    log
}

/// First line of a journal: what was audited, and by which rules.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    journal: String,
    store: String,
    profile: String,
}

/// A pack that was audited.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    pack_root: String,
    outcome: Outcome,
}

/// Packs that were audited before, and where those of this call are noted.
struct Journal {
    known: BTreeMap<String, Outcome>,
    file: File,
}

impl Journal {
    /// Opens, or begins, the journal of this store: a new file, or one that begins as a journal of
    /// it does. Any other is left as it is.
    fn open(path: &Path, objects: &Objects, profile: &Profile) -> Result<Self, CommandError> {
        let wrong = |text: &str| usage(format!("--journal {}: {text}", path.display()));
        let header = Header {
            journal: "oracle-gate-audit-v1".to_owned(),
            store: objects.names().first().cloned().unwrap_or_default(),
            profile: profile.id.clone(),
        };
        let header = serde_json::to_string(&header).map_err(|error| wrong(&error.to_string()))?;
        let mut options = File::options();
        let new = options.append(true).create_new(true).open(path);
        let mut known = BTreeMap::new();
        let mut file = match new {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let meta = path.symlink_metadata().map_err(|error| wrong(&error.to_string()))?;
                if !meta.is_file() {
                    return Err(wrong("it is a link, a folder or a special file; name a new file"));
                }
                let read = File::open(path).map_err(|error| wrong(&error.to_string()))?;
                let mut lines = BufReader::new(read).split(b'\n').map_while(Result::ok);
                if lines.next().as_deref() != Some(header.as_bytes()) {
                    return Err(wrong(
                        "it is no journal of an audit of this store; name a new file",
                    ));
                }
                // A line that a crash cut is none: that pack is read again.
                for line in lines.filter_map(|line| serde_json::from_slice::<Line>(&line).ok()) {
                    known.insert(line.pack_root, line.outcome);
                }
                let mut options = File::options();
                options.append(true).open(path).map_err(|error| wrong(&error.to_string()))?
            }
            Err(error) => return Err(wrong(&error.to_string())),
        };
        // After a line that was cut the next one begins anew; a new journal begins with the header.
        let begin = if file.metadata().is_ok_and(|meta| meta.len() == 0) { &*header } else { "" };
        writeln!(file, "{begin}").map_err(|error| wrong(&error.to_string()))?;
        Ok(Self { known, file })
    }

    fn note(&mut self, root: &str, outcome: &Outcome) -> Result<(), CommandError> {
        let line = Line { pack_root: root.to_owned(), outcome: outcome.clone() };
        let failed = |text: String| CommandError { exit: super::UNKNOWN, text };
        let line = serde_json::to_string(&line).map_err(|error| failed(error.to_string()))?;
        let noted = writeln!(self.file, "{line}").and_then(|()| self.file.sync_data());
        noted.map_err(|error| failed(format!("cannot write the journal: {error}")))
    }
}
