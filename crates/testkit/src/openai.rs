//! Answers in OpenAI's form, as many servers give them.

use serde_json::{Value, json};

/// A whole answer of a chat with its record.
pub fn completion(read: u64, written: u64) -> Value {
    json!({ "id": "1", "choices": [{ "message": { "content": "hi" } }],
        "usage": { "prompt_tokens": read, "completion_tokens": written,
            "total_tokens": read + written } })
}

/// The event of a stream that has a piece of text.
pub fn delta(text: &str) -> String {
    format!("data: {}", json!({ "choices": [{ "delta": { "content": text } }], "usage": null }))
}

/// The event of a stream that has its record.
pub fn usage(read: u64, written: u64) -> String {
    let usage = json!({ "prompt_tokens": read, "completion_tokens": written,
        "total_tokens": read + written });
    format!("data: {}", json!({ "choices": [], "usage": usage }))
}
