//! Answers that the proxy itself gives.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::call::{Out, whole};
use crate::text;

/// SDKs of both services do not try again when an answer has this header.
const RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Why a request has no answer of its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Refusal {
    /// What is not allowed or not understood.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "not_allowed", message: message.into() }
    }

    /// A request that could pass the run's budget.
    pub fn budget(message: impl Into<String>) -> Self {
        let status = StatusCode::PAYMENT_REQUIRED;
        Self { status, code: "budget_exhausted", message: message.into() }
    }

    /// A request that could pass a limit of the operator.
    pub fn limit(message: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "operator_limit", message: message.into() }
    }

    /// A request that is invalid, whatever is left of any budget.
    pub fn invalid(message: impl Into<String>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self { status, code: "invalid_request", message: message.into() }
    }

    /// A body that others could read in another way than the proxy.
    pub fn media_type(message: impl Into<String>) -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self { status, code: "unsupported_media_type", message: message.into() }
    }

    /// A request that is too large.
    pub fn too_large(message: impl Into<String>) -> Self {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Self { status, code: "request_too_large", message: message.into() }
    }

    /// A request that did not come to its end in time.
    pub fn unfinished() -> Self {
        let message = "the request did not come to its end".to_owned();
        Self { status: StatusCode::REQUEST_TIMEOUT, code: "request_timeout", message }
    }

    /// The service did not answer, or not as it must.
    pub fn upstream(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_GATEWAY, code: "upstream_failed", message: message.into() }
    }

    /// The service took too long.
    pub fn late(message: impl Into<String>) -> Self {
        let status = StatusCode::GATEWAY_TIMEOUT;
        Self { status, code: "upstream_timeout", message: message.into() }
    }

    /// In the form in which clients of OpenAI and of Anthropic read errors.
    pub fn response(&self) -> Response<Out> {
        let error = json!({
            "type": "lumio_proxy_error", "code": self.code, "param": null,
            "message": format!("Lumio's proxy: {}", text::message(&self.message)),
        });
        let body = json!({ "type": "error", "error": error }).to_string();
        let mut response = Response::new(whole(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // What failed at the service may go well the next time, and is another call then.
        let again = if self.status.is_server_error() { "true" } else { "false" };
        headers.insert(RETRY, HeaderValue::from_static(again));
        response
    }
}
