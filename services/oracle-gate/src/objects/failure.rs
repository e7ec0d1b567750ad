//! What a store can answer besides an object: the kinds of failure, distinguished where it does
//! (O6).

use std::error::Error as _;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};
use thiserror::Error;

use super::transport::MissingIsTruncated;
use crate::reasons::Reason;

/// Why nothing can be said about an object.
#[derive(Debug, Clone, Error)]
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
    /// A symbolic link or special file is part of the path.
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
    /// The store refused the request itself, and answers the same until its setup changes
    /// something.
    #[error("the store refuses {path:?}: {kind} (status {status}{})", shown(code))]
    Refused {
        /// The object.
        path: String,
        /// What it is about.
        kind: Refusal,
        /// The HTTP status.
        status: u16,
        /// The store's own code; empty where it gave none.
        code: String,
    },
    /// Somebody wrote the object while it was read.
    #[error("{path:?} was written while it was read")]
    Changed {
        /// The object.
        path: String,
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

impl StoreError {
    /// The object it is about, where it is about its name or kind.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Link { path } | Self::Name { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The reason that it is reported as (O6).
    pub fn reason(&self) -> Reason {
        match self {
            Self::Denied { .. } => Reason::AccessDenied,
            Self::Timeout { .. } => Reason::Timeout,
            Self::Throttled { .. } => Reason::Throttled,
            Self::Link { .. } => Reason::LinkRefused,
            Self::TooLarge { .. } => Reason::ObjectTooLarge,
            Self::Unsupported { .. } => Reason::StoreNotWriteOnce,
            Self::Name { .. } => Reason::NameRefused,
            Self::Changed { .. } => Reason::ChangedDuringRead,
            Self::Refused { kind, .. } => kind.reason(),
            Self::Conflict { .. } | Self::Unavailable { .. } => Reason::StoreUnavailable,
        }
    }
}

/// What a store refuses a request for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The clocks of this machine and of the store differ too much.
    Clock,
    /// The object is kept where it has to be fetched back from first.
    Archived,
    /// The signature does not fit: the secret key is another, or something changed the request.
    Signature,
    /// The store does not know the access key.
    Key,
    /// The session's token ended.
    Token,
    /// There is no such bucket.
    Bucket,
    /// The bucket is in another region, or behind another endpoint.
    Region,
    /// The store does not let this be done to the object.
    Method,
    /// Something else.
    Other,
}

impl Refusal {
    fn reason(self) -> Reason {
        match self {
            Self::Clock => Reason::StoreClockSkewed,
            Self::Archived => Reason::ObjectArchived,
            Self::Signature => Reason::StoreSignatureRefused,
            Self::Key => Reason::StoreKeyUnknown,
            Self::Token => Reason::StoreTokenExpired,
            Self::Bucket => Reason::BucketNotFound,
            Self::Region => Reason::StoreRegionWrong,
            Self::Method => Reason::StoreMethodRefused,
            Self::Other => Reason::StoreRefused,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Clock => "the clock of this machine and the store's differ too much",
            Self::Archived => "the object is archived and has to be restored before it can be read",
            Self::Signature => "the signature does not fit: the secret key is another",
            Self::Key => "the access key is not known",
            Self::Token => "the session has expired",
            Self::Bucket => "there is no such bucket",
            Self::Region => "the bucket is in another region or behind another endpoint",
            Self::Method => "the store does not offer this request for this object",
            Self::Other => "the request is not accepted",
        })
    }
}

fn shown(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(", {code}") }
}

/// What a code of the S3 interface means, where it says more than its status (Amazon S3 API
/// reference, "Error responses"). These are refused whatever the status is: services differ in it.
fn named(code: &str) -> Option<Refusal> {
    Some(match code {
        "RequestTimeTooSkewed" | "RequestExpired" => Refusal::Clock,
        "InvalidObjectState" => Refusal::Archived,
        "SignatureDoesNotMatch" | "XAmzContentSHA256Mismatch" => Refusal::Signature,
        "InvalidAccessKeyId" | "InvalidClientTokenId" | "UnrecognizedClientException" => {
            Refusal::Key
        }
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "ExpiredTokenException" => {
            Refusal::Token
        }
        "NoSuchBucket" => Refusal::Bucket,
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "IllegalLocationConstraintException"
        | "InvalidRegion" => Refusal::Region,
        "MethodNotAllowed" => Refusal::Method,
        _ => return None,
    })
}

/// Which kind of failure a store's answer to a write is: only a write can show that a store does
/// not know create-only writes.
pub(super) fn classify_write(path: &str, error: &object_store::Error) -> StoreError {
    match classify(path, error) {
        StoreError::Refused { path, status: 501, .. } => StoreError::Unsupported { path },
        other => other,
    }
}

/// Which kind of failure a store's answer is.
pub(super) fn classify(path: &str, error: &object_store::Error) -> StoreError {
    use object_store::Error::{
        AlreadyExists, InvalidPath, NotImplemented, PermissionDenied, Unauthenticated,
    };
    let at = || path.to_owned();
    match error {
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
        // Before the kind of the client's own error, which knows the status only: of ten refusals
        // with status 403, one can be healed by the reader's role.
        if let Some((status, code)) = refusal(&inner.to_string()) {
            return from_status(path, status, &code);
        }
        cause = inner.source();
    }
    match error {
        PermissionDenied { .. } | Unauthenticated { .. } => StoreError::Denied { path: at() },
        _ => StoreError::Unavailable { path: at(), cause: error.to_string() },
    }
}

/// Whether a create in a bucket was refused because the object is there. A service that merely saw
/// two writers at once is reported in the same way, but means that nothing may have been written.
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

pub(super) fn from_status(path: &str, status: u16, code: &str) -> StoreError {
    let path = path.to_owned();
    let refused =
        |kind| StoreError::Refused { path: path.clone(), kind, status, code: code.to_owned() };
    if let Some(kind) = named(code) {
        return refused(kind);
    }
    match (status, code) {
        (401 | 403, _) => StoreError::Denied { path },
        (408, _) | (400, "RequestTimeout") => StoreError::Timeout { path },
        (429, _) | (_, "SlowDown" | "Throttling" | "RequestLimitExceeded" | "TooManyRequests") => {
            StoreError::Throttled { path }
        }
        // A 503 without a code is overload as well.
        (503, "" | "ServiceUnavailable") => StoreError::Throttled { path },
        (409, _) => StoreError::Conflict { path },
        (421 | 300..=399, _) => refused(Refusal::Region),
        (405, _) => refused(Refusal::Method),
        // What a store does not know today it does not know in a minute either.
        (400..=499 | 501 | 505, _) => refused(Refusal::Other),
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
        HttpErrorKind::Decode
            if error.source().is_some_and(|cause| cause.is::<MissingIsTruncated>()) =>
        {
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
        io::ErrorKind::InvalidFilename => {
            let cause = "a part of it is longer than this disk takes".to_owned();
            StoreError::Name { path, cause }
        }
        io::ErrorKind::ReadOnlyFilesystem => StoreError::Denied { path },
        _ => StoreError::Unavailable { path, cause: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_distinguished_by_the_stores_code_and_only_what_heals_is_repeated() {
        use Refusal::*;
        for (status, code, expected) in [
            (403, "RequestTimeTooSkewed", Clock),
            (403, "InvalidObjectState", Archived),
            (403, "SignatureDoesNotMatch", Signature),
            (403, "InvalidAccessKeyId", Key),
            (400, "ExpiredToken", Token),
            (403, "ExpiredToken", Token),
            (404, "NoSuchBucket", Bucket),
            (400, "AuthorizationHeaderMalformed", Region),
            (421, "PermanentRedirect", Region),
            (421, "", Region),
            (405, "MethodNotAllowed", Method),
            (405, "", Method),
            (400, "InvalidRequest", Other),
            (501, "NotImplemented", Other),
        ] {
            let error = from_status("a", status, code);
            assert!(
                matches!(&error, StoreError::Refused { kind, code: reported, .. }
                    if *kind == expected && reported == code),
                "{status} {code}: {error}"
            );
            let reason = error.reason();
            assert!(!reason.row().retryable, "{status} {code} is repeated");
            assert!(error.to_string().contains(code), "{error}");
        }
        for (status, code) in [
            (500, "InternalError"),
            (503, "SlowDown"),
            (429, ""),
            (408, ""),
            (503, "TemporaryRedirect"),
        ] {
            let reason = from_status("a", status, code).reason();
            assert!(reason.row().retryable, "{status} {code} is not repeated");
        }
        assert!(matches!(from_status("a", 403, "AccessDenied"), StoreError::Denied { .. }));
    }

    #[test]
    fn only_a_write_shows_that_a_store_does_not_know_conditional_writes() {
        let answer = || object_store::Error::Generic {
            store: "S3",
            source: "Server returned non-2xx status code: 501 Not Implemented: ".into(),
        };
        assert!(matches!(classify("a", &answer()), StoreError::Refused { status: 501, .. }));
        assert!(matches!(classify_write("a", &answer()), StoreError::Unsupported { .. }));
    }
}
