//! What Lumio's processes agree on: ids, digests, statements, events, problems and generated gRPC.
//!
//! No I/O, no clock, no randomness: everything here is a value or a pure function, so that a
//! verifier on another machine reads the same bytes the same way. Reading order: [`id`],
//! [`digest`], [`json`], [`escape`], [`usage`], then [`dsse`], [`settlement`], [`egress`] and [`statement`]
//! (what module-gate signs), [`event`] (what goes over the bus), [`problem`] (every refusal there
//! is), [`failure`] (why runs fail), [`view`] (a run over HTTP and in a bundle), [`receipts`] (the
//! list of an account's charges) and [`pb`] (what goes over gRPC).

mod bytes32;
mod causes;
pub mod id;
pub mod digest;
pub mod json;
pub mod escape;
pub mod usage;
pub mod dsse;
pub mod settlement;
pub mod egress;
pub mod statement;
pub mod event;
pub mod problem;
pub mod failure;
pub mod view;
pub mod receipts;
pub mod pb;

pub use bytes32::InvalidBytes32;
pub use causes::causes;
pub use digest::{Digest, Hasher};
pub use failure::FailureCode;
pub use id::{AttemptKey, ChallengeId, NetworkId, Nonce, PublicKey, RunId, TxHash, VaultRunId};
pub use problem::Problem;
pub use usage::{Rates, Usage};
pub use view::{RunDocument, RunView};
