//! Collects reasons and turns them into one answer.

use serde::Serialize;

use super::{Details, Outcome, Rules};
use crate::objects::{Evidence, Refusal, StoreError};
use crate::reasons::{Reason, Severity};

/// Most issues of one code that are kept: a view of many thousand locators can fail in each of them.
const MAX_PER_CODE: usize = 100;

/// The answer of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Everything holds.
    Ok,
    /// Everything that the lenient profile insists on holds.
    Warn,
    /// Do not read.
    Fail,
}

/// One reason, with what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// The code.
    pub code: Reason,
    /// Whether it stops a reader.
    pub severity: Severity,
    /// What it is about.
    pub detail: String,
    /// Whether the same check may answer differently later by itself.
    pub retryable: bool,
}

/// Reasons found so far.
#[derive(Debug)]
pub struct Findings {
    issues: Vec<Issue>,
    allow_unsealed: bool,
    allow_missing_digest: bool,
    allow_size_only: bool,
}

impl Status {
    /// Its name in documents and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

impl Issue {
    /// Whether it stops a reader.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Findings {
    /// Nothing found yet.
    pub fn new(rules: &Rules) -> Self {
        let Rules { allow_unsealed, allow_missing_digest, .. } = *rules;
        let allow_size_only = rules.least_evidence == Evidence::SizeOnly;
        Self { issues: Vec::new(), allow_unsealed, allow_missing_digest, allow_size_only }
    }

    /// Notes a reason.
    pub fn add(&mut self, code: Reason, detail: impl Into<String>) {
        let lenient = match code {
            Reason::DigestMissing => self.allow_missing_digest,
            Reason::DigestNotVerified => self.allow_size_only,
            _ => self.allow_unsealed,
        };
        let severity = code.severity(lenient);
        self.issues.push(Issue {
            code,
            severity,
            detail: detail.into(),
            retryable: code.row().retryable,
        });
    }

    /// Notes what the store answered.
    pub fn store(&mut self, error: &StoreError) {
        self.add(store_reason(error), error.to_string());
    }

    /// The answer.
    pub fn outcome(mut self, details: Details) -> Outcome {
        self.issues.sort_by(|a, b| (a.code, &a.detail).cmp(&(b.code, &b.detail)));
        self.issues.dedup();
        let mut reason_codes: Vec<Reason> = self.issues.iter().map(|issue| issue.code).collect();
        reason_codes.dedup();
        let status = match self.issues.iter().map(|issue| issue.severity).max() {
            None => Status::Ok,
            Some(Severity::Warn) => Status::Warn,
            Some(Severity::Error) => Status::Fail,
        };
        let mut kept = 0;
        let mut before = None;
        self.issues.retain(|issue| {
            kept = if before == Some(issue.code) { kept + 1 } else { 1 };
            before = Some(issue.code);
            kept <= MAX_PER_CODE
        });
        Outcome { status, reason_codes, issues: self.issues, details }
    }
}

/// The reason a store's answer stands for (O6).
pub fn store_reason(error: &StoreError) -> Reason {
    match error {
        StoreError::Denied { .. } => Reason::AccessDenied,
        StoreError::Timeout { .. } => Reason::Timeout,
        StoreError::Throttled { .. } => Reason::Throttled,
        StoreError::Link { .. } => Reason::LinkRefused,
        StoreError::TooLarge { .. } => Reason::ObjectTooLarge,
        StoreError::Unsupported { .. } => Reason::StoreNotWriteOnce,
        StoreError::Name { .. } => Reason::NameRefused,
        StoreError::Changed { .. } => Reason::ChangedDuringRead,
        StoreError::Refused { kind, .. } => match kind {
            Refusal::Clock => Reason::StoreClockSkewed,
            Refusal::Archived => Reason::ObjectArchived,
            Refusal::Signature => Reason::StoreSignatureRefused,
            Refusal::Key => Reason::StoreKeyUnknown,
            Refusal::Token => Reason::StoreTokenExpired,
            Refusal::Bucket => Reason::BucketNotFound,
            Refusal::Region => Reason::StoreRegionWrong,
            Refusal::Method => Reason::StoreMethodRefused,
            Refusal::Other => Reason::StoreRefused,
        },
        StoreError::Conflict { .. } | StoreError::Unavailable { .. } => Reason::StoreUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn every_code_is_told_and_of_each_a_hundred_issues() {
        let profile = Profile::load("prod", Some("x".to_owned()), |_| None).unwrap();
        let mut findings = Findings::new(&Rules::strict(&profile, Vec::new()));
        for number in 0..300 {
            findings.add(Reason::LocatorMissing, format!("data/{number:03}"));
        }
        findings.add(Reason::GateFailed, "gate.a");
        let outcome = findings.outcome(Details::default());
        assert_eq!(outcome.reason_codes, [Reason::LocatorMissing, Reason::GateFailed]);
        assert_eq!(outcome.issues.len(), MAX_PER_CODE + 1);
        assert_eq!(outcome.issues[MAX_PER_CODE - 1].detail, "data/099");
        assert_eq!(outcome.issues[MAX_PER_CODE].code, Reason::GateFailed);
    }
}
