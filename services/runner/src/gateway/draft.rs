//! What a caller asks for becomes a request here or not at all. Pure.
//!
//! Types are not coerced: a number is a JSON number, whole, not negative, and small enough that every
//! JSON reader holds it exactly. All mistakes are reported at once. Unknown members are ignored, as
//! frontends may send their own, except among the budgets, where a misspelt one would be a budget of
//! zero.

use serde_json::{Map, Value};
use stellar::Address;
use wire::problem::Issue;
use wire::statement::MAX_SEED;
use wire::{Digest, Problem, Usage};

use crate::error::{Error, Result};
use crate::runs::run::Request;

/// The most bytes of a run's input, as canonical JSON (R12).
pub const MAX_INPUT_BYTES: usize = 1024 * 1024;
/// The most bytes of a request: its input and some more.
pub const MAX_BODY_BYTES: usize = MAX_INPUT_BYTES + 64 * 1024;
/// The most bytes of `metadata`, as JSON.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The most bytes of `workflowId` and `label`: what the gates take as well.
const MAX_NAME_BYTES: usize = 256;
/// What a run works on when its caller named nothing: the gates and the facts view need a name.
const DEFAULT_WORKFLOW: &str = "default";

/// Reads a request from the body of `POST /runs`. `draw` gives the seed if the caller named none.
///
/// # Errors
///
/// A refusal that lists every mistake.
pub fn read(body: &Value, draw: impl FnOnce() -> u64) -> Result<Request> {
    let Some(body) = body.as_object() else {
        return Err(Error::refused(Problem::InvalidRequest, "Invalid payload: want a JSON object"));
    };
    let mut form = Form { body, issues: Vec::new() };
    let user = form.user();
    let agent_id = form.number("agentId", u64::from(u32::MAX));
    if agent_id.is_none() && !form.body.contains_key("agentId") {
        form.issue(&["agentId"], "is required");
    }
    let rate_version = form.number("rateVersion", u64::from(u32::MAX));
    if rate_version == Some(0) {
        form.issue(&["rateVersion"], "want a whole number from 1");
    }
    let budgets = form.budgets();
    let (workflow_id, label) = (form.name("workflowId"), form.name("label"));
    let metadata = form.metadata();
    let input = form.input();
    let seed = form.number("seed", MAX_SEED);
    if !form.issues.is_empty() {
        let (problem, detail) = (Problem::InvalidRequest, "Invalid payload".to_owned());
        return Err(Error::Refused { problem, detail, issues: form.issues });
    }
    let narrow = |value: Option<u64>| value.and_then(|it| u32::try_from(it).ok());
    Ok(Request {
        user,
        agent_id: narrow(agent_id).unwrap_or_default(),
        rate_version: narrow(rate_version),
        budgets,
        workflow_id: Some(workflow_id.unwrap_or_else(|| DEFAULT_WORKFLOW.to_owned())),
        label,
        metadata,
        input_digest: Digest::of(&input),
        input,
        seed: seed.unwrap_or_else(draw),
    })
}

struct Form<'a> {
    body: &'a Map<String, Value>,
    issues: Vec<Issue>,
}

impl Form<'_> {
    fn issue(&mut self, path: &[&str], message: impl Into<String>) {
        let path = path.iter().map(|it| (*it).to_owned()).collect();
        self.issues.push(Issue { path, message: message.into() });
    }

    /// A member that is there; `null` is not there.
    fn member(&self, name: &str) -> Option<&Value> {
        self.body.get(name).filter(|it| !it.is_null())
    }

    fn user(&mut self) -> String {
        let text = self.member("user").and_then(Value::as_str).unwrap_or_default().to_owned();
        if text.parse::<Address>().is_err() {
            self.issue(&["user"], "want an account (G…) or a contract (C…)");
        }
        text
    }

    fn number(&mut self, name: &str, most: u64) -> Option<u64> {
        let value = self.member(name)?;
        match whole(value, most) {
            Ok(number) => Some(number),
            Err(message) => {
                self.issue(&[name], message);
                None
            }
        }
    }

    fn budgets(&mut self) -> Usage {
        let Some(Value::Object(budgets)) = self.member("budgets").cloned() else {
            self.issue(&["budgets"], "want an object with llmIn, llmOut, httpCalls, runtimeMs");
            return Usage::default();
        };
        let mut usage = Usage::default();
        for (name, value) in &budgets {
            let meter = match name.as_str() {
                "llmIn" => &mut usage.llm_in,
                "llmOut" => &mut usage.llm_out,
                "httpCalls" => &mut usage.http_calls,
                "runtimeMs" => &mut usage.runtime_ms,
                _ => {
                    self.issue(
                        &["budgets", name],
                        "is not a meter; there are llmIn, llmOut, httpCalls, runtimeMs",
                    );
                    continue;
                }
            };
            match whole(value, MAX_SEED) {
                Ok(number) => *meter = number,
                Err(message) => self.issue(&["budgets", name], message),
            }
        }
        usage
    }

    fn name(&mut self, name: &str) -> Option<String> {
        let value = self.member(name)?;
        let fits = |text: &&str| {
            (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains(char::is_control)
        };
        let text = value.as_str().filter(fits).map(str::to_owned);
        if text.is_none() {
            self.issue(&[name], format!("want text of 1 to {MAX_NAME_BYTES} bytes"));
        }
        text
    }

    fn metadata(&mut self) -> Option<Value> {
        let value = self.member("metadata")?.clone();
        if !value.is_object() || value.to_string().len() > MAX_METADATA_BYTES {
            self.issue(
                &["metadata"],
                format!("want an object of at most {MAX_METADATA_BYTES} bytes"),
            );
        }
        Some(value)
    }

    fn input(&mut self) -> Vec<u8> {
        let empty = Value::Object(Map::new());
        let canonical = wire::json::canonical(self.body.get("input").unwrap_or(&empty));
        match canonical {
            Ok(bytes) if bytes.len() <= MAX_INPUT_BYTES => return bytes,
            Ok(_) => self.issue(&["input"], format!("has more than {MAX_INPUT_BYTES} bytes")),
            Err(_) => self.issue(&["input"], "has no canonical form (RFC 8785)"),
        }
        Vec::new()
    }
}

/// A whole number from 0 to `most`. `1.0` is whole: JSON knows one kind of number.
fn whole(value: &Value, most: u64) -> std::result::Result<u64, String> {
    let number = value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        let exact = number.fract() == 0.0 && (0.0..=9_007_199_254_740_991.0).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        exact.then_some(number as u64)
    });
    number.filter(|it| *it <= most).ok_or_else(|| format!("want a whole number from 0 to {most}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn user() -> String {
        Address::Account([7; 32]).to_string()
    }

    fn issues(body: &Value) -> Vec<String> {
        match read(body, || 0) {
            Err(Error::Refused { issues, .. }) => {
                issues.iter().map(|it| it.path.join(".")).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_least_request_is_enough() {
        let body = json!({ "user": user(), "agentId": 1, "budgets": { "runtimeMs": 10 } });
        let request = read(&body, || 42).unwrap();
        assert_eq!((request.seed, request.input.as_slice()), (42, b"{}".as_slice()));
        assert_eq!(request.budgets, Usage { runtime_ms: 10, ..Usage::default() });
        assert_eq!(request.rate_version, None);
        assert_eq!(request.workflow_id.as_deref(), Some("default"), "the gates need a name");
    }

    #[test]
    fn a_name_that_the_gates_would_refuse_is_refused_before_money_moves() {
        let named = |name: String| json!({ "user": user(), "agentId": 1, "budgets": { "runtimeMs": 10 }, "workflowId": name });
        assert!(read(&named("é".repeat(128)), || 42).is_ok());
        assert_eq!(issues(&named("é".repeat(129))), ["workflowId"]);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let body = json!({
            "user": "", "agentId": -1, "rateVersion": 0, "workflowId": "", "metadata": [],
            "budgets": { "llmIn": 1.5, "llmOut": "3", "httpCall": 1 }, "seed": 9_007_199_254_740_992_u64,
        });
        let mut found = issues(&body);
        found.sort();
        let want = [
            "agentId",
            "budgets.httpCall",
            "budgets.llmIn",
            "budgets.llmOut",
            "metadata",
            "rateVersion",
            "seed",
            "user",
            "workflowId",
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn nothing_is_coerced() {
        for wrong in
            [json!(""), json!(true), json!([]), json!("1"), json!(-1), json!(0.5), json!(1e300)]
        {
            let body = json!({ "user": user(), "agentId": 1, "budgets": { "llmIn": wrong } });
            assert_eq!(issues(&body), ["budgets.llmIn"], "{wrong}");
        }
        let body = json!({ "user": user(), "agentId": 1.0, "budgets": { "llmIn": 2.0 } });
        assert_eq!(read(&body, || 0).unwrap().budgets.llm_in, 2);
    }

    #[test]
    fn the_input_is_any_json_and_has_one_spelling() {
        let body =
            |input: Value| json!({ "user": user(), "agentId": 1, "budgets": {}, "input": input });
        let of = |input| read(&body(input), || 0).unwrap();
        assert_eq!(of(json!({ "b": 1, "a": 2 })).input, br#"{"a":2,"b":1}"#);
        assert_eq!(of(json!(null)).input, b"null");
        assert_eq!(issues(&body(json!("x".repeat(MAX_INPUT_BYTES)))), ["input"]);
    }

    proptest! {
        #[test]
        fn whatever_comes_in_it_does_not_panic(text in ".{0,200}", number in any::<f64>()) {
            let body = json!({ "user": text, "agentId": number, "budgets": { text.clone(): number },
                "workflowId": text, "label": number, "input": text });
            let _ = read(&body, || 0);
        }
    }
}
