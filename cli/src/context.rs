//! Where things are, as the command line and the environment say, and how the chain is reached.

use std::path::PathBuf;

use stellar::registry::Registry;
use stellar::rpc::Applied;
use stellar::tx::{self, PrepareRequest};
use stellar::vault::Vault;
use stellar::{Address, Call, Keypair, Network, Rpc};

use crate::failure::{Failure, Result};
use crate::keys::Keys;
use crate::output::{Format, Steps};

/// How long a transaction of the command line may take to be applied, in seconds of ledger time.
const PATIENCE: u64 = 120;
/// What a call may cost where nobody says otherwise, in stroops.
const CALL_FEE: i128 = 20 * stellar::amount::STROOPS;

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Where things are")]
pub struct Settings {
    /// RPC of the network
    #[arg(
        long,
        global = true,
        env = "LUMIO_RPC_URL",
        default_value = "http://localhost:8000",
        value_name = "URL"
    )]
    pub rpc_url: String,
    /// Passphrase of the network
    #[arg(long, global = true, env = "LUMIO_NETWORK_PASSPHRASE", default_value = stellar::STANDALONE, value_name = "TEXT")]
    pub network_passphrase: String,
    /// The vault's contract id [default: the local deployment's]
    #[arg(long, global = true, env = "LUMIO_VAULT_ID", value_name = "C…")]
    pub vault_id: Option<String>,
    /// The registry's contract id [default: the local deployment's]
    #[arg(long, global = true, env = "LUMIO_REGISTRY_ID", value_name = "C…")]
    pub registry_id: Option<String>,
    /// The runner's HTTP gateway
    #[arg(
        long,
        global = true,
        env = "LUMIO_GATEWAY_URL",
        default_value = "http://localhost:4000",
        value_name = "URL"
    )]
    pub gateway_url: String,
    /// Bearer token for the gateway, where it wants one
    #[arg(
        long,
        global = true,
        env = "LUMIO_GATEWAY_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub gateway_token: Option<String>,
    /// Folder of this machine's keys [default: ~/.config/lumio/keys]
    #[arg(long, global = true, env = "LUMIO_KEYS_DIR", value_name = "DIR")]
    pub keys_dir: Option<PathBuf>,
    /// Most that one transaction may cost, such as 2.5 (XLM) or 25000000stroops [default: 20; to deploy and administer 400]
    #[arg(long, global = true, value_name = "AMOUNT", value_parser = crate::parse::amount)]
    pub max_fee: Option<i128>,
    /// How to print
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Settings that were understood.
#[derive(Debug)]
pub struct Context {
    /// The network.
    pub network: Network,
    /// The way to it.
    pub rpc: Rpc,
    /// This machine's keys.
    pub keys: Keys,
    /// Tells what happens on the way.
    pub steps: Steps,
    settings: Settings,
}

impl Context {
    /// Understands the settings. Asks nobody yet.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] naming the setting.
    pub fn new(settings: Settings) -> Result<Self> {
        let folder = match &settings.keys_dir {
            Some(folder) => folder.clone(),
            None => std::env::home_dir()
                .ok_or_else(|| Failure::usage("no home folder is known; set LUMIO_KEYS_DIR"))?
                .join(".config/lumio/keys"),
        };
        let rpc = Rpc::new(&settings.rpc_url)
            .map_err(|error| Failure::usage(format!("LUMIO_RPC_URL: {error}")))?;
        Ok(Self {
            network: Network::new(&settings.network_passphrase),
            rpc,
            keys: Keys::new(folder),
            steps: Steps(settings.output),
            settings,
        })
    }

    /// The settings as they were given.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The vault.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] when none is configured and the network is not the local one, or it is no contract's id.
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

    /// Fails unless the RPC answers and is on the configured network.
    ///
    /// # Errors
    ///
    /// [`Failure::Unknown`] when it does not answer, [`Failure::Usage`] when it is on another network.
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

    /// As [`Context::submit`], for what costs more: `fee` stroops at most where `--max-fee` says nothing.
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
                _ => Err(Failure::usage(format!("{variable}: '{text}' is no contract id (C…)"))),
            },
            None if self.network.is_standalone() => Ok(local),
            None => Err(Failure::usage(format!(
                "{variable} is not set, and only the local network has a default"
            ))),
        }
    }
}
