//! What the checks are given, and how they refuse.

use std::sync::Arc;

use soroban_env_host::xdr::{
    ContractId, DiagnosticEvent, OperationResult, ScError, ScVal, TransactionResultResult,
};

use super::diagnostics::error_event;
use crate::modules::Modules;
use crate::settings::Settings;
use crate::xdr::vecm;

/// The ledger a transaction is to be applied in.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) sequence: u32,
    /// Seconds of Unix time.
    pub(crate) close_time: u64,
    pub(crate) network_id: [u8; 32],
    /// The contract of the native asset.
    pub(crate) native: ContractId,
    pub(crate) settings: Arc<Settings>,
    /// Contracts parsed before this ledger.
    pub(crate) modules: Modules,
}

/// When the checks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the fee is taken.
    Queue,
    /// After the fee was taken, before the operations run.
    Apply,
}

/// Why a transaction is not carried out.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) result: TransactionResultResult,
    /// Whether the sequence number is used up anyway, if the fee was already taken.
    pub(crate) uses_sequence: bool,
    /// Whether the fault lies in the fee bump and not in the transaction inside it.
    pub(crate) outer: bool,
    /// The fee that would suffice, in stroops, where the rule that refused knows it.
    pub(crate) sufficient_fee: Option<i64>,
    /// Says more than the result code can.
    pub(crate) diagnostics: Vec<DiagnosticEvent>,
}

/// The outcome of a check.
pub(crate) type Validity = Result<(), Box<Refusal>>;

/// The faults of operations, and what more there is to say about them.
pub(super) struct Faults {
    pub(super) results: Vec<OperationResult>,
    pub(super) diagnostics: Vec<DiagnosticEvent>,
}

impl Refusal {
    /// The same refusal, blamed on the fee bump around the transaction.
    pub(crate) fn of_the_bump(mut self: Box<Self>) -> Box<Self> {
        self.outer = true;
        self
    }

    /// The same refusal, with the fee in stroops that would have sufficed.
    pub(crate) fn with_sufficient_fee(mut self: Box<Self>, fee: i64) -> Box<Self> {
        self.sufficient_fee = Some(fee);
        self
    }
}

/// A refusal without further words.
pub(crate) fn refuse(result: TransactionResultResult, uses_sequence: bool) -> Box<Refusal> {
    Box::new(Refusal {
        result,
        uses_sequence,
        outer: false,
        sufficient_fee: None,
        diagnostics: Vec::new(),
    })
}

/// A refusal of what a Soroban transaction declares, in stellar-core's words.
pub(crate) fn refuse_soroban(error: ScError, text: &str, values: &[u64]) -> Box<Refusal> {
    let values: Vec<ScVal> = values.iter().map(|value| ScVal::U64(*value)).collect();
    let mut refusal = refuse(TransactionResultResult::TxSorobanInvalid, false);
    refusal.diagnostics.push(error_event(error, text, values));
    refusal
}

/// A refusal for faults of single operations.
pub(super) fn refuse_operations(faults: Faults) -> Box<Refusal> {
    let mut refusal = match vecm(faults.results) {
        Ok(results) => refuse(TransactionResultResult::TxFailed(results), true),
        Err(_) => refuse(TransactionResultResult::TxInternalError, true),
    };
    refusal.diagnostics = faults.diagnostics;
    refusal
}
