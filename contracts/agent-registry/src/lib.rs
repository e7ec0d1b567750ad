#![no_std]
#![expect(missing_docs, reason = "the contract macros make public items of their own")]
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
//! The agent registry: who develops an agent, at what prices, which module runs under them, which
//! runners may run it and whose execution statements count.
//!
//! It holds no money. The vault reads it at every grant, open and settlement, so everything in it
//! is signed by the agent's developer, and nothing published is ever changed: a rate card stays as
//! it is, a new one is added.
//!
//! Read `types`, then `contract`; `storage` has the keys and the lifetimes.

mod admin;
mod contract;
mod error;
mod event;
mod storage;
mod types;

pub use contract::{AgentRegistry, AgentRegistryClient};
pub use error::AgentRegistryError;
pub use event::*;
pub use types::*;

#[cfg(test)]
mod test;
