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
use wire::pb::oracle::BUNDLE_PIECE_BYTES;

/// Bytes of a piece, at most. A reader that takes 4 KiB a second takes one well within the pause,
/// also where its system makes room for 64 KiB at a time only.
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces that may wait for a slow reader.
const WAITING: usize = 2 * BUNDLE_PIECE_BYTES / PIECE_BYTES;
/// Bytes that such a body has in memory at most. Pieces are parts of what oracle-gate sent at once:
/// those that wait are of three such messages at most, and the next one is at hand.
pub const MOST_RETAINED: usize = 4 * BUNDLE_PIECE_BYTES;
/// How long a reader may take for a piece. A slower one would hold a stream of oracle-gate, and
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
    /// Sends these bytes in pieces, each as soon as there is room for it. They are those of one
    /// message of oracle-gate at most, or [`MOST_RETAINED`] would not hold.
    ///
    /// # Errors
    ///
    /// When the reader is gone, or takes longer than the pause for one piece.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> anyhow::Result<()> {
        let mut rest: Bytes = bytes.into();
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            let sent = timeout(self.pause, self.sender.send(Ok(piece))).await;
            sent.context("its reader takes too long")?.map_err(|_| ReaderGone)?;
        }
        Ok(())
    }
}

/// The client has closed the connection. Nothing is wrong here.
#[derive(Debug, thiserror::Error)]
#[error("the client closed the connection")]
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

/// The body of an answer of which only the headers are sent: to `HEAD`, or with 304. Its length is
/// unknown. An empty body would make the server add `Content-Length: 0`, which says that the file
/// itself is empty (RFC 9110, section 8.6).
pub fn unsent() -> Body {
    Body::from_stream(futures::stream::empty::<std::io::Result<Bytes>>())
}

#[cfg(test)]
mod tests {
    use axum::body::HttpBody as _;
    use futures::StreamExt as _;
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
    async fn what_is_sent_at_once_is_cut_into_pieces_and_nothing_is_no_piece() {
        let large = body("a test's body", PAUSE, |pieces| async move {
            pieces.send(vec![7; 2 * PIECE_BYTES + 1]).await?;
            pieces.send(Bytes::new()).await?;
            pieces.send(vec![8]).await
        });
        let read: Vec<_> =
            large.into_data_stream().map(|piece| piece.unwrap().len()).collect().await;
        assert_eq!(read, [PIECE_BYTES, PIECE_BYTES, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_reader_of_4_kib_a_second_gets_everything() {
        const STEP: usize = 64 * 1024;
        let slow = body("a test's body", PAUSE, |pieces| async move {
            for _ in 0..8 {
                pieces.send(vec![7; BUNDLE_PIECE_BYTES]).await?;
            }
            Ok(())
        });
        let (mut read, mut room) = (0, 0);
        let mut pieces = slow.into_data_stream();
        while let Some(piece) = pieces.next().await {
            read += piece.unwrap().len();
            // Its system makes room for 64 KiB at a time.
            while room < read {
                tokio::time::sleep(Duration::from_secs(STEP as u64 / 4_096)).await;
                room += STEP;
            }
        }
        assert_eq!(read, 8 * BUNDLE_PIECE_BYTES);
    }

    #[tokio::test]
    async fn an_answer_without_its_body_says_no_length() {
        assert_eq!(unsent().size_hint().exact(), None);
        assert!(axum::body::to_bytes(unsent(), usize::MAX).await.unwrap().is_empty());
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
