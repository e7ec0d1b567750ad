//! The settings of `oracle-gate serve`, read once from the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use chassis::config::ConfigErrors;
use chassis::grpc::Tokens;
use chassis::{Env, Secret, bus, process};
use ed25519_dalek::VerifyingKey;
use wire::dsse::parse_key;
use wire::event::DEFAULT_PREFIX;

use crate::objects::{Credentials, LocationError, StoreLocation};
use crate::profile::{Profile, ProfileError};

/// Where the address of the gRPC server is set.
pub const BIND: &str = "ORACLE_GATE_BIND";
/// Where the store is set.
pub const ROOT: &str = "ORACLE_GATE_ROOT";
/// Where the folder shared with module-gate is set.
pub const EXCHANGE: &str = "ORACLE_GATE_EXCHANGE";
/// Where the accepted attestation keys are set.
pub const KEYS: &str = "ORACLE_GATE_ATTESTATION_KEYS";

const PROFILE: &str = "ORACLE_GATE_PROFILE";
const TOKENS: &str = "ORACLE_GATE_GRPC_TOKENS";
const LOG_LEVEL: &str = "ORACLE_GATE_LOG_LEVEL";
const S3_ENDPOINT: &str = "ORACLE_GATE_S3_ENDPOINT";
const S3_PATH_STYLE: &str = "ORACLE_GATE_S3_PATH_STYLE";
const S3_ALLOW_HTTP: &str = "ORACLE_GATE_S3_ALLOW_HTTP";

/// Everything the service needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the gRPC server; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// Who may call.
    pub tokens: Tokens,
    /// Store, catalogue, gates and policy.
    pub profile: Profile,
    /// Where the store is.
    pub location: StoreLocation,
    /// By what requests to a bucket are signed; a folder needs none.
    pub credentials: Option<Credentials>,
    /// Folder shared with module-gate, where the store is a bucket: modules and staged outputs.
    pub exchange: Option<PathBuf>,
    /// Keys of module-gates whose statements count.
    pub keys: Vec<VerifyingKey>,
    /// The database.
    pub database_url: Secret,
    /// The bus.
    pub nats_url: Secret,
    /// Prefix of its subjects.
    pub nats_prefix: String,
    /// How much is logged, and what every process has.
    pub process: process::Settings,
}

impl Config {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// Every mistake, by the name of its variable.
    pub fn read(env: Env) -> Result<Self, ConfigErrors> {
        let bind = env.with_default(BIND, "127.0.0.1:4100").parse::<SocketAddr>();
        if bind.is_err() {
            env.mistake(BIND, "expected an address and a port, such as 127.0.0.1:4100");
        }
        // Noted here if it is not set: the next line would take it for an absent option.
        drop(env.secret(TOKENS));
        let tokens = env.parse(TOKENS, Tokens::parse);
        let keys = keys(&env);
        let name = env.with_default(PROFILE, "prod");
        let profile = Profile::load(&name, env.optional(ROOT), |name| variable(&env, name));
        if let Err(error) = &profile {
            let variable = match error {
                ProfileError::Unset { variable, .. } => variable.as_str(),
                ProfileError::Invalid { .. } => PROFILE,
            };
            env.mistake(variable, &error.to_string());
        }
        let store = profile.as_ref().ok().and_then(|profile| store(&env, profile));
        let exchange = env.optional(EXCHANGE).map(PathBuf::from);
        if exchange.is_none() && profile.as_ref().is_ok_and(is_bucket) {
            let wrong =
                "is not set; beside an s3:// root a folder shared with module-gate is needed";
            env.mistake(EXCHANGE, wrong);
        }
        let folder = store.as_ref().and_then(|(location, _)| location.folder());
        for (name, folder) in [(ROOT, folder), (EXCHANGE, exchange.as_deref())] {
            if let Some(folder) = folder {
                env.check_folder(name, folder);
            }
        }
        let database_url = env.database_url();
        let nats_url = env.required_url("NATS_URL", &["nats", "tls"]);
        let nats_prefix = env.parse("NATS_PREFIX", bus::read_prefix);
        let process = process::Settings::read(&env, LOG_LEVEL);
        let listeners: Vec<_> = bind.iter().map(|bind| (BIND, *bind)).collect();
        process.check_ports(&env, &listeners);
        env.finish()?;
        // `finish` has refused every case in which one of these is missing.
        let (Ok(bind), Some(tokens), Ok(profile), Some((location, credentials))) =
            (bind, tokens, profile, store)
        else {
            return Err(ConfigErrors(Vec::new()));
        };
        Ok(Self {
            bind,
            tokens,
            profile,
            location,
            credentials,
            exchange,
            keys,
            database_url: Secret::new(database_url),
            nats_url: Secret::new(nats_url),
            nats_prefix: nats_prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned()),
            process,
        })
    }
}

/// A variable as profiles are given it. A wrong truth value is noted here by its own name: the profile
/// could only say that it is the profile's, and would say nothing else.
fn variable(env: &Env, name: &str) -> Option<String> {
    let value = env.optional(name)?;
    if [S3_PATH_STYLE, S3_ALLOW_HTTP].contains(&name) {
        return Some(env.boolean(name, false).to_string());
    }
    Some(value)
}

/// The variable that a refused location is about.
pub(crate) fn variable_of(env: &Env, wrong: &LocationError) -> &'static str {
    match wrong {
        // An endpoint that the profile's own file states is found by the root that it is for.
        LocationError::Endpoint(_) if env.optional(S3_ENDPOINT).is_some() => S3_ENDPOINT,
        LocationError::Endpoint(_) | LocationError::Root(_) => ROOT,
    }
}

fn is_bucket(profile: &Profile) -> bool {
    profile.oracle_root.starts_with("s3://")
}

/// Where the store is, and for a bucket by what requests to it are signed.
fn store(env: &Env, profile: &Profile) -> Option<(StoreLocation, Option<Credentials>)> {
    let location = StoreLocation::parse(&profile.oracle_root, &profile.object_store);
    let mistake = |wrong: LocationError| env.mistake(variable_of(env, &wrong), &wrong.to_string());
    let location = location.map_err(mistake).ok();
    if !is_bucket(profile) {
        return Some((location?, None));
    }
    // Looked at although the location may be wrong: every wrong setting is named at once.
    let credentials = Credentials::read(|name| env.optional(name));
    let credentials = credentials.map_err(|wrong| env.mistake(ROOT, &wrong)).ok();
    Some((location?, Some(credentials?)))
}

/// The accepted keys; for the service at least one, or no statement could ever count.
fn keys(env: &Env) -> Vec<VerifyingKey> {
    env.required(KEYS);
    let named = env.list(KEYS);
    let keys: Vec<_> = named.iter().filter_map(|text| parse_key(text)).collect();
    let is_set = env.optional(KEYS).is_some();
    if is_set && (keys.len() != named.len() || keys.is_empty()) {
        env.mistake(KEYS, "expected Ed25519 public keys of 64 hex digits between commas");
    }
    keys
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn wrong(variables: &[(&str, &str)]) -> Vec<String> {
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        let key = hex::encode(key.as_bytes());
        let least = [
            (TOKENS, "runner:0123456789abcdef"),
            (KEYS, key.as_str()),
            (PROFILE, "dev"),
            (ROOT, "s3://packs"),
            (EXCHANGE, "/tmp"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("ORACLE_GATE_S3_REGION", "eu-west-1"),
            ("DATABASE_URL", "postgres://lumio@localhost/lumio"),
            ("NATS_URL", "nats://localhost:4222"),
        ];
        let env = Env::from_map(least.into_iter().chain(variables.iter().copied()));
        let mistakes = Config::read(env).err().map(|mistakes| mistakes.0).unwrap_or_default();
        mistakes.into_iter().map(|mistake| mistake.variable).collect()
    }

    #[test]
    fn what_is_not_set_is_only_said_not_to_be_set() {
        let none: [(&str, &str); 0] = [];
        let mistakes = Config::read(Env::from_map(none)).unwrap_err().0;
        for name in [TOKENS, KEYS, "DATABASE_URL", "NATS_URL"] {
            let of_it: Vec<_> = mistakes.iter().filter(|one| one.variable == name).collect();
            assert!(of_it.len() == 1 && of_it[0].problem == "is not set", "{mistakes:?}");
        }
    }

    #[test]
    fn metrics_need_a_port_of_their_own() {
        let same = [(BIND, "0.0.0.0:4100"), ("OTEL_EXPORTER_PROMETHEUS_PORT", "4100")];
        assert_eq!(wrong(&same), ["OTEL_EXPORTER_PROMETHEUS_PORT"]);
    }

    #[test]
    fn what_is_wrong_about_the_store_is_reported_by_its_own_name_and_hides_nothing() {
        assert_eq!(wrong(&[]), Vec::<String>::new());
        for (name, value) in [(S3_PATH_STYLE, "maybe"), (S3_ALLOW_HTTP, "on")] {
            assert_eq!(wrong(&[(name, value)]), [name]);
            assert_eq!(wrong(&[(name, value), (BIND, "here"), (LOG_LEVEL, "loud")]).len(), 3);
        }
        // R3
        assert_eq!(wrong(&[(S3_PATH_STYLE, "YES"), (S3_ALLOW_HTTP, "0")]), Vec::<String>::new());
        for endpoint in ["foo", "http://s3.example", "https://s3.example/x", "ftp://s3.example"] {
            assert_eq!(wrong(&[(S3_ENDPOINT, endpoint)]), [S3_ENDPOINT], "{endpoint}");
        }
        assert_eq!(wrong(&[(ROOT, "s3://UPPER")]), [ROOT]);
        assert_eq!(wrong(&[(ROOT, "")]), [ROOT]);
        let file = tempfile::NamedTempFile::new().unwrap();
        let profile = "profile_id: x\nwiring: {object_store: {region: '${STORE_REGION}'}}";
        std::fs::write(file.path(), profile).unwrap();
        let profile = file.path().to_str().unwrap();
        assert_eq!(wrong(&[(PROFILE, profile)]), ["STORE_REGION"]);
        for root in ["file://host/x", "file://x"] {
            assert_eq!(wrong(&[(ROOT, root)]), [ROOT], "{root}");
        }
        assert_eq!(wrong(&[(ROOT, "file:///tmp")]), Vec::<String>::new());
    }
}
