//! What contracts tell, in a transaction's meta and by `getEvents`.

use serde::Deserialize;
use serde_json::json;
use stellar_xdr::{ContractEvent, ContractEventBody, ContractEventType, ScVal, WriteXdr};
use wire::Digest;

use super::malformed;
use super::raw::Raw;
use crate::{Address, ChainError, scval};

/// An event of a contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Who emitted it.
    pub contract: Address,
    /// Its topics.
    pub topics: Vec<ScVal>,
    /// Its data.
    pub data: ScVal,
    /// The ledger it is of.
    pub ledger: u32,
    /// The transaction it is of.
    pub transaction: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvents {
    events: Vec<RawEvent>,
    cursor: Option<String>,
    latest_ledger: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent {
    ledger: u32,
    tx_hash: String,
    topic: Vec<String>,
    value: String,
}

impl Event {
    /// Whether its first topics are these symbols.
    pub fn has_topics(&self, names: &[&str]) -> bool {
        let is = |(topic, name): (&ScVal, &&str)| matches!(topic, ScVal::Symbol(text) if text.0.as_slice() == name.as_bytes());
        self.topics.len() >= names.len() && self.topics.iter().zip(names).all(is)
    }

    /// `None` for what is no contract's event.
    pub(super) fn new(
        event: ContractEvent,
        ledger: u32,
        transaction: &Digest,
    ) -> Result<Option<Self>, ChainError> {
        let (ContractEventType::Contract, Some(id)) = (event.type_, event.contract_id) else {
            return Ok(None);
        };
        let ContractEventBody::V0(body) = event.body;
        let contract = Address::Contract(id.0.0);
        Ok(Some(Self {
            contract,
            topics: body.topics.into_vec(),
            data: body.data,
            ledger,
            transaction: *transaction,
        }))
    }
}

pub(super) async fn read(
    raw: &Raw,
    contract: &Address,
    start_ledger: u32,
    topics: &[&str],
) -> Result<Vec<Result<Event, ChainError>>, ChainError> {
    /// An empty page is not the end; this many pages without reaching it is a fault.
    const MOST_PAGES: usize = 1_000;
    let mut filter = Vec::new();
    for topic in topics {
        let symbol = scval::symbol(topic)?.to_xdr_base64(scval::limits());
        filter.push(symbol.map_err(|_| ChainError::encode("a topic"))?);
    }
    filter.push("**".to_owned());
    let filters =
        json!([{ "type": "contract", "contractIds": [contract.to_string()], "topics": [filter] }]);
    let mut found = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let params = match &cursor {
            None => {
                json!({ "startLedger": start_ledger, "filters": filters, "pagination": { "limit": 1000 } })
            }
            Some(cursor) => {
                json!({ "filters": filters, "pagination": { "cursor": cursor, "limit": 1000 } })
            }
        };
        let page: RawEvents = raw.call("getEvents", params).await?;
        for event in &page.events {
            found.push(event.decode(contract));
        }
        let at_end = page.cursor.as_deref().is_none_or(|next| {
            cursor_ledger(next) >= page.latest_ledger || Some(next) == cursor.as_deref()
        });
        if at_end {
            return Ok(found);
        }
        cursor = page.cursor;
    }
    Err(malformed("getEvents", format!("no end after {MOST_PAGES} pages")).into())
}

/// A cursor starts with its position, whose upper half is the ledger.
fn cursor_ledger(cursor: &str) -> u32 {
    let position = cursor.split('-').next().and_then(|text| text.parse::<u64>().ok());
    position.and_then(|position| u32::try_from(position >> 32).ok()).unwrap_or(u32::MAX)
}

impl RawEvent {
    fn decode(&self, contract: &Address) -> Result<Event, ChainError> {
        let topics = self.topic.iter().map(|text| scval::from_base64("event topic", text));
        Ok(Event {
            contract: *contract,
            topics: topics.collect::<Result<_, _>>()?,
            data: scval::from_base64("event data", &self.value)?,
            ledger: self.ledger,
            transaction: self
                .tx_hash
                .parse()
                .map_err(|error| ChainError::decode("event's transaction", error))?,
        })
    }
}
