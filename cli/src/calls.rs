//! Tables of what a module asked of services.

use wire::egress::{Call, CallOutcome};
use wire::view::UpstreamView;

use crate::output::table;

/// One row for each service.
pub fn table_of_services(services: &[UpstreamView]) -> String {
    let rows: Vec<_> = services
        .iter()
        .map(|service| {
            [
                service.name.clone(),
                service.calls.to_string(),
                service.refused.to_string(),
                service.inconclusive.to_string(),
                format!("{} / {}", service.llm_in, service.llm_out),
                service.unbilled.to_string(),
                format!("{} / {}", service.request_bytes, service.response_bytes),
                format!("{} ms", service.wall_ms),
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
