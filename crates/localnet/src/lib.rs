//! A local Soroban network for development and tests: the network's own host, rules and fees behind
//! the JSON-RPC of stellar-rpc, in one process.
//!
//! ```no_run
//! # async fn example() -> Result<(), soroban_localnet::LocalnetError> {
//! let network = soroban_localnet::Network::builder().start().await?;
//! println!("JSON-RPC at {}", network.url());
//! network.close_ledger().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Transactions are real ones: signatures, sequence numbers, fees, time bounds, resource limits,
//! authorisation and archival are checked as the network does, first when they are sent and again
//! when a ledger closes. See [`Network`] for closing ledgers by hand, time travel, snapshots,
//! injected faults and further nodes that lag or have a short history.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod accounts;
mod apply;
mod assets;
mod builder;
mod chain;
mod classic;
mod clock;
mod close;
mod costs;
mod error;
mod events;
mod faults;
mod frame;
mod friendbot;
mod genesis;
mod invoke;
mod ledger_meta;
mod ledger_snapshot;
mod lifetime;
mod metrics;
mod modules;
mod network;
mod node;
mod persist;
mod queue;
mod rpc;
mod settings;
mod signing;
mod simulate;
mod state;
mod validate;
mod view;
mod xdr;

pub use builder::{Builder, STANDALONE_PASSPHRASE};
pub use error::LocalnetError;
pub use faults::Fault;
pub use friendbot::FRIENDBOT_BALANCE;
pub use network::{Network, OtherNode};
pub use settings::{BASE_FEE, BASE_RESERVE, Lifetimes, PROTOCOL_VERSION, Profile};
