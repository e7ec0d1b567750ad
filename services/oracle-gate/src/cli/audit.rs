//! `oracle-gate audit`: whether packs are still what was sealed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire::digest::Digest;
use wire::event::SealEvent;

use super::check::{Format, report, sarif};
use super::journal::{self, MAX_HEADER_BYTES};
use super::{
    CommandError, Jobs, answer, block_on, escape, events, named_root, print, progress, say, store,
    usage,
};
use crate::audit;
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
nothing bad of another, 3 usage or configuration. Given the journal of an audit that did not end,
only the packs that it did not finish, and those in which a file was written since, are read; the
answer says of each other one when it was read. After an audit that ended, the same journal begins a
new one, which reads everything.";

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
    /// A file outside of every pack that remembers which packs were audited; given again after an
    /// interruption, only the rest is read.
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
    let journal = journal.map(|path| Journal::open(path, &objects, &profile, &roots));
    let mut journal = journal.transpose()?;
    let rules = Rules::strict(&profile, Vec::new());
    let (objects, meter) = progress::metered(&args.jobs.apply(&objects));
    // One moment for all packs, however long the audit takes.
    let now = chassis::clock::now();

    let mut unpublished = Vec::new();
    let work = async {
        let mut all: Vec<Audited> = Vec::new();
        let mut is_whole = true;
        for root in &roots {
            let mut marks = None;
            if let Some(journal) = &journal {
                // Before anything is read: what is written meanwhile makes the next call read anew.
                marks = audit::marks(&objects, root).await;
                if let Some(known) = journal.find(root, marks) {
                    all.push(known);
                    continue;
                }
            }
            let audited_at = chassis::clock::now();
            let outcome = audit::audit(&objects, &rules, &profile.retention, root, now).await;
            // A pack of which nothing is known, or whose event is missing, is looked at again by
            // the next call.
            let mut is_done = !outcome.is_doubtful() && marks.is_some();
            if outcome.is_drift() {
                let packs = outcome.details.packs.iter();
                for pack in packs.filter_map(|pack| pack.oracle_pack_id) {
                    let result = Some(outcome.status.as_str());
                    let published = events.publish(SealEvent::Drift, pack, result, now).await;
                    if events::exit(&published) != 0 {
                        unpublished.push(format!("pack {pack}{}", published.text()));
                        is_done = false;
                    }
                }
            }
            let pack_root = root.clone();
            let audited = Audited { pack_root, audited_at, marks, outcome, from_journal: false };
            if let Some(journal) = journal.as_mut().filter(|_| is_done) {
                journal.note(&Line::Pack(Box::new(audited.clone())))?;
            }
            is_whole &= is_done;
            all.push(audited);
        }
        // The next call with this journal is another audit, which reads everything.
        if let Some(journal) = journal.as_mut().filter(|_| is_whole) {
            journal.note(&Line::Finished(chassis::clock::now()))?;
        }
        Ok::<_, CommandError>(all)
    };
    let all = block_on(progress::shown(&meter, work))??;
    print(&match args.output {
        Format::Text => all.iter().map(text).collect(),
        Format::Json => all.iter().map(|one| answer(&facts(one))).collect::<Result<String, _>>()?,
        Format::Sarif => escape::json(&log(&all).to_string()) + "\n",
    })?;
    // The lowest: a pack that is bad outranks one of which nothing is known.
    let exits = all.iter().map(|one| one.outcome.exit(false)).filter(|exit| *exit > 0);
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
    let file = chassis::files::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut text = String::new();
    let read = file.take(MAX_NAMES_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(error.to_string()))?;
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

fn text(Audited { outcome, audited_at, from_journal, .. }: &Audited) -> String {
    let hashed = outcome.details.evidence.hashed_bytes;
    let (found, packs) = (report::findings(outcome), report::packs(outcome));
    let end = match (outcome.status, from_journal) {
        (Status::Ok, false) => ": every file is as it was sealed",
        (Status::Ok, true) => ": every file was as it was sealed",
        _ => "",
    };
    let when = match from_journal {
        true => format!(
            "; audited at {}, not read again (no file changed since, by size, times and inode or \
             ETag)",
            utc(*audited_at)
        ),
        false => String::new(),
    };
    format!("{found}{packs}{hashed} files hashed{end}{when}\n")
}

fn utc(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// The facts of a check, and when they were found.
fn facts(Audited { outcome, audited_at, from_journal, .. }: &Audited) -> Value {
    let mut facts = report::json(outcome);
    facts["audited_at_utc"] = json!(utc(*audited_at));
    facts["from_journal"] = json!(from_journal);
    facts
}

/// One log with a run for each pack.
fn log(all: &[Audited]) -> Value {
    let of = |one: &Audited| {
        let mut log = sarif::log(&one.outcome);
        log["runs"][0]["properties"]["auditedAtUtc"] = json!(utc(one.audited_at));
        log["runs"][0]["properties"]["fromJournal"] = json!(one.from_journal);
        log
    };
    let mut logs = all.iter().map(of);
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
    /// What was found under one policy is not known under another.
    policy: Digest,
}

/// A later line of a journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// Start of an audit: earlier lines belong to previous audits and are ignored. It is written as
    /// `turn`, its name in existing journals.
    #[serde(rename = "turn")]
    Started(#[serde(with = "time::serde::rfc3339")] OffsetDateTime),
    /// A pack was audited.
    Pack(Box<Audited>),
    /// The audit ended: every pack that was named was audited.
    Finished(#[serde(with = "time::serde::rfc3339")] OffsetDateTime),
}

/// A pack that was audited.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Audited {
    pack_root: String,
    #[serde(with = "time::serde::rfc3339")]
    audited_at: OffsetDateTime,
    /// Of the marks of its files before they were read; none without a journal, or where they
    /// cannot be listed.
    marks: Option<Digest>,
    outcome: Outcome,
    /// It was audited by an earlier call of this audit, and is not read again.
    #[serde(skip)]
    from_journal: bool,
}

/// Packs that earlier calls of this audit have checked, and where those of this call are noted.
struct Journal {
    known: BTreeMap<String, Audited>,
    file: File,
}

impl Journal {
    /// Opens, or begins, the journal of this store and policy: a new file, or one that begins as a
    /// journal of them does. Any other is left as it is. After the end of an audit, a new one begins.
    fn open(
        path: &Path,
        objects: &Objects,
        profile: &Profile,
        roots: &[String],
    ) -> Result<Self, CommandError> {
        let wrong = |text: &str| usage(format!("--journal {}: {text}", path.display()));
        let failed = |error: std::io::Error| wrong(&error.to_string());
        let header = Header {
            journal: "oracle-gate-audit-v3".to_owned(),
            store: objects.names().first().cloned().unwrap_or_default(),
            profile: profile.id.clone(),
            policy: profile.policy_digest,
        };
        let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
        let opened = journal::open(path, objects, &roots).map_err(|text| wrong(&text))?;
        let mut journal = Self { known: BTreeMap::new(), file: opened.file };
        let mut is_begun = false;
        if opened.is_new {
            journal.write(&header).map_err(failed)?;
        } else {
            let mut reader = BufReader::new(&journal.file);
            let mut first = String::new();
            // A line of any length would be read otherwise, of a file that is anything.
            let read = reader.by_ref().take(MAX_HEADER_BYTES).read_line(&mut first);
            let found = read.ok().and_then(|_| serde_json::from_str::<Header>(&first).ok());
            let text = match found {
                Some(found) if found == header => None,
                Some(found) if found.journal == header.journal && found.store == header.store => {
                    Some("it is the journal of an audit under another profile or policy")
                }
                _ => Some("it is no journal of an audit of this store by this release"),
            };
            if let Some(text) = text {
                return Err(wrong(&format!("{text}, and is left as it is; name a new file")));
            }
            for line in reader.split(b'\n') {
                // Without the rest, an audit that has ended would look as if it went on.
                let line = line.map_err(failed)?;
                // A line that a crash cut is ignored: its pack is audited again.
                let Ok(line) = serde_json::from_slice::<Line>(&line) else { continue };
                match line {
                    Line::Pack(audited) => {
                        let audited = Audited { from_journal: true, ..*audited };
                        journal.known.insert(audited.pack_root.clone(), audited);
                    }
                    Line::Started(_) | Line::Finished(_) => {
                        is_begun = matches!(line, Line::Started(_));
                        journal.known.clear();
                    }
                }
            }
            // After a line that was cut the next one begins anew.
            journal.file.write_all(b"\n").map_err(failed)?;
        }
        if !is_begun {
            journal.write(&Line::Started(chassis::clock::now())).map_err(failed)?;
        }
        Ok(journal)
    }

    /// What an earlier call of this audit found of a pack in which nothing was written since, as
    /// far as the store's own marks show: length, times and inode of each file, in a bucket its
    /// tag.
    fn find(&self, root: &str, marks: Option<Digest>) -> Option<Audited> {
        let known = self.known.get(root)?;
        (marks.is_some() && known.marks == marks).then(|| known.clone())
    }

    fn note(&mut self, line: &Line) -> Result<(), CommandError> {
        self.write(line).map_err(|error| CommandError {
            exit: super::UNKNOWN,
            text: format!("cannot write the journal: {error}"),
        })
    }

    fn write(&mut self, line: &impl Serialize) -> std::io::Result<()> {
        let line = serde_json::to_string(line)?;
        writeln!(self.file, "{line}").and_then(|()| self.file.sync_data())
    }
}
