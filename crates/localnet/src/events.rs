//! Events of the network itself (CAP-67), and the place of every event in the chain's order.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use imbl::OrdMap;
use soroban_env_host::xdr::{
    AccountId, Asset, ClaimableBalanceId, ContractEvent, ContractEventBody, ContractEventType,
    ContractEventV0, ContractId, ExtensionPoint, Int128Parts, Memo, MuxedAccount, PublicKey,
    ScAddress, ScBytes, ScMap, ScMapEntry, ScString, ScSymbol, ScVal, TransactionEventStage,
    TransactionMetaV4,
};

use crate::assets;
use crate::error::Internal;
use crate::frame::account_id;
use crate::validate::Context;
use crate::xdr::vecm;

/// Largest position of a transaction in a ledger; events after all transactions carry it.
pub(crate) const LAST_TRANSACTION: u32 = (1 << 20) - 1;

/// Largest position of an operation in a transaction.
const LAST_OPERATION: u32 = (1 << 12) - 1;

/// The position of an event: what `getEvents` calls its id, and takes as cursor.
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
        // The id of SEP-35: 32 bits of ledger, 20 of transaction, 12 of operation.
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

        // Signed in stellar-rpc, so that the highest bit is never set.
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
    index: &mut OrdMap<Cursor, Arc<EventRecord>>,
    place: TransactionPlace,
    meta: &TransactionMetaV4,
) {
    let TransactionPlace { ledger, position, transaction, successful } = place;
    let mut add = |cursor: Cursor, event: &ContractEvent| {
        let record = EventRecord { event: event.clone(), transaction, successful };
        index.insert(cursor, Arc::new(record));
    };
    for event in meta.events.iter() {
        // One fee event before all transactions and at most one after: its number is the
        // transaction's.
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

/// One side of a classic movement.
#[derive(Debug, Clone)]
pub(crate) enum Party {
    Account(MuxedAccount),
    ClaimableBalance(ClaimableBalanceId),
}

/// An amount of an asset that a classic operation moved.
#[derive(Debug, Clone)]
pub(crate) struct Movement {
    pub(crate) asset: Asset,
    pub(crate) from: Party,
    pub(crate) to: Party,
    pub(crate) amount: i64,
}

impl Party {
    /// An account without a number behind it.
    pub(crate) fn of(account: &AccountId) -> Self {
        let PublicKey::PublicKeyTypeEd25519(key) = &account.0;
        Self::Account(MuxedAccount::Ed25519(key.clone()))
    }

    /// The address as topics carry it: an account without its number.
    fn address(&self) -> ScVal {
        ScVal::Address(match self {
            Self::Account(account) => ScAddress::Account(account_id(account)),
            Self::ClaimableBalance(id) => ScAddress::ClaimableBalance(id.clone()),
        })
    }

    fn is(&self, account: Option<&AccountId>) -> bool {
        matches!(self, Self::Account(muxed) if Some(&account_id(muxed)) == account)
    }
}

/// The event of a classic movement (CAP-67): what an issuer sends is minted, what comes back to it
/// is burned.
pub(crate) fn movement_event(
    context: &Context,
    memo: &Memo,
    movement: &Movement,
) -> Result<ContractEvent, Internal> {
    let issuer = assets::issuer(&movement.asset);
    let (minted, burned) = (movement.from.is(issuer), movement.to.is(issuer));
    let (from, to) = (movement.from.address(), movement.to.address());
    let name = ScVal::String(ScString(assets::name(&movement.asset).as_str().try_into()?));
    let topics = match (minted, burned) {
        (true, false) => vec![symbol("mint")?, to, name],
        (false, true) => vec![symbol("burn")?, from, name],
        _ => vec![symbol("transfer")?, from, to, name],
    };

    // A burn has no receiver, so that its data is the amount alone (CAP-67).
    let data = if burned && !minted {
        amount_value(movement.amount)
    } else {
        received(&movement.to, memo, movement.amount)?
    };
    let contract = match movement.asset {
        Asset::Native => context.native.clone(),
        _ => assets::contract(context.network_id, &movement.asset)?,
    };
    event(&contract, topics, data)
}

/// The amount, and with it the number of the receiving account or else the memo.
fn received(to: &Party, memo: &Memo, amount: i64) -> Result<ScVal, Internal> {
    // The number in the receiver's address comes before the memo (CAP-67).
    let id = match to {
        Party::ClaimableBalance(_) => None,
        Party::Account(MuxedAccount::MuxedEd25519(muxed)) => Some(ScVal::U64(muxed.id)),
        Party::Account(MuxedAccount::Ed25519(_)) => match memo {
            Memo::None => None,
            Memo::Text(text) => Some(ScVal::String(ScString(text.to_vec().try_into()?))),
            Memo::Id(id) => Some(ScVal::U64(*id)),
            Memo::Hash(hash) | Memo::Return(hash) => {
                Some(ScVal::Bytes(ScBytes(hash.0.to_vec().try_into()?)))
            }
        },
    };
    let Some(id) = id else { return Ok(amount_value(amount)) };

    // The keys of a map are sorted.
    let entries = vec![
        ScMapEntry { key: symbol("amount")?, val: amount_value(amount) },
        ScMapEntry { key: symbol("to_muxed_id")?, val: id },
    ];
    Ok(ScVal::Map(Some(ScMap(vecm(entries)?))))
}

/// The event of a fee that is charged, or given back when `amount` is negative; stroops.
pub(crate) fn fee_event(
    native: &ContractId,
    from: &AccountId,
    amount: i64,
) -> Result<ContractEvent, Internal> {
    let topics = vec![symbol("fee")?, ScVal::Address(ScAddress::Account(from.clone()))];
    event(native, topics, amount_value(amount))
}

fn amount_value(amount: i64) -> ScVal {
    // The sign fills the upper half.
    ScVal::I128(Int128Parts { hi: amount >> 63, lo: amount.cast_unsigned() })
}

fn symbol(text: &str) -> Result<ScVal, Internal> {
    Ok(ScVal::Symbol(ScSymbol(text.try_into()?)))
}

fn event(
    contract: &ContractId,
    topics: Vec<ScVal>,
    data: ScVal,
) -> Result<ContractEvent, Internal> {
    Ok(ContractEvent {
        ext: ExtensionPoint::V0,
        contract_id: Some(contract.clone()),
        type_: ContractEventType::Contract,
        body: ContractEventBody::V0(ContractEventV0 { topics: vecm(topics)?, data }),
    })
}
