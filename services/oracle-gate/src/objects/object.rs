//! An object while it is read.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::GetResult;

use super::failure::{StoreError, classify};
use super::{Meter, Patience};

/// An object's bytes as they come. It gives as many as the store announced, or an error.
pub struct Object {
    path: String,
    length: u64,
    left: u64,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    patience: Patience,
    meter: Arc<Meter>,
}

impl Object {
    pub(super) fn new(
        path: &str,
        object: GetResult,
        patience: Patience,
        meter: Arc<Meter>,
    ) -> Self {
        meter.opened();
        let length = object.meta.size;
        Self {
            path: path.to_owned(),
            length,
            left: length,
            stream: object.into_stream(),
            patience,
            meter,
        }
    }

    /// Length, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// Any [`StoreError`], also when there are fewer or more bytes than announced.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        // A store's client may ask again for the rest, so this waits as long as for a call.
        let next = tokio::time::timeout(self.patience.call, self.stream.next()).await;
        let next = next.map_err(|_| StoreError::Timeout { path: self.path.clone() })?;
        let Some(bytes) = next else {
            return if self.left == 0 { Ok(None) } else { Err(self.odd("it broke off")) };
        };
        let bytes = bytes.map_err(|error| classify(&self.path, &error))?;
        self.meter.read(bytes.len() as u64);
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| self.odd("it is longer than it was announced"))?;
        Ok(Some(bytes))
    }

    /// All bytes, at most `most`.
    pub(super) async fn whole(mut self, most: u64) -> Result<Bytes, StoreError> {
        if self.length > most {
            return Err(StoreError::TooLarge { path: self.path, most });
        }
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    fn odd(&self, cause: &str) -> StoreError {
        StoreError::Unavailable { path: self.path.clone(), cause: cause.to_owned() }
    }
}
