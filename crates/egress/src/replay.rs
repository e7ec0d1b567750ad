//! Recorded answers: a module that uses services can be run again without them.
//!
//! A recording is a file of lines, one for each request that left: what identifies the request, and
//! its answer. The same request made again gets its answers in the order in which they were
//! recorded, and then the last one again. A request that was never recorded has no answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use wire::Digest;

use crate::text::quoted;

/// Most bytes of all recordings of a module.
pub const MAX_BYTES: usize = 32 << 20;

/// One request and its answer: a line of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The service's name.
    pub upstream: String,
    /// Such as `POST`.
    pub method: String,
    /// Path and query below the service's address.
    pub path: String,
    /// [`identity`] of the request's body, as the module sent it.
    pub request: Digest,
    /// The status.
    pub status: u16,
    /// The answer's `content-type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The answer's body, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The answer's body, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

impl Recorded {
    /// With a body of any form.
    #[must_use]
    pub fn with_body(mut self, body: &[u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(text) => self.body = Some(text.to_owned()),
            Err(_) => self.body_base64 = Some(STANDARD.encode(body)),
        }
        self
    }

    /// The answer's body.
    ///
    /// # Errors
    /// It is no base64.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        match (&self.body, &self.body_base64) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).map_err(|error| error.to_string()),
            (None, None) => Ok(Vec::new()),
        }
    }

    fn key(&self) -> Key {
        (self.upstream.clone(), self.method.clone(), self.path.clone(), self.request)
    }
}

type Key = (String, String, String, Digest);

/// What makes two bodies the same request: their canonical JSON, or their bytes where they are
/// none.
pub fn identity(body: &[u8]) -> Digest {
    let canonical = wire::json::parse(body).ok().and_then(|value| wire::json::digest(&value).ok());
    canonical.unwrap_or_else(|| Digest::of(body))
}

/// Recorded answers, and which of them were given.
#[derive(Debug, Default)]
pub struct Recording {
    answers: HashMap<Key, Vec<Recorded>>,
    given: Mutex<Given>,
}

#[derive(Debug, Default)]
struct Given {
    times: HashMap<Key, usize>,
    missing: Vec<String>,
}

impl Recording {
    /// Reads one file of lines, beside what was read before.
    ///
    /// # Errors
    /// The first line that is no record.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let recorded: Recorded = serde_json::from_str(line)
                .map_err(|error| format!("line {}: {error}", number + 1))?;
            recorded.bytes().map_err(|error| format!("line {}: {error}", number + 1))?;
            self.answers.entry(recorded.key()).or_default().push(recorded);
        }
        Ok(())
    }

    /// The next answer to a request.
    ///
    /// # Errors
    /// Nothing was recorded for it; remembered for [`Recording::missing`].
    pub fn answer(
        &self,
        upstream: &str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Recorded, String> {
        self.answer_by(upstream, method, path, identity(body))
    }

    /// The same, by the identity of the request's body.
    ///
    /// # Errors
    /// As [`Recording::answer`].
    pub fn answer_by(
        &self,
        upstream: &str,
        method: &str,
        path: &str,
        request: Digest,
    ) -> Result<Recorded, String> {
        let key = (upstream.to_owned(), method.to_owned(), path.to_owned(), request);
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(answers) = self.answers.get(&key) else {
            let text = format!(
                "no answer is recorded for {method} {} of {upstream:?} with the body {}",
                quoted(path),
                key.3
            );
            given.missing.push(text.clone());
            return Err(text);
        };
        let times = given.times.entry(key).or_default();
        let answer = answers.get(*times).or(answers.last()).cloned();
        *times += 1;
        answer.ok_or_else(|| "a recording without answers".to_owned())
    }

    /// Begins again: every request gets its first answer.
    pub fn rewind(&self) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Given::default();
    }

    /// Requests for which nothing was recorded, since it began.
    pub fn missing(&self) -> Vec<String> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).missing.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(body: &[u8], answer: &str) -> String {
        let recorded = Recorded {
            upstream: "model".to_owned(),
            method: "POST".to_owned(),
            path: "/embeddings".to_owned(),
            request: identity(body),
            status: 200,
            content_type: None,
            body: Some(answer.to_owned()),
            body_base64: None,
        };
        serde_json::to_string(&recorded).unwrap() + "\n"
    }

    #[test]
    fn the_same_request_gets_its_answers_in_order() {
        let mut recording = Recording::default();
        let text = line(br#"{"a":1,"b":2}"#, "one") + &line(br#"{"b":2,"a":1}"#, "two");
        recording.add(&text).unwrap();
        let ask = |body: &[u8]| recording.answer("model", "POST", "/embeddings", body);
        let texts = |_| ask(br#"{ "a": 1.0, "b": 2 }"#).unwrap().body.unwrap();
        let answers: Vec<String> = (0..3).map(texts).collect();
        assert_eq!(answers, ["one", "two", "two"]);
        assert!(ask(br#"{"a":2}"#).unwrap_err().contains("POST \"/embeddings\""));
        assert_eq!(recording.missing().len(), 1);
        recording.rewind();
        assert_eq!(texts(0), "one");
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let error = Recording::default().add("\n{\"upstream\":1}").unwrap_err();
        assert!(error.starts_with("line 2:"), "{error}");
    }
}
