//! What follows from events, read from the contracts' state instead: at the first start, and after
//! a gap. State has no retention window, so it can always answer.

use sqlx::PgConnection;
use stellar::registry::Registry;
use stellar::vault::Vault;
use stellar::{Address, Rpc};

use crate::error::Result;
use crate::sight::Followed;
use crate::sight::store::{self, GrantKey};

/// Entries of one request: what a node takes at once.
const PAGE: u32 = 200;

/// Reads every agent, every known grant and those that unfinished runs need.
pub async fn read(
    conn: &mut PgConnection,
    rpc: &Rpc,
    followed: &Followed,
    closed_at: u64,
) -> Result<()> {
    agents(conn, rpc, followed).await?;
    grants(conn, rpc, followed, closed_at).await
}

/// Agents have the ids 1, 2, 3 and so on; a page without any is behind the last one.
async fn agents(conn: &mut PgConnection, rpc: &Rpc, followed: &Followed) -> Result<()> {
    let registry = Registry(followed.registry);
    let name = followed.registry.to_string();
    let mut first = 1_u32;
    loop {
        let (ledger, agents) = registry.read_agents(rpc, first..first.saturating_add(PAGE)).await?;
        if agents.is_empty() {
            return Ok(());
        }
        let cards: Vec<_> =
            agents.iter().map(|(id, agent)| (*id, agent.latest_rate_version)).collect();
        let cards = registry.read_rate_cards(rpc, &cards).await?;
        for ((id, agent), card) in agents.iter().zip(&cards) {
            store::keep_agent(conn, &name, ledger, (*id, agent), card.as_ref()).await?;
        }
        first = first.saturating_add(PAGE);
    }
}

async fn grants(
    conn: &mut PgConnection,
    rpc: &Rpc,
    followed: &Followed,
    closed_at: u64,
) -> Result<()> {
    let name = followed.vault.to_string();
    let known = store::grants_to_read(conn, &name, &followed.runner.to_string()).await?;
    for page in known.chunks(PAGE as usize) {
        let mut asked: Vec<(&GrantKey, (Address, Address, u32))> = Vec::new();
        for key in page {
            // What is no address has no grant.
            if let (Ok(user), Ok(runner)) = (key.user.parse(), key.runner.parse()) {
                asked.push((key, (user, runner, key.agent_id)));
            }
        }
        let keys: Vec<_> = asked.iter().map(|(_, key)| *key).collect();
        let (ledger, found) = Vault(followed.vault).read_grants(rpc, &keys).await?;
        for ((key, _), grant) in asked.iter().zip(&found) {
            let at = (ledger, closed_at);
            match grant {
                Some(grant) => store::keep_grant(conn, &name, at, key, grant).await?,
                None => store::forget_grant(conn, &name, at, key).await?,
            }
        }
    }
    Ok(())
}
