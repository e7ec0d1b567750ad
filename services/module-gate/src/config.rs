//! The settings of `module-gate serve`, from the environment; every mistake is reported at once.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::config::{ConfigErrors, Env, Secret};
use chassis::grpc::Tokens;
use chassis::{bus, process};
use ed25519_dalek::SigningKey;
use wire::event::DEFAULT_PREFIX;
use zeroize::Zeroizing;

use crate::keys::AttestationKeys;
use crate::sandbox::look_up;
use crate::upstreams::Allowed;

/// Where the store is set.
pub const STORE: &str = "MODULE_GATE_STORE";
/// Where the folder for private copies is set.
pub const SCRATCH: &str = "MODULE_GATE_SCRATCH";
/// Where the Node program is set.
pub const NODE: &str = "MODULE_GATE_NODE";

/// How long an execution stays its holder's without a renewal.
const LEASE: Duration = Duration::from_secs(10);

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// `MODULE_GATE_BIND`: where gRPC is served.
    pub bind: SocketAddr,
    /// `DATABASE_URL`.
    pub database_url: Secret,
    /// `NATS_URL`.
    pub nats_url: Secret,
    /// `NATS_PREFIX`: first token of subjects.
    pub nats_prefix: String,
    /// `MODULE_GATE_STORE`: the store's folder.
    pub store: PathBuf,
    /// `MODULE_GATE_SCRATCH`: folder for private copies.
    pub scratch: PathBuf,
    /// `MODULE_GATE_ATTESTATION_SECRET` and `MODULE_GATE_FORMER_ATTESTATION_SECRETS`: sign
    /// statements.
    pub attestation: AttestationKeys,
    /// `MODULE_GATE_NODE`: the Node program.
    pub node: PathBuf,
    /// `PATH`, where a bare `MODULE_GATE_NODE` is looked up.
    pub path: String,
    /// `MODULE_GATE_GRPC_TOKENS`: who may call.
    pub tokens: Tokens,
    /// `MODULE_GATE_CONCURRENCY`: modules running at once.
    pub concurrency: usize,
    /// `MODULE_GATE_PIN_PROCESSORS`: every run is held on one processor.
    pub pin_processors: bool,
    /// `MODULE_GATE_UPSTREAMS`: a file of services that modules may use; none without it.
    pub upstreams: Allowed,
    /// How much is logged (`MODULE_GATE_LOG_LEVEL`), and what every process has.
    pub process: process::Settings,
    /// How long an execution stays its holder's without a renewal.
    pub lease: Duration,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// Every mistake, by the variable's name.
    pub fn read(env: Env) -> Result<Self, ConfigErrors> {
        let attestation = needed(&env, "MODULE_GATE_ATTESTATION_SECRET", seed);
        let former = env.parse("MODULE_GATE_FORMER_ATTESTATION_SECRETS", seeds);
        let tokens = needed(&env, "MODULE_GATE_GRPC_TOKENS", Tokens::parse);
        let bind = env.parse("MODULE_GATE_BIND", |text| {
            text.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:4200")
        });
        let database_url = env.database_url();
        let nats_url = env.required_url("NATS_URL", &["nats", "tls"]);
        let nats_prefix = env.parse("NATS_PREFIX", bus::read_prefix);
        let store = PathBuf::from(env.required(STORE));
        let scratch = PathBuf::from(env.required(SCRATCH));
        let node = PathBuf::from(env.with_default(NODE, "node"));
        let path = env.with_default("PATH", "/usr/local/bin:/usr/bin:/bin");
        check_places(&env, [&store, &scratch], (&node, &path));
        let concurrency = env.number("MODULE_GATE_CONCURRENCY", 1, 1..=64);
        let pin_processors = env.boolean("MODULE_GATE_PIN_PROCESSORS", true);
        let upstreams = env.parse("MODULE_GATE_UPSTREAMS", |path| {
            let variable = |name: &str| env.optional(name).map(Zeroizing::new);
            Allowed::read(Path::new(path), &variable)
        });
        let process = process::Settings::read(&env, "MODULE_GATE_LOG_LEVEL");
        let bind = bind.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 4200)));
        process.check_ports(&env, &[("MODULE_GATE_BIND", bind)]);
        env.finish()?;

        // What is missing has been refused above.
        let (Some(attestation), Some(tokens)) = (attestation, tokens) else {
            return Err(ConfigErrors(Vec::new()));
        };
        Ok(Self {
            bind,
            database_url: Secret::new(database_url),
            nats_url: Secret::new(nats_url),
            nats_prefix: nats_prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned()),
            store,
            scratch,
            attestation: AttestationKeys::new(attestation, former.unwrap_or_default()),
            node,
            path,
            tokens,
            concurrency,
            pin_processors,
            upstreams: upstreams.unwrap_or_default(),
            process,
            lease: LEASE,
        })
    }
}

/// Notes which of the folders and the program cannot be used. Nothing is made yet: that is done
/// once every setting is right.
fn check_places(env: &Env, [store, scratch]: [&Path; 2], (node, path): (&Path, &str)) {
    // Of the store only this folder is written to.
    for (name, folder) in [(STORE, store.join("staging")), (SCRATCH, scratch.to_owned())] {
        // That it is not set is noted already.
        if env.optional(name).is_some() {
            env.check_folder(name, &folder);
        }
    }
    if look_up(node, path).is_none() {
        env.mistake(NODE, "names no program on this machine");
    }
}

/// The value as `read` understands it; that it is not set is noted too.
fn needed<T, E: Display>(
    env: &Env,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    // Reading it as a secret notes that it is missing, which `parse` would take for an absent
    // option.
    drop(env.secret(name));
    env.parse(name, read)
}

/// Reads the seed of an attestation key.
///
/// # Errors
/// What was expected.
pub fn seed(text: &str) -> Result<SigningKey, &'static str> {
    let mut seed = [0; 32];
    hex::decode_to_slice(text, &mut seed).map_err(|_| "expected 64 hex digits")?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Reads the seeds of replaced attestation keys, between commas.
fn seeds(text: &str) -> Result<Vec<SigningKey>, &'static str> {
    let seeds = text.split(',').map(str::trim).filter(|seed| !seed.is_empty());
    seeds
        .map(seed)
        .collect::<Result<_, _>>()
        .map_err(|_| "expected 64 hex digits each, between commas")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_no_value_is() {
        let env = Env::from_map([
            ("MODULE_GATE_ATTESTATION_SECRET", "abc"),
            ("MODULE_GATE_FORMER_ATTESTATION_SECRETS", "abc, hush"),
            ("MODULE_GATE_GRPC_TOKENS", "runner:hush"),
            ("MODULE_GATE_CONCURRENCY", "0"),
            ("MODULE_GATE_PIN_PROCESSORS", "some"),
            ("DATABASE_URL", "mysql://hush@x/y"),
            ("NATS_PREFIX", "hush.hush"),
            ("MODULE_GATE_STORE", "/dev/null/hush"),
            ("MODULE_GATE_SCRATCH", "/dev/null/hush"),
            ("MODULE_GATE_NODE", "hush"),
            ("MODULE_GATE_LOG_LEVEL", "hush"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "hush"),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", "hush"),
        ]);
        let text = Config::read(env).unwrap_err().to_string();
        for name in [
            "MODULE_GATE_ATTESTATION_SECRET",
            "MODULE_GATE_FORMER_ATTESTATION_SECRETS",
            "MODULE_GATE_GRPC_TOKENS",
            "MODULE_GATE_CONCURRENCY",
            "MODULE_GATE_PIN_PROCESSORS",
            "DATABASE_URL",
            "NATS_URL",
            "NATS_PREFIX",
            STORE,
            SCRATCH,
            NODE,
            "MODULE_GATE_LOG_LEVEL",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_PROMETHEUS_PORT",
        ] {
            assert!(text.contains(&format!("{name}: ")), "{name} in {text}");
        }
        assert!(!text.contains("hush") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn metrics_need_a_port_of_their_own() {
        let env = Env::from_map([("OTEL_EXPORTER_PROMETHEUS_PORT", "4200")]);
        let mistakes = Config::read(env).unwrap_err().0;
        let told = |name: &str| mistakes.iter().any(|mistake| mistake.variable == name);
        assert!(told("OTEL_EXPORTER_PROMETHEUS_PORT"), "{mistakes:?}");
    }

    #[test]
    fn what_is_not_set_is_only_said_not_to_be_set() {
        let none: [(&str, &str); 0] = [];
        let mistakes = Config::read(Env::from_map(none)).unwrap_err().0;
        for name in [STORE, SCRATCH] {
            let of_it: Vec<_> = mistakes.iter().filter(|one| one.variable == name).collect();
            assert!(of_it.len() == 1 && of_it[0].problem == "is not set", "{mistakes:?}");
        }
    }
}
