//! What oracle-gate promises, one file a promise.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod cli;
mod crash;
mod faulty;
mod guide;
mod killed;
mod lab;
mod modules;
mod probes;
mod runs;
mod s3;
mod sealing;
mod served;
mod tamper;
