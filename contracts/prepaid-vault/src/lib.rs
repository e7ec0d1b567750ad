#![no_std]
#![expect(missing_docs, reason = "the contract macros make public items of their own")]
#![expect(
    clippy::too_many_arguments,
    reason = "the single calls name each argument; macros repeat it"
)]
#![expect(clippy::large_enum_variant, reason = "there is no heap, and each lives for one call")]
// What auditors' linters look for beyond the workspace's lints, in what is built to Wasm.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable
    )
)]
//! The prepaid vault: a user deposits a token, lets a runner spend from it for one agent under
//! caps, and each run escrows its highest price before it starts and settles what was metered.
//!
//! What it promises: the token balance covers everything it owes (V1); no money depends on a run
//! record's survival (V3); a run opens once and settles once (V4); a runner cannot charge above
//! what was fixed at the opening (V5); escrow comes back by itself after the deadline (V7); nothing
//! is taken without an attester's signature over exactly this run and usage (V16).
//!
//! Read `types`, `account` (the books of one user), `open`, `settle`, `close`, `batch`; then
//! `contract`, which only names the functions. `storage` has the keys and the lifetimes.

mod account;
mod admin;
mod amount;
mod batch;
mod close;
mod contract;
mod custody;
mod digest;
mod error;
mod event;
mod grants;
mod open;
mod registry;
mod settle;
mod storage;
mod time;
mod types;

pub use contract::{PrepaidVault, PrepaidVaultClient};
pub use error::VaultError;
pub use event::*;
pub use types::*;

#[cfg(test)]
mod test;
