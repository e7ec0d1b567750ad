//! The proxy between a real client and a service that a test writes byte by byte.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod bounds;
mod budgets;
mod counting;
mod faults;
mod guesses;
mod reconciliation;
mod secrets;
mod tls;
#[cfg(test)]
mod fixture;
