//! The life of a run: what it is, where it may go, and what takes it there.
//!
//! Reading order: [`state`] (the machine), [`run`], [`terms`] and [`settlement`] (what is kept),
//! [`preflight`] and [`verdict`] (the rules), [`store`] (how it is kept), [`worker`] and [`steps`]
//! (what moves it).

pub mod state;
pub mod run;
pub mod terms;
pub mod settlement;
pub mod preflight;
pub mod verdict;
pub mod rows;
pub mod snapshot;
pub mod store;
pub mod event;
pub mod facts;
pub mod steps;
pub mod worker;
