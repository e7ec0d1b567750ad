//! The runner and the network: what is asked, what is signed, what an answer proves.
//!
//! Reading order: [`decide`] (the rules of R13, pure), [`network`] (which history), [`transaction`]
//! and [`store`] (what is kept), [`submit`] (the one place that sends), [`calls`] and [`reads`]
//! (what is sent and read).

pub mod decide;
pub mod outcomes;
pub mod shortages;
pub mod network;
pub mod transaction;
pub mod store;
pub mod client;
pub mod submit;
mod answers;
pub mod calls;
pub mod reads;
