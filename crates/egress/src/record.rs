//! What an answer says that it used (E3).
//!
//! OpenAI's counts include cached tokens, and tokens of reasoning are among those written.
//! Anthropic's `input_tokens` are without what the cache took and gave, which count with them; in a
//! stream its counts are cumulative, so the last value of each field counts. Servers that only
//! resemble these deviate: a record that contradicts itself is not believed beyond what every
//! reading of it has in common.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::route::Endpoint;

/// Tokens read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read.
    pub llm_in: u64,
    /// Written.
    pub llm_out: u64,
}

/// What is known of the use of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// The service's own record.
    Certain(Tokens),
    /// At least this, and why no more is known.
    AtLeast(Tokens, String),
}

impl Usage {
    /// What is certain.
    pub fn tokens(&self) -> Tokens {
        match self {
            Self::Certain(tokens) | Self::AtLeast(tokens, _) => *tokens,
        }
    }
}

/// Reads records out of an answer, whole or event by event.
#[derive(Debug)]
pub struct Reader {
    endpoint: Endpoint,
    /// Of OpenAI's form: the last record.
    last: Option<Tokens>,
    /// Of Anthropic's: the last value of each field.
    fields: BTreeMap<&'static str, u64>,
    /// Nothing follows that could change the record.
    is_final: bool,
    /// Something was written after the last record, which therefore does not count it.
    is_behind: bool,
    /// The first contradiction.
    contradiction: Option<String>,
    /// Pieces of text that were written, and their bytes.
    pieces: u64,
    bytes: u64,
}

/// The fields of Anthropic's records that count.
const FIELDS: [&str; 4] =
    ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"];
const OUTPUT: &str = "output_tokens";
/// Fields that a usage record must have: the tokens read and written, each of which is charged. The
/// cache fields are left out where no cache is used.
const REQUIRED_FIELDS: [&str; 2] = ["input_tokens", OUTPUT];

/// Most tokens of one count that is believed. Four counts of a call, and those of all 10,000 calls
/// of a list, add up to less than 2^53, which a statement can hold.
const MAX_COUNT: u64 = 100_000_000_000;

impl Reader {
    /// Nothing was read yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            last: None,
            fields: BTreeMap::new(),
            is_final: false,
            is_behind: false,
            contradiction: None,
            pieces: 0,
            bytes: 0,
        }
    }

    /// Reads a whole answer.
    pub fn whole(&mut self, body: &Value) {
        let usage = &body["usage"];
        match self.endpoint {
            Endpoint::Messages => {
                self.anthropic(usage);
                self.is_final = true;
            }
            _ => {
                self.openai(usage);
                self.is_final = self.last.is_some();
            }
        }
    }

    /// Reads one event of a stream. Answers whether it holds a record and nothing else.
    pub fn event(&mut self, name: Option<&str>, data: &str) -> bool {
        if data.trim() == "[DONE]" {
            self.is_final |= self.last.is_some();
            return false;
        }
        let value = match wire::json::parse(data.as_bytes()) {
            Ok(value) => value,
            Err(error) => {
                self.contradict(format!("an event of the stream is no JSON: {error}"));
                return false;
            }
        };
        match self.endpoint {
            Endpoint::Messages => {
                self.anthropic_event(name, &value);
                false
            }
            Endpoint::Responses => {
                self.responses_event(&value);
                false
            }
            _ => self.chunk(&value),
        }
    }

    /// A chunk of a stream of choices.
    fn chunk(&mut self, value: &Value) -> bool {
        let choices = value["choices"].as_array();
        for choice in choices.into_iter().flatten() {
            let delta = &choice["delta"];
            self.is_behind |= delta.as_object().is_some_and(|members| {
                members.iter().any(|(name, value)| name != "role" && has_text(value))
            });
            self.is_behind |= has_text(&choice["text"]);
            let texts = [
                &delta["content"],
                &delta["reasoning_content"],
                &delta["reasoning"],
                &delta["refusal"],
                &choice["text"],
            ];
            texts.into_iter().filter_map(Value::as_str).for_each(|text| self.wrote(text));
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                self.wrote(call["function"]["arguments"].as_str().unwrap_or_default());
            }
        }
        if value["usage"].is_null() {
            return false;
        }
        self.openai(&value["usage"]);
        // The record at the end comes in a chunk without choices. Some servers put one into every
        // chunk: then only the end of the stream shows which was the last.
        let alone = choices.is_some_and(Vec::is_empty);
        self.is_final |= alone;
        alone
    }

    fn responses_event(&mut self, value: &Value) {
        let kind = value["type"].as_str().unwrap_or_default();
        self.is_behind |= kind.ends_with(".delta") || kind.ends_with(".done");
        if kind.ends_with(".delta") {
            self.wrote(value["delta"].as_str().unwrap_or_default());
        }
        if matches!(kind, "response.completed" | "response.incomplete" | "response.failed") {
            self.openai(&value["response"]["usage"]);
            self.is_final |= self.last.is_some();
        }
    }

    fn anthropic_event(&mut self, name: Option<&str>, value: &Value) {
        let kind = value["type"].as_str().or(name).unwrap_or_default();
        match kind {
            "message_start" => self.anthropic(&value["message"]["usage"]),
            "content_block_start" => self.is_behind = true,
            "content_block_delta" => {
                self.is_behind = true;
                let delta = &value["delta"];
                let texts = [&delta["text"], &delta["thinking"], &delta["partial_json"]];
                texts.into_iter().filter_map(Value::as_str).for_each(|text| self.wrote(text));
            }
            "message_delta" => {
                let has_output = value["usage"][OUTPUT].is_u64();
                self.anthropic(&value["usage"]);
                // Before it, what was written is only what had been written at the start.
                self.is_final = has_output;
            }
            "message_stop" if !self.is_final => {
                self.contradict("the stream ended without its last record".to_owned());
            }
            "error" => self.contradict("the stream ended in an error".to_owned()),
            _ => {}
        }
    }

    fn wrote(&mut self, text: &str) {
        self.pieces += u64::from(!text.is_empty());
        self.bytes += text.len() as u64;
    }

    /// Whether more was written than `limit` tokens, as far as a stream shows it: more pieces, each
    /// of which is at least a token of an ordinary server, and more bytes.
    pub fn exceeds(&self, limit: u64) -> bool {
        let written = match self.endpoint {
            Endpoint::Messages => self.fields.get(OUTPUT).copied(),
            _ => self.last.map(|tokens| tokens.llm_out),
        };
        (self.pieces > limit && self.bytes > limit) || written.is_some_and(|out| out > limit)
    }

    fn contradict(&mut self, why: String) {
        self.contradiction.get_or_insert(why);
    }

    /// One count of a record; absent and null are none.
    fn count(&mut self, value: &Value, name: &str) -> Option<u64> {
        if value.is_null() {
            return None;
        }
        let number = value.as_u64().filter(|number| *number <= MAX_COUNT);
        if number.is_none() {
            self.contradict(format!(
                "{name} of its record: expected a whole number from 0 to {MAX_COUNT}"
            ));
        }
        number
    }

    fn openai(&mut self, usage: &Value) {
        if usage.is_null() {
            return;
        }
        if !usage.is_object() {
            return self.contradict("its record is no object".to_owned());
        }
        let responses = self.endpoint == Endpoint::Responses;
        let (read, written) = if responses {
            ("input_tokens", "output_tokens")
        } else {
            ("prompt_tokens", "completion_tokens")
        };
        let llm_in = self.count(&usage[read], read);
        let mut llm_out = self.count(&usage[written], written);
        let total = self.count(&usage["total_tokens"], "total_tokens");
        if self.endpoint == Endpoint::Embeddings {
            llm_out = Some(llm_out.unwrap_or(0));
        }
        self.is_behind = false;
        let (Some(llm_in), Some(llm_out)) = (llm_in, llm_out) else {
            self.contradict(format!("its record lacks {read} or {written}"));
            // One of the two may still be there, and then that one is certain.
            let tokens = Tokens { llm_in: llm_in.unwrap_or(0), llm_out: llm_out.unwrap_or(0) };
            self.last = Some(tokens);
            return;
        };

        let mut tokens = Tokens { llm_in, llm_out };
        let details = |of: &str| &usage[format!("{of}_details")];
        let cached = self.count(&details(read)["cached_tokens"], "cached_tokens");
        let reasoning = self.count(&details(written)["reasoning_tokens"], "reasoning_tokens");
        if cached.is_some_and(|cached| cached > llm_in) {
            self.contradict(format!("its record has more cached tokens than {llm_in} read"));
        }
        if reasoning.is_some_and(|reasoning| reasoning > llm_out) {
            self.contradict(format!("its record has more tokens of reasoning than {llm_out}"));
        }
        if let Some(total) = total
            && llm_in.checked_add(llm_out) != Some(total)
        {
            self.contradict(format!(
                "its record has {llm_in} + {llm_out} tokens, and {total} in all"
            ));
            // What every reading has in common: no part is larger than the whole.
            tokens.llm_in = llm_in.min(total);
            tokens.llm_out = llm_out.min(total - tokens.llm_in);
        }
        if let Some(last) = self.last
            && (tokens.llm_in < last.llm_in || tokens.llm_out < last.llm_out)
        {
            self.contradict("a later record of its stream has fewer tokens".to_owned());
        }
        self.last = Some(tokens);
    }

    fn anthropic(&mut self, usage: &Value) {
        if usage.is_null() {
            return;
        }
        if !usage.is_object() {
            return self.contradict("its record is no object".to_owned());
        }
        for name in FIELDS {
            let Some(value) = self.count(&usage[name], name) else { continue };
            let before = self.fields.insert(name, value);
            self.is_behind &= name != OUTPUT;
            // Input may be corrected; what was written only grows.
            if name == OUTPUT && before.is_some_and(|before| before > value) {
                self.contradict("a later record of its stream has fewer tokens written".to_owned());
            }
        }
        let split = &usage["cache_creation"];
        let parts = ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"];
        let parts: Vec<u64> =
            parts.iter().filter_map(|name| self.count(&split[*name], name)).collect();
        let whole = self.fields.get("cache_creation_input_tokens").copied().unwrap_or(0);
        let sum = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part));
        if !parts.is_empty() && sum != whole {
            self.contradict(format!(
                "its record has {whole} tokens into the cache, and {sum} by age"
            ));
            // What both readings have in common.
            self.fields.insert("cache_creation_input_tokens", whole.min(sum));
        }
    }

    /// What is known at the end. `lost` says why the answer did not come to its end.
    pub fn finish(self, lost: Option<String>) -> Usage {
        let tokens = match self.endpoint {
            Endpoint::Messages => {
                let field = |name: &str| self.fields.get(name).copied().unwrap_or(0);
                let read = FIELDS.iter().filter(|name| **name != OUTPUT);
                let llm_in = read.map(|name| field(name)).fold(0, u64::saturating_add);
                let known = !self.fields.is_empty();
                known.then(|| Tokens { llm_in, llm_out: field(OUTPUT) })
            }
            _ => self.last,
        };
        let certain = tokens.unwrap_or_default();
        if let Some(why) = self.contradiction {
            return Usage::AtLeast(certain, why);
        }
        let lacks = REQUIRED_FIELDS.iter().find(|name| !self.fields.contains_key(**name));
        let lacks = lacks.filter(|_| self.endpoint == Endpoint::Messages);
        match (tokens, lost) {
            (Some(tokens), _) if self.is_final && !self.is_behind && lacks.is_none() => {
                Usage::Certain(tokens)
            }
            (_, Some(why)) => Usage::AtLeast(certain, why),
            (None, None) => {
                Usage::AtLeast(certain, "the answer has no record of its tokens".to_owned())
            }
            (Some(_), None) => {
                let why = match lacks {
                    Some(name) => format!("its record lacks {name}"),
                    None if self.is_behind => "text came after its last record".to_owned(),
                    None => "the stream ended without its last record".to_owned(),
                };
                Usage::AtLeast(certain, why)
            }
        }
    }
}

/// Whether a member of a chunk has text anywhere within it.
fn has_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => list.iter().any(has_text),
        Value::Object(members) => members.values().any(has_text),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tokens(llm_in: u64, llm_out: u64) -> Tokens {
        Tokens { llm_in, llm_out }
    }

    fn whole(endpoint: Endpoint, usage: Value) -> Usage {
        let mut reader = Reader::new(endpoint);
        reader.whole(&json!({ "usage": usage }));
        reader.finish(None)
    }

    fn stream(endpoint: Endpoint, events: &[Value], lost: Option<&str>) -> Usage {
        let mut reader = Reader::new(endpoint);
        for event in events {
            match event {
                Value::String(text) => reader.event(None, text),
                event => reader.event(None, &event.to_string()),
            };
        }
        reader.finish(lost.map(str::to_owned))
    }

    #[test]
    fn whole_answers_are_counted_by_their_record() {
        let chat = json!({ "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
            "prompt_tokens_details": { "cached_tokens": 8, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 4 } });
        assert_eq!(whole(Endpoint::Chat, chat), Usage::Certain(tokens(19, 10)));
        let bare = json!({ "prompt_tokens": 1, "completion_tokens": 2 });
        assert_eq!(whole(Endpoint::Completions, bare), Usage::Certain(tokens(1, 2)));
        let embedding = json!({ "prompt_tokens": 8, "total_tokens": 8 });
        assert_eq!(whole(Endpoint::Embeddings, embedding), Usage::Certain(tokens(8, 0)));
        let response = json!({ "input_tokens": 36, "output_tokens": 87, "total_tokens": 123,
            "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens_details": { "reasoning_tokens": 80 } });
        assert_eq!(whole(Endpoint::Responses, response), Usage::Certain(tokens(36, 87)));
        let message = json!({ "input_tokens": 10, "cache_creation_input_tokens": 200,
            "cache_read_input_tokens": 3000, "output_tokens": 5,
            "cache_creation": { "ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50 } });
        assert_eq!(whole(Endpoint::Messages, message), Usage::Certain(tokens(3210, 5)));
        let null = json!({ "input_tokens": 10, "cache_creation_input_tokens": null,
            "output_tokens": 5 });
        assert_eq!(whole(Endpoint::Messages, null), Usage::Certain(tokens(10, 5)));
    }

    #[test]
    fn a_record_that_contradicts_itself_is_believed_for_what_is_certain() {
        let at_least = |endpoint, usage: Value| match whole(endpoint, usage.clone()) {
            Usage::AtLeast(tokens, _) => tokens,
            Usage::Certain(tokens) => panic!("{usage} is certain: {tokens:?}"),
        };
        let chat = |read: Value, written: Value, total: Value| {
            at_least(
                Endpoint::Chat,
                json!({ "prompt_tokens": read, "completion_tokens": written,
                "total_tokens": total }),
            )
        };
        // Reasoning beside what was written, as some servers have it.
        assert_eq!(chat(json!(10), json!(5), json!(40)), tokens(10, 5));
        assert_eq!(chat(json!(10), json!(5), json!(12)), tokens(10, 2));
        assert_eq!(chat(json!(10), json!(5), json!(4)), tokens(4, 0));
        assert_eq!(chat(json!(-1), json!(5), Value::Null), tokens(0, 5));
        assert_eq!(chat(json!(1.5), json!(5), Value::Null), tokens(0, 5));
        assert_eq!(chat(json!("10"), json!(5), Value::Null), tokens(0, 5));
        assert_eq!(chat(json!(u64::MAX), json!(5), Value::Null), tokens(0, 5));
        assert_eq!(chat(json!(10), Value::Null, json!(10)), tokens(10, 0));
        assert_eq!(at_least(Endpoint::Chat, json!("none")), tokens(0, 0));
        assert_eq!(at_least(Endpoint::Chat, Value::Null), tokens(0, 0));
        at_least(
            Endpoint::Chat,
            json!({ "prompt_tokens": 1, "completion_tokens": 1,
            "prompt_tokens_details": { "cached_tokens": 2 } }),
        );
        at_least(
            Endpoint::Chat,
            json!({ "prompt_tokens": 1, "completion_tokens": 1,
            "completion_tokens_details": { "reasoning_tokens": 2 } }),
        );
        at_least(
            Endpoint::Messages,
            json!({ "input_tokens": 1, "output_tokens": 1,
            "cache_creation_input_tokens": 5, "cache_creation": { "ephemeral_5m_input_tokens": 4 } }),
        );
    }

    #[test]
    fn a_count_that_is_no_whole_number_is_none_and_the_others_stay() {
        let huge = MAX_COUNT + 1;
        for count in [
            json!(-1),
            json!(1.5),
            json!(10.0),
            json!(1e300),
            json!("7"),
            json!(huge),
            json!(u64::MAX),
            json!(true),
            json!([7]),
            json!({ "tokens": 7 }),
            Value::Null,
        ] {
            let chat = json!({ "prompt_tokens": count, "completion_tokens": 2 });
            let usage = whole(Endpoint::Chat, chat.clone());
            assert!(matches!(usage, Usage::AtLeast(..)), "{count}: {usage:?}");
            assert_eq!(usage.tokens(), tokens(0, 2), "{count}");
            let last = json!({ "choices": [], "usage": chat });
            let usage = stream(Endpoint::Chat, &[last, json!("[DONE]")], None);
            assert!(matches!(usage, Usage::AtLeast(..)), "{count}: {usage:?}");

            for (read, written) in
                [("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")]
            {
                let endpoint = if read == "input_tokens" {
                    Endpoint::Responses
                } else {
                    Endpoint::Completions
                };
                let usage = whole(endpoint, json!({ read: 3, written: count }));
                assert!(matches!(usage, Usage::AtLeast(..)), "{count}: {usage:?}");
                assert_eq!(usage.tokens(), tokens(3, 0), "{count}");
            }
            let embedding = json!({ "prompt_tokens": count, "total_tokens": 3 });
            let usage = whole(Endpoint::Embeddings, embedding);
            assert!(matches!(usage, Usage::AtLeast(..)), "{count}: {usage:?}");

            let message = json!({ "input_tokens": 3, "output_tokens": count });
            let usage = whole(Endpoint::Messages, message);
            assert!(matches!(usage, Usage::AtLeast(..)), "{count}: {usage:?}");
            assert_eq!(usage.tokens(), tokens(3, 0), "{count}");
            let message = json!({ "input_tokens": count, "output_tokens": 3 });
            let usage = whole(Endpoint::Messages, message);
            assert!(matches!(usage, Usage::AtLeast(..)), "{count}: {usage:?}");
            assert_eq!(usage.tokens(), tokens(0, 3), "{count}");
        }
        // Counts that would pass every number when they are added.
        let most = MAX_COUNT;
        let message = json!({ "input_tokens": most, "cache_read_input_tokens": most,
            "cache_creation_input_tokens": most, "output_tokens": 1 });
        assert_eq!(whole(Endpoint::Messages, message).tokens(), tokens(3 * most, 1));
        for usage in [json!([]), json!("none"), json!(3)] {
            assert_eq!(whole(Endpoint::Chat, usage).tokens(), tokens(0, 0));
        }
    }

    /// A record that has one of the two says nothing of the other, so it is not complete (E3).
    #[test]
    fn a_record_lacks_neither_half() {
        for (endpoint, read, written) in [
            (Endpoint::Chat, "prompt_tokens", "completion_tokens"),
            (Endpoint::Completions, "prompt_tokens", "completion_tokens"),
            (Endpoint::Responses, "input_tokens", "output_tokens"),
            (Endpoint::Messages, "input_tokens", "output_tokens"),
        ] {
            for (usage, certain) in [
                (json!({ written: 5 }), tokens(0, 5)),
                (json!({ read: 4 }), tokens(4, 0)),
                (json!({ read: null, written: 5 }), tokens(0, 5)),
                (json!({ read: 4, written: null }), tokens(4, 0)),
                (json!({}), tokens(0, 0)),
                (json!([4, 5]), tokens(0, 0)),
                (Value::Null, tokens(0, 0)),
            ] {
                let found = whole(endpoint, usage.clone());
                assert!(matches!(found, Usage::AtLeast(..)), "{endpoint:?} {usage}: {found:?}");
                assert_eq!(found.tokens(), certain, "{endpoint:?} {usage}");
            }
        }
        for usage in [json!({ "total_tokens": 8 }), json!({ "completion_tokens": 0 }), json!({})] {
            let found = whole(Endpoint::Embeddings, usage.clone());
            assert!(matches!(found, Usage::AtLeast(..)), "{usage}: {found:?}");
        }

        // What the cache took does not stand for what was read beside it.
        let cached = json!({ "cache_read_input_tokens": 9, "output_tokens": 5 });
        let found = whole(Endpoint::Messages, cached);
        assert_eq!(found, Usage::AtLeast(tokens(9, 5), "its record lacks input_tokens".to_owned()));
    }

    #[test]
    fn a_stream_of_messages_needs_both_halves_somewhere() {
        let start = |message: Value| json!({ "type": "message_start", "message": message });
        let delta = |usage: Value| json!({ "type": "message_delta", "usage": usage });
        let of = |first: Value, last: Value| {
            let events = [start(first), delta(last), json!({ "type": "message_stop" })];
            stream(Endpoint::Messages, &events, None)
        };
        for first in [
            json!({}),
            json!({ "usage": null }),
            json!({ "usage": { "output_tokens": 1 } }),
            json!({ "usage": { "input_tokens": null, "output_tokens": 1 } }),
            json!({ "usage": "none" }),
        ] {
            let found = of(first.clone(), json!({ "output_tokens": 5 }));
            assert!(matches!(found, Usage::AtLeast(..)), "{first}: {found:?}");
            assert_eq!(found.tokens(), tokens(0, 5), "{first}");
        }
        let late = of(json!({}), json!({ "input_tokens": 4, "output_tokens": 5 }));
        assert_eq!(late, Usage::Certain(tokens(4, 5)));
    }

    #[test]
    fn a_record_that_comes_twice_or_before_the_end_is_not_added_up() {
        let record = |read: u64, written: u64| {
            json!({ "choices": [], "usage": { "prompt_tokens": read,
                "completion_tokens": written, "total_tokens": read + written } })
        };
        let done = json!("[DONE]");
        let twice = [record(9, 4), record(9, 4), done.clone()];
        assert_eq!(stream(Endpoint::Chat, &twice, None), Usage::Certain(tokens(9, 4)));
        // Later ones count as far as they grow, also after the end.
        let late = [record(9, 4), done.clone(), record(9, 5)];
        assert_eq!(stream(Endpoint::Chat, &late, None), Usage::Certain(tokens(9, 5)));
        let shrinks = [record(9, 4), done.clone(), record(1, 1)];
        let usage = stream(Endpoint::Chat, &shrinks, None);
        assert!(matches!(usage, Usage::AtLeast(..)) && usage.tokens() == tokens(1, 1), "{usage:?}");
        // A member that occurs twice could be read in two ways.
        let double = "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"prompt_tokens\":9,\
            \"completion_tokens\":1}}";
        let usage = stream(Endpoint::Chat, &[json!(double), done], None);
        assert_eq!((usage.tokens(), matches!(usage, Usage::AtLeast(..))), (tokens(0, 0), true));
        // The cache's tokens by age are others than in all.
        let split = json!({ "input_tokens": 1, "cache_creation_input_tokens": 8, "output_tokens": 1,
            "cache_creation": { "ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3 } });
        let usage = whole(Endpoint::Messages, split);
        assert!(matches!(usage, Usage::AtLeast(..)) && usage.tokens() == tokens(6, 1), "{usage:?}");
    }

    #[test]
    fn streams_of_choices_are_counted_by_their_last_record() {
        let text =
            |text: &str| json!({ "choices": [{ "delta": { "content": text } }], "usage": null });
        let last = json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 2,
            "total_tokens": 5 } });
        let events = [text("a"), text("b"), last.clone(), json!("[DONE]")];
        assert_eq!(stream(Endpoint::Chat, &events, None), Usage::Certain(tokens(3, 2)));
        // Lost after the record: nothing was to follow.
        assert_eq!(
            stream(Endpoint::Chat, &events[..3], Some("reset")),
            Usage::Certain(tokens(3, 2))
        );
        let cut = stream(Endpoint::Chat, &events[..2], Some("reset"));
        assert_eq!(cut, Usage::AtLeast(tokens(0, 0), "reset".to_owned()));
        let none = stream(Endpoint::Chat, &[text("a"), json!("[DONE]")], None);
        assert!(matches!(none, Usage::AtLeast(Tokens { llm_in: 0, llm_out: 0 }, _)), "{none:?}");

        // A record in every chunk is cumulative.
        let each = |read: u64, written: u64| {
            json!({ "choices": [{ "delta": { "content": "a" } }],
            "usage": { "prompt_tokens": read, "completion_tokens": written,
                "total_tokens": read + written } })
        };
        let events = [each(3, 1), each(3, 2), json!("[DONE]")];
        assert_eq!(stream(Endpoint::Chat, &events, None), Usage::Certain(tokens(3, 2)));
        let cut = stream(Endpoint::Chat, &events[..1], Some("reset"));
        assert_eq!(cut, Usage::AtLeast(tokens(3, 1), "reset".to_owned()));
        let back = stream(Endpoint::Chat, &[each(3, 2), each(3, 1), json!("[DONE]")], None);
        assert_eq!(back.tokens(), tokens(3, 1));
        assert!(matches!(back, Usage::AtLeast(..)));
    }

    /// A record counts what came before it. Text after it is in none, however the stream ends.
    #[test]
    fn what_comes_after_a_record_is_not_in_it() {
        let record =
            json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 2 } });
        let done = json!("[DONE]");
        let after = |delta: Value| json!({ "choices": [{ "delta": delta }], "usage": null });
        for delta in [
            json!({ "content": "more" }),
            json!({ "role": "assistant", "reasoning_content": "more" }),
            json!({ "anything": ["more"] }),
            json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "{" } }] }),
        ] {
            for ends in 0..=2 {
                let end = vec![done.clone(); ends];
                for lost in [None, Some("reset")] {
                    let events = [&[record.clone(), after(delta.clone())][..], &end[..]].concat();
                    let usage = stream(Endpoint::Chat, &events, lost);
                    let Usage::AtLeast(certain, why) = usage else { panic!("{delta} {ends}") };
                    assert_eq!(certain, tokens(3, 2), "{delta}");
                    assert_eq!(why, lost.unwrap_or("text came after its last record"));
                }
            }
            // A later record counts it.
            let events = [record.clone(), after(delta.clone()), record.clone()];
            let usage = stream(Endpoint::Chat, &events, Some("reset"));
            assert_eq!(usage, Usage::Certain(tokens(3, 2)), "{delta}");
        }
        // What says nothing changes nothing.
        for delta in [json!({}), json!({ "role": "assistant", "content": "" }), Value::Null] {
            let usage = stream(Endpoint::Chat, &[record.clone(), after(delta)], Some("reset"));
            assert_eq!(usage, Usage::Certain(tokens(3, 2)));
        }
        let text = json!({ "choices": [{ "text": "more" }] });
        let usage = stream(Endpoint::Completions, &[record.clone(), text], Some("reset"));
        assert!(matches!(usage, Usage::AtLeast(..)));

        // A record in every chunk until the stream ends in the middle.
        let each = json!({ "choices": [{ "delta": { "content": "a" } }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 2 } });
        let usage = stream(Endpoint::Chat, &[each], None);
        let why = "the stream ended without its last record".to_owned();
        assert_eq!(usage, Usage::AtLeast(tokens(3, 2), why));

        let completed = json!({ "type": "response.completed", "response": { "usage": {
            "input_tokens": 3, "output_tokens": 2 } } });
        let delta = json!({ "type": "response.output_text.delta", "delta": "more" });
        let usage = stream(Endpoint::Responses, &[completed, delta], None);
        assert!(matches!(usage, Usage::AtLeast(..)));

        let start = json!({ "type": "message_start", "message": { "usage": { "input_tokens": 3,
            "output_tokens": 1 } } });
        let last = json!({ "type": "message_delta", "usage": { "output_tokens": 2 } });
        let text = json!({ "type": "content_block_delta", "delta": { "text": "more" } });
        let stop = json!({ "type": "message_stop" });
        for (events, lost) in [
            (vec![start.clone(), text.clone(), last.clone(), text.clone()], Some("reset")),
            (vec![start.clone(), text.clone(), last.clone(), text.clone(), stop.clone()], None),
            (vec![start.clone(), last, text, stop], None),
        ] {
            let usage = stream(Endpoint::Messages, &events, lost);
            assert!(matches!(usage, Usage::AtLeast(Tokens { llm_in: 3, llm_out: 2 }, _)));
        }
    }

    #[test]
    fn streamed_responses_are_counted_by_their_end() {
        let end = |kind: &str| {
            json!({ "type": kind, "response": { "usage": { "input_tokens": 4,
            "output_tokens": 6, "total_tokens": 10 } } })
        };
        let delta = json!({ "type": "response.output_text.delta", "delta": "hi" });
        for kind in ["response.completed", "response.incomplete", "response.failed"] {
            let events = [delta.clone(), end(kind)];
            assert_eq!(stream(Endpoint::Responses, &events, None), Usage::Certain(tokens(4, 6)));
        }
        let cut = stream(Endpoint::Responses, &[delta], Some("reset"));
        assert_eq!(cut.tokens(), tokens(0, 0));
    }

    /// The last value of each field counts, never a sum.
    #[test]
    fn anthropic_streams_are_cumulative() {
        let start = json!({ "type": "message_start", "message": { "usage": { "input_tokens": 25,
            "cache_read_input_tokens": 5, "output_tokens": 1 } } });
        let text = json!({ "type": "content_block_delta", "delta": { "type": "text_delta",
            "text": "hi" } });
        let delta = |usage: Value| json!({ "type": "message_delta", "delta": {}, "usage": usage });
        let stop = json!({ "type": "message_stop" });

        let plain =
            [start.clone(), text.clone(), delta(json!({ "output_tokens": 15 })), stop.clone()];
        assert_eq!(stream(Endpoint::Messages, &plain, None), Usage::Certain(tokens(30, 15)));
        // All counts repeated in the delta.
        let repeated = delta(json!({ "input_tokens": 25, "cache_read_input_tokens": 5,
            "output_tokens": 15 }));
        let events = [start.clone(), repeated, stop.clone()];
        assert_eq!(stream(Endpoint::Messages, &events, None), Usage::Certain(tokens(30, 15)));
        // Input corrected in the delta, also downwards, and several deltas.
        let events = [
            start.clone(),
            delta(json!({ "output_tokens": 7 })),
            delta(json!({ "input_tokens": 20, "output_tokens": 15 })),
            stop.clone(),
        ];
        assert_eq!(stream(Endpoint::Messages, &events, None), Usage::Certain(tokens(25, 15)));
        // Cut before the end: what was said until then.
        let cut = stream(Endpoint::Messages, &[start.clone(), text.clone()], Some("reset"));
        assert_eq!(cut, Usage::AtLeast(tokens(30, 1), "reset".to_owned()));
        // No record at the end.
        let events = [start.clone(), delta(Value::Null), stop.clone()];
        let missing = stream(Endpoint::Messages, &events, None);
        assert!(matches!(missing, Usage::AtLeast(Tokens { llm_in: 30, llm_out: 1 }, _)));
        // Fewer at the end than at the start.
        let events = [start.clone(), delta(json!({ "output_tokens": 0 })), stop];
        assert!(matches!(stream(Endpoint::Messages, &events, None), Usage::AtLeast(..)));
        let events = [start, json!({ "type": "error", "error": { "type": "overloaded_error" } })];
        assert!(matches!(stream(Endpoint::Messages, &events, None), Usage::AtLeast(..)));
    }

    proptest! {
        /// Whatever a record says, no more is certain than it says itself.
        #[test]
        fn no_more_is_certain_than_was_said(
            read in 0_u64..1_000, written in 0_u64..1_000, total in 0_u64..3_000, cached in 0_u64..2_000,
        ) {
            let usage = whole(Endpoint::Chat, json!({ "prompt_tokens": read,
                "completion_tokens": written, "total_tokens": total,
                "prompt_tokens_details": { "cached_tokens": cached } }));
            let certain = usage.tokens();
            prop_assert!(certain.llm_in <= read && certain.llm_out <= written);
            let agrees = read + written == total && cached <= read;
            prop_assert_eq!(matches!(usage, Usage::Certain(_)), agrees);
        }

        /// A reader never panics on events that are none.
        #[test]
        fn any_event_is_read(data in "\\PC{0,60}", endpoint in 0_usize..4) {
            let all = [Endpoint::Chat, Endpoint::Completions, Endpoint::Responses, Endpoint::Messages];
            let mut reader = Reader::new(all[endpoint]);
            reader.event(None, &data);
            reader.finish(None);
        }
    }
}
