//! `getLatestLedger` and `getLedgers`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::format::{Format, object};
use super::{Answer, Call, RpcError, params};
use crate::chain::{Chain, ClosedLedger};
use crate::ledger_meta::{close_meta, header_entry};
use crate::settings::PROTOCOL_VERSION;

/// Ledgers of a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;

/// Most ledgers of a page.
const MAX_LIMIT: u32 = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LedgersRequest {
    #[serde(default)]
    start_ledger: u32,
    pagination: Option<Pagination>,
    xdr_format: Option<String>,
}

#[derive(Deserialize)]
struct Pagination {
    #[serde(default)]
    cursor: String,
    #[serde(default)]
    limit: u32,
}

pub(super) fn get_latest_ledger(call: &Call<'_>) -> Answer {
    let chain = call.chain;
    let ledger = chain.ledgers.back().ok_or_else(|| RpcError::internal("no ledger is closed"))?;
    let meta = close_meta(chain, ledger).map_err(RpcError::internal)?;
    Ok(json!({
        "id": hex::encode(ledger.hash),
        "protocolVersion": PROTOCOL_VERSION,
        "sequence": ledger.sequence(),
        "closeTime": ledger.close_time().to_string(),
        "headerXdr": Format::Base64.value(&ledger.header)?,
        "metadataXdr": Format::Base64.value(&meta)?,
    }))
}

pub(super) fn get_ledgers(call: &Call<'_>, value: Value) -> Answer {
    let request: LedgersRequest = params(value)?;
    let format = Format::read(request.xdr_format.as_deref())?;
    let chain = call.chain;
    let (oldest, oldest_time) = chain.oldest();
    let latest = chain.sequence();
    let (start, limit) = read_page(&request, (oldest, latest))?;

    // `read_page` sees to it that the limit is at least 1.
    let end = latest.min(start.saturating_add(limit - 1));
    let mut ledgers = Vec::new();
    for sequence in start..=end {
        let Some(ledger) = chain.ledger(sequence) else { continue };
        ledgers.push(describe(chain, ledger, format)?);
    }

    // At the tip there is nothing after the cursor: it stays what it is.
    let cursor = if start > latest { start - 1 } else { end };
    Ok(json!({
        "ledgers": ledgers,
        "latestLedger": latest,
        "latestLedgerCloseTime": chain.close_time(),
        "oldestLedger": oldest,
        "oldestLedgerCloseTime": oldest_time,
        "cursor": cursor.to_string(),
    }))
}

fn describe(chain: &Chain, ledger: &ClosedLedger, format: Format) -> Answer {
    let meta = close_meta(chain, ledger).map_err(RpcError::internal)?;

    // The base64 members are never left out, even where JSON was asked for.
    let mut answer = object(json!({
        "hash": hex::encode(ledger.hash),
        "sequence": ledger.sequence(),
        "ledgerCloseTime": ledger.close_time().to_string(),
        "headerXdr": "",
        "metadataXdr": "",
    }));
    format.put(&mut answer, ("headerXdr", "headerJson"), &header_entry(ledger))?;
    format.put(&mut answer, ("metadataXdr", "metadataJson"), &meta)?;
    Ok(Value::Object(answer))
}

/// The first ledger of the page and how many it may have.
fn read_page(
    request: &LedgersRequest,
    (oldest, latest): (u32, u32),
) -> Result<(u32, u32), RpcError> {
    let pagination = request.pagination.as_ref();
    let cursor = pagination.map_or("", |pagination| pagination.cursor.as_str());
    let limit = match pagination.map_or(0, |pagination| pagination.limit) {
        0 => DEFAULT_LIMIT,
        limit if limit > MAX_LIMIT => {
            let message = format!("limit must not exceed {MAX_LIMIT}");
            return Err(RpcError::invalid_request(message));
        }
        limit => limit,
    };

    let start = request.start_ledger;
    if cursor.is_empty() {
        if start < oldest || start > latest {
            return Err(RpcError::invalid_request(format!(
                "start ledger ({start}) must be between the oldest ledger: {oldest} and the \
                 latest ledger: {latest} for this rpc instance"
            )));
        }
        return Ok((start, limit));
    }
    if start != 0 {
        return Err(RpcError::invalid_request(format!(
            "startLedger ({start}) and cursor ({cursor}) cannot both be set"
        )));
    }
    let last: u32 = cursor.parse().map_err(|error| {
        RpcError::invalid_params(format!("cursor ({cursor:?}) is not a ledger: {error}"))
    })?;

    // The cursor of the newest ledger is valid: what comes after it is still empty.
    if last.saturating_add(1) < oldest || last > latest {
        return Err(RpcError::invalid_params(format!(
            "cursor ('{cursor}') must be between the oldest ledger: {oldest} and the latest \
             ledger: {latest} for this rpc instance"
        )));
    }
    Ok((last.saturating_add(1), limit))
}
