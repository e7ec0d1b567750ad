//! The two configuration files an engine is checked by: its catalogue of outputs and its gate map.
//!
//! Both are read strictly where they decide and leniently where they describe: unknown fields are
//! descriptions of other tools, but an output without `read_requires_gates` or a gate without a
//! method is an error (O12).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;
use wire::digest::Digest;

/// The outputs an engine may leave.
#[derive(Debug, Clone)]
pub struct Catalogue {
    outputs: BTreeMap<String, Output>,
    digest: Digest,
}

/// One output.
#[derive(Debug, Clone, Deserialize)]
pub struct Output {
    output_id: String,
    /// What the output depends on, such as `scope_manifest_fingerprint_run_id`.
    #[serde(default)]
    pub scope: String,
    /// Gates whose PASS a reader needs. Empty means none, and has to be written.
    pub read_requires_gates: Vec<String>,
}

/// The gates of an engine, and how each verdict is verified.
#[derive(Debug, Clone)]
pub struct GateMap {
    gates: BTreeMap<String, Gate>,
    digest: Digest,
}

/// One gate.
#[derive(Debug, Clone, Deserialize)]
pub struct Gate {
    gate_id: String,
    /// How its evidence is verified.
    pub verification_method: Method,
    /// Pins its receipts must state, beside the fingerprint.
    #[serde(default)]
    pub required_scope: Vec<Pin>,
    /// Outputs that may be read only after it.
    #[serde(default)]
    pub authorizes_outputs: Vec<String>,
    /// Gates that must have passed before it.
    #[serde(default)]
    pub upstream_gate_dependencies: Vec<String>,
}

/// How evidence is verified.
#[derive(Debug, Clone, Deserialize)]
pub struct Method {
    /// The kind; one that is not known here fails (O1).
    pub kind: String,
    /// For `dsse_statement_v1`: the type of the statement's predicate.
    #[serde(default)]
    pub predicate_type: Option<String>,
    /// For `dsse_statement_v1`: the statement's file, relative to the pack's root.
    #[serde(default)]
    pub statement: Option<String>,
}

/// A pin a receipt may state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
    /// Not a catalogue, an entry that does not state its gates, or one that stands twice.
    pub fn parse(yaml: &[u8]) -> Result<Self, CatalogueError> {
        #[derive(Deserialize)]
        struct File {
            outputs: Vec<Output>,
        }
        let refused = |cause| CatalogueError { file: "catalogue", cause };
        let file: File = serde_yaml_ng::from_slice(yaml).map_err(|e| refused(e.to_string()))?;
        let mut outputs = BTreeMap::new();
        for output in file.outputs {
            if let Some(twice) = outputs.insert(output.output_id.clone(), output) {
                return Err(refused(format!("output {} stands twice", twice.output_id)));
            }
        }
        Ok(Self { outputs, digest: Digest::of(yaml) })
    }

    /// The entry of an output.
    pub fn output(&self, id: &str) -> Option<&Output> {
        self.outputs.get(id)
    }

    /// sha256 of the file's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Output {
    /// Whether each instance needs a proof of its own: its scope names more than the fingerprint.
    pub fn needs_instance_proof(&self) -> bool {
        ["seed", "scenario_id", "parameter_hash", "run_id"].iter().any(|t| self.scope.contains(t))
    }
}

impl GateMap {
    /// Reads the YAML of a gate map.
    ///
    /// # Errors
    /// Not a gate map, or a gate that stands twice.
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
                return Err(refused(format!("gate {} stands twice", twice.gate_id)));
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

    /// Every gate that must have passed before `output` is read: those it names, those that authorise
    /// it, and everything upstream of them (O7). Names the map lacks are in the answer too.
    pub fn required(&self, output: &Output) -> BTreeSet<String> {
        let authorising = self
            .gates
            .values()
            .filter(|gate| gate.authorizes_outputs.contains(&output.output_id))
            .map(|gate| gate.gate_id.clone());
        let mut open: Vec<String> =
            output.read_requires_gates.iter().cloned().chain(authorising).collect();
        let mut closed = BTreeSet::new();
        while let Some(id) = open.pop() {
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
