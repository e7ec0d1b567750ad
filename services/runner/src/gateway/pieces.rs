//! Bodies that are made while they are read: as fast as their reader takes them, and no slower than
//! that is bearable.

use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

/// Pieces that may wait for a slow reader.
const WAITING: usize = 3;
/// Bytes of a piece at most: those of oracle-gate, and what is cut here.
pub const PIECE_BYTES: usize = 256 * 1024;
/// Bytes that such a body has in memory at most: what waits, and the piece that is to be sent next.
pub const MOST_RETAINED: usize = (WAITING + 1) * PIECE_BYTES;
/// How long a reader may take for one of them. A slower one would hold a stream of oracle-gate, and
/// with it the pack's files, for as long as it likes.
pub const PAUSE: Duration = Duration::from_secs(30);
/// How long a body may take as a whole.
const WHOLE: Duration = Duration::from_secs(3_600);

/// Where a body's pieces go.
#[derive(Debug, Clone)]
pub struct Pieces {
    sender: mpsc::Sender<std::io::Result<Bytes>>,
    pause: Duration,
}

impl Pieces {
    /// Sends the next piece, as soon as there is room for it.
    ///
    /// # Errors
    ///
    /// When the reader is gone, or takes longer than the pause.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> anyhow::Result<()> {
        let sent = timeout(self.pause, self.sender.send(Ok(bytes.into()))).await;
        sent.context("its reader takes too long")?.map_err(|_| ReaderGone.into())
    }
}

/// The client has closed the connection. Nothing is wrong here.
#[derive(Debug, thiserror::Error)]
#[error("its reader is gone")]
struct ReaderGone;

/// A body of what `write` sends. If that fails, the body ends in an error, which cuts the answer
/// short in a way that every client sees. `what` names it in the log.
pub fn body<W>(what: &'static str, pause: Duration, write: impl FnOnce(Pieces) -> W) -> Body
where
    W: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    // One place more than there are pieces: it is kept for the error, which must find room however
    // slow the reader is. Without it a body that was given up would look like one that is whole.
    let (sender, receiver) = mpsc::channel(WAITING + 1);
    let kept = sender.clone().try_reserve_owned().ok();
    let work = write(Pieces { sender, pause });
    let writing = async move {
        let written = timeout(WHOLE, work).await;
        let written = written.unwrap_or_else(|_| Err(anyhow::anyhow!("it took too long")));
        if let Err(error) = written {
            if error.is::<ReaderGone>() {
                tracing::debug!("{what} is not read to its end");
                return;
            }
            tracing::warn!("{what} was cut short: {error:#}");
            if let Some(kept) = kept {
                kept.send(Err(std::io::Error::other(format!("{what} was cut short"))));
            }
        }
    };
    tokio::spawn(writing.in_current_span());
    Body::from_stream(ReceiverStream::new(receiver))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_reader_that_takes_too_long_is_given_up_and_sees_it() {
        let (report, given_up) = oneshot::channel();
        let slow = body("a test's body", Duration::from_millis(20), |pieces| async move {
            let mut sent = 0;
            let failed = loop {
                match pieces.send(vec![7]).await {
                    Ok(()) => sent += 1,
                    Err(error) => break error,
                }
            };
            let _ = report.send(sent);
            Err(failed)
        });
        // Nothing is read until the writer has given up.
        assert_eq!(given_up.await.unwrap(), WAITING, "no more than may wait");
        let error = axum::body::to_bytes(slow, usize::MAX).await.unwrap_err();
        assert!(format!("{error:?}").contains("was cut short"), "{error:?}");
    }

    #[tokio::test]
    async fn a_body_that_is_read_is_whole() {
        let whole = body("a test's body", PAUSE, |pieces| async move {
            for piece in 0..100_u8 {
                pieces.send(vec![piece]).await?;
            }
            Ok(())
        });
        let bytes = axum::body::to_bytes(whole, usize::MAX).await.unwrap();
        assert_eq!(bytes, (0..100).collect::<Vec<u8>>());
    }
}
