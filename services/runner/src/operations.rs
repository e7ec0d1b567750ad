//! What an operator does by command: retention, filling a stream again, and the accounting that
//! compares everything which is known of a run in several places.

pub mod import;
pub mod intake;
pub mod prune;
pub mod watch;
pub mod nodes;
pub mod resolve;
pub mod reconcile;
pub mod backup;
pub mod by_hand;
pub mod dead_letters;
pub mod doctor;
pub mod account;
