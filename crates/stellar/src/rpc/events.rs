//! Events of contracts, from a transaction's meta and from `getEvents`.

use serde::Deserialize;
use serde_json::json;
use stellar_xdr::{ContractEvent, ContractEventBody, ContractEventType, ScVal, WriteXdr};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire::TxHash;

use super::answer::optional_seconds;
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
    pub transaction: TxHash,
}

/// An event as one node reports it, with what is needed to follow events without a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenEvent {
    /// The network's own id: the same from every node, and in the order of the ledger.
    pub id: String,
    /// The contract that emitted it.
    pub contract: Address,
    /// The ledger it is of.
    pub ledger: u32,
    /// When that ledger closed.
    pub closed_at: OffsetDateTime,
    /// The transaction it is of.
    pub transaction: TxHash,
    /// Its topics (XDR in base64).
    pub topics: Vec<String>,
    /// Its data (XDR in base64).
    pub value: String,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// In the order of the ledger, none twice.
    pub events: Vec<SeenEvent>,
    /// Where the next page begins.
    pub cursor: String,
    /// The newest ledger of which all events were read; it and every one before it that was asked
    /// for is complete. `None` if not even the first is.
    pub complete_until: Option<u32>,
    /// Whether there is nothing more to read now.
    pub is_last: bool,
    /// The newest ledger that the node has.
    pub latest_ledger: u32,
    /// The oldest ledger whose events it keeps, if it says so.
    pub oldest_ledger: Option<u32>,
}

/// Where a page of events begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsFrom<'a> {
    /// With the first event of this ledger.
    Ledger(u32),
    /// Where another page ended.
    Cursor(&'a str),
}

/// Events with what the node said about time beside them: a second word on the clock that
/// [`super::Rpc::clock`] answers. Nodes before protocol 23 say nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// The oldest ledger that the node keeps.
    pub oldest_ledger: Option<u32>,
    /// When that one closed, Unix seconds.
    pub oldest_close: Option<u64>,
    /// When the newest ledger closed, Unix seconds.
    pub latest_close: Option<u64>,
}

/// What the pages of one search said together.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) events: Vec<Result<Event, ChainError>>,
    pub(super) oldest_ledger: Option<u32>,
    pub(super) oldest_close: Option<u64>,
    pub(super) latest_close: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvents {
    events: Vec<RawEvent>,
    cursor: Option<String>,
    latest_ledger: u32,
    oldest_ledger: Option<u32>,
    #[serde(default, deserialize_with = "optional_seconds")]
    oldest_ledger_close_time: Option<u64>,
    #[serde(default, deserialize_with = "optional_seconds")]
    latest_ledger_close_time: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent {
    #[serde(default)]
    id: String,
    #[serde(default)]
    contract_id: String,
    ledger: u32,
    #[serde(default)]
    ledger_closed_at: String,
    tx_hash: String,
    topic: Vec<String>,
    value: String,
}

impl Event {
    /// Whether its first topics are these symbols.
    pub fn has_topics(&self, names: &[&str]) -> bool {
        let are_equal = |(topic, name): (&ScVal, &&str)| scval::is_symbol(topic, name);
        self.topics.len() >= names.len() && self.topics.iter().zip(names).all(are_equal)
    }

    /// `None` for what is no contract's event.
    pub(super) fn new(
        event: ContractEvent,
        ledger: u32,
        transaction: &TxHash,
    ) -> Result<Option<Self>, ChainError> {
        // System and diagnostic events are the host's own, and have no contract behind them.
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
) -> Result<Pages, ChainError> {
    /// An empty page is not the end; this many pages without reaching it is a fault.
    const MOST_PAGES: usize = 1_000;
    /// Events of one page at most.
    const LIMIT: usize = 1_000;
    let mut filter = Vec::new();
    for topic in topics {
        let symbol = scval::symbol(topic)?.to_xdr_base64(scval::limits());
        filter.push(symbol.map_err(|_| ChainError::encode("a topic"))?);
    }
    // Any number of further topics.
    filter.push("**".to_owned());
    let filters =
        json!([{ "type": "contract", "contractIds": [contract.to_string()], "topics": [filter] }]);
    let mut found = Pages::default();
    let mut cursor: Option<String> = None;
    for _ in 0..MOST_PAGES {
        // A cursor replaces the start: nodes refuse both together.
        let mut params = json!({ "filters": filters, "pagination": { "limit": LIMIT } });
        match &cursor {
            None => params["startLedger"] = json!(start_ledger),
            Some(cursor) => params["pagination"]["cursor"] = json!(cursor),
        }
        let page: RawEvents = raw.call("getEvents", params).await?;
        for event in &page.events {
            found.events.push(event.decode(contract));
        }

        // The node forgets while it is read: of its oldest ledger the latest word counts, and of its
        // newest the first, so that no page makes the range seem wider than another does.
        found.oldest_ledger = found.oldest_ledger.max(page.oldest_ledger);
        found.oldest_close = found.oldest_close.max(page.oldest_ledger_close_time);
        found.latest_close = match (found.latest_close, page.latest_ledger_close_time) {
            (Some(known), Some(named)) => Some(known.min(named)),
            (known, named) => known.or(named),
        };

        // A node scans a bounded range of ledgers a call, so an empty page is not the end: the
        // cursor says how far the range reached. The end of a full page may lie within its ledger,
        // so that more of that ledger can follow.
        let is_full = page.events.len() >= LIMIT;
        let Some(next) = page.cursor.as_deref() else {
            // Old nodes give no cursor, and look through all that they keep in one call.
            if is_full {
                return Err(
                    malformed("getEvents", "a full page without a cursor".to_owned()).into()
                );
            }
            return Ok(found);
        };
        let reached = ledger_of(next).ok_or_else(|| {
            malformed("getEvents", format!("expected a cursor that begins with a number: '{next}'"))
        })?;
        if !is_full && reached >= page.latest_ledger {
            return Ok(found);
        }
        if Some(next) == cursor.as_deref() {
            let text = "the node stops before its newest ledger, so that events may be missing";
            return Err(malformed("getEvents", text.to_owned()).into());
        }
        cursor = page.cursor;
    }
    Err(malformed("getEvents", format!("no end after {MOST_PAGES} pages")).into())
}

/// Events of these contracts, at most `limit` of them.
pub(super) async fn page(
    raw: &Raw,
    contracts: &[Address],
    from: EventsFrom<'_>,
    limit: u32,
) -> Result<EventPage, ChainError> {
    const METHOD: &str = "getEvents";
    let contracts: Vec<_> = contracts.iter().map(Address::to_string).collect();
    let filters = json!([{ "type": "contract", "contractIds": contracts }]);
    let params = match from {
        EventsFrom::Ledger(first) => {
            json!({ "startLedger": first, "filters": filters, "pagination": { "limit": limit } })
        }
        EventsFrom::Cursor(cursor) => {
            json!({ "filters": filters, "pagination": { "cursor": cursor, "limit": limit } })
        }
    };
    let answer: RawEvents = raw.call(METHOD, params).await?;
    let cursor =
        answer.cursor.ok_or_else(|| malformed(METHOD, "a page without a cursor".to_owned()))?;

    let mut events = answer.events.iter().map(RawEvent::seen).collect::<Result<Vec<_>, _>>()?;
    // A node may repeat or reorder what it lists; the ids say what is what.
    events.sort_by(|one, other| one.id.cmp(&other.id));
    events.dedup_by(|one, other| one.id == other.id);

    // The cursor is the last place that was looked at. If the page is full, it may lie within its
    // ledger, of which then only the part before it was read.
    let reached = ledger_of(&cursor)
        .ok_or_else(|| malformed(METHOD, format!("the cursor '{cursor}' has no position")))?
        .min(answer.latest_ledger);
    let is_full = u32::try_from(answer.events.len()).unwrap_or(u32::MAX) >= limit;
    let is_last = !is_full && reached >= answer.latest_ledger;
    let complete_until = if is_full { reached.checked_sub(1) } else { Some(reached) };
    Ok(EventPage {
        events,
        cursor,
        complete_until,
        is_last,
        latest_ledger: answer.latest_ledger,
        oldest_ledger: answer.oldest_ledger,
    })
}

/// The ledger in an event's id or in a cursor (SEP-35: the upper half of its first number). `None`
/// for another form: how far the node has looked is not known then, and must not be guessed.
fn ledger_of(cursor: &str) -> Option<u32> {
    let position = cursor.split('-').next()?.parse::<u64>().ok()?;
    u32::try_from(position >> 32).ok()
}

impl SeenEvent {
    /// The event itself.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`] when it holds what this release does not know.
    pub fn decode(&self) -> Result<Event, ChainError> {
        let topics = self.topics.iter().map(|topic| scval::from_base64("event topic", topic));
        Ok(Event {
            contract: self.contract,
            topics: topics.collect::<Result<_, _>>()?,
            data: scval::from_base64("event data", &self.value)?,
            ledger: self.ledger,
            transaction: self.transaction,
        })
    }
}

impl RawEvent {
    /// The event with its values still encoded: what one event holds must not keep a reader from
    /// the next one (V19). What the node itself says about it has to be readable.
    fn seen(&self) -> Result<SeenEvent, ChainError> {
        let wrong =
            |what: &str, error: String| ChainError::decode(format!("event's {what}"), error);
        if self.id.is_empty() {
            return Err(wrong("id", "it is missing".to_owned()));
        }
        let closed_at = OffsetDateTime::parse(&self.ledger_closed_at, &Rfc3339)
            .map_err(|error| wrong("close time", error.to_string()))?;
        Ok(SeenEvent {
            id: self.id.clone(),
            contract: self
                .contract_id
                .parse()
                .map_err(|error: crate::InvalidAddress| wrong("contract", error.to_string()))?,
            ledger: self.ledger,
            closed_at,
            transaction: self
                .tx_hash
                .parse()
                .map_err(|error: wire::InvalidBytes32| wrong("transaction", error.to_string()))?,
            topics: self.topic.clone(),
            value: self.value.clone(),
        })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_form_says_no_ledger() {
        assert_eq!(ledger_of("0000000004294967296-0000000001"), Some(1));
        assert_eq!(ledger_of("21474836480"), Some(5));
        for unknown in ["", "now", "-1", "99999999999999999999-1"] {
            assert_eq!(ledger_of(unknown), None, "{unknown}");
        }
    }
}
