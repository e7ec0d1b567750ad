//! A sealed run as one archive: what oracle-gate holds of it, with the run itself in front.

use axum::body::Body;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use sqlx::PgPool;
use wire::pb::oracle::v1::bundle_chunk::Item;
use wire::pb::oracle::v1::{BundleChunk, BundleFile};
use wire::view::JsonText;
use wire::{Problem, RunDocument, RunView};

use crate::chain::calls::on_chain;
use crate::error::{Error, Result};
use crate::gates::Gates;
use crate::gateway::answers::Retains;
use crate::gateway::pieces::{self, MOST_RETAINED, PAUSE, Pieces};
use crate::model::run::Snapshot;
use crate::runs::store;

/// A tar archive is made of blocks of this many bytes.
const BLOCK: usize = 512;
/// Bytes of a run's document beside its input, about: its metadata is the largest part.
const DOCUMENT_BYTES: usize = 64 * 1024;

/// `GET /runs/:id/bundle`. `HEAD` asks neither for the input nor a gate: it says what is known
/// without them.
///
/// # Errors
///
/// [`Problem::NotFound`] for a run that was not sealed, and what oracle-gate refuses.
pub async fn answer(
    method: &Method,
    snapshot: &Snapshot,
    gates: &Gates,
    vault: &str,
    db: &PgPool,
) -> Result<Response> {
    if snapshot.attempt.seal.is_none() {
        return Err(Error::refused(Problem::NotFound, "this run was not sealed"));
    }
    if *method == Method::HEAD {
        return Ok(described(snapshot, pieces::unsent()));
    }
    let input = store::input(db, snapshot.run.id).await?;
    let run = Bytes::from(run_json(snapshot, vault, input)?);
    let retained = Retains(MOST_RETAINED.saturating_add(run.len()));
    let stream = gates.bundle(snapshot.key()).await?;
    let sending = |pieces: Pieces| async move { write(&pieces, run, stream).await };
    let mut answer = described(snapshot, pieces::body("a bundle", PAUSE, sending));
    answer.extensions_mut().insert(retained);
    Ok(answer)
}

/// An answer with the headers of a run's bundle.
fn described(snapshot: &Snapshot, body: Body) -> Response {
    let mut answer = body.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    let name = format!("attachment; filename=\"{}.tar\"", snapshot.run.id);
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    answer
}

/// The run as the gateway shows it, with what a verifier needs beside it. Input and metadata keep
/// their text: no reader may round a number.
fn run_json(snapshot: &Snapshot, vault: &str, input: Vec<u8>) -> Result<Vec<u8>> {
    let broken = |error: &dyn std::fmt::Display| Error::Broken(error.to_string());
    // Not copied, and the document is not moved while it grows: what is set aside for a bundle is
    // enough for two copies of the input.
    let mut json = Vec::with_capacity(input.len() + DOCUMENT_BYTES);
    let input = String::from_utf8(input).map_err(|error| broken(&error))?;
    let document = RunDocument {
        run: RunView::from(snapshot),
        terms: Some(on_chain(snapshot.terms()?)?),
        vault_id: vault.to_owned(),
        nonce: snapshot.attempt.nonce,
        input: JsonText::new(input).map_err(|error| broken(&error))?,
    };
    serde_json::to_writer_pretty(&mut json, &document).map_err(|error| broken(&error))?;
    Ok(json)
}

async fn write(
    pieces: &Pieces,
    run: Bytes,
    mut stream: tonic::Streaming<BundleChunk>,
) -> anyhow::Result<()> {
    let length = u64::try_from(run.len())?;
    file(pieces, &BundleFile { path: "run.json".to_owned(), length, executable: false }).await?;
    pieces.send(run).await?;
    pieces.send(padding(length)).await?;
    let mut left = 0_u64;
    let mut whole = 0_u64;
    while let Some(chunk) = stream.message().await? {
        match chunk.item {
            Some(Item::File(entry)) => {
                anyhow::ensure!(left == 0, "a file ended early");
                (left, whole) = (entry.length, entry.length);
                file(pieces, &entry).await?;
            }
            Some(Item::Data(data)) => {
                let length = u64::try_from(data.len())?;
                left = left
                    .checked_sub(length)
                    .ok_or_else(|| anyhow::anyhow!("a file is too long"))?;
                pieces.send(data).await?;
                if left == 0 {
                    pieces.send(padding(whole)).await?;
                }
            }
            None => {}
        }
    }
    anyhow::ensure!(left == 0, "the last file ended early");
    pieces.send(vec![0; 2 * BLOCK]).await
}

async fn file(pieces: &Pieces, entry: &BundleFile) -> anyhow::Result<()> {
    let mut header = tar::Header::new_gnu();
    if header.set_path(&entry.path).is_err() {
        long_name(pieces, &entry.path).await?;
    }
    header.set_size(entry.length);
    header.set_mode(if entry.executable { 0o755 } else { 0o644 });
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    pieces.send(header.as_bytes().to_vec()).await
}

/// A path that does not fit a header goes before it, as an entry of its own.
async fn long_name(pieces: &Pieces, path: &str) -> anyhow::Result<()> {
    let length = u64::try_from(path.len())? + 1;
    let mut header = tar::Header::new_gnu();
    header.set_path("././@LongLink")?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_cksum();
    pieces.send(header.as_bytes().to_vec()).await?;
    pieces.send([path.as_bytes(), &[0]].concat()).await?;
    pieces.send(padding(length)).await
}

fn padding(length: u64) -> Vec<u8> {
    let over = usize::try_from(length % BLOCK as u64).unwrap_or_default();
    vec![0; (BLOCK - over) % BLOCK]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_fill_their_blocks() {
        assert_eq!([0, 1, 511, 512, 513].map(|length| padding(length).len()), [0, 511, 1, 0, 511]);
    }
}
