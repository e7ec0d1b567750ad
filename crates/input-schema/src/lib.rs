//! What a module's input has to look like: the `input_schema` of its `module.json`, a JSON Schema
//! (2020-12) that is not trusted.
//!
//! A validator follows a schema wherever it leads. A reference to itself never ends, two choices
//! that each hold two choices double with every level, and an expression that backtracks takes
//! longer than a caller waits. So a schema is measured before it is compiled: nothing is fetched,
//! nothing refers to itself, and what it amounts to with every reference written out has a bound.
//! Then the work of a check is at most that size times the size of the input, which has a bound
//! too.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

mod measure;

/// Most bytes of a schema, as JSON without white space.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Most rules of a schema whose references are written out.
pub const MAX_RULES: u64 = 5_000;
/// Most characters of a `pattern`.
pub const MAX_PATTERN: usize = 512;
/// Most values of an input that is checked: as a tree, each takes some hundred bytes of memory.
pub const MAX_VALUES: u64 = 500_000;
/// Rules times values, at most: about a second of one processor.
pub const MAX_WORK: u64 = 20_000_000;
/// Most mistakes that are reported of one input.
pub const MAX_MISTAKES: usize = 20;
/// Above this work, an input that does not fit is described by its first mistake: each further one
/// costs memory, and there may be as many as there are values.
const DESCRIBED_WORK: u64 = 1_000_000;
/// Most characters of a mistake's description.
const MAX_MESSAGE: usize = 300;

/// The dialect, where a schema names one.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct Unusable {
    /// The place in the schema, as a JSON pointer (RFC 6901); empty is the whole of it.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

/// What an input does not fulfil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The place in the input: names of members and indexes of lists.
    pub path: Vec<String>,
    /// What is expected there.
    pub message: String,
}

/// A schema that is ready to check inputs.
#[derive(Debug)]
pub struct InputSchema {
    text: Value,
    validator: Validator,
    rules: u64,
}

impl InputSchema {
    /// Measures and compiles a schema.
    ///
    /// # Errors
    ///
    /// [`Unusable`], with the first reason.
    pub fn new(schema: Value) -> Result<Self, Unusable> {
        let Some(root) = schema.as_object() else {
            return Err(unusable("", "expected an object"));
        };
        if schema.to_string().len() > MAX_SCHEMA_BYTES {
            return Err(unusable("", format!("expected at most {MAX_SCHEMA_BYTES} bytes")));
        }
        check_dialect(root)?;
        let rules = measure::rules(&schema)?;

        let options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            // An automaton, whose time grows with the text alone, whatever the expression is.
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(true);
        let validator = options.build(&schema).map_err(|error| {
            unusable(error.instance_path().as_str(), shorten(&error.to_string()))
        })?;
        Ok(Self { validator, rules, text: schema })
    }

    /// The schema as it was written.
    pub const fn text(&self) -> &Value {
        &self.text
    }

    /// Everything that is wrong with an input, a JSON document; at most [`MAX_MISTAKES`].
    pub fn check(&self, input: &str) -> Vec<Mistake> {
        let whole = |message: String| vec![Mistake { path: Vec::new(), message }];
        // Every value but the first follows one of these; in strings they count as well,
        // so this is never too few.
        let starts = input.bytes().filter(|byte| b",:[{".contains(byte)).count() as u64;
        let values = starts.saturating_add(1);
        // A rule may look at every byte of a string, at many of them in one step.
        let work = self.rules.saturating_mul(values.saturating_add(input.len() as u64 / 16));
        if values > MAX_VALUES || work > MAX_WORK {
            return whole(format!(
                "is too large to be checked by the module's schema: {values} values by {} rules",
                self.rules
            ));
        }
        let value: Value = match serde_json::from_str(input) {
            Ok(value) => value,
            Err(error) => return whole(format!("expected JSON: {error}")),
        };
        if self.validator.is_valid(&value) {
            return Vec::new();
        }
        let mistakes: Vec<_> = match work <= DESCRIBED_WORK {
            true => self.validator.iter_errors(&value).take(MAX_MISTAKES).map(mistake).collect(),
            false => self.validator.validate(&value).err().into_iter().map(mistake).collect(),
        };
        if mistakes.is_empty() {
            whole("does not fit the module's schema".to_owned())
        } else {
            mistakes
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over what an iterator gives")]
fn mistake(error: jsonschema::ValidationError<'_>) -> Mistake {
    let pointer = error.instance_path().as_str();
    let unescaped = |step: &str| shorten(&step.replace("~1", "/").replace("~0", "~"));
    // Without the value: it is the caller's, and may be long or secret.
    let message = shorten(&error.masked_with("this").to_string());
    Mistake { path: pointer.split('/').skip(1).map(unescaped).collect(), message }
}

fn check_dialect(root: &Map<String, Value>) -> Result<(), Unusable> {
    match root.get("$schema") {
        None => Ok(()),
        Some(Value::String(name)) if name.trim_end_matches('#') == DIALECT => Ok(()),
        Some(_) => Err(unusable("/$schema", format!("expected {DIALECT}, or nothing"))),
    }
}

fn unusable(pointer: &str, message: impl Into<String>) -> Unusable {
    Unusable { pointer: pointer.to_owned(), message: message.into() }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= MAX_MESSAGE {
        return text.to_owned();
    }
    text.chars().take(MAX_MESSAGE).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
