//! What oracle-gate promises, one file a promise.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod cli;
mod commands;
mod conformance;
mod crash;
mod denial;
mod depth;
mod expansion;
mod faulty;
mod governance;
mod guide;
mod killed;
mod fixture;
mod faulty_store;
mod modules;
mod never;
mod originals;
mod policy;
mod refilling;
mod reports;
mod runs;
mod s3;
mod sealing;
mod secrets;
mod served;
mod shards;
mod signed;
mod sql_metadata;
mod tamper;
mod traced;
mod undone;
