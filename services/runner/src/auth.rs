//! Who calls, and what they may do (R4).
//!
//! An account proves itself by SEP-10 ([`sep10`]: `G…` and `M…`) or SEP-45 ([`sep45`]: contracts)
//! and gets a short-lived bearer token ([`token`]) of a session ([`session`]) that can be refreshed
//! and revoked. [`caller`] turns a token into a [`Caller`], which every handler asks before it
//! answers.
//!
//! Everything fails closed: a route is behind [`guard`] unless it is one of [`routes`] or a probe,
//! a token whose session cannot be looked up is not accepted, and a proof whose signers cannot be
//! read from the network is refused.

pub mod caller;
pub mod sep10;
pub mod sep45;
pub mod session;
pub mod settings;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use stellar::web_auth::WebAuth;
use stellar::{Address, Keypair, Network, Rpc};
use tokio::sync::Semaphore;
use wire::{ChallengeId, Problem};

use crate::auth::settings::Settings;
use crate::auth::token::TokenKeys;
use crate::error::{Error, Result};

pub use caller::{Caller, Role, guard};
pub use settings::Mode;

/// Proofs that may be checked at one time; each costs calls of the network's node.
const MOST_PROOFS: usize = 16;
/// How long the node may take for one proof.
const PROOF_LIMIT: Duration = Duration::from_secs(20);
/// How long a challenge may be answered, in seconds: SEP-10 recommends 15 minutes, enough for
/// several signers with hardware wallets.
pub const CHALLENGE_SECS: u64 = 900;

/// Whether callers are asked who they are.
#[derive(Debug, Clone)]
pub enum Access {
    /// Everybody may do everything: loopback and the local network only.
    Open,
    /// Callers log in.
    Login(Arc<Login>),
}

/// What a login needs.
#[derive(Debug)]
pub struct Login {
    /// Signs challenges; `SIGNING_KEY` of `stellar.toml`.
    pub signer: Keypair,
    /// The network that the proofs are for.
    pub network: Network,
    /// Where signers are read and contracts asked.
    pub rpc: Rpc,
    /// Where sessions and used challenges are kept.
    pub db: PgPool,
    /// Signs and reads tokens.
    pub tokens: TokenKeys,
    /// Where clients reach this gateway, without a slash at its end.
    pub public_url: String,
    /// Which domain a login is for.
    pub home_domain: String,
    /// The domain that serves the login: the authority of `public_url`.
    pub web_auth_domain: String,
    /// The contract of SEP-45; without one, contracts cannot log in.
    pub contract: Option<WebAuth>,
    /// The accounts that operate this runner.
    pub operators: Vec<Address>,
    /// How long a session can be refreshed, in seconds.
    pub session_secs: u64,
    proofs: Semaphore,
}

/// A proof that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who proved it, as tokens name it: `G…`, `M…`, `G…:memo` or `C…`.
    pub subject: String,
    /// The account on the network, whose runs the subject may see.
    pub account: Address,
    /// The challenge. One challenge gives one session.
    pub challenge: ChallengeId,
    /// When the challenge can no longer be answered, in Unix seconds.
    pub expires_at: u64,
}

impl Access {
    /// Takes the settings over. `local_url` is where the gateway listens.
    ///
    /// # Errors
    ///
    /// When the node's address cannot be used, or a domain is too long; begins with the setting.
    pub fn new(
        mode: Mode,
        (network, rpc_url): (&Network, &str),
        db: &PgPool,
        local_url: &str,
    ) -> anyhow::Result<Self> {
        let Mode::Login(settings) = mode else { return Ok(Self::Open) };
        let Settings { signer, tokens, public_url, home_domain, .. } = *settings;
        let public_url = public_url.unwrap_or_else(|| local_url.to_owned());
        let public_url = public_url.trim_end_matches('/').to_owned();
        let web_auth_domain = settings::authority(&public_url)
            .ok_or_else(|| anyhow::anyhow!("RUNNER_PUBLIC_URL: expected http(s)://host[:port]"))?;
        let home_domain = home_domain.unwrap_or_else(|| web_auth_domain.clone());
        settings::check_domain(&home_domain)
            .map_err(|why| anyhow::anyhow!("RUNNER_HOME_DOMAIN: {why}"))?;
        Ok(Self::Login(Arc::new(Login {
            signer,
            network: network.clone(),
            rpc: Rpc::new(rpc_url).map_err(|error| anyhow::anyhow!("RUNNER_RPC_URL: {error}"))?,
            db: db.clone(),
            tokens: TokenKeys::new(&tokens, &public_url, settings.token_secs)
                .map_err(|error| anyhow::anyhow!("RUNNER_TOKEN_SECRET: {error}"))?,
            public_url,
            home_domain,
            web_auth_domain,
            contract: settings.contract.map(WebAuth),
            operators: settings.operators,
            session_secs: settings.session_secs,
            proofs: Semaphore::new(MOST_PROOFS),
        })))
    }

    /// The contract by which contract accounts log in (SEP-45).
    pub fn web_auth(&self) -> Option<Address> {
        match self {
            Self::Login(login) => login.contract.map(|contract| contract.0),
            Self::Open => None,
        }
    }

    /// Whether callers must log in.
    pub const fn is_login(&self) -> bool {
        matches!(self, Self::Login(_))
    }
}

impl Login {
    /// Checks a proof by `check`, within the limits of time and number.
    async fn within_limits<T>(&self, check: impl Future<Output = Result<T>>) -> Result<T> {
        let Ok(_permit) = self.proofs.try_acquire() else {
            let text = "too many logins are being checked; try again in a moment";
            return Err(Error::refused(Problem::RateLimited, text));
        };
        tokio::time::timeout(PROOF_LIMIT, check).await.unwrap_or_else(|_| {
            let text = "the network did not answer in time; try again";
            Err(Error::refused(Problem::Unavailable, text))
        })
    }

    /// What an account is to this runner.
    pub fn role(&self, account: &Address) -> Role {
        if self.operators.contains(account) { Role::Operator } else { Role::User }
    }
}

/// A proof that is not accepted. The text says which rule it breaks.
fn refused(why: impl std::fmt::Display) -> Error {
    Error::refused(Problem::Unauthenticated, format!("the login is refused: {why}"))
}

/// A request for a challenge that cannot be answered.
pub(crate) fn invalid(why: impl Into<String>) -> Error {
    Error::refused(Problem::InvalidRequest, why)
}

/// The current time in whole Unix seconds.
fn now() -> u64 {
    u64::try_from(chassis::clock::now().unix_timestamp()).unwrap_or_default()
}
