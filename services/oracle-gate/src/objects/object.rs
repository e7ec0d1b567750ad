//! An object while it is read.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::GetResult;

use super::failure::{StoreError, classify, from_io};
use super::{Meter, Timeouts, folder};

/// An object's bytes as they come. It gives as many as the store announced, or an error.
pub struct Object {
    path: String,
    length: u64,
    left: u64,
    source: Source,
    timeouts: Timeouts,
    meter: Arc<Meter>,
}

/// Where the bytes come from.
enum Source {
    Stream(BoxStream<'static, object_store::Result<Bytes>>),
    /// A file of this machine; `None` only while a block of it is being read.
    File(Option<File>),
}

impl Object {
    pub(super) fn new(
        path: &str,
        object: GetResult,
        timeouts: Timeouts,
        meter: Arc<Meter>,
    ) -> Self {
        meter.opened();
        let length = object.meta.size;
        let source = Source::Stream(object.into_stream());
        Self { path: path.to_owned(), length, left: length, source, timeouts, meter }
    }

    pub(super) fn of_file(
        path: &str,
        file: File,
        length: u64,
        timeouts: Timeouts,
        meter: Arc<Meter>,
    ) -> Self {
        meter.opened();
        let source = Source::File(Some(file));
        Self { path: path.to_owned(), length, left: length, source, timeouts, meter }
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
        let next = tokio::time::timeout(self.timeouts.call, self.source.next(&self.path)).await;
        let next = next.map_err(|_| StoreError::Timeout { path: self.path.clone() })?;
        let Some(bytes) = next? else {
            return if self.left == 0 { Ok(None) } else { Err(self.odd("it broke off")) };
        };
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

impl Source {
    async fn next(&mut self, path: &str) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Stream(stream) => {
                stream.next().await.transpose().map_err(|error| classify(path, &error))
            }
            Self::File(slot) => {
                let broken = || StoreError::Unavailable {
                    path: path.to_owned(),
                    cause: "reading it was broken off".to_owned(),
                };
                // Out of its place while a thread reads from it: a caller that is dropped meanwhile
                // leaves none, and the next read fails instead of going on from an unknown
                // position.
                let file = slot.take().ok_or_else(broken)?;
                let read = tokio::task::spawn_blocking(move || {
                    let mut block = Vec::with_capacity(folder::BLOCK);
                    let read = (&file).take(folder::BLOCK as u64).read_to_end(&mut block);
                    (file, read.map(|_| block))
                });
                let (file, read) = read.await.map_err(|_| broken())?;
                *slot = Some(file);
                let block = read.map_err(|error| from_io(path, &error))?;
                Ok((!block.is_empty()).then(|| block.into()))
            }
        }
    }
}
