//! The list of receipts that a gateway made of the events that it followed. It reaches back to when
//! the runner began to follow them, whatever a node has forgotten since.
//!
//! Nothing in it is believed: it counts only where its texts lead to the running hash that the vault
//! holds now.

use stellar::Address;
use wire::receipts::ReceiptsDocument;

use super::facts::Own;
use crate::context::Context;
use crate::error::{CliError, Result};
use crate::gateway::Gateway;

/// Most answers that are joined to one list.
const MOST_PAGES: usize = 1_000;

/// The list of `user`'s receipts at the gateway; `None` if it has none that could be checked. A
/// gateway that does not answer, or refuses, does not stop the question to the chain.
pub async fn list(context: &Context, own: &Own, user: &Address) -> Option<ReceiptsDocument> {
    // Why there is none says nothing about the run: the chain is asked either way, and what could not
    // be looked for is named with the sum.
    all(context, own, user).await.ok().flatten()
}

async fn all(context: &Context, own: &Own, user: &Address) -> Result<Option<ReceiptsDocument>> {
    let gateway = Gateway::new(context)?;
    let mut list = page(&gateway, own, user, None).await?;
    for _ in 1..MOST_PAGES {
        let first = list.receipts.first().map_or(1, |receipt| receipt.number);
        if first <= 1 {
            break;
        }
        // What was read so far counts, also where the pages before it cannot be had.
        let Ok(older) = page(&gateway, own, user, Some(first)).await else { break };

        // What does not lead to this list is not what was before it.
        if older.end() != Some((first - 1, list.before)) {
            break;
        }
        let newer = std::mem::replace(&mut list, older);
        list.receipts.extend(newer.receipts);
    }
    Ok((!list.receipts.is_empty()).then_some(list))
}

async fn page(
    gateway: &Gateway<'_>,
    own: &Own,
    user: &Address,
    before: Option<u64>,
) -> Result<ReceiptsDocument> {
    let query = before.map(|number| format!("?before={number}")).unwrap_or_default();
    let text = gateway.text(&format!("/receipts/{user}{query}")).await?;
    let list = ReceiptsDocument::read(&text)
        .map_err(|error| CliError::bad(format!("it cannot be used: {}", wire::causes(&error))))?;
    match own.owns(&list, user) {
        true => Ok(list),
        false => Err(CliError::bad("it is of another account, vault or network")),
    }
}
