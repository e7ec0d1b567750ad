//! The runner's HTTP gateway, as a frontend sees it. What it says is shown, never believed: proof is
//! [`crate::verify`]'s business.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::context::Context;
use crate::failure::{Failure, Result};

/// Longest wait for one answer but a bundle's.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a bundle.
const BUNDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Most bytes of one JSON answer.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;
/// Most bytes of a bundle's archive.
const LARGEST_BUNDLE: u64 = 4 * 1024 * 1024 * 1024;

/// The gateway of a context.
#[derive(Debug)]
pub struct Gateway<'a> {
    http: reqwest::Client,
    context: &'a Context,
}

impl<'a> Gateway<'a> {
    /// Asks nobody yet.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] when no client can be made.
    pub fn new(context: &'a Context) -> Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(TIMEOUT).build();
        let http =
            http.map_err(|error| Failure::usage(format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { http, context })
    }

    /// `GET path`.
    ///
    /// # Errors
    ///
    /// [`Failure::Unknown`] when it does not answer or is at fault, [`Failure::Bad`] with its words when it
    /// refuses, [`Failure::Usage`] when the address or token is wrong. So for all that follow.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.send(self.request(Method::GET, path)?.timeout(TIMEOUT)).await?;
        json(answer).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    ///
    /// As [`Gateway::get`].
    pub async fn post(
        &self,
        path: &str,
        body: &Value,
        idempotency_key: Option<&str>,
    ) -> Result<Value> {
        let mut request = self.request(Method::POST, path)?.timeout(TIMEOUT).json(body);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        json(self.send(request).await?).await
    }

    /// Writes what `GET path` answers into a file.
    ///
    /// # Errors
    ///
    /// As [`Gateway::get`]; also when it is larger than 4 GiB or cannot be written.
    pub async fn download(&self, path: &str, into: &Path) -> Result<()> {
        use std::io::Write as _;
        let mut answer =
            self.send(self.request(Method::GET, path)?.timeout(BUNDLE_TIMEOUT)).await?;
        let unwritable = |error: std::io::Error| {
            Failure::unknown(&format!("cannot write {}", into.display()), error)
        };
        let mut file = std::fs::File::create(into).map_err(unwritable)?;
        let mut size = 0;
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            size += chunk.len() as u64;
            if size > LARGEST_BUNDLE {
                return Err(Failure::Unknown(format!(
                    "the gateway's bundle is larger than {LARGEST_BUNDLE} bytes"
                )));
            }
            file.write_all(&chunk).map_err(unwritable)?;
        }
        file.flush().map_err(unwritable)
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        let settings = self.context.settings();
        let base = settings.gateway_url.trim_end_matches('/');
        let url = reqwest::Url::parse(&format!("{base}{path}"));
        let url =
            url.map_err(|error| Failure::usage(format!("LUMIO_GATEWAY_URL: '{base}': {error}")))?;
        let request = self.http.request(method, url);
        Ok(match &settings.gateway_token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said = words(&json(answer).await.unwrap_or(Value::Null));
        let text = format!("the gateway refused ({}): {said}", status.as_u16());
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Failure::Usage(format!("{text}; check LUMIO_GATEWAY_TOKEN"))
            }
            StatusCode::TOO_MANY_REQUESTS => Failure::Unknown(format!("{text}; try again later")),
            status if status.is_server_error() => Failure::Unknown(format!("{text}; try again")),
            _ => Failure::Bad(text),
        })
    }
}

/// A text from outside as part of a path.
pub fn segment(text: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(Failure::usage(format!("'{text}' is not a run's id"))),
    }
}

/// A member's text, as people read it.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

async fn json(mut answer: Response) -> Result<Value> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > LARGEST_ANSWER {
            return Err(Failure::Unknown(format!(
                "the gateway answered more than {LARGEST_ANSWER} bytes"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::unknown("the gateway's answer is no JSON", error))
}

/// What a problem document says: detail and code, and each issue.
fn words(problem: &Value) -> String {
    let detail = ["detail", "error", "title"]
        .into_iter()
        .map(|name| text(problem, name))
        .find(|text| !text.is_empty());
    let mut said = detail.unwrap_or("no reason given").to_owned();
    let code = text(problem, "code");
    if !code.is_empty() {
        said.push_str(&format!(" [{code}]"));
    }
    for issue in problem.get("issues").and_then(Value::as_array).into_iter().flatten() {
        said.push_str(&format!("; {issue}"));
    }
    said
}

fn unreachable(error: reqwest::Error) -> Failure {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Failure::Unknown(format!(
        "the gateway does not answer: {text}; check LUMIO_GATEWAY_URL and try again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let problem = serde_json::json!({ "title": "Preflight failed", "detail": "no grant", "code": "preflight-failed", "error": "no grant" });
        assert_eq!(words(&problem), "no grant [preflight-failed]");
        assert_eq!(words(&serde_json::json!({ "error": "Run not found" })), "Run not found");
        assert_eq!(words(&Value::Null), "no reason given");
    }

    #[test]
    fn a_runs_id_stays_one_segment() {
        assert!(segment("0197e4a0-0000-7000-8000-00000000000a").is_ok());
        for text in ["", "..", "a/b", "a?b", "a b", "é"] {
            assert!(segment(text).is_err(), "{text}");
        }
    }
}
