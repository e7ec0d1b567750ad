//! What the crate promises to those who seal and those who verify.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod documents;
mod facts;
mod mutate;
mod parsers;
mod records;
mod schemas;
mod tree;
mod verify;
