//! What stands in an engine's pack: every file hashed once, also over several calls.
//!
//! A journal remembers each file that was hashed, with the mark by which the store tells that it has
//! not been written since: in a bucket tag and version, in a folder inode and change time (which no
//! call sets back). A call that is given the journal of one that was interrupted hashes only the rest.
//! A line that was damaged is hashed again: a seal would keep its digest for ever.

use std::collections::BTreeMap;
use std::fs::File as StdFile;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use seal::tree::File;
use seal::{Limits, MANIFEST_FILE, SEAL_FILE, Tree, TreeError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wire::digest::Digest;

use super::super::{Failure, usage};
use crate::crash;
use crate::locator::inside;
use crate::objects::Objects;
use crate::reasons::Reason;
use crate::sealing::SealingError;

/// How often a person who waits is told.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// First line of a journal: which pack it is of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    journal: String,
    store: String,
    pack_root: String,
}

/// A file that was hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    mark: String,
    length: u64,
    sha256: Digest,
    /// Of the other members.
    check: Digest,
}

impl Entry {
    fn new(path: String, mark: String, length: u64, sha256: Digest) -> Self {
        let check = check(&path, &mark, length, sha256);
        Self { path, mark, length, sha256, check }
    }

    fn is_whole(&self) -> bool {
        self.check == check(&self.path, &self.mark, self.length, self.sha256)
    }
}

/// Neither a path nor a mark holds a NUL.
fn check(path: &str, mark: &str, length: u64, sha256: Digest) -> Digest {
    Digest::of(format!("{path}\0{mark}\0{length}\0{sha256}").as_bytes())
}

/// Files hashed by earlier calls, and where those of this one are noted.
pub(super) struct Journal {
    known: BTreeMap<String, Entry>,
    file: StdFile,
}

impl Journal {
    /// Opens, or begins, the journal of this pack.
    pub(super) fn open(path: &Path, objects: &Objects, pack_root: &str) -> Result<Self, Failure> {
        let wrong = |text: String| usage(format!("--journal {}: {text}", path.display()));
        let store = objects.names().first().cloned().unwrap_or_default();
        let journal = "oracle-gate-seal-v1".to_owned();
        let header = Header { journal, store, pack_root: pack_root.to_owned() };
        let mut options = StdFile::options();
        let options = options.read(true).append(true).create(true);
        let mut file = options.open(path).map_err(|error| wrong(error.to_string()))?;
        let mut lines = BufReader::new(&file).lines().map_while(Result::ok);
        let first = lines.next();
        if let Some(first) = &first
            && serde_json::from_str::<Header>(first).ok().as_ref() != Some(&header)
        {
            return Err(wrong("it is no journal of this pack".to_owned()));
        }
        // The last line may have been cut by a crash; it and whatever else is odd is hashed again.
        let entries = lines.filter_map(|line| serde_json::from_str::<Entry>(&line).ok());
        let entries = entries.filter(Entry::is_whole);
        let known = entries.map(|entry| (entry.path.clone(), entry)).collect();
        if first.is_none() {
            note(&mut file, &header).map_err(|error| wrong(error.to_string()))?;
        } else {
            file.write_all(b"\n").map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Self { known, file })
    }

    fn find(&self, path: &str, mark: &str) -> Option<(u64, Digest)> {
        let entry = self.known.get(path).filter(|entry| entry.mark == mark)?;
        Some((entry.length, entry.sha256))
    }
}

fn note(file: &mut StdFile, line: &impl Serialize) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    file.write_all(&bytes)
}

/// Every file of the pack but manifest and seal, with its digest.
pub(super) async fn inventory(
    objects: &Objects,
    root: &str,
    mut journal: Option<Journal>,
) -> Result<Tree, SealingError> {
    let mut names = objects.list(root).await?;
    names.retain(|name| name != MANIFEST_FILE && name != SEAL_FILE);
    let (mut files, mut bytes, mut told) = (Vec::new(), 0_u64, Instant::now());
    let total = names.len();
    for path in names {
        let (length, sha256) = measure(objects, root, &path, journal.as_mut()).await?;
        crash::point("inventory.during");
        bytes = bytes.saturating_add(length);
        files.push(File { path, executable: false, length, sha256 });
        if told.elapsed() >= TELL_EVERY && std::io::stderr().is_terminal() {
            eprintln!("hashed {} of {total} files, {} MiB", files.len(), bytes >> 20);
            told = Instant::now();
        }
    }
    Tree::new(files, &Limits::PACK).map_err(|error| match error {
        TreeError::Empty => {
            SealingError::refused(Reason::PackRootNotFound, format!("{root} holds no file"))
        }
        error => SealingError::refused(Reason::PackNotClean, error.to_string()),
    })
}

/// Length and digest of one file that nobody writes meanwhile.
async fn measure(
    objects: &Objects,
    root: &str,
    path: &str,
    journal: Option<&mut Journal>,
) -> Result<(u64, Digest), SealingError> {
    let at = inside(root, path);
    let odd = |text: &str| SealingError::refused(Reason::PackNotClean, format!("{path} {text}"));
    let before = objects.mark(&at).await?.ok_or_else(|| odd("went away"))?;
    if let Some(known) = journal.as_ref().and_then(|journal| journal.find(path, &before)) {
        return Ok(known);
    }
    let (length, sha256) = objects.hash(&at).await?.ok_or_else(|| odd("went away"))?;
    if objects.mark(&at).await?.as_ref() != Some(&before) {
        return Err(odd("was written while it was hashed"));
    }
    if let Some(journal) = journal {
        let entry = Entry::new(path.to_owned(), before, length, sha256);
        // A journal that cannot be written only costs the next call its time.
        if let Err(error) = note(&mut journal.file, &entry) {
            tracing::warn!(%error, "the journal cannot be written");
        }
    }
    Ok((length, sha256))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever became of a journal's bytes: it is of no pack, or what it still knows was hashed.
        #[test]
        fn a_damaged_journal_knows_nothing_else(
            edits in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let objects = Objects::local(dir.path()).unwrap();
            let path = dir.path().join("journal");
            let mut journal = Journal::open(&path, &objects, "run-5").ok().unwrap();
            let hashed = ["a", "b"].map(|name| {
                Entry::new(name.to_owned(), "1:2".to_owned(), 7, Digest::of(name.as_bytes()))
            });
            for entry in &hashed {
                note(&mut journal.file, entry).unwrap();
            }
            let mut bytes = std::fs::read(&path).unwrap();
            for (at, byte, how) in edits {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, bytes[at]),
                }
            }
            std::fs::write(&path, bytes).unwrap();
            if let Ok(journal) = Journal::open(&path, &objects, "run-5") {
                for (name, entry) in &journal.known {
                    prop_assert!(hashed.contains(entry) && *name == entry.path, "{:?}", entry);
                }
            }
        }
    }
}
