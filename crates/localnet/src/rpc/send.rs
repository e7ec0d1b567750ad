//! `sendTransaction`.

use serde::Deserialize;
use serde_json::{Value, json};
use soroban_env_host::xdr::TransactionEnvelope;

use super::format::{Format, object};
use super::{Answer, Call, RpcError, params};
use crate::queue;
use crate::xdr;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    transaction: String,
    xdr_format: Option<String>,
}

pub(super) fn send_transaction(call: &Call<'_>, value: Value) -> Answer {
    let request: Request = params(value)?;
    let format = Format::read(request.xdr_format.as_deref())?;
    let envelope: TransactionEnvelope =
        xdr::decode(&request.transaction).map_err(|_| RpcError::invalid_params("invalid_xdr"))?;

    // What the queue refuses is a result; only a defect of the network is an error of the call.
    let (hash, answer) = call.node.submit(envelope).map_err(RpcError::internal)?;
    let status = match &answer {
        queue::Answer::Pending => "PENDING",
        queue::Answer::Duplicate => "DUPLICATE",
        queue::Answer::TryAgainLater => "TRY_AGAIN_LATER",
        queue::Answer::Error { .. } => "ERROR",
    };
    tracing::debug!(hash = hex::encode(hash), status, "sendTransaction");

    let mut response = object(json!({
        "status": status,
        "hash": hex::encode(hash),
        "latestLedger": call.chain.sequence(),
        "latestLedgerCloseTime": call.chain.close_time().to_string(),
    }));
    if let queue::Answer::Error { result, diagnostics } = answer {
        let names = ("errorResultXdr", "errorResultJson");
        format.put(&mut response, names, result.as_ref())?;
        if !diagnostics.is_empty() {
            let names = ("diagnosticEventsXdr", "diagnosticEventsJson");
            format.put_list(&mut response, names, &diagnostics)?;
        }
    }
    Ok(Value::Object(response))
}
