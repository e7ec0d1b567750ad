//! Events of the network itself (CAP-67), and the place of every event in the chain's order.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use soroban_env_host::xdr::{
    AccountId, Asset, ContractEvent, ContractEventBody, ContractEventType, ContractEventV0,
    ContractId, ContractIdPreimage, ExtensionPoint, Hash, HashIdPreimage, HashIdPreimageContractId,
    Int128Parts, ScAddress, ScString, ScSymbol, ScVal, TransactionEventStage, TransactionMetaV4,
};

use crate::error::Internal;
use crate::xdr::{self, vecm};

/// Largest position of a transaction in a ledger; events after all transactions carry it.
pub(crate) const LAST_TRANSACTION: u32 = (1 << 20) - 1;

/// Largest position of an operation in a transaction.
const LAST_OPERATION: u32 = (1 << 12) - 1;

/// Where an event stands: what `getEvents` calls its id, and takes as cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    pub(crate) ledger: u32,
    /// From 1; 0 before all transactions, [`LAST_TRANSACTION`] after them.
    pub(crate) transaction: u32,
    pub(crate) operation: u32,
    pub(crate) event: u32,
}

/// One event as `getEvents` hands it out.
#[derive(Debug, Clone)]
pub(crate) struct EventRecord {
    pub(crate) event: ContractEvent,
    pub(crate) transaction: [u8; 32],
    pub(crate) successful: bool,
}

/// A transaction whose events are written down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransactionPlace {
    pub(crate) ledger: u32,
    /// From 1.
    pub(crate) position: u32,
    pub(crate) transaction: [u8; 32],
    pub(crate) successful: bool,
}

impl Cursor {
    /// The first place in a ledger.
    pub(crate) fn start_of(ledger: u32) -> Self {
        Self { ledger, transaction: 0, operation: 0, event: 0 }
    }

    /// The last place in a ledger.
    pub(crate) fn end_of(ledger: u32) -> Self {
        let (transaction, operation) = (LAST_TRANSACTION, LAST_OPERATION);
        Self { ledger, transaction, operation, event: u32::MAX }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = u64::from(self.ledger) << 32
            | u64::from(self.transaction) << 12
            | u64::from(self.operation);
        write!(f, "{order:019}-{:010}", self.event)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (order, event) = text.split_once('-').ok_or(())?;
        let order: i64 = order.parse().map_err(|_| ())?;
        let order = u64::try_from(order).map_err(|_| ())?;
        let part = |value: u64| u32::try_from(value).map_err(|_| ());
        Ok(Self {
            ledger: part(order >> 32)?,
            transaction: part(order >> 12 & u64::from(LAST_TRANSACTION))?,
            operation: part(order & u64::from(LAST_OPERATION))?,
            event: event.parse().map_err(|_| ())?,
        })
    }
}

/// Writes the events of one transaction into the chain's order.
pub(crate) fn index_events(
    index: &mut BTreeMap<Cursor, Arc<EventRecord>>,
    place: TransactionPlace,
    meta: &TransactionMetaV4,
) {
    let TransactionPlace { ledger, position, transaction, successful } = place;
    let mut add = |cursor: Cursor, event: &ContractEvent| {
        let record = EventRecord { event: event.clone(), transaction, successful };
        index.insert(cursor, Arc::new(record));
    };
    for event in meta.events.iter() {
        // One fee event before all transactions and at most one after: its number is the transaction's.
        let number = position.saturating_sub(1);
        let transaction = match event.stage {
            TransactionEventStage::BeforeAllTxs => 0,
            TransactionEventStage::AfterTx | TransactionEventStage::AfterAllTxs => LAST_TRANSACTION,
        };
        add(Cursor { ledger, transaction, operation: 0, event: number }, &event.event);
    }
    for (operation, operation_meta) in (0_u32..).zip(meta.operations.iter()) {
        for (number, event) in (0_u32..).zip(operation_meta.events.iter()) {
            add(Cursor { ledger, transaction: position, operation, event: number }, event);
        }
    }
}

/// The contract of the native asset on a network.
pub(crate) fn native_contract(network_id: [u8; 32]) -> Result<ContractId, Internal> {
    let preimage = HashIdPreimage::ContractId(HashIdPreimageContractId {
        network_id: Hash(network_id),
        contract_id_preimage: ContractIdPreimage::Asset(Asset::Native),
    });
    Ok(ContractId(Hash(xdr::hash(&preimage)?)))
}

/// The event of a classic movement of the native asset.
pub(crate) fn transfer_event(
    native: &ContractId,
    from: &AccountId,
    to: &AccountId,
    amount: i64,
) -> Result<ContractEvent, Internal> {
    let topics = vec![
        symbol("transfer")?,
        ScVal::Address(ScAddress::Account(from.clone())),
        ScVal::Address(ScAddress::Account(to.clone())),
        ScVal::String(ScString("native".try_into()?)),
    ];
    event(native, topics, amount)
}

/// The event of a fee that is charged, or given back when `amount` is negative; stroops.
pub(crate) fn fee_event(
    native: &ContractId,
    from: &AccountId,
    amount: i64,
) -> Result<ContractEvent, Internal> {
    let topics = vec![symbol("fee")?, ScVal::Address(ScAddress::Account(from.clone()))];
    event(native, topics, amount)
}

fn symbol(text: &str) -> Result<ScVal, Internal> {
    Ok(ScVal::Symbol(ScSymbol(text.try_into()?)))
}

fn event(native: &ContractId, topics: Vec<ScVal>, amount: i64) -> Result<ContractEvent, Internal> {
    let data = ScVal::I128(Int128Parts { hi: amount >> 63, lo: amount.cast_unsigned() });
    Ok(ContractEvent {
        ext: ExtensionPoint::V0,
        contract_id: Some(native.clone()),
        type_: ContractEventType::Contract,
        body: ContractEventBody::V0(ContractEventV0 { topics: vecm(topics)?, data }),
    })
}
