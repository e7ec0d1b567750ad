//! The content of an engine's pack: every file hashed once, also over several calls.
//!
//! A journal remembers each file that was hashed, with the mark by which the store shows that it
//! has not been written since: in a bucket tag and version, in a folder inode and change time
//! (which no call sets back). A call that is given the journal of one that was interrupted hashes
//! only the rest. A line that was damaged is hashed again: a seal would keep its digest for ever.

use std::collections::BTreeMap;
use std::fs::{File as StdFile, Metadata};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use seal::Tree;
use seal::tree::File;
use serde::{Deserialize, Serialize};
use wire::digest::Digest;

use super::super::{Failure, usage};
use super::plan::tree;
use crate::crash;
use crate::locator::inside;
use crate::objects::{Entry as Listed, Objects, Task};
use crate::reasons::Reason;
use crate::sealing::SealingError;

/// Most bytes of a journal's first line: two paths, each byte spelled out.
const MAX_HEADER_BYTES: u64 = 64 << 10;

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
    path: PathBuf,
}

impl Journal {
    /// Opens, or begins, the journal of this pack: a new file, or one that begins as a journal of
    /// this pack does. Any other is left as it is.
    pub(super) fn open(path: &Path, objects: &Objects, pack_root: &str) -> Result<Self, Failure> {
        let wrong = |text: String| usage(format!("--journal {}: {text}", path.display()));
        let failed = |error: io::Error| wrong(error.to_string());
        refuse_inside(path, objects, pack_root).map_err(wrong)?;
        let store = objects.names().first().cloned().unwrap_or_default();
        let journal = "oracle-gate-seal-v1".to_owned();
        let header = Header { journal, store, pack_root: pack_root.to_owned() };
        let mut options = StdFile::options();
        // A link, a pipe or a device is no file of ours, and must not be waited for.
        options.custom_flags(libc_flags());
        let new = options.clone().append(true).read(true).create_new(true).open(path);
        let mut file = match new {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Self::resume(path, &options, &header).map_err(wrong);
            }
            Err(error) => return Err(failed(error)),
        };
        note(&mut file, &header).map_err(failed)?;
        Ok(Self { known: BTreeMap::new(), file, path: path.to_owned() })
    }

    /// Nothing is written before the file is seen to be a journal of this pack.
    fn resume(
        path: &Path,
        options: &std::fs::OpenOptions,
        header: &Header,
    ) -> Result<Self, String> {
        let meta = path.symlink_metadata().map_err(|error| error.to_string())?;
        if !meta.is_file() {
            return Err("it is a link, a folder or a special file; name a new file".to_owned());
        }
        let opened = options.clone().read(true).append(true).open(path);
        let mut file = opened.map_err(|error| error.to_string())?;
        let again = file.metadata().map_err(|error| error.to_string())?;
        if !again.is_file() || !same_file(&meta, &again) {
            return Err("it was replaced while it was opened".to_owned());
        }
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
        // The last line may have been cut by a crash; it and whatever else is odd is hashed again.
        let lines = reader.split(b'\n').map_while(Result::ok);
        let entries = lines.filter_map(|line| serde_json::from_slice::<Entry>(&line).ok());
        let entries = entries.filter(Entry::is_whole);
        let known = entries.map(|entry| (entry.path.clone(), entry)).collect();
        // After a line that was cut, the next one begins on its own.
        file.write_all(b"\n").map_err(|error| error.to_string())?;
        Ok(Self { known, file, path: path.to_owned() })
    }

    /// Removes the journal of a pack that is sealed: the file that was opened or begun, and nothing
    /// that took its name meanwhile.
    pub(super) fn remove(self) {
        let ours = self.file.metadata();
        let there = self.path.symlink_metadata();
        if let (Ok(ours), Ok(there)) = (ours, there)
            && same_file(&ours, &there)
        {
            // What is left of it is only of use for a pack that is not sealed yet.
            drop(std::fs::remove_file(&self.path));
        }
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

/// Follows no link, and waits for no other end of a pipe.
fn libc_flags() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    i32::try_from(flags.bits()).unwrap_or_default()
}

fn same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// A journal inside the pack would be sealed with it and removed from it.
fn refuse_inside(path: &Path, objects: &Objects, pack_root: &str) -> Result<(), String> {
    let Some(root) = objects.root() else { return Ok(()) };
    let folder = match path.parent() {
        None => return Err("it names no file".to_owned()),
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
    };
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    let pack = if pack_root.is_empty() { root.to_owned() } else { root.join(pack_root) };
    let pack = pack.canonicalize().unwrap_or(pack);
    if folder.starts_with(&pack) {
        return Err(
            "it lies in the pack that is to be sealed; name a file outside of it".to_owned()
        );
    }
    Ok(())
}

/// Every listed file with its digest. What was written meanwhile is found when the pack is closed.
pub(super) async fn inventory(
    objects: &Objects,
    root: &str,
    listed: &[Listed],
    known: &BTreeMap<String, Digest>,
    mut journal: Option<&mut Journal>,
) -> Result<Tree, SealingError> {
    let refused = |text: String| SealingError::refused(Reason::PackNotClean, text);
    let mut files = Vec::with_capacity(listed.len());
    let mut open: Vec<&Listed> = Vec::new();
    for entry in listed {
        let earlier = journal.as_ref().and_then(|journal| journal.find(&entry.path, &entry.mark));
        let earlier = earlier.filter(|(length, _)| *length == entry.length);
        let digest = known.get(&entry.path).copied().or(earlier.map(|(_, digest)| digest));
        match digest {
            Some(digest) => files.push(file(entry, digest)),
            None => open.push(entry),
        }
    }
    // The largest first, so that at the end no worker is left alone with one.
    open.sort_by_key(|entry| std::cmp::Reverse(entry.length));
    let task = |entry: &&Listed| Task {
        files: vec![(inside(root, &entry.path), Some(entry.length))],
        ..Task::default()
    };
    let tasks = open.iter().map(task).collect();
    let done = objects
        .hash_all(tasks, |number, _, hashed| {
            let Ok(Some((length, digest))) = hashed else { return };
            if let Some(journal) = &mut journal {
                let Listed { path, mark, .. } = open[number];
                let entry = Entry::new(path.clone(), mark.clone(), *length, *digest);
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
            Some(Ok(Some((length, digest)))) if length == entry.length => {
                files.push(file(entry, digest));
            }
            Some(Ok(Some(_))) => {
                return Err(refused(format!("{path} was written while it was hashed")));
            }
            Some(Ok(None)) | None => return Err(refused(format!("{path} went away"))),
            Some(Err(error)) => return Err(error.into()),
        }
    }
    tree(root, files)
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
