//! A closed ledger as the network publishes it: `LedgerCloseMeta`.

use soroban_env_host::xdr::{
    DependentTxCluster, ExtensionPoint, GeneralizedTransactionSet, Hash, LedgerCloseMeta,
    LedgerCloseMetaExt, LedgerCloseMetaV2, LedgerEntryChanges, LedgerHeaderHistoryEntry,
    LedgerHeaderHistoryEntryExt, ParallelTxExecutionStage, ParallelTxsComponent,
    TransactionEnvelope, TransactionPhase, TransactionResultMetaV1, TransactionResultPair,
    TransactionResultSet, TransactionSetV1, TxSetComponent, TxSetComponentTxsMaybeDiscountedFee,
    VecM,
};

use crate::chain::{AppliedTransaction, BaseFees, Chain, ClosedLedger};
use crate::error::Internal;
use crate::xdr::{self, vecm};

/// The header with its hash.
pub(crate) fn header_entry(ledger: &ClosedLedger) -> LedgerHeaderHistoryEntry {
    LedgerHeaderHistoryEntry {
        hash: Hash(ledger.hash),
        header: ledger.header.clone(),
        ext: LedgerHeaderHistoryEntryExt::V0,
    }
}

/// Everything about a kept ledger.
pub(crate) fn close_meta(
    chain: &Chain,
    ledger: &ClosedLedger,
) -> Result<LedgerCloseMeta, Internal> {
    let mut envelopes = Vec::with_capacity(ledger.transactions.len());
    let mut processing = Vec::with_capacity(ledger.transactions.len());
    for hash in &ledger.transactions {
        let Some(transaction) = chain.transactions.get(hash) else { continue };
        let envelope: TransactionEnvelope = xdr::decode_own(&transaction.envelope)?;
        envelopes.push((transaction.hash, transaction.soroban, envelope));
        processing.push(result_meta(transaction)?);
    }
    let previous = ledger.header.previous_ledger_hash.0;
    Ok(LedgerCloseMeta::V2(LedgerCloseMetaV2 {
        ext: LedgerCloseMetaExt::V0,
        ledger_header: header_entry(ledger),
        tx_set: transaction_set(previous, envelopes, ledger.base_fees)?,
        tx_processing: vecm(processing)?,
        upgrades_processing: VecM::default(),
        scp_info: VecM::default(),
        total_byte_size_of_live_soroban_state: 0,
        evicted_keys: vecm(ledger.evicted.clone())?,
    }))
}

/// The set of transactions of a ledger, of which the header has the hash. Each envelope comes with
/// its hash and whether it is a Soroban transaction.
pub(crate) fn transaction_set(
    previous: [u8; 32],
    mut envelopes: Vec<([u8; 32], bool, TransactionEnvelope)>,
    base_fees: BaseFees,
) -> Result<GeneralizedTransactionSet, Internal> {
    // A set has the order of hashes, which says nothing about the order of application.
    envelopes.sort_by_key(|(hash, _, _)| *hash);
    let (soroban, classic): (Vec<_>, Vec<_>) =
        envelopes.into_iter().partition(|(_, soroban, _)| *soroban);
    let plain = |list: Vec<([u8; 32], bool, TransactionEnvelope)>| {
        vecm(list.into_iter().map(|(_, _, envelope)| envelope).collect())
    };

    let mut components = Vec::new();
    if !classic.is_empty() {
        let base_fee = Some(base_fees.classic);
        let component = TxSetComponentTxsMaybeDiscountedFee { base_fee, txs: plain(classic)? };
        components.push(TxSetComponent::TxsetCompTxsMaybeDiscountedFee(component));
    }

    // Transactions run one after the other here, which is one stage of one cluster.
    let mut stages = Vec::new();
    if !soroban.is_empty() {
        let cluster = DependentTxCluster(plain(soroban)?);
        stages.push(ParallelTxExecutionStage(vecm(vec![cluster])?));
    }
    let phases = vec![
        TransactionPhase::V0(vecm(components)?),
        TransactionPhase::V1(ParallelTxsComponent {
            base_fee: Some(base_fees.soroban),
            execution_stages: vecm(stages)?,
        }),
    ];
    Ok(GeneralizedTransactionSet::V1(TransactionSetV1 {
        previous_ledger_hash: Hash(previous),
        phases: vecm(phases)?,
    }))
}

/// The results of a ledger, of which the header has the hash.
pub(crate) fn result_set(
    results: Vec<TransactionResultPair>,
) -> Result<TransactionResultSet, Internal> {
    Ok(TransactionResultSet { results: vecm(results)? })
}

fn result_meta(transaction: &AppliedTransaction) -> Result<TransactionResultMetaV1, Internal> {
    let changes = |bytes: &[u8]| xdr::decode_own::<LedgerEntryChanges>(bytes);
    Ok(TransactionResultMetaV1 {
        ext: ExtensionPoint::V0,
        result: TransactionResultPair {
            transaction_hash: Hash(transaction.hash),
            result: xdr::decode_own(&transaction.result)?,
        },
        fee_processing: changes(&transaction.fee_changes)?,
        tx_apply_processing: xdr::decode_own(&transaction.meta)?,
        post_tx_apply_fee_processing: changes(&transaction.refund_changes)?,
    })
}
