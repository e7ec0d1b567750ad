//! Logins of this machine at gateways: proved by SEP-10, by SEP-45 for contract accounts, kept for
//! their owner only, refreshed in time.

mod stellar_toml;
mod sep10;
mod sep45;

use std::collections::BTreeMap;
use std::fmt;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stellar::web_auth::WebAuth;
use stellar::{Address, Keypair};
use wire::Digest;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::gateway;
use crate::times;

use stellar_toml::StellarToml;

/// A token that ends within this many seconds is refreshed before it is used.
const EARLY: u64 = 30;

/// The logins at one gateway.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logins {
    /// The gateway, for people who read the file.
    #[serde(default)]
    pub gateway: String,
    /// The account that logged in last.
    #[serde(default)]
    pub current: Option<String>,
    /// By account.
    #[serde(default)]
    pub sessions: BTreeMap<String, Session>,
}

/// One login.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The bearer token.
    pub token: String,
    /// When it ends, Unix seconds.
    pub expires_at: u64,
    /// What it is refreshed with.
    pub refresh_token: String,
    /// When refreshing ends, Unix seconds.
    pub session_expires_at: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(until {})", self.session_expires_at)
    }
}

/// The file of a gateway's logins.
fn file(gateway: &str) -> String {
    let digest = Digest::of(gateway.trim_end_matches('/').as_bytes()).to_string();
    format!("sessions/{}.json", &digest[..16])
}

/// The logins at the context's gateway.
///
/// # Errors
///
/// [`CliError::Usage`] when they cannot be read.
pub fn logins(context: &Context) -> Result<Logins> {
    context.folder.read(&file(context.gateway_url()), true)
}

/// The token for `account`, or of the account that logged in last. `None` without a login.
///
/// # Errors
///
/// [`CliError::Usage`] when the login has ended.
pub async fn bearer(context: &Context, account: Option<&str>) -> Result<Option<(String, String)>> {
    let logins = logins(context)?;
    let Some(account) = account.map(str::to_owned).or(logins.current) else { return Ok(None) };
    let Some(session) = logins.sessions.get(&account) else { return Ok(None) };
    if session.expires_at > times::now().saturating_add(EARLY) {
        return Ok(Some((account, session.token.clone())));
    }
    let token = refreshed(context, &account, &session.token).await?;
    Ok(Some((account, token)))
}

/// A fresh token for `account`, unless another process has fetched one since `used` was read.
///
/// # Errors
///
/// [`CliError::Usage`] when the login has ended, [`CliError::Unknown`] when the gateway does not
/// answer.
pub async fn refreshed(context: &Context, account: &str, used: &str) -> Result<String> {
    let name = file(context.gateway_url());

    // One process refreshes: a refresh token that two use at once looks stolen to the gateway.
    let _lock = context.folder.lock(&name)?;
    let mut logins: Logins = context.folder.read(&name, true)?;
    let ended = || {
        CliError::usage(format!("the login of {account} has ended; run: {}", how_to(Some(account))))
    };
    let session = logins.sessions.get(account).ok_or_else(ended)?;

    // Another process has refreshed it while this one waited for the lock.
    if session.token != used {
        return Ok(session.token.clone());
    }
    let body = json!({ "refresh_token": session.refresh_token });
    match gateway::exchange(context, "/auth/refresh", &body).await {
        Ok(answer) => {
            let session = read(&answer)?;
            let token = session.token.clone();
            logins.sessions.insert(account.to_owned(), session);
            context.folder.write(&name, &logins)?;
            Ok(token)
        }
        Err(CliError::Usage(_) | CliError::Bad(_)) => {
            // The gateway takes the refresh token no longer, so that asking again would change
            // nothing.
            logins.sessions.remove(account);
            context.folder.write(&name, &logins)?;
            Err(ended())
        }
        Err(failure) => Err(failure),
    }
}

/// The command that logs in, for messages: a contract account is named beside the key.
pub fn how_to(account: Option<&str>) -> String {
    match account.filter(|account| account.starts_with('C')) {
        Some(account) => format!("lumio login --contract {account} --as NAME"),
        None => "lumio login --as NAME".to_owned(),
    }
}

/// Who is to be logged in.
#[derive(Debug)]
pub enum Claim<'a> {
    /// The key's own account.
    Account(&'a Keypair),
    /// A contract account for which the key signs.
    Contract(Address, &'a Keypair),
}

impl Claim<'_> {
    /// The account.
    pub fn account(&self) -> Address {
        match self {
            Self::Account(key) => key.address(),
            Self::Contract(account, _) => *account,
        }
    }
}

/// Proves an account to the gateway and keeps the session.
///
/// # Errors
///
/// [`CliError::Bad`] when the gateway's challenge is not what it should be: nothing is signed then.
/// [`CliError::Usage`] when a contract account does not accept the key: nothing is sent then.
pub async fn log_in(context: &Context, claim: &Claim<'_>, home: Option<&str>) -> Result<Session> {
    let base = context.gateway_url().trim_end_matches('/').to_owned();
    let url = Url::parse(&base)
        .map_err(|error| CliError::usage(format!("LUMIO_GATEWAY_URL: '{base}': {error}")))?;
    require_private(context, &url)?;
    let host = authority(&url);
    let home = home.unwrap_or(&host);

    let toml =
        StellarToml::read(&gateway::fetch_text(context, "/.well-known/stellar.toml").await?)?;
    require_network(context, &toml.network_passphrase)?;
    let answer = match claim {
        Claim::Account(key) => as_account(context, key, &toml, home).await?,
        Claim::Contract(account, key) => as_contract(context, *account, key, &toml, home).await?,
    };
    let session = read(&answer)?;

    let account = claim.account().to_string();
    let name = file(&base);
    let _lock = context.folder.lock(&name)?;
    let mut logins: Logins = context.folder.read(&name, true)?;
    logins.gateway = base;
    logins.current = Some(account.clone());
    logins.sessions.insert(account, session.clone());
    context.folder.write(&name, &logins)?;
    Ok(session)
}

/// SEP-10: the key signs a transaction that can never be applied.
async fn as_account(
    context: &Context,
    key: &Keypair,
    toml: &StellarToml,
    home: &str,
) -> Result<Value> {
    let endpoint = endpoint(context, "WEB_AUTH_ENDPOINT", &toml.endpoint()?)?;
    let challenge = challenge(context, &endpoint, key.address(), home).await?;
    let transaction = gateway::required(&challenge, "transaction")?;
    let terms = Terms { home, endpoint: &authority(&endpoint), server: toml.signing_key };
    let signed = sep10::sign(&context.network, key, transaction, &terms).map_err(refused)?;
    gateway::post_url(context, endpoint, &json!({ "transaction": signed })).await
}

/// SEP-45: the key signs the contract account's authorisation of a call that is only simulated.
async fn as_contract(
    context: &Context,
    account: Address,
    key: &Keypair,
    toml: &StellarToml,
    home: &str,
) -> Result<Value> {
    let (address, contract) = toml.for_contracts()?;
    let endpoint = endpoint(context, "WEB_AUTH_FOR_CONTRACTS_ENDPOINT", &address)?;

    // The account's own code is asked below, so the node has to be of the right network.
    context.connect().await?;
    let challenge = challenge(context, &endpoint, account, home).await?;
    let text = gateway::required(&challenge, "authorization_entries")?;
    let terms = Terms { home, endpoint: &authority(&endpoint), server: toml.signing_key };
    let asked = sep45::Asked { terms, account, contract: WebAuth(contract) };
    let checked = sep45::check(&context.network, text, &asked).map_err(refused)?;
    let signed = sep45::sign(context, key, &checked, &asked).await?;
    gateway::post_url(context, endpoint, &json!({ "authorization_entries": signed })).await
}

/// Where a challenge comes from and goes back to.
fn endpoint(context: &Context, name: &str, address: &str) -> Result<Url> {
    let endpoint = Url::parse(address)
        .map_err(|error| CliError::bad(format!("the gateway's {name}: {error}")))?;

    // The signed challenge goes there, whichever host it is.
    require_private(context, &endpoint)?;
    Ok(endpoint)
}

async fn challenge(
    context: &Context,
    endpoint: &Url,
    account: Address,
    home: &str,
) -> Result<Value> {
    let mut url = endpoint.clone();
    let account = account.to_string();
    url.query_pairs_mut().append_pair("account", &account).append_pair("home_domain", home);
    let challenge = gateway::get_url(context, url).await?;

    // Optional in both standards; one that is there must be ours.
    if let Some(passphrase) = challenge.get("network_passphrase").and_then(Value::as_str) {
        require_network(context, passphrase)?;
    }
    Ok(challenge)
}

fn require_network(context: &Context, passphrase: &str) -> Result<()> {
    if passphrase == context.network.passphrase() {
        return Ok(());
    }
    Err(CliError::usage(format!(
        "the gateway is on the network '{passphrase}', but '{}' is configured; nothing was signed",
        context.network.passphrase()
    )))
}

fn refused(why: String) -> CliError {
    CliError::bad(format!("the gateway's challenge is refused: {why}; nothing was signed"))
}

/// Forgets a login here; the caller ends it at the gateway first.
///
/// # Errors
///
/// [`CliError::Usage`] when the logins cannot be written.
pub fn forget(context: &Context, account: &str) -> Result<()> {
    let name = file(context.gateway_url());
    let _lock = context.folder.lock(&name)?;
    let mut logins: Logins = context.folder.read(&name, true)?;
    logins.sessions.remove(account);
    if logins.current.as_deref() == Some(account) {
        logins.current = logins.sessions.keys().next().cloned();
    }
    context.folder.write(&name, &logins)
}

/// A token is as good as a password: it travels encrypted, except on this machine and to the local
/// network's gateway.
pub fn require_private(context: &Context, url: &Url) -> Result<()> {
    // An IPv6 address has brackets in a URL.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if url.scheme() == "https" || is_loopback || context.network.is_standalone() {
        return Ok(());
    }
    Err(CliError::usage(format!(
        "{} is not encrypted, and anyone on the network could read the token; use https://",
        authority(url)
    )))
}

fn read(answer: &Value) -> Result<Session> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| answer.get(name).and_then(Value::as_u64);
    let session = (|| {
        Some(Session {
            token: text("token")?,
            expires_at: number("expires_at")?,
            refresh_token: text("refresh_token")?,
            session_expires_at: number("session_expires_at")?,
        })
    })();
    session.ok_or_else(|| gateway::unexpected("it is no session"))
}

/// `host` or `host:port`.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What a challenge must be about.
pub(super) struct Terms<'a> {
    /// The domain that the login is for.
    pub(super) home: &'a str,
    /// The host of the login's endpoint.
    pub(super) endpoint: &'a str,
    /// The account whose key signs challenges.
    pub(super) server: Address,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Folder;

    #[test]
    fn a_gateway_has_one_file_with_and_without_its_last_slash() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::new(Some(folder.path())).unwrap();
        let one = folder.path(&file("http://localhost:4000"));
        assert_eq!(one, folder.path(&file("http://localhost:4000/")));
        assert_ne!(one, folder.path(&file("http://localhost:4001")));
    }
}
