//! Stores that misbehave: one that fails on a chosen call, one that forgets what "create" means.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// When the chosen call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Once, and nothing is done.
    Once,
    /// It and all later ones, and nothing is done: the process is dead.
    DeadBefore,
    /// It and all later ones, but a write is done anyway: the answer is lost.
    DeadAfter,
}

/// Passes calls on to `inner` until the chosen one.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    armed_at: AtomicUsize,
    calls: AtomicUsize,
}

impl Faulty {
    pub fn new(inner: Arc<dyn ObjectStore>, fault: Fault) -> Self {
        let (armed_at, calls) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
        Self { inner, fault, armed_at, calls }
    }

    /// From now on, the `nth` call (from 0) fails.
    pub fn arm(&self, nth: usize) {
        self.calls.store(0, Ordering::SeqCst);
        self.armed_at.store(nth, Ordering::SeqCst);
    }

    /// Calls since it was armed.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Whether this call fails, and whether it is the first that does.
    fn fails(&self) -> (bool, bool) {
        let (call, armed) =
            (self.calls.fetch_add(1, Ordering::SeqCst), self.armed_at.load(Ordering::SeqCst));
        (if self.fault == Fault::Once { call == armed } else { call >= armed }, call == armed)
    }
}

fn broken() -> Error {
    Error::Generic { store: "faulty", source: "on purpose".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let (fails, first) = self.fails();
        if fails {
            if first && self.fault == Fault::DeadAfter {
                drop(self.inner.put_opts(to, payload, opts).await);
            }
            return Err(broken());
        }
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
        if self.fails().0 { Err(broken()) } else { self.inner.get_opts(from, options).await }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.fails().0 {
            return Box::pin(futures::stream::iter([Err(broken())]));
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        if self.fails().0 { Err(broken()) } else { self.inner.list_with_delimiter(prefix).await }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Overwrites where it should create, as some stores do.
#[derive(Debug)]
pub struct Forgetful(pub Arc<dyn ObjectStore>);

impl fmt::Display for Forgetful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "forgetful {}", self.0)
    }
}

#[async_trait]
impl ObjectStore for Forgetful {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(to, payload, PutOptions { mode: PutMode::Overwrite, ..opts }).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(to, opts).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(from, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
