//! The one table of contract errors: equal to the interface (SEP-48) in the committed Wasm, and to
//! the page that is made from it.

#![expect(clippy::unwrap_used, reason = "helpers are not marked as tests")]

use stellar::contract_error::{REGISTRY, Row, VAULT, guide};
use stellar_xdr::{Limited, Limits, ReadXdr as _, ScSpecEntry};

const VAULT_WASM: &[u8] = include_bytes!("../../../contracts/wasm/prepaid_vault.wasm");
const REGISTRY_WASM: &[u8] = include_bytes!("../../../contracts/wasm/agent_registry.wasm");
const PAGE: &str = include_str!("../../../docs/contract-errors.md");

/// The numbers and names of the error enum that a contract's interface declares.
fn declared(wasm: &[u8], name: &str) -> Vec<(u32, String)> {
    let mut cases = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let wasmparser::Payload::CustomSection(section) = payload.unwrap() else { continue };
        if section.name() != "contractspecv0" {
            continue;
        }
        let mut rest = Limited::new(section.data(), Limits::none());
        for entry in ScSpecEntry::read_xdr_iter(&mut rest) {
            if let ScSpecEntry::UdtErrorEnumV0(it) = entry.unwrap()
                && it.name.to_utf8_string_lossy() == name
            {
                let case = |case: &stellar_xdr::ScSpecUdtErrorEnumCaseV0| {
                    (case.value, case.name.to_utf8_string_lossy())
                };
                cases.extend(it.cases.iter().map(case));
            }
        }
    }
    cases
}

fn ours(rows: &[Row]) -> Vec<(u32, String)> {
    rows.iter().map(|row| (row.number, row.name.to_owned())).collect()
}

#[test]
fn the_table_is_the_committed_contracts_own() {
    assert_eq!(ours(VAULT), declared(VAULT_WASM, "VaultError"));
    assert_eq!(ours(REGISTRY), declared(REGISTRY_WASM, "AgentRegistryError"));
}

#[test]
fn every_error_says_what_it_means_and_what_to_do() {
    for row in VAULT.iter().chain(REGISTRY) {
        assert!(row.meaning.len() > 10 && row.action.len() > 4, "{}", row.name);
    }
}

#[test]
fn the_page_is_the_table() {
    assert!(
        PAGE.trim_end() == guide().trim_end(),
        "docs/contract-errors.md is old: write `lumio contract errors` to it"
    );
}
