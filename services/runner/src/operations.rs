//! What an operator does by command: retention, filling a stream again, and the accounting that
//! compares everything which is known of a run in several places.

pub mod prune;
pub mod account;
