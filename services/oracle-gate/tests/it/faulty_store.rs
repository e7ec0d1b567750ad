//! A store with one fault: one chosen call fails in a chosen way, or gives something else than is
//! there.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// The store says that it is not there; a listing is empty.
    Absent,
    /// The store denies access.
    Denied,
    /// The store does not answer in time.
    TimedOut,
    /// The store asks for fewer requests.
    Throttled,
    /// The store fails.
    Broken,
    /// One bit is another; a listing lacks its last entry.
    Flipped,
    /// The last byte is missing, and the store says so in its length.
    Shorter,
    /// The bytes break off before the length that was announced.
    BreaksOff,
    /// A byte more than announced.
    Longer,
}

/// Passes reads on to `inner`, but for the chosen one.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    fault: StoreFault,
    at: usize,
    calls: AtomicUsize,
    log: Mutex<Vec<String>>,
}

impl FaultyStore {
    /// Has its fault at the call `at`, counted from 0.
    pub fn new(inner: Arc<dyn ObjectStore>, fault: StoreFault, at: usize) -> Self {
        Self { inner, fault, at, calls: AtomicUsize::new(0), log: Mutex::default() }
    }

    /// Every read so far, as `get <path>` or `list <path>`.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn is_chosen(&self, call: &str, path: &str) -> bool {
        self.log.lock().unwrap().push(format!("{call} {path}"));
        self.calls.fetch_add(1, Ordering::SeqCst) == self.at
    }

    /// The error of the chosen call; `None` where it gives something else instead.
    fn error(&self, path: &str) -> Option<Error> {
        let path = path.to_owned();
        let generic = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic {
            store: "faulty",
            source,
        };
        Some(match self.fault {
            StoreFault::Absent => Error::NotFound { path, source: "on purpose".into() },
            StoreFault::Denied => Error::PermissionDenied { path, source: "on purpose".into() },
            StoreFault::TimedOut => generic(io::Error::from(io::ErrorKind::TimedOut).into()),
            StoreFault::Throttled => {
                generic("Server returned non-2xx status code: 503 Slow Down: ".into())
            }
            StoreFault::Broken => generic("on purpose".into()),
            StoreFault::Flipped
            | StoreFault::Shorter
            | StoreFault::BreaksOff
            | StoreFault::Longer => return None,
        })
    }

    async fn distorted(&self, result: GetResult) -> Result<GetResult> {
        let GetResult { mut meta, mut range, attributes, extensions, .. } = GetResult {
            payload: GetResultPayload::Stream(futures::stream::empty().boxed()),
            meta: result.meta.clone(),
            range: result.range.clone(),
            attributes: result.attributes.clone(),
            extensions: result.extensions.clone(),
        };
        let mut bytes = result.bytes().await?.to_vec();
        match self.fault {
            StoreFault::Longer => bytes.push(b'x'),
            StoreFault::Flipped => {
                if let Some(first) = bytes.first_mut() {
                    *first ^= 1;
                }
            }
            _ => drop(bytes.pop()),
        }
        if self.fault == StoreFault::Shorter {
            meta.size = bytes.len() as u64;
            range = 0..meta.size;
        }
        let stream = futures::stream::iter([Ok(Bytes::from(bytes))]).boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream),
            meta,
            range,
            attributes,
            extensions,
        })
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(to, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, opts).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        let call = if options.head { "head" } else { "get" };
        if !self.is_chosen(call, from.as_ref()) {
            return self.inner.get_opts(from, options).await;
        }
        match self.error(from.as_ref()) {
            Some(error) => Err(error),
            None => self.distorted(self.inner.get_opts(from, options).await?).await,
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.is_chosen("list all below", prefix.map_or("", Path::as_ref));
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.map_or("", Path::as_ref);
        if !self.is_chosen("list", path) {
            return self.inner.list_with_delimiter(prefix).await;
        }
        if let Some(error) = self.error(path) {
            return Err(error);
        }
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects.pop();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
