//! Verification of packs and modules that lie in folders of the local disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use walkdir::WalkDir;
use wire::digest::Digest;

use super::{Broken, Found, Report, compare_files};
use crate::records::{self, Log, RECORDS_DIR, is_record, is_unfinished_record};
use crate::shards::ShardHasher;
use crate::tree::{Limits, Tree, walk};
use crate::{MANIFEST_FILE, MAX_DOCUMENT_BYTES, Manifest, SEAL_FILE, Shards, TREE_FILE};

/// Verifies the pack in the folder `root`: every link, that no file was added, and that what was
/// recorded about it after the seal is a whole log.
///
/// # Errors
/// When something cannot be read. Then nothing is known about the pack.
pub fn pack(root: &Path) -> io::Result<Report> {
    let own = |path: &str| {
        path == MANIFEST_FILE || path == SEAL_FILE || is_record(path) || is_unfinished_record(path)
    };
    let seal = document(&root.join(SEAL_FILE))?;
    let manifest = document(&root.join(MANIFEST_FILE))?;
    let mut report = Report::read(seal.as_deref(), manifest.as_deref());
    let shards = report.manifest.as_ref().and_then(Manifest::shards);
    let (found, mut irregular) = list(root, shards, own)?;
    report.compare_files(&found);
    report.broken.append(&mut irregular);
    match read_records(root, &report)? {
        Ok(log) => report.tombstone = log.tombstone().cloned(),
        Err(broken) => report.broken.push(broken),
    }
    Ok(report)
}

/// The records about the pack, or what is wrong with them. A file of another name in their folder
/// is reported as an added one already, and here as well: a log that is not whole may lack its
/// tombstone.
fn read_records(root: &Path, report: &Report) -> io::Result<Result<Log, Broken>> {
    let broken = |path: &str, detail: String| {
        Ok(Err(Broken::RecordsInvalid { path: path.to_owned(), detail }))
    };
    let folder = root.join(RECORDS_DIR);
    match folder.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return broken(RECORDS_DIR, "it is no folder".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(Log::default())),
        Err(error) => return Err(error),
    }
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A file that is being written, or that a crash has left, is no record.
        if !(records::is_unfinished(&name) && entry.file_type()?.is_file()) {
            names.push(name);
        }
    }
    names.sort();
    let count = match records::count(names.iter().map(String::as_str)) {
        Ok(count) => count,
        Err(error) => return broken(RECORDS_DIR, error.to_string()),
    };
    let mut log = Log::default();
    for number in 1..=count {
        let path = records::path(number);
        let Some(bytes) = document(&root.join(&path))? else {
            return broken(&path, format!("it is no file, and record {count} is there"));
        };
        if let Err(error) = log.add(&bytes) {
            return broken(&path, error.to_string());
        }
    }
    // A seal that cannot be read is reported separately.
    let of_seal = report.seal.as_ref().and_then(|seal| Some((seal.pack_id(), report.seal_digest?)));
    match (log.about(), of_seal) {
        (Some(about), Some(of_seal)) if about != of_seal => {
            broken(&records::path(1), "it is about another seal than the pack's".to_owned())
        }
        _ => Ok(Ok(log)),
    }
}

/// Verifies a module's folder (`_tree.json` and `tree/`) against the digest it should have. Which
/// files are executable is taken from the document, whose own digest covers it: stores keep no
/// modes.
///
/// # Errors
/// When something cannot be read. Then nothing is known about the module.
pub fn module(root: &Path, expected: Digest) -> io::Result<Vec<Broken>> {
    let Some(bytes) = document(&root.join(TREE_FILE))? else {
        return Ok(vec![Broken::ModuleUnreadable { detail: "it is not there".to_owned() }]);
    };
    let tree = match Tree::parse(&bytes, &Limits::MODULE) {
        Ok(tree) => tree,
        Err(error) => return Ok(vec![Broken::ModuleUnreadable { detail: error.to_string() }]),
    };
    let mut broken = Vec::new();
    if tree.digest() != expected {
        broken.push(Broken::ModuleDigest { expected, found: tree.digest() });
    }
    let (found, mut irregular) = list(&root.join("tree"), None, |_| false)?;
    compare_files(&tree, None, &found, &mut broken);
    broken.append(&mut irregular);
    Ok(broken)
}

/// Every file below `root` but those that are `own`, and everything that is no file. Of a pack
/// these are manifest, seal and the records about it, also unfinished ones; of a module there are
/// none.
fn list(
    root: &Path,
    shards: Option<&Shards>,
    own: impl Fn(&str) -> bool,
) -> io::Result<(Vec<Found>, Vec<Broken>)> {
    let (mut found, mut irregular) = (Vec::new(), Vec::new());
    for entry in WalkDir::new(root).follow_links(false).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_dir() {
            continue;
        }
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let path = path.to_string_lossy().into_owned();
        // A link with the manifest's or seal's name is reported like any other.
        if own(&path) && entry.file_type().is_file() {
            continue;
        }
        if !entry.file_type().is_file() {
            irregular.push(Broken::NotRegular { path });
        } else {
            // Both digests, so that a manifest whose shards are of other bytes is found.
            let shards = shards.filter(|shards| shards.of(&path).is_some());
            let mut by_shard = shards.map(|shards| ShardHasher::new(shards.shard_bytes()));
            let (length, sha256) = walk::hash(&mut open(entry.path())?, u64::MAX - 1, |bytes| {
                if let Some(by_shard) = &mut by_shard {
                    by_shard.update(bytes);
                }
            })?;
            let shards = by_shard.map(ShardHasher::finish).unwrap_or_default();
            found.push(Found { path, length, sha256: Some(sha256), shards });
        }
    }
    Ok((found, irregular))
}

/// The whole of a small file; `None` if no regular file is there.
fn document(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let file = open(path)?;
    let mut bytes = Vec::new();
    // One byte more shows that there is more; the file's length may change while it is read.
    file.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(io::Error::other(format!("{} is larger than 64 MiB", path.display())));
    }
    Ok(Some(bytes))
}

/// Follows no link in the last part, and does not wait for a pipe's other end.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot open {}: {error}", path.display()))
    };
    options.open(path).map_err(named)
}
