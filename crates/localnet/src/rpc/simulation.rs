//! `simulateTransaction`.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use soroban_env_host::xdr::{
    FeeBumpTransactionInnerTx, LedgerFootprint, Memo, OperationBody, Transaction,
    TransactionEnvelope, TransactionExt,
};
use soroban_simulation::simulation::LedgerEntryDiff;

use super::format::{Format, object};
use super::{Answer, Call, RpcError, params};
use crate::frame::{account_id, modern};
use crate::simulate::{AuthMode, Request, Simulated, simulate};
use crate::xdr;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SimulateRequest {
    #[serde(default)]
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
    #[serde(default)]
    instruction_leeway: u64,
}

pub(super) fn simulate_transaction(call: &Call<'_>, value: Value) -> Answer {
    let request: SimulateRequest = params(value)?;

    // Whatever is wrong with a simulation is its result and not an error of the call.
    let readable = Format::read(request.xdr_format.as_deref()).map_err(|error| error.message);
    match readable.and_then(|format| Ok((format, read(&request)?))) {
        Ok((format, request)) => {
            answer(&simulate(call.chain, &request), format, call.chain.sequence())
        }
        // stellar-rpc looks the ledger up only for what it can simulate, and names ledger 0 here.
        Err(error) => Ok(json!({"latestLedger": 0, "error": error})),
    }
}

fn read(request: &SimulateRequest) -> Result<Request, String> {
    let envelope: TransactionEnvelope = xdr::decode(&request.transaction)
        .map_err(|_| "Could not unmarshal transaction".to_owned())?;
    let tx = match modern(envelope) {
        // Of a fee bump the inner transaction is tried: the bump changes only who pays.
        TransactionEnvelope::TxFeeBump(envelope) => {
            let FeeBumpTransactionInnerTx::Tx(inner) = envelope.tx.inner_tx;
            inner.tx
        }
        TransactionEnvelope::Tx(envelope) => envelope.tx,
        TransactionEnvelope::TxV0(_) => return Err("Could not unmarshal transaction".to_owned()),
    };
    let [operation] = tx.operations.as_slice() else {
        return Err("Transaction contains more than one operation".to_owned());
    };
    if tx.memo != Memo::None {
        let message = "Transaction contains a memo. Soroban transactions do not support memos.";
        return Err(message.to_owned());
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
        // The footprint of an invocation is found by running it; the two others consist of one.
        (OperationBody::InvokeHostFunction(_), _) => Ok(LedgerFootprint::default()),
        (_, TransactionExt::V1(data)) => Ok(data.resources.footprint.clone()),
        _ => Err("To perform a SimulateTransaction for ExtendFootprintTtl or RestoreFootprint \
                  operations, SorobanTransactionData must be provided"
            .to_owned()),
    }
}

/// Without a wish, authorisation is enforced if entries are given and recorded otherwise.
fn auth_mode(body: &OperationBody, wish: &str) -> Result<AuthMode, String> {
    if !matches!(wish, "" | "enforce" | "record" | "record_allow_nonroot") {
        let message = "optional 'authMode' must be one of enforce,record,record_allow_nonroot \
                       when included";
        return Err(message.to_owned());
    }
    let given = match body {
        OperationBody::InvokeHostFunction(op) => !op.auth.is_empty(),
        OperationBody::ExtendFootprintTtl(_) | OperationBody::RestoreFootprint(_) => {
            return match wish {
                "" => Ok(AuthMode::Record),
                _ => Err("cannot set authMode with non-InvokeHostFunction operations".to_owned()),
            };
        }
        other => {
            // The name as stellar-rpc gives it.
            let name = format!("OperationType{}", other.name());
            return Err(format!("transaction contains unsupported operation type: {name}"));
        }
    };
    match wish {
        "" if given => Ok(AuthMode::Enforce),
        "enforce" => Ok(AuthMode::Enforce),
        _ if given => Err(format!("cannot set authMode to '{wish}' with an auth footprint")),
        "record_allow_nonroot" => Ok(AuthMode::RecordAllowNonroot),
        _ => Ok(AuthMode::Record),
    }
}

fn answer(simulated: &Simulated, format: Format, latest_ledger: u32) -> Answer {
    let mut answer = object(json!({"latestLedger": latest_ledger}));
    if let Some(error) = &simulated.error {
        answer.insert("error".to_owned(), json!(error));
    }
    if let Some(data) = &simulated.transaction_data {
        format.put(&mut answer, ("transactionData", "transactionDataJson"), data)?;
        answer.insert("minResourceFee".to_owned(), json!(data.resource_fee.to_string()));
    }
    if !simulated.events.is_empty() {
        format.put_list(&mut answer, ("events", "eventsJson"), &simulated.events)?;
    }
    if let Some((value, auth)) = &simulated.result {
        let mut result = Map::new();
        format.put_list(&mut result, ("auth", "authJson"), auth)?;
        format.put(&mut result, ("xdr", "returnValueJson"), value)?;
        answer.insert("results".to_owned(), json!([result]));
    }
    if let Some(data) = &simulated.restore {
        let mut preamble = object(json!({"minResourceFee": data.resource_fee.to_string()}));
        format.put(&mut preamble, ("transactionData", "transactionDataJson"), data)?;
        answer.insert("restorePreamble".to_owned(), Value::Object(preamble));
    }
    let changes = state_changes(&simulated.changes, format)?;
    if !changes.is_empty() {
        answer.insert("stateChanges".to_owned(), json!(changes));
    }
    Ok(Value::Object(answer))
}

fn state_changes(diffs: &[LedgerEntryDiff], format: Format) -> Result<Vec<Value>, RpcError> {
    let mut changes = Vec::new();
    for diff in diffs {
        let (kind, entry) = match (&diff.state_before, &diff.state_after) {
            (None, Some(after)) => ("created", after),
            (Some(before), Some(_)) => ("updated", before),
            (Some(before), None) => ("deleted", before),
            (None, None) => continue,
        };

        // The base64 members are never left out, even where JSON was asked for.
        let mut change = object(json!({"type": kind, "before": null, "after": null}));
        format.put(&mut change, ("key", "keyJson"), &entry.to_key())?;
        if let Some(before) = &diff.state_before {
            format.put(&mut change, ("before", "beforeJson"), before)?;
        }
        if let Some(after) = &diff.state_after {
            format.put(&mut change, ("after", "afterJson"), after)?;
        }
        changes.push(Value::Object(change));
    }
    Ok(changes)
}
