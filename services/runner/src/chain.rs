//! The runner and the network: what is asked, what is signed, what an answer proves.
//!
//! Reading order: [`call`] (what is wanted), [`decide`] and [`outcomes`] (the rules, pure),
//! [`network`] and [`history`] (which history), [`transaction`] and [`store`] (what is kept),
//! [`sign`], [`fees`] and [`follow`] (the only places that sign and send), [`pulse`] (when a ledger
//! has closed), [`calls`] and [`reads`] (what is sent and read).

pub mod call;
pub mod decide;
pub mod outcomes;
pub mod shortages;
pub mod channels;
pub mod fees;
pub mod pulse;
pub mod network;
pub mod history;
pub mod transaction;
pub mod store;
pub mod client;
pub mod sign;
pub mod follow;
mod answers;
#[cfg(test)]
mod model;
pub mod calls;
pub mod reads;
