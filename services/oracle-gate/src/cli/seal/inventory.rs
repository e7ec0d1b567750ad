//! The content of an engine's pack: every file hashed once, also over several calls. The digests of
//! a very large file's shards are made of the same bytes as its own.
//!
//! A journal remembers each file that was hashed, with the mark by which the store shows that it
//! has not been written since: in a bucket tag and version, in a folder inode and change time
//! (which no call sets back). A call that is given the journal of one that was interrupted hashes
//! only the rest. A line that was damaged is hashed again: a seal would keep its digest for ever.

use std::collections::BTreeMap;
use std::fs::File as StdFile;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat, renameat_with};
use seal::tree::File;
use seal::{Sharding, Shards, Tree};
use serde::{Deserialize, Serialize};
use wire::digest::Digest;

use super::super::journal::{self, MAX_HEADER_BYTES, same_file};
use super::super::{CommandError, usage};
use super::plan::{self, tree};
use crate::crash;
use crate::locator::inside;
use crate::objects::{Entry as Listed, Measure, Objects, Task};
use crate::reasons::Reason;
use crate::sealing::SealingError;

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
    /// Of its shards, if it is very large. Earlier releases noted none: such a file is hashed again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shards: Vec<Digest>,
    /// Of the other members.
    check: Digest,
}

impl Entry {
    fn new(path: String, mark: String, length: u64, content: Content) -> Self {
        let Content { sha256, shards } = content;
        let check = check(&path, &mark, length, sha256, &shards);
        Self { path, mark, length, sha256, shards, check }
    }

    fn is_whole(&self) -> bool {
        self.check == check(&self.path, &self.mark, self.length, self.sha256, &self.shards)
    }
}

/// Neither a path nor a mark holds a NUL.
fn check(path: &str, mark: &str, length: u64, sha256: Digest, shards: &[Digest]) -> Digest {
    let mut text = format!("{path}\0{mark}\0{length}\0{sha256}");
    for shard in shards {
        text.push('\0');
        text.push_str(&shard.to_string());
    }
    Digest::of(text.as_bytes())
}

/// What is known of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    /// Their digest.
    sha256: Digest,
    /// Those of their shards, if the file is very large.
    shards: Vec<Digest>,
}

impl Content {
    /// Whether a file of this length has as many shards.
    fn fits(&self, rule: Sharding, length: u64) -> bool {
        self.shards.len() as u64 == rule.count(length)
    }
}

/// Files hashed by earlier calls, and where those of this one are noted.
pub(super) struct Journal {
    known: BTreeMap<String, Entry>,
    file: StdFile,
    path: PathBuf,
}

impl Journal {
    /// Opens, or begins, the journal of this pack: a new file, or one that begins as a journal of
    /// this pack does. Any other is left as it is.
    pub(super) fn open(
        path: &Path,
        objects: &Objects,
        pack_root: &str,
    ) -> Result<Self, CommandError> {
        let wrong = |text: String| usage(format!("--journal {}: {text}", path.display()));
        let store = objects.names().first().cloned().unwrap_or_default();
        let header = Header {
            journal: "oracle-gate-seal-v1".to_owned(),
            store,
            pack_root: pack_root.to_owned(),
        };
        let opened = journal::open(path, objects, &[pack_root]).map_err(wrong)?;
        if !opened.is_new {
            return Self::resume(path, opened.file, &header).map_err(wrong);
        }
        let mut file = opened.file;
        note(&mut file, &header).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { known: BTreeMap::new(), file, path: path.to_owned() })
    }

    /// Nothing is written before the file is seen to be a journal of this pack.
    fn resume(path: &Path, mut file: StdFile, header: &Header) -> Result<Self, String> {
        let mut first = String::new();
        let mut reader = BufReader::new(&file);
        // A line of any length would be read otherwise, of a file that is anything.
        let read = io::Read::take(&mut reader, MAX_HEADER_BYTES).read_line(&mut first);
        let known = read.is_ok().then(|| serde_json::from_str::<Header>(&first).ok()).flatten();
        match known {
            Some(known) if known == *header => {}
            Some(_) => return Err("it is the journal of another pack; name a new file".to_owned()),
            None => {
                let text = "it is no journal, and is left as it is; name a new file";
                return Err(text.to_owned());
            }
        }
        // The last line may have been cut by a crash; it and every other invalid line is hashed
        // again.
        let lines = reader.split(b'\n').map_while(Result::ok);
        let entries = lines.filter_map(|line| serde_json::from_slice::<Entry>(&line).ok());
        let entries = entries.filter(Entry::is_whole);
        let known = entries.map(|entry| (entry.path.clone(), entry)).collect();
        // After a line that was cut, the next one begins on its own.
        file.write_all(b"\n").map_err(|error| error.to_string())?;
        Ok(Self { known, file, path: path.to_owned() })
    }

    /// Removes the journal of a pack that is sealed: the file that was opened or begun, and nothing
    /// that took its name meanwhile. Where that fails, it is left: it is only of use for a pack that
    /// is not sealed yet.
    pub(super) fn remove(self) {
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".removing-{}", hex::encode(rand::random::<[u8; 16]>())));
        // Under a name that no other program knows no other file takes its place after the look.
        if renameat(CWD, self.path.as_path(), CWD, aside.as_os_str()).is_err() {
            return;
        }
        let (ours, there) = (self.file.metadata(), Path::new(&aside).symlink_metadata());
        if let (Ok(ours), Ok(there)) = (ours, there)
            && same_file(&ours, &there)
        {
            drop(std::fs::remove_file(&aside));
        } else {
            let back = RenameFlags::NOREPLACE;
            renameat_with(CWD, aside.as_os_str(), CWD, self.path.as_path(), back).ok();
        }
    }

    fn find(&self, listed: &Listed) -> Option<Content> {
        let same = |entry: &&Entry| entry.mark == listed.mark && entry.length == listed.length;
        let entry = self.known.get(&listed.path).filter(same)?;
        Some(Content { sha256: entry.sha256, shards: entry.shards.clone() })
    }
}

fn note(file: &mut StdFile, line: &impl Serialize) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    file.write_all(&bytes)
}

/// Every listed file with its digest, and the shards of those that have some by `rule`. What was
/// written meanwhile is found when the pack is closed.
pub(super) async fn inventory(
    objects: &Objects,
    root: &str,
    listed: &[Listed],
    rule: Sharding,
    mut journal: Option<&mut Journal>,
) -> Result<(Tree, Option<Shards>), SealingError> {
    let refused = |text: String| SealingError::refused(Reason::PackNotClean, text);
    let mut files = Vec::with_capacity(listed.len());
    let mut shards = BTreeMap::new();
    let mut add = |entry: &Listed, content: Content| {
        files.push(file(entry, content.sha256));
        if !content.shards.is_empty() {
            shards.insert(entry.path.clone(), content.shards);
        }
    };
    let mut open: Vec<&Listed> = Vec::new();
    for entry in listed {
        let content = journal.as_ref().and_then(|journal| journal.find(entry));
        match content.filter(|content| content.fits(rule, entry.length)) {
            Some(content) => add(entry, content),
            None => open.push(entry),
        }
    }
    // The largest first, so that at the end no worker is left alone with one.
    open.sort_by_key(|entry| std::cmp::Reverse(entry.length));
    let task = |entry: &&Listed| Task {
        files: vec![(inside(root, &entry.path), Some(entry.length))],
        shard_bytes: (rule.count(entry.length) > 0)
            .then_some((0, rule.bytes))
            .into_iter()
            .collect(),
        ..Task::default()
    };
    let tasks = open.iter().map(task).collect();
    let content =
        |measure: &Measure| Content { sha256: measure.sha256, shards: measure.shards.clone() };
    let done = objects
        .hash_all(tasks, |number, _, hashed| {
            let Ok(Some(measure)) = hashed else { return };
            if let Some(journal) = &mut journal {
                let Listed { path, mark, .. } = open[number];
                let (path, mark) = (path.clone(), mark.clone());
                let entry = Entry::new(path, mark, measure.length, content(measure));
                // A journal that cannot be written only costs the next call its time.
                if let Err(error) = note(&mut journal.file, &entry) {
                    tracing::warn!(%error, "the journal cannot be written");
                }
            }
            crash::point("inventory.during");
        })
        .await;
    for (entry, done) in open.into_iter().zip(done) {
        let path = &entry.path;
        match done.files.into_iter().next() {
            Some(Ok(Some(measure))) if measure.length == entry.length => {
                add(entry, content(&measure));
            }
            Some(Ok(Some(_))) => {
                return Err(refused(format!("{path} was written while it was hashed")));
            }
            Some(Ok(None)) | None => return Err(refused(format!("{path} went away"))),
            Some(Err(error)) => return Err(error.into()),
        }
    }
    let tree = tree(root, files)?;
    let shards = plan::shards(rule, &tree, shards)?;
    Ok((tree, shards))
}

fn file(entry: &Listed, sha256: Digest) -> File {
    File { path: entry.path.clone(), executable: false, length: entry.length, sha256 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn begun(path: &Path, objects: &Objects) -> Result<Journal, String> {
        Journal::open(path, objects, "run-5").map_err(|failure| failure.text)
    }

    #[test]
    fn a_file_that_is_no_journal_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("run-5/sub")).unwrap();
        let objects = Objects::local(&root).unwrap();
        let other = serde_json::to_vec(&Header {
            journal: "oracle-gate-seal-v1".to_owned(),
            store: "elsewhere".to_owned(),
            pack_root: "run-5".to_owned(),
        })
        .unwrap();
        let long = vec![b'x'; 1 << 20];
        for content in [&b"\xff\x00\n"[..], b"", b"a,b\n1,2\n", b"{}\n", &other, &long] {
            let path = dir.path().join("data");
            std::fs::write(&path, content).unwrap();
            assert!(begun(&path, &objects).is_err());
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("data", &link).unwrap();
        let socket = dir.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&link, &socket, dir.path(), Path::new("/dev/null")] {
            assert!(begun(path, &objects).is_err(), "{}", path.display());
        }
        for inside in ["run-5/journal", "run-5/sub/journal", "run-5/sub/../journal"] {
            let text = begun(&root.join(inside), &objects).err().unwrap();
            assert!(text.contains("in the pack"), "{text}");
        }
        assert!(begun(&root.join("journal"), &objects).is_ok());
    }

    #[test]
    fn what_took_the_name_of_a_journal_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path()).unwrap();
        let path = dir.path().join("journal");
        begun(&path, &objects).unwrap().remove();
        assert!(!path.exists());
        let journal = begun(&path, &objects).unwrap();
        std::fs::rename(&path, dir.path().join("away")).unwrap();
        std::fs::write(&path, "data").unwrap();
        journal.remove();
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    /// By a rule of few bytes: what the product does with 1 GiB it does with these.
    const RULE: Sharding = Sharding { above: 1_000, bytes: 300 };

    async fn hashed(objects: &Objects, journal: Option<&mut Journal>) -> (Tree, Option<Shards>) {
        let listing = objects.entries("pack").await.unwrap();
        inventory(objects, "pack", &listing.entries, RULE, journal).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_above_the_border_has_shards_of_the_bytes_that_its_digest_is_of() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pack")).unwrap();
        let content: Vec<u8> = (0..1_400_u16).map(|at| (at % 251) as u8).collect();
        for length in [0, 1, 299, 300, 301, 999, 1_000, 1_001, 1_199, 1_200, 1_201, 1_400] {
            let path = dir.path().join(format!("pack/f{length}"));
            std::fs::write(path, &content[..length]).unwrap();
        }
        let objects = Objects::local(dir.path()).unwrap();
        for objects in [objects.clone(), objects.through(|store| store)] {
            let (tree, shards) = hashed(&objects, None).await;
            let shards = shards.unwrap();
            for file in tree.files() {
                let bytes = &content[..usize::try_from(file.length).unwrap()];
                assert_eq!(file.sha256, Digest::of(bytes), "{}", file.path);
                let expected: Vec<Digest> = bytes.chunks(300).map(Digest::of).collect();
                let of = shards.of(&file.path);
                assert_eq!(of, (file.length > 1_000).then_some(&expected[..]), "{}", file.path);
            }
            assert_eq!(shards.files().len(), 5);
        }
    }

    #[tokio::test]
    async fn a_journal_that_knows_no_shards_of_a_large_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pack")).unwrap();
        for (name, length) in [("large", 1_001), ("small", 7)] {
            std::fs::write(dir.path().join("pack").join(name), vec![1_u8; length]).unwrap();
        }
        let objects = Objects::local(dir.path()).unwrap();
        let listing = objects.entries("pack").await.unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path, &objects, "pack").ok().unwrap();
        // As an earlier release noted it, with digests that show whether they were taken.
        let (noted, none) = (Digest::of(b"noted"), Vec::new());
        for listed in &listing.entries {
            let content = Content { sha256: noted, shards: none.clone() };
            let (path, mark) = (listed.path.clone(), listed.mark.clone());
            let entry = Entry::new(path, mark, listed.length, content);
            note(&mut journal.file, &entry).unwrap();
        }
        drop(journal);
        let mut journal = Journal::open(&path, &objects, "pack").ok().unwrap();
        let (tree, shards) = hashed(&objects, Some(&mut journal)).await;
        assert_eq!(tree.file("small").unwrap().sha256, noted);
        assert_eq!(tree.file("large").unwrap().sha256, Digest::of(&[1; 1_001]));
        // What is noted now has the shards, and is taken up.
        drop(journal);
        let journal = Journal::open(&path, &objects, "pack").ok().unwrap();
        let large = listing.entries.iter().find(|listed| listed.path == "large").unwrap();
        let found = journal.find(large).unwrap();
        assert_eq!(Some(&found.shards[..]), shards.unwrap().of("large"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever became of a journal's bytes: it is of no pack, or what it still knows was
        /// hashed.
        #[test]
        fn a_damaged_journal_knows_nothing_else(
            edits in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let objects = Objects::local(dir.path()).unwrap();
            let path = dir.path().join("journal");
            let mut journal = Journal::open(&path, &objects, "run-5").ok().unwrap();
            let hashed = ["a", "b"].map(|name| {
                let sha256 = Digest::of(name.as_bytes());
                let shards = if name == "b" { vec![sha256; 3] } else { Vec::new() };
                let content = Content { sha256, shards };
                Entry::new(name.to_owned(), "1:2".to_owned(), 7, content)
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
