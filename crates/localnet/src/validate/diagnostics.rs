//! Diagnostic events: what a refusal says beside its result code.

use soroban_env_host::xdr::{
    ContractEvent, ContractEventBody, ContractEventType, ContractEventV0, DiagnosticEvent,
    ExtensionPoint, ScError, ScString, ScSymbol, ScVal,
};

use crate::xdr::vecm;

/// A diagnostic event that explains a refusal: the text, with the values it speaks of behind it.
pub(crate) fn error_event(error: ScError, text: &str, values: Vec<ScVal>) -> DiagnosticEvent {
    // Bounded, since parts of the text may come from the caller.
    let bytes: Vec<u8> = text.bytes().take(512).collect();
    let text = bytes.try_into().map_or(ScVal::Void, |text| ScVal::String(ScString(text)));
    let data = if values.is_empty() {
        text
    } else {
        let mut list = vec![text];
        list.extend(values);
        list.try_into().map_or(ScVal::Void, |list| ScVal::Vec(Some(list)))
    };
    diagnostic(vec!["error"], vec![ScVal::Error(error)], data, false)
}

/// A diagnostic event of the network itself.
pub(crate) fn diagnostic(
    symbols: Vec<&str>,
    more: Vec<ScVal>,
    data: ScVal,
    in_successful_contract_call: bool,
) -> DiagnosticEvent {
    let symbols = symbols.into_iter().filter_map(|symbol| symbol.try_into().ok());
    let mut topics: Vec<ScVal> = symbols.map(|symbol| ScVal::Symbol(ScSymbol(symbol))).collect();
    topics.extend(more);
    let body =
        ContractEventBody::V0(ContractEventV0 { topics: vecm(topics).unwrap_or_default(), data });
    DiagnosticEvent {
        in_successful_contract_call,
        event: ContractEvent {
            ext: ExtensionPoint::V0,
            contract_id: None,
            type_: ContractEventType::Diagnostic,
            body,
        },
    }
}
