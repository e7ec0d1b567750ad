//! What a Soroban transaction declares to use, against the limits and fees of the ledger.

use std::collections::BTreeSet;

use soroban_env_host::fees::{TransactionResources, compute_transaction_resource_fee};
use soroban_env_host::xdr::{
    ContractEvent, ContractEventBody, ContractEventType, ContractEventV0, DiagnosticEvent,
    ExtensionPoint, LedgerKey, ScBytes, ScError, ScErrorCode, ScString, ScSymbol, ScVal,
    SorobanTransactionData, SorobanTransactionDataExt, TransactionResultResult,
};

use crate::frame::Frame;
use crate::settings::Limits;
use crate::state::is_persistent;
use crate::validate::{Context, Refusal};
use crate::xdr::{self, vecm};

/// Checks declared resources and the fee offered for them.
pub(crate) fn check(
    frame: &Frame,
    data: &SorobanTransactionData,
    context: &Context,
) -> Result<(), Box<Refusal>> {
    let limits = &context.settings.limits;
    let complaint = over_limits(frame, data, limits)
        .or_else(|| bad_footprint(data, limits))
        .or_else(|| bad_archived(data))
        .or_else(|| bad_fee(frame, data, context));
    match complaint {
        None => Ok(()),
        Some(text) => Err(Box::new(Refusal {
            result: TransactionResultResult::TxSorobanInvalid,
            uses_sequence: false,
            diagnostics: vec![error_event(ScError::Storage(ScErrorCode::ExceededLimit), &text)],
        })),
    }
}

/// The part of the resource fee that is never given back, in stroops.
pub(crate) fn non_refundable_fee(
    frame: &Frame,
    data: &SorobanTransactionData,
    context: &Context,
) -> i64 {
    let resources = declared(frame, data, 0);
    compute_transaction_resource_fee(&resources, &context.settings.network.fee_configuration).0
}

/// The fee for events and return value of this size, in stroops.
pub(crate) fn events_fee(event_bytes: u32, context: &Context) -> i64 {
    let resources = TransactionResources {
        instructions: 0,
        disk_read_entries: 0,
        write_entries: 0,
        disk_read_bytes: 0,
        write_bytes: 0,
        contract_events_size_bytes: event_bytes,
        transaction_size_bytes: 0,
    };
    compute_transaction_resource_fee(&resources, &context.settings.network.fee_configuration).1
}

/// The positions in the read-write footprint the transaction declares to be archived.
pub(crate) fn archived_indexes(data: &SorobanTransactionData) -> &[u32] {
    match &data.ext {
        SorobanTransactionDataExt::V0 => &[],
        SorobanTransactionDataExt::V1(ext) => ext.archived_soroban_entries.as_slice(),
    }
}

/// A diagnostic event that explains a refusal.
pub(crate) fn error_event(error: ScError, text: &str) -> DiagnosticEvent {
    let text: Vec<u8> = text.bytes().take(512).collect();
    let message = text.clone().try_into().map(|text| ScVal::String(ScString(text)));
    let data = message.unwrap_or(ScVal::Bytes(ScBytes::default()));
    let topics = match "error".try_into() {
        Ok(symbol) => vec![ScVal::Symbol(ScSymbol(symbol)), ScVal::Error(error)],
        Err(_) => Vec::new(),
    };
    let body =
        ContractEventBody::V0(ContractEventV0 { topics: vecm(topics).unwrap_or_default(), data });
    DiagnosticEvent {
        in_successful_contract_call: false,
        event: ContractEvent {
            ext: ExtensionPoint::V0,
            contract_id: None,
            type_: ContractEventType::Diagnostic,
            body,
        },
    }
}

fn declared(
    frame: &Frame,
    data: &SorobanTransactionData,
    contract_events_size_bytes: u32,
) -> TransactionResources {
    let resources = &data.resources;
    TransactionResources {
        instructions: resources.instructions,
        disk_read_entries: disk_read_entries(data),
        write_entries: count(resources.footprint.read_write.len()),
        disk_read_bytes: resources.disk_read_bytes,
        write_bytes: resources.write_bytes,
        contract_events_size_bytes,
        transaction_size_bytes: frame.size,
    }
}

/// Entries that are read from disk: everything that is not live contract state.
fn disk_read_entries(data: &SorobanTransactionData) -> u32 {
    let footprint = &data.resources.footprint;
    let keys = footprint.read_only.iter().chain(footprint.read_write.iter());
    let classic = keys.filter(|key| !has_lifetime(key)).count();
    count(classic).saturating_add(count(archived_indexes(data).len()))
}

fn over_limits(frame: &Frame, data: &SorobanTransactionData, limits: &Limits) -> Option<String> {
    let resources = &data.resources;
    let writes = count(resources.footprint.read_write.len());
    let keys = writes.saturating_add(count(resources.footprint.read_only.len()));
    let checks = [
        ("instructions", resources.instructions, limits.instructions),
        ("disk read bytes", resources.disk_read_bytes, limits.disk_read_bytes),
        ("write bytes", resources.write_bytes, limits.write_bytes),
        ("disk read entries", disk_read_entries(data), limits.disk_read_entries),
        ("write entries", writes, limits.write_entries),
        ("footprint entries", keys, limits.footprint_entries),
        ("transaction size in bytes", frame.size, limits.tx_bytes),
    ];
    checks.iter().find(|(_, declared, limit)| declared > limit).map(|(name, declared, limit)| {
        format!("{name} of the transaction exceed the limit of the network: {declared} > {limit}")
    })
}

fn bad_footprint(data: &SorobanTransactionData, limits: &Limits) -> Option<String> {
    let footprint = &data.resources.footprint;
    let mut seen = BTreeSet::new();
    for key in footprint.read_only.iter().chain(footprint.read_write.iter()) {
        let known =
            has_lifetime(key) || matches!(key, LedgerKey::Account(_) | LedgerKey::Trustline(_));
        if !known {
            return Some("the footprint names a kind of entry contracts cannot use".to_owned());
        }
        if xdr::size(key).unwrap_or(u32::MAX) > limits.key_bytes {
            return Some(format!("a key of the footprint is over {} bytes", limits.key_bytes));
        }
        if !seen.insert(key) {
            return Some("the footprint names an entry twice".to_owned());
        }
    }
    None
}

fn bad_archived(data: &SorobanTransactionData) -> Option<String> {
    let indexes = archived_indexes(data);
    let writes = data.resources.footprint.read_write.as_slice();
    let ascending = indexes.windows(2).all(|pair| pair[0] < pair[1]);
    let persistent = indexes.iter().all(|index| {
        let index = usize::try_from(*index).unwrap_or(usize::MAX);
        writes.get(index).is_some_and(is_persistent)
    });
    (!ascending || !persistent).then(|| {
        "archived entries must be ascending positions of persistent read-write entries".to_owned()
    })
}

fn bad_fee(frame: &Frame, data: &SorobanTransactionData, context: &Context) -> Option<String> {
    if data.resource_fee < 0 || data.resource_fee > frame.full_fee() {
        return Some("the fee of the transaction does not cover its resource fee".to_owned());
    }
    let needed = non_refundable_fee(frame, data, context);
    (data.resource_fee < needed)
        .then(|| format!("the resource fee is too low: {} < {needed} stroops", data.resource_fee))
}

/// Whether entries under this key have a time to live.
pub(crate) fn has_lifetime(key: &LedgerKey) -> bool {
    matches!(key, LedgerKey::ContractData(_) | LedgerKey::ContractCode(_))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
