//! Methods that read the network's state.

use serde::Deserialize;
use serde_json::{Value, json};
use soroban_env_host::xdr::LedgerKey;

use super::format::{Format, object};
use super::{Answer, Call, RpcError, params};
use crate::settings::PROTOCOL_VERSION;
use crate::state::Lookup;
use crate::xdr;

/// Most keys in one `getLedgerEntries`.
const MAX_KEYS: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntriesRequest {
    #[serde(default)]
    keys: Vec<String>,
    xdr_format: Option<String>,
}

pub(super) fn get_health(call: &Call<'_>) -> Answer {
    let chain = call.chain;
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

pub(super) fn get_network(call: &Call<'_>) -> Answer {
    Ok(json!({
        "friendbotUrl": format!("http://{}/friendbot", call.server.address),
        "passphrase": call.node.passphrase,
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

pub(super) fn get_ledger_entries(call: &Call<'_>, value: Value) -> Answer {
    let request: EntriesRequest = params(value)?;
    let format = Format::read(request.xdr_format.as_deref())?;
    if request.keys.len() > MAX_KEYS {
        let count = request.keys.len();
        let message = format!("key count ({count}) exceeds maximum supported ({MAX_KEYS})");
        return Err(RpcError::invalid_params(message));
    }

    let chain = call.chain;
    let mut entries = Vec::new();
    for (index, text) in request.keys.iter().enumerate() {
        let key: LedgerKey = xdr::decode(text).map_err(|_| {
            // Cut: the text comes from the caller.
            let text: String = text.chars().take(200).collect();
            RpcError::invalid_params(format!("cannot unmarshal key value {text} at index {index}"))
        })?;
        if matches!(key, LedgerKey::Ttl(_)) {
            let message = "ledger ttl entries cannot be queried directly";
            return Err(RpcError::invalid_params(message));
        }
        let Some(stored) = chain.state.get(&key) else { continue };
        let entry = &stored.entry;
        let mut answer = object(json!({"lastModifiedLedgerSeq": entry.last_modified_ledger_seq}));
        format.put(&mut answer, ("key", "keyJson"), &key)?;
        format.put(&mut answer, ("xdr", "dataJson"), &entry.data)?;
        format.put(&mut answer, ("extXdr", "extJson"), &entry.ext)?;
        if let Some(live_until) = stored.live_until {
            // An archived entry has no life left, whenever it was archived.
            let live_until = if live_until < chain.sequence() { 0 } else { live_until };
            answer.insert("liveUntilLedgerSeq".to_owned(), json!(live_until));
        }
        entries.push(Value::Object(answer));
    }
    Ok(json!({"entries": entries, "latestLedger": chain.sequence()}))
}
