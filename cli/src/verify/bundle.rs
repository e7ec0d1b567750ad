//! Bundles: a run's files as somebody gave them. Nothing in one is believed before it is compared.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use seal::RunKey;
use serde_json::Value;
use stellar::vault::RunTerms;
use wire::{Digest, RunId};

use crate::failure::{Failure, Result};

/// Most files of a bundle.
const MOST_FILES: usize = 100_000;
/// Most bytes of a bundle's files together.
const MOST_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Most bytes of one small document of a bundle.
const LARGEST_DOCUMENT: u64 = 64 * 1024 * 1024;

/// A bundle in a folder.
#[derive(Debug, Clone)]
pub struct Bundle {
    root: PathBuf,
    /// What the gateway says about the run.
    pub claim: Claim,
}

/// What the gateway says about a run. Only ever compared.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The run.
    pub id: RunId,
    /// The attempt that counts.
    pub attempt: u32,
    /// The run's id on chain.
    pub run_id: Option<Digest>,
    /// Which vault the gateway says it is in.
    pub vault: Option<String>,
    /// Which terms it says the run was opened with.
    pub terms: Option<RunTerms>,
    /// Digest of the input that it says the run had.
    pub input_digest: Option<Digest>,
    run: Value,
}

impl Bundle {
    /// Opens the bundle in the folder `root`.
    ///
    /// # Errors
    ///
    /// [`Failure::Bad`] when it holds no readable `run.json`.
    pub fn open(root: PathBuf) -> Result<Self> {
        let text = read(&root.join("run.json"))?
            .ok_or_else(|| Failure::bad("the bundle has no run.json"))?;
        let document: Value = serde_json::from_slice(&text)
            .map_err(|error| Failure::bad(format!("run.json: {error}")))?;
        Ok(Self { claim: Claim::read(&document)?, root })
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
    /// [`Failure::Unknown`] when it cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        read(&self.root.join(path))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run's key in facts views.
    pub fn run_key(&self) -> RunKey {
        RunKey::from(self.claim.id)
    }
}

impl Claim {
    fn read(document: &Value) -> Result<Self> {
        let run = document.get("run").filter(|run| run.is_object()).unwrap_or(document);
        let find = |names: &[&str]| {
            let places = [document, run];
            let found =
                places.iter().flat_map(|place| names.iter().filter_map(|name| place.get(*name)));
            found.into_iter().find(|value| !value.is_null()).cloned()
        };
        let text = |names: &[&str]| find(names).and_then(|value| value.as_str().map(str::to_owned));
        let id = run.get("id").and_then(Value::as_str).unwrap_or_default();
        let id = id.parse().map_err(|_| Failure::bad("run.json: its id is no run's id"))?;
        let attempt = find(&["attempt"])
            .and_then(|value| value.as_u64())
            .and_then(|value| u32::try_from(value).ok());
        Ok(Self {
            id,
            attempt: attempt.unwrap_or(1),
            run_id: text(&["vaultRunId", "vault_run_id", "runId"])
                .and_then(|text| text.parse().ok()),
            vault: text(&["vaultId", "vault", "contractId"]),
            terms: find(&["terms"]).and_then(|terms| serde_json::from_value(terms).ok()),
            input_digest: find(&["input"]).and_then(|input| wire::json::digest(&input).ok()),
            run: run.clone(),
        })
    }

    /// A member of the gateway's run object.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.run.get(name).and_then(Value::as_str)
    }

    /// A member of an object in the gateway's run object.
    pub fn inner(&self, object: &str, name: &str) -> Option<&str> {
        self.run.get(object).and_then(|object| object.get(name)).and_then(Value::as_str)
    }

    /// Whether the gateway shows a receipt.
    pub fn has_receipt(&self) -> bool {
        self.run.get("receipt").is_some_and(Value::is_object)
    }
}

/// Unpacks a bundle's archive into the empty folder `into`: regular files below it and nothing
/// else.
///
/// # Errors
///
/// [`Failure::Bad`] when the archive holds anything else, or is too large; [`Failure::Unknown`]
/// when it cannot be read or written.
pub fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let file = File::open(archive)
        .map_err(|error| Failure::usage(format!("cannot open {}: {error}", archive.display())))?;
    let mut archive = tar::Archive::new(file);
    let (mut files, mut bytes) = (0, 0);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        if entry.header().entry_type().is_dir() {
            continue;
        }
        if !entry.header().entry_type().is_file() || !is_plain(&path) {
            return Err(Failure::bad(format!(
                "the bundle's archive holds {}, which is no plain file below it",
                path.display()
            )));
        }
        files += 1;
        bytes += entry.size();
        if files > MOST_FILES || bytes > MOST_BYTES {
            return Err(Failure::bad(format!(
                "the bundle is larger than {MOST_FILES} files or {MOST_BYTES} bytes"
            )));
        }
        write(&into.join(&path), &mut entry).map_err(|error| {
            Failure::unknown(&format!("cannot unpack {}", path.display()), error)
        })?;
    }
    Ok(())
}

/// Packs the folder `root` into an archive that must not exist yet.
///
/// # Errors
///
/// [`Failure::Usage`] when it exists or cannot be written.
pub fn pack(root: &Path, archive: &Path) -> Result<()> {
    let failed =
        |error: io::Error| Failure::usage(format!("cannot write {}: {error}", archive.display()));
    let file = OpenOptions::new().write(true).create_new(true).open(archive).map_err(failed)?;
    let mut builder = tar::Builder::new(file);
    builder.follow_symlinks(false);
    builder.append_dir_all(".", root).and_then(|()| builder.finish()).map_err(failed)
}

fn write(path: &Path, content: &mut impl io::Read) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    io::copy(content, &mut file).map(|_| ())
}

fn is_plain(path: &Path) -> bool {
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    path.components().all(normal) && path.file_name().is_some()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed =
        |error: io::Error| Failure::unknown(&format!("cannot read {}", path.display()), error);
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(Failure::bad(format!("{} is no regular file", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(Failure::bad(format!(
            "{} is larger than {LARGEST_DOCUMENT} bytes",
            path.display()
        )));
    }
    Ok(Some(bytes))
}

fn broken(error: io::Error) -> Failure {
    Failure::unknown("the bundle's archive cannot be read", error)
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
            assert!(matches!(result, Err(Failure::Bad(_))), "{name}");
            assert_eq!(fs::read_dir(&into).unwrap().count(), 0, "{name}");
            assert!(!folder.path().join("evil").exists());
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
