//! Oracle specs: which programs of a module must repeat equal (docs/modules.md).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::module::document::{Invalid, Schema, compile, inside};
use crate::module::variation::Variation;

/// Folder inside a module that holds its own specs.
pub const DIR: &str = "oracles/specs/";
/// Most cases of one module, all its specs together.
pub const MAX_CASES: usize = 64;
const DEFAULT_ATTEMPTS: u32 = 2;
const DEFAULT_TIMEOUT_MS: u64 = 60_000;

/// The schema as it is published.
pub const SCHEMA_TEXT: &str = include_str!("../../../../spec/oracle.schema.json");

static SCHEMA: Schema = Schema::new(|| compile(SCHEMA_TEXT));

/// One spec, with all defaults filled in and all paths inside the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Id of the module it speaks of.
    pub module: String,
    /// Its cases, at least one.
    pub cases: Vec<Case>,
}

/// One program that must do the same every time.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The spec that holds it.
    pub spec: String,
    /// Its name; `case_<n>` if the spec gives none.
    pub name: String,
    /// Program, relative to the module.
    pub entry: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Working directory relative to the module; empty is the module itself.
    pub cwd: String,
    /// Variables beside those every module gets.
    pub env: BTreeMap<String, String>,
    /// How many identical attempts are compared, 2 to 10,000.
    pub attempts: u32,
    /// Wall limit of one attempt, in milliseconds.
    pub timeout_ms: u64,
    /// Removed before each attempt, relative to the module.
    pub reset: Vec<String>,
    /// What the case may depend on: never varied.
    pub pins: Vec<Variation>,
    /// What is compared.
    pub capture: Capture,
}

/// What of an attempt is compared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Capture {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// What the kernel saw it do.
    pub side_effects: bool,
    /// Files, relative to the module.
    pub files: Vec<String>,
}

impl Default for Capture {
    fn default() -> Self {
        Self { stdout: true, stderr: true, side_effects: true, files: Vec::new() }
    }
}

#[derive(Deserialize)]
struct RawSpec {
    module: String,
    cases: Vec<RawCase>,
}

#[derive(Deserialize)]
struct RawCase {
    name: Option<String>,
    entry: String,
    #[serde(default)]
    args: Vec<Value>,
    repeat: Option<u32>,
    runs: Option<u32>,
    #[serde(rename = "timeoutMs")]
    timeout: Option<u64>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    cwd: String,
    #[serde(default)]
    reset: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, Value>,
    #[serde(default)]
    pins: Vec<Variation>,
    #[serde(default)]
    capture: Capture,
}

/// Reads the spec with the name `file`.
///
/// # Errors
/// [`Invalid`] with everything the schema refuses, else with every path that leaves the module.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Spec, Invalid> {
    let raw: RawSpec = SCHEMA.parse(file, bytes)?;
    let mut mistakes = Vec::new();
    let cases: Vec<_> = raw
        .cases
        .into_iter()
        .enumerate()
        .map(|(n, case)| case.checked(file, n, &mut mistakes))
        .collect();
    for (n, case) in cases.iter().enumerate() {
        if cases[..n].iter().any(|earlier| earlier.name == case.name) {
            mistakes.push(format!("/cases/{n}/name: {:?} is used twice", case.name));
        }
    }
    if mistakes.is_empty() {
        return Ok(Spec { module: raw.module, cases });
    }
    Err(Invalid { file: file.to_owned(), mistakes })
}

impl RawCase {
    fn checked(self, file: &str, n: usize, mistakes: &mut Vec<String>) -> Case {
        // Two names of one member that disagree would leave open which of them holds.
        for (both, first, second) in [
            (self.repeat.is_some() && self.runs.is_some(), "repeat", "runs"),
            (self.timeout.is_some() && self.timeout_ms.is_some(), "timeoutMs", "timeout_ms"),
        ] {
            if both {
                mistakes.push(format!(
                    "/cases/{n}: {first:?} and {second:?} mean the same: expected one of them"
                ));
            }
        }
        let mut within = |cwd: &str, member: &str, path: String, root_allowed: bool| {
            let found = inside(cwd, &path).filter(|found| root_allowed || !found.is_empty());
            found.unwrap_or_else(|| {
                mistakes.push(format!("/cases/{n}/{member}: {path:?} lies outside the module"));
                String::new()
            })
        };
        let cwd = within("", "cwd", self.cwd, true);
        let entry = within("", "entry", self.entry, false);
        let reset = self.reset.into_iter().map(|path| within(&cwd, "reset", path, false)).collect();
        let mut capture = self.capture;
        for file in &mut capture.files {
            *file = within(&cwd, "capture/files", std::mem::take(file), false);
        }
        Case {
            spec: file.to_owned(),
            name: self.name.unwrap_or_else(|| format!("case_{}", n + 1)),
            entry,
            args: self.args.iter().map(text).collect(),
            cwd,
            env: self.env.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            attempts: self.repeat.or(self.runs).unwrap_or(DEFAULT_ATTEMPTS),
            timeout_ms: self.timeout.or(self.timeout_ms).unwrap_or(DEFAULT_TIMEOUT_MS),
            reset,
            pins: self.pins,
            capture,
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_filled_in() {
        let spec = parse(
            "s",
            br#"{"module":"a.b","cases":[{"entry":"m.mjs","cwd":"tests","args":[1,true],
            "runs":3,"reset":["out"],"capture":{"files":["../x"],"stdout":false}}]}"#,
        )
        .unwrap();
        let case = &spec.cases[0];
        assert_eq!((case.name.as_str(), case.attempts, case.timeout_ms), ("case_1", 3, 60_000));
        assert_eq!(case.args, ["1", "true"]);
        assert_eq!(case.reset, ["tests/out"]);
        assert_eq!(case.capture.files, ["x"]);
        assert!(!case.capture.stdout && case.capture.stderr && case.capture.side_effects);
    }

    #[test]
    fn a_whole_number_may_have_a_fraction_of_zero() {
        let text = br#"{"module":"a.b","cases":[{"entry":"m.mjs","repeat":3.0}]}"#;
        assert_eq!(parse("s", text).unwrap().cases[0].attempts, 3);
        let text = br#"{"module":"a.b","cases":[{"entry":"m.mjs","repeat":3.5}]}"#;
        assert!(parse("s", text).unwrap_err().to_string().contains("/cases/0/repeat"));
    }

    #[test]
    fn a_member_that_appears_twice_is_refused() {
        let text = br#"{"module":"a.b","cases":[{"entry":"m.mjs","repeat":3,"repeat":4}]}"#;
        assert!(parse("s", text).unwrap_err().to_string().contains("repeat"));
    }

    #[test]
    fn one_repetition_is_refused_not_raised() {
        let error =
            parse("s", br#"{"module":"a.b","cases":[{"entry":"m.mjs","repeat":1}]}"#).unwrap_err();
        assert!(error.to_string().contains("/cases/0/repeat"), "{error}");
    }

    #[test]
    fn every_path_outside_is_named() {
        let error = parse(
            "s",
            br#"{"module":"a.b","cases":[{"entry":"../m","cwd":"/","reset":["../../x"],
            "capture":{"files":["/etc/passwd"]}}, {"entry":"m","name":"case_1"},
                {"entry":"m","name":"case_1"}]}"#,
        )
        .unwrap_err();
        assert_eq!(error.mistakes.len(), 6, "{:?}", error.mistakes);
    }
}
