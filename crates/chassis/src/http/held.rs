//! Response bodies that keep a guard, such as a permit for memory, until their last byte was
//! written or dropped.
//!
//! A server takes pieces out of a body long before it writes them: that a body has ended does not
//! show how much of it is still in memory. What counts memory has to last as long as the bytes.
//!
//! A server may copy what it takes, and drop it before it is written. So a body is given out in small
//! pieces: a server takes no more than its own buffer has room for, and the rest stays counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Most bytes of one piece.
const PIECE: usize = 16 * 1024;

/// A body, and a guard that lasts as long as the body and every piece of it.
#[derive(Debug)]
pub struct GuardedBody<B, H> {
    body: B,
    /// What the body gave and the server has not taken yet.
    rest: Bytes,
    held: Arc<H>,
}

impl<B, H> GuardedBody<B, H> {
    /// `body`, which keeps the guard `held`.
    pub const fn new(body: B, held: Arc<H>) -> Self {
        Self { body, rest: Bytes::new(), held }
    }
}

/// A piece of a body, with its guard.
struct Piece<H> {
    bytes: Bytes,
    _held: Arc<H>,
}

impl<H> AsRef<[u8]> for Piece<H> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<B, H> Body for GuardedBody<B, H>
where
    B: Body<Data = Bytes> + Unpin,
    H: Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = Piece { bytes: self.rest.split_to(length), _held: Arc::clone(&self.held) };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body as AnyBody;
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_large_body_comes_in_small_pieces_and_is_held_until_the_last_is_taken() {
        let held = Arc::new(());
        let gone = Arc::downgrade(&held);
        let body = GuardedBody::new(AnyBody::from(vec![7; 3 * PIECE + 1]), held);
        assert_eq!(body.size_hint().exact(), Some(3 * PIECE as u64 + 1));
        let mut pieces = AnyBody::new(body).into_data_stream();
        for expected in [PIECE, PIECE, PIECE] {
            assert_eq!(pieces.next().await.unwrap().unwrap().len(), expected);
            assert!(gone.upgrade().is_some());
        }
        assert_eq!(pieces.next().await.unwrap().unwrap().len(), 1);
        assert!(pieces.next().await.is_none());
        drop(pieces);
        assert!(gone.upgrade().is_none());
    }

    #[tokio::test]
    async fn what_is_held_lasts_until_the_last_byte_is_gone() {
        let held = Arc::new(());
        let gone = Arc::downgrade(&held);
        let body = GuardedBody::new(AnyBody::from("seven"), held);
        assert_eq!(body.size_hint().exact(), Some(5), "an answer keeps its length");
        let mut pieces = AnyBody::new(body).into_data_stream();
        let piece = pieces.next().await.unwrap().unwrap();
        drop(pieces);
        assert!(gone.upgrade().is_some(), "the body is over, its bytes are not written");
        let rest = piece.slice(2..);
        drop(piece);
        assert!(gone.upgrade().is_some());
        drop(rest);
        assert!(gone.upgrade().is_none());
    }
}
