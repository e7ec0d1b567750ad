//! Methods that read the network's state.

use std::collections::BTreeSet;
use std::time::Duration;

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
    if let Some(longest) = call.server.max_latency {
        let latency = call.node.latency(chain);
        if latency > longest {
            let (latency, longest) = (in_words(latency), in_words(longest));
            return Err(RpcError::internal(format_args!(
                "latency ({latency}) since last known ledger closed is too high (>{longest})"
            )));
        }
    }
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

    let keys = read_keys(&request.keys)?;
    check_keys(&keys)?;

    let chain = call.chain;
    let mut entries = Vec::new();
    for key in keys {
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

fn read_keys(texts: &[String]) -> Result<Vec<LedgerKey>, RpcError> {
    let keys = texts.iter().enumerate().map(|(index, text)| {
        let key: LedgerKey = xdr::decode(text).map_err(|_| {
            // Cut: the text comes from the caller.
            let text: String = text.chars().take(200).collect();
            RpcError::invalid_params(format!("cannot unmarshal key value {text} at index {index}"))
        })?;
        if matches!(key, LedgerKey::Ttl(_)) {
            let message = "ledger ttl entries cannot be queried directly";
            return Err(RpcError::invalid_params(message));
        }
        Ok(key)
    });
    keys.collect()
}

/// What stellar-core does not look up. stellar-rpc passes on only that the question failed.
fn check_keys(keys: &[LedgerKey]) -> Result<(), RpcError> {
    let refused = |reason: &str| {
        Err(RpcError::internal(format_args!("could not query captive core: {reason}")))
    };
    if keys.is_empty() {
        return refused("no keys specified in request");
    }
    let mut seen = BTreeSet::new();
    if !keys.iter().all(|key| seen.insert(key)) {
        return refused("http request failed with non-200 status code (404)");
    }
    Ok(())
}

/// A duration in whole seconds as Go writes it, which clients know from stellar-rpc.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        let cases = [(0, "0s"), (31, "31s"), (60, "1m0s"), (3_605, "1h0m5s")];
        for (seconds, expected) in cases {
            assert_eq!(in_words(Duration::from_secs(seconds)), expected);
        }
    }
}
