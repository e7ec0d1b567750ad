//! Whether a node lives in the history that is known, by a transaction that landed (R13).
//!
//! A network that was reset, and has come further than the one before it, has a higher ledger and a
//! later time: by these two it cannot be told from the one that is known. But it lacks what landed
//! there.

use stellar::rpc::{Clock, Outcome, TransactionStatus};
use stellar::{ChainError, Rpc};
use wire::TxHash;

use crate::error::Error;

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

    /// The service has to stop: the node that it asks lacks this.
    pub fn another_history(&self) -> Error {
        Error::NetworkReset(format!(
            "RUNNER_RPC_URL: the network has another history than the one in DATABASE_URL ({}): \
             it was reset, or is another network; start with a fresh database, or point to the \
             network it belongs to",
            self.words()
        ))
    }
}

/// The clock of the node at this place, or of whichever has the turn; or the landmark, if the node
/// has another history.
///
/// # Errors
///
/// When the node does not answer.
pub async fn clock(
    rpc: &Rpc,
    place: Option<usize>,
    landmark: Option<Landmark>,
) -> Result<Result<Clock, Landmark>, ChainError> {
    if let Some(landmark) = landmark {
        let answer = match place {
            Some(place) => rpc.transaction_at(place, &landmark.hash).await,
            None => rpc.transaction(&landmark.hash).await,
        };
        match answer {
            Ok(status) if landmark.is_contradicted_by(&status) => return Ok(Err(landmark)),
            Ok(status) => return Ok(Ok(status.clock)),
            // It has the transaction, in a form that this release does not know.
            Err(ChainError::Decode { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(match place {
        Some(place) => rpc.clock_at(place).await?,
        None => rpc.clock().await?,
    }))
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
