//! Simulation: what a call would do, need and cost, without doing it.

use serde::Deserialize;
use stellar_xdr::{DiagnosticEvent, ScVal, SorobanAuthorizationEntry, SorobanTransactionData};

use super::{Rpc, malformed, shorten};
use crate::bridge::Built;
use crate::{Call, ChainError, ContractError, scval};

const METHOD: &str = "simulateTransaction";

/// What a successful simulation says.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The ledger it ran on.
    pub ledger: u32,
    /// What the call answered.
    pub value: ScVal,
    /// What has to be signed, as the node proposes it.
    pub auth: Vec<SorobanAuthorizationEntry>,
    /// Footprint and resources.
    pub data: SorobanTransactionData,
    /// The least resource fee, in stroops.
    pub resource_fee: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSimulation {
    latest_ledger: u32,
    min_resource_fee: Option<String>,
    error: Option<String>,
    #[serde(default)]
    results: Option<Vec<RawResult>>,
    transaction_data: Option<String>,
    restore_preamble: Option<serde_json::Value>,
    #[serde(default)]
    events: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawResult {
    #[serde(default)]
    auth: Vec<String>,
    xdr: String,
}

impl Rpc {
    /// Simulates a transaction that carries `call` alone.
    ///
    /// # Errors
    ///
    /// [`ChainError::Contract`] when a contract refuses, [`ChainError::Simulation`] when the host
    /// does, [`ChainError::Archived`], [`ChainError::Decode`], [`ChainError::Rpc`].
    pub(crate) async fn simulate(
        &self,
        call: &Call,
        transaction: &Built,
    ) -> Result<Simulation, ChainError> {
        // Entries to be signed come with the credentials of the newest kind that the network has.
        let transaction = transaction.to_base64()?;
        let params = serde_json::json!({ "transaction": transaction, "useUpgradedAuth": true });
        let raw: RawSimulation = self.raw().await?.call(METHOD, params).await?;
        // Before anything is read of it: a refusal by an old ledger is no refusal.
        self.require_recent(METHOD, raw.latest_ledger)?;
        raw.decode(call)
    }
}

impl RawSimulation {
    fn decode(self, call: &Call) -> Result<Simulation, ChainError> {
        let function = call.name().to_owned();
        // First: the other fields of a failed simulation mean nothing.
        if let Some(error) = &self.error {
            let found = ContractError::in_text(call.kind(), error)
                .or_else(|| ContractError::in_events(call.kind(), &self.diagnostics()));
            return Err(match found {
                Some(error) => ChainError::Contract { function, error },
                None => ChainError::Simulation { function, reason: shorten(error) },
            });
        }
        // With a preamble the result holds only once the restoration has been applied.
        if self.restore_preamble.is_some_and(|preamble| !preamble.is_null()) {
            return Err(ChainError::Archived { function });
        }
        let missing = |what: &str| ChainError::from(malformed(METHOD, format!("no {what}")));
        let data = self.transaction_data.ok_or_else(|| missing("transaction data"))?;
        let fee = self.min_resource_fee.ok_or_else(|| missing("resource fee"))?;
        // One operation, one result.
        let result = self.results.and_then(|results| results.into_iter().next());
        let result = result.ok_or_else(|| missing("result"))?;
        let auth = result.auth.iter().map(|text| scval::from_base64("authorisation entry", text));
        Ok(Simulation {
            ledger: self.latest_ledger,
            value: scval::from_base64("simulated answer", &result.xdr)?,
            auth: auth.collect::<Result<_, _>>()?,
            data: scval::from_base64("transaction data", &data)?,
            resource_fee: fee.parse().map_err(|error| malformed(METHOD, error))?,
        })
    }

    /// Those that can be read; they only serve to name an error.
    fn diagnostics(&self) -> Vec<DiagnosticEvent> {
        let texts = self.events.iter().flatten();
        texts.filter_map(|text| scval::from_base64("diagnostic event", text).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, ContractKind, Invocation};

    fn decode(json: serde_json::Value) -> Result<Simulation, ChainError> {
        let call =
            Invocation::new(ContractKind::Vault, Address::Contract([1; 32]), "open_run", vec![])
                .into();
        serde_json::from_value::<RawSimulation>(json).unwrap().decode(&call)
    }

    #[test]
    fn a_refusal_is_named_and_other_failures_are_not_guessed() {
        let refused = decode(serde_json::json!({
            "latestLedger": 5, "error": "HostError: Error(Contract, #5)\n\nEvent log…"
        }));
        let error = refused.unwrap_err();
        assert_eq!(error.contract().map(|error| error.name), Some("InsufficientBalance"));
        assert!(
            error.to_string().starts_with("open_run: InsufficientBalance (vault error 5)"),
            "{error}"
        );

        let failed = decode(serde_json::json!({
            "latestLedger": 5, "error": "HostError: Error(Budget, ExceededLimit)"
        }));
        assert!(matches!(failed, Err(ChainError::Simulation { .. })));
    }

    #[test]
    fn an_archived_entry_and_a_half_answer_are_errors() {
        let archived = decode(serde_json::json!({
            "latestLedger": 5, "restorePreamble": { "minResourceFee": "1", "transactionData": "" }
        }));
        assert!(matches!(archived, Err(ChainError::Archived { .. })));
        assert!(matches!(
            decode(serde_json::json!({ "latestLedger": 5 })),
            Err(ChainError::Rpc(_))
        ));
    }
}
