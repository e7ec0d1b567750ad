//! `simulateTransaction`.

use serde::Deserialize;
use serde_json::{Value, json};
use soroban_env_host::xdr::{
    FeeBumpTransactionInnerTx, LedgerFootprint, Memo, OperationBody, Transaction,
    TransactionEnvelope, TransactionExt,
};
use soroban_simulation::simulation::LedgerEntryDiff;

use super::reads::{encode, encode_all, encode_diagnostics};
use super::{Answer, RpcError, check_format, params};
use crate::frame::account_id;
use crate::node::Node;
use crate::simulate::{AuthMode, Request, Simulated, simulate};
use crate::xdr;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SimulateRequest {
    transaction: String,
    resource_config: Option<ResourceConfig>,
    #[serde(default)]
    auth_mode: String,
    #[serde(default)]
    use_upgraded_auth: bool,
    xdr_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceConfig {
    instruction_leeway: u64,
}

pub(super) fn simulate_transaction(node: &Node, value: Value) -> Answer {
    let request: SimulateRequest = params(value)?;
    check_format(request.xdr_format.as_deref())?;
    let chain = node.view();
    let simulated = match read(&request) {
        Ok(request) => simulate(&chain, &request, node.now()),
        Err(error) => Simulated { error: Some(error), ..Simulated::default() },
    };
    answer(&simulated, chain.sequence())
}

fn read(request: &SimulateRequest) -> Result<Request, String> {
    let envelope: TransactionEnvelope = xdr::decode(&request.transaction)
        .map_err(|_| "the transaction is not valid XDR".to_owned())?;
    let tx = match envelope {
        TransactionEnvelope::Tx(envelope) => envelope.tx,
        TransactionEnvelope::TxFeeBump(envelope) => {
            let FeeBumpTransactionInnerTx::Tx(inner) = envelope.tx.inner_tx;
            inner.tx
        }
        TransactionEnvelope::TxV0(_) => {
            return Err("envelopes of version 0 are not supported by this network".to_owned());
        }
    };
    let [operation] = tx.operations.as_slice() else {
        return Err("exactly one operation can be simulated".to_owned());
    };
    if tx.memo != Memo::None {
        return Err("a transaction with a memo cannot be simulated".to_owned());
    }
    let leeway = request.resource_config.as_ref().map_or(0, |config| config.instruction_leeway);
    Ok(Request {
        auth: auth_mode(&operation.body, &request.auth_mode)?,
        footprint: footprint(&operation.body, &tx)?,
        source: account_id(operation.source_account.as_ref().unwrap_or(&tx.source_account)),
        body: operation.body.clone(),
        instruction_leeway: u32::try_from(leeway)
            .map_err(|_| "instructionLeeway is too large".to_owned())?,
        address_v2: request.use_upgraded_auth,
    })
}

fn footprint(body: &OperationBody, tx: &Transaction) -> Result<LedgerFootprint, String> {
    match (body, &tx.ext) {
        (OperationBody::InvokeHostFunction(_), _) => Ok(LedgerFootprint::default()),
        (_, TransactionExt::V1(data)) => Ok(data.resources.footprint.clone()),
        _ => {
            Err("an operation on time to live is simulated with its footprint in the Soroban data"
                .to_owned())
        }
    }
}

/// Without a wish, authorisation is enforced if entries are given and recorded otherwise.
fn auth_mode(body: &OperationBody, wish: &str) -> Result<AuthMode, String> {
    let given = matches!(body, OperationBody::InvokeHostFunction(op) if !op.auth.is_empty());
    let invokes = matches!(body, OperationBody::InvokeHostFunction(_));
    match wish {
        "" if given => Ok(AuthMode::Enforce),
        "" => Ok(AuthMode::Record),
        _ if !invokes => Err("authMode is only for InvokeHostFunction operations".to_owned()),
        "enforce" => Ok(AuthMode::Enforce),
        "record" | "record_allow_nonroot" if given => {
            Err(format!("authMode {wish:?} is not allowed with authorization entries"))
        }
        "record" => Ok(AuthMode::Record),
        "record_allow_nonroot" => Ok(AuthMode::RecordAllowNonroot),
        _ => Err("authMode must be enforce, record or record_allow_nonroot".to_owned()),
    }
}

fn answer(simulated: &Simulated, latest_ledger: u32) -> Answer {
    let mut answer = json!({"latestLedger": latest_ledger});
    if let Some(error) = &simulated.error {
        answer["error"] = json!(error);
    }
    if let Some(data) = &simulated.transaction_data {
        answer["transactionData"] = json!(encode(data)?);
        answer["minResourceFee"] = json!(data.resource_fee.to_string());
    }
    if !simulated.events.is_empty() {
        answer["events"] = json!(encode_diagnostics(&simulated.events)?);
    }
    if let Some((value, auth)) = &simulated.result {
        let auth = encode_all(auth.iter())?;
        answer["results"] = json!([{"auth": auth, "xdr": encode(value)?}]);
    }
    if let Some(data) = &simulated.restore {
        let fee = data.resource_fee.to_string();
        answer["restorePreamble"] =
            json!({"transactionData": encode(data)?, "minResourceFee": fee});
    }
    let changes = state_changes(&simulated.changes)?;
    if !changes.is_empty() {
        answer["stateChanges"] = json!(changes);
    }
    Ok(answer)
}

fn state_changes(diffs: &[LedgerEntryDiff]) -> Result<Vec<Value>, RpcError> {
    let mut changes = Vec::new();
    for diff in diffs {
        let (kind, entry) = match (&diff.state_before, &diff.state_after) {
            (None, Some(after)) => ("created", after),
            (Some(before), Some(_)) => ("updated", before),
            (Some(before), None) => ("deleted", before),
            (None, None) => continue,
        };
        changes.push(json!({
            "type": kind,
            "key": encode(&entry.to_key())?,
            "before": diff.state_before.as_ref().map(encode).transpose()?,
            "after": diff.state_after.as_ref().map(encode).transpose()?,
        }));
    }
    Ok(changes)
}
