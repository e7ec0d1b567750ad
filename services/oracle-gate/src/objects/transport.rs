//! The HTTP under an S3 store: no redirect is followed, no answer is waited for without end, and of
//! a refusal only its code comes through.
//!
//! Services put what they were sent into their refusals, a session's token among it; so a body is
//! cut down to the `Code` before anybody can log it (R9). A page of a listing has to say whether it
//! is the last. The checksum that a service keeps of an object is in a header that the store's
//! client drops; it is handed on beside the answer.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::redirect::Policy;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::kept::{Lock, LockMode};
use super::page;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Most bytes of a refusal that are looked at.
const MAX_REFUSAL: usize = 64 << 10;
/// Most bytes of a page of a listing: a thousand keys of 1,024 bytes, each byte spelled out.
const MAX_PAGE: usize = 16 << 20;
/// Slowest upload that is waited for.
const BYTES_PER_SECOND: usize = 1 << 20;

/// What a service keeps as the sha256 of a whole object: base64, as it was sent.
#[derive(Debug, Clone)]
pub(super) struct KeptChecksum(pub String);

/// Makes clients that wait `answer` for the head of an answer.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) answer: Duration,
}

/// A client's way to the network.
#[derive(Debug)]
struct TimedClient {
    client: reqwest::Client,
    answer: Duration,
}

#[derive(Debug, Error)]
#[error("no answer in time")]
struct TimedOut;

/// A page of a listing that may or may not be the last.
#[derive(Debug, Error)]
#[error("a page of the listing does not say whether there is more")]
pub(super) struct MissingIsTruncated;

impl Connector {
    pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
        reqwest::Client::builder().redirect(Policy::none()).connect_timeout(CONNECT).build()
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Self::client().map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(TimedClient { client, answer: self.answer }))
    }
}

#[async_trait]
impl HttpService for TimedClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let upload = (request.body().content_length() / BYTES_PER_SECOND) as u64;
        let of_listing = page::is_asked_for(&request);
        let limit = self.answer + Duration::from_secs(upload);
        let late = |_| HttpError::new(HttpErrorKind::Timeout, TimedOut);
        let answer =
            tokio::time::timeout(limit, self.client.call(request)).await.map_err(late)??;
        let (mut parts, body) = answer.into_parts();
        if parts.status.is_success() {
            if let Some(kept) = kept_checksum(&parts.headers) {
                parts.extensions.insert(kept);
            }
            if let Some(lock) = lock(&parts.headers) {
                parts.extensions.insert(lock);
            }
            let body = if of_listing { whole_page(body).await? } else { body };
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let body = tokio::time::timeout(self.answer, start_of(body)).await.map_err(late)?;
        let code = code(&body).map_or_else(String::new, |code| format!("<Code>{code}</Code>"));
        // The client drops the content of a redirect that it cannot follow. The request went to a
        // server that does not answer for the bucket, which is what 421 says (RFC 9110, 15.5.20);
        // only a temporary one is worth another try.
        parts.status = match parts.status {
            StatusCode::NOT_MODIFIED => parts.status,
            StatusCode::TEMPORARY_REDIRECT => StatusCode::SERVICE_UNAVAILABLE,
            status if status.is_redirection() => StatusCode::MISDIRECTED_REQUEST,
            status => status,
        };
        // The body was cut down, so it no longer has the length that was announced.
        parts.headers.remove(CONTENT_LENGTH);
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(code)))
    }
}

/// A page that says whether it is the last.
async fn whole_page(body: HttpResponseBody) -> Result<HttpResponseBody, HttpError> {
    let odd = || HttpError::new(HttpErrorKind::Decode, MissingIsTruncated);
    let mut stream = body.bytes_stream();
    let mut bytes = BytesMut::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() > MAX_PAGE {
            return Err(odd());
        }
    }
    if page::says_whether_it_is_the_last(&bytes) { Ok(bytes.freeze().into()) } else { Err(odd()) }
}

/// A sum over parts of an upload is not the digest of the object.
fn kept_checksum(headers: &http::HeaderMap) -> Option<KeptChecksum> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text("x-amz-checksum-type").is_some_and(|kind| kind != "FULL_OBJECT") {
        return None;
    }
    text("x-amz-checksum-sha256").map(|value| KeptChecksum(value.to_owned()))
}

/// The lock of an object; one whose mode or time is not known cannot be relied on.
fn lock(headers: &http::HeaderMap) -> Option<Lock> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mode = match text("x-amz-object-lock-mode")? {
        "GOVERNANCE" => LockMode::Governance,
        "COMPLIANCE" => LockMode::Compliance,
        _ => return None,
    };
    let until = text("x-amz-object-lock-retain-until-date")?;
    Some(Lock { mode, until: OffsetDateTime::parse(until, &Rfc3339).ok()? })
}

/// What there is of a refusal; one that breaks off says no more.
async fn start_of(body: HttpResponseBody) -> Bytes {
    let mut stream = body.bytes_stream();
    let mut start = BytesMut::new();
    while let Some(Ok(bytes)) = stream.next().await {
        start.extend_from_slice(&bytes);
        if start.len() > MAX_REFUSAL {
            break;
        }
    }
    start.freeze()
}

/// The `Code` of a refusal in XML.
pub(super) fn code(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let code = text.split_once("<Code>")?.1.split_once("</Code>")?.0;
    let fits = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then_some(code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_service_sends_only_a_word_of_it_is_kept(
            body in "(<Code>|</Code>|[A-Za-z0-9]{0,70}|hunter2 |\\\\PC){0,6}",
            bytes in any::<Vec<u8>>(),
        ) {
            for body in [body.as_bytes(), &bytes] {
                let word = code(body).unwrap_or_default();
                prop_assert!(word.len() <= 64 && word.bytes().all(|b| b.is_ascii_alphanumeric()));
            }
        }
    }

    #[test]
    fn of_a_refusal_only_the_code_is_kept() {
        let body = b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>hunter2</StringToSign></Error>";
        assert_eq!(code(body), Some("SignatureDoesNotMatch"));
        assert_eq!(code(b"<Code>not a code</Code>"), None);
        assert_eq!(code(b"<html>"), None);
    }

    #[test]
    fn a_sum_over_parts_is_no_digest() {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-amz-checksum-sha256", "abc=".parse().unwrap());
        assert!(kept_checksum(&headers).is_some());
        headers.insert("x-amz-checksum-type", "COMPOSITE".parse().unwrap());
        assert!(kept_checksum(&headers).is_none());
    }
}
