//! Proof that a store creates an object at most once, before it is trusted with a seal (O10).
//!
//! Stores exist that ignore the condition of a create and answer success to every writer. So under
//! a scratch prefix a second create has to be refused, and each of twenty races of sixteen writers
//! has to end with one winner whose bytes are the ones that stay. The result is part of every seal.
//!
//! The second create proves that an object that is there is not replaced; the races, that this also
//! holds for writers who all found nothing there. In a folder the winner is found by the hard link
//! that every create makes, and the writers wait for each other just before it. Neither says
//! whether bytes outlive a power failure, so that no write of a probe waits for the disk: manifest
//! and seal do.
//!
//! Stores also exist that take a checksum without looking at the bytes. An upload that states a
//! wrong one has to be refused and to leave nothing behind; else the store's checksums never count
//! (O11).

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use seal::StoreProbe;
use time::OffsetDateTime;
use wire::digest::Digest;

use crate::objects::{Created, Objects, StoreError};

/// Where probes make their objects, each in a folder of its own.
const FOLDER: &str = "_probe";
const RACES: u32 = 20;
const WRITERS: u32 = 16;
/// Races at once in a folder. A bucket counts requests a second, so it has one after the other.
const RACES_AT_ONCE: usize = 5;
/// Scratch objects: one for each race, one for the second create, two for checksums.
const SCRATCH: u32 = RACES + 3;

/// Whether a path below the oracle root is, or lies in, the folder of probes.
pub fn is_scratch(path: &str) -> bool {
    path == FOLDER || path.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/'))
}

/// Probes the store below `_probe/<scratch>/`; the objects made there are removed.
///
/// # Errors
/// When the store fails. Then nothing is known about it, and it may not be sealed on.
pub async fn run(
    objects: &Objects,
    scratch: &str,
    now: OffsetDateTime,
) -> Result<StoreProbe, StoreError> {
    let folder = format!("{FOLDER}/{scratch}");
    let result = measure(objects, &folder, now).await;
    for number in 0..SCRATCH {
        // What is left behind is empty of meaning; the next probe has its own folder.
        if let Err(error) = objects.remove_scratch(&format!("{folder}/{number}")).await {
            tracing::debug!(%error, "scratch objects of the store probe stay in {folder}");
            break;
        }
    }
    if let Some(root) = objects.root() {
        drop(tokio::fs::remove_dir(root.join(&folder)).await);
    }
    result
}

async fn measure(
    objects: &Objects,
    folder: &str,
    now: OffsetDateTime,
) -> Result<StoreProbe, StoreError> {
    let twice = format!("{folder}/{RACES}");
    let first = objects.create_scratch(&twice, Bytes::from_static(b"first")).await?;
    let second = objects.create_scratch(&twice, Bytes::from_static(b"second")).await?;
    let stayed = objects.read(&twice, 64).await?;
    let second_create_refused =
        first == Created::New && second == Created::Existed && stayed.as_deref() == Some(b"first");
    let at_once = if objects.is_direct() { RACES_AT_ONCE } else { 1 };
    let races_with_one_winner = stream::iter(0..RACES)
        .map(|race| async move { has_one_winner(objects, &format!("{folder}/{race}")).await })
        .buffer_unordered(at_once)
        .try_fold(0, |sum, one| async move { Ok(sum + u32::from(one)) })
        .await?;
    Ok(StoreProbe {
        second_create_refused,
        races: RACES,
        writers: WRITERS,
        races_with_one_winner,
        wrong_checksum_refused: checksums(objects, folder).await,
        probed_at_utc: now,
    })
}

async fn has_one_winner(objects: &Objects, path: &str) -> Result<bool, StoreError> {
    let contents: Vec<Bytes> =
        (0..WRITERS).map(|writer| format!("writer {writer}").into()).collect();
    let mut winners = Vec::new();
    for (created, bytes) in objects.race(path, &contents).await.into_iter().zip(&contents) {
        // A writer that failed may have won, so the race says nothing.
        if created? == Created::New {
            winners.push(bytes);
        }
    }
    let stayed = objects.read(path, 64).await?;
    Ok(matches!((&winners[..], stayed), ([winner], Some(stayed)) if **winner == stayed))
}

/// Whether the checksums kept by the store are true ones; `None` for a folder, which keeps none. A
/// store that fails here only loses that trust: its bytes are read and hashed instead.
async fn checksums(objects: &Objects, folder: &str) -> Option<bool> {
    match wrong_one_is_refused(objects, folder).await {
        Ok(refused) => refused,
        Err(error) => {
            tracing::debug!(%error, "the store's checksums could not be probed");
            Some(false)
        }
    }
}

async fn wrong_one_is_refused(objects: &Objects, folder: &str) -> Result<Option<bool>, StoreError> {
    let (right, wrong) = (format!("{folder}/{}", RACES + 1), format!("{folder}/{}", RACES + 2));
    let content = b"content";
    let Some(status) = objects.put_stating(&wrong, content, Digest::of(b"another")).await? else {
        return Ok(None);
    };
    let left = objects.list_matching(folder, &format!("{}", RACES + 2)).await?;
    // A refusal for another cause, such as a policy against writes without a condition, says
    // nothing about checksums: only 400 does (Amazon S3, "BadDigest").
    if status != 400 || !left.entries.is_empty() || objects.head(&wrong).await?.is_some() {
        return Ok(Some(false));
    }
    // And a right one is kept and reported.
    objects.create_scratch(&right, Bytes::from_static(content)).await?;
    let kept = objects.head(&right).await?;
    Ok(Some(kept == Some((content.len() as u64, Some(Digest::of(content))))))
}
