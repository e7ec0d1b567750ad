//! What Lumio's processes agree on: ids, digests, statements, events, problems and generated gRPC.
//!
//! No I/O, no clock, no randomness: everything here is a value or a pure function, so that a verifier
//! on another machine reads the same bytes the same way. Reading order: [`id`], [`digest`], [`json`],
//! [`usage`], then [`dsse`] and [`statement`] (what module-gate signs), [`event`] (what goes over the
//! bus), [`problem`] (every refusal there is) and [`pb`] (what goes over gRPC).

pub mod id;
pub mod digest;
pub mod json;
pub mod usage;
pub mod dsse;
pub mod statement;
pub mod event;
pub mod problem;
pub mod pb;

pub use digest::{Digest, Hasher};
pub use id::RunId;
pub use problem::Problem;
pub use usage::{Rates, Usage};
