//! Each test changes one thing that an attacker could change, and asks for the name of the broken
//! link.

mod calls;
mod fixture;
mod gates;
mod mutations;
mod offline;
mod screen;
mod stories;
mod withheld;

use std::fs;

use serde_json::json;
use wire::statement::{Code, Exit, Verdict};
use wire::{AttemptKey, Digest, Usage};

use self::fixture::{Fixture, OTHER_KEY};
use super::{ALL, Name};
use crate::verify::link::LinkState;

#[test]
fn an_untouched_run_is_proven_link_by_link() {
    let fixture = Fixture::new();
    let proof = fixture.judge();
    let states: Vec<_> = proof.links.iter().map(|link| (link.link, link.state)).collect();
    let expected = ALL.map(|name| match name {
        // What was asked for is compared only where the user gives it.
        Name::Request => (name, LinkState::Skipped),
        _ => (name, LinkState::Ok),
    });
    assert_eq!(states, expected, "{:#?}", proof.links);
    assert_eq!(proof.exit_code(), 0);
    let text = proof.report().text;
    assert!(text.contains("proven: the run cost G"), "{text}");
    assert!(text.contains(" 0.0005 XLM (5000 stroops), in its one attempt"), "{text}");
    assert!(text.contains("0.0005 XLM (5000 stroops) for 500 ms"), "{text}");
    assert!(text.contains("rests on: that the module really ran so"), "{text}");
    assert!(text.contains("not looked at: request: input 44136fa3"), "{text}");
}

#[test]
fn an_output_changed_by_one_byte_breaks_files() {
    let fixture = Fixture::new();
    let path = fixture.path("pack/outputs/report.json");
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
    fixture.breaks(&[Name::Files]);
}

#[test]
fn a_file_added_to_the_pack_breaks_files() {
    let fixture = Fixture::new();
    fs::write(fixture.path("pack/outputs/extra.txt"), "x").unwrap();
    fixture.breaks(&[Name::Files]);
}

#[test]
fn a_file_taken_from_the_pack_breaks_files() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("pack/outputs/report.json")).unwrap();
    fixture.breaks(&[Name::Files]);
}

#[test]
fn an_edited_manifest_breaks_manifest() {
    let fixture = Fixture::new();
    let path = fixture.path("pack/_oracle_pack_manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("lumio-test", "lumio-text")).unwrap();
    fixture.breaks(&[Name::Manifest]);
}

#[test]
fn a_whole_pack_sealed_anew_breaks_the_seal() {
    let mut fixture = Fixture::new();
    fs::write(fixture.path("pack/outputs/report.json"), "{\"rows\":4}").unwrap();
    fixture.execution.outputs[0].length = 10;
    fixture.execution.outputs[0].sha256 = Digest::of(b"{\"rows\":4}");
    fixture.reseal();
    fixture.breaks(&[Name::Seal]);
}

#[test]
fn a_usage_changed_in_the_statement_breaks_statement_and_files() {
    let fixture = Fixture::new();
    let path = fixture.path("pack/_execution.dsse");
    let mut envelope: wire::dsse::Envelope =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let payload = String::from_utf8(fixture.statement()).unwrap();
    let edited = payload.replace("\"runtime_ms\":500", "\"runtime_ms\":400");
    assert_ne!(edited, payload);
    envelope.payload =
        wire::dsse::sign(wire::dsse::IN_TOTO, edited.as_bytes(), &fixture::key(OTHER_KEY)).payload;
    fs::write(path, envelope.to_json()).unwrap();
    fixture.breaks(&[Name::Statement, Name::Files]);
}

#[test]
fn a_statement_by_another_key_breaks_statement_even_when_all_is_sealed_anew() {
    let mut fixture = Fixture::new();
    fixture.key = OTHER_KEY;
    fixture.reseal();
    fixture.settle();
    fixture.breaks(&[Name::Statement]);
}

#[test]
fn a_settlement_with_other_usage_than_stated_breaks_usage() {
    let mut fixture = Fixture::new();
    fixture.settled = Usage { runtime_ms: 501, ..fixture.execution.usage };
    fixture.charge = 5_010;
    fixture.settle();
    fixture.breaks(&[Name::Usage]);
}

#[test]
fn a_settlement_is_compared_by_its_digest_when_event_and_receipt_are_gone() {
    let mut fixture = Fixture::new();
    fixture.shown().finalized = None;
    fixture.facts.receipts.as_mut().unwrap().receipts.clear();
    fixture.facts.receipts.as_mut().unwrap().before = fixture.facts.account.unwrap().hash;
    let proof = fixture.judge();
    let states = (proof.exit_code(), proof.state(Name::Usage), proof.state(Name::Account));

    // What it was for is known; whether other events are gone as well is not.
    assert_eq!(states, (2, Some(LinkState::Ok), Some(LinkState::Skipped)), "{:#?}", proof.links);
    assert_eq!(proof.state(Name::Attempts), Some(LinkState::Unknown));

    // A digest that fits nothing does not say whether usage or settler is another.
    fixture.settled = Usage { runtime_ms: 501, ..fixture.execution.usage };
    fixture.settle();
    fixture.shown().finalized = None;
    fixture.facts.receipts = None;
    let proof = fixture.judge();
    assert_eq!((proof.exit_code(), proof.state(Name::Usage)), (2, Some(LinkState::Unknown)));
}

#[test]
fn a_changed_module_breaks_module() {
    let fixture = Fixture::new();
    fs::write(fixture.path("module/tree/index.js"), "evil()").unwrap();
    fixture.breaks(&[Name::Module]);
}

#[test]
fn another_module_with_its_own_document_breaks_module() {
    let fixture = Fixture::new();
    fs::write(fixture.path("module/tree/index.js"), "evil()").unwrap();
    let tree = seal::Tree::from_dir(&fixture.path("module/tree"), &seal::Limits::MODULE).unwrap();
    fs::write(fixture.path("module/_tree.json"), tree.to_bytes().unwrap()).unwrap();
    fixture.breaks(&[Name::Module]);
}

#[test]
fn a_lying_gateways_charge_breaks_receipt() {
    let fixture = Fixture::new();
    fixture.edit_run(|run| run["receipt"]["actualCharge"] = json!("4999"));
    fixture.breaks(&[Name::Receipt]);
}

#[test]
fn a_lying_gateways_vault_breaks_vault() {
    let fixture = Fixture::new();
    fixture.edit_run(|run| run["vaultId"] = json!(stellar::Address::Contract([9; 32]).to_string()));
    fixture.breaks(&[Name::Vault]);
}

#[test]
fn a_run_of_another_vault_breaks_vault_though_the_gateway_hides_it() {
    let mut fixture = Fixture::new();
    fixture.facts.attempts.clear();
    (fixture.facts.receipts, fixture.facts.account) = (None, None);
    let proof = fixture.judge();
    assert_eq!((proof.exit_code(), proof.broken()), (1, vec![Name::Vault]), "{:#?}", proof.links);
}

#[test]
fn another_runs_id_on_chain_breaks_vault() {
    let fixture = Fixture::new();
    fixture.edit_run(|run| run["attempt"] = json!(2));
    assert!(fixture.judge().broken().contains(&Name::Vault));
}

#[test]
fn another_registry_breaks_vault() {
    let mut fixture = Fixture::new();
    fixture.facts.registry = Some(stellar::Address::Contract([9; 32]));
    fixture.breaks(&[Name::Vault]);
}

#[test]
fn a_charge_that_is_not_prices_times_usage_breaks_charge() {
    let mut fixture = Fixture::new();
    fixture.charge = 5_001;
    fixture.settle();
    fixture.breaks(&[Name::Charge, Name::Attempts]);
}

#[test]
fn other_prices_than_the_rate_cards_break_rates() {
    let mut fixture = Fixture::new();
    fixture.shown().rate_card.as_mut().unwrap().rates.llm_in += 1;
    fixture.breaks(&[Name::Rates]);
}

#[test]
fn a_receipt_outside_the_running_hash_breaks_account() {
    let mut fixture = Fixture::new();
    fixture.facts.account.as_mut().unwrap().hash = Digest::of(b"other");
    fixture.breaks(&[Name::Account]);
}

#[test]
fn a_facts_view_of_another_seal_breaks_gates() {
    let fixture = Fixture::new();
    let path = fixture.path("facts/run_facts_view.json");
    let mut view: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    view["oracle_pack_ref"]["seal_digest"] = json!(Digest::of(b"other"));
    fs::write(path, view.to_string()).unwrap();
    fixture.breaks(&[Name::Gates]);
}

#[test]
fn a_record_that_ended_and_events_that_are_gone_prove_nothing() {
    let mut fixture = Fixture::new();
    fixture.facts.attempts.clear();
    (fixture.facts.receipts, fixture.facts.account) = (None, None);
    fixture.facts.ledger_time += 3 * 86_400;
    fixture.facts.oldest_time = fixture.facts.ledger_time - 86_400;
    let proof = fixture.judge();
    assert_eq!(
        (proof.exit_code(), proof.state(Name::Vault)),
        (2, Some(LinkState::Unknown)),
        "{:#?}",
        proof.links
    );
}

#[test]
fn another_input_than_stated_breaks_statement() {
    let fixture = Fixture::new();
    fixture.edit_run(|run| run["input"] = json!({}));
    fixture.breaks(&[]);
    fixture.edit_run(|run| run["input"] = json!({ "rows": 9 }));
    fixture.breaks(&[Name::Statement]);
}

#[test]
fn a_run_that_is_still_open_proves_nothing_yet() {
    let mut fixture = Fixture::new();
    fixture.shown().finalized = None;
    fixture.shown().record.as_mut().unwrap().lifecycle = stellar::vault::Lifecycle::Open;
    fixture.facts.receipts = None;
    fixture.facts.account = None;
    fixture.write_run();
    let proof = fixture.judge();
    assert_eq!((proof.exit_code(), proof.broken()), (2, vec![]), "{:#?}", proof.links);

    fs::remove_dir_all(fixture.path("pack")).unwrap();
    fs::remove_dir_all(fixture.path("module")).unwrap();
    let proof = fixture.judge();
    assert_eq!((proof.exit_code(), proof.broken()), (2, vec![]), "{:#?}", proof.links);
}

#[test]
fn a_refused_module_is_proven_to_have_cost_nothing() {
    let mut fixture = Fixture::new();
    fixture.execution.verdict = Verdict::Fail;
    fixture.execution.code = Some(Code::SideEffectsForbidden);
    fixture.execution.exit = Exit::Code(1);
    fixture.execution.usage = Usage::default();
    fixture.execution.outputs.clear();
    fs::remove_dir_all(fixture.path("pack/outputs")).unwrap();
    fs::remove_file(fixture.path("facts/run_facts_view.json")).unwrap();
    fixture.reseal();
    (fixture.settled, fixture.charge) = (Usage::default(), 0);
    fixture.settle();
    fixture.breaks(&[]);
}

#[test]
fn a_run_that_was_never_executed_commits_to_its_failure() {
    let mut fixture = Fixture::new();
    fs::remove_dir_all(fixture.path("pack")).unwrap();
    let key = AttemptKey::new(fixture.run, 1);
    fixture.output_hash = wire::failure::digest(key, "EXECUTOR_MISSING", "none");
    (fixture.settled, fixture.charge) = (Usage::default(), 0);
    fixture.settle();
    fixture.edit_run(|run| {
        run["errorCode"] = json!("EXECUTOR_MISSING");
        run["error"] = json!("none");
    });
    fixture.breaks(&[]);

    fixture.edit_run(|run| run["error"] = json!("another story"));
    assert!(fixture.judge().broken().contains(&Name::Seal));
}
