//! What a store can answer besides an object: the kinds of failure, told apart where it does (O6).

use std::error::Error as _;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};
use thiserror::Error;

use super::transport::Endless;

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
    /// Other writers were at the same object, and after some tries they still are.
    #[error("the store reports a conflict of writers on {path:?}, again and again")]
    Conflict {
        /// The object.
        path: String,
    },
    /// The store cannot create an object only where there is none.
    #[error("the store does not know create-only writes ({path:?})")]
    Unsupported {
        /// The object.
        path: String,
    },
    /// A symbolic link or special file stands in the path.
    #[error("{path:?} is, or lies behind, a link or a special file")]
    Link {
        /// The object.
        path: String,
    },
    /// Something is stored under a name that means different things on different stores.
    #[error("{path:?} has a name that cannot be sealed: {cause}")]
    Name {
        /// The object.
        path: String,
        /// What is wrong with the name.
        cause: String,
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
    use object_store::Error::{
        AlreadyExists, InvalidPath, NotImplemented, PermissionDenied, Unauthenticated,
    };
    let at = || path.to_owned();
    match error {
        PermissionDenied { .. } | Unauthenticated { .. } => {
            return StoreError::Denied { path: at() };
        }
        AlreadyExists { .. } => return StoreError::Conflict { path: at() },
        NotImplemented { .. } => return StoreError::Unsupported { path: at() },
        InvalidPath { source } => {
            return StoreError::Name { path: at(), cause: source.to_string() };
        }
        _ => {}
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return from_io(path, error);
        }
        if let Some(error) = inner.downcast_ref::<object_store::path::Error>() {
            return StoreError::Name { path: at(), cause: error.to_string() };
        }
        if let Some(error) = inner.downcast_ref::<HttpError>() {
            return from_http(path, error);
        }
        if let Some((status, code)) = refusal(&inner.to_string()) {
            return from_status(path, status, &code);
        }
        cause = inner.source();
    }
    StoreError::Unavailable { path: at(), cause: error.to_string() }
}

/// Whether a create in a bucket was refused because the object is there. A service that merely saw two
/// writers at once is told of in the same way, but means that nothing may have been written.
pub(super) fn is_there(error: &object_store::Error) -> bool {
    use object_store::Error::{AlreadyExists, NotModified, Precondition};
    let AlreadyExists { source, .. } = error else { return false };
    let inner = source.downcast_ref::<object_store::Error>();
    inner.is_some_and(|inner| matches!(inner, Precondition { .. } | NotModified { .. }))
}

/// Whether what is missing is the object, not the bucket around it.
pub(super) fn is_absent(error: &object_store::Error) -> bool {
    let object_store::Error::NotFound { source, .. } = error else { return false };
    !source.to_string().contains("<Code>NoSuchBucket</Code>")
}

/// Status and code of a refusal, from the text of the one error that begins so.
fn refusal(text: &str) -> Option<(u16, String)> {
    let rest = text.strip_prefix("Server returned non-2xx status code: ")?;
    let status = rest.get(..3)?.parse().ok()?;
    let code = rest.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    Some((status, code.map_or_else(String::new, |(code, _)| code.to_owned())))
}

fn from_status(path: &str, status: u16, code: &str) -> StoreError {
    let path = path.to_owned();
    match (status, code) {
        (401 | 403, _) => StoreError::Denied { path },
        (408, _) | (400, "RequestTimeout") => StoreError::Timeout { path },
        (429, _) | (_, "SlowDown" | "Throttling" | "RequestLimitExceeded") => {
            StoreError::Throttled { path }
        }
        (503, "" | "ServiceUnavailable") => StoreError::Throttled { path },
        (409, _) => StoreError::Conflict { path },
        (501, _) => StoreError::Unsupported { path },
        (300..=399, _) => {
            let cause = format!("it redirects ({status}): the region or endpoint is another");
            StoreError::Unavailable { path, cause }
        }
        (_, "") => StoreError::Unavailable { path, cause: format!("status {status}") },
        _ => StoreError::Unavailable { path, cause: format!("status {status}, {code}") },
    }
}

fn from_http(path: &str, error: &HttpError) -> StoreError {
    let path = path.to_owned();
    let cause = match error.kind() {
        HttpErrorKind::Timeout => return StoreError::Timeout { path },
        HttpErrorKind::Connect => "no connection",
        HttpErrorKind::Interrupted => "the connection broke",
        HttpErrorKind::Decode if error.source().is_some_and(|it| it.is::<Endless>()) => {
            "a page of the listing does not say whether there is more"
        }
        _ => "the answer could not be read",
    };
    StoreError::Unavailable { path, cause: cause.to_owned() }
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
