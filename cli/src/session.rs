//! Logins of this machine at gateways: proved by SEP-10, kept for their owner only, refreshed in
//! time.

use std::collections::BTreeMap;
use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stellar::{Address, Keypair, scval};
use stellar_xdr::{
    Hash, MuxedAccount, Operation, OperationBody, Preconditions, Transaction, TransactionEnvelope,
    TransactionSignaturePayload, TransactionSignaturePayloadTaggedTransaction,
    TransactionV1Envelope, Uint256, WriteXdr as _,
};
use wire::Digest;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::gateway;
use crate::times;

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
/// [`Failure::Usage`] when they cannot be read.
pub fn logins(context: &Context) -> Result<Logins> {
    context.folder.read(&file(context.gateway_url()), true)
}

/// The token for `account`, or of the account that logged in last. `None` without a login.
///
/// # Errors
///
/// [`Failure::Usage`] when the login has ended.
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
/// [`Failure::Usage`] when the login has ended, [`Failure::Unknown`] when the gateway does not
/// answer.
pub async fn refreshed(context: &Context, account: &str, used: &str) -> Result<String> {
    let name = file(context.gateway_url());

    // One process refreshes: a refresh token that two use at once looks stolen to the gateway.
    let _lock = context.folder.lock(&name)?;
    let mut logins: Logins = context.folder.read(&name, true)?;
    let ended =
        || Failure::usage(format!("the login of {account} has ended; run: lumio login --as NAME"));
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
        Err(Failure::Usage(_) | Failure::Bad(_)) => {
            // The gateway takes the refresh token no longer, so that asking again would change
            // nothing.
            logins.sessions.remove(account);
            context.folder.write(&name, &logins)?;
            Err(ended())
        }
        Err(failure) => Err(failure),
    }
}

/// Proves the key's account to the gateway and keeps the session.
///
/// # Errors
///
/// [`Failure::Bad`] when the gateway's challenge is not what it should be: nothing is signed then.
pub async fn log_in(context: &Context, key: &Keypair, home: Option<&str>) -> Result<Session> {
    let base = context.gateway_url().trim_end_matches('/').to_owned();
    let url = Url::parse(&base)
        .map_err(|error| Failure::usage(format!("LUMIO_GATEWAY_URL: '{base}': {error}")))?;
    require_private(context, &url)?;
    let host = authority(&url);
    let home = home.unwrap_or(&host);
    let account = key.address().to_string();

    let text = gateway::fetch_text(context, "/.well-known/stellar.toml").await?;
    let place = Place::read(&text).map_err(|why| {
        Failure::bad(format!(
            "the gateway's stellar.toml cannot be used: {why}; nothing was signed"
        ))
    })?;
    if place.network_passphrase != context.network.passphrase() {
        return Err(Failure::usage(format!(
            "the gateway is on the network '{}', but '{}' is configured; nothing was signed",
            place.network_passphrase,
            context.network.passphrase()
        )));
    }
    let endpoint = Url::parse(&place.endpoint)
        .map_err(|error| Failure::bad(format!("the gateway's WEB_AUTH_ENDPOINT: {error}")))?;
    // The signed challenge goes there, whichever host it is.
    require_private(context, &endpoint)?;
    let mut asked = endpoint.clone();
    asked.query_pairs_mut().append_pair("account", &account).append_pair("home_domain", home);
    let challenge = gateway::get_url(context, asked).await?;
    let transaction = challenge.get("transaction").and_then(Value::as_str).unwrap_or_default();
    let terms = Terms { home, endpoint: &authority(&endpoint), server: place.signing_key };
    let signed = sign(context, key, transaction, &terms).map_err(|why| {
        Failure::bad(format!("the gateway's challenge is refused: {why}; nothing was signed"))
    })?;
    let answer = gateway::post_url(context, endpoint, &json!({ "transaction": signed })).await?;
    let session = read(&answer)?;

    let name = file(&base);
    let _lock = context.folder.lock(&name)?;
    let mut logins: Logins = context.folder.read(&name, true)?;
    logins.gateway = base;
    logins.current = Some(account.clone());
    logins.sessions.insert(account, session.clone());
    context.folder.write(&name, &logins)?;
    Ok(session)
}

/// Forgets a login here; the caller ends it at the gateway first.
///
/// # Errors
///
/// [`Failure::Usage`] when the logins cannot be written.
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
    Err(Failure::usage(format!(
        "{} is not encrypted, and whoever listens would get the token; use https://",
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
    session.ok_or_else(|| Failure::Unknown("the gateway answered with no session".to_owned()))
}

/// `host` or `host:port`.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What `stellar.toml` says of the login (SEP-1).
struct Place {
    network_passphrase: String,
    signing_key: Address,
    endpoint: String,
}

impl Place {
    fn read(text: &str) -> std::result::Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
        let member = |name: &str| {
            let value = table.get(name).and_then(toml::Value::as_str);
            value.map(str::to_owned).ok_or_else(|| format!("it has no {name}"))
        };
        let key = member("SIGNING_KEY")?;
        let signing_key = match key.parse() {
            Ok(key @ Address::Account(_)) => key,
            _ => return Err("its SIGNING_KEY is no account".to_owned()),
        };
        let network_passphrase = member("NETWORK_PASSPHRASE")?;
        Ok(Self { network_passphrase, signing_key, endpoint: member("WEB_AUTH_ENDPOINT")? })
    }
}

/// What a challenge must be about.
struct Terms<'a> {
    home: &'a str,
    endpoint: &'a str,
    server: Address,
}

/// Signs the challenge if it is one: a transaction that can never be applied, made by the server,
/// for this account and this domain (SEP-10). Anything else could move money.
fn sign(
    context: &Context,
    key: &Keypair,
    text: &str,
    terms: &Terms<'_>,
) -> std::result::Result<String, String> {
    let envelope = scval::from_base64("challenge", text).map_err(|error| error.to_string())?;
    let TransactionEnvelope::Tx(envelope) = envelope else {
        return Err("it is another kind of transaction".to_owned());
    };
    let TransactionV1Envelope { tx, signatures } = envelope;
    check(key, &tx, terms)?;
    let payload = TransactionSignaturePayload {
        network_id: Hash(*context.network.id().as_bytes()),
        tagged_transaction: TransactionSignaturePayloadTaggedTransaction::Tx(tx.clone()),
    };
    let hash = Digest::of(&scval::to_xdr(&payload).map_err(|error| error.to_string())?);
    let server = VerifyingKey::from_bytes(terms.server.as_bytes())
        .map_err(|_| "the server's SIGNING_KEY is no key".to_owned())?;
    let by_server = |bytes: &[u8]| {
        <[u8; 64]>::try_from(bytes).is_ok_and(|bytes| {
            server.verify_strict(hash.as_bytes(), &Signature::from_bytes(&bytes)).is_ok()
        })
    };
    if !signatures.iter().any(|one| by_server(one.signature.as_slice())) {
        return Err("it is not signed by the server's SIGNING_KEY".to_owned());
    }
    let mut signatures = signatures.to_vec();
    signatures.push(key.sign_decorated(hash.as_bytes()).map_err(|error| error.to_string())?);
    let signatures = signatures.try_into().map_err(|_| "it has too many signatures".to_owned())?;
    TransactionEnvelope::Tx(TransactionV1Envelope { tx, signatures })
        .to_xdr_base64(scval::limits())
        .map_err(|error| error.to_string())
}

fn check(key: &Keypair, tx: &Transaction, terms: &Terms<'_>) -> std::result::Result<(), String> {
    let account = |address: &Address| MuxedAccount::Ed25519(Uint256(*address.as_bytes()));
    if tx.seq_num.0 != 0 {
        return Err("its sequence number is not 0, so it could be applied".to_owned());
    }
    if tx.source_account != account(&terms.server) {
        return Err("its source is not the server".to_owned());
    }
    match &tx.cond {
        Preconditions::Time(bounds) if bounds.max_time.0 != 0 => {}
        _ => return Err("it has no time limit".to_owned()),
    }
    let mut names_domain = false;
    for (number, operation) in tx.operations.iter().enumerate() {
        let Operation { source_account, body: OperationBody::ManageData(data) } = operation else {
            return Err("it has an operation that a login has not".to_owned());
        };
        let name = data.data_name.as_slice();
        let value = data.data_value.as_ref().map(|value| value.as_slice()).unwrap_or_default();

        // The first operation is the client's, all others are the server's (SEP-10).
        let owner = if number == 0 { key.address() } else { terms.server };
        if source_account.as_ref() != Some(&account(&owner)) {
            return Err("an operation is of another account".to_owned());
        }
        if number == 0 && name != format!("{} auth", terms.home).as_bytes() {
            return Err(format!("it is not for the domain {}", terms.home));
        }
        if number > 0 && name == b"web_auth_domain" {
            if value != terms.endpoint.as_bytes() {
                return Err(format!("it is not of {}", terms.endpoint));
            }
            names_domain = true;
        }
    }
    if names_domain { Ok(()) } else { Err("it does not name the server's domain".to_owned()) }
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

    #[test]
    fn a_stellar_toml_without_its_members_is_refused_by_name() {
        let whole = "NETWORK_PASSPHRASE=\"n\"\n\
             SIGNING_KEY=\"GDRW375MAYR46ODGF2WGANQC2RRZL7O246DYHHCGWTV2RE7IHE2QUQLD\"\n\
             WEB_AUTH_ENDPOINT=\"http://h/auth\"\n";
        assert!(Place::read(whole).is_ok());
        for name in ["NETWORK_PASSPHRASE", "SIGNING_KEY", "WEB_AUTH_ENDPOINT"] {
            let error = Place::read(&whole.replace(name, "OTHER")).err().unwrap();
            assert!(error.contains(name), "{error}");
        }
        assert!(Place::read("not toml").is_err());
    }
}
