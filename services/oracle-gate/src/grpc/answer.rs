//! What the domain answers, as messages.

use seal::SealStatus;
use wire::pb::oracle::v1 as pb;

use crate::bundle;
use crate::check::{self, Outcome};
use crate::error::Error;
use crate::objects::Metered;
use crate::reasons::Severity;
use crate::runs::{self, Sealed};

pub(super) fn seal(sealed: Sealed, existed: bool) -> pb::SealResponse {
    let status = match sealed.status {
        SealStatus::Ok => pb::SealStatus::Sealed,
        SealStatus::Failed => pb::SealStatus::SealedFailed,
    };
    let summary = |check: runs::CheckResult| pb::CheckSummary {
        status: check_status(check.status).into(),
        reasons: check.reasons,
    };
    pb::SealResponse {
        pack_id: sealed.pack_id.to_string(),
        seal_digest: sealed.seal_digest.to_string(),
        manifest_digest: sealed.manifest_digest.to_string(),
        seal_status: status.into(),
        facts_ref: sealed.facts_ref.unwrap_or_default(),
        check: sealed.check.map(summary),
        existed,
    }
}

fn check_status(status: check::Status) -> pb::CheckStatus {
    match status {
        check::Status::Ok => pb::CheckStatus::Ok,
        check::Status::Warn => pb::CheckStatus::Warn,
        check::Status::Fail => pb::CheckStatus::Fail,
    }
}

pub(super) fn check(outcome: &Outcome) -> Result<pb::CheckResponse, Error> {
    let issues = outcome.issues.iter().map(|issue| pb::CheckIssue {
        code: issue.code.code().to_owned(),
        severity: match issue.severity {
            Severity::Warn => pb::Severity::Warn.into(),
            Severity::Error => pb::Severity::Error.into(),
        },
        detail: issue.detail.clone(),
        retryable: issue.retryable,
    });
    Ok(pb::CheckResponse {
        status: check_status(outcome.status).into(),
        issues: issues.collect(),
        details_json: wire::json::canonical(&outcome.details).map_err(Error::internal)?,
    })
}

pub(super) fn chunk(piece: bundle::Piece) -> pb::BundleChunk {
    use pb::bundle_chunk::Item;
    let item = match piece {
        bundle::Piece::File { entry, length } => {
            Item::File(pb::BundleFile { path: entry.path, length, executable: entry.executable })
        }
        bundle::Piece::Data(bytes) => Item::Data(bytes.into()),
    };
    pb::BundleChunk { item: Some(item) }
}

pub(super) fn progress(metered: Metered) -> pb::Progress {
    let Metered { objects_read, bytes_read, objects_written, bytes_written, .. } = metered;
    pb::Progress { objects_read, bytes_read, objects_written, bytes_written }
}
