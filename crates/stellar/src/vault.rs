//! The prepaid vault: its calls, what it stores and answers, its events.
//!
//! Types and names follow the contract's own; meters are counts here, since a negative one never
//! leaves the vault.

mod batch;
mod calls;
mod events;
mod run;
mod state;
mod terms;
mod types;

pub use batch::{MOST_OPENS, MOST_SETTLEMENTS};
pub use calls::{Attestation, Finalize, Open, Vault};
pub use events::{RunFinalized, RunOpened, finalized, opened};
pub use run::{Lifecycle, RunReceipt, RunRecord, SettledRun};
pub use state::{OpenRules, RunState, StoredGrant};
pub use terms::{
    Head, OpenTerms, RunTerms, meters_from, meters_to, rates_from, rates_to, settlement_hash,
    usage_from, usage_to,
};
pub use types::{Account, Config, Grant, GrantLimits, Policy, PolicyState};

#[cfg(test)]
pub(crate) mod tests {
    use wire::{Digest, Nonce, Rates, Usage};

    use super::{Head, Open, OpenTerms};
    use crate::Address;

    /// A run to open, with its head.
    pub(crate) fn open(caller: Address) -> (Head, Open) {
        let head = Head {
            agent_id: 1,
            rate_version: 1,
            rates: Rates { runtime_ms: 1, ..Rates::default() },
            developer: Address::Account([4; 32]),
            manifest_hash: Digest::of(b"module"),
            attesters: vec![[5; 32]],
        };
        let terms = OpenTerms {
            nonce: Nonce::from([7; 32]),
            max_charge: 10,
            runner_fee: 0,
            deadline: 1_800_000_000,
            request_hash: Digest::of(b"request"),
            valid_until: 60,
        };
        let budgets = Usage { runtime_ms: 10, ..Usage::default() };
        let user = Address::Account([3; 32]);
        (head, Open { user, caller, agent_id: 1, rate_version: 1, budgets, terms })
    }
}
