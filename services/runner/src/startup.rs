//! What is looked at before work begins: the network is the one that was meant, and the contracts
//! are there. An invalid setting ends the start with its name; an unreachable node is asked again
//! until it answers.

use std::time::Duration;

use anyhow::bail;
use stellar::ChainError;
use stellar::vault::Vault;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::chain::client::ChainClient;
use crate::chain::store;
use crate::error::Error;

/// Between two attempts to reach the node.
const RETRY: Duration = Duration::from_secs(1);

/// Checks the network once. `false` if the node does not answer, or is behind: nothing is known.
///
/// # Errors
///
/// When a setting is wrong; the text begins with its name.
pub async fn check(chain: &ChainClient) -> anyhow::Result<bool> {
    match checked(chain).await {
        Err(Error::Chain(error)) => {
            tracing::warn!("RUNNER_RPC_URL: nothing is known of the network yet: {error}");
            Ok(false)
        }
        Err(error) => Err(error.into()),
        Ok(None) => Ok(true),
        Ok(Some(wrong)) => bail!(wrong),
    }
}

/// Checks again and again until the node answers, or until `stop`.
///
/// # Errors
///
/// As [`check`].
pub async fn wait(chain: &ChainClient, stop: &CancellationToken) -> anyhow::Result<()> {
    while !stop.is_cancelled() && !check(chain).await? {
        tokio::select! {
            () = sleep(RETRY) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

/// A fallback on another network would turn its answers against what is known of this one. One that
/// is away now is looked at when its turn comes, by its ledgers.
async fn wrong_fallback(chain: &ChainClient) -> Option<String> {
    for place in 1..chain.rpc.nodes() {
        match chain.rpc.network_at(place).await {
            Ok(node) if node.network == chain.network => {}
            Ok(node) => {
                let (theirs, ours) = (node.network.passphrase(), chain.network.passphrase());
                return Some(format!(
                    "RUNNER_RPC_FALLBACK_URLS: number {place} is on '{theirs}', but the network is \
                     '{ours}'"
                ));
            }
            Err(error) => tracing::warn!("RUNNER_RPC_FALLBACK_URLS: number {place}: {error}"),
        }
    }
    None
}

/// The setting that is wrong, if one is.
async fn checked(chain: &ChainClient) -> crate::error::Result<Option<String>> {
    let node = chain.rpc.network().await.map_err(ChainError::from)?;
    if node.network != chain.network {
        let (theirs, ours) = (node.network.passphrase(), chain.network.passphrase());
        return Ok(Some(format!(
            "RUNNER_NETWORK_PASSPHRASE: is '{ours}', but the node of RUNNER_RPC_URL is on \
             '{theirs}'"
        )));
    }
    if let Some(wrong) = wrong_fallback(chain).await {
        return Ok(Some(wrong));
    }
    let config = match Vault(chain.vault).read_config(&chain.rpc).await {
        Ok(Some(config)) => config,
        Ok(None) => {
            let vault = chain.vault;
            return Ok(Some(format!(
                "RUNNER_CONTRACT_ID: there is no contract {vault} on this network; deploy it, or \
                 correct the id"
            )));
        }
        Err(ChainError::Decode { why, .. }) => {
            return Ok(Some(format!("RUNNER_CONTRACT_ID: {} is no vault: {why}", chain.vault)));
        }
        Err(error) => return Err(error.into()),
    };
    if config.registry != chain.registry {
        return Ok(Some(format!(
            "RUNNER_AGENT_REGISTRY_ID: is {}, but the vault was set up with {}",
            chain.registry, config.registry
        )));
    }
    // Raises the high-water mark, and finds another history before anything is signed.
    chain.now().await?;
    for source in &chain.sources {
        store::add_channel(&chain.db, &source.address().to_string()).await?;
    }
    let sources = chain.sources.iter().map(|key| (key.setting("RUNNER_SOURCE_SECRET"), key));
    let runner = (chain.runner.setting("RUNNER_SECRET"), &chain.runner);
    for (setting, key) in std::iter::once(runner).chain(sources) {
        let account = key.address();
        if chain.rpc.account(&account).await?.is_none() {
            tracing::warn!(
                "{setting}: the account {account} does not exist; fund it, or runs fail"
            );
        }
    }
    Ok(None)
}
