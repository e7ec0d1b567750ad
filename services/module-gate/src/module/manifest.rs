//! `module.json`: what a module is, how it is started and what it may do (docs/modules.md).

use std::collections::BTreeMap;

use input_schema::InputSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::module::document::{Invalid, Schema, compile, inside};
use crate::module::upstream::{self, Upstream};

/// Name of the document in the module's folder.
pub const FILE: &str = "module.json";

/// The schema as it is published.
pub const SCHEMA_TEXT: &str = include_str!("../../../../spec/module.schema.json");

static SCHEMA: Schema = Schema::new(|| compile(SCHEMA_TEXT));

/// The members that decide something. The others are for people and are only checked for form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// The module's name.
    pub id: String,
    /// Its semantic version.
    pub version: String,
    /// Path of the program that a run starts, inside the module.
    pub entry: Option<String>,
    /// Ports that others may use.
    pub provides: Vec<String>,
    /// Ports that it needs.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Sentences that always hold.
    #[serde(default)]
    pub invariants: Vec<String>,
    /// What shows that it does what it says.
    #[serde(default)]
    pub evidence: Vec<Value>,
    /// Where a port's function is, by port.
    #[serde(default)]
    pub port_exports: BTreeMap<String, PortExport>,
    /// Declared side effects, in the vocabulary of the guard.
    #[serde(default)]
    pub side_effects: Vec<String>,
    /// Services that it reaches by way of the gate's proxy.
    #[serde(default)]
    pub upstreams: Vec<Upstream>,
    /// Declared tests.
    #[serde(default)]
    pub tests: Vec<Test>,
    /// What its input has to look like, if it says so.
    pub input_schema: Option<Value>,
}

/// Where a port's function is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PortExport {
    /// The file, inside the module.
    pub file: String,
    /// The name under which it is exported.
    pub export: String,
}

/// One declared test.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Test {
    /// A program of the module.
    Script(String),
    /// A description that the module's `tests/runner.mjs` runs.
    Described(String),
}

impl Test {
    /// Path of the program or description.
    pub fn path(&self) -> &str {
        match self {
            Self::Script(path) | Self::Described(path) => path,
        }
    }
}

impl TryFrom<String> for Test {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (make, path): (fn(String) -> Self, &str) = match text.strip_prefix("script:") {
            Some(path) => (Self::Script, path),
            None => (Self::Described, &text),
        };
        let path = inside("", path).filter(|path| !path.is_empty());
        path.map(make).ok_or_else(|| format!("the test {text:?} lies outside the module"))
    }
}

/// Reads `module.json`.
///
/// # Errors
/// [`Invalid`] with everything the schema refuses, or paths that leave the module.
pub fn parse(bytes: &[u8]) -> Result<Manifest, Invalid> {
    let mut manifest: Manifest = SCHEMA.parse(FILE, bytes)?;
    if let Some(entry) = &mut manifest.entry {
        *entry = inside("", entry).filter(|path| !path.is_empty()).ok_or_else(|| {
            Invalid::one(FILE, format!("/entry: {entry:?} lies outside the module"))
        })?;
    }
    if let Some(schema) = &manifest.input_schema
        && let Err(error) = InputSchema::new(schema.clone())
    {
        let text = format!("/input_schema{}: {}", error.pointer, error.message);
        return Err(Invalid::one(FILE, text));
    }
    let mistakes = upstream::mistakes(&manifest.upstreams, &manifest.side_effects);
    if !mistakes.is_empty() {
        return Err(Invalid { file: FILE.to_owned(), mistakes });
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"id":"a.b","version":"1.0.0","summary":"abc","entry":"./main.mjs",
        "provides":["XPort@1"],"tests":["script:t/a.mjs","t/b.json"],"side_effects":["FS:write"]}"#;

    #[test]
    fn a_good_manifest_is_read() {
        let manifest = parse(GOOD.as_bytes()).unwrap();
        assert_eq!(manifest.entry.as_deref(), Some("main.mjs"));
        let tests =
            vec![Test::Script("t/a.mjs".to_owned()), Test::Described("t/b.json".to_owned())];
        assert_eq!(manifest.tests, tests);
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let bad = r#"{"id":"A","version":"1","summary":"abc","provides":[],
            "side_effects":["Disk"],"more":1}"#;
        let Invalid { mistakes, .. } = parse(bad.as_bytes()).unwrap_err();
        for place in ["/id", "/version", "/provides", "/side_effects/0", "more"] {
            assert!(mistakes.iter().any(|m| m.contains(place)), "{place} in {mistakes:?}");
        }
    }

    #[test]
    fn an_input_schema_that_no_run_could_be_checked_with_is_refused() {
        let with = |schema: &str| {
            GOOD.replacen('{', &format!(r#"{{"input_schema":{schema},"#), 1).into_bytes()
        };
        let kept = parse(&with(r#"{"type":"object"}"#)).unwrap().input_schema;
        assert_eq!(kept, Some(serde_json::json!({ "type": "object" })));
        for (schema, place) in [
            (r##"{"items":{"$ref":"#"}}"##, "/input_schema: "),
            (r#"{"$ref":"https://example.com"}"#, "/input_schema/$ref: "),
            ("true", "/input_schema: "),
        ] {
            let Invalid { mistakes, .. } = parse(&with(schema)).unwrap_err();
            assert!(mistakes[0].starts_with(place), "{mistakes:?}");
        }
    }

    #[test]
    fn paths_outside_are_refused() {
        for (from, to) in [("./main.mjs", "../main.mjs"), ("t/a.mjs", "/t/a.mjs")] {
            let error = parse(GOOD.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.to_string().contains("outside the module"), "{error}");
        }
    }
}
