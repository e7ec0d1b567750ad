//! The store as this service sees it: module trees by digest to read, one attempt's staging to
//! write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use seal::tree::{File, Limits, Tree};
use wire::digest::Digest;
use wire::id::RunId;

use crate::error::Error;
use crate::module::document;
use crate::module::manifest::{self, Manifest};

/// Opens the store whose root is the folder `root`.
///
/// # Errors
/// [`Error::Host`] if the folder is not there.
pub fn open(root: &Path) -> Result<LocalFileSystem, Error> {
    let store = LocalFileSystem::new_with_prefix(root).map_err(Error::host("open the store"))?;
    // What a statement names must not be lost with the power.
    Ok(store.with_fsync(true))
}

/// Copies the module with this digest into the folder `into`, which it makes, and recomputes the
/// digest of the copy: what runs is what was asked for, whatever the store did.
///
/// # Errors
/// [`Error::ModuleUnknown`] if it is not stored, [`Error::DigestMismatch`] if the store holds
/// something else under that name, [`Error::Host`] if it cannot be read.
pub async fn fetch(store: &dyn ObjectStore, digest: Digest, into: &Path) -> Result<Tree, Error> {
    let mismatch =
        |detail: String| Error::DigestMismatch { what: format!("module {digest}"), detail };
    let tree = stored_tree(store, digest).await?;
    for file in tree.files() {
        let key = key(&format!("modules/{digest}/tree/{}", file.path))?;
        let content = read(store, &key, Some(file.length)).await?;
        let content = content
            .ok_or_else(|| mismatch(format!("{} is not in the store at its length", file.path)))?;
        place(into, file, &content).map_err(Error::host("copy the module"))?;
    }
    let copy =
        Tree::from_dir(into, &Limits::MODULE).map_err(|error| mismatch(error.to_string()))?;
    if copy.digest() != digest {
        return Err(mismatch(format!("the copy's digest is {}", copy.digest())));
    }
    Ok(copy)
}

/// The `module.json` of a stored module. Nothing if it has none that can be read: such a module gets
/// no verdict either, which says why.
///
/// # Errors
/// As [`fetch`].
pub async fn read_manifest(
    store: &dyn ObjectStore,
    digest: Digest,
) -> Result<Option<Manifest>, Error> {
    let most = u64::try_from(document::MAX_BYTES).unwrap_or(u64::MAX);
    let document = read_file(store, digest, manifest::FILE, most).await?;
    Ok(document.and_then(|bytes| manifest::parse(&bytes).ok()))
}

/// One file of a stored module, if it has such a file: only bytes whose digest the module's tree
/// names, and a tree whose digest is the module's.
///
/// # Errors
/// [`Error::ModuleUnknown`] if it is not stored, [`Error::DigestMismatch`] if the store holds
/// something else under that name, [`Error::Host`] if it cannot be read.
async fn read_file(
    store: &dyn ObjectStore,
    digest: Digest,
    path: &str,
    most: u64,
) -> Result<Option<Vec<u8>>, Error> {
    let tree = stored_tree(store, digest).await?;
    let Some(file) = tree.files().iter().find(|file| file.path == path) else { return Ok(None) };
    let mismatch = |detail: &str| Error::DigestMismatch {
        what: format!("module {digest}"),
        detail: format!("{path} {detail}"),
    };
    if file.length > most {
        return Err(mismatch("is larger than what is read"));
    }
    let key = key(&format!("modules/{digest}/tree/{path}"))?;
    let content = read(store, &key, Some(file.length)).await?;
    let content = content.ok_or_else(|| mismatch("is not in the store at its length"))?;
    if Digest::of(&content) != file.sha256 {
        return Err(mismatch("has other bytes than the tree says"));
    }
    Ok(Some(content))
}

async fn stored_tree(store: &dyn ObjectStore, digest: Digest) -> Result<Tree, Error> {
    let document =
        read(store, &key(&format!("modules/{digest}/{}", seal::TREE_FILE))?, None).await?;
    let document = document.ok_or(Error::ModuleUnknown(digest))?;
    let mismatch =
        |detail: String| Error::DigestMismatch { what: format!("module {digest}"), detail };
    let tree =
        Tree::parse(&document, &Limits::MODULE).map_err(|error| mismatch(error.to_string()))?;
    if tree.digest() != digest {
        return Err(mismatch(format!("the stored tree's digest is {}", tree.digest())));
    }
    Ok(tree)
}

/// Removes what an earlier try of this attempt staged.
///
/// # Errors
/// [`Error::Host`].
pub async fn wipe_staging(store: &dyn ObjectStore, run: RunId, attempt: u32) -> Result<(), Error> {
    let prefix = key(&format!("staging/{}/{attempt}", run.simple()))?;
    let keys = store.list(Some(&prefix)).map_ok(|found| found.location).boxed();
    let removed = store.delete_stream(keys).try_collect::<Vec<_>>().await;
    removed.map_err(Error::host("wipe the attempt's staging"))?;
    Ok(())
}

/// Stages one output of an attempt.
///
/// # Errors
/// [`Error::Host`].
pub async fn stage(
    store: &dyn ObjectStore,
    run: RunId,
    attempt: u32,
    path: &str,
    content: Vec<u8>,
) -> Result<(), Error> {
    let key = key(&format!("staging/{}/{attempt}/outputs/{path}", run.simple()))?;
    let put = store.put(&key, PutPayload::from(content)).await;
    put.map_err(Error::host("stage an output"))?;
    Ok(())
}

/// The object's bytes, or none if it is not there or has another length than `length`.
async fn read(
    store: &dyn ObjectStore,
    key: &Key,
    length: Option<u64>,
) -> Result<Option<Vec<u8>>, Error> {
    let found = match store.get(key).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        other => other.map_err(Error::host("read the store"))?,
    };
    if found.meta.size > Limits::MODULE.bytes
        || length.is_some_and(|length| length != found.meta.size)
    {
        return Ok(None);
    }
    Ok(Some(found.bytes().await.map_err(Error::host("read the store"))?.to_vec()))
}

fn place(into: &Path, file: &File, content: &[u8]) -> std::io::Result<()> {
    let target = into.join(&file.path);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&target, content)?;
    fs::set_permissions(
        &target,
        Permissions::from_mode(if file.executable { 0o755 } else { 0o644 }),
    )
}

fn key(path: &str) -> Result<Key, Error> {
    Key::parse(path).map_err(Error::host("name an object"))
}
