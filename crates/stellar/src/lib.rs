//! Lumio's side of the chain: the two contracts, the token, and the network they live on.
//!
//! Reading order: [`ids`] (what both sides compute for themselves), [`vault`] and [`registry`]
//! (calls, types, events, state), [`tx`] (from a call to a signed envelope), [`Rpc`] (the one way
//! to a node; `bridge` is where `soroban-client` is), and [`contract_error`] (every refusal by
//! name). [`local`] says where the contracts of a local deployment are.
//!
//! Amounts are in stroops, times in Unix seconds of ledger time; no time is ever computed from a
//! number of ledgers. Nothing here panics on what a node sends, and no key is ever printed (R9).

pub mod administration;
pub mod amount;
pub mod contract_error;
pub mod ids;
pub mod local;
pub mod registry;
pub mod rpc;
pub mod scval;
pub mod state;
pub mod token;
pub mod tx;
pub mod vault;
pub mod web_auth;
mod address;
mod bridge;
mod error;
mod invocation;
mod keypair;
mod network;
mod signer;

pub use address::{Address, InvalidAddress};
pub use contract_error::{ContractError, ContractKind};
pub use error::ChainError;
pub use invocation::{Call, Creation, Invocation};
pub use keypair::{InvalidSecret, Keypair};
pub use network::{Network, STANDALONE};
pub use rpc::{Rpc, RpcError};
pub use signer::Signer;
