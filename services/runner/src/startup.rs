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
use crate::chain::history;
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
    let answered = async {
        while !check(chain).await? {
            sleep(RETRY).await;
        }
        Ok(())
    };
    tokio::select! {
        answered = answered => answered,
        // The node may be silent: a stop does not wait for it. What is written here is complete with
        // each statement.
        () = stop.cancelled() => Ok(()),
    }
}

/// A node on another network would turn its answers against what is known of this one. One that is
/// away now is asked for its network before anything else is asked of it, and put aside if it is
/// another one.
///
/// # Errors
///
/// When no node answers.
async fn wrong_node(chain: &ChainClient) -> crate::error::Result<Option<String>> {
    let ours = chain.network.passphrase();
    let (mut is_found, mut failed) = (false, Vec::new());
    for place in 0..chain.rpc.nodes() {
        match chain.rpc.network_at(place).await {
            Ok(node) if node.network == chain.network => is_found = true,
            Ok(node) => {
                let theirs = node.network.passphrase();
                return Ok(Some(if place == 0 {
                    format!(
                        "RUNNER_NETWORK_PASSPHRASE: is '{ours}', but the node of RUNNER_RPC_URL is \
                         on '{theirs}'"
                    )
                } else {
                    format!(
                        "RUNNER_RPC_FALLBACK_URLS: number {place} is on '{theirs}', but the \
                         network is '{ours}'"
                    )
                }));
            }
            Err(error) => failed.push((place, error)),
        }
    }
    for (place, error) in failed {
        if !is_found {
            return Err(ChainError::from(error).into());
        }
        match place {
            0 => tracing::warn!("RUNNER_RPC_URL: {error}"),
            _ => tracing::warn!("RUNNER_RPC_FALLBACK_URLS: number {place}: {error}"),
        }
    }
    Ok(None)
}

/// A node that lacks what landed lives in another history: its ledgers would raise what was seen of
/// the one that is known. One that is away now is compared by those who ask it.
async fn wrong_history(chain: &ChainClient) -> crate::error::Result<Option<String>> {
    let landmark = store::landmark(&chain.db, *chain.network.id()).await?;
    let Some(landmark) = landmark else { return Ok(None) };
    Ok(history::wrong_node(&chain.rpc, landmark).await)
}

/// The setting that is wrong, if one is.
async fn checked(chain: &ChainClient) -> crate::error::Result<Option<String>> {
    let wrong = wrong_node(chain).await;
    // Also if none answered: from now on each is asked for its network when its turn comes.
    chain.rpc.expect_network(*chain.network.id());
    if let Some(wrong) = wrong? {
        return Ok(Some(wrong));
    }
    if let Some(wrong) = wrong_history(chain).await? {
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
