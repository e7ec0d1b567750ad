//! Reads the JSON documents that a module brings, and names every mistake at once.
//!
//! Comments, trailing commas and a byte order mark are accepted. A mistake names its place as a
//! JSON pointer, what was expected there, and the nearest name that is allowed.

use std::sync::LazyLock;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

/// Largest `module.json`, oracle spec or compose plan, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Most mistakes that are reported of one document.
const MAX_MISTAKES: usize = 100;
/// Most characters of a value that a message repeats.
const MAX_SHOWN: usize = 60;

/// A document that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}: {}", .mistakes.join("; "))]
pub struct Invalid {
    /// Path of the document inside the module.
    pub file: String,
    /// One sentence each, at most a hundred.
    pub mistakes: Vec<String>,
}

impl Invalid {
    pub(crate) fn one(file: &str, mistake: impl Into<String>) -> Self {
        Self { file: file.to_owned(), mistakes: vec![mistake.into()] }
    }
}

/// A JSON schema that is compiled when it is first used.
pub(crate) struct Schema {
    compiled: LazyLock<Compiled>,
    /// Whether mistakes repeat the values that they are about.
    repeats_values: bool,
}

/// The schema's text is kept beside the validator: messages are made from it.
pub(crate) struct Compiled {
    text: Value,
    validator: Validator,
}

impl Schema {
    /// A schema of our own; `compile` is [`compile`] over its text.
    pub(crate) const fn new(compile: fn() -> Compiled) -> Self {
        Self { compiled: LazyLock::new(compile), repeats_values: true }
    }

    /// A schema of documents any value of which may be, or hold, a secret (R9).
    pub(crate) const fn of_secrets(compile: fn() -> Compiled) -> Self {
        Self { compiled: LazyLock::new(compile), repeats_values: false }
    }

    /// Parses `bytes` into `T` if the schema holds.
    pub(crate) fn parse<T: DeserializeOwned>(
        &self,
        file: &str,
        bytes: &[u8],
    ) -> Result<T, Invalid> {
        let value = read_json(file, bytes)?;
        let mistakes = self.mistakes(&value);
        if !mistakes.is_empty() {
            return Err(Invalid { file: file.to_owned(), mistakes });
        }
        serde_json::from_value(value).map_err(|error| {
            // What reads it may repeat a value.
            let text = if self.repeats_values { error.to_string() } else { "unusable".to_owned() };
            Invalid::one(file, text)
        })
    }

    /// Everything that the schema holds against `value`, in the order of the document.
    pub(crate) fn mistakes(&self, value: &Value) -> Vec<String> {
        let Compiled { text, validator } = &*self.compiled;
        let errors = validator.iter_errors(value);
        let describe = |error| describe_error(text, &error, self.repeats_values);
        let mut mistakes: Vec<String> = errors.flat_map(describe).take(MAX_MISTAKES).collect();
        // One fault may break several rules with the same sentence.
        mistakes.dedup();
        mistakes
    }
}

/// Compiles a schema of this repository.
pub(crate) fn compile(text: &str) -> Compiled {
    let text: Value = serde_json::from_str(text).expect("our schemas are JSON");
    let validator = jsonschema::validator_for(&text).expect("our schemas are schemas");
    Compiled { text, validator }
}

/// Reads JSON that may hold comments, trailing commas and a byte order mark.
///
/// # Errors
/// [`Invalid`] with line and column of the first mistake.
pub(crate) fn read_json(file: &str, bytes: &[u8]) -> Result<Value, Invalid> {
    if bytes.len() > MAX_BYTES {
        return Err(Invalid::one(file, format!("expected at most {MAX_BYTES} bytes")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut text = std::str::from_utf8(bytes)
        .map_err(|error| Invalid::one(file, format!("expected UTF-8: {error}")))?
        .to_owned();

    // Comments become spaces, so that lines and columns of later mistakes stay true.
    json_strip_comments::strip(&mut text)
        .map_err(|error| Invalid::one(file, format!("expected JSON: {error}")))?;
    let mut value = wire::json::parse(text.as_bytes())
        .map_err(|error| Invalid::one(file, format!("expected JSON: {error}")))?;
    whole_numbers(&mut value);
    Ok(value)
}

/// A whole number may be written with a fraction of zero (JSON Schema, "integer").
fn whole_numbers(value: &mut Value) {
    const LARGEST: f64 = wire::json::MAX_INTEGER as f64;
    match value {
        Value::Number(number) if !number.is_i64() && !number.is_u64() => {
            let whole = number.as_f64().filter(|at| at.fract() == 0.0 && at.abs() <= LARGEST);
            if let Some(whole) = whole {
                *value = Value::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// One sentence for each mistake that the validator's error represents.
fn describe_error(
    schema: &Value,
    error: &jsonschema::ValidationError<'_>,
    repeats_values: bool,
) -> Vec<String> {
    let place = error.instance_path().as_str().to_owned();
    let here = if place.is_empty() { "/".to_owned() } else { place.clone() };
    let rule = subschema(schema, &place);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let allowed = member_names(schema, rule);
            unexpected
                .iter()
                .map(|name| {
                    let hint = hint(name, &allowed);
                    format!(
                        "{place}/{name}: unknown member{hint}; expected one of {}",
                        allowed.join(", ")
                    )
                })
                .collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let expected = rule.and_then(|rule| rule["properties"].get(name));
            let expected = expected.map_or_else(String::new, |rule| {
                format!(": expected {}", expected_text(schema, rule))
            });
            vec![format!("{here}: member {name:?} is missing{expected}")]
        }
        ValidationErrorKind::PropertyNames { error } => {
            let name = shorten(&error.instance().to_string());
            let rule = rule.map(|rule| &rule["propertyNames"]);
            let expected = rule.map_or("another".to_owned(), |rule| expected_text(schema, rule));
            vec![format!("{here}: {name} is no name of a member: expected {expected}")]
        }
        _ if !repeats_values => {
            let expected =
                rule.map_or("another value".to_owned(), |rule| expected_text(schema, rule));
            vec![format!("{here}: expected {expected}")]
        }
        _ => {
            let found = shorten(&error.instance().to_string());
            let Some(rule) = rule else { return vec![format!("{here}: {error}")] };
            let allowed = choices(rule);
            let hint =
                error.instance().as_str().map_or_else(String::new, |word| hint(word, &allowed));
            vec![format!("{here}: expected {}, found {found}{hint}", expected_text(schema, rule))]
        }
    }
}

/// The part of the schema that rules the value at `pointer`, with references followed. The
/// validator's own path is no help: where it goes through a reference, it does not name the members
/// that stand beside.
fn subschema<'s>(schema: &'s Value, pointer: &str) -> Option<&'s Value> {
    let mut rule = follow(schema, schema);
    for part in pointer.split('/').skip(1) {
        // RFC 6901: `~1` first, or `~01` would become a slash.
        let name = part.replace("~1", "/").replace("~0", "~");
        let next = match rule["properties"].get(&name) {
            Some(next) => next,
            None if part.parse::<usize>().is_ok() && rule.get("items").is_some() => &rule["items"],
            None => rule.get("additionalProperties").filter(|next| next.is_object())?,
        };
        rule = follow(schema, next);
    }
    Some(rule)
}

fn follow<'s>(schema: &'s Value, rule: &'s Value) -> &'s Value {
    let target = rule["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| schema.pointer(pointer)).unwrap_or(rule)
}

fn member_names<'s>(schema: &'s Value, rule: Option<&'s Value>) -> Vec<&'s str> {
    let members = rule.and_then(|rule| follow(schema, rule)["properties"].as_object());
    members.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn choices(rule: &Value) -> Vec<&str> {
    rule["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What the rule expects, in words.
fn expected_text(schema: &Value, rule: &Value) -> String {
    let rule = follow(schema, rule);
    let words = choices(rule);
    if !words.is_empty() {
        return format!("one of {}", words.join(", "));
    }
    if let Some(value) = rule.get("const") {
        return value.to_string();
    }
    let number = |name: &str| rule[name].as_u64();
    let kind = |name: &str| match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "an object",
        _ => "a value",
    };
    let kinds: Vec<&str> = match &rule["type"] {
        Value::String(name) => vec![kind(name)],
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(kind).collect(),
        _ => vec!["a value"],
    };
    let mut text = kinds.join(" or ");
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => text.push_str(&format!(" from {least} to {most}")),
        (Some(least), None) => text.push_str(&format!(" of at least {least}")),
        _ => {}
    }
    match (number("minLength"), number("maxLength")) {
        (Some(least), Some(most)) => text.push_str(&format!(" of {least} to {most} characters")),
        (Some(least), None) => text.push_str(&format!(" of at least {least} characters")),
        (None, Some(most)) => text.push_str(&format!(" of at most {most} characters")),
        _ => {}
    }
    match (number("minItems"), number("maxItems")) {
        (Some(least), Some(most)) => text.push_str(&format!(" of {least} to {most} entries")),
        (Some(least), None) => text.push_str(&format!(" of at least {least} entries")),
        (None, Some(most)) => text.push_str(&format!(" of at most {most} entries")),
        _ => {}
    }
    if let Some(most) = number("maxProperties") {
        text.push_str(&format!(" of at most {most} members"));
    }
    if rule["uniqueItems"] == true {
        text.push_str(" without repetition");
    }
    if let Some(pattern) = rule["pattern"].as_str() {
        text.push_str(&format!(" that matches {pattern}"));
    }
    text
}

/// `; did you mean "x"?` where an allowed name is near.
fn hint(found: &str, allowed: &[&str]) -> String {
    nearest(found, allowed).map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// The allowed name that is nearest to what was found, if any is near enough to be meant.
pub fn nearest<'n>(found: &str, allowed: &[&'n str]) -> Option<&'n str> {
    let lower = found.to_lowercase();
    let distance = |name: &str| {
        // `timeout` for `timeoutMs`, `FS:writes` for `FS:write`: a common beginning counts as near.
        let name = name.to_lowercase();
        let begins = name.len() >= 3
            && lower.len() >= 3
            && (name.starts_with(&lower) || lower.starts_with(&name));
        let edits = strsim::damerau_levenshtein(&lower, &name);

        // Of two names that count as near, the one with fewer edits is meant.
        (if begins { 1 } else { edits }, edits)
    };

    // Every third letter may be wrong, and two in a short name.
    let most = (found.chars().count() / 3).max(2);
    let best = allowed.iter().map(|name| (distance(name), *name)).min_by_key(|(far, _)| *far);
    best.filter(|((far, _), _)| *far <= most).map(|(_, name)| name)
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text.to_owned();
    }
    text.chars().take(MAX_SHOWN).chain(['…']).collect()
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
    use super::*;

    #[test]
    fn comments_trailing_commas_and_a_byte_order_mark_are_accepted() {
        let text = "\u{feff}{\n  // one\n  \"a\": \"//no\", /* two */\n}";
        assert_eq!(read_json("f", text.as_bytes()).unwrap()["a"], "//no");
        let error = read_json("f", b"{ // a\n  \"x\": }").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn the_nearest_name_is_one_that_may_have_been_meant() {
        let names = ["repeat", "reset", "timeoutMs", "FS:write", "Process:shell"];
        assert_eq!(nearest("repaet", &names), Some("repeat"));
        assert_eq!(nearest("timeout", &names), Some("timeoutMs"));
        assert_eq!(nearest("fs:Write", &names), Some("FS:write"));
        assert_eq!(nearest("colour", &names), None);
    }

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
