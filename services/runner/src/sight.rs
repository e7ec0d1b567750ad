//! What was seen of the network: the events of vault and registry as they are kept, what follows
//! from them, and what contract state proves of a run. The reader of events writes it.

use stellar::{Address, Network};
use wire::NetworkId;

pub mod attempts;
pub mod decode;
pub mod proof;
pub mod state;
pub mod store;

/// How far the reader may be behind the newest ledger before the health says so, in seconds of
/// ledger time.
const BEHIND_SECS: u64 = 120;

/// What is followed.
#[derive(Debug, Clone)]
pub struct Followed {
    /// The network's id.
    pub network: NetworkId,
    /// Its passphrase.
    pub passphrase: String,
    /// The vault.
    pub vault: Address,
    /// The registry.
    pub registry: Address,
    /// The runner whose runs react to what is seen.
    pub runner: Address,
}

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPosition {
    /// Ledgers that were seen of the network and not read.
    pub behind: u64,
    /// The same in seconds of ledger time.
    pub behind_secs: u64,
    /// Gaps that no operator took note of.
    pub gaps: u64,
    /// The first and the last ledger of these gaps.
    pub lost: Option<(i64, i64)>,
}

impl Followed {
    /// What a runner of these contracts follows.
    pub fn new(network: &Network, vault: Address, registry: Address, runner: Address) -> Self {
        let passphrase = network.passphrase().to_owned();
        Self { network: *network.id(), passphrase, vault, registry, runner }
    }
}

impl ReadPosition {
    /// Whether events are known as they should be.
    ///
    /// # Errors
    ///
    /// What is missing, and what to do about it.
    pub fn check(&self) -> Result<(), String> {
        if let Some((first, last)) = self.lost {
            return Err(format!(
                "the contracts' events of ledgers {first} to {last} were forgotten by the node \
                 before they were read; agents and grants were read from state; consumers of \
                 events have to do the same; `runner events gaps --acknowledge` takes note of it"
            ));
        }
        if self.behind_secs > BEHIND_SECS {
            return Err(format!(
                "the contracts' events are read {} s ({} ledgers) behind the network",
                self.behind_secs, self.behind
            ));
        }
        Ok(())
    }
}
