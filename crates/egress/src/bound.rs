//! The most tokens that a request can use, from what it holds alone (E4).
//!
//! A token represents at least one byte of text, so the UTF-8 bytes of all text that is sent bound
//! the tokens read, beside what a service adds on its own: that is the operator's allowance.
//! Nothing is estimated. What has no such bound is refused unless the operator states a maximum for
//! it. A member that is not known here is refused in any case, since it could name another model or
//! raise the cost.

use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::route::{Allowance, Endpoint, may_name_a_model};
use crate::text::quoted;

/// Members that neither are text for the model nor point to any.
const SETTINGS: &[&str] = &[
    "model",
    "stream",
    "stream_options",
    "background",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "user",
    "metadata",
    "store",
    "parallel_tool_calls",
    "service_tier",
    "reasoning_effort",
    "verbosity",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "echo",
    "encoding_format",
    "dimensions",
    "include",
    "truncation",
    "reasoning",
    "thinking",
    "text",
    "cache_prompt",
    "stop",
    "stop_sequences",
    "max_tool_calls",
    "inference_geo",
];

/// Members whose text the model reads.
const TEXTS: &[&str] = &["messages", "system", "prompt", "input", "instructions", "suffix"];

/// Members that a service writes into the prompt in a form of its own.
const TOOLS: &[&str] =
    &["tools", "tool_choice", "functions", "function_call", "response_format", "output_config"];

/// Members that make the model read or write what nothing sent bounds.
const UNBOUNDED: &[&str] = &[
    "audio",
    "modalities",
    "prediction",
    "web_search_options",
    "previous_response_id",
    "conversation",
    "container",
    "context_management",
    "mcp_servers",
];

/// Members of which some values cost more for the same tokens, and the values that do not.
const PRICED: &[(&str, &[&str])] = &[
    ("service_tier", &["auto", "default", "flex", "standard_only"]),
    ("inference_geo", &["global"]),
];

/// Members whose own members have names of the module's choice.
const FREE: &[&str] =
    &["arguments", "input_examples", "input_schema", "metadata", "parameters", "schema"];

/// Members of a message or of a part of one that hold text, or a word of the protocol.
const PARTS: &[&str] = &[
    "role",
    "content",
    "name",
    "type",
    "text",
    "refusal",
    "tool_calls",
    "tool_call_id",
    "id",
    "call_id",
    "function",
    "function_call",
    "arguments",
    "input",
    "output",
    "summary",
    "status",
    "reasoning",
    "reasoning_content",
    "thinking",
    "signature",
    "data",
    "encrypted_content",
    "tool_use_id",
    "is_error",
    "cache_control",
    "annotations",
    "logprobs",
    "title",
    "source",
    "citations",
    "media_type",
    "context",
    "phase",
    "caller",
];

/// Kinds of a message or part whose members are all text.
const KINDS: &[&str] = &[
    "message",
    "text",
    "refusal",
    "input_text",
    "output_text",
    "summary_text",
    "reasoning_text",
    "function",
    "function_call",
    "function_call_output",
    "custom",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "document",
    "search_result",
    "ephemeral",
    "content",
];

/// Most choices of one call.
const MAX_CHOICES: u64 = 128;

/// What a request can use at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Tokens read.
    pub input: u64,
    /// Tokens written that it asks for, all choices together; none where it states no limit.
    pub output: Option<u64>,
    /// How many answers are written at once.
    pub choices: u64,
    /// Whether it writes tokens at all.
    pub writes: bool,
    /// Whether the answer is a stream.
    pub streamed: bool,
}

/// Why a request is refused regardless of the remaining budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// The request itself is invalid.
    Invalid(String),
    /// Its tokens have no bound, or cannot be counted.
    Unbounded(String),
    /// It could ask another model, or cost more for the same tokens.
    NotAllowed(String),
}

/// Refuses members that are not known, and values for which a service charges more.
///
/// # Errors
/// [`RequestError::NotAllowed`].
pub fn check_members(body: &Body) -> Result<(), RequestError> {
    let known = [SETTINGS, TEXTS, TOOLS, UNBOUNDED];
    let is_known = |name: &str| known.iter().any(|list| list.contains(&name));
    for name in body.names().filter(|name| !is_known(name)) {
        if body.get(name).is_some() {
            let name = quoted(name);
            return Err(RequestError::NotAllowed(format!(
                "the member {name} is not known: it could name another model or raise the cost"
            )));
        }
    }
    for (name, values) in PRICED {
        let Some(value) = body.get(name) else { continue };
        if !value.as_str().is_some_and(|value| values.contains(&value)) {
            let values = values.join(", ");
            return Err(RequestError::NotAllowed(format!(
                "{name:?}: expected one of {values}, since others may cost more"
            )));
        }
    }
    Ok(())
}

/// Everything in a request that may say which model answers: its `model`, and members of tools and
/// other parts.
pub fn models(body: &Body) -> Vec<&Value> {
    let mut found = Vec::new();
    find_models(&body.value, &mut found);
    found
}

fn find_models<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Array(list) => list.iter().for_each(|one| find_models(one, found)),
        Value::Object(members) => {
            for (name, value) in members {
                if may_name_a_model(name) {
                    found.push(value);
                    continue;
                }
                // What a tool was called with.
                let is_call = name == "input" && value.is_object();
                if !is_call && !FREE.contains(&name.as_str()) {
                    find_models(value, found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Bounds a request.
///
/// # Errors
/// [`RequestError`].
pub fn bound(
    endpoint: Endpoint,
    body: &Body,
    allowance: &Allowance,
) -> Result<Bound, RequestError> {
    check_members(body)?;
    let mut text = Text { bytes: 0, unbounded: 0, first: None };
    for name in body.names() {
        let Some(value) = body.get(name) else { continue };
        if name == "prompt" && value.is_object() {
            // The id of a text that is stored at the service.
            text.add_unbounded(|| "a prompt by its id".to_owned());
        } else if TEXTS.contains(&name) {
            text.add(value);
        } else if TOOLS.contains(&name) {
            text.add_tools(name, value);
        } else if UNBOUNDED.contains(&name) {
            text.add_unbounded(|| format!("the member {}", quoted(name)));
        } else if name == "text" || name == "thinking" || name == "reasoning" {
            // A form of the answer may hold a schema; the others are words of the protocol.
            text.bytes += length_of(value);
        }
    }

    check_flags(body)?;

    // A service wraps each message in some tokens of its own; the operator states how many.
    let messages = ["messages", "input"].iter().filter_map(|name| body.get(name)?.as_array());
    let messages = messages.map(Vec::len).sum::<usize>().max(1) as u64;
    let mut input = text.bytes + allowance.call + messages.saturating_mul(allowance.message);
    if TOOLS.iter().any(|name| body.get(name).is_some()) {
        input = input.saturating_add(allowance.tools);
    }

    // What cannot be counted costs the operator's maximum each, or the request is refused.
    match (text.first, allowance.unbounded) {
        (None, _) => {}
        (Some(_), Some(each)) => {
            input = input.saturating_add(each.saturating_mul(text.unbounded));
        }
        (Some(first), None) => {
            let why = format!("the tokens of this request have no bound: {first}");
            return Err(RequestError::Unbounded(why));
        }
    }

    let writes = !matches!(endpoint, Endpoint::Embeddings);
    let choices = if writes { choices(endpoint, body)? } else { 0 };
    let output = if writes { stated_limit(endpoint, body)? } else { Some(0) };
    if let Some(stated) = output {
        check_thinking_fits(endpoint, body, stated).map_err(RequestError::Invalid)?;
    }
    let output = output.map(|limit| limit.saturating_mul(choices));
    Ok(Bound { input, output, choices, writes, streamed: body.value["stream"] == true })
}

/// Requires real booleans: some services also accept "true" or 1, so that the proxy and a service
/// could disagree.
fn check_flags(body: &Body) -> Result<(), RequestError> {
    for name in ["background", "stream"] {
        if body.get(name).is_some_and(|value| !value.is_boolean()) {
            return Err(RequestError::Invalid(format!("{name:?} is neither true nor false")));
        }
    }
    if body.get("stream_options").is_some_and(|value| !value.is_object()) {
        return Err(RequestError::Invalid("\"stream_options\" is no object".to_owned()));
    }
    if body.value["background"] == true {
        let why = "an answer in the background cannot be counted".to_owned();
        return Err(RequestError::Unbounded(why));
    }
    Ok(())
}

/// A service counts thinking as written, and refuses a limit that thinking alone uses up.
fn check_thinking_fits(endpoint: Endpoint, body: &Body, limit: u64) -> Result<(), String> {
    let thinking = body.value["thinking"]["budget_tokens"].as_u64().unwrap_or(0);
    if endpoint == Endpoint::Messages && thinking > 0 && thinking >= limit {
        return Err(format!(
            "thinking.budget_tokens ({thinking}) must be less than the limit of output ({limit})"
        ));
    }
    Ok(())
}

/// Writes the granted limit into the request, and asks for the record of tokens in a stream.
/// Returns whether the record is one that the module did not ask for.
///
/// # Errors
/// The request cannot be answered within what was granted.
pub fn limit(
    endpoint: Endpoint,
    body: &mut Body,
    bound: &Bound,
    granted: u64,
) -> Result<bool, String> {
    if bound.writes {
        // Rounded down: all choices together stay within what was granted.
        let each = granted / bound.choices.max(1);
        if each == 0 {
            return Err(format!(
                "{granted} tokens to write are too few for the {} answers that it asks for",
                bound.choices
            ));
        }
        check_thinking_fits(endpoint, body, each)?;

        // Every limit that is stated is lowered: which of two a service heeds is its own affair.
        let names = limit_names(endpoint);
        let stated: Vec<&str> =
            names.iter().copied().filter(|name| body.get(name).is_some()).collect();
        let written = if stated.is_empty() { &names[..1] } else { &stated[..] };
        for name in written {
            body.set(name, json!(each));
        }
    }

    let can_ask = matches!(endpoint, Endpoint::Chat | Endpoint::Completions);
    if !(bound.streamed && can_ask) || body.value["stream_options"]["include_usage"] == true {
        return Ok(false);
    }

    // Without the record nothing would say what a stream used.
    let options = body.get("stream_options").and_then(Value::as_object);
    let mut options = options.cloned().unwrap_or_default();
    options.insert("include_usage".to_owned(), Value::Bool(true));
    body.set("stream_options", Value::Object(options));
    Ok(true)
}

/// Members that limit what is written; the first is set where none is.
fn limit_names(endpoint: Endpoint) -> &'static [&'static str] {
    match endpoint {
        // The second is the older name, the only one that some servers know.
        Endpoint::Chat => &["max_completion_tokens", "max_tokens"],
        Endpoint::Responses => &["max_output_tokens"],
        _ => &["max_tokens"],
    }
}

/// The least of the limits that the request states.
fn stated_limit(endpoint: Endpoint, body: &Body) -> Result<Option<u64>, RequestError> {
    let mut least: Option<u64> = None;
    for name in limit_names(endpoint) {
        let Some(value) = body.get(name) else { continue };
        let value = value.as_u64().filter(|value| *value > 0);
        let value = value.ok_or_else(|| {
            RequestError::Invalid(format!("{name:?}: expected a whole number from 1"))
        })?;
        least = Some(least.map_or(value, |known| known.min(value)));
    }
    Ok(least)
}

/// How many answers are written for one request.
fn choices(endpoint: Endpoint, body: &Body) -> Result<u64, RequestError> {
    let number = |name: &str| match body.get(name) {
        None => Ok(1),
        Some(value) => match value.as_u64() {
            Some(number @ 1..=MAX_CHOICES) => Ok(number),
            _ => {
                let why = format!("{name:?}: expected a whole number from 1 to {MAX_CHOICES}");
                Err(RequestError::Invalid(why))
            }
        },
    };
    match endpoint {
        Endpoint::Chat => number("n"),
        Endpoint::Completions => {
            let prompts = match body.get("prompt") {
                // A list of numbers is one prompt.
                Some(Value::Array(list)) if !list.iter().all(Value::is_number) => list.len() as u64,
                _ => 1,
            };
            Ok(number("n")?.max(number("best_of")?).saturating_mul(prompts.max(1)))
        }
        _ => Ok(1),
    }
}

/// All text of a request, and what in it has no bound.
struct Text {
    bytes: u64,
    /// The number of parts without a bound.
    unbounded: u64,
    /// A description of the first of them.
    first: Option<String>,
}

impl Text {
    fn add_unbounded(&mut self, what: impl FnOnce() -> String) {
        self.unbounded += 1;
        self.first.get_or_insert_with(what);
    }

    /// Counts what a model reads of a message, a part, or a list of them.
    fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.bytes += text.len() as u64,
            // A prompt may be given as tokens.
            Value::Number(_) => self.bytes += 1,
            Value::Array(list) => list.iter().for_each(|one| self.add(one)),
            Value::Object(members) => self.add_part(members),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn add_part(&mut self, members: &Map<String, Value>) {
        let kind = members.get("type").and_then(Value::as_str);
        if let Some(kind) = kind
            && !KINDS.contains(&kind)
        {
            return self.add_unbounded(|| format!("a part of type {}", quoted(kind)));
        }

        for (name, value) in members {
            match name.as_str() {
                // What a tool is called with is an object of the module's own.
                "input" | "arguments" if kind.is_some() && !value.is_array() => {
                    self.bytes += length_of(value);
                }
                "source" => self.add_source(value),
                "id" if !value.is_null() && !brings_its_text(kind, members) => {
                    self.add_unbounded(|| {
                        "an id that refers to content stored at the service".to_owned()
                    });
                }
                name if PARTS.contains(&name) => self.add(value),
                _ if value.is_null() => {}
                name => {
                    self.add_unbounded(|| format!("the member {} of a message", quoted(name)));
                }
            }
        }
    }

    /// Where a document comes from: only its text is here.
    fn add_source(&mut self, value: &Value) {
        let Value::Object(members) = value else { return self.add(value) };
        let kind = members.get("type").and_then(Value::as_str);
        if !matches!(kind, Some("text" | "content")) {
            let kind = kind.unwrap_or("none");
            return self
                .add_unbounded(|| format!("a document from a source of type {}", quoted(kind)));
        }
        for (name, value) in members {
            match name.as_str() {
                "data" | "content" => self.add(value),
                "type" | "media_type" => {}
                name => {
                    self.add_unbounded(|| format!("the member {} of a source", quoted(name)));
                }
            }
        }
    }

    /// Counts what is offered to the model, as JSON. Tools that run at the service read what
    /// cannot be counted here.
    fn add_tools(&mut self, name: &str, value: &Value) {
        self.bytes += length_of(value);
        for tool in value.as_array().into_iter().flatten().filter(|_| name == "tools") {
            match tool["type"].as_str() {
                None | Some("function" | "custom") => {}
                Some(kind) => self.add_unbounded(|| format!("a tool of type {}", quoted(kind))),
            }
        }
    }
}

/// Whether a part with an `id` has everything that the model reads of it, so that the id only names
/// it: calls of tools (the id pairs them with their results), and what a service has written and is
/// sent again whole. An id without any text refers to something stored at the service
/// (`item_reference`, whose type may be left out), and so does reasoning that is not sent along in
/// its encrypted form: its summary is not what the model reads.
fn brings_its_text(kind: Option<&str>, members: &Map<String, Value>) -> bool {
    let has = |name: &str| match members.get(name) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        // A tool may be called with nothing.
        Some(Value::Object(members)) => !members.is_empty() || kind == Some("tool_use"),
        _ => false,
    };
    match kind {
        Some("reasoning") => has("encrypted_content"),
        _ => ["content", "text", "function", "arguments", "input", "output"].into_iter().any(has),
    }
}

fn length_of(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        value => value.to_string().len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Allowance = Allowance { message: 0, call: 0, tools: 0, unbounded: None };

    fn body(value: &Value) -> Body {
        Body::parse(value.to_string().as_bytes()).unwrap()
    }

    fn of(endpoint: Endpoint, value: &Value) -> Result<Bound, RequestError> {
        bound(endpoint, &body(value), &NONE)
    }

    #[test]
    fn a_yes_that_servers_read_differently_is_refused() {
        for name in ["stream", "background"] {
            for value in [json!("true"), json!(1), json!([true]), json!({})] {
                let request = json!({ "model": "m", "messages": [], name: value });
                let error = of(Endpoint::Chat, &request).unwrap_err();
                let expected = format!("{name:?} is neither true nor false");
                assert_eq!(error, RequestError::Invalid(expected));
            }
        }
        let plain = json!({ "model": "m", "messages": [], "stream": null });
        assert!(!of(Endpoint::Chat, &plain).unwrap().streamed);
    }

    #[test]
    fn all_text_counts_by_its_bytes() {
        let chat = json!({ "model": "m", "messages": [
            { "role": "user", "content": "é1" },
            { "role": "user", "content": [{ "type": "text", "text": "abc" }] },
        ] });
        // Twice the role, three bytes, the kind of the part, three bytes.
        assert_eq!(of(Endpoint::Chat, &chat).unwrap().input, 4 + 3 + 4 + 4 + 3);
        let allowance = Allowance { message: 10, call: 5, ..NONE };
        assert_eq!(bound(Endpoint::Chat, &body(&chat), &allowance).unwrap().input, 18 + 25);

        let tokens = json!({ "model": "m", "prompt": [1, 2, 3], "max_tokens": 2 });
        let bounded = of(Endpoint::Completions, &tokens).unwrap();
        assert_eq!((bounded.input, bounded.output), (3, Some(2)));
        let lists = json!({ "model": "m", "prompt": ["ab", "c"], "max_tokens": 2, "n": 3 });
        let bounded = of(Endpoint::Completions, &lists).unwrap();
        assert_eq!((bounded.input, bounded.output, bounded.choices), (3, Some(12), 6));
        let embedding = of(Endpoint::Embeddings, &json!({ "model": "m", "input": "four" }));
        assert_eq!(embedding.unwrap().output, Some(0));
    }

    #[test]
    fn what_has_no_bound_is_refused_unless_the_operator_states_one() {
        let part = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
        let cases = [
            (Endpoint::Chat, part(json!({ "type": "image_url", "image_url": { "url": "x" } }))),
            (Endpoint::Chat, part(json!({ "type": "input_audio", "input_audio": {} }))),
            (Endpoint::Chat, part(json!({ "type": "file", "file": { "file_id": "f" } }))),
            (
                Endpoint::Chat,
                json!({ "messages": [{ "role": "assistant", "audio": { "id": "a" } }] }),
            ),
            (Endpoint::Chat, json!({ "messages": [], "web_search_options": {} })),
            (Endpoint::Chat, json!({ "messages": [], "modalities": ["audio"] })),
            (Endpoint::Chat, json!({ "messages": [], "prediction": { "type": "content" } })),
            (Endpoint::Responses, json!({ "input": "a", "previous_response_id": "r" })),
            (Endpoint::Responses, json!({ "input": "a", "conversation": "c" })),
            (Endpoint::Responses, json!({ "input": [{ "type": "item_reference", "id": "i" }] })),
            (Endpoint::Responses, json!({ "input": [{ "id": "msg_1" }] })),
            (Endpoint::Responses, json!({ "input": [{ "type": null, "id": "msg_1" }] })),
            (Endpoint::Responses, json!({ "input": { "id": "msg_1" } })),
            (
                Endpoint::Responses,
                json!({ "input": [{ "id": "m", "role": "user", "content": [] }] }),
            ),
            (Endpoint::Responses, json!({ "input": [{ "id": { "of": "m" }, "status": "done" }] })),
            (
                Endpoint::Responses,
                json!({ "input": [{ "type": "reasoning", "id": "rs_1", "summary": [] }] }),
            ),
            (
                Endpoint::Responses,
                json!({ "input": [{ "type": "reasoning", "id": "rs_1", "encrypted_content": null,
                "summary": [{ "type": "summary_text", "text": "short" }] }] }),
            ),
            (
                Endpoint::Responses,
                json!({ "input": [{ "type": "function_call_output", "call_id": "1",
                "output": { "type": "input_image", "file_id": "f" } }] }),
            ),
            (Endpoint::Completions, json!({ "prompt": [{ "id": "p" }] })),
            (Endpoint::Responses, json!({ "input": "a", "tools": [{ "type": "web_search" }] })),
            (Endpoint::Responses, json!({ "prompt": { "id": "p" }, "input": "a" })),
            (Endpoint::Messages, part(json!({ "type": "image", "source": { "type": "url" } }))),
            (Endpoint::Messages, part(json!({ "type": "document", "source": { "type": "file" } }))),
            (
                Endpoint::Messages,
                part(json!({ "type": "document", "source": { "type": "text", "data": "a",
                    "file_id": "f" } })),
            ),
            (Endpoint::Messages, json!({ "messages": [], "mcp_servers": [{}] })),
            (Endpoint::Messages, json!({ "messages": [], "container": "c" })),
            (Endpoint::Messages, json!({ "messages": [], "tools": [{ "type": "bash_20250124" }] })),
        ];
        for (endpoint, value) in cases {
            let error = of(endpoint, &value).unwrap_err();
            let RequestError::Unbounded(why) = error else { panic!("{value}: {error:?}") };
            assert!(why.contains("no bound"), "{value}: {why}");
            let allowance = Allowance { unbounded: Some(1_000), ..NONE };
            let bounded = bound(endpoint, &body(&value), &allowance).unwrap();
            assert!(bounded.input >= 1_000, "{value}");
        }
    }

    /// Whatever the operator states for parts without a bound.
    #[test]
    fn what_could_name_another_model_or_raise_the_cost_is_refused() {
        let allowance = Allowance { unbounded: Some(1_000), ..NONE };
        for (name, value) in [
            ("extra_body", json!({ "model": "other" })),
            ("models", json!(["other"])),
            ("fallbacks", json!([{ "model": "other" }])),
            ("route", json!("fallback")),
            ("provider", json!({ "order": ["dear"] })),
            ("plugins", json!([{ "id": "web" }])),
            ("speed", json!("fast")),
            ("Model", json!("other")),
            ("unknown", json!(false)),
            ("service_tier", json!("priority")),
            ("service_tier", json!(["default"])),
            ("inference_geo", json!("us")),
        ] {
            for endpoint in [Endpoint::Chat, Endpoint::Responses, Endpoint::Messages] {
                let request = json!({ "model": "m", "messages": [], name: value });
                let error = bound(endpoint, &body(&request), &allowance).unwrap_err();
                assert!(matches!(error, RequestError::NotAllowed(_)), "{request}: {error:?}");
            }
        }
        for more in [
            json!({ "unknown": null }),
            json!({ "service_tier": "flex" }),
            json!({ "background": false, "inference_geo": "global" }),
        ] {
            let mut request = json!({ "model": "m", "messages": [] });
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            bound(Endpoint::Chat, &body(&request), &NONE).unwrap();
        }
    }

    #[test]
    fn every_place_that_may_name_a_model_is_found() {
        let request = json!({ "model": "a", "messages": [
                { "role": "user", "content": [{ "type": "x", "nested": { "model_id": "b" } }] },
                { "role": "assistant", "content": [
                    { "type": "tool_use", "id": "1", "name": "f", "input": { "model": "no" } }] }],
            "tools": [
                { "type": "image_generation", "model": "c" },
                { "type": "x", "options": { "fallbacks": ["d"] } },
                { "type": "function", "function": { "name": "f", "arguments": { "model": "no" },
                    "parameters": { "properties": { "model": { "type": "string" } } } } },
                { "name": "f", "input_schema": { "properties": { "model": {} } } }],
            "response_format": { "type": "json_schema", "json_schema": {
                "schema": { "properties": { "model": {} } } } },
            "metadata": { "model": "no" }, "reasoning": { "Model": null } });
        let request = body(&request);
        let mut found: Vec<String> = models(&request).into_iter().map(Value::to_string).collect();
        found.sort();
        assert_eq!(found, [r#""a""#, r#""b""#, r#""c""#, r#"["d"]"#, "null"]);
    }

    #[test]
    fn what_clients_send_has_a_bound() {
        let tool = json!({ "type": "function", "function": { "name": "f", "parameters": {} } });
        for (endpoint, value) in [
            (
                Endpoint::Chat,
                json!({ "model": "m", "temperature": 0, "tools": [tool], "messages": [
                { "role": "assistant", "content": null, "refusal": null, "tool_calls": [
                    { "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
                { "role": "tool", "tool_call_id": "1", "content": "4" }] }),
            ),
            (
                Endpoint::Responses,
                json!({ "model": "m", "input": [
                { "role": "user", "content": [{ "type": "input_text", "text": "a" }] },
                { "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}" },
                { "type": "function_call_output", "call_id": "1", "output": "4" },
                // What an answer consisted of, sent again.
                { "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                    "content": [{ "type": "output_text", "text": "a", "annotations": [] }] },
                { "type": "function_call", "id": "fc_1", "call_id": "2", "name": "f",
                    "arguments": "{}" },
                { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e" }],
                "reasoning": { "effort": "low" }, "text": { "format": { "type": "text" } } }),
            ),
            (
                Endpoint::Messages,
                json!({ "model": "m", "max_tokens": 9, "system": [
                { "type": "text", "text": "s", "cache_control": { "type": "ephemeral" } }],
                "tools": [{ "name": "f", "input_schema": { "type": "object" } }], "messages": [
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "t", "signature": "s" },
                    { "type": "tool_use", "id": "1", "name": "f", "input": { "any": [1] } }] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "1", "content": "4" },
                    { "type": "document", "source": { "type": "text", "media_type": "text/plain",
                        "data": "long" } }] }] }),
            ),
        ] {
            of(endpoint, &value).unwrap_or_else(|error| panic!("{value}: {error:?}"));
        }
    }

    #[test]
    fn limits_are_lowered_to_what_is_granted_and_never_raised() {
        let lowered = |endpoint, value: Value, granted| {
            let mut body = body(&value);
            let bounded = bound(endpoint, &body, &NONE).unwrap();
            let granted = bounded.output.map_or(granted, |asked| asked.min(granted));
            limit(endpoint, &mut body, &bounded, granted).map(|_| body.value)
        };
        let chat = |more: Value| {
            let mut value = json!({ "messages": [] });
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            lowered(Endpoint::Chat, value, 10)
        };
        assert_eq!(chat(json!({})).unwrap()["max_completion_tokens"], 10);
        assert_eq!(chat(json!({ "max_tokens": 99 })).unwrap()["max_tokens"], 10);
        assert_eq!(chat(json!({ "max_tokens": 3 })).unwrap()["max_tokens"], 3);
        let both = chat(json!({ "max_tokens": 99, "max_completion_tokens": 50 })).unwrap();
        assert_eq!((&both["max_tokens"], &both["max_completion_tokens"]), (&json!(10), &json!(10)));
        assert_eq!(chat(json!({ "n": 3 })).unwrap()["max_completion_tokens"], 3);
        assert!(chat(json!({ "n": 11 })).is_err());
        let thinking = json!({ "messages": [], "max_tokens": 99, "thinking": { "type": "enabled",
            "budget_tokens": 50 } });
        assert!(lowered(Endpoint::Messages, thinking, 40).is_err());
        let responses = lowered(Endpoint::Responses, json!({ "input": "a" }), 7).unwrap();
        assert_eq!(responses["max_output_tokens"], 7);
    }

    /// No budget is short where the request alone is at fault.
    #[test]
    fn what_is_wrong_by_itself_is_said_so() {
        let thinking = |tokens: u64| {
            json!({ "messages": [], "max_tokens": 100, "thinking": { "type": "enabled",
                "budget_tokens": tokens } })
        };
        for (endpoint, value) in [
            (Endpoint::Chat, json!({ "messages": [], "max_tokens": 0 })),
            (Endpoint::Chat, json!({ "messages": [], "max_completion_tokens": -1 })),
            (Endpoint::Responses, json!({ "input": "a", "max_output_tokens": 1.5 })),
            (Endpoint::Chat, json!({ "messages": [], "n": 0 })),
            (Endpoint::Chat, json!({ "messages": [], "n": 129 })),
            (Endpoint::Chat, json!({ "messages": [], "stream": true, "stream_options": [] })),
            (Endpoint::Messages, thinking(100)),
            (Endpoint::Messages, thinking(200)),
        ] {
            let error = of(endpoint, &value).unwrap_err();
            assert!(matches!(error, RequestError::Invalid(_)), "{value}: {error:?}");
        }
        assert_eq!(of(Endpoint::Messages, &thinking(99)).unwrap().output, Some(100));
    }

    #[test]
    fn a_long_name_is_not_repeated_and_many_are_counted() {
        let mut request = json!({ "messages": [] });
        request["x".repeat(1 << 20)] = json!(1);
        let Err(RequestError::NotAllowed(why)) = of(Endpoint::Chat, &request) else { panic!() };
        assert!(why.len() < 500 && why.contains("cut: it has 1048576 bytes"), "{why}");
        let image = json!({ "type": "image_url", "image_url": { "url": "x" } });
        let content = vec![image; 1_000];
        let request = json!({ "messages": [{ "role": "", "content": content }] });
        let allowance = Allowance { unbounded: Some(10), ..NONE };
        assert_eq!(bound(Endpoint::Chat, &body(&request), &allowance).unwrap().input, 10_000);
    }

    #[test]
    fn a_stream_is_asked_for_its_record() {
        let asked = |value: Value| {
            let mut body = body(&value);
            let bounded = bound(Endpoint::Chat, &body, &NONE).unwrap();
            let hidden = limit(Endpoint::Chat, &mut body, &bounded, 5).unwrap();
            (hidden, body.value["stream_options"].clone())
        };
        let on = json!({ "include_usage": true });
        assert_eq!(asked(json!({ "messages": [] })), (false, Value::Null));
        assert_eq!(asked(json!({ "messages": [], "stream": true })), (true, on.clone()));
        let own = json!({ "messages": [], "stream": true, "stream_options": on });
        assert_eq!(asked(own), (false, on.clone()));
        let off =
            json!({ "messages": [], "stream": true, "stream_options": { "include_usage": false } });
        assert_eq!(asked(off), (true, on));
    }

    proptest! {
        /// A text never has more bytes than its bound says, however it is spread over messages.
        #[test]
        fn no_text_escapes_the_bound(texts in proptest::collection::vec("\\PC{0,20}", 0..8)) {
            let messages: Vec<Value> = texts.iter().enumerate().map(|(index, text)| match index % 3 {
                0 => json!({ "role": "user", "content": text }),
                1 => json!({ "role": "user", "content": [{ "type": "text", "text": text }] }),
                _ => json!({ "role": "tool", "tool_call_id": "1", "content": text }),
            }).collect();
            let bytes: usize = texts.iter().map(String::len).sum();
            let bounded = of(Endpoint::Chat, &json!({ "messages": messages })).unwrap();
            prop_assert!(bounded.input >= bytes as u64);
        }
    }
}
