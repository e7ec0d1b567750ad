//! Every setting, read once. All mistakes are reported together, by name, on one line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chassis::config::{ConfigErrors, Env, EnvFileError, Secret};
use chassis::grpc::Tokens;
use chassis::{bus, process};
use clap::ValueEnum as _;
use ed25519_dalek::VerifyingKey;
use stellar::{Address, ChainError, Keypair, Network, STANDALONE};

use crate::auth;
use crate::auth::settings::Surroundings;
use crate::chain::fees::FeeLimits;
use crate::crash;
use crate::gateway::limits::Rates;
use crate::model::policy::{Places, RunPolicy, WorthLimits};
use crate::signer::pkcs11::{self, Token, TokenKey};
use crate::signer::{ChainKeys, Key};

/// A file of settings in the working folder; what the environment says goes before it.
pub const FILE: &str = ".env.runner";

/// Which part of the service a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Role {
    /// Answers callers, and holds no key of the chain.
    Gateway,
    /// Works on runs, and answers only probes.
    Engine,
    /// Both in one process.
    #[default]
    All,
}

/// The settings of one runner.
#[derive(Debug)]
pub struct Config {
    /// Which part of the service this process is.
    pub role: Role,
    /// The keys of the chain; a gateway alone has none.
    pub keys: Option<ChainKeys>,
    /// The folder of the library that speaks with a token, if a token keeps keys.
    pub signer_module: Option<PathBuf>,
    /// Files and folders that this library reads and writes.
    pub signer_paths: Vec<PathBuf>,
    /// The account that the registry lists.
    pub runner: Address,
    /// Whether and how callers log in.
    pub auth: auth::Mode,
    /// The node.
    pub rpc_url: String,
    /// Further nodes of the same network, for when that one gives no usable answer.
    pub rpc_fallbacks: Vec<String>,
    /// Which network.
    pub network: Network,
    /// The vault.
    pub vault: Address,
    /// The agent registry.
    pub registry: Address,
    /// Where the gateway listens.
    pub http: SocketAddr,
    /// Where gRPC listens, and who may call. Without tokens there are no callers, and nothing
    /// listens.
    pub grpc: Option<(SocketAddr, Tokens)>,
    /// `*`, or the one origin browsers may call from.
    pub cors_origin: String,
    /// The folder that the console was built into, if the gateway serves it.
    pub console_dir: Option<PathBuf>,
    /// Origins beside its own that pages of the console may call.
    pub console_connect: Vec<String>,
    /// A node that browsers may ask.
    pub browser_rpc_url: Option<String>,
    /// The code of the accounts that the console makes for passkeys.
    pub passkey_wasm_hash: Option<wire::Digest>,
    /// How many requests callers may make.
    pub rates: Rates,
    /// How often workers look for work.
    pub poll: Duration,
    /// How many workers of this process ask the network.
    pub workers: usize,
    /// How many workers of this process ask the gates: the most modules that run at one time.
    pub executions: usize,
    /// How many runs may wait, if the operator set a number.
    pub max_queue: Option<u64>,
    /// The host by which clients reach the gateway, if it is known.
    pub public_host: Option<String>,
    /// What the operator chose for runs.
    pub policy: RunPolicy,
    /// The gates, if there are any.
    pub gates: Option<Addresses>,
    /// How much is logged, and what every process has.
    pub process: process::Settings,
    /// Postgres.
    pub database_url: String,
    /// NATS.
    pub nats_url: String,
    /// What each account of RUNNER_SOURCE_SECRET has to have at least, in stroops.
    pub channel_least: i64,
    /// What transactions may cost.
    pub fees: FeeLimits,
    /// How long a transaction may wait for its ledger, in seconds.
    pub transaction_secs: u64,
    /// A crash point (`runner crash-points`), for tests.
    pub crash_at: Option<String>,
    /// Settings that are accepted and do nothing, with the reason.
    pub notices: Vec<&'static str>,
}

/// Where the gates are, and what this service shows them.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// module-gate.
    pub module: (String, Secret),
    /// oracle-gate.
    pub oracle: (String, Secret),
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file of settings can't be used.
    #[error("{0}")]
    File(#[from] EnvFileError),
    /// Settings are wrong.
    #[error("{0}")]
    Settings(#[from] ConfigErrors),
}

impl Config {
    /// Reads the process's environment and [`FILE`].
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn load(role: Option<Role>) -> Result<Self, ConfigError> {
        let mut env = Env::process();
        env.add_file(Path::new(FILE))?;
        Ok(Self::read_as(env, role)?)
    }

    /// Reads what reaches the token of the process's environment and [`FILE`], and nothing else.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn token() -> Result<Arc<Token>, ConfigError> {
        let mut env = Env::process();
        env.add_file(Path::new(FILE))?;
        let token = token(&env);
        env.finish()?;
        Ok(Arc::new(token))
    }

    /// Reads the settings from `env`.
    ///
    /// # Errors
    ///
    /// Every mistake.
    pub fn read(env: Env) -> Result<Self, ConfigErrors> {
        Self::read_as(env, None)
    }

    /// Reads the settings from `env`, for the role that the command line names if it names one.
    ///
    /// # Errors
    ///
    /// Every mistake.
    pub fn read_as(env: Env, role: Option<Role>) -> Result<Self, ConfigErrors> {
        let named = env.parse("RUNNER_ROLE", |text| {
            Role::from_str(text, false).map_err(|_| "expected gateway, engine or all")
        });
        let role = role.or(named).unwrap_or_default();
        let network = Network::new(
            env.with_default("RUNNER_NETWORK_PASSPHRASE|SOROBAN_NETWORK_PASSPHRASE", STANDALONE),
        );
        let local = network.is_standalone();
        let (keys, runner) = keys(&env, role);
        let token = keys.as_ref().and_then(|keys| keys.token.clone());
        let vault = contract(&env, "RUNNER_CONTRACT_ID", local, stellar::local::vault_id);
        let registry =
            contract(&env, "RUNNER_AGENT_REGISTRY_ID", local, stellar::local::registry_id);
        let bind = bind(&env);
        let auth = auth(&env, (role, bind, local), keys.as_ref());
        let is_open = matches!(auth, auth::Mode::None);
        let executions = env.number("RUNNER_EXECUTIONS", 4, 1..=256);
        let config = Self {
            role,
            signer_module: token.and_then(|token| token.module.parent().map(Path::to_owned)),
            signer_paths: env.list(TOKEN_PATHS).into_iter().map(PathBuf::from).collect(),
            keys,
            runner,
            auth,
            rpc_url: env.url("RUNNER_RPC_URL|SOROBAN_RPC_URL", RPC, &["http", "https"]),
            rpc_fallbacks: rpc_fallbacks(&env),
            vault,
            registry,
            http: SocketAddr::new(bind, env.number("RUNNER_PORT|PORT", 4000, 0..=u16::MAX)),
            grpc: grpc(&env, bind),
            cors_origin: env
                .parse("RUNNER_CORS_ORIGIN", cors_origin)
                .unwrap_or_else(|| ANY_ORIGIN.to_owned()),
            console_dir: env.parse("RUNNER_CONSOLE_DIR", console_folder),
            console_connect: console_connect(&env),
            browser_rpc_url: browser_rpc_url(&env),
            passkey_wasm_hash: passkey_wasm_hash(&env, local),
            rates: rates(&env, is_open),
            poll: Duration::from_millis(env.number("RUNNER_POLL_INTERVAL_MS", 1_000, 10..=600_000)),
            workers: env.number("RUNNER_WORKERS", 4, 1..=64),
            executions,
            max_queue: max_queue(&env),
            public_host: public_host(&env),
            // What all services have is asked for in one order, so that they tell mistakes alike.
            database_url: env.database_url(),
            nats_url: env.required_url("NATS_URL", &["nats", "tls"]),
            policy: run_policy(&env, local, executions),
            process: process::Settings::read(&env, "RUNNER_LOG_LEVEL"),
            gates: gates(&env),
            channel_least: env.number("RUNNER_CHANNEL_LEAST_STROOPS", 100_000_000, 0..=i64::MAX),
            fees: fees(&env),
            transaction_secs: 60,
            crash_at: env.parse("RUNNER_CRASH_AT", crash_point),
            notices: notices(&env),
            network,
        };
        check_ports(&env, &config);
        env.finish()?;
        Ok(config)
    }
}

const RPC: &str = "http://localhost:8000";
/// Every origin may call.
const ANY_ORIGIN: &str = "*";
/// Most stroops that a runner asks for a run: 1,000 XLM.
const LARGEST_FEE: u64 = 10_000_000_000;
/// Most stroops that a run can be asked to come to: what the vault counts (V19).
const LARGEST_WORTH: u64 = 9_223_372_036_854_775_807;
const SECRET: &str = "RUNNER_SECRET|RUNNER_PRIVATE_KEY";

const SOURCES: &str = "RUNNER_SOURCE_SECRET";
const PUBLIC_KEY: &str = "RUNNER_PUBLIC_KEY";
const SIGNER: &str = "RUNNER_SIGNER";
const TOKEN_KEY: &str = "RUNNER_PKCS11_KEY";
const TOKEN_SOURCES: &str = "RUNNER_PKCS11_SOURCE_KEYS";
const TOKEN_PIN_FILE: &str = "RUNNER_PKCS11_PIN_FILE";
const TOKEN_PATIENCE: &str = "RUNNER_PKCS11_TIMEOUT_MS";
/// Where files and folders that the token's library uses are set.
pub const TOKEN_PATHS: &str = "RUNNER_PKCS11_PATHS";

/// The keys of the chain, and the runner's account. A gateway alone is not given the keys: what it
/// cannot read it cannot lose (R4).
fn keys(env: &Env, role: Role) -> (Option<ChainKeys>, Address) {
    if role == Role::Gateway {
        for name in ["RUNNER_SECRET", "RUNNER_PRIVATE_KEY", SOURCES, pkcs11::PIN, TOKEN_PIN_FILE] {
            if env.optional(name).is_some() {
                env.mistake(name, "is a key of the chain, which a gateway alone must not hold");
            }
        }
        env.required(PUBLIC_KEY);
        let runner = env.parse(PUBLIC_KEY, str::parse::<Address>);
        return (None, runner.unwrap_or_else(|| placeholder_key().address()));
    }
    let is_token = env.parse(SIGNER, |text| match text {
        "local" => Ok(false),
        "pkcs11" => Ok(true),
        _ => Err("expected local or pkcs11"),
    });
    let token = is_token.unwrap_or_default().then(|| Arc::new(token(env)));
    let runner = match &token {
        Some(token) => runner_in_token(env, token),
        None => runner_key(env).into(),
    };
    let sources = source_keys(env, &runner, token.as_ref());
    let address = runner.address();
    (Some(ChainKeys { runner, sources, token }), address)
}

/// How the token is reached.
fn token(env: &Env) -> Token {
    let pin = match (env.optional(pkcs11::PIN), env.optional(TOKEN_PIN_FILE)) {
        (Some(pin), None) => pin,
        // Editors and `echo` end a file with a line break, which is no part of a PIN.
        (None, Some(file)) => match chassis::files::read_to_string(Path::new(&file)) {
            Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
            Err(error) => {
                env.mistake(TOKEN_PIN_FILE, &format!("the file cannot be read: {error}"));
                String::new()
            }
        },
        (Some(_), Some(_)) => {
            env.mistake(TOKEN_PIN_FILE, "is set beside RUNNER_PKCS11_PIN; remove one of the two");
            String::new()
        }
        (None, None) => {
            env.mistake(pkcs11::PIN, "is not set, and RUNNER_PKCS11_PIN_FILE is not either");
            String::new()
        }
    };
    Token {
        module: PathBuf::from(env.required(pkcs11::MODULE)),
        label: env.required(pkcs11::TOKEN),
        pin: Secret::new(pin),
        patience: Duration::from_millis(env.number(TOKEN_PATIENCE, 5_000, 100..=60_000)),
    }
}

/// The runner's key in the token. Its account is stated, since the token may be away at the start;
/// a signature that is not of this account is never used.
fn runner_in_token(env: &Env, token: &Arc<Token>) -> Key {
    if env.optional(SECRET).is_some() {
        let text = "is set beside RUNNER_SIGNER=pkcs11, where the key is in the token; remove one \
                    of the two";
        env.mistake(SECRET, text);
    }
    let label = env.required(TOKEN_KEY);
    env.required(PUBLIC_KEY);
    let account = env.parse(PUBLIC_KEY, account).unwrap_or_else(|| placeholder_key().address());
    Key::Token(Arc::new(TokenKey::new(token, label, account, TOKEN_KEY)))
}

fn account(text: &str) -> Result<Address, &'static str> {
    match text.parse() {
        Ok(account @ Address::Account(_)) => Ok(account),
        _ => Err("expected an account (G…)"),
    }
}

/// The runner's key, checked against the public key if that is set too (R7).
fn runner_key(env: &Env) -> Keypair {
    let key = key(env, SECRET);
    let stated = env.parse(PUBLIC_KEY, str::parse::<Address>);
    if let (Some(key), Some(stated)) = (&key, stated)
        && key.address() != stated
    {
        let text = "is not the public key of RUNNER_SECRET; correct one of the two";
        env.mistake(PUBLIC_KEY, text);
    }
    key.unwrap_or_else(placeholder_key)
}

/// Several accounts have several transactions under way: one whose process died stops no other.
fn source_keys(env: &Env, runner: &Key, token: Option<&Arc<Token>>) -> Vec<Key> {
    let in_token = env.list(TOKEN_SOURCES);
    if token.is_none() && !in_token.is_empty() {
        env.mistake(TOKEN_SOURCES, "needs RUNNER_SIGNER=pkcs11");
    }
    if in_token.is_empty() {
        env.required(SOURCES);
    }
    let mut keys: Vec<Key> = Vec::new();
    for text in env.list(SOURCES) {
        let Ok(key) = text.parse::<Keypair>() else {
            // The text is not repeated: it may be a key with a typing mistake.
            env.mistake(SOURCES, "expected secret keys (S…) between commas");
            continue;
        };
        keys.push(key.into());
    }
    for text in in_token {
        let read = text.rsplit_once(':').map(|(label, text)| (label, account(text)));
        let (Some((label, Ok(account))), Some(token)) = (read, token) else {
            env.mistake(TOKEN_SOURCES, "expected LABEL:G… between commas");
            continue;
        };
        keys.push(Key::Token(Arc::new(TokenKey::new(
            token,
            label.to_owned(),
            account,
            TOKEN_SOURCES,
        ))));
    }
    for (place, key) in keys.iter().enumerate() {
        let setting = key.setting(SOURCES);
        if key.address() == runner.address() {
            let text = "is the runner's own key; use an account of its own that only pays fees";
            env.mistake(setting, text);
        }
        if keys[..place].iter().any(|other| other.address() == key.address()) {
            env.mistake(setting, "names one account twice");
        }
    }
    keys
}

fn key(env: &Env, names: &str) -> Option<Keypair> {
    if env.optional(names).is_none() {
        // Notes the mistake.
        env.required(names);
    }
    env.parse(names, str::parse::<Keypair>)
}

/// The value of a missing key; the configuration is refused then, so it is never used.
fn placeholder_key() -> Keypair {
    Keypair::from_seed(&[0; 32])
}

fn contract(
    env: &Env,
    name: &str,
    local: bool,
    known: impl FnOnce() -> Result<Address, ChainError>,
) -> Address {
    let none = Address::Contract([0; 32]);
    if env.optional(name).is_none() && local {
        return known().unwrap_or(none);
    }
    env.required(name);
    let read = env.parse(name, |text| match text.parse() {
        Ok(id @ Address::Contract(_)) => Ok(id),
        _ => Err("expected a contract id (C…)"),
    });
    read.unwrap_or(none)
}

/// Where to listen.
fn bind(env: &Env) -> IpAddr {
    let bind = env.parse("RUNNER_BIND", |text| {
        text.parse().map_err(|_| "expected an IP address, such as 127.0.0.1 or 0.0.0.0")
    });
    bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// How callers log in. An engine has no callers.
fn auth(
    env: &Env,
    (role, bind, local): (Role, IpAddr, bool),
    keys: Option<&ChainKeys>,
) -> auth::Mode {
    if role == Role::Engine {
        return auth::Mode::None;
    }
    let chain_keys: Vec<_> = keys
        .map(|keys| {
            let sources = keys.sources.iter().map(|key| (key.setting(SOURCES), key.address()));
            let runner = (keys.runner.setting(SECRET), keys.runner.address());
            std::iter::once(runner).chain(sources).collect()
        })
        .unwrap_or_default();
    let around = Surroundings {
        local,
        loopback: bind.is_loopback(),
        insecure_bind_allowed: env.boolean("RUNNER_ALLOW_INSECURE_BIND", false),
        chain_keys: &chain_keys,
    };
    auth::Mode::read(env, around)
}

/// The folder of the console. What else is wrong with it is found when it is read.
fn console_folder(text: &str) -> Result<PathBuf, &'static str> {
    let folder = PathBuf::from(text);
    if folder.join("index.html").is_file() {
        return Ok(folder);
    }
    Err("has no index.html; name the folder that the console was built into")
}

/// The origin whose pages may call. A list, or a text that no browser sends, would match no page.
fn cors_origin(text: &str) -> Result<String, &'static str> {
    if text == ANY_ORIGIN || is_origin(text, &["http", "https"]) {
        return Ok(text.to_owned());
    }
    if text.contains(ANY_ORIGIN) {
        return Err("expected * alone or one origin without a *, such as https://app.example");
    }
    Err("expected * or one origin as browsers send it, such as https://app.example")
}

/// Whether this is an origin alone, in the form that browsers have for it: `scheme://host[:port]`.
/// A URL's host may hold a `*`; an origin has the name of one host.
fn is_origin(text: &str, schemes: &[&str]) -> bool {
    if text.contains(ANY_ORIGIN) {
        return false;
    }
    url::Url::parse(text).is_ok_and(|url| {
        let is_known = schemes.contains(&url.scheme());
        is_known && url.host().is_some() && text == format!("{}://{}", url.scheme(), host(&url))
    })
}

/// Where pages of the console may connect to, such as a wallet's relay: `scheme://host[:port]`.
fn console_connect(env: &Env) -> Vec<String> {
    const NAME: &str = "RUNNER_CONSOLE_CONNECT";
    let is_usable = |text: &String| {
        // What it says must be the origin alone: a policy with a path means something else.
        let is_usable = is_origin(text, &["http", "https", "ws", "wss"]);
        if !is_usable {
            env.mistake(NAME, "expected origins such as wss://relay.example between commas");
        }
        is_usable
    };
    env.list(NAME).into_iter().filter(is_usable).collect()
}

/// Host and port of an address, as its origin has them.
fn host(url: &url::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The node that browsers may ask. The runner's own, where its address holds nothing that must not
/// be seen (R9).
fn browser_rpc_url(env: &Env) -> Option<String> {
    const NAME: &str = "RUNNER_BROWSER_RPC_URL";
    if let Some(url) = env.optional_url(NAME, &["http", "https"]) {
        let parsed = url::Url::parse(&url).ok()?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            env.mistake(NAME, "everybody is shown it: expected a URL without user and password");
            return None;
        }
        return Some(url);
    }
    let url = env.url("RUNNER_RPC_URL|SOROBAN_RPC_URL", RPC, &["http", "https"]);
    (crate::public_url(&url) == url.trim_end_matches('/')).then_some(url)
}

/// The code of passkey accounts. On the local network it is that of this release, which `lumio deploy`
/// uploads.
fn passkey_wasm_hash(env: &Env, local: bool) -> Option<wire::Digest> {
    const NAME: &str = "RUNNER_PASSKEY_WASM_HASH";
    const SUMS: &str = include_str!("../../../contracts/wasm/SHA256SUMS");
    if env.optional(NAME).is_none() && local {
        let sum = SUMS.lines().find_map(|line| line.strip_suffix("  passkey_account.wasm"))?;
        return sum.parse().ok();
    }
    env.parse(NAME, |text| {
        text.parse::<wire::Digest>()
            .map_err(|_| "expected the SHA-256 of the code, as 64 hex digits")
    })
}

/// How many requests callers may make. Without a login no caller has an account, and every client
/// that can reach the gateway is trusted: then only the address is counted, and generously.
fn rates(env: &Env, is_open: bool) -> Rates {
    let address = if is_open { 2_000 } else { 200 };
    Rates {
        account: env.number("RUNNER_RATE_LIMIT", 50, 0..=1_000_000),
        address: env.number("RUNNER_ADDRESS_RATE_LIMIT", address, 0..=1_000_000),
        proxies: env.number("RUNNER_PROXIES", 0, 0..=16),
    }
}

/// The text of a wrong one is not repeated: it may hold a token.
fn rpc_fallbacks(env: &Env) -> Vec<String> {
    const NAME: &str = "RUNNER_RPC_FALLBACK_URLS";
    let urls = env.list(NAME);
    for text in &urls {
        let url = url::Url::parse(text);
        if !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            env.mistake(NAME, "expected addresses (http:// or https://) between commas");
        }
    }
    urls
}

/// The ceilings; 0 is no ceiling for a run or a day.
fn fees(env: &Env) -> FeeLimits {
    let ceiling = |name, default| {
        let stroops = env.number(name, default, 0..=i64::MAX.unsigned_abs());
        (stroops > 0).then_some(stroops)
    };
    FeeLimits {
        transaction: env.number("RUNNER_MAX_FEE_STROOPS", 50_000_000, 1_000..=u64::from(u32::MAX)),
        // Two transactions of the highest fee: an opening and a settlement that go alone.
        run: ceiling("RUNNER_MAX_RUN_FEE_STROOPS", 100_000_000),
        day: ceiling("RUNNER_MAX_DAY_FEE_STROOPS", 100_000_000_000),
        bump_after: env.number("RUNNER_BUMP_AFTER_LEDGERS", 3, 1..=100),
    }
}

fn max_queue(env: &Env) -> Option<u64> {
    const NAME: &str = "RUNNER_MAX_QUEUE";
    env.optional(NAME)?;
    Some(env.number(NAME, 1, 1..=10_000_000))
}

/// The host of `RUNNER_PUBLIC_URL`. The login's settings say what is wrong with the rest of it.
fn public_host(env: &Env) -> Option<String> {
    let url = url::Url::parse(&env.optional("RUNNER_PUBLIC_URL")?).ok()?;
    url.host_str().map(str::to_owned)
}

fn grpc(env: &Env, bind: IpAddr) -> Option<(SocketAddr, Tokens)> {
    let port = env.number("RUNNER_GRPC_PORT", 4001, 0..=u16::MAX);
    let tokens = env.parse("RUNNER_GRPC_TOKENS", Tokens::parse)?;
    Some((SocketAddr::new(bind, port), tokens))
}

fn run_policy(env: &Env, local: bool, executions: usize) -> RunPolicy {
    let margin = if local { 60 } else { 1_800 };
    let policy = RunPolicy {
        deadline_secs: env.number("RUNNER_DEADLINE_SECS", 3_600, 660..=86_000),
        runner_fee: env.number("RUNNER_FEE_STROOPS", 0_u64, 0..=LARGEST_FEE).into(),
        margin_secs: env.number("RUNNER_DEADLINE_MARGIN_SECS", margin, 10..=43_200),
        wall_limit_ms: env.number("RUNNER_WALL_LIMIT_MS", 600_000, 100..=43_200_000),
        executions,
        finalize_on_error: env.boolean("RUNNER_FINALIZE_ON_ERROR", true),
        attestation_keys: attestation_keys(env),
        lease_ms: env.number("RUNNER_LEASE_MS", 15_000, 1_000..=30_000),
        batch_delay: Duration::from_millis(env.number(
            "RUNNER_BATCH_MAX_DELAY_MS",
            200,
            0..=60_000,
        )),
        batch_most: env.number(
            "RUNNER_BATCH_MAX_CALLS",
            stellar::vault::MOST_SETTLEMENTS,
            1..=1_000,
        ),
        nats_prefix: env
            .parse("NATS_PREFIX", bus::read_prefix)
            .unwrap_or_else(|| wire::event::DEFAULT_PREFIX.to_owned()),
        places: Places {
            per_user: places(env, "RUNNER_MAX_RUNS_PER_USER"),
            per_agent: places(env, "RUNNER_MAX_RUNS_PER_AGENT"),
        },
        worth: WorthLimits {
            least: env.number("RUNNER_LEAST_WORTH_STROOPS", 0_u64, 0..=LARGEST_WORTH).into(),
            window_secs: env.number("RUNNER_WORTH_WINDOW_SECS", 3_600, 60..=604_800),
            opens_per_user: places(env, "RUNNER_MAX_OPENS_PER_USER"),
            opens_per_developer: places(env, "RUNNER_MAX_OPENS_PER_DEVELOPER"),
            failures_per_user: places(env, "RUNNER_MAX_FAILURES_PER_USER"),
            failures_per_developer: places(env, "RUNNER_MAX_FAILURES_PER_DEVELOPER"),
        },
    };
    let needed = policy.needed_secs();
    if needed >= policy.deadline_secs {
        let text = format!(
            "leaves no time to run: the wall limit and the margin alone are {needed} seconds; \
             raise it, or lower RUNNER_WALL_LIMIT_MS or RUNNER_DEADLINE_MARGIN_SECS"
        );
        env.mistake("RUNNER_DEADLINE_SECS", &text);
    }
    policy
}

/// How many there may be; 0 is no limit.
fn places(env: &Env, name: &str) -> Option<u32> {
    Some(env.number(name, 0, 0..=1_000_000)).filter(|most| *most > 0)
}

fn attestation_keys(env: &Env) -> Vec<VerifyingKey> {
    const NAME: &str = "RUNNER_ATTESTATION_KEYS";
    let keys = env.list(NAME).into_iter().filter_map(|text| {
        let key = wire::dsse::parse_key(&text);
        if key.is_none() {
            env.mistake(NAME, "expected Ed25519 public keys of 64 hex digits between commas");
        }
        key
    });
    keys.collect()
}

/// Both gates or none: each comes with its token.
fn gates(env: &Env) -> Option<Addresses> {
    const NAMES: [&str; 4] = [
        "RUNNER_MODULE_GATE_URL",
        "RUNNER_MODULE_GATE_TOKEN",
        "RUNNER_ORACLE_GATE_URL",
        "RUNNER_ORACLE_GATE_TOKEN",
    ];
    if NAMES.iter().all(|name| env.optional(name).is_none()) {
        return None;
    }
    let [module_url, module_token, oracle_url, oracle_token] = NAMES;
    Some(Addresses {
        module: (env.required_url(module_url, &["http"]), gate_token(env, module_token)),
        oracle: (env.required_url(oracle_url, &["http"]), gate_token(env, oracle_token)),
    })
}

/// The token of a gate, which every call has to carry.
fn gate_token(env: &Env, name: &str) -> Secret {
    let token = env.secret(name);
    if let Err(expected) = chassis::grpc::check_token(&token) {
        env.mistake(name, expected);
    }
    token
}

/// Notes a mistake for listeners that would have one address. Without tokens, and in an engine,
/// gRPC does not listen.
fn check_ports(env: &Env, config: &Config) {
    let grpc = config.grpc.as_ref().filter(|_| config.role != Role::Engine);
    let grpc = grpc.map(|(address, _)| ("RUNNER_GRPC_PORT", *address));
    let listeners: Vec<_> = std::iter::once(("RUNNER_PORT", config.http)).chain(grpc).collect();
    config.process.check_ports(env, &listeners);
}

fn crash_point(name: &str) -> Result<String, &'static str> {
    if crash::exists(name) {
        Ok(name.to_owned())
    } else {
        Err("expected a name that `runner crash-points` lists")
    }
}

fn notices(env: &Env) -> Vec<&'static str> {
    let is_set = env.optional("RUNNER_STATE_PATH").is_some();
    let text = "RUNNER_STATE_PATH does nothing: the state of runs is in DATABASE_URL";
    is_set.then_some(text).into_iter().collect()
}

#[cfg(test)]
mod tests;
