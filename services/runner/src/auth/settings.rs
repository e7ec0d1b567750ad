//! The settings of the login.

use chassis::config::{Env, Secret};
use stellar::{Address, Keypair};

/// The longest home domain: SEP-10 writes `<home domain> auth` into a name of 64 bytes.
const LONGEST_DOMAIN: usize = 59;

/// `RUNNER_AUTH`.
#[derive(Debug)]
pub enum Mode {
    /// `none`: callers do not log in.
    None,
    /// `login`: callers prove an account.
    Login(Box<Settings>),
}

/// What `RUNNER_AUTH=login` needs.
#[derive(Debug)]
pub struct Settings {
    /// `RUNNER_AUTH_SECRET`.
    pub signer: Keypair,
    /// `RUNNER_TOKEN_SECRET`: the first signs, all are accepted, so that a key can be replaced.
    pub tokens: Vec<Secret>,
    /// `RUNNER_PUBLIC_URL`.
    pub public_url: Option<String>,
    /// `RUNNER_HOME_DOMAIN`.
    pub home_domain: Option<String>,
    /// `RUNNER_WEB_AUTH_CONTRACT_ID`.
    pub contract: Option<Address>,
    /// `RUNNER_OPERATORS`.
    pub operators: Vec<Address>,
    /// `RUNNER_TOKEN_SECS`.
    pub token_secs: u64,
    /// `RUNNER_SESSION_SECS`.
    pub session_secs: u64,
}

/// What the login's settings are checked against.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Whether the network is the local one.
    pub local: bool,
    /// Whether the gateway listens on a loopback address.
    pub loopback: bool,
    /// Whether the operator vouches for the network around another address.
    pub insecure_bind_allowed: bool,
    /// The keys of the chain that this process holds, with their settings' names.
    pub chain_keys: &'a [(&'static str, Address)],
}

impl Mode {
    /// Reads the settings. Mistakes are noted in `env`.
    pub fn read(env: &Env, around: Surroundings<'_>) -> Self {
        match env.with_default("RUNNER_AUTH", "login").as_str() {
            "login" => Self::Login(Box::new(Settings::read(env, around))),
            "none" => {
                check_none(env, around);
                Self::None
            }
            _ => {
                env.mistake("RUNNER_AUTH", "expected login or none");
                Self::None
            }
        }
    }
}

/// Without a login, only the operator may be able to reach the gateway (R4).
fn check_none(env: &Env, around: Surroundings<'_>) {
    if !around.local {
        let text = "none is only for the local network (RUNNER_NETWORK_PASSPHRASE); use login";
        env.mistake("RUNNER_AUTH", text);
    } else if !around.loopback && !around.insecure_bind_allowed {
        let text = "is not a loopback address, and RUNNER_AUTH is none; use RUNNER_AUTH=login, or \
                    set RUNNER_ALLOW_INSECURE_BIND=true if a private network is around it";
        env.mistake("RUNNER_BIND", text);
    }
}

impl Settings {
    fn read(env: &Env, around: Surroundings<'_>) -> Self {
        const SIGNER: &str = "RUNNER_AUTH_SECRET";
        env.required(SIGNER);
        let signer = env.parse(SIGNER, str::parse::<Keypair>);
        let tokens = token_secrets(env);
        check_apart(env, around, signer.as_ref(), &tokens);
        // The configuration is refused when the key is missing; this one is never used.
        let signer = signer.unwrap_or_else(|| Keypair::from_seed(&[0; 32]));

        let public_url = env.optional_url("RUNNER_PUBLIC_URL", &["http", "https"]);
        match &public_url {
            Some(url) if authority(url).is_none() => {
                env.mistake("RUNNER_PUBLIC_URL", "expected http(s)://host[:port] without a user");
            }
            Some(url) if !around.local && !url.starts_with("https://") => {
                env.mistake("RUNNER_PUBLIC_URL", "expected https:// outside of the local network");
            }
            None if !around.local => {
                env.required("RUNNER_PUBLIC_URL");
            }
            Some(_) | None => {}
        }
        let home_domain =
            env.parse("RUNNER_HOME_DOMAIN", |text| check_domain(text).map(|()| text.to_owned()));
        let session_secs = env.number("RUNNER_SESSION_SECS", 604_800, 300..=7_776_000);
        Self {
            signer,
            tokens,
            public_url,
            home_domain,
            contract: contract(env, around.local),
            operators: operators(env),
            token_secs: env.number("RUNNER_TOKEN_SECS", 900, 10..=86_400),
            session_secs,
        }
    }
}

fn token_secrets(env: &Env) -> Vec<Secret> {
    const NAME: &str = "RUNNER_TOKEN_SECRET";
    env.required(NAME);
    let texts = env.list(NAME);
    let is_key = |text: &String| hex::decode(text).is_ok_and(|key| key.len() == 32);
    if !texts.iter().all(is_key) {
        let text = "expected 64 hex digits (openssl rand -hex 32), or several such keys between \
                    commas, of which the first signs";
        env.mistake(NAME, text);
    }
    texts.into_iter().map(Secret::new).collect()
}

/// The login's key, the tokens' key and the chain's keys are different keys: who learns one must
/// not have learnt another (R4).
fn check_apart(env: &Env, around: Surroundings<'_>, signer: Option<&Keypair>, tokens: &[Secret]) {
    let signer = signer.map(Keypair::address);
    let clash = around.chain_keys.iter().find(|(_, key)| Some(*key) == signer);
    if let Some((other, _)) = clash {
        env.mistake("RUNNER_AUTH_SECRET", &format!("is the key of {other}; make one of its own"));
    }
    for token in tokens {
        let seed = hex::decode(token.expose()).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
        let Some(seed) = seed else { continue };
        let address = Keypair::from_seed(&seed).address();
        let chain = around.chain_keys.iter().any(|(_, key)| *key == address);
        if chain || Some(address) == signer {
            env.mistake("RUNNER_TOKEN_SECRET", "is the seed of another key; make one of its own");
        }
    }
}

fn contract(env: &Env, local: bool) -> Option<Address> {
    const NAME: &str = "RUNNER_WEB_AUTH_CONTRACT_ID";
    if env.optional(NAME).is_none() && local {
        return stellar::local::web_auth_id().ok();
    }
    env.parse(NAME, |text| match text.parse() {
        Ok(id @ Address::Contract(_)) => Ok(id),
        _ => Err("expected a contract id (C…)"),
    })
}

fn operators(env: &Env) -> Vec<Address> {
    const NAME: &str = "RUNNER_OPERATORS";
    let accounts = env.list(NAME).into_iter().filter_map(|text| {
        let account = text.parse::<Address>().ok();
        if account.is_none() {
            env.mistake(NAME, "expected accounts (G…) or contracts (C…) between commas");
        }
        account
    });
    accounts.collect()
}

/// `host` or `host:port` of a URL that is http or https and names nothing else that matters.
pub fn authority(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let host = url.host_str().filter(|_| plain)?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// Whether a home domain fits a challenge.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_domain(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    match text.len() {
        1..=LONGEST_DOMAIN if text.bytes().all(plain) => Ok(()),
        _ => Err(format!(
            "expected a domain of at most {LONGEST_DOMAIN} characters, with :port where needed"
        )),
    }
}
