//! Where things are, as the command line and the environment say, and how the chain is reached.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use stellar::amount::{Amount, Unit};
use stellar::registry::Registry;
use stellar::rpc::Applied;
use stellar::tx::{self, PrepareRequest};
use stellar::vault::{Config, Vault};
use stellar::{Address, Call, Keypair, Network, Rpc, token};
use tokio::sync::OnceCell;
use wire::Rates;

use crate::config::{Folder, Networks};
use crate::error::{CliError, Result};
use crate::gateway::TIMEOUT;
use crate::keys::Keys;
use crate::output::{Format, Steps};
use crate::parse::Prices;

/// How long a transaction of the command line may take to be applied, in seconds of ledger time.
const PATIENCE: u64 = 120;
/// What a call may cost without `--max-fee`, in stroops.
const CALL_FEE: i128 = 20 * stellar::amount::STROOPS;
/// How long the node is asked for the vault's token where amounts can be shown without it.
const TOKEN_PATIENCE: Duration = Duration::from_secs(5);

/// Options of every command. `lumio --help` shows them once, so that no other page repeats them;
/// and none is in the usage line of a command, where the environment has usually given it already.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Network by its name, see `lumio network`
    #[arg(long, global = true, env = "LUMIO_NETWORK", value_name = "NAME", hide = true)]
    pub network: Option<String>,
    /// RPC of the network
    #[arg(long, global = true, env = "LUMIO_RPC_URL", value_name = "URL", hide = true)]
    pub rpc_url: Option<String>,
    /// Passphrase of the network
    #[arg(long, global = true, env = "LUMIO_NETWORK_PASSPHRASE", value_name = "TEXT", hide = true)]
    pub network_passphrase: Option<String>,
    /// The vault's contract id
    #[arg(long, global = true, env = "LUMIO_VAULT_ID", value_name = "C…", hide = true)]
    pub vault_id: Option<String>,
    /// The registry's contract id
    #[arg(long, global = true, env = "LUMIO_REGISTRY_ID", value_name = "C…", hide = true)]
    pub registry_id: Option<String>,
    /// The runner's HTTP gateway
    #[arg(long, global = true, env = "LUMIO_GATEWAY_URL", value_name = "URL", hide = true)]
    pub gateway_url: Option<String>,
    /// Bearer token for the gateway, in place of a login
    #[arg(
        long,
        global = true,
        env = "LUMIO_GATEWAY_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        hide = true
    )]
    pub gateway_token: Option<String>,
    /// Folder of this machine's configuration: networks, logins, keys
    #[arg(long, global = true, env = "LUMIO_CONFIG_DIR", value_name = "DIR", hide = true)]
    pub config_dir: Option<PathBuf>,
    /// Folder of this machine's keys
    #[arg(long, global = true, env = "LUMIO_KEYS_DIR", value_name = "DIR", hide = true)]
    pub keys_dir: Option<PathBuf>,
    /// Most that one transaction may cost, such as 2.5 (XLM) or 25000000stroops
    #[arg(
        long,
        global = true,
        value_name = "AMOUNT",
        value_parser = crate::parse::fee,
        hide = true
    )]
    pub max_fee: Option<i128>,
    /// How to print
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", hide = true)]
    pub output: Format,
}

/// What [`Settings`] are, for the one page that shows them.
pub const SETTINGS_HELP: &str = "\
Options of every command (each may stand anywhere; an option counts before the environment, that before the network's profile):
      --network NAME             a network of `lumio network list`            [env: LUMIO_NETWORK; default: the one in use, else local]
      --rpc-url URL              RPC of the network                           [env: LUMIO_RPC_URL; local: http://localhost:8000]
      --network-passphrase TEXT  passphrase of the network                    [env: LUMIO_NETWORK_PASSPHRASE]
      --vault-id C…              the vault                                    [env: LUMIO_VAULT_ID; local: the local deployment's]
      --registry-id C…           the registry                                 [env: LUMIO_REGISTRY_ID; local: the local deployment's]
      --gateway-url URL          the runner's HTTP gateway                    [env: LUMIO_GATEWAY_URL; local: http://localhost:4000]
      --gateway-token TOKEN      bearer token, in place of `lumio login`      [env: LUMIO_GATEWAY_TOKEN]
      --config-dir DIR           networks, logins and keys                    [env: LUMIO_CONFIG_DIR; default: ~/.config/lumio]
      --keys-dir DIR             keys                                         [env: LUMIO_KEYS_DIR; default: keys in the folder above]
      --max-fee AMOUNT           most that one transaction may cost           [default: 20 XLM; to deploy and administer 400]
      --output text|json         how to print; json also prints errors        [default: text]";

const LOCAL_RPC: &str = "http://localhost:8000";
const LOCAL_GATEWAY: &str = "http://localhost:4000";

/// Settings that were understood.
#[derive(Debug)]
pub struct Context {
    /// The network.
    pub network: Network,
    /// The way to it.
    pub rpc: Rpc,
    /// This machine's keys.
    pub keys: Keys,
    /// This machine's configuration.
    pub folder: Folder,
    /// Says what happens on the way.
    pub steps: Steps,
    /// The profile's name.
    profile: String,
    gateway_url: String,
    settings: Settings,
    http: OnceLock<reqwest::Client>,
    unit: OnceCell<Unit>,
}

impl Context {
    /// Understands the settings. Nothing is asked over the network yet.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] naming the setting.
    pub fn new(mut settings: Settings) -> Result<Self> {
        let folder = Folder::new(settings.config_dir.as_deref())?;
        let networks = Networks::read(&folder)?;
        let (name, profile) = networks.pick(settings.network.as_deref())?;

        // An option or the environment counts before the profile, member by member.
        settings.vault_id = settings.vault_id.or(profile.vault_id);
        settings.registry_id = settings.registry_id.or(profile.registry_id);
        let passphrase = settings.network_passphrase.clone().or(profile.network_passphrase);
        let passphrase = passphrase.unwrap_or_else(|| stellar::STANDALONE.to_owned());
        let rpc_url = settings.rpc_url.clone().or(profile.rpc_url);
        let rpc_url = rpc_url.unwrap_or_else(|| LOCAL_RPC.to_owned());
        let gateway_url = settings.gateway_url.clone().or(profile.gateway_url);
        let gateway_url = gateway_url.unwrap_or_else(|| LOCAL_GATEWAY.to_owned());

        // All at once: a wrong address would otherwise look like a service that is away.
        let named = |option: &str| format!("{option}, or the network '{name}'");
        require_http(&named("--rpc-url (LUMIO_RPC_URL)"), &rpc_url)?;
        require_http(&named("--gateway-url (LUMIO_GATEWAY_URL)"), &gateway_url)?;
        if let Some(token) = &settings.gateway_token {
            require_token("--gateway-token (LUMIO_GATEWAY_TOKEN)", token)?;
        }

        let keys = settings.keys_dir.clone().unwrap_or_else(|| folder.path("keys"));
        let rpc = Rpc::new(&rpc_url)
            .map_err(|error| CliError::usage(format!("--rpc-url (LUMIO_RPC_URL): {error}")))?;
        // For `node`, which names the address that is really used.
        settings.rpc_url = Some(rpc_url);
        Ok(Self {
            network: Network::new(&passphrase),
            rpc,
            keys: Keys::new(keys),
            folder,
            steps: Steps(settings.output),
            profile: name,
            gateway_url,
            settings,
            http: OnceLock::new(),
            unit: OnceCell::new(),
        })
    }

    /// The client for everything that is not the chain. Making one reads the system's certificates,
    /// so that one serves a whole command.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when no client can be made.
    pub fn http(&self) -> Result<reqwest::Client> {
        if let Some(http) = self.http.get() {
            return Ok(http.clone());
        }
        // A redirect could lead a token elsewhere.
        let redirects = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().connect_timeout(TIMEOUT).redirect(redirects).build();
        let http =
            http.map_err(|error| CliError::usage(format!("cannot make an HTTP client: {error}")))?;
        // Who came first counts; the other client serves as well.
        Ok(self.http.get_or_init(|| http).clone())
    }

    /// The settings as they were given.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The gateway's address.
    pub fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// The node's address and where it is set, for the message that it cannot be reached.
    /// Credentials in it are left out (R9).
    pub fn node(&self) -> String {
        let url = self.settings.rpc_url.as_deref().unwrap_or(LOCAL_RPC);
        let profile = &self.profile;
        format!(
            "{} (set by --rpc-url, LUMIO_RPC_URL or the network '{profile}')",
            without_credentials(url)
        )
    }

    /// The vault.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when none is configured and the network is not local, or it is no
    /// contract's id.
    pub fn vault(&self) -> Result<Vault> {
        self.contract(
            "LUMIO_VAULT_ID",
            self.settings.vault_id.as_deref(),
            stellar::local::vault_id()?,
        )
        .map(Vault)
    }

    /// The registry.
    ///
    /// # Errors
    ///
    /// As [`Context::vault`].
    pub fn registry(&self) -> Result<Registry> {
        self.contract(
            "LUMIO_REGISTRY_ID",
            self.settings.registry_id.as_deref(),
            stellar::local::registry_id()?,
        )
        .map(Registry)
    }

    /// What the vault was set up with.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when there is no vault, else those of [`Vault::read_config`].
    pub async fn vault_config(&self) -> Result<Config> {
        let vault = self.vault()?;
        vault.read_config(&self.rpc).await?.ok_or_else(|| {
            CliError::usage(format!(
                "there is no vault {} on this network; deploy it with: lumio deploy, or set \
                 LUMIO_VAULT_ID",
                vault.0
            ))
        })
    }

    /// How amounts of the vault's token are written.
    ///
    /// # Errors
    ///
    /// Those of [`Context::vault_config`] and [`token::unit`].
    pub async fn unit(&self) -> Result<&Unit> {
        self.unit.get_or_try_init(|| self.read_unit()).await
    }

    async fn read_unit(&self) -> Result<Unit> {
        let token = self.vault_config().await?.token;
        Ok(token::unit(&self.rpc, &self.network, token).await?)
    }

    /// How amounts are shown: as [`Context::unit`] has it, and in stroops alone where the token
    /// cannot be asked.
    pub async fn shown_unit(&self) -> Unit {
        match tokio::time::timeout(TOKEN_PATIENCE, self.unit()).await {
            Ok(Ok(unit)) => unit.clone(),
            Ok(Err(_)) | Err(_) => Unit::default(),
        }
    }

    /// An amount of the vault's token in stroops.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when the token has no such amount; of whole tokens also those of
    /// [`Context::unit`].
    pub async fn stroops(&self, amount: &Amount) -> Result<i128> {
        if let Some(stroops) = amount.in_stroops() {
            return Ok(stroops);
        }
        let unit = self.unit().await?;
        unit.stroops(amount).map_err(|error| CliError::usage(error.to_string()))
    }

    /// As [`Context::stroops`]; `otherwise` where no amount was given.
    ///
    /// # Errors
    ///
    /// As [`Context::stroops`].
    pub async fn stroops_or(&self, amount: Option<&Amount>, otherwise: i128) -> Result<i128> {
        match amount {
            Some(amount) => self.stroops(amount).await,
            None => Ok(otherwise),
        }
    }

    /// Prices in stroops.
    ///
    /// # Errors
    ///
    /// As [`Context::stroops`].
    pub async fn rates(&self, prices: &Prices) -> Result<Rates> {
        Ok(Rates {
            llm_in: self.stroops(&prices.llm_in).await?,
            llm_out: self.stroops(&prices.llm_out).await?,
            http_calls: self.stroops(&prices.http_calls).await?,
            runtime_ms: self.stroops(&prices.runtime_ms).await?,
        })
    }

    /// Fails unless the RPC answers and is on the configured network.
    ///
    /// # Errors
    ///
    /// [`CliError::Unknown`] when it does not answer, [`CliError::Usage`] when it is on another
    /// network.
    pub async fn connect(&self) -> Result<()> {
        self.rpc.require_network(&self.network).await?;
        Ok(())
    }

    /// Signs `call` with `key`, which also pays, sends it and waits until it is applied.
    ///
    /// # Errors
    ///
    /// Those of [`tx::submit_and_wait`].
    pub async fn submit(&self, key: &Keypair, call: impl Into<Call>) -> Result<Applied> {
        self.submit_within(key, call, CALL_FEE).await
    }

    /// As [`Context::submit`], for what costs more: `fee` stroops at most where `--max-fee` says
    /// nothing.
    ///
    /// # Errors
    ///
    /// As [`Context::submit`].
    pub async fn submit_within(
        &self,
        key: &Keypair,
        call: impl Into<Call>,
        fee: i128,
    ) -> Result<Applied> {
        let call = call.into();
        // Ledger time, which the network compares the limit with.
        let now = self.rpc.clock().await?.latest_close;
        let request = PrepareRequest {
            network: &self.network,
            source: key,
            call: &call,
            signers: &[],
            max_time_unix: now.saturating_add(PATIENCE),
            auth_valid_ledgers: tx::AUTH_LEDGERS,
            fee_ceiling: u64::try_from(self.settings.max_fee.unwrap_or(fee)).unwrap_or(u64::MAX),
        };
        Ok(tx::submit_and_wait(&self.rpc, &request).await?)
    }

    fn contract(&self, variable: &str, given: Option<&str>, local: Address) -> Result<Address> {
        match given {
            Some(text) => match text.parse() {
                Ok(address @ Address::Contract(_)) => Ok(address),
                _ => Err(CliError::usage(format!(
                    "{variable}: '{text}' is no contract id; expected C…"
                ))),
            },
            // Elsewhere the id of the local deployment would be another contract, or none.
            None if self.network.is_standalone() => Ok(local),
            None => Err(CliError::usage(format!(
                "{variable} is not set, and only the local network has a default; set it, or keep \
                    it \
                 with: lumio network add"
            ))),
        }
    }
}

/// Fails unless `url`, which `setting` says, is an address that HTTP can reach.
///
/// # Errors
///
/// [`CliError::Usage`] naming the setting.
pub fn require_http(setting: &str, url: &str) -> Result<()> {
    let is_http = reqwest::Url::parse(url)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    if is_http {
        return Ok(());
    }
    // What is no such address may have a credential anywhere, so it is not repeated (R9).
    Err(CliError::usage(format!("{setting}: expected http(s)://host[:port]")))
}

/// Fails unless `token`, which `setting` says, can be sent in a header. It is not repeated (R9).
///
/// # Errors
///
/// [`CliError::Usage`] naming the setting.
pub fn require_token(setting: &str, token: &str) -> Result<()> {
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(CliError::usage(format!(
        "{setting}: expected a token of printable ASCII characters, without spaces or line breaks"
    )))
}

/// A URL as it may be shown.
pub fn without_credentials(url: &str) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url) else { return url.to_owned() };
    // These fail only for URLs that have no host, which have no credentials either.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    // A query may hold a key of the provider.
    parsed.set_query(None);
    parsed.to_string().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_of_http_is_refused_without_its_credentials() {
        for url in ["http://localhost:4000", "https://user:password@gate.example/x"] {
            require_http("--x", url).unwrap();
        }
        for url in [
            "ftp://user:password@x",
            "user:password@x",
            "//user:password@x",
            "wss://x/v2/password",
            "http://user:password@",
            "http://",
            "localhost:4000",
            "data:x",
            "",
            "/x",
        ] {
            let error = require_http("--x (X)", url).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            let error = error.to_string();
            assert!(error.starts_with("--x (X): ") && !error.contains("password"), "{error}");
        }
        require_token("--x", "eyJhbGciOi.J9_-~+/=").unwrap();
        for token in ["hunter2\n", "hunter 2", "hunter\u{7f}2", "hünter2"] {
            let error = require_token("--x (X)", token).unwrap_err().to_string();
            assert!(error.starts_with("--x (X): ") && !error.contains("2:"), "{error}");
            assert!(!error.contains(token), "{error}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_credentials() {
        let shown =
            without_credentials("https://user:password@node.example:8000/rpc?apikey=secret");
        assert_eq!(shown, "https://node.example:8000/rpc");
        assert_eq!(without_credentials("http://localhost:8000"), "http://localhost:8000");
    }
}
