//! What every call of the contracts costs under the public network's limits and prices.
//!
//! The committed Wasm runs on the network's own host with real signatures; fees and rent are
//! computed with the network's own functions from its configuration entries in `mainnet.json`.
//! Reading order: [`settings`], [`ledger`] (one call and its cost), [`fixture`], [`measure`],
//! [`throughput`], [`table`].

pub mod ledger;
pub mod measure;
pub mod settings;
pub mod table;
pub mod throughput;
pub mod fixture;
mod envelope;

/// What precedes the table in `contracts/README.md`.
pub const BEGIN: &str = "<!-- costs: begin -->\n";
/// What follows it.
pub const END: &str = "<!-- costs: end -->";

/// The page with its marked section replaced; `None` if it has no marks.
pub fn replaced(page: &str, table: &str) -> Option<String> {
    let from = page.find(BEGIN)? + BEGIN.len();
    let to = from + page[from..].find(END)?;
    Some(format!("{}\n{table}\n{}", &page[..from], &page[to..]))
}
