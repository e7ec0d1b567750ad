//! What the network says about transactions and events.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use stellar_xdr::{
    ContractEvent, DiagnosticEvent, ScVal, TransactionMeta, TransactionResult,
    TransactionResultCode, TransactionResultResult,
};
use wire::TxHash;

use super::events::Event;
use super::malformed;
use super::raw::Raw;
use crate::{ChainError, ContractError, ContractKind, scval};

/// A node's view of time: ledgers, and when they closed in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Newest ledger.
    pub latest_ledger: u32,
    /// When it closed.
    pub latest_close: u64,
    /// Oldest ledger whose transactions the node still keeps.
    pub oldest_ledger: u32,
    /// When it closed.
    pub oldest_close: u64,
}

/// A transaction's fate according to one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionStatus {
    /// The node's clock at that answer.
    pub clock: Clock,
    /// The fate.
    pub outcome: Outcome,
}

/// Whether a transaction was applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The node does not know it. Proves absence only by [`TransactionStatus::proves_absent`].
    NotFound,
    /// It was applied, with or without success.
    Applied(Box<Applied>),
}

/// An applied transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Its hash.
    pub hash: TxHash,
    /// Whether its call took effect. If not, only fee and sequence number are gone.
    pub success: bool,
    /// The ledger it is in.
    pub ledger: u32,
    /// When that ledger closed, Unix seconds.
    pub close_time: u64,
    /// Stroops that were charged.
    pub fee_charged: i64,
    /// The result's code, such as `TxSuccess` or `TxFailed`.
    pub code: String,
    /// What the call answered; `None` if it failed.
    pub value: Option<ScVal>,
    /// The contract events it emitted, in order; none if it failed.
    pub events: Vec<Event>,
    diagnostics: Vec<DiagnosticEvent>,
}

/// What a node answers to a sent transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendAnswer {
    /// It is in the queue.
    Pending,
    /// The queue has it already.
    Duplicate,
    /// The queue does not take it now; it may have been applied before.
    TryAgainLater,
    /// Refused with this result.
    Rejected(Rejection),
}

/// A refusal before the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The result's code, such as `TxBadSeq`.
    pub code: String,
    /// Whether, as the answer to the first send of a hash, it proves that the transaction is not
    /// and will not be applied (R13).
    pub definite: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawTransaction {
    status: String,
    latest_ledger: u32,
    #[serde(deserialize_with = "seconds")]
    latest_ledger_close_time: u64,
    oldest_ledger: u32,
    #[serde(deserialize_with = "seconds")]
    oldest_ledger_close_time: u64,
    ledger: Option<u32>,
    #[serde(default, deserialize_with = "optional_seconds")]
    created_at: Option<u64>,
    result_xdr: Option<String>,
    result_meta_xdr: Option<String>,
    #[serde(default)]
    diagnostic_events_xdr: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSend {
    status: String,
    error_result_xdr: Option<String>,
}

/// What is used of a transaction's meta.
struct MetaContent {
    value: Option<ScVal>,
    events: Vec<ContractEvent>,
    diagnostics: Vec<DiagnosticEvent>,
}

/// What a node knows of a transaction.
pub(super) async fn read(raw: &Raw, hash: &TxHash) -> Result<TransactionStatus, ChainError> {
    let params = serde_json::json!({ "hash": hash.to_string() });
    let answer: RawTransaction = raw.call("getTransaction", params).await?;
    answer.decode(hash)
}

impl TransactionStatus {
    /// Whether this answer proves that a transaction was not and will not be applied: the node does
    /// not know it, its newest ledger closed after the transaction's last moment, and it still
    /// keeps the ledger that was current when the transaction was signed.
    pub const fn proves_absent(&self, max_time: u64, signed_at_ledger: u32) -> bool {
        matches!(self.outcome, Outcome::NotFound)
            // No ledger that is still to come can take it.
            && self.clock.latest_close > max_time
            // Had it been applied since it was signed, the node would still have that ledger.
            && self.clock.oldest_ledger <= signed_at_ledger
            // A node that is behind the signing has not seen what followed.
            && self.clock.latest_ledger >= signed_at_ledger
    }
}

impl Applied {
    /// The error of a contract that made it fail, if the node names it. The number is read as one
    /// of `kind`, the contract that was called.
    pub fn contract_error(&self, kind: ContractKind) -> Option<ContractError> {
        if self.success {
            return None;
        }
        ContractError::in_events(kind, &self.diagnostics)
    }
}

impl RawTransaction {
    pub(super) fn decode(self, hash: &TxHash) -> Result<TransactionStatus, ChainError> {
        let clock = Clock {
            latest_ledger: self.latest_ledger,
            latest_close: self.latest_ledger_close_time,
            oldest_ledger: self.oldest_ledger,
            oldest_close: self.oldest_ledger_close_time,
        };
        let outcome = match self.status.as_str() {
            "NOT_FOUND" => Outcome::NotFound,
            "SUCCESS" => Outcome::Applied(Box::new(self.applied(hash, true)?)),
            "FAILED" => Outcome::Applied(Box::new(self.applied(hash, false)?)),
            other => {
                return Err(malformed("getTransaction", format!("unknown status '{other}'")).into());
            }
        };
        Ok(TransactionStatus { clock, outcome })
    }

    fn applied(&self, hash: &TxHash, success: bool) -> Result<Applied, ChainError> {
        let missing =
            |what: &str| ChainError::from(malformed("getTransaction", format!("no {what}")));
        let ledger = self.ledger.ok_or_else(|| missing("ledger"))?;
        let result = self.result_xdr.as_deref().ok_or_else(|| missing("result"))?;
        let result: TransactionResult = scval::from_base64("transaction result", result)?;
        let content = match self.result_meta_xdr.as_deref() {
            Some(meta) => meta_content(scval::from_base64("transaction meta", meta)?)?,
            // Its result alone names a failure; only a success needs its answer and its events.
            None if success => return Err(missing("result meta")),
            None => MetaContent { value: None, events: vec![], diagnostics: vec![] },
        };
        // They only serve to name an error: one that cannot be read is left out.
        let named = self
            .diagnostic_events_xdr
            .iter()
            .flatten()
            .filter_map(|text| scval::from_base64("diagnostic event", text).ok());
        let mut diagnostics = content.diagnostics;
        diagnostics.extend(named);
        let events = content.events.into_iter().map(|event| Event::new(event, ledger, hash));
        Ok(Applied {
            hash: *hash,
            success,
            ledger,
            close_time: self.created_at.ok_or_else(|| missing("close time"))?,
            fee_charged: result.fee_charged,
            code: code(&result.result).name().to_owned(),
            // What a failed call would have answered was rolled back.
            value: content.value.filter(|_| success),
            events: events.filter_map(Result::transpose).collect::<Result<_, _>>()?,
            diagnostics,
        })
    }
}

impl RawSend {
    pub(super) fn decode(self) -> Result<SendAnswer, ChainError> {
        Ok(match self.status.as_str() {
            "PENDING" => SendAnswer::Pending,
            "DUPLICATE" => SendAnswer::Duplicate,
            "TRY_AGAIN_LATER" => SendAnswer::TryAgainLater,
            "ERROR" => SendAnswer::Rejected(rejection(self.error_result_xdr.as_deref())),
            other => {
                return Err(
                    malformed("sendTransaction", format!("unknown status '{other}'")).into()
                );
            }
        })
    }
}

/// An unreadable result is not a definite rejection: nothing is known then (O1).
fn rejection(result: Option<&str>) -> Rejection {
    let decoded = result
        .and_then(|text| scval::from_base64::<TransactionResult>("transaction result", text).ok());
    let Some(decoded) = decoded else {
        return Rejection { code: "unreadable".to_owned(), definite: false };
    };
    let code = code(&decoded.result);
    // The list of R13. `TxBadSeq`, `TxTooLate` and the others may follow from an earlier send of
    // the same hash that was applied.
    let definite = matches!(
        code,
        TransactionResultCode::TxMalformed
            | TransactionResultCode::TxBadAuth
            | TransactionResultCode::TxSorobanInvalid
            | TransactionResultCode::TxInsufficientFee
            | TransactionResultCode::TxInsufficientBalance
    );
    Rejection { code: code.name().to_owned(), definite }
}

fn code(result: &TransactionResultResult) -> TransactionResultCode {
    result.discriminant()
}

fn meta_content(meta: TransactionMeta) -> Result<MetaContent, ChainError> {
    match meta {
        // Since protocol 23 (CAP-67) events are kept by operation; a Soroban transaction has one.
        TransactionMeta::V4(meta) => Ok(MetaContent {
            value: meta.soroban_meta.and_then(|meta| meta.return_value),
            events: meta
                .operations
                .into_vec()
                .into_iter()
                .flat_map(|operation| operation.events.into_vec())
                .collect(),
            diagnostics: meta.diagnostic_events.into_vec(),
        }),
        // Protocols 20 to 22.
        TransactionMeta::V3(meta) => Ok(match meta.soroban_meta {
            Some(meta) => MetaContent {
                value: Some(meta.return_value),
                events: meta.events.into_vec(),
                diagnostics: meta.diagnostic_events.into_vec(),
            },
            None => MetaContent { value: None, events: vec![], diagnostics: vec![] },
        }),
        TransactionMeta::V0(_) | TransactionMeta::V1(_) | TransactionMeta::V2(_) => {
            Err(ChainError::decode("transaction meta", "older than Soroban"))
        }
    }
}

/// Nodes write times as numbers or as strings of them.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(|_| D::Error::custom("expected Unix seconds")),
    }
}

pub(super) fn optional_seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    // `deserialize_with` applies to a whole field, so the inner value needs a type.
    #[derive(Deserialize)]
    struct Inner(#[serde(deserialize_with = "seconds")] u64);
    Ok(Option::<Inner>::deserialize(deserializer)?.map(|inner| inner.0))
}
