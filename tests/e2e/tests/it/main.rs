//! What Lumio promises as a whole, shown with real processes.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod contract_accounts;
mod crashes;
mod failed_starts;
mod forgotten;
mod lies;
mod metered_calls;
mod matrix;
mod paid_run;
mod proof;
mod public_tools;
mod promises;
mod refusals;
mod slow;
mod given_back;
mod stories;
mod traced;
