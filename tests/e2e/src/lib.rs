//! All services as processes, against a real Postgres, NATS and local network: what the tests in
//! `tests/` start from.

pub mod matrix;
mod process;
mod stack;

pub use process::{Process, binary, free_port, use_programs};
pub use stack::{Keys, LocalNetwork, Stack, Variables, repository, seed_of};
