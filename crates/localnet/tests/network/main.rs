//! What a user of the network may rely on, over real HTTP.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as the tests do")]

mod archival;
mod contracts;
mod faults;
mod funding;
mod harness;
mod history;
mod program;
mod requests;
mod restart;
mod sending;
