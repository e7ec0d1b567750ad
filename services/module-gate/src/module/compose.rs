//! A compose plan: which modules ship together, and which of them provides what the others require.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::digest::Digest;

use crate::module::document::{Invalid, Schema, compile, read_json};
use crate::module::manifest::Manifest;

/// The schema as it is published.
pub const SCHEMA_TEXT: &str = include_str!("../../../../spec/compose.schema.json");

static SCHEMA: Schema = Schema::new(|| compile(SCHEMA_TEXT));

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The plan's name in events and summaries.
    pub run_id: String,
    /// The modules, at least one.
    pub modules: Vec<PlannedModule>,
    /// Which port of which module leads to which other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wiring: Vec<Wire>,
    /// Programs between two ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub glue: Vec<Value>,
    /// Rules: a text, or `{"preferred_providers": {port: module}}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Value>,
}

/// A module of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedModule {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
}

/// A connection between two ports, each `<module>:<Port>` or `orchestrator:<Port>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wire {
    /// Who provides.
    pub from: String,
    /// Who requires.
    pub to: String,
}

/// What overrides changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Ids of modules that were not in the plan.
    pub added: Vec<String>,
    /// Ids of modules whose version changed.
    pub replaced: Vec<String>,
    /// Ids of modules that were taken out.
    pub removed: Vec<String>,
    /// Constraints that were taken out.
    pub removed_constraints: Vec<String>,
    /// Members of the file that changed something.
    pub sections: Vec<String>,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// [`Invalid`] with everything that the schema refuses, and ids that occur twice.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Invalid> {
        let plan: Self = SCHEMA.parse(file, bytes)?;
        let mut mistakes = Vec::new();
        for (n, module) in plan.modules.iter().enumerate() {
            if plan.modules[..n].iter().any(|earlier| earlier.id == module.id) {
                mistakes.push(format!("/modules/{n}/id: {:?} occurs twice", module.id));
            }
        }
        if mistakes.is_empty() {
            Ok(plan)
        } else {
            Err(Invalid { file: file.to_owned(), mistakes })
        }
    }

    /// SHA-256 of the plan's canonical JSON (RFC 8785), whatever the order of members in its file.
    pub fn digest(&self) -> Digest {
        let value = serde_json::to_value(self).expect("plain values are JSON");
        wire::json::digest(&value).expect("plain values have a canonical form")
    }

    /// Applies a file of overrides: a module, wire or constraint is added or replaced; `"-id"`,
    /// `"remove": true` and `"-text"` remove one.
    ///
    /// # Errors
    /// [`Invalid`] with everything that has another form.
    pub fn apply(&mut self, file: &str, bytes: &[u8]) -> Result<Applied, Invalid> {
        let value = read_json(file, bytes)?;
        let mut applied = Applied::default();
        let mut mistakes = Vec::new();
        let Some(members) = value.as_object() else {
            return Err(Invalid::one(
                file,
                "/: expected an object with modules, wiring or constraints",
            ));
        };
        for (member, entries) in members {
            let Some(entries) = entries.as_array() else {
                mistakes.push(format!("/{member}: expected a list"));
                continue;
            };
            for (n, entry) in entries.iter().enumerate() {
                let place = format!("/{member}/{n}");
                let done = match member.as_str() {
                    "modules" => self.override_module(entry, &mut applied),
                    "wiring" => self.override_wire(entry),
                    "constraints" => self.override_constraint(entry, &mut applied),
                    _ => Err("unknown member: expected modules, wiring or constraints"),
                };
                mistakes.extend(done.err().map(|expected| format!("{place}: {expected}")));
            }
            if !entries.is_empty() {
                applied.sections.push(member.clone());
            }
        }
        if !mistakes.is_empty() {
            return Err(Invalid { file: file.to_owned(), mistakes });
        }

        // In one order whatever the file's: the plan's digest goes over it.
        self.modules.sort_by(|a, b| a.id.cmp(&b.id));
        self.wiring.sort();
        if self.modules.is_empty() {
            return Err(Invalid::one(file, "/modules: no module is left in the plan"));
        }
        Ok(applied)
    }

    fn override_module(
        &mut self,
        entry: &Value,
        applied: &mut Applied,
    ) -> Result<(), &'static str> {
        if let Some(id) = entry.as_str().and_then(|text| text.strip_prefix('-')) {
            let before = self.modules.len();
            self.modules.retain(|module| module.id != id);
            if self.modules.len() == before {
                return Err("no module of the plan has this id");
            }
            applied.removed.push(id.to_owned());
            return Ok(());
        }
        let module: PlannedModule = serde_json::from_value(entry.clone())
            .map_err(|_| "expected {\"id\", \"version\"}, or \"-id\" to remove one")?;
        match self.modules.iter_mut().find(|known| known.id == module.id) {
            Some(known) => {
                applied.replaced.push(module.id.clone());
                *known = module;
            }
            None => {
                applied.added.push(module.id.clone());
                self.modules.push(module);
            }
        }
        Ok(())
    }

    fn override_wire(&mut self, entry: &Value) -> Result<(), &'static str> {
        let wire: Wire = serde_json::from_value(entry.clone())
            .map_err(|_| "expected {\"from\", \"to\"}, with \"remove\": true to remove one")?;
        // Removed first, so that a wire that was there already is there once.
        self.wiring.retain(|known| *known != wire);
        if entry["remove"] != true {
            self.wiring.push(wire);
        }
        Ok(())
    }

    fn override_constraint(
        &mut self,
        entry: &Value,
        applied: &mut Applied,
    ) -> Result<(), &'static str> {
        match entry.as_str() {
            Some(text) if text.starts_with('-') => {
                let text = &text[1..];
                self.constraints.retain(|known| known != text);
                applied.removed_constraints.push(text.to_owned());
            }
            Some(_) => self.constraints.push(entry.clone()),
            None if entry.is_object() => self.constraints.push(entry.clone()),
            None => return Err("expected a text, or \"-text\" to remove one"),
        }
        Ok(())
    }

    /// The modules that the plan prefers, by port.
    fn preferred(&self) -> BTreeMap<&str, &str> {
        let preferred =
            self.constraints.iter().filter_map(|one| one["preferred_providers"].as_object());
        preferred
            .flatten()
            .filter_map(|(port, module)| Some((port.as_str(), module.as_str()?)))
            .collect()
    }
}

/// Why a module is the provider of a port, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The plan's wiring names it.
    Wired,
    /// A constraint of the plan prefers it.
    Preferred,
    /// It is the only one.
    Sole,
    /// Another one was chosen.
    Inactive,
}

/// One provider of one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provider {
    /// The port with its major version.
    pub port: String,
    /// The module.
    pub module: String,
    /// Why it is the provider, or is not.
    pub reason: Reason,
}

/// What is wrong with a plan as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanMistake {
    /// The code.
    pub code: &'static str,
    /// The module it is about, if one is.
    pub module: Option<String>,
    /// In words.
    pub error: String,
}

impl PlanMistake {
    fn new(code: &'static str, module: Option<&str>, error: String) -> Self {
        Self { code, module: module.map(str::to_owned), error }
    }
}

/// Chooses a provider for every port, and finds requirements that no module meets.
pub fn analyse(plan: &Plan, manifests: &[Manifest]) -> (Vec<Provider>, Vec<PlanMistake>) {
    let mut providers = Vec::new();
    let mut mistakes = wiring_mistakes(plan, manifests);
    let mut by_port: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for manifest in manifests {
        for port in &manifest.provides {
            by_port.entry(port).or_default().push(&manifest.id);
        }
    }

    let preferred = plan.preferred();
    for (port, module) in &preferred {
        if !by_port.get(port).is_some_and(|modules| modules.contains(module)) {
            let error = format!(
                "the plan prefers {module} for {port}, which no selected module of that name \
                 provides"
            );
            mistakes.push(PlanMistake::new("E_PREFER_UNSAT", Some(module), error));
        }
    }
    for (port, modules) in &by_port {
        let name = port.split('@').next().unwrap_or(port);
        let is_wired = |module: &&&str| {
            plan.wiring.iter().any(|wire| {
                [format!("{module}:{name}"), format!("{module}:{port}")].contains(&wire.from)
            })
        };

        // Two that are wired are no choice: what follows decides, or nothing does.
        let wired: Vec<&&str> = modules.iter().filter(is_wired).collect();

        // Wiring outranks a preference, and that a module which is alone.
        let chosen = match (&wired[..], preferred.get(port), &modules[..]) {
            ([module], _, _) => Some((**module, Reason::Wired)),
            (_, Some(module), _) => Some((*module, Reason::Preferred)),
            (_, _, [module]) => Some((*module, Reason::Sole)),
            _ => None,
        };
        if chosen.is_none() {
            let error = format!(
                "{port} has {} providers: {}; wire one of them, or name it in preferred_providers",
                modules.len(),
                modules.join(", ")
            );
            mistakes.push(PlanMistake::new("E_DUP_PROVIDER", None, error));
        }
        for module in modules {
            let reason = chosen
                .filter(|(id, _)| id == module)
                .map_or(Reason::Inactive, |(_, reason)| reason);
            providers.push(Provider {
                port: (*port).to_owned(),
                module: (*module).to_owned(),
                reason,
            });
        }
    }

    for manifest in manifests {
        for port in manifest.requires.iter().filter(|port| !by_port.contains_key(port.as_str())) {
            let error =
                format!("{} requires {port}, and no selected module provides it", manifest.id);
            mistakes.push(PlanMistake::new("E_REQUIRE_UNSAT", Some(&manifest.id), error));
        }
    }
    (providers, mistakes)
}

/// Wires that name a module or a port that is not there, or a port that a module has in two
/// versions.
fn wiring_mistakes(plan: &Plan, manifests: &[Manifest]) -> Vec<PlanMistake> {
    let mut mistakes = Vec::new();
    for (wire, end, provides) in
        plan.wiring.iter().flat_map(|wire| [(wire, &wire.from, true), (wire, &wire.to, false)])
    {
        let Some((module, port)) = end.split_once(':') else { continue };

        // Not a module: the plan's own end of a wire.
        if module == "orchestrator" {
            continue;
        }
        let Some(manifest) = manifests.iter().find(|manifest| manifest.id == module) else {
            // One that is planned and has no manifest was reported where modules are looked for.
            if !plan.modules.iter().any(|planned| planned.id == module) {
                let error = format!(
                    "the wire from {} to {} names {module}, which is not in the plan",
                    wire.from, wire.to
                );
                mistakes.push(PlanMistake::new("E_COMPOSE", Some(module), error));
            }
            continue;
        };
        let ports = if provides { &manifest.provides } else { &manifest.requires };

        // A wire may leave the version out, as long as there is one only.
        let matching: Vec<_> = ports
            .iter()
            .filter(|known| *known == port || known.split('@').next() == Some(port))
            .collect();
        if matching.is_empty() {
            let word = if provides { "provide" } else { "require" };
            let error = format!(
                "{module} does not {word} {port}, which the wire from {} to {} names",
                wire.from, wire.to
            );
            mistakes.push(PlanMistake::new("E_COMPOSE", Some(module), error));
        } else if matching.len() > 1 {
            let error = format!(
                "{module} has {port} in {} versions: name one, such as {}",
                matching.len(),
                matching[0]
            );
            mistakes.push(PlanMistake::new("E_PORT_VERSION_AMBIG", Some(module), error));
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::manifest;

    fn plan(more: &str) -> Plan {
        let text = format!(
            r#"{{"run_id":"r","modules":[{{"id":"a.a","version":"1.0.0"}},
            {{"id":"b.b","version":"1.0.0"}}]{more}}}"#
        );
        Plan::parse("compose.json", text.as_bytes()).unwrap()
    }

    fn manifest(id: &str, provides: &str, requires: &str) -> Manifest {
        let text = format!(
            r#"{{"id":"{id}","version":"1.0.0","summary":"abc",
            "provides":["{provides}"],"requires":[{requires}]}}"#
        );
        manifest::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn overrides_add_replace_and_remove() {
        let mut plan = plan(r#","constraints":["x"]"#);
        let before = plan.digest();
        let applied = plan
            .apply(
                "o",
                br#"{"modules":["-b.b",{"id":"a.a","version":"2.0.0"},
                {"id":"c.c","version":"1.0.0"}],"constraints":["-x"]}"#,
            )
            .unwrap();
        assert_eq!(
            (applied.removed, applied.replaced, applied.added),
            (vec!["b.b".into()], vec!["a.a".into()], vec!["c.c".into()])
        );
        assert!(plan.constraints.is_empty() && plan.digest() != before);
        let error = plan.apply("o", br#"{"modules":[1,"-z.z"],"other":[2]}"#).unwrap_err();
        assert_eq!(error.mistakes.len(), 3, "{error}");
    }

    #[test]
    fn the_provider_is_wired_preferred_or_the_only_one() {
        let both = [manifest("a.a", "XPort@1", ""), manifest("b.b", "XPort@1", "\"YPort@2\"")];
        let (_, mistakes) = analyse(&plan(""), &both);
        let codes: Vec<_> = mistakes.iter().map(|mistake| mistake.code).collect();
        assert_eq!(codes, ["E_DUP_PROVIDER", "E_REQUIRE_UNSAT"]);

        let wired = plan(r#","wiring":[{"from":"a.a:XPort","to":"orchestrator:XPort"}]"#);
        let (providers, _) = analyse(&wired, &both);
        assert_eq!((providers[0].reason, providers[1].reason), (Reason::Wired, Reason::Inactive));

        let preferred =
            plan(r#","constraints":[{"preferred_providers":{"XPort@1":"b.b","ZPort@1":"a.a"}}]"#);
        let (providers, mistakes) = analyse(&preferred, &both);
        assert_eq!(
            (providers[0].reason, providers[1].reason),
            (Reason::Inactive, Reason::Preferred)
        );
        assert!(mistakes.iter().any(|mistake| mistake.code == "E_PREFER_UNSAT"));
    }
}
