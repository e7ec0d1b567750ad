//! Every refusal there is, in one closed table (C2): its name, what it means to HTTP, to gRPC and
//! to a command line, whether to try again, and what an operator does about it.
//!
//! A service maps each of its errors to a [`Problem`] and never makes a status of its own.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::VariantArray;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use table::row;

mod table;

/// The `domain` of every `google.rpc.ErrorInfo` here.
pub const DOMAIN: &str = "lumio.dev";

/// The reason that a refusal of a pack with a tombstone begins with: oracle-gate's code.
pub const PACK_TOMBSTONED: &str = "PACK_TOMBSTONED";

/// The detail of a [`Problem::CheckFailed`] for a pack with a tombstone; `says` is why, by whom and
/// when.
pub fn tombstone_detail(says: &str) -> String {
    format!("{PACK_TOMBSTONED}: {says}")
}

/// What a detail says of a tombstone; `None` if it is about something else. A reader has to tell a
/// decision about a pack, which is lawful, from a pack that was changed.
pub fn tombstone_of(detail: &str) -> Option<&str> {
    detail.strip_prefix(PACK_TOMBSTONED)?.strip_prefix(": ").filter(|says| !says.is_empty())
}

/// A kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
#[expect(missing_docs, reason = "each variant's meaning is its row in the table")]
pub enum Problem {
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    UnsupportedMediaType,
    RequestTimeout,
    PreconditionFailed,
    RangeNotSatisfiable,
    MisdirectedRequest,
    RunNotRetryable,
    RunNotCancellable,
    IdempotencyConflict,
    IdempotencyMismatch,
    Conflict,
    PayloadTooLarge,
    RateLimited,
    IntakePaused,
    PackAlreadySealed,
    SealMismatch,
    StatementInvalid,
    DigestMismatch,
    CheckFailed,
    ModuleUnknown,
    VerdictMissing,
    ExecutionConflict,
    Unavailable,
    Internal,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its name in URLs and in the documentation.
    pub slug: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The gRPC code.
    pub code: Code,
    /// Whether the same request may succeed later without anybody changing anything.
    pub retryable: bool,
    /// The exit code of a command that ends with it (C1).
    pub exit: u8,
    /// What it means, in a few words that never change.
    pub title: &'static str,
    /// What to do about it.
    pub action: &'static str,
}

/// A problem as an HTTP body: RFC 9457, with the `error` member that frontends knew before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProblemBody {
    /// `/problems/<slug>`.
    pub r#type: String,
    /// The problem's title.
    pub title: String,
    /// The HTTP status, again.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The problem's name in capitals.
    pub code: String,
    /// The same text as `detail`.
    pub error: String,
    /// Every mistake of the request, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Issue>,
}

/// One mistake of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Issue {
    /// The way to the field, from the body's root.
    pub path: Vec<String>,
    /// The same as a JSON pointer (RFC 6901).
    #[serde(default)]
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

impl Issue {
    /// A mistake at `path`, the long steps of which are shortened.
    pub fn new(path: Vec<String>, message: impl Into<String>) -> Self {
        let path: Vec<_> = path.iter().map(|step| crate::json::exact::shown_step(step)).collect();
        let pointer = crate::json::exact::pointer(&path);
        Self { path, pointer, message: message.into() }
    }
}

impl Problem {
    /// Every problem, in the order of the table.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Its line in the table.
    pub const fn row(self) -> Row {
        row(self)
    }

    /// Its name in `ErrorInfo.reason` and in JSON: the slug in capitals.
    pub fn reason(self) -> String {
        // Made from the slug, so that the page's address and the code cannot differ.
        self.row().slug.to_ascii_uppercase().replace('-', "_")
    }

    /// The problem called `reason`, if there is one.
    pub fn from_reason(reason: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|problem| problem.reason() == reason)
    }

    /// The problem a server of ours answered with; `None` if the status comes from elsewhere, such
    /// as that of a connection that failed.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        // A proxy in between may add details of its own.
        if info.domain == DOMAIN { Self::from_reason(&info.reason) } else { None }
    }

    /// Its page (Markdown): what `type` in a problem document leads to.
    pub fn page(self) -> String {
        let row = self.row();
        let again = match row.retryable {
            true => "The same request may succeed later.",
            false => "The same request will fail again.",
        };
        format!(
            "# {}\n\n`{}` · HTTP {} · gRPC `{:?}` · exit code {}\n\n{}\n{again}\n",
            row.title,
            self.reason(),
            row.status,
            row.code,
            row.exit,
            row.action,
        )
    }

    /// This problem as a gRPC status. `detail` reaches the caller: no secret, no inner text (R9).
    pub fn status(self, detail: impl Into<String>) -> Status {
        let details = ErrorDetails::with_error_info(self.reason(), DOMAIN, HashMap::new());
        Status::with_error_details(self.row().code, detail, details)
    }

    /// This problem as a gRPC status with every mistake of the request (`google.rpc.BadRequest`)
    /// and the time to wait (`google.rpc.RetryInfo`), as HTTP has them in `issues` and
    /// `Retry-After`.
    pub fn status_of(self, body: &ProblemBody, retry_after: Option<Duration>) -> Status {
        let mut details = ErrorDetails::with_error_info(self.reason(), DOMAIN, HashMap::new());
        for issue in &body.issues {
            details.add_bad_request_violation(issue.pointer.as_str(), issue.message.as_str());
        }
        if let Some(wait) = retry_after {
            details.set_retry_info(Some(wait));
        }
        Status::with_error_details(self.row().code, body.detail.as_str(), details)
    }

    /// This problem as an HTTP body. `detail` reaches the caller: no secret, no inner text (R9).
    pub fn body(self, detail: impl Into<String>) -> ProblemBody {
        let Row { slug, status, title, .. } = self.row();
        let detail = detail.into();
        ProblemBody {
            r#type: format!("/problems/{slug}"),
            title: title.to_owned(),
            status,
            error: detail.clone(),
            detail,
            code: self.reason(),
            issues: Vec::new(),
        }
    }
}

impl ProblemBody {
    /// The same with every mistake listed.
    pub fn with_issues(mut self, issues: Vec<Issue>) -> Self {
        self.issues = issues;
        self
    }
}
