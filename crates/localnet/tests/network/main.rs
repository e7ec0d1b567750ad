//! What a user of the network may rely on, over real HTTP.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as the tests do")]

mod archival;
mod classic;
mod contracts;
mod faults;
mod fixtures;
mod funding;
mod harness;
mod history;
mod ledger_snapshot;
mod ledgers;
mod late_and_lost;
mod limits;
mod nodes;
mod program;
mod protocol;
mod refusals;
mod requests;
mod restart;
mod rpc_client;
mod sending;
mod signers;
mod steering;
