//! Content-addressed storage of inputs that wait for their run.
//!
//! A run takes a copy when it is accepted, so what lies here is needed from the upload until then.
//! Nothing here is ever deleted by this service; a bucket's own rule may, by the folder `inputs`.

use bytes::Bytes;
use wire::Problem;
use wire::digest::Digest;

use crate::error::Error;
use crate::modules::create_equal;
use crate::objects::{Created, Objects};

/// Largest input, in bytes (R12).
pub const MAX_BYTES: u64 = 8 << 20;

/// Stores an input under `digest`, which is recomputed. True if it was not here before.
///
/// # Errors
/// [`Problem::DigestMismatch`] if the bytes have another digest; store errors.
pub async fn put(objects: &Objects, digest: Digest, content: Bytes) -> Result<bool, Error> {
    let found = Digest::of(&content);
    if found != digest {
        let text = format!("the bytes have the digest {found}, not {digest}");
        return Err(Error::refused(Problem::DigestMismatch, text));
    }
    let created = create_equal(objects, &path(digest), content).await?;
    Ok(created == Created::New)
}

/// The input stored under `digest`; `None` if it is not here.
///
/// # Errors
/// [`Problem::DigestMismatch`] if what is stored is something else; store errors.
pub async fn find(objects: &Objects, digest: Digest) -> Result<Option<Bytes>, Error> {
    let Some(content) = objects.read(&path(digest), MAX_BYTES).await? else { return Ok(None) };
    let found = Digest::of(&content);
    if found != digest {
        let text = format!("the input stored as {digest} is {found}");
        return Err(Error::refused(Problem::DigestMismatch, text));
    }
    Ok(Some(content))
}

/// Where an input lies.
fn path(digest: Digest) -> String {
    format!("inputs/{digest}")
}
