//! Runs that lawfully have no files: their pack has a tombstone, or nothing was sealed. What is
//! known is said, and the rest is not called broken.

use std::fs;

use seal::SealMarker;
use seal::records::{Decision, Record, Survives, TombstoneReason, Version};
use serde_json::Value;
use stellar::vault::Lifecycle;
use wire::Digest;

use super::Name;
use super::fixture::{Fixture, at};
use crate::output::Format;
use crate::verify::bundle::TOMBSTONE_FILE;
use crate::verify::link::{LinkState, Proof, TombstoneSource};

const SAYS: &str = "LEGAL_ORDER, by the court, 2027-01-15";

fn without_files(fixture: &Fixture) {
    for part in ["pack", "module", "facts"] {
        fs::remove_dir_all(fixture.path(part)).unwrap();
    }
}

fn detail(proof: &Proof, name: Name) -> &str {
    &proof.links.iter().find(|link| link.link == name).unwrap().detail
}

/// Nothing is broken, and something could not be looked at.
fn cannot_tell(proof: &Proof) {
    assert_eq!((proof.exit_code(), proof.broken()), (2, vec![]), "{:#?}", proof.links);
}

#[test]
fn a_pack_with_a_tombstone_leaves_the_cost_and_its_files_unknown() {
    let fixture = Fixture::new();
    without_files(&fixture);
    assert!(fixture.judge().broken().contains(&Name::Files), "a charge needs files");

    fs::write(fixture.path(TOMBSTONE_FILE), SAYS).unwrap();
    let proof = fixture.judge();
    cannot_tell(&proof);
    for name in [Name::Vault, Name::Terms, Name::Rates, Name::Charge, Name::Attempts] {
        assert_eq!(proof.state(name), Some(LinkState::Ok), "{name:?}");
    }
    for name in [Name::Statement, Name::Seal, Name::Manifest, Name::Files, Name::Module] {
        assert_eq!(proof.state(name), Some(LinkState::Unknown), "{name:?}");
        assert!(detail(&proof, name).contains(SAYS), "{name:?}");
    }
    assert!(proof.sum.complete && proof.sum.total == 5_000);
    let tombstone = proof.tombstone.as_ref().unwrap();
    assert_eq!((tombstone.source, tombstone.says.as_str()), (TombstoneSource::Gateway, SAYS));
    let text = proof.report().text;
    let cost = format!("cost: the run cost {} 0.0005 XLM", fixture.terms.user);
    assert!(text.contains(&cost), "{text}");
    assert!(text.contains(&format!("must not be read any more: {SAYS}")), "{text}");
    assert!(!text.contains("proven:"), "{text}");
}

#[test]
fn a_tombstone_that_is_said_excuses_no_file_of_a_pack_that_is_there() {
    let fixture = Fixture::new();
    fs::write(fixture.path(TOMBSTONE_FILE), SAYS).unwrap();
    fs::remove_file(fixture.path("pack/_execution.dsse")).unwrap();
    assert!(fixture.judge().broken().contains(&Name::Statement));
    fs::remove_dir_all(fixture.path("module")).unwrap();
    assert!(fixture.judge().broken().contains(&Name::Module));
}

#[test]
fn files_of_a_returned_attempt_that_are_withheld_are_unknown() {
    let mut fixture = Fixture::new();
    without_files(&fixture);
    fixture.facts.receipts = None;
    fixture.facts.account = None;
    fixture.shown().finalized = None;
    fixture.shown().record.as_mut().unwrap().lifecycle = Lifecycle::Voided(1);
    fixture.write_run();
    fixture.breaks(&[]);
    let text = fixture.judge().report().text;
    assert!(text.contains("no charge commits to files") && !text.contains("executed"), "{text}");

    fs::write(fixture.path(TOMBSTONE_FILE), SAYS).unwrap();
    cannot_tell(&fixture.judge());
}

/// Records a tombstone of the fixture's pack.
fn record(fixture: &Fixture) {
    let read = |name: &str| fs::read(fixture.path(&format!("pack/{name}"))).unwrap();
    let record = Record {
        version: Version::V1,
        number: 1,
        previous: None,
        oracle_pack_id: SealMarker::parse(&read(seal::SEAL_FILE)).unwrap().pack_id(),
        seal_digest: fixture.seal_digest(),
        authority: "the court".to_owned(),
        recorded_at_utc: at(0),
        decision: Decision::Tombstone {
            reason: TombstoneReason::LegalOrder,
            replacement: None,
            survives: Survives::Everything,
            manifest_digest: Digest::of(&read(seal::MANIFEST_FILE)),
            note: None,
        },
    };
    fs::create_dir(fixture.path("pack/_records")).unwrap();
    fs::write(fixture.path("pack/_records/1.json"), record.to_bytes().unwrap()).unwrap();
}

#[test]
fn a_tombstone_record_in_a_bundle_is_named_whatever_the_links_show() {
    let fixture = Fixture::new();
    record(&fixture);
    fixture.breaks(&[]);
    let named = |fixture: &Fixture| {
        let proof = fixture.judge();
        let tombstone = proof.tombstone.clone().unwrap();
        assert_eq!((tombstone.source, tombstone.says.as_str()), (TombstoneSource::Record, SAYS));
        let report = proof.report();
        let last = report.text.lines().next_back().unwrap().to_owned();
        assert!(last.starts_with("tombstone:") && last.contains(SAYS), "{}", report.text);
        let json: Value = serde_json::from_str(&report.render(Format::Json)).unwrap();
        assert_eq!(
            (&json["tombstone"]["source"], &json["tombstone"]["says"]),
            (&"record".into(), &SAYS.into())
        );
    };
    named(&fixture);

    fs::write(fixture.path("pack/outputs/report.json"), "{\"rows\":4}").unwrap();
    fixture.breaks(&[Name::Files]);
    named(&fixture);
}

/// The run as a gateway shows it that ended it without a settlement.
fn show_failed(fixture: &Fixture, code: &str) {
    fixture.edit_run(|run| {
        let run = run.as_object_mut().unwrap();
        for member in ["receipt", "outputHash", "usage"] {
            run.remove(member);
        }
        run.insert("status".to_owned(), "failed".into());
        run.insert("errorCode".to_owned(), code.into());
    });
}

#[test]
fn a_run_that_failed_before_it_was_opened_is_not_said_to_go_on() {
    let mut fixture = Fixture::new();
    without_files(&fixture);
    fixture.facts.attempts.clear();
    (fixture.facts.receipts, fixture.facts.account) = (None, None);
    show_failed(&fixture, "PREFLIGHT_BALANCE");
    fixture.edit_run(|run| {
        let run = run.as_object_mut().unwrap();
        for member in ["runId", "deadline", "terms"] {
            run.remove(member);
        }
    });
    let proof = fixture.judge();
    cannot_tell(&proof);
    let said = detail(&proof, Name::Files);
    assert!(said.contains("the chain shows no attempt 1 of this run"), "{said}");
    assert!(said.contains("the run has failed with PREFLIGHT_BALANCE"), "{said}");
    assert!(!proof.report().text.contains("has not ended"));
}

#[test]
fn a_run_whose_record_has_left_the_chain_is_not_said_to_go_on() {
    let mut fixture = Fixture::new();
    without_files(&fixture);
    (fixture.facts.receipts, fixture.facts.account) = (None, None);
    let shown = fixture.shown();
    (shown.finalized, shown.record) = (None, None);
    fixture.write_run();
    show_failed(&fixture, "EXECUTION_UNAVAILABLE");
    let proof = fixture.judge();
    cannot_tell(&proof);
    for name in [Name::Charge, Name::Statement, Name::Seal, Name::Files] {
        let said = detail(&proof, name);
        assert!(said.contains("the record of attempt 1 has left the chain"), "{name:?}: {said}");
    }
    let text = proof.report().text;
    assert!(text.contains("the run has failed with EXECUTION_UNAVAILABLE"), "{text}");
    assert!(!text.contains("has not ended") && !text.contains("not settled"), "{text}");
}

#[test]
fn a_run_that_goes_on_is_said_to() {
    let mut fixture = Fixture::new();
    without_files(&fixture);
    (fixture.facts.receipts, fixture.facts.account) = (None, None);
    fixture.shown().finalized = None;
    fixture.shown().record.as_mut().unwrap().lifecycle = Lifecycle::Open;
    fixture.write_run();
    fixture.edit_run(|run| run["status"] = "running".into());
    let proof = fixture.judge();
    cannot_tell(&proof);
    let said = detail(&proof, Name::Files);
    assert!(said.contains("neither settled nor returned yet"), "{said}");
    assert!(said.contains("the gateway says that the run has not ended"), "{said}");
}

#[test]
fn a_receipt_whose_settlement_nobody_knows_any_more_is_not_called_wrong() {
    let mut fixture = Fixture::new();
    (fixture.facts.receipts, fixture.facts.account) = (None, None);
    fixture.shown().finalized = None;
    fixture.shown().record = None;
    let proof = fixture.judge();
    assert_eq!(proof.broken(), [], "{:#?}", proof.links);
    let said = detail(&proof, Name::Receipt);
    assert!(said.contains("no settlement of it is known"), "{said}");
}

#[test]
fn a_receipt_without_a_fee_says_that_there_was_none() {
    let shown = |fee| {
        let mut fixture = Fixture::new();
        fixture.terms.runner_fee = fee;
        fixture.reopen();
        fixture.settle();
        fixture.breaks(&[]);
        fixture.edit_run(|run| drop(run["receipt"].as_object_mut().unwrap().remove("runnerFee")));
        fixture
    };
    shown(0).breaks(&[]);
    shown(7_000).breaks(&[Name::Receipt]);
}
