//! `getTransaction` and `getTransactions`.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use soroban_env_host::xdr::{TransactionEnvelope, TransactionMeta, TransactionResult};

use super::format::{Format, object};
use super::{Answer, Call, RpcError, params};
use crate::chain::{AppliedTransaction, Chain};
use crate::xdr;

/// Transactions of a page unless asked otherwise.
const DEFAULT_LIMIT: usize = 50;

/// Most transactions of a page.
const MAX_LIMIT: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionRequest {
    #[serde(default)]
    hash: String,
    #[serde(default)]
    min_ledger: u32,
    #[serde(default)]
    max_ledger: u32,
    xdr_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionsRequest {
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
    limit: usize,
}

/// A place in the order of all transactions: ledger, and position in it from 1.
type LedgerPosition = (u32, u32);

pub(super) fn get_transaction(call: &Call<'_>, value: Value) -> Answer {
    let request: TransactionRequest = params(value)?;
    let format = Format::read(request.xdr_format.as_deref())?;
    let hash = parse_hash(&request.hash)?;
    let (min, max) = (request.min_ledger, request.max_ledger);
    if min != 0 && max != 0 && min > max {
        let message = format!("minLedger ({min}) must not exceed maxLedger ({max})");
        return Err(RpcError::invalid_params(message));
    }

    let chain = call.chain;
    let (oldest, oldest_time) = chain.oldest();
    let mut answer = object(json!({
        "latestLedger": chain.sequence(),
        "latestLedgerCloseTime": chain.close_time().to_string(),
        "oldestLedger": oldest,
        "oldestLedgerCloseTime": oldest_time.to_string(),
        "status": "NOT_FOUND",
        "txHash": request.hash,
        "applicationOrder": 0,
        "feeBump": false,
        "events": {},
        "ledger": 0,
        "createdAt": "0",
    }));
    let within = |ledger: u32| ledger >= min && (max == 0 || ledger <= max);
    if let Some(transaction) =
        chain.transactions.get(&hash).filter(|transaction| within(transaction.ledger))
    {
        describe(transaction, format, &mut answer)?;

        // As it was asked for: by the hash of the bump or of the transaction inside it.
        answer.insert("txHash".to_owned(), json!(request.hash));
        answer.insert("createdAt".to_owned(), json!(transaction.close_time.to_string()));
    }
    Ok(Value::Object(answer))
}

pub(super) fn get_transactions(call: &Call<'_>, value: Value) -> Answer {
    let request: TransactionsRequest = params(value)?;
    let format = Format::read(request.xdr_format.as_deref())?;
    let chain = call.chain;
    let (oldest, oldest_time) = chain.oldest();
    let (start, limit) = read_page(&request, chain)?;

    let mut transactions = Vec::new();

    // Without a transaction on the page, the cursor stays before its first place.
    let mut cursor = (start.0, start.1.saturating_sub(1));
    'ledgers: for sequence in start.0..=chain.sequence() {
        let Some(ledger) = chain.ledger(sequence) else { continue };
        let first = if sequence == start.0 { start.1.max(1) } else { 1 };
        let skipped = usize::try_from(first - 1).unwrap_or(usize::MAX);
        for hash in ledger.transactions.iter().skip(skipped) {
            let Some(transaction) = chain.transactions.get(hash) else { continue };
            transactions.push(entry(transaction, format)?);
            cursor = (sequence, transaction.position);
            if transactions.len() == limit {
                break 'ledgers;
            }
        }

        // An empty ledger moves the cursor too, and its last transaction stays behind it.
        let last = u32::try_from(ledger.transactions.len()).unwrap_or(u32::MAX);
        cursor = (sequence, last.max(first - 1));
    }
    if call.fate.reordered {
        transactions.reverse();
    }

    // The cursor is the id of SEP-35, of the transaction's first operation.
    Ok(json!({
        "transactions": transactions,
        "latestLedger": chain.sequence(),
        "latestLedgerCloseTimestamp": chain.close_time(),
        "oldestLedger": oldest,
        "oldestLedgerCloseTimestamp": oldest_time,
        "cursor": (u64::from(cursor.0) << 32 | u64::from(cursor.1) << 12 | 1).to_string(),
    }))
}

fn entry(transaction: &AppliedTransaction, format: Format) -> Answer {
    let mut answer = Map::new();
    describe(transaction, format, &mut answer)?;

    // A number here, and a string in `getTransaction`: the two differ in stellar-rpc as well.
    answer.insert("createdAt".to_owned(), json!(transaction.close_time));
    Ok(Value::Object(answer))
}

/// Where the page begins, and how many transactions it may have.
fn read_page(
    request: &TransactionsRequest,
    chain: &Chain,
) -> Result<(LedgerPosition, usize), RpcError> {
    let pagination = request.pagination.as_ref();
    let cursor = pagination.map_or("", |pagination| pagination.cursor.as_str());
    let (oldest, latest) = (chain.oldest().0, chain.sequence());
    let start = request.start_ledger;
    if cursor.is_empty() && (start < oldest || start > latest) {
        return Err(RpcError::invalid_request(format!(
            "start ledger must be between the oldest ledger: {oldest} and the latest ledger: \
             {latest} for this rpc instance"
        )));
    }
    if !cursor.is_empty() && start != 0 {
        let message = "startLedger and cursor cannot both be set";
        return Err(RpcError::invalid_request(message));
    }
    let limit = match pagination.map_or(0, |pagination| pagination.limit) {
        0 => DEFAULT_LIMIT,
        limit if limit > MAX_LIMIT => {
            let message = format!("limit must not exceed {MAX_LIMIT}");
            return Err(RpcError::invalid_request(message));
        }
        limit => limit,
    };
    if cursor.is_empty() {
        return Ok(((start, 1), limit));
    }

    let order: i64 = cursor.parse().map_err(|error| {
        RpcError::invalid_params(format!("cursor ({cursor:?}) is not a number: {error}"))
    })?;
    let order = u64::try_from(order)
        .map_err(|_| RpcError::invalid_params("cursor ledger sequence cannot be negative"))?;
    // SEP-35 again. The page begins with the transaction after the one in the cursor.
    let part = |bits: u64| u32::try_from(bits).unwrap_or(u32::MAX);
    let (ledger, position) = (part(order >> 32), part(order >> 12 & 0xf_ffff));
    if ledger < oldest || ledger > latest {
        let message = format!("database does not contain metadata for ledger: {ledger}");
        return Err(RpcError::invalid_params(message));
    }
    Ok(((ledger, position.saturating_add(1)), limit))
}

/// What both methods say of a transaction.
fn describe(
    transaction: &AppliedTransaction,
    format: Format,
    answer: &mut Map<String, Value>,
) -> Result<(), RpcError> {
    let status = if transaction.successful { "SUCCESS" } else { "FAILED" };
    let envelope: TransactionEnvelope = decode(&transaction.envelope)?;
    let result: TransactionResult = decode(&transaction.result)?;
    let meta: TransactionMeta = decode(&transaction.meta)?;
    for (name, value) in [
        ("status", json!(status)),
        ("txHash", json!(hex::encode(transaction.hash))),
        ("applicationOrder", json!(transaction.position)),
        ("feeBump", json!(transaction.inner_hash.is_some())),
        ("ledger", json!(transaction.ledger)),
    ] {
        answer.insert(name.to_owned(), value);
    }
    format.put(answer, ("envelopeXdr", "envelopeJson"), &envelope)?;
    format.put(answer, ("resultXdr", "resultJson"), &result)?;
    format.put(answer, ("resultMetaXdr", "resultMetaJson"), &meta)?;

    let TransactionMeta::V4(meta) = &meta else { return Ok(()) };
    if !meta.diagnostic_events.is_empty() {
        let names = ("diagnosticEventsXdr", "diagnosticEventsJson");
        format.put_list(answer, names, meta.diagnostic_events.iter())?;
    }
    let mut events = Map::new();
    let names = ("transactionEventsXdr", "transactionEventsJson");
    format.put_list(&mut events, names, meta.events.iter())?;
    let operations = meta.operations.iter().map(|operation| format.list(operation.events.iter()));
    let name = format.name("contractEventsXdr", "contractEventsJson");
    events.insert(name.to_owned(), Value::Array(operations.collect::<Result<_, _>>()?));
    answer.insert("events".to_owned(), Value::Object(events));
    Ok(())
}

fn parse_hash(text: &str) -> Result<[u8; 32], RpcError> {
    if text.len() != 64 {
        let message = format!("unexpected hash length ({})", text.len());
        return Err(RpcError::invalid_params(message));
    }
    let bytes = hex::decode(text)
        .map_err(|error| RpcError::invalid_params(format!("incorrect hash: {error}")))?;
    bytes.try_into().map_err(|_| RpcError::invalid_params("incorrect hash"))
}

fn decode<T: soroban_env_host::xdr::ReadXdr>(bytes: &[u8]) -> Result<T, RpcError> {
    xdr::decode_own(bytes).map_err(RpcError::internal)
}
