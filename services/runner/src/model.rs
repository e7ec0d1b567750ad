//! What a run is: values and their rules, without any I/O. Every other module builds on them.
//!
//! Reading order: [`state`] (the machine), [`run`], [`terms`] and [`settlement`] (what is kept),
//! [`policy`] (what the operator chose).

pub mod state;
pub mod run;
pub mod terms;
pub mod settlement;
pub mod policy;
