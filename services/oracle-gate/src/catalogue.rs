//! The two configuration files an engine is checked by: its catalogue of outputs and its gate map.
//!
//! Both are read strictly where they decide and leniently where they describe: unknown fields are
//! descriptions of other tools, but an output without `read_requires_gates` or a gate without a
//! method is an error (O12).

pub mod method;
pub mod template;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;
use wire::digest::Digest;

use method::{Declared, Method};
use template::Template;

/// The outputs an engine may leave.
#[derive(Debug, Clone)]
pub struct Catalogue {
    outputs: BTreeMap<String, DeclaredOutput>,
    digest: Digest,
}

/// One output.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "OutputEntry")]
pub struct DeclaredOutput {
    output_id: String,
    /// What the output depends on, such as `scope_manifest_fingerprint_run_id`.
    pub scope: String,
    /// Where its files lie, relative to the oracle root or to the pack's.
    pub path_template: Option<Template>,
    /// Gates whose PASS a reader needs. Empty means none, and has to be written.
    pub read_requires_gates: Vec<String>,
    /// Whether a run may leave it out.
    pub optional: bool,
}

/// The gates of an engine, and how each verdict is verified.
#[derive(Debug, Clone)]
pub struct GateMap {
    gates: BTreeMap<String, Gate>,
    digest: Digest,
}

/// One gate.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "GateEntry")]
pub struct Gate {
    gate_id: String,
    /// How its evidence is verified.
    pub method: Method,
    /// Pins its receipts must state, beside the fingerprint.
    pub required_scope: BTreeSet<Pin>,
    /// Outputs that may be read only after it.
    pub authorizes_outputs: Vec<String>,
    /// Gates that must have passed before it.
    pub upstream_gate_dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct OutputEntry {
    output_id: String,
    #[serde(default)]
    scope: String,
    path_template: Option<String>,
    read_requires_gates: Vec<String>,
    availability: Option<String>,
}

#[derive(Deserialize)]
struct GateEntry {
    gate_id: String,
    #[serde(default)]
    scope: String,
    #[serde(flatten)]
    declared: Declared,
    #[serde(default)]
    required_scope: Vec<Pin>,
    #[serde(default)]
    authorizes_outputs: Vec<String>,
    #[serde(default)]
    upstream_gate_dependencies: Vec<String>,
}

impl TryFrom<OutputEntry> for DeclaredOutput {
    type Error = String;

    fn try_from(entry: OutputEntry) -> Result<Self, String> {
        let id = &entry.output_id;
        let template = entry.path_template.as_deref().map(Template::parse).transpose();
        let optional = match entry.availability.as_deref() {
            None | Some("required") => false,
            Some("optional") => true,
            Some(other) => return Err(format!("output {id}: availability {other:?} is unknown")),
        };
        Ok(Self {
            path_template: template.map_err(|wrong| format!("output {id}: {wrong}"))?,
            scope: entry.scope,
            read_requires_gates: entry.read_requires_gates,
            optional,
            output_id: entry.output_id,
        })
    }
}

impl TryFrom<GateEntry> for Gate {
    type Error = String;

    fn try_from(entry: GateEntry) -> Result<Self, String> {
        let id = entry.gate_id;
        let method = entry.declared.method().map_err(|wrong| format!("gate {id}: {wrong}"))?;
        // A scope names its pins in words, so that a gate cannot ask for less than its own scope
        // says.
        let required_scope = entry.required_scope.into_iter().chain(Pin::named_in(&entry.scope));
        Ok(Self {
            gate_id: id,
            method,
            required_scope: required_scope.collect(),
            authorizes_outputs: entry.authorizes_outputs,
            upstream_gate_dependencies: entry.upstream_gate_dependencies,
        })
    }
}

/// A pin a receipt may state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pin {
    /// What was run.
    ManifestFingerprint,
    /// With which parameters.
    ParameterHash,
    /// With which seed.
    Seed,
    /// In which scenario.
    ScenarioId,
    /// In which run.
    RunId,
}

impl Pin {
    const ALL: [(Self, &'static str); 5] = [
        (Self::ManifestFingerprint, "manifest_fingerprint"),
        (Self::ParameterHash, "parameter_hash"),
        (Self::Seed, "seed"),
        (Self::ScenarioId, "scenario_id"),
        (Self::RunId, "run_id"),
    ];

    /// The pins that a scope names, such as `scope_manifest_fingerprint_seed`.
    pub fn named_in(scope: &str) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |(_, name)| scope.contains(name)).map(|(pin, _)| pin)
    }

    /// Its name in documents.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(pin, _)| *pin == self).map_or("?", |(_, name)| name)
    }
}

/// A configuration file cannot be used.
#[derive(Debug, Error)]
#[error("cannot use the {file}: {cause}")]
pub struct CatalogueError {
    file: &'static str,
    cause: String,
}

impl Catalogue {
    /// Reads the YAML of a catalogue.
    ///
    /// # Errors
    /// Not a catalogue, an entry that does not state its gates, or one that occurs twice.
    pub fn parse(yaml: &[u8]) -> Result<Self, CatalogueError> {
        #[derive(Deserialize)]
        struct File {
            outputs: Vec<DeclaredOutput>,
        }
        let refused = |cause| CatalogueError { file: "catalogue", cause };
        let file: File = serde_yaml_ng::from_slice(yaml).map_err(|e| refused(e.to_string()))?;
        let mut outputs = BTreeMap::new();
        for output in file.outputs {
            if let Some(twice) = outputs.insert(output.output_id.clone(), output) {
                return Err(refused(format!("output {} occurs twice", twice.output_id)));
            }
        }
        Ok(Self { outputs, digest: Digest::of(yaml) })
    }

    /// The entry of an output.
    pub fn output(&self, id: &str) -> Option<&DeclaredOutput> {
        self.outputs.get(id)
    }

    /// sha256 of the file's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl DeclaredOutput {
    /// Whether each instance needs a proof of its own: its scope names more than the fingerprint.
    pub fn needs_instance_proof(&self) -> bool {
        Pin::named_in(&self.scope).any(|pin| pin != Pin::ManifestFingerprint)
    }
}

impl GateMap {
    /// Reads the YAML of a gate map.
    ///
    /// # Errors
    /// Not a gate map, or a gate that occurs twice.
    pub fn parse(yaml: &[u8]) -> Result<Self, CatalogueError> {
        #[derive(Deserialize)]
        struct File {
            gates: Vec<Gate>,
        }
        let refused = |cause| CatalogueError { file: "gate map", cause };
        let file: File = serde_yaml_ng::from_slice(yaml).map_err(|e| refused(e.to_string()))?;
        let mut gates = BTreeMap::new();
        for gate in file.gates {
            if let Some(twice) = gates.insert(gate.gate_id.clone(), gate) {
                return Err(refused(format!("gate {} occurs twice", twice.gate_id)));
            }
        }
        Ok(Self { gates, digest: Digest::of(yaml) })
    }

    /// The gate of this id.
    pub fn gate(&self, id: &str) -> Option<&Gate> {
        self.gates.get(id)
    }

    /// sha256 of the file's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Every gate that must have passed before `output` is read: those it names, those that
    /// authorise it, and everything upstream of them (O7). Names the map lacks are in the answer
    /// too.
    pub fn required(&self, output: &DeclaredOutput) -> BTreeSet<String> {
        let authorising = self
            .gates
            .values()
            .filter(|gate| gate.authorizes_outputs.contains(&output.output_id))
            .map(|gate| gate.gate_id.clone());
        let mut open: Vec<String> =
            output.read_requires_gates.iter().cloned().chain(authorising).collect();
        let mut closed = BTreeSet::new();
        while let Some(id) = open.pop() {
            // Each gate is opened once, so that a circle in the map comes to an end.
            if let Some(gate) = self.gates.get(&id)
                && !closed.contains(&id)
            {
                open.extend(gate.upstream_gate_dependencies.iter().cloned());
            }
            closed.insert(id);
        }
        closed
    }
}
