//! What a store can answer besides an object: the kinds of failure, told apart where it does (O6).

use std::error::Error as _;
use std::io;

use thiserror::Error;

/// Why nothing can be said about an object.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store refused access; the object may or may not be there.
    #[error("access to {path:?} is denied by the store")]
    Denied {
        /// The object.
        path: String,
    },
    /// No answer in time.
    #[error("the store did not answer in time about {path:?}")]
    Timeout {
        /// The object.
        path: String,
    },
    /// The store asks for fewer requests.
    #[error("the store throttles requests ({path:?})")]
    Throttled {
        /// The object.
        path: String,
    },
    /// A symbolic link or special file stands in the path.
    #[error("{path:?} is, or lies behind, a link or a special file")]
    Link {
        /// The object.
        path: String,
    },
    /// The object is larger than the reader takes.
    #[error("{path:?} is larger than {most} bytes")]
    TooLarge {
        /// The object.
        path: String,
        /// The limit, in bytes.
        most: u64,
    },
    /// Anything else the store answered.
    #[error("the store failed on {path:?}: {cause}")]
    Unavailable {
        /// The object.
        path: String,
        /// What it said.
        cause: String,
    },
}

/// Which kind of failure a store's answer is.
pub(super) fn classify(path: &str, error: &object_store::Error) -> StoreError {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    if matches!(error, PermissionDenied { .. } | Unauthenticated { .. }) {
        return StoreError::Denied { path: path.to_owned() };
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return from_io(path, error);
        }
        cause = inner.source();
    }
    let text = error.to_string();
    if text.contains("429") || text.contains("503") || text.contains("SlowDown") {
        return StoreError::Throttled { path: path.to_owned() };
    }
    StoreError::Unavailable { path: path.to_owned(), cause: text }
}

/// Which kind of failure an error of the disk is.
pub(super) fn from_io(path: &str, error: &io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied => StoreError::Denied { path },
        io::ErrorKind::TimedOut => StoreError::Timeout { path },
        _ => StoreError::Unavailable { path, cause: error.to_string() },
    }
}
