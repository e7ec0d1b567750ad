//! Tables of what a module asked of services.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::egress::{Call, CallOutcome};

use crate::output::table;

/// What was asked of one service, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamSums {
    /// As the module names it.
    pub name: String,
    /// Requests that left.
    pub calls: u64,
    /// Requests that did not.
    pub refused: u64,
    /// Bytes of bodies that left.
    pub request_bytes: u64,
    /// Bytes of bodies that came.
    pub response_bytes: u64,
    /// Tokens read that are charged.
    pub llm_in: u64,
    /// Tokens written that are charged.
    pub llm_out: u64,
    /// Tokens that the service reported above them.
    pub unbilled: u64,
    /// Calls whose usage is not certain.
    pub inconclusive: u64,
    /// Time from each request to the end of its answer, all together.
    pub wall_ms: u64,
}

/// Adds the calls of each service up, in the order of their names.
pub fn add_up(calls: &[Call]) -> Vec<UpstreamSums> {
    let mut sums: BTreeMap<&str, UpstreamSums> = BTreeMap::new();
    for call in calls {
        let sum = sums.entry(&call.upstream).or_default();
        sum.name.clone_from(&call.upstream);
        match call.outcome {
            CallOutcome::Refused => sum.refused += 1,
            CallOutcome::Complete => sum.calls += 1,
            CallOutcome::Inconclusive => {
                sum.calls += 1;
                sum.inconclusive += 1;
            }
        }
        // The list is somebody else's until it is verified: its numbers may be anything.
        for (total, part) in [
            (&mut sum.request_bytes, call.request_bytes),
            (&mut sum.response_bytes, call.response_bytes),
            (&mut sum.llm_in, call.llm_in),
            (&mut sum.llm_out, call.llm_out),
            (&mut sum.unbilled, call.unbilled),
            (&mut sum.wall_ms, call.wall_ms),
        ] {
            *total = total.saturating_add(part);
        }
    }
    sums.into_values().collect()
}

/// One row for each service.
pub fn table_of_services(sums: &[UpstreamSums]) -> String {
    let rows: Vec<_> = sums
        .iter()
        .map(|sum| {
            [
                sum.name.clone(),
                sum.calls.to_string(),
                sum.refused.to_string(),
                sum.inconclusive.to_string(),
                format!("{} / {}", sum.llm_in, sum.llm_out),
                sum.unbilled.to_string(),
                format!("{} / {}", sum.request_bytes, sum.response_bytes),
                format!("{} ms", sum.wall_ms),
            ]
        })
        .collect();
    let headings = [
        "UPSTREAM",
        "CALLS",
        "REFUSED",
        "UNCERTAIN",
        "TOKENS IN / OUT",
        "NOT CHARGED",
        "BYTES SENT / RECEIVED",
        "TIME",
    ];
    table(headings, &rows)
}

/// One row for each call, at most `limit` of them.
pub fn table_of(calls: &[Call], limit: usize) -> String {
    let rows: Vec<_> = calls
        .iter()
        .take(limit)
        .map(|call| {
            let outcome = match call.outcome {
                CallOutcome::Complete => "complete",
                CallOutcome::Inconclusive => "uncertain",
                CallOutcome::Refused => "refused",
            };
            [
                call.index.to_string(),
                call.upstream.clone(),
                // A path may be long, and its head says what was asked.
                format!("{} {}", call.method, call.path.chars().take(60).collect::<String>()),
                call.status.map(|status| status.to_string()).unwrap_or_default(),
                format!("{} / {}", call.llm_in, call.llm_out),
                format!("{} ms", call.wall_ms),
                outcome.to_owned(),
                call.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let headings = ["CALL", "UPSTREAM", "REQUEST", "STATUS", "TOKENS", "TIME", "OUTCOME", "REASON"];
    let text = table(headings, &rows);
    match calls.len().saturating_sub(limit) {
        0 => text,
        more => format!("{text}\n… and {more} more; --output json has all"),
    }
}
