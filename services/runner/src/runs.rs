//! What takes a run from the queue to its end.
//!
//! Reading order: [`facts`], [`preflight`] and [`verdict`] (the rules), [`store`] (how runs are
//! kept), [`worker`] and [`steps`] (what moves them), [`gathering`] and [`sending`] (what carries
//! their calls), [`event`] (what is published of them).

pub mod signal;
pub mod facts;
pub mod preflight;
pub mod verdict;
pub mod worth;
pub mod store;
pub mod event;
pub mod closed;
pub mod drafts;
pub mod steps;
pub mod worker;
pub mod gathering;
pub mod sending;
