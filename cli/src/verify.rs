//! The proof of a run: from the charge in the vault to the module's bytes, without trusting the
//! runner.
//!
//! [`judge::judge`] is a pure function over a bundle's folder and the chain's facts; [`facts`]
//! reads those facts from the verifier's own RPC, for the vault and registry of the verifier's own
//! configuration; [`bundle`] brings a bundle from the gateway or a file, believing nothing in it.
//! What the gateway says is only ever compared.

pub mod archive;
pub mod bundle;
pub mod command;
pub mod facts;
pub mod judge;
pub mod link;
pub mod rerun;
pub mod signed;
pub mod stored;
