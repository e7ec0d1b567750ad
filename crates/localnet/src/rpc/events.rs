//! `getEvents`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};
use soroban_env_host::xdr::{ContractEvent, ContractEventBody, ContractEventType, ScVal};

use super::format::{Format, object};
use super::{Answer, Call, RpcError, params};
use crate::events::{Cursor, EventRecord};
use crate::xdr;

/// Events of a page unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

/// Most events of a page.
const MAX_LIMIT: usize = 10_000;

/// Ledgers one call looks through.
const MAX_LEDGERS: u32 = 10_000;

/// Most filters of a call, and contracts and topics of a filter.
const MAX_FILTERS: usize = 5;

/// Most segments of a topic, a trailing `**` not counted.
const MAX_SEGMENTS: usize = 4;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventsRequest {
    #[serde(default)]
    start_ledger: u32,
    #[serde(default)]
    end_ledger: u32,
    #[serde(default)]
    filters: Vec<FilterRequest>,
    pagination: Option<Pagination>,
    xdr_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FilterRequest {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    contract_ids: Vec<String>,
    #[serde(default)]
    topics: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct Pagination {
    cursor: Option<String>,
    #[serde(default)]
    limit: usize,
}

/// A filter after all checks; an empty set lets everything through.
struct Filter {
    kinds: BTreeSet<ContractEventType>,
    contracts: BTreeSet<[u8; 32]>,
    topics: Vec<Topic>,
}

struct Topic {
    /// `None`: any value.
    segments: Vec<Option<ScVal>>,
    /// Whether further segments may follow.
    open: bool,
}

/// Where a page begins.
struct Start {
    /// The first place to look at.
    first: Cursor,
    /// The ledger that has to be known: the first one, or the cursor's own.
    anchor: u32,
    limit: usize,
}

pub(super) fn get_events(call: &Call<'_>, value: Value) -> Answer {
    let request: EventsRequest = params(value)?;
    let format = Format::read(request.xdr_format.as_deref())?;
    let start = read_start(&request)?;
    let filters = read_filters(&request.filters)?;

    let chain = call.chain;
    let (oldest, oldest_time) = chain.oldest();
    let latest = chain.sequence();

    // A cursor at the end of the newest ledger is within the range: what follows is still empty.
    if start.anchor < oldest || start.anchor > latest {
        let message = format!("startLedger must be within the ledger range: {oldest} - {latest}");
        return Err(RpcError::invalid_request(message));
    }

    // The end is exclusive, as in stellar-rpc.
    let mut end = start.anchor.saturating_add(MAX_LEDGERS).min(latest + 1);
    if request.end_ledger != 0 {
        end = end.min(request.end_ledger);
    }

    let last = Cursor::end_of(end.saturating_sub(1));
    let mut events = Vec::new();

    // A page that is not full ends at the end of the range, and the next call goes on behind that.
    let mut cursor = last;
    if start.first <= last {
        for (place, record) in chain.events.range(start.first..=last) {
            if !filters.is_empty() && !filters.iter().any(|filter| filter.matches(&record.event)) {
                continue;
            }
            let closed = chain.closed_at(place.ledger).unwrap_or_default();
            events.push(describe(*place, record, closed, format)?);
            if events.len() == start.limit {
                cursor = *place;
                break;
            }
        }
    }

    // Faults change the page that is ready, so that the cursor stays true.
    if call.fate.duplicated {
        events = events.into_iter().flat_map(|event| [event.clone(), event]).collect();
    }
    if call.fate.reordered {
        events.reverse();
    }
    Ok(json!({
        "events": events,
        "cursor": cursor.to_string(),
        "latestLedger": latest,
        "oldestLedger": oldest,
        "latestLedgerCloseTime": chain.close_time().to_string(),
        "oldestLedgerCloseTime": oldest_time.to_string(),
    }))
}

impl Filter {
    fn matches(&self, event: &ContractEvent) -> bool {
        let ContractEventBody::V0(body) = &event.body;
        (self.kinds.is_empty() || self.kinds.contains(&event.type_))
            && (self.contracts.is_empty()
                || event.contract_id.as_ref().is_some_and(|id| self.contracts.contains(&id.0.0)))
            && (self.topics.is_empty()
                || self.topics.iter().any(|topic| topic.matches(body.topics.as_slice())))
    }
}

impl Topic {
    fn matches(&self, topics: &[ScVal]) -> bool {
        let fits = if self.open {
            topics.len() >= self.segments.len()
        } else {
            topics.len() == self.segments.len()
        };
        let same = |(segment, topic): (&Option<ScVal>, &ScVal)| {
            segment.as_ref().is_none_or(|segment| segment == topic)
        };
        fits && self.segments.iter().zip(topics).all(same)
    }
}

/// Where the page begins and how many events it may have.
fn read_start(request: &EventsRequest) -> Result<Start, RpcError> {
    let pagination = request.pagination.as_ref();
    let limit = match pagination.map_or(0, |pagination| pagination.limit) {
        0 => DEFAULT_LIMIT,
        limit if limit > MAX_LIMIT => {
            let message = format!("limit must not exceed {MAX_LIMIT}");
            return Err(RpcError::invalid_params(message));
        }
        limit => limit,
    };
    let Some(cursor) = pagination.and_then(|pagination| pagination.cursor.as_deref()) else {
        if request.start_ledger == 0 {
            return Err(RpcError::invalid_params("startLedger must be positive"));
        }
        let anchor = request.start_ledger;
        return Ok(Start { first: Cursor::start_of(anchor), anchor, limit });
    };
    if request.start_ledger != 0 || request.end_ledger != 0 {
        let message = "ledger ranges and cursor cannot both be set";
        return Err(RpcError::invalid_params(message));
    }
    let cursor: Cursor = cursor
        .parse()
        .map_err(|()| RpcError::invalid_params(format!("invalid event id {cursor}")))?;
    // The page begins right after the cursor; after a ledger's last place comes the next ledger.
    let first = match cursor.event.checked_add(1) {
        Some(event) => Cursor { event, ..cursor },
        None => Cursor::start_of(cursor.ledger.saturating_add(1)),
    };
    Ok(Start { first, anchor: cursor.ledger, limit })
}

fn read_filters(filters: &[FilterRequest]) -> Result<Vec<Filter>, RpcError> {
    if filters.len() > MAX_FILTERS {
        return Err(RpcError::invalid_params("maximum 5 filters per request"));
    }
    let numbered = filters.iter().zip(1..);
    let read = numbered.map(|(filter, number)| {
        read_filter(filter).map_err(|reason| {
            RpcError::invalid_params(format!("filter {number} invalid: {reason}"))
        })
    });
    read.collect()
}

fn read_filter(filter: &FilterRequest) -> Result<Filter, String> {
    if filter.contract_ids.len() > MAX_FILTERS {
        return Err("maximum 5 contract IDs per filter".to_owned());
    }
    if filter.topics.len() > MAX_FILTERS {
        return Err("maximum 5 topics per filter".to_owned());
    }
    let kinds =
        filter.kind.split(',').filter(|kind| !kind.is_empty()).map(|kind| match kind {
            "contract" => Ok(ContractEventType::Contract),
            "system" => Ok(ContractEventType::System),
            _ => Err("filter type invalid: if set, type must be either 'system' or 'contract'"
                .to_owned()),
        });
    let contracts = filter.contract_ids.iter().zip(1..).map(|(id, number)| {
        stellar_strkey::Contract::from_string(id)
            .map(|contract| contract.0)
            .map_err(|_| format!("contract ID {number} invalid"))
    });
    let topics = filter.topics.iter().zip(1..).map(|(topic, number)| {
        read_topic(topic).map_err(|reason| format!("topic {number} invalid: {reason}"))
    });
    Ok(Filter {
        kinds: kinds.collect::<Result<_, _>>()?,
        contracts: contracts.collect::<Result<_, _>>()?,
        topics: topics.collect::<Result<_, _>>()?,
    })
}

fn read_topic(topic: &[String]) -> Result<Topic, String> {
    let open = topic.last().is_some_and(|last| last == "**");
    let texts = if open { &topic[..topic.len() - 1] } else { topic };
    if topic.is_empty() {
        return Err("topic must have at least 1 segment".to_owned());
    }
    if texts.len() > MAX_SEGMENTS {
        return Err(format!("topic cannot have more than {MAX_SEGMENTS} segments"));
    }
    let segments = texts.iter().zip(1..).map(|(text, number)| match text.as_str() {
        "*" => Ok(None),
        "**" => Err(format!(
            "segment {number} invalid: wildcard '**' is only allowed as the last segment"
        )),
        text => xdr::decode::<ScVal>(text)
            .map(Some)
            .map_err(|_| format!("segment {number} invalid: not an ScVal")),
    });
    Ok(Topic { segments: segments.collect::<Result<_, _>>()?, open })
}

fn describe(place: Cursor, record: &EventRecord, closed: u64, format: Format) -> Answer {
    let ContractEventBody::V0(body) = &record.event.body;
    let kind = match record.event.type_ {
        ContractEventType::System => "system",
        ContractEventType::Contract => "contract",
        ContractEventType::Diagnostic => "diagnostic",
    };
    let contract = record.event.contract_id.as_ref();
    let contract = contract.map(|id| format!("{}", stellar_strkey::Contract(id.0.0)));
    let mut answer = object(json!({
        "type": kind,
        "ledger": place.ledger,
        "ledgerClosedAt": rfc3339(closed),
        "contractId": contract.unwrap_or_default(),
        "id": place.to_string(),
        "operationIndex": place.operation,
        "transactionIndex": place.transaction,
        "txHash": hex::encode(record.transaction),
        "inSuccessfulContractCall": record.successful,
    }));
    format.put_list(&mut answer, ("topic", "topicJson"), body.topics.iter())?;
    format.put(&mut answer, ("value", "valueJson"), &body.data)?;
    Ok(Value::Object(answer))
}

fn rfc3339(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}
