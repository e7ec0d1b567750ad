//! What a Soroban transaction declares to use, against the limits and fees of the ledger.

use std::collections::BTreeSet;

use soroban_env_host::fees::{TransactionResources, compute_transaction_resource_fee};
use soroban_env_host::xdr::{
    LedgerKey, ScError, ScErrorCode, SorobanTransactionData, SorobanTransactionDataExt,
};

use super::context::{Context, Validity, refuse_soroban};
use crate::assets::can_exist;
use crate::frame::Frame;
use crate::settings::Limits;
use crate::state::is_persistent;
use crate::xdr;

/// Checks declared resources and the fee offered for them, in stellar-core's order.
pub(crate) fn check(frame: &Frame, data: &SorobanTransactionData, context: &Context) -> Validity {
    let limits = &context.settings.limits;
    check_limits(frame, data, limits)?;
    check_keys(data, limits)?;
    check_size(frame, limits)?;
    check_archived(data)?;
    check_fee(frame, data, context)?;
    check_duplicates(data)
}

/// The part of the resource fee that is never given back, in stroops.
pub(crate) fn non_refundable_fee(
    frame: &Frame,
    data: &SorobanTransactionData,
    context: &Context,
) -> i64 {
    // Events are paid for out of the refundable part.
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

    // The second sum is the refundable one.
    compute_transaction_resource_fee(&resources, &context.settings.network.fee_configuration).1
}

/// The positions in the read-write footprint the transaction declares to be archived.
pub(crate) fn archived_indexes(data: &SorobanTransactionData) -> &[u32] {
    match &data.ext {
        SorobanTransactionDataExt::V0 => &[],
        SorobanTransactionDataExt::V1(ext) => ext.archived_soroban_entries.as_slice(),
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
        disk_read_entries: disk_read_entries(frame, data),
        write_entries: count(resources.footprint.read_write.len()),
        disk_read_bytes: resources.disk_read_bytes,
        write_bytes: resources.write_bytes,
        contract_events_size_bytes,
        transaction_size_bytes: frame.size,
    }
}

/// Entries that are read from disk: everything that is not live contract state.
pub(crate) fn disk_read_entries(frame: &Frame, data: &SorobanTransactionData) -> u32 {
    let footprint = &data.resources.footprint;

    // All that is restored comes from disk, though no index names it as archived.
    if frame.begins_with_restore() {
        return count(footprint.read_write.len());
    }

    // Contract entries are in memory; archived ones come from disk like all others (CAP-66).
    let keys = footprint.read_only.iter().chain(footprint.read_write.iter());
    let classic = keys.filter(|key| !has_lifetime(key)).count();
    count(classic).saturating_add(count(archived_indexes(data).len()))
}

fn check_limits(frame: &Frame, data: &SorobanTransactionData, limits: &Limits) -> Validity {
    let storage = || ScError::Storage(ScErrorCode::ExceededLimit);
    let resources = &data.resources;
    let writes = count(resources.footprint.read_write.len());
    let keys = writes.saturating_add(count(resources.footprint.read_only.len()));
    let checks = [
        (
            ScError::Budget(ScErrorCode::ExceededLimit),
            "transaction instructions resources exceed network config limit",
            (resources.instructions, limits.instructions),
        ),
        (
            storage(),
            "transaction byte-read resources exceed network config limit",
            (resources.disk_read_bytes, limits.disk_read_bytes),
        ),
        (
            storage(),
            "transaction byte-write resources exceed network config limit",
            (resources.write_bytes, limits.write_bytes),
        ),
        (
            storage(),
            "the number of entries in transaction footprint exceeds the network config limit",
            (keys, limits.footprint_entries),
        ),
        (
            storage(),
            "transaction entry-disk-read resources exceed network config limit",
            (disk_read_entries(frame, data), limits.disk_read_entries),
        ),
        (
            storage(),
            "transaction entry-write resources exceed network config limit",
            (writes, limits.write_entries),
        ),
    ];
    for (error, text, (declared, limit)) in checks {
        if declared > limit {
            return Err(refuse_soroban(error, text, &[declared.into(), limit.into()]));
        }
    }
    Ok(())
}

fn check_keys(data: &SorobanTransactionData, limits: &Limits) -> Validity {
    let footprint = &data.resources.footprint;
    for key in footprint.read_only.iter().chain(footprint.read_write.iter()) {
        let known =
            has_lifetime(key) || matches!(key, LedgerKey::Account(_) | LedgerKey::Trustline(_));
        if !known {
            let error = ScError::Storage(ScErrorCode::UnexpectedType);
            let text = "transaction footprint contains unsupported ledger key type";
            let kind = key_kind(key);
            return Err(refuse_soroban(error, text, &[kind]));
        }
        if let LedgerKey::Trustline(line) = key
            && !can_exist(line)
        {
            let error = ScError::Storage(ScErrorCode::InvalidInput);
            let text = "transaction footprint contains invalid trustline asset";
            return Err(refuse_soroban(error, text, &[]));
        }
        let size = xdr::size(key).unwrap_or(u32::MAX);
        if size > limits.key_bytes {
            let error = ScError::Storage(ScErrorCode::ExceededLimit);
            let text = "transaction footprint key exceeds network config limit";
            return Err(refuse_soroban(error, text, &[size.into(), limits.key_bytes.into()]));
        }
    }
    Ok(())
}

fn check_size(frame: &Frame, limits: &Limits) -> Validity {
    if frame.size <= limits.tx_bytes {
        return Ok(());
    }
    let error = ScError::Budget(ScErrorCode::ExceededLimit);
    let text = "total transaction size exceeds network config limit";
    Err(refuse_soroban(error, text, &[frame.size.into(), limits.tx_bytes.into()]))
}

fn check_duplicates(data: &SorobanTransactionData) -> Validity {
    let footprint = &data.resources.footprint;
    let mut seen = BTreeSet::new();
    let mut keys = footprint.read_only.iter().chain(footprint.read_write.iter());
    if keys.all(|key| seen.insert(key)) {
        return Ok(());
    }
    let error = ScError::Storage(ScErrorCode::InvalidInput);
    let text = "Found duplicate key in the Soroban footprint; every key across read-only and \
                read-write footprints has to be unique.";
    Err(refuse_soroban(error, text, &[]))
}

fn check_archived(data: &SorobanTransactionData) -> Validity {
    let error = || ScError::Storage(ScErrorCode::InvalidInput);
    let writes = data.resources.footprint.read_write.as_slice();
    let indexes = archived_indexes(data);

    // Strictly ascending, so that no entry is named twice.
    if !indexes.windows(2).all(|pair| pair[0] < pair[1]) {
        let text = "archivedSorobanEntries must be sorted in ascending order";
        return Err(refuse_soroban(error(), text, &[]));
    }
    for index in indexes {
        let Some(key) = writes.get(usize::try_from(*index).unwrap_or(usize::MAX)) else {
            let text = "archivedSorobanEntries index is out of bounds";
            let values = [u64::from(*index), u64::from(count(writes.len()))];
            return Err(refuse_soroban(error(), text, &values));
        };
        if !is_persistent(key) {
            let text = "archivedSorobanEntries index points to a non-persistent entry";
            let values = [u64::from(*index), key_kind(key)];
            return Err(refuse_soroban(error(), text, &values));
        }
    }
    Ok(())
}

fn check_fee(frame: &Frame, data: &SorobanTransactionData, context: &Context) -> Validity {
    let error = || ScError::Value(ScErrorCode::ExceededLimit);
    let unsigned = |fee: i64| u64::try_from(fee).unwrap_or(0);

    // Within a bump the inner fee may be lower: the bump pays for everything.
    if data.resource_fee < 0 || frame.bump.is_none() && data.resource_fee > frame.full_fee() {
        let text = "transaction `sorobanData.resourceFee` is higher than the full transaction fee";
        let values = [unsigned(data.resource_fee), unsigned(frame.full_fee())];
        return Err(refuse_soroban(error(), text, &values));
    }

    let needed = non_refundable_fee(frame, data, context);
    if data.resource_fee < needed {
        let text = "transaction `sorobanData.resourceFee` is lower than the actual Soroban \
                    resource fee";
        let values = [unsigned(data.resource_fee), unsigned(needed)];
        return Err(refuse_soroban(error(), text, &values));
    }
    Ok(())
}

/// The number of a kind of entry, as messages give it.
fn key_kind(key: &LedgerKey) -> u64 {
    u64::try_from(i32::from(key.discriminant())).unwrap_or(0)
}

/// Whether entries under this key have a time to live.
pub(crate) fn has_lifetime(key: &LedgerKey) -> bool {
    matches!(key, LedgerKey::ContractData(_) | LedgerKey::ContractCode(_))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
