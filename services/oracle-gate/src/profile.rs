//! Profiles: where the store is, which catalogue and gates apply, and how strict the checker is (O5).
//!
//! A value `${NAME}` is taken from the environment, `${NAME:-other}` with a fallback, and only where
//! it is the whole value. An unset name without a fallback is an error. Secrets have no place here.

use serde::Deserialize;
use thiserror::Error;

use crate::catalogue::{Catalogue, GateMap};

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
    /// Folder of the store.
    pub oracle_root: String,
    /// The engine's outputs.
    pub catalogue: Catalogue,
    /// The engine's gates.
    pub gate_map: GateMap,
}

/// A profile cannot be used.
#[derive(Debug, Error)]
#[error("profile {profile}: {cause}")]
pub struct ProfileError {
    profile: String,
    cause: String,
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
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyPart {
    policy_rev: Option<String>,
    #[serde(default)]
    lenient: bool,
    #[serde(default)]
    require_pack_ref: bool,
    require_gate_pass: Option<bool>,
    #[serde(default, rename = "partitioning_profiles_ref")]
    _partitioning_profiles_ref: Option<serde_yaml_ng::Value>,
    #[serde(default, rename = "partitioning_profile_id")]
    _partitioning_profile_id: Option<serde_yaml_ng::Value>,
    #[serde(default, rename = "stream_speedup")]
    _stream_speedup: Option<serde_yaml_ng::Value>,
}

#[derive(Deserialize)]
struct WiringPart {
    oracle_root: Option<String>,
    #[serde(default = "lumio")]
    engine_catalogue_path: String,
    #[serde(default = "lumio")]
    gate_map_path: String,
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
        let failed = |cause: String| ProfileError { profile: name.to_owned(), cause };
        let builtin = BUILTIN.iter().find(|(id, _)| *id == name);
        let (yaml, folder) = match builtin {
            Some((_, yaml)) => ((*yaml).to_owned(), None),
            None => {
                let read = std::fs::read_to_string(name);
                let yaml = read.map_err(|e| failed(format!("cannot read it: {e}")))?;
                (yaml, std::path::Path::new(name).parent())
            }
        };
        let file: File = serde_yaml_ng::from_str(&yaml).map_err(|e| failed(e.to_string()))?;
        refuse_leniency(&file).map_err(failed)?;
        let expand = |text: &str| expand(text, &variable).map_err(failed);
        let root = match (root, &file.wiring.oracle_root) {
            (Some(root), _) => root,
            (None, Some(text)) => expand(text)?,
            (None, None) => return Err(failed("wiring.oracle_root is not set".to_owned())),
        };
        let catalogue = part(&expand(&file.wiring.engine_catalogue_path)?, folder, LUMIO_CATALOGUE);
        let gates = part(&expand(&file.wiring.gate_map_path)?, folder, LUMIO_GATES);
        let parse = |e: crate::catalogue::CatalogueError| failed(e.to_string());
        Ok(Self {
            policy_rev: file.policy.policy_rev.unwrap_or_else(|| file.profile_id.clone()),
            lenient: file.policy.lenient,
            require_pack_ref: file.policy.require_pack_ref,
            require_gate_pass: file.policy.require_gate_pass.unwrap_or(true),
            oracle_root: local_root(&root).map_err(failed)?,
            catalogue: Catalogue::parse(&catalogue.map_err(failed)?).map_err(parse)?,
            gate_map: GateMap::parse(&gates.map_err(failed)?).map_err(parse)?,
            id: file.profile_id,
        })
    }
}

fn refuse_leniency(file: &File) -> Result<(), String> {
    if file.policy.lenient && file.profile_id != LENIENT_ID {
        return Err(format!("only the profile `{LENIENT_ID}` may be lenient"));
    }
    if file.policy.require_gate_pass == Some(false) && !file.policy.lenient {
        return Err("only a lenient profile may set require_gate_pass to false".to_owned());
    }
    Ok(())
}

fn expand(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let Some(inside) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return Ok(text.to_owned());
    };
    let (name, fallback) = match inside.split_once(":-") {
        Some((name, fallback)) => (name, Some(fallback)),
        None => (inside, None),
    };
    match variable(name).filter(|value| !value.is_empty()) {
        Some(value) => Ok(value),
        None => fallback
            .map(str::to_owned)
            .ok_or_else(|| format!("it needs the environment variable {name}, which is not set")),
    }
}

/// A path or a `file://` URL.
fn local_root(root: &str) -> Result<String, String> {
    match root.strip_prefix("file://").unwrap_or(root) {
        "" => Err("oracle_root is empty".to_owned()),
        path if path.contains("://") => {
            Err(format!("oracle_root {path} is not a folder of this machine or a file:// URL"))
        }
        path => Ok(path.to_owned()),
    }
}

fn part(
    path: &str,
    folder: Option<&std::path::Path>,
    lumio: &'static [u8],
) -> Result<Vec<u8>, String> {
    if path == "builtin:lumio" {
        return Ok(lumio.to_vec());
    }
    let path = folder.map_or_else(|| path.into(), |folder| folder.join(path));
    std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(yaml: &str) -> Result<Profile, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), yaml).unwrap();
        let set = |name: &str| (name == "SET").then(|| "/srv/x".to_owned());
        Profile::load(file.path().to_str().unwrap(), None, set).map_err(|error| error.to_string())
    }

    #[test]
    fn the_shipped_profiles_load_and_only_local_is_lenient() {
        for id in ["local", "dev", "prod"] {
            let profile = Profile::load(id, Some("/srv/x".to_owned()), |_| None).unwrap();
            assert_eq!((profile.id.as_str(), profile.lenient), (id, id == "local"));
            assert!(profile.catalogue.output("lumio.run.output").is_some());
        }
        assert_eq!(
            Profile::load("local", None, |_| None).unwrap().oracle_root,
            "runs/local_full_run-5"
        );
    }

    #[test]
    fn variables_are_whole_values_and_must_be_set() {
        let root =
            |text: &str| load(&format!("profile_id: x\nwiring: {{oracle_root: \"{text}\"}}"));
        assert_eq!(root("${SET}").unwrap().oracle_root, "/srv/x");
        assert_eq!(root("a/${SET}").unwrap().oracle_root, "a/${SET}");
        assert!(root("${UNSET}").unwrap_err().contains("UNSET"));
        assert!(root("s3://bucket/x").unwrap_err().contains("s3://bucket/x"));
    }

    #[test]
    fn leniency_elsewhere_and_misspelt_rules_are_errors() {
        for (id, policy) in [
            ("dev", "lenient: true"),
            ("prod", "require_gate_pass: false"),
            ("local", "lenint: true"),
        ] {
            let yaml =
                format!("profile_id: {id}\npolicy: {{{policy}}}\nwiring: {{oracle_root: x}}");
            assert!(load(&yaml).is_err(), "{id} with {policy} passed");
        }
    }
}
