//! Whether a node lives in the history that is known, by a transaction that landed (R13).
//!
//! A network that was reset, and has come further than the one before it, has a higher ledger and a
//! later time: these two do not distinguish it from the one that is known. But it lacks what landed
//! there.

use stellar::rpc::{Clock, Outcome, TransactionStatus};
use stellar::{ChainError, Rpc};
use wire::TxHash;

/// How many ledgers away from both ends of what a node keeps a transaction has to be for its
/// absence to prove anything: the parts of one answer may be of different moments.
pub const INNER_LEDGERS: u32 = 10;

/// A transaction that landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landmark {
    /// Its hash.
    pub hash: TxHash,
    /// The ledger that it is in.
    pub ledger: u32,
}

impl Landmark {
    /// Whether an answer about it proves another history. A node that has forgotten its ledger, or
    /// has not reached it, proves nothing.
    pub fn is_contradicted_by(&self, status: &TransactionStatus) -> bool {
        match &status.outcome {
            Outcome::Applied(applied) => applied.ledger != self.ledger,
            Outcome::NotFound => {
                let Clock { oldest_ledger, latest_ledger, .. } = status.clock;
                let first = oldest_ledger.saturating_add(INNER_LEDGERS);
                (first..=latest_ledger.saturating_sub(INNER_LEDGERS)).contains(&self.ledger)
            }
        }
    }

    /// What a node lacks that has another history, in words.
    pub fn words(&self) -> String {
        format!("the transaction {} is not in its ledger {}", self.hash, self.ledger)
    }
}

/// What is wrong with the first node that has another history, with the name of its setting. A node
/// that is away proves nothing.
pub async fn wrong_node(rpc: &Rpc, landmark: Landmark) -> Option<String> {
    for place in 0..rpc.nodes() {
        let setting = match place {
            0 => "RUNNER_RPC_URL".to_owned(),
            _ => format!("RUNNER_RPC_FALLBACK_URLS: number {place}"),
        };
        match clock(rpc, place, Some(landmark)).await {
            Ok(Ok(_)) => {}
            Ok(Err(landmark)) => {
                return Some(format!(
                    "{setting}: the node has another history than the one in DATABASE_URL ({}): \
                     the network was reset, or is another one; start with a fresh database, or \
                     point to the network it belongs to",
                    landmark.words()
                ));
            }
            Err(error) => tracing::debug!("{setting}: the node's history is not known: {error}"),
        }
    }
    None
}

/// The clock of the node at this place; or the landmark, if the node has another history.
///
/// # Errors
///
/// When the node does not answer.
pub async fn clock(
    rpc: &Rpc,
    place: usize,
    landmark: Option<Landmark>,
) -> Result<Result<Clock, Landmark>, ChainError> {
    if let Some(landmark) = landmark {
        match rpc.transaction_at(place, &landmark.hash).await {
            Ok(status) if landmark.is_contradicted_by(&status) => return Ok(Err(landmark)),
            Ok(status) => return Ok(Ok(status.clock)),
            // It has the transaction, in a form that this release does not know.
            Err(ChainError::Decode { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(rpc.clock_at(place).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_that_keeps_the_ledger_of_what_it_lacks_has_another_history() {
        let landmark = Landmark { hash: TxHash::from([7; 32]), ledger: 100 };
        let lacks = |oldest_ledger, latest_ledger| {
            let clock = Clock { latest_ledger, latest_close: 0, oldest_ledger, oldest_close: 0 };
            let status = TransactionStatus { clock, outcome: Outcome::NotFound };
            landmark.is_contradicted_by(&status)
        };
        assert!(lacks(1, 5_000));
        assert!(lacks(90, 110));
        // It has nearly forgotten it, or has.
        assert!(!lacks(91, 5_000));
        assert!(!lacks(101, 5_000));
        // It is behind, or has just reached it.
        assert!(!lacks(1, 109));
        assert!(!lacks(1, 99));
        assert!(!lacks(1, 3));
        assert!(!lacks(u32::MAX, u32::MAX));
    }
}
