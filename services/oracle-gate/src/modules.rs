//! Content-addressed storage of module trees.
//!
//! Files first, each created once, the tree's document last: a module is here when its document is.
//! An interrupted upload leaves files that the next one finds equal and keeps.

use bytes::Bytes;
use seal::tree::File;
use seal::{Limits, TREE_FILE, Tree};
use wire::Problem;
use wire::digest::Digest;

use crate::error::Error;
use crate::objects::{Created, Objects};

/// A file on its way in.
pub struct Incoming {
    /// Path below the tree's root.
    pub path: String,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// The content.
    pub content: Bytes,
}

/// Stores a tree under `digest`, which is recomputed. True if it was not here before.
///
/// # Errors
/// [`Problem::DigestMismatch`] if the files have another digest, [`Problem::InvalidRequest`] if
/// they are no tree; store errors.
pub async fn put(objects: &Objects, digest: Digest, files: Vec<Incoming>) -> Result<bool, Error> {
    let listed = files.iter().map(|file| File {
        path: file.path.clone(),
        executable: file.executable,
        length: file.content.len() as u64,
        sha256: Digest::of(&file.content),
    });
    let tree = Tree::new(listed.collect(), &Limits::MODULE)
        .map_err(|error| Error::refused(Problem::InvalidRequest, error.to_string()))?;
    if tree.digest() != digest {
        let text = format!("the files have the digest {}, not {digest}", tree.digest());
        return Err(Error::refused(Problem::DigestMismatch, text));
    }
    // The document is written last, so a tree that is found is whole.
    if find(objects, digest).await?.is_some() {
        return Ok(false);
    }
    for file in files {
        create_equal(objects, &file_path(digest, &file.path), file.content).await?;
    }
    let document = tree.to_bytes().map_err(Error::internal)?;
    create_equal(objects, &document_path(digest), document.into())
        .await
        .map(|created| created == Created::New)
}

/// The tree stored under `digest`; `None` if it is not here.
///
/// # Errors
/// [`Problem::DigestMismatch`] if what is stored is something else; store errors.
pub async fn find(objects: &Objects, digest: Digest) -> Result<Option<Tree>, Error> {
    let path = document_path(digest);
    let Some(document) = objects.read(&path, seal::MAX_DOCUMENT_BYTES).await? else {
        return Ok(None);
    };
    match Tree::parse(&document, &Limits::MODULE) {
        Ok(tree) if tree.digest() == digest => Ok(Some(tree)),
        Ok(tree) => {
            let text = format!("the module stored as {digest} is {}", tree.digest());
            Err(Error::refused(Problem::DigestMismatch, text))
        }
        Err(error) => Err(Error::refused(Problem::DigestMismatch, error.to_string())),
    }
}

/// Where a module's file lies.
pub fn file_path(digest: Digest, path: &str) -> String {
    format!("modules/{digest}/tree/{path}")
}

/// Where a module's document lies.
pub fn document_path(digest: Digest) -> String {
    format!("modules/{digest}/{TREE_FILE}")
}

/// Creates an object, or finds one with equal bytes; any doubtful answer is read back.
///
/// # Errors
/// [`Problem::DigestMismatch`] if other bytes are there; store errors.
pub async fn create_equal(objects: &Objects, path: &str, bytes: Bytes) -> Result<Created, Error> {
    let (length, sha256) = (bytes.len() as u64, Digest::of(&bytes));
    let put = objects.create(path, bytes).await;
    if let Ok(Created::New) = put {
        return Ok(Created::New);
    }
    // The write that was refused may have been an earlier one of ours: what is there decides.
    match (objects.hash(path).await?, put) {
        (Some(found), _) if found == (length, sha256) => Ok(Created::Existed),
        (Some(_), _) => {
            Err(Error::refused(Problem::DigestMismatch, format!("other bytes are at {path}")))
        }
        (None, Err(error)) => Err(error.into()),
        (None, Ok(_)) => Err(Error::refused(Problem::Unavailable, format!("{path} went away"))),
    }
}
