//! Reads the JSON documents that a module brings, and names every mistake at once.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Largest `module.json` or oracle spec, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Most mistakes that are told of one document.
const MAX_MISTAKES: usize = 20;

/// A document that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}: {}", .mistakes.join("; "))]
pub struct Invalid {
    /// Path of the document inside the module.
    pub file: String,
    /// One sentence each, at most twenty.
    pub mistakes: Vec<String>,
}

impl Invalid {
    pub(crate) fn one(file: &str, mistake: impl Into<String>) -> Self {
        Self { file: file.to_owned(), mistakes: vec![mistake.into()] }
    }
}

/// A JSON schema that is compiled when it is first used.
pub(crate) struct Schema(LazyLock<Validator>);

impl Schema {
    /// A schema of our own; `compile` is [`compile`] over its text.
    pub(crate) const fn new(compile: fn() -> Validator) -> Self {
        Self(LazyLock::new(compile))
    }

    /// Parses `bytes` into `T` if the schema holds.
    pub(crate) fn parse<T: DeserializeOwned>(
        &self,
        file: &str,
        bytes: &[u8],
    ) -> Result<T, Invalid> {
        if bytes.len() > MAX_BYTES {
            return Err(Invalid::one(file, format!("it is larger than {MAX_BYTES} bytes")));
        }
        let value = serde_json::from_slice(bytes)
            .map_err(|error| Invalid::one(file, format!("it is no JSON: {error}")))?;
        let mistakes: Vec<_> = self.0.iter_errors(&value).take(MAX_MISTAKES).map(mistake).collect();
        if !mistakes.is_empty() {
            return Err(Invalid { file: file.to_owned(), mistakes });
        }
        serde_json::from_value(value).map_err(|error| Invalid::one(file, error.to_string()))
    }
}

/// Compiles a schema that stands in this crate.
pub(crate) fn compile(text: &str) -> Validator {
    let schema = serde_json::from_str(text).expect("our schemas are JSON");
    jsonschema::validator_for(&schema).expect("our schemas are schemas")
}

fn mistake(error: jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().as_str().to_owned();
    let text: String = error.to_string().chars().take(300).collect();
    if place.is_empty() { text } else { format!("{place}: {text}") }
}

/// The path `path` relative to `cwd`, both relative to a root: without `.` and `..`, or none if it
/// leaves the root. The root itself is the empty path. Lexical, which is exact where no links are.
pub fn inside(cwd: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains(['\\', '\0']) {
        return None;
    }
    let mut parts: Vec<&str> = cwd.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn a_path_that_leaves_the_root_is_nothing() {
        assert_eq!(inside("", "a/./b").as_deref(), Some("a/b"));
        assert_eq!(inside("tests", "../a").as_deref(), Some("a"));
        assert_eq!(inside("tests", "..").as_deref(), Some(""));
        for path in ["..", "a/../../b", "/etc/passwd", "a\\b", "a\0"] {
            assert_eq!(inside("", path), None, "{path:?}");
        }
    }
}
