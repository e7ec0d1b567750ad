//! The prepaid vault: its calls, what it stores and answers, what it tells.
//!
//! Types and names follow the contract's own; meters are counts here, since a negative one never leaves
//! the vault.

mod batch;
mod calls;
mod events;
mod run;
mod state;
mod terms;
mod types;

pub use batch::{MOST_OPENS, MOST_SETTLEMENTS};
pub use calls::{Finalize, Open, Vault};
pub use events::{RunFinalized, RunOpened, finalized, opened};
pub use run::{Lifecycle, RunReceipt, RunRecord, SettledRun};
pub use state::{OpenRules, RunState};
pub use terms::{OpenTerms, RunTerms, rates_from, rates_to, settlement_hash, usage_from, usage_to};
pub use types::{Account, Config, Grant, GrantLimits, Policy, PolicyState};
