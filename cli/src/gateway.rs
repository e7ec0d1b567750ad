//! The runner's HTTP gateway, as a frontend sees it. What it says is shown, never believed: proof
//! is [`crate::verify`]'s business.

use std::path::Path;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use wire::Problem;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::escape::escape;
use crate::session;

/// Longest wait for one answer but a bundle's, and for a connection.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a bundle.
const BUNDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Most bytes of one JSON answer.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;
/// Most bytes of a bundle's archive.
const LARGEST_BUNDLE: u64 = 4 * 1024 * 1024 * 1024;
/// What a refusal asks for: whose login it would be is not known where the answer is read.
const LOG_IN: &str = "lumio login --as NAME (a contract account: with --contract C…)";

/// The gateway of a context.
#[derive(Debug)]
pub struct Gateway<'a> {
    http: reqwest::Client,
    context: &'a Context,
    account: Option<String>,
}

impl<'a> Gateway<'a> {
    /// Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when no client can be made.
    pub fn new(context: &'a Context) -> Result<Self> {
        Ok(Self { http: context.http()?, context, account: None })
    }

    /// The same, with the login of this account instead of the newest one.
    pub fn as_account(self, account: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..self }
    }

    /// `GET path`.
    ///
    /// # Errors
    ///
    /// [`CliError::Unknown`] when it does not answer or is at fault, [`CliError::Bad`] with its
    /// words when it refuses, [`CliError::Usage`] when the address or token is wrong. So for all
    /// that follow.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.send(self.request(Method::GET, path)?.timeout(TIMEOUT)).await?;
        json(answer).await
    }

    /// The text that `GET path` answers, exactly as it came.
    ///
    /// # Errors
    ///
    /// As [`Gateway::get`].
    pub async fn text(&self, path: &str) -> Result<Vec<u8>> {
        let answer = self.send(self.request(Method::GET, path)?.timeout(TIMEOUT)).await?;
        bytes(answer).await
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
            let key = HeaderValue::from_bytes(key.as_bytes()).map_err(|_| {
                CliError::usage("--idempotency-key: it holds a character that a header cannot")
            })?;
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
        self.fetch(path, into).await?.map_err(|refusal| refusal.error())
    }

    /// As [`Gateway::download`], where a refusal is an answer that is looked at.
    ///
    /// # Errors
    ///
    /// As [`Gateway::download`], but for refusals.
    pub async fn fetch(&self, path: &str, into: &Path) -> Result<std::result::Result<(), Refusal>> {
        use std::io::Write as _;
        let answer = self.ask(self.request(Method::GET, path)?.timeout(BUNDLE_TIMEOUT)).await?;
        let mut answer = match or_refusal(answer).await {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let unwritable = |error: std::io::Error| {
            CliError::unknown(&format!("cannot write {}", into.display()), error)
        };
        let mut file = std::fs::File::create(into).map_err(unwritable)?;
        let mut size = 0;
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            size += chunk.len() as u64;
            if size > LARGEST_BUNDLE {
                return Err(CliError::Unknown(format!(
                    "the gateway's bundle is larger than {LARGEST_BUNDLE} bytes"
                )));
            }
            file.write_all(&chunk).map_err(unwritable)?;
        }
        file.flush().map_err(unwritable)?;
        Ok(Ok(()))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        Ok(self.http.request(method, url(self.context, path)?))
    }

    /// Sends a request with a token, if there is one, and once more with a fresh token if the
    /// gateway finds the first too old: its clock is the one that counts.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        checked(self.ask(request).await?).await
    }

    /// As [`Gateway::send`]; a refusal is an answer too.
    async fn ask(&self, request: RequestBuilder) -> Result<Response> {
        // None for a body that can be sent only once.
        let again = request.try_clone();
        if let Some(token) = &self.context.settings().gateway_token {
            return request.bearer_auth(token).send().await.map_err(unreachable);
        }
        let Some((account, token)) = session::bearer(self.context, self.account.as_deref()).await?
        else {
            return request.send().await.map_err(unreachable);
        };
        // Before the token is sent anywhere.
        session::require_private(self.context, &url(self.context, "")?)?;
        let answer = request.bearer_auth(&token).send().await.map_err(unreachable)?;
        match again {
            Some(again) if answer.status() == StatusCode::UNAUTHORIZED => {
                let token = session::refreshed(self.context, &account, &token).await?;
                again.bearer_auth(token).send().await.map_err(unreachable)
            }
            _ => Ok(answer),
        }
    }
}

/// Sends a request and takes only a success.
async fn accepted(request: RequestBuilder) -> Result<Response> {
    checked(request.send().await.map_err(unreachable)?).await
}

async fn checked(answer: Response) -> Result<Response> {
    or_refusal(answer).await.map_err(|refusal| refusal.error())
}

async fn or_refusal(answer: Response) -> std::result::Result<Response, Refusal> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    // Something in front of the gateway may answer without JSON; the status still says what to do.
    let problem = json(answer).await.unwrap_or(Value::Null);
    Err(Refusal { status, problem })
}

/// A gateway's refusal, in its own words.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    problem: Value,
}

impl Refusal {
    /// As the failure of a command.
    pub fn error(&self) -> CliError {
        let text = format!("the gateway refused ({}): {}", self.status.as_u16(), self.words());
        match self.status {
            StatusCode::UNAUTHORIZED => CliError::Usage(format!("{text}; log in with: {LOG_IN}")),
            StatusCode::FORBIDDEN => CliError::Usage(format!(
                "{text}; log in as the account that this is about, with: {LOG_IN}"
            )),
            StatusCode::TOO_MANY_REQUESTS => CliError::Unknown(format!("{text}; try again later")),
            status if status.is_server_error() => CliError::Unknown(format!("{text}; try again")),
            _ => CliError::Bad(text),
        }
    }

    /// Whether there is nothing under this name, which may be on purpose.
    pub fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// What it says of the pack's tombstone, where it gives no files because of one: why, by whom
    /// and when.
    pub fn tombstone(&self) -> Option<String> {
        let is_check = text(&self.problem, "code") == Problem::CheckFailed.reason();
        let detail = self.problem.get("detail").and_then(Value::as_str).filter(|_| is_check)?;
        wire::problem::tombstone_of(detail).map(str::to_owned)
    }

    fn words(&self) -> String {
        words(&self.problem)
    }
}

/// A path at the gateway.
fn url(context: &Context, path: &str) -> Result<reqwest::Url> {
    let base = context.gateway_url().trim_end_matches('/');
    reqwest::Url::parse(&format!("{base}{path}"))
        .map_err(|error| CliError::usage(format!("LUMIO_GATEWAY_URL: '{base}': {error}")))
}

/// `POST path` without a login: what a login itself is made with.
///
/// # Errors
///
/// As [`Gateway::get`].
pub async fn exchange(context: &Context, path: &str, body: &Value) -> Result<Value> {
    post_url(context, url(context, path)?, body).await
}

/// `POST url` without a login.
///
/// # Errors
///
/// As [`Gateway::get`].
pub async fn post_url(context: &Context, url: reqwest::Url, body: &Value) -> Result<Value> {
    let request = Gateway::new(context)?.http.post(url).timeout(TIMEOUT).json(body);
    json(accepted(request).await?).await
}

/// `GET url` without a login.
///
/// # Errors
///
/// As [`Gateway::get`].
pub async fn get_url(context: &Context, url: reqwest::Url) -> Result<Value> {
    let request = Gateway::new(context)?.http.get(url).timeout(TIMEOUT);
    json(accepted(request).await?).await
}

/// The text that `GET path` answers without a login.
///
/// # Errors
///
/// As [`Gateway::get`].
pub async fn fetch_text(context: &Context, path: &str) -> Result<String> {
    let request = Gateway::new(context)?.http.get(url(context, path)?).timeout(TIMEOUT);
    let bytes = bytes(accepted(request).await?).await?;
    String::from_utf8(bytes)
        .map_err(|error| CliError::unknown("the gateway's answer is no text", error))
}

/// A text from outside as part of a path.
pub fn segment(text: &str) -> Result<String> {
    // Nothing that could lead to another route.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(CliError::usage(format!("'{text}' is not a run's id"))),
    }
}

/// A member's text, escaped: it is shown, and others wrote it (R18).
pub fn text(value: &Value, name: &str) -> String {
    escape(value.get(name).and_then(Value::as_str).unwrap_or_default())
}

/// A member's text that every answer of this kind has.
///
/// # Errors
///
/// [`CliError::Unknown`] when it has not: the server is not a Lumio gateway, or it is faulty.
pub fn required<'a>(answer: &'a Value, name: &str) -> Result<&'a str> {
    let text = answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| unexpected(&format!("it has no '{name}'")))
}

/// The gateway's answer has another form than it should.
pub fn unexpected(why: &str) -> CliError {
    CliError::Unknown(format!(
        "the gateway's answer is not what was expected: {why}; check the gateway's address \
         (--gateway-url, LUMIO_GATEWAY_URL or the network)"
    ))
}

async fn bytes(mut answer: Response) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > LARGEST_ANSWER {
            return Err(CliError::Unknown(format!(
                "the gateway answered more than {LARGEST_ANSWER} bytes"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn json(answer: Response) -> Result<Value> {
    let bytes = bytes(answer).await?;
    // Nothing is an answer where nothing was asked for, such as after a logout.
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| CliError::unknown("the gateway's answer is no JSON", error))
}

/// What a problem document says: detail and code, and each issue.
fn words(problem: &Value) -> String {
    let detail = ["detail", "error", "title"]
        .into_iter()
        .map(|name| text(problem, name))
        .find(|text| !text.is_empty());
    let mut said = detail.unwrap_or_else(|| "no reason given".to_owned());
    let code = text(problem, "code");
    if !code.is_empty() {
        said.push_str(&format!(" [{code}]"));
    }
    for issue in problem.get("issues").and_then(Value::as_array).into_iter().flatten() {
        said.push_str(&format!("; {issue}"));
    }
    said
}

/// Why the gateway did not answer, each cause once: some errors print their source themselves.
fn unreachable(error: reqwest::Error) -> CliError {
    let url = error.url().map(|url| crate::context::without_credentials(url.as_str()));
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        source = cause.source();
    }
    let url = url.unwrap_or_default();
    CliError::Unknown(format!(
        "cannot reach the gateway {url} (set by --gateway-url, LUMIO_GATEWAY_URL or the network): \
         {text}; start it, or correct its address"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_in_its_own_words() {
        let problem = serde_json::json!({ "title": "Preflight failed", "detail": "no \
            grant", "code": "preflight-failed", "error": "no grant" });
        assert_eq!(words(&problem), "no grant [preflight-failed]");
        assert_eq!(words(&serde_json::json!({ "error": "Run not found" })), "Run not found");
        assert_eq!(words(&Value::Null), "no reason given");
    }

    #[test]
    fn a_tombstone_is_told_from_every_other_refusal() {
        let refusal = |code: &str, detail: &str| Refusal {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            problem: serde_json::json!({ "code": code, "detail": detail }),
        };
        let says = "LEGAL_ORDER, by the court, 2026-12-01";
        let told = refusal("CHECK_FAILED", &format!("PACK_TOMBSTONED: {says}"));
        assert_eq!(told.tombstone().as_deref(), Some(says));
        assert!(!told.is_not_found());
        assert!(matches!(told.error(), CliError::Bad(_)));
        for (code, detail) in [
            ("CHECK_FAILED", "oracle-gate refused: PACK_TOMBSTONED: x"),
            ("CHECK_FAILED", "PACK_TOMBSTONED: "),
            ("SEAL_MISMATCH", "PACK_TOMBSTONED: x"),
            ("", ""),
        ] {
            assert_eq!(refusal(code, detail).tombstone(), None, "{code}: {detail}");
        }
    }

    #[test]
    fn a_member_that_is_missing_is_named() {
        assert_eq!(required(&serde_json::json!({ "id": "a" }), "id").unwrap(), "a");
        for answer in ["null", "[]", "{}", r#"{"id":""}"#, r#"{"id":1}"#, r#""id""#] {
            let answer = serde_json::from_str(answer).unwrap();
            let error = required(&answer, "id").unwrap_err();
            assert_eq!(error.exit_code(), 2, "{answer}");
            assert!(error.to_string().contains("it has no 'id'"), "{error}");
        }
    }

    #[test]
    fn a_runs_id_stays_one_segment() {
        assert!(segment("0197e4a0-0000-7000-8000-00000000000a").is_ok());
        for text in ["", "..", "a/b", "a?b", "a b", "é"] {
            assert!(segment(text).is_err(), "{text}");
        }
    }
}
