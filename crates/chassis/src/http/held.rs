//! Bodies that hold something until the last of their bytes is gone.
//!
//! A server takes pieces out of a body long before it writes them: a body that is over says nothing
//! about how much of it is still in memory. What counts memory has to last as long as the bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A body, and something that lasts as long as the body and every piece of it.
#[derive(Debug)]
pub struct Held<B, H> {
    body: B,
    held: Arc<H>,
}

impl<B, H> Held<B, H> {
    /// `body`, which holds `held`.
    pub const fn new(body: B, held: Arc<H>) -> Self {
        Self { body, held }
    }
}

/// A piece of a body, with what it holds.
struct Piece<H> {
    bytes: Bytes,
    _held: Arc<H>,
}

impl<H> AsRef<[u8]> for Piece<H> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<B, H> Body for Held<B, H>
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
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let hold = |bytes| Bytes::from_owner(Piece { bytes, _held: Arc::clone(&self.held) });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(hold))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body as AnyBody;
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_held_lasts_until_the_last_byte_is_gone() {
        let held = Arc::new(());
        let gone = Arc::downgrade(&held);
        let body = Held::new(AnyBody::from("seven"), held);
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
