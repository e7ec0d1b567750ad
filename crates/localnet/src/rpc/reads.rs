//! Methods that only read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use soroban_env_host::xdr::{DiagnosticEvent, LedgerKey, TransactionMeta, WriteXdr};

use super::{Answer, RpcError, check_format, params};
use crate::chain::AppliedTransaction;
use crate::node::Node;
use crate::settings::PROTOCOL_VERSION;
use crate::state::Lookup;
use crate::xdr;

/// Most keys in one `getLedgerEntries`.
const MAX_KEYS: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntriesRequest {
    keys: Vec<String>,
    xdr_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionRequest {
    hash: String,
    xdr_format: Option<String>,
}

pub(super) fn get_health(node: &Node) -> Answer {
    let chain = node.view();
    let (oldest, oldest_time) = chain.oldest();
    Ok(json!({
        "status": "healthy",
        "latestLedger": chain.sequence(),
        "latestLedgerCloseTime": chain.close_time().to_string(),
        "oldestLedger": oldest,
        "oldestLedgerCloseTime": oldest_time.to_string(),
        "ledgerRetentionWindow": chain.retention,
    }))
}

pub(super) fn get_network(node: &Node, friendbot_url: &str) -> Answer {
    Ok(json!({
        "friendbotUrl": friendbot_url,
        "passphrase": node.passphrase,
        "protocolVersion": PROTOCOL_VERSION,
    }))
}

pub(super) fn get_version_info() -> Answer {
    Ok(json!({
        "version": concat!(env!("CARGO_PKG_NAME"), "-", env!("CARGO_PKG_VERSION")),
        "commitHash": "",
        "buildTimestamp": "",
        "captiveCoreVersion": "none: transactions run on soroban-env-host 30 in this process",
        "protocolVersion": PROTOCOL_VERSION,
    }))
}

pub(super) fn get_latest_ledger(node: &Node) -> Answer {
    let chain = node.view();
    Ok(json!({
        "id": hex::encode(chain.hash),
        "protocolVersion": PROTOCOL_VERSION,
        "sequence": chain.sequence(),
        "closeTime": chain.close_time().to_string(),
        "headerXdr": encode(&chain.header)?,
    }))
}

pub(super) fn get_ledger_entries(node: &Node, value: Value) -> Answer {
    let request: EntriesRequest = params(value)?;
    check_format(request.xdr_format.as_deref())?;
    if request.keys.len() > MAX_KEYS {
        let count = request.keys.len();
        let message = format!("key count ({count}) exceeds maximum supported ({MAX_KEYS})");
        return Err(RpcError::invalid_params(message));
    }
    let chain = node.view();
    let mut entries = Vec::new();
    for (index, text) in request.keys.iter().enumerate() {
        let key: LedgerKey = xdr::decode(text).map_err(|_| {
            let text: String = text.chars().take(200).collect();
            RpcError::invalid_params(format!("cannot unmarshal key value {text} at index {index}"))
        })?;
        if matches!(key, LedgerKey::Ttl(_)) {
            let message = "ledger ttl entries cannot be queried directly";
            return Err(RpcError::invalid_params(message));
        }
        let Some(stored) = chain.state.get(&key) else { continue };
        let mut entry = json!({
            "key": encode(&key)?,
            "xdr": encode(&stored.entry.data)?,
            "lastModifiedLedgerSeq": stored.entry.last_modified_ledger_seq,
            "extXdr": encode(&stored.entry.ext)?,
        });
        if let Some(live_until) = stored.live_until {
            entry["liveUntilLedgerSeq"] = json!(live_until);
        }
        entries.push(entry);
    }
    Ok(json!({"entries": entries, "latestLedger": chain.sequence()}))
}

pub(super) fn get_transaction(node: &Node, value: Value) -> Answer {
    let request: TransactionRequest = params(value)?;
    check_format(request.xdr_format.as_deref())?;
    let hash = parse_hash(&request.hash)?;
    let chain = node.view();
    let (oldest, oldest_time) = chain.oldest();
    let mut answer = json!({
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
    });
    if let (Some(transaction), Some(answer)) =
        (chain.transactions.get(&hash), answer.as_object_mut())
    {
        describe(transaction, answer)?;
    }
    Ok(answer)
}

fn describe(
    transaction: &AppliedTransaction,
    answer: &mut Map<String, Value>,
) -> Result<(), RpcError> {
    let meta: TransactionMeta = xdr::decode_own(&transaction.meta).map_err(RpcError::internal)?;
    let status = if transaction.successful { "SUCCESS" } else { "FAILED" };
    let mut put = |name: &str, value: Value| answer.insert(name.to_owned(), value);
    put("status", json!(status));
    put("applicationOrder", json!(transaction.position));
    put("feeBump", json!(transaction.fee_bump));
    put("ledger", json!(transaction.ledger));
    put("createdAt", json!(transaction.close_time.to_string()));
    put("envelopeXdr", json!(STANDARD.encode(&transaction.envelope)));
    put("resultXdr", json!(STANDARD.encode(&transaction.result)));
    put("resultMetaXdr", json!(STANDARD.encode(&transaction.meta)));
    let TransactionMeta::V4(meta) = meta else { return Ok(()) };
    if !meta.diagnostic_events.is_empty() {
        put("diagnosticEventsXdr", json!(encode_all(meta.diagnostic_events.iter())?));
    }
    let mut contract_events = Vec::new();
    for operation in meta.operations.iter() {
        contract_events.push(encode_all(operation.events.iter())?);
    }
    let events = json!({
        "transactionEventsXdr": encode_all(meta.events.iter())?,
        "contractEventsXdr": contract_events,
    });
    put("events", events);
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

/// Base64 XDR of an answer.
pub(super) fn encode(value: &impl WriteXdr) -> Result<String, RpcError> {
    xdr::base64(value).map_err(RpcError::internal)
}

/// Base64 XDR of a list.
pub(super) fn encode_all<'a, T: WriteXdr + 'a>(
    values: impl Iterator<Item = &'a T>,
) -> Result<Vec<String>, RpcError> {
    values.map(encode).collect()
}

/// Diagnostic events as a list of base64 XDR.
pub(super) fn encode_diagnostics(events: &[DiagnosticEvent]) -> Result<Vec<String>, RpcError> {
    encode_all(events.iter())
}
