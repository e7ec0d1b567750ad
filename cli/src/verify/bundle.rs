//! Bundles: a run's files as somebody gave them. Nothing in one is believed before it is compared.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use seal::RunKey;
use stellar::vault::RunTerms;
use walkdir::WalkDir;
use wire::event::RunStatus;
use wire::view::{AttemptOutcome, JsonText, ReceiptView};
use wire::{AttemptKey, Digest, RunDocument, RunId, RunView, failure};

use super::facts::Hints;
use crate::error::{CliError, Result};
use crate::files;

/// Most files of a bundle.
const MOST_FILES: usize = 100_000;
/// Most bytes of a bundle's files together.
const MOST_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Most bytes of one small document of a bundle.
const LARGEST_DOCUMENT: u64 = 64 * 1024 * 1024;
/// Most bytes of what an archive says about an entry beside its header, such as a long name. A
/// reader has to hold it in memory.
const LARGEST_EXTENSION: u64 = 64 * 1024;
/// What a gateway said of a tombstone in place of the pack's files.
pub const TOMBSTONE_FILE: &str = "tombstone.txt";
/// The single files that a bundle may hold. Anything else was put there by somebody else.
const FILES: [&str; 6] = [
    "run.json",
    TOMBSTONE_FILE,
    super::facts::FILE,
    super::facts::SIGNED_FILE,
    "facts/run_facts_view.json",
    "module/_tree.json",
];
/// The folders whose files are compared one by one, with the pack's manifest and the module's tree.
const TREES: [&str; 2] = ["pack", "module/tree"];

/// A bundle in a folder.
#[derive(Debug, Clone)]
pub struct Bundle {
    root: PathBuf,
    /// What the gateway says about the run.
    pub claim: Claim,
    /// What the gateway said of the pack's tombstone, where it gave no files because of one:
    /// [`TOMBSTONE_FILE`].
    pub withheld: Option<String>,
}

/// What the gateway says about a run. Only ever compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The run.
    pub run: RunView,
    /// Which terms it says that the attempt was opened with.
    pub terms: Option<RunTerms>,
    /// Which vault it says that the run is in.
    pub vault: Option<String>,
    /// Which input it says that the run had.
    pub input: Option<JsonText>,
}

impl Bundle {
    /// Opens the bundle in the folder `root`.
    ///
    /// # Errors
    ///
    /// [`CliError::Bad`] when it holds no readable `run.json`, or anything that no bundle holds:
    /// links, devices, files beside its parts.
    pub fn open(root: PathBuf) -> Result<Self> {
        require_plain(&root)?;
        let text = read(&root.join("run.json"))?
            .ok_or_else(|| CliError::bad("the bundle has no run.json"))?;
        let withheld = read(&root.join(TOMBSTONE_FILE))?
            .map(String::from_utf8)
            .transpose()
            .map_err(|error| CliError::bad(format!("{TOMBSTONE_FILE}: {error}")))?;
        Ok(Self { claim: Claim::read(&text)?, root, withheld })
    }

    /// The folder of the pack.
    pub fn pack(&self) -> PathBuf {
        self.root.join("pack")
    }

    /// The folder of the module.
    pub fn module(&self) -> PathBuf {
        self.root.join("module")
    }

    /// The whole of a small file, by its path in the bundle; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// [`CliError::Unknown`] when it cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        read(&self.root.join(path))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run's key in facts views.
    pub fn run_key(&self) -> RunKey {
        RunKey::from(self.claim.id())
    }
}

impl Claim {
    /// Reads `run.json`: the document of a bundle, or the run alone where a gateway has no bundle.
    ///
    /// # Errors
    ///
    /// [`CliError::Bad`] when it is neither.
    pub fn read(text: &[u8]) -> Result<Self> {
        // The whole document first: a run alone lacks terms and input.
        let document = RunDocument::<RunTerms>::read(text);
        if let Ok(RunDocument { run, terms, vault_id, nonce: _, input }) = document {
            return Ok(Self { run, terms, vault: Some(vault_id), input: Some(input) });
        }
        let run: RunView = wire::json::read(text)
            .map_err(|error| CliError::bad(format!("run.json is not a run: {error}")))?;
        Ok(Self { run, terms: None, vault: None, input: None })
    }

    /// The run.
    pub const fn id(&self) -> RunId {
        self.run.id
    }

    /// The attempt that the bundle is of.
    pub const fn attempt(&self) -> u32 {
        self.run.attempt
    }

    /// The receipt that the gateway shows.
    pub const fn receipt(&self) -> Option<&ReceiptView> {
        self.run.receipt.as_ref()
    }

    /// Digest of the input that the gateway shows. Exact: the text is not rounded on the way.
    pub fn input_digest(&self) -> Option<Digest> {
        let input = wire::json::exact::canonical(self.input.as_ref()?.as_str());
        input.ok().map(|exact| Digest::of(exact.text.as_bytes()))
    }

    /// The digest of the failure that the gateway describes.
    pub fn failure_digest(&self) -> Option<Digest> {
        let key = AttemptKey::new(self.id(), self.attempt());
        let reason = self.run.error.as_deref().unwrap_or_default();
        Some(failure::digest(key, self.run.error_code.as_deref()?, reason))
    }

    /// Where to look on chain besides the vault's events.
    pub fn hints(&self) -> Hints {
        let shown = self.run.run_id.map(|id| (self.attempt(), id));
        let listed = self
            .run
            .attempts
            .iter()
            .filter_map(|attempt| attempt.run_id.map(|id| (attempt.attempt, id)));
        let last = self.run.attempts.iter().map(|attempt| attempt.attempt).max();
        Hints {
            attempt: last.unwrap_or_default().max(self.attempt()).min(MOST_ATTEMPTS),
            run_ids: shown.into_iter().chain(listed).take(MOST_HINTS).collect(),
            user: self.run.user.parse().ok(),
        }
    }
}

/// The run as it was in attempt `number`, as far as a view of a later attempt says; `None` if that
/// does not list the attempt.
pub fn as_of(run: &RunView, number: u32) -> Option<RunView> {
    let attempt = run.attempts.iter().find(|attempt| attempt.attempt == number)?.clone();
    Some(RunView {
        attempt: number,
        status: match attempt.outcome {
            AttemptOutcome::Running => RunStatus::Running,
            AttemptOutcome::Delivered => RunStatus::Finalized,
            AttemptOutcome::Failed => RunStatus::Failed,
            AttemptOutcome::Cancelled => RunStatus::Cancelled,
        },
        // Each attempt pins its own rate card.
        rate_version: None,
        manifest_hash: None,
        escrow: attempt.escrow,
        run_id: attempt.run_id,
        deadline: attempt.deadline,
        usage: attempt.usage,
        upstreams: attempt.upstreams,
        output_hash: attempt.receipt.as_ref().map(|receipt| receipt.output_hash),
        receipt: attempt.receipt,
        pack: attempt.pack,
        error: attempt.error,
        error_code: attempt.error_code,
        waiting_for: None,
        transaction_hashes: attempt.transaction_hashes,
        ..run.clone()
    })
}

/// A gateway that names more attempts than this is not followed.
const MOST_ATTEMPTS: u32 = 10_000;
/// Each hint costs a question to the node.
const MOST_HINTS: usize = 100;

/// A bundle holds regular files in folders, below its known parts, and nothing else.
fn require_plain(root: &Path) -> Result<()> {
    let entries = WalkDir::new(root).follow_links(false).min_depth(1);
    for (count, entry) in entries.into_iter().enumerate() {
        let entry = entry
            .map_err(|error| CliError::unknown("the bundle's folder cannot be read", error))?;
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let kind = entry.file_type();
        let is_part = if kind.is_dir() {
            let above = FILES.iter().chain(&TREES).any(|part| Path::new(part).starts_with(path));
            above || TREES.iter().any(|tree| path.starts_with(tree))
        } else {
            kind.is_file()
                && (FILES.iter().any(|file| path == Path::new(file))
                    || TREES.iter().any(|tree| path.starts_with(tree)))
        };
        if !is_part {
            return Err(CliError::bad(format!(
                "the bundle holds {}, which belongs to no bundle: a link, a device or a file of \
                 somebody else; remove it, or fetch the bundle again",
                path.display()
            )));
        }
        if count > MOST_FILES {
            return Err(CliError::bad(format!("the bundle holds more than {MOST_FILES} files")));
        }
    }
    Ok(())
}

/// Unpacks a bundle's archive into the empty folder `into`: regular files below it and nothing
/// else.
///
/// # Errors
///
/// [`CliError::Bad`] when the archive holds anything else, or is too large; [`CliError::Unknown`]
/// when it cannot be read or written.
pub fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let file = files::open(archive)
        .map_err(|error| CliError::usage(format!("cannot open {}: {error}", archive.display())))?;
    // Before the reader that unpacks sees the file.
    require_small_extensions(&file)?;
    let mut archive = tar::Archive::new(file);
    let (mut files, mut bytes) = (0, 0);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        if entry.header().entry_type().is_dir() {
            continue;
        }
        if !entry.header().entry_type().is_file() || !is_plain(&path) {
            return Err(CliError::bad(format!(
                "the bundle's archive holds {}, which is no plain file below it",
                path.display()
            )));
        }
        files += 1;

        // By the header, before a byte is written; an entry cannot hold more than it announces.
        bytes += entry.size();
        if files > MOST_FILES || bytes > MOST_BYTES {
            return Err(CliError::bad(format!(
                "the bundle is larger than {MOST_FILES} files or {MOST_BYTES} bytes"
            )));
        }
        write(&into.join(&path), &mut entry).map_err(|error| {
            CliError::unknown(&format!("cannot unpack {}", path.display()), error)
        })?;
    }
    Ok(())
}

/// Goes over the headers alone, skipping what they announce: the reader that unpacks would take a
/// name of three gigabytes into memory before it could be refused.
fn require_small_extensions(mut file: &File) -> Result<()> {
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        let size = entry.header().entry_size().map_err(broken)?;
        if kind.is_file() || kind.is_dir() {
            continue;
        }
        if size > LARGEST_EXTENSION {
            return Err(CliError::bad(format!(
                "the bundle's archive holds an entry of kind {kind:?} with {size} bytes, at most \
                 {LARGEST_EXTENSION} are read"
            )));
        }
        // Headers are found by the sizes before them. A size that an extension gives in place of the
        // header's would lead the reader that unpacks to other headers than those looked at here.
        for extension in entry.pax_extensions().map_err(broken)?.into_iter().flatten() {
            let extension = extension.map_err(broken)?;
            let key = extension.key_bytes();
            if key == b"size" || key.starts_with(b"GNU.sparse") {
                return Err(CliError::bad(
                    "the archive overrides a file size by a PAX extension, which is not accepted",
                ));
            }
        }
    }
    io::Seek::rewind(&mut file).map_err(broken)
}

/// Packs the folder `root` into an archive that must not exist yet.
///
/// # Errors
///
/// [`CliError::Usage`] when it exists or cannot be written.
pub fn pack(root: &Path, archive: &Path) -> Result<()> {
    let failed =
        |error: io::Error| CliError::usage(format!("cannot write {}: {error}", archive.display()));
    let fill = |file: &mut File| {
        let mut builder = tar::Builder::new(file);
        builder.follow_symlinks(false);
        builder.append_dir_all(".", root).and_then(|()| builder.finish())
    };
    files::make(archive, fill).map_err(failed)
}

fn write(path: &Path, content: &mut impl io::Read) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }

    // Never over a file that is there, so that an archive has each name once.
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    io::copy(content, &mut file).map(|_| ())
}

fn is_plain(path: &Path) -> bool {
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    path.components().all(normal) && path.file_name().is_some()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed =
        |error: io::Error| CliError::unknown(&format!("cannot read {}", path.display()), error);
    // Links are not followed: the path comes from a bundle.
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(CliError::bad(format!("{} is no regular file", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(CliError::bad(format!(
            "{} is larger than {LARGEST_DOCUMENT} bytes",
            path.display()
        )));
    }
    Ok(Some(bytes))
}

fn broken(error: io::Error) -> CliError {
    CliError::unknown("the bundle's archive cannot be read", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(folder: &Path, name: &str, kind: tar::EntryType) -> PathBuf {
        let path = folder.join("bundle.tar");
        let mut header = tar::Header::new_gnu();

        // `set_path` itself refuses what a hostile archive would hold.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        builder.append(&header, io::empty()).unwrap();
        builder.finish().unwrap();
        path
    }

    #[test]
    fn nothing_is_written_outside_the_folder() {
        for (name, kind) in [
            ("../evil", tar::EntryType::Regular),
            ("/tmp/lumio-evil", tar::EntryType::Regular),
            ("a/../../evil", tar::EntryType::Regular),
            ("link", tar::EntryType::Symlink),
            ("hard", tar::EntryType::Link),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let into = folder.path().join("into");
            fs::create_dir(&into).unwrap();
            let result = unpack(&archive(folder.path(), name, kind), &into);
            assert!(matches!(result, Err(CliError::Bad(_))), "{name}");
            assert_eq!(fs::read_dir(&into).unwrap().count(), 0, "{name}");
            assert!(!folder.path().join("evil").exists());
        }
    }

    #[test]
    fn a_long_name_of_three_gigabytes_is_refused_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.tar");
        for kind in
            [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader]
        {
            let mut header = tar::Header::new_gnu();
            header.set_path("././@LongLink").unwrap();
            header.set_entry_type(kind);
            header.set_size(3 * 1024 * 1024 * 1024);
            header.set_cksum();
            fs::write(&path, header.as_bytes()).unwrap();

            // The rest is a hole, so that the archive is as long as it says and costs nothing.
            File::options().write(true).open(&path).unwrap().set_len(3_300_000_000).unwrap();

            let error = unpack(&path, folder.path()).unwrap_err();
            assert!(matches!(&error, CliError::Bad(_)), "{error}");
            assert!(error.to_string().contains("3221225472 bytes"), "{error}");
        }
    }

    /// The header says 0 bytes and the extension before it 1,024: a reader of headers alone takes the
    /// zeros for the archive's end, and another one finds the long name behind them.
    #[test]
    fn an_extension_that_gives_a_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.tar");
        let header = |kind, name: &str, size| {
            let mut header = tar::Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        let mut bytes = header(tar::EntryType::XHeader, "pax", 13);
        bytes.extend(b"13 size=1024\n");
        bytes.resize(1_024, 0);
        bytes.extend(header(tar::EntryType::Regular, "run.json", 0));
        bytes.extend([0; 1_024]);
        bytes.extend(header(tar::EntryType::GNULongName, "././@LongLink", 3_221_225_472));
        fs::write(&path, &bytes).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(3_300_000_000).unwrap();
        let error = unpack(&path, folder.path()).unwrap_err();
        assert!(matches!(&error, CliError::Bad(_)), "{error}");
        assert!(error.to_string().contains("by a PAX extension"), "{error}");
    }

    #[test]
    fn a_bundle_with_links_or_foreign_files_is_refused() {
        let foreign = [
            "link",
            "pack/link",
            "notes.txt",
            "other/x",
            "facts/x",
            "chain/x",
            "module/x",
            "run.json/x",
        ];
        for foreign in foreign {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(foreign);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if !foreign.starts_with("run.json") {
                fs::write(folder.path().join("run.json"), "{}").unwrap();
            }
            if foreign.ends_with("link") {
                std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
            } else {
                fs::write(&path, "x").unwrap();
            }
            let error = Bundle::open(folder.path().to_owned()).unwrap_err().to_string();
            assert!(error.contains("belongs to no bundle"), "{foreign}: {error}");
        }
    }

    #[test]
    fn a_folder_comes_back_from_its_archive() {
        let folder = tempfile::tempdir().unwrap();
        let (from, into) = (folder.path().join("from"), folder.path().join("into"));
        fs::create_dir_all(from.join("pack/outputs")).unwrap();
        fs::create_dir(&into).unwrap();
        fs::write(from.join("pack/outputs/a"), b"x").unwrap();
        let archive = folder.path().join("b.tar");
        pack(&from, &archive).unwrap();
        unpack(&archive, &into).unwrap();
        assert_eq!(fs::read(into.join("pack/outputs/a")).unwrap(), b"x");
        assert!(pack(&from, &archive).is_err(), "an archive is never overwritten");
    }
}
