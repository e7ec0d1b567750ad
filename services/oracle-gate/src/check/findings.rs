//! Collects reasons and turns them into one answer.

use super::outcome::{Details, Issue, Outcome, Status};
use super::rules::Rules;
use crate::objects::{Evidence, StoreError};
use crate::reasons::{Reason, Severity};

/// Most issues of one code that are kept: a view of many thousand locators can fail in each of
/// them.
const MAX_PER_CODE: usize = 100;

/// Reasons found so far.
#[derive(Debug)]
pub struct Findings {
    issues: Vec<Issue>,
    allow_unsealed: bool,
    allow_missing_digest: bool,
    allow_size_only: bool,
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
        self.add(error.reason(), error.to_string());
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
        // Cut only now: status and codes are of everything that was found.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn every_code_is_reported_with_at_most_a_hundred_issues() {
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
