//! Proof that a store creates an object at most once, before it is trusted with a seal (O10).
//!
//! Stores exist that ignore the condition of a create and answer success to every writer. So under a
//! scratch prefix a second create has to be refused, and each of twenty races of sixteen writers has
//! to end with one winner whose bytes are the ones that stay. The result stands in every seal.

use bytes::Bytes;
use futures::future::join_all;
use seal::StoreProbe;
use time::OffsetDateTime;

use crate::objects::{Created, Objects, StoreError};

const RACES: u32 = 20;
const WRITERS: u32 = 16;

/// Probes the store below `_probe/<scratch>/`; the objects made there are removed.
///
/// # Errors
/// When the store fails. Then nothing is known about it, and it may not be sealed on.
pub async fn run(
    objects: &Objects,
    scratch: &str,
    now: OffsetDateTime,
) -> Result<StoreProbe, StoreError> {
    let folder = format!("_probe/{scratch}");
    let result = measure(objects, &folder, now).await;
    for race in 0..=RACES {
        // What is left behind is empty of meaning; the next probe has its own folder.
        if let Err(error) = objects.remove_scratch(&format!("{folder}/{race}")).await {
            tracing::debug!(%error, "a scratch object of the store probe stays");
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
    let first = objects.create(&twice, Bytes::from_static(b"first")).await?;
    let second = objects.create(&twice, Bytes::from_static(b"second")).await?;
    let stayed = objects.read(&twice, 64).await?;
    let second_create_refused =
        first == Created::New && second == Created::Existed && stayed.as_deref() == Some(b"first");
    let mut races_with_one_winner = 0;
    for race in 0..RACES {
        races_with_one_winner +=
            u32::from(has_one_winner(objects, &format!("{folder}/{race}")).await?);
    }
    Ok(StoreProbe {
        second_create_refused,
        races: RACES,
        writers: WRITERS,
        races_with_one_winner,
        probed_at_utc: now,
    })
}

async fn has_one_winner(objects: &Objects, path: &str) -> Result<bool, StoreError> {
    let writers = (0..WRITERS).map(|writer| async move {
        let bytes = Bytes::from(format!("writer {writer}"));
        objects.create(path, bytes.clone()).await.map(|created| (created, bytes))
    });
    let mut winners = Vec::new();
    for written in join_all(writers).await {
        let (created, bytes) = written?;
        if created == Created::New {
            winners.push(bytes);
        }
    }
    let stayed = objects.read(path, 64).await?;
    Ok(matches!((&winners[..], stayed), ([winner], Some(stayed)) if *winner == stayed))
}
