//! Friendbot over HTTP.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Server, reply};
use crate::friendbot::{Destination, FundingError};

/// What the types of problems begin with.
const PROBLEMS: &str = "https://stellar.org/horizon-errors/";

/// Funds the address in the parameter `addr`, which is in the query or in a form.
pub(super) async fn friendbot(
    State(server): State<Server>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form =
        content_type.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    // A form goes before the query, as with Go's `ParseForm`.
    let form = if is_form { address(&body) } else { None };
    let address =
        form.or_else(|| address(query.unwrap_or_default().as_bytes())).unwrap_or_default();

    let Some(destination) = Destination::parse(address.trim()) else {
        let extras = json!({
            "invalid_field": "addr",
            "reason": "invalid address: must be a valid G or C address",
        });
        let detail = "The request you sent was invalid in some way.";
        return problem(StatusCode::BAD_REQUEST, "bad_request", detail, Some(extras));
    };
    match server.friendbot.fund(destination).await {
        Ok(funded) => {
            let hash = hex::encode(funded.hash);
            reply(&json!({
                "successful": true,
                "hash": hash,
                "id": hash,
                "envelope_xdr": funded.envelope,
                "ledger": funded.ledger,
            }))
        }
        Err(error) => {
            let (status, kind) = match error {
                FundingError::AlreadyFunded => (StatusCode::BAD_REQUEST, "bad_request"),
                FundingError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "server_over_capacity"),
                FundingError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
                FundingError::Refused(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
            };
            problem(status, kind, &error.to_string(), None)
        }
    }
}

/// The parameter `addr` of a query or form.
fn address(encoded: &[u8]) -> Option<String> {
    let mut pairs = form_urlencoded::parse(encoded);
    pairs.find(|(name, _)| name == "addr").map(|(_, value)| value.into_owned())
}

/// An error in the form that friendbot and Horizon give it.
fn problem(status: StatusCode, kind: &str, detail: &str, extras: Option<Value>) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut body = json!({
        "type": format!("{PROBLEMS}{kind}"),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
    });
    if let Some(extras) = extras {
        body["extras"] = extras;
    }
    let kind = [(header::CONTENT_TYPE, "application/problem+json; charset=utf-8")];
    (status, kind, body.to_string()).into_response()
}
