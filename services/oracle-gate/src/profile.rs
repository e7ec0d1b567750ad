//! Profiles: where the store is, which catalogue and gates apply, and how strict the checker is
//! (O5).
//!
//! A value `${NAME}` is taken from the environment, `${NAME:-other}` with a fallback, and only
//! where it is the whole value. An unset name without a fallback is an error. Secrets have no place
//! here: a profile that holds one is refused, and no error repeats a value.

mod secrets;

use std::num::NonZeroU32;
use std::path::Path;

use serde::Deserialize;
use serde_yaml_ng::Value;
use thiserror::Error;
use time::Duration;
use wire::digest::Digest;

use crate::catalogue::{Catalogue, GateMap};
use crate::objects::{Evidence, S3Settings};
use crate::retention::{self, Retention};

const BUILTIN: [(&str, &str); 3] = [
    ("local", include_str!("../config/local.yaml")),
    ("dev", include_str!("../config/dev.yaml")),
    ("prod", include_str!("../config/prod.yaml")),
];
const LUMIO_CATALOGUE: &[u8] = include_bytes!("../config/lumio.catalogue.yaml");
const LUMIO_GATES: &[u8] = include_bytes!("../config/lumio.gates.yaml");
/// The one profile that may be lenient.
const LENIENT_ID: &str = "local";

/// A profile, ready for use.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub id: String,
    /// Revision of its policy.
    pub policy_rev: String,
    /// Whether missing seals, manifests and digests may be warnings.
    pub lenient: bool,
    /// Whether a view has to pin its pack's seal (O9).
    pub require_pack_ref: bool,
    /// Whether gates are needed at all; only a lenient profile may say no.
    pub require_gate_pass: bool,
    /// The oldest that a gate's receipt may be; of any age if it says nothing.
    pub max_receipt_age: Option<Duration>,
    /// The least evidence that a digest needs (O11); only a lenient profile may say `size_only`.
    pub least_evidence: Evidence,
    /// Whether checksums that the store keeps count, if its probe has shown that it checks them
    /// (O11).
    pub trust_store_checksums: bool,
    /// How long packs are kept.
    pub retention: Retention,
    /// The store: a folder, a `file://` URL, or `s3://bucket/prefix`.
    pub oracle_root: String,
    /// How an S3-compatible store is reached.
    pub object_store: S3Settings,
    /// The engine's outputs.
    pub catalogue: Catalogue,
    /// The engine's gates.
    pub gate_map: GateMap,
    /// A digest of everything that packs are judged by: the policy as its file has it, the
    /// catalogue and the gates.
    pub policy_digest: Digest,
}

/// A profile cannot be used.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// It takes a value from the environment that is not there.
    #[error(
        "profile {profile}: wiring.{field} needs the environment variable {variable}, which is not \
         set"
    )]
    Unset {
        /// The profile.
        profile: String,
        /// The member of its wiring.
        field: String,
        /// The variable.
        variable: String,
    },
    /// Something in its files is wrong, or they cannot be read.
    #[error("profile {profile}: {cause}")]
    Invalid {
        /// The profile.
        profile: String,
        /// What is wrong.
        cause: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profile_id: String,
    #[serde(default)]
    policy: PolicyPart,
    wiring: WiringPart,
}

/// Fields of other tools are named so that a misspelt rule is found.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PolicyPart {
    policy_rev: Option<String>,
    lenient: bool,
    require_pack_ref: bool,
    require_gate_pass: bool,
    max_receipt_age_seconds: Option<NonZeroU32>,
    least_evidence: Evidence,
    trust_store_checksums: bool,
    retention: Option<retention::Part>,
    #[serde(rename = "partitioning_profiles_ref")]
    _partitioning_profiles_ref: Option<Value>,
    #[serde(rename = "partitioning_profile_id")]
    _partitioning_profile_id: Option<Value>,
    #[serde(rename = "stream_speedup")]
    _stream_speedup: Option<Value>,
}

impl Default for PolicyPart {
    fn default() -> Self {
        Self {
            policy_rev: None,
            lenient: false,
            require_pack_ref: false,
            require_gate_pass: true,
            max_receipt_age_seconds: None,
            least_evidence: Evidence::HashedBytes,
            trust_store_checksums: false,
            retention: None,
            _partitioning_profiles_ref: None,
            _partitioning_profile_id: None,
            _stream_speedup: None,
        }
    }
}

/// Wiring of other tools may be present beside ours.
#[derive(Deserialize)]
struct WiringPart {
    oracle_root: Option<String>,
    #[serde(default)]
    object_store: StorePart,
    #[serde(default = "lumio")]
    engine_catalogue_path: String,
    #[serde(default = "lumio")]
    gate_map_path: String,
}

/// `root`, `bucket` and `kind` say where other tools keep their objects; ours lie at `oracle_root`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StorePart {
    endpoint: Option<String>,
    region: Option<String>,
    path_style: Option<Switch>,
    allow_http: Option<Switch>,
    #[serde(rename = "root")]
    _root: Option<Value>,
    #[serde(rename = "bucket")]
    _bucket: Option<Value>,
    #[serde(rename = "kind")]
    _kind: Option<Value>,
}

/// A boolean, or a variable that holds one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Switch {
    Set(bool),
    Text(String),
}

fn lumio() -> String {
    "builtin:lumio".to_owned()
}

impl Profile {
    /// Loads the profile `name`: one of `local`, `dev`, `prod`, or the path of a YAML file. `root`
    /// replaces the profile's own `oracle_root`; `variable` reads the environment.
    ///
    /// # Errors
    /// What is wrong, with the profile's name.
    pub fn load(
        name: &str,
        root: Option<String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ProfileError> {
        let failed = |cause: String| ProfileError::Invalid { profile: name.to_owned(), cause };
        let (file, policy, folder) = read(name).map_err(failed)?;
        // Before anything is opened: a profile that may not be lenient is not used in part.
        refuse_leniency(&file).map_err(failed)?;
        let wiring = &file.wiring;
        let expand = |field: &str, text: &str| expand(name, field, text, &variable);
        // The command line or the environment outranks the file: the file may be the built-in one.
        let oracle_root = match (root, &wiring.oracle_root) {
            (Some(root), _) => root,
            (None, Some(text)) => expand("oracle_root", text)?,
            (None, None) => return Err(failed("wiring.oracle_root is not set".to_owned())),
        };
        let catalogue = expand("engine_catalogue_path", &wiring.engine_catalogue_path)?;
        let gates = expand("gate_map_path", &wiring.gate_map_path)?;
        let catalogue = part(&catalogue, folder.as_deref(), LUMIO_CATALOGUE).map_err(failed)?;
        let gates = part(&gates, folder.as_deref(), LUMIO_GATES).map_err(failed)?;
        let parse = |e: crate::catalogue::CatalogueError| failed(e.to_string());
        let catalogue = Catalogue::parse(&catalogue).map_err(parse)?;
        let gate_map = GateMap::parse(&gates).map_err(parse)?;
        let judged_by = format!("{}\n{}\n{policy}", catalogue.digest(), gate_map.digest());
        Ok(Self {
            object_store: wiring.object_store.expand(name, &variable)?,
            policy_rev: file.policy.policy_rev.unwrap_or_else(|| file.profile_id.clone()),
            lenient: file.policy.lenient,
            require_pack_ref: file.policy.require_pack_ref,
            require_gate_pass: file.policy.require_gate_pass,
            max_receipt_age: file
                .policy
                .max_receipt_age_seconds
                .map(|seconds| Duration::seconds(seconds.get().into())),
            least_evidence: file.policy.least_evidence,
            trust_store_checksums: file.policy.trust_store_checksums,
            retention: file
                .policy
                .retention
                .map(Retention::read)
                .transpose()
                .map_err(failed)?
                .unwrap_or_default(),
            oracle_root,
            catalogue,
            gate_map,
            policy_digest: Digest::of(judged_by.as_bytes()),
            id: file.profile_id,
        })
    }
}

/// The file of a profile, its policy as text, and the folder that its relative paths start from.
fn read(name: &str) -> Result<(File, String, Option<std::path::PathBuf>), String> {
    let builtin = BUILTIN.iter().find(|(id, _)| *id == name);
    let (yaml, folder) = match builtin {
        Some((_, yaml)) => ((*yaml).to_owned(), None),
        None => {
            let yaml = chassis::files::read_to_string(Path::new(name)).map_err(|error| {
                format!("it is none of local, dev, prod, and cannot be read as a file: {error}")
            })?;
            (yaml, Path::new(name).parent().map(Path::to_owned))
        }
    };
    let redacted = |error: serde_yaml_ng::Error| secrets::redact(&error.to_string());
    let value: Value = serde_yaml_ng::from_str(&yaml).map_err(redacted)?;
    // Before it is read as a profile: errors of that reader would quote the value.
    if let Some(field) = secrets::find(&value) {
        return Err(format!(
            "{field} looks like a secret; a profile holds none, credentials come from the \
             environment"
        ));
    }
    // Written anew, so that comments and spaces do not count.
    let policy = serde_yaml_ng::to_string(&value.get("policy")).map_err(redacted)?;
    serde_yaml_ng::from_value(value).map(|file| (file, policy, folder)).map_err(redacted)
}

/// What is relaxed for trying things out must not reach another environment by a copied line (O5).
fn refuse_leniency(file: &File) -> Result<(), String> {
    let policy = &file.policy;
    if policy.lenient && file.profile_id != LENIENT_ID {
        return Err(format!("only the profile `{LENIENT_ID}` may be lenient"));
    }
    if !policy.require_gate_pass && !policy.lenient {
        return Err("only a lenient profile may set require_gate_pass to false".to_owned());
    }
    if policy.least_evidence == Evidence::SizeOnly && !policy.lenient {
        return Err("only a lenient profile may set least_evidence to size_only".to_owned());
    }
    Ok(())
}

impl StorePart {
    fn expand(
        &self,
        profile: &str,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<S3Settings, ProfileError> {
        let expand = |field: &str, text: &str| expand(profile, field, text, variable);
        let text = |field: &str, text: &Option<String>| {
            let value = text.as_ref().map(|text| expand(field, text)).transpose()?;
            // `${NAME:-}` is the way to leave a field out, so an empty value counts as no value.
            Ok::<_, ProfileError>(value.filter(|value| !value.is_empty()))
        };
        let switch = |field: &str, switch: &Option<Switch>| match switch {
            None => Ok(None),
            Some(Switch::Set(set)) => Ok(Some(*set)),
            Some(Switch::Text(text)) => match expand(field, text)?.as_str() {
                "" => Ok(None),
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(ProfileError::Invalid {
                    profile: profile.to_owned(),
                    cause: format!("wiring.{field} is neither true nor false"),
                }),
            },
        };
        Ok(S3Settings {
            endpoint: text("object_store.endpoint", &self.endpoint)?,
            region: text("object_store.region", &self.region)?,
            path_style: switch("object_store.path_style", &self.path_style)?,
            allow_http: switch("object_store.allow_http", &self.allow_http)?.unwrap_or(false),
        })
    }
}

fn expand(
    profile: &str,
    field: &str,
    text: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<String, ProfileError> {
    let refused = |wrong: &str| {
        let cause = format!("wiring.{field} {wrong}");
        Err(ProfileError::Invalid { profile: profile.to_owned(), cause })
    };
    let Some(inside) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        if text.contains("${") {
            return refused("mixes text and a variable; a variable is the whole value");
        }
        return Ok(text.to_owned());
    };
    let (name, fallback) = match inside.split_once(":-") {
        Some((name, fallback)) => (name, Some(fallback)),
        None => (inside, None),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty()
        || !name.bytes().all(plain)
        || fallback.is_some_and(|text| text.contains("${"))
    {
        return refused("is not one variable with at most a plain fallback");
    }
    // An empty variable counts as unset: deployments pass every variable, set or not.
    match variable(name).filter(|value| !value.is_empty()) {
        Some(value) => Ok(value),
        None => fallback.map(str::to_owned).ok_or_else(|| ProfileError::Unset {
            profile: profile.to_owned(),
            field: field.to_owned(),
            variable: name.to_owned(),
        }),
    }
}

fn part(path: &str, folder: Option<&Path>, lumio: &'static [u8]) -> Result<Vec<u8>, String> {
    if path == "builtin:lumio" {
        return Ok(lumio.to_vec());
    }
    // Relative to the profile's file and not to the working folder, which a service's manager
    // picks.
    let path = folder.map_or_else(|| path.into(), |folder| folder.join(path));
    chassis::files::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
