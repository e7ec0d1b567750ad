//! JSON-RPC by hand, bounded in size and time.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::Instrument as _;
use wire::causes;

use super::{RpcError, Turn, call_span, malformed, note_failure, shorten};
use crate::{Address, ChainError};

/// Most bytes of one answer: several times the largest page of events or entries that a node gives.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;

pub(super) struct Raw {
    http: Client,
    url: Url,
    /// Its place among the nodes that take turns.
    place: usize,
    turn: Arc<Turn>,
}

#[derive(Deserialize)]
struct Answer {
    result: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    #[serde(default)]
    message: String,
}

impl Raw {
    pub(super) fn new(
        url: &str,
        timeout: Duration,
        place: usize,
        turn: Arc<Turn>,
    ) -> Result<Self, RpcError> {
        let address = || RpcError::Address(url.to_owned());
        let parsed = Url::parse(url).map_err(|_| address())?;
        // `data:` and `mailto:` parse as well, and have no host to connect to.
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
            return Err(address());
        }
        let http = Client::builder().timeout(timeout).build();
        // A part of the whole address may be a secret (R9), and this address can be one.
        let http = http.map_err(|_| RpcError::Address(parsed.origin().ascii_serialization()))?;
        Ok(Self { http, url: parsed, place, turn })
    }

    /// The part of its address that holds no secret (R9).
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, RpcError> {
        let span = call_span(method);
        let answer = self.ask(method, params).instrument(span.clone()).await;
        if let Err(error) = &answer {
            note_failure(&span, error);
        }
        // What a node refuses by an error of its own is an answer to what was asked.
        if !matches!(answer, Ok(_) | Err(RpcError::Refused { .. })) {
            self.turn.pass(self.place);
        }
        answer
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, RpcError> {
        // One call a request: the answer needs no id to be matched by.
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let sent = self.http.post(self.url.clone()).json(&body).send().await;
        let bytes = read(sent.map_err(|error| unreachable(method, error))?, method).await?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|error| malformed(method, error))?;
        // First: what comes beside an error is no result.
        if let Some(Refusal { code, message }) = answer.error {
            return Err(RpcError::Refused { method, code, message: shorten(&message) });
        }
        let result = answer.result.ok_or_else(|| malformed(method, "neither result nor error"))?;
        serde_json::from_value(result).map_err(|error| malformed(method, error))
    }

    pub(super) async fn friendbot(&self, url: &str, address: &Address) -> Result<(), ChainError> {
        const METHOD: &str = "friendbot";
        let mut url = Url::parse(url).map_err(|error| malformed(METHOD, error))?;
        url.query_pairs_mut().append_pair("addr", &address.to_string());
        let answer = self.http.get(url).send().await.map_err(|error| unreachable(METHOD, error))?;
        let status = answer.status();
        let body = read(answer, METHOD).await?;
        if status.is_success() {
            return Ok(());
        }
        let text = shorten(&String::from_utf8_lossy(&body));

        // Somebody else may have had the account funded in the meantime: it has what was asked for.
        if text.contains("already funded") || text.contains("createAccountAlreadyExist") {
            return Ok(());
        }
        Err(ChainError::invalid(format!("friendbot refused {address}: {status}: {text}")))
    }
}

async fn read(mut answer: reqwest::Response, method: &'static str) -> Result<Vec<u8>, RpcError> {
    let mut bytes = Vec::new();
    // Counted as it arrives: the length in the header is only the sender's claim.
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(method, error))? {
        if bytes.len() + chunk.len() > LARGEST_ANSWER {
            return Err(malformed(method, format!("more than {LARGEST_ANSWER} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn unreachable(method: &'static str, error: reqwest::Error) -> RpcError {
    RpcError::Unreachable { method, reason: shorten(&causes(&error.without_url())) }
}
