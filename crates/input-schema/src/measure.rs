//! How much a schema asks for, with every reference written out.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{MAX_PATTERN, MAX_RULES, Unusable, unusable};

/// Rules in rules, at most: readers go as deep, and each level takes room on the stack.
const MAX_DEPTH: usize = 48;

/// Of an `$id`.
const ROOT_ONLY: &str = "is supported at the root only";

/// Keywords with one schema.
const ONE: [&str; 12] = [
    "items",
    "additionalProperties",
    "propertyNames",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
    "additionalItems",
];
/// Keywords with a list of schemas.
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords with schemas by name that are applied at their own place.
const NAMED: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];
/// Keywords with schemas by name that only references lead to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// A validator looks at what is below these more than once: first whether it fits, then why not.
const REPEATED: [&str; 7] =
    ["anyOf", "oneOf", "not", "if", "contains", "unevaluatedItems", "unevaluatedProperties"];
/// How often, at most.
const REPETITIONS: u64 = 3;
/// Keywords that lead to another place than `$ref` does, which is not followed here.
const UNSUPPORTED: [&str; 8] = [
    "$dynamicRef",
    "$dynamicAnchor",
    "$anchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "$vocabulary",
    "dependencies",
    "$dynamicref",
];

/// Counts the rules of `schema`.
pub(super) fn rules(schema: &Value) -> Result<u64, Unusable> {
    let mut walk = Walk { schema, known: HashMap::new(), open: Vec::new() };
    let applied = walk.size("")?.rules;
    // Definitions that nothing refers to are compiled as well.
    let mut defined: u64 = 0;
    for keyword in DEFINITIONS {
        let names = schema.get(keyword).and_then(Value::as_object).into_iter().flat_map(Map::keys);
        for name in names {
            let place = format!("/{keyword}/{}", escape(name));
            defined = defined.saturating_add(walk.size(&place)?.rules);
        }
    }
    if applied > MAX_RULES || defined > MAX_RULES {
        let text =
            format!("amounts to more than {MAX_RULES} rules once its references are written out");
        return Err(unusable("", text));
    }
    Ok(applied)
}

/// What was measured at a place.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// The rules there and below.
    rules: u64,
    /// How many of them are in each other, with the one there.
    depth: usize,
}

impl Size {
    const ONE: Self = Self { rules: 1, depth: 1 };

    /// Of something that is no rule in this one.
    const fn flat(rules: u64) -> Self {
        Self { rules, depth: 0 }
    }

    /// Of both beside each other.
    fn beside(self, other: Self) -> Self {
        Self { rules: self.rules.saturating_add(other.rules), depth: self.depth.max(other.depth) }
    }
}

struct Walk<'a> {
    schema: &'a Value,
    /// What was measured so far, by the place in the schema.
    known: HashMap<String, Size>,
    /// The way here: a place that is on it already refers to itself.
    open: Vec<String>,
}

impl Walk<'_> {
    /// The rules at `place` and below.
    fn size(&mut self, place: &str) -> Result<Size, Unusable> {
        // A place that is known is as deep wherever it is reached from.
        if let Some(known) = self.known.get(place).copied() {
            return match self.open.len() + known.depth > MAX_DEPTH {
                true => Err(too_deep(place)),
                false => Ok(known),
            };
        }
        if self.open.iter().any(|open| open == place) {
            return Err(unusable(place, "refers to itself, which is not supported"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.check_base(place)?;
        let schema = self.schema;
        let rule = match schema.pointer(place) {
            Some(Value::Object(rule)) => rule,
            Some(Value::Bool(_)) => return Ok(Size::ONE),
            Some(_) => return Err(unusable(place, "expected a schema: an object, true or false")),
            None => return Err(unusable(place, "is referred to and is not there")),
        };
        self.open.push(place.to_owned());
        let size = self.object(place, rule)?;
        self.open.pop();
        self.known.insert(place.to_owned(), size);
        Ok(size)
    }

    /// A rule with an `$id` is the root of the references below it (JSON Schema core, 8.2.1). Here
    /// all start at the schema's own root, so that no way may lead through one.
    fn check_base(&self, place: &str) -> Result<(), Unusable> {
        let above = place.match_indices('/').skip(1).map(|(end, _)| &place[..end]);
        for ancestor in above {
            let rule = self.schema.pointer(ancestor);
            if rule.and_then(|rule| rule.get("$id")).is_some_and(Value::is_string) {
                return Err(unusable(&format!("{ancestor}/$id"), ROOT_ONLY));
            }
        }
        Ok(())
    }

    fn object(&mut self, place: &str, rule: &Map<String, Value>) -> Result<Size, Unusable> {
        let mut size = Size::flat(1);
        for (keyword, value) in rule {
            let keyword = keyword.as_str();
            let here = format!("{place}/{}", escape(keyword));
            let below = match (keyword, value) {
                ("$ref", value) => self.size(&target(&here, value)?)?,
                ("pattern", Value::String(pattern)) => {
                    check_pattern(&here, pattern)?;
                    Size::flat(1)
                }
                ("$id", _) if !place.is_empty() => return Err(unusable(&here, ROOT_ONLY)),
                (keyword, _) if UNSUPPORTED.contains(&keyword) => {
                    return Err(unusable(&here, format!("{keyword} is not supported")));
                }
                (keyword, _) if ONE.contains(&keyword) => self.size(&here)?,
                (keyword, Value::Array(entries)) if LIST.contains(&keyword) => {
                    self.sum((0..entries.len()).map(|index| format!("{here}/{index}")))?
                }
                (keyword, Value::Object(entries)) if NAMED.contains(&keyword) => {
                    if keyword == "patternProperties" {
                        entries.keys().try_for_each(|pattern| check_pattern(&here, pattern))?;
                    }
                    self.sum(entries.keys().map(|name| format!("{here}/{}", escape(name))))?
                }
                (keyword, _) if DEFINITIONS.contains(&keyword) => Size::flat(0),
                (_, value) => Size::flat(values(value)),
            };
            let times = if REPEATED.contains(&keyword) { REPETITIONS } else { 1 };
            size = size.beside(Size { rules: below.rules.saturating_mul(times), ..below });
        }
        Ok(Size { depth: size.depth + 1, ..size })
    }

    fn sum(&mut self, places: impl Iterator<Item = String>) -> Result<Size, Unusable> {
        let mut sum = Size::flat(0);
        for place in places {
            sum = sum.beside(self.size(&place)?);
        }
        Ok(sum)
    }
}

fn too_deep(place: &str) -> Unusable {
    unusable(place, format!("expected at most {MAX_DEPTH} rules in each other"))
}

/// The place that a reference names: one in this document, since nothing is fetched.
fn target(place: &str, reference: &Value) -> Result<String, Unusable> {
    match reference.as_str().and_then(|text| text.strip_prefix('#')) {
        Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
            if pointer.contains('%') {
                return Err(unusable(place, "expected a reference without percent escapes"));
            }
            Ok(pointer.to_owned())
        }
        _ => {
            Err(unusable(place, "expected a reference inside of this schema, such as #/$defs/name"))
        }
    }
}

fn check_pattern(place: &str, pattern: &str) -> Result<(), Unusable> {
    if pattern.chars().count() > MAX_PATTERN {
        return Err(unusable(place, format!("expected at most {MAX_PATTERN} characters")));
    }
    Ok(())
}

/// Values of a keyword that holds no schema: the choices of an `enum`, names that are `required`.
fn values(value: &Value) -> u64 {
    match value {
        Value::Array(entries) => entries.iter().map(values).fold(1, u64::saturating_add),
        Value::Object(entries) => entries.values().map(values).fold(1, u64::saturating_add),
        _ => 1,
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
