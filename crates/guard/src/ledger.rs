//! What was seen, counted exactly and kept within bounds.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::overflow::{OmittedEffects, Overflow};
use crate::paths;
use crate::policy::Capability;
use crate::report::{self, Category, Charge, Effect, Report};
use crate::tasks::ProcessInfo;
use crate::text;
use crate::transcript::Transcript;

/// Kept free for charged effects.
const RESERVED: usize = 100;
/// Most effects shown of those that only read: they never take the place of others.
const MAX_READS: usize = 250;
/// Most touched names remembered, at 8 bytes each.
const MAX_TOUCHED: usize = 4_000_000;
const MAX_MOVED: usize = 20_000;

/// One effect before its process is looked up.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) category: Category,
    pub(crate) operation: &'static str,
    pub(crate) target: String,
    pub(crate) other: Option<String>,
    pub(crate) allowed: bool,
    pub(crate) charge: Charge,
    /// Whether target and other are certain.
    pub(crate) exact: bool,
}

/// All that was seen in one run.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// What is shown, and who did it.
    kept: Vec<(Event, Arc<ProcessInfo>)>,
    reads_kept: usize,
    /// Seen, but not shown.
    omitted: u64,
    /// Those of them that are compared.
    overflow: Overflow,
    /// Of all effects that are compared between runs, shown or not.
    transcript: Transcript,
    pub(crate) counts: BTreeMap<Category, u64>,
    pub(crate) denied: u64,
    /// The first effect outside all bounds.
    pub(crate) outside: Option<String>,
    /// For every capability that was missing, the first effect that needed it.
    pub(crate) undeclared: BTreeMap<Capability, String>,
    /// Why the record is incomplete.
    pub(crate) incomplete: Option<String>,
    pub(crate) touched: Touched,
}

impl Ledger {
    /// Nothing was seen yet. Only transcripts made with the same key can be compared.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self {
            kept: Vec::new(),
            reads_kept: 0,
            omitted: 0,
            overflow: Overflow::default(),
            transcript: Transcript::new(key),
            counts: BTreeMap::new(),
            denied: 0,
            outside: None,
            undeclared: BTreeMap::new(),
            incomplete: None,
            touched: Touched::default(),
        }
    }

    /// Whether an effect of this kind belongs to the transcript (M8): reads do not, since they
    /// depend on caches.
    pub(crate) fn compares(event: &Event) -> bool {
        event.category != Category::FsRead
    }

    /// Whether the event would be shown.
    pub(crate) fn has_room(&self, event: &Event) -> bool {
        let charged = matches!(event.charge, Charge::Undeclared | Charge::Outside);
        // Charged effects are why a verdict is what it is; ordinary ones may not take their place.
        let room = if charged { Report::MAX_EFFECTS } else { Report::MAX_EFFECTS - RESERVED };
        let read = event.category == Category::FsRead && !charged;
        self.kept.len() < room && !(read && self.reads_kept >= MAX_READS)
    }

    /// Counts the event, takes it into the transcript, and keeps it where there is room. Without
    /// the process that did it, it is only counted.
    pub(crate) fn add(&mut self, mut event: Event, who: Option<Arc<ProcessInfo>>) {
        *self.counts.entry(event.category).or_default() += 1;
        self.denied += u64::from(!event.allowed);
        let sentence = || format!("{} {}", event.operation, event.target);
        match event.charge {
            Charge::Outside if self.outside.is_none() => self.outside = Some(sentence()),
            Charge::Undeclared => {
                if let Some(capability) = capability(event.category) {
                    self.undeclared.entry(capability).or_insert_with(sentence);
                }
            }
            _ => {}
        }
        let Some(who) = who else {
            self.omitted += 1;
            return;
        };

        // Before anything is cut or left out: the transcript has every effect whole (M14).
        if Self::compares(&event) {
            self.transcript.add(&event, &who);
        }
        event.target = text::bounded(event.target);
        event.other = event.other.map(text::bounded);
        if !self.has_room(&event) {
            self.omitted += 1;
            if Self::compares(&event)
                && let Err(failure) = self.overflow.add(&effect(event, &who))
            {
                self.mark_incomplete(|| format!("not all effects could be kept: {failure}"));
            }
            return;
        }
        self.reads_kept += usize::from(event.category == Category::FsRead);
        self.kept.push((event, who));
    }

    /// Effects that were seen and are not among those shown.
    pub(crate) fn omitted(&self) -> u64 {
        self.omitted
    }

    /// The transcript as a report carries it.
    pub(crate) fn transcript(&self) -> report::Transcript {
        self.transcript.finish()
    }

    /// The effects that are compared and not shown.
    pub(crate) fn finish_omitted(&mut self) -> OmittedEffects {
        self.overflow.finish().unwrap_or_else(|failure| {
            self.mark_incomplete(|| format!("not all effects could be kept: {failure}"));
            OmittedEffects::default()
        })
    }

    /// The effects that are shown.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        let kept = std::mem::take(&mut self.kept).into_iter();
        kept.map(|(event, process)| effect(event, &process)).collect()
    }

    pub(crate) fn mark_incomplete(&mut self, why: impl FnOnce() -> String) {
        self.incomplete.get_or_insert_with(why);
    }
}

fn effect(event: Event, process: &ProcessInfo) -> Effect {
    Effect {
        category: event.category,
        operation: event.operation.to_owned(),
        target: event.target,
        other: event.other,
        pid: process.pid,
        executable: Arc::clone(&process.executable),
        argv: Arc::clone(&process.argv),
        argv_exact: process.argv_exact,
        parents: Arc::clone(&process.parents),
        allowed: event.allowed,
        charge: event.charge,
        exact: event.exact,
    }
}

fn capability(category: Category) -> Option<Capability> {
    match category {
        Category::FsRead => Some(Capability::FsRead),
        Category::FsWrite => Some(Capability::FsWrite),
        Category::ProcessShell => Some(Capability::ProcessShell),
        Category::ProcessGit => Some(Capability::ProcessGit),
        Category::Network => Some(Capability::Network),
        Category::OutsideProcess | Category::Refused => None,
    }
}

/// The names that were seen being changed, to be held against what the snapshots find.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// With random keys, so that no program can search for two names with the same hash.
    hashes: RandomState,
    names: Hashes,
    /// All directories above them.
    above: Hashes,
    /// Of the last name: itself and all above it are known.
    directory: Option<OsString>,
    /// Both ends of every move: everything below them has a new name.
    moved: BTreeSet<PathBuf>,
    overflow: bool,
}

impl Touched {
    /// A name was made, removed or changed; its directory changes with it.
    pub(crate) fn name(&mut self, path: &Path) {
        // Two at most are added below.
        if self.names.len() + 2 > MAX_TOUCHED {
            self.overflow = true;
            return;
        }
        self.names.insert(self.hash(path));
        let Some(parent) = paths::parent(path) else { return };
        // Most names are in the directory of the one before.
        if self.directory.as_deref() == Some(parent.as_os_str()) {
            return;
        }
        self.names.insert(self.hash(parent));
        // Up to the first that is known: what is above that one is known too.
        for above in parent.ancestors() {
            if !self.above.insert(self.hash(above)) {
                break;
            }
        }
        self.directory = Some(parent.as_os_str().to_owned());
    }

    pub(crate) fn moved(&mut self, path: &Path) {
        self.name(path);
        if self.moved.len() < MAX_MOVED {
            self.moved.insert(path.to_owned());
        } else {
            self.overflow = true;
        }
    }

    /// Whether a change of this name was seen.
    pub(crate) fn explains(&self, path: &Path) -> bool {
        self.names.contains(&self.hash(path))
            || path.ancestors().any(|above| self.moved.contains(above))
    }

    /// Whether something below this directory was seen to change.
    pub(crate) fn is_above(&self, path: &Path) -> bool {
        self.above.contains(&self.hash(path))
    }

    /// More names were touched than are remembered.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflow
    }

    fn hash(&self, path: &Path) -> u64 {
        self.hashes.hash_one(path.as_os_str())
    }
}

/// Hashes of names.
type Hashes = HashSet<u64, BuildHasherDefault<AsIs>>;

/// Numbers that are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }
}
