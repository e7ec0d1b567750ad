//! What a proof must not be made to show, each beside the honest case. A test is named after what
//! would be shown.

use std::fs;

use stellar::vault::Lifecycle;
use wire::statement::{Code, Exit, Verdict};
use wire::{Digest, Usage, VaultRunId};

use super::Name;
use super::fixture::{Fixture, OPENED};
use crate::verify::facts::Settlement;
use crate::verify::judge::Outcome;
use crate::verify::link::LinkState;

/// An hour's deadline, as the fixture's attempt has it.
const DEADLINE: u64 = OPENED + 3_600;

fn conclusion(fixture: &Fixture) -> String {
    fixture.judge().report().text
}

/// The fixture's run as its second attempt; the first was charged 3000 stroops before.
fn retried() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.execution.attempt = 2;
    fixture.reopen();
    fixture.facts.receipts = None;
    fixture.facts.account = None;
    fixture.add_attempt(1, DEADLINE, Some(3_000));
    fixture.settle_next();
    fixture
}

#[test]
fn a_runners_fee_is_part_of_what_the_run_cost() {
    let mut fixture = Fixture::new();
    fixture.terms.runner_fee = 5_000_000;
    fixture.reopen();
    fixture.settle();
    fixture.breaks(&[]);
    let text = conclusion(&fixture);
    assert!(
        text.contains("0.5005 XLM (5005000 stroops) in all") && text.contains("0.5 XLM"),
        "{text}"
    );
    assert_eq!(fixture.judge().sum.total, 5_005_000);
}

#[test]
fn a_failed_run_that_took_the_fee_is_not_returned() {
    let mut fixture = Fixture::new();
    fixture.terms.runner_fee = 5_000_000;
    fixture.execution.verdict = Verdict::Fail;
    fixture.execution.code = Some(Code::SideEffectsForbidden);
    fixture.execution.exit = Exit::Code(1);
    fixture.execution.usage = Usage::default();
    fixture.execution.outputs.clear();
    fs::remove_dir_all(fixture.path("pack/outputs")).unwrap();
    fs::remove_file(fixture.path("facts/run_facts_view.json")).unwrap();
    fixture.reopen();
    (fixture.settled, fixture.charge) = (Usage::default(), 0);
    fixture.settle();
    fixture.breaks(&[]);
    let text = conclusion(&fixture);
    assert!(text.contains("0.5 XLM (5000000 stroops) in all"), "{text}");
    assert!(!text.contains("returned") && !text.contains("nothing was charged"), "{text}");
    assert!(text.contains("has no outputs") && !text.contains("byte for byte"), "{text}");
}

#[test]
fn every_attempt_is_counted_and_their_sum() {
    let fixture = retried();
    fixture.breaks(&[]);
    let proof = fixture.judge();
    assert_eq!((proof.sum.total, proof.sum.complete), (8_000, true));
    assert_eq!(proof.attempts.len(), 2);
    let text = proof.report().text;
    assert!(text.contains("0.0008 XLM (8000 stroops), over 2 attempts"), "{text}");
    assert!(text.contains("attempt 1    settled, 0.0003 XLM (3000 stroops) charged"), "{text}");
    assert!(
        text.contains("what attempt 1 was charged for: lumio verify RUN --attempt 1"),
        "{text}"
    );
}

#[test]
fn attempts_that_cannot_be_looked_for_make_the_sum_at_least() {
    let mut fixture = retried();

    // The node keeps nothing from when the run was asked for, and the list begins after that.
    fixture.facts.oldest_time = OPENED + 30;
    fixture.facts.attempts.remove(0);
    fixture.forget_first_receipt();
    let proof = fixture.judge();
    assert_eq!((proof.exit_code(), proof.broken()), (2, vec![]), "{:#?}", proof.links);
    assert_eq!(proof.state(Name::Attempts), Some(LinkState::Unknown));
    let text = proof.report().text;
    assert!(
        text.contains("at least 0.0005 XLM (5000 stroops); other attempts could not"),
        "{text}"
    );
    assert!(!text.contains("proven:"), "{text}");
    assert!(!proof.sum.complete);

    // An id without a time says nothing about when it was asked for.
    let honest = Fixture::new();
    let mut other = Fixture::new();
    other.rename("01a3185c-4830-4000-8000-00000000000a");
    assert_eq!((honest.judge().exit_code(), other.judge().exit_code()), (0, 0));
    other.forget_first_receipt();
    assert_eq!(other.judge().exit_code(), 2);
}

#[test]
fn receipts_that_reach_back_take_the_place_of_the_nodes_retention() {
    let mut fixture = retried();
    fixture.facts.oldest_time = OPENED + 3_000;
    fixture.breaks(&[]);
    let text = conclusion(&fixture);
    assert!(text.contains("all receipts of the account are at hand"), "{text}");
}

/// The node leaves out both events of the first attempt, and so the account's second receipt has no
/// hash before it. What is left must not be taken for all there is.
#[test]
fn a_node_that_hides_an_earlier_attempt_proves_no_sum() {
    let hidden = || {
        let mut fixture = retried();
        fixture.facts.attempts.remove(0);
        let account = fixture.facts.account.unwrap();
        let list = fixture.facts.receipts.as_mut().unwrap();
        list.receipts.clear();
        list.before = account.hash;
        fixture
    };
    for oldest_ledger in [1, 2, 3, 1_000] {
        let mut fixture = hidden();
        fixture.facts.oldest_ledger = oldest_ledger;
        let proof = fixture.judge();
        assert_eq!(proof.exit_code(), 2, "{oldest_ledger}: {:#?}", proof.links);
        let text = conclusion(&fixture);
        assert!(text.contains("at least") && !text.contains("proven:"), "{text}");
    }
}

#[test]
fn a_node_that_lacks_a_settlement_between_others_proves_no_sum() {
    let mut fixture = Fixture::new();
    fixture.forget_first_receipt();
    fixture.breaks(&[]);
    fixture.facts.unseen = Some(1);
    let proof = fixture.judge();
    assert_eq!(proof.exit_code(), 2, "{:#?}", proof.links);
}

#[test]
fn a_node_with_every_ledger_has_every_receipt() {
    let mut fixture = Fixture::new();
    fixture.facts.oldest_ledger = 2;
    fixture.breaks(&[]);
    fixture.forget_first_receipt();
    assert_eq!(fixture.judge().exit_code(), 2);
    fixture.facts.account = None;
    fixture.facts.receipts = None;
    assert_ne!(fixture.judge().exit_code(), 0, "a settlement without an account");
}

#[test]
fn a_settlement_whose_opening_is_missing_could_be_the_runs_own() {
    let mut fixture = Fixture::new();
    fixture.forget_first_receipt();
    fixture.breaks(&[]);
    fixture.facts.unexplained = vec![Settlement { number: 7, finalized_at: OPENED + 5 }];
    let proof = fixture.judge();
    assert_eq!(proof.exit_code(), 2, "{:#?}", proof.links);
    fixture.facts.unexplained = vec![Settlement { number: 7, finalized_at: OPENED - 5_000 }];
    assert_eq!(fixture.judge().exit_code(), 0, "it was settled before the run was asked for");
}

#[test]
fn an_execution_charged_again_under_another_deadline_is_broken() {
    let mut fixture = Fixture::new();
    fixture.add_attempt(1, DEADLINE + 1, None);
    fixture.facts.attempts.iter_mut().for_each(|attempt| {
        if let Some(record) = attempt.record.as_mut().filter(|record| record.deadline != DEADLINE) {
            record.lifecycle = Lifecycle::Voided(1);
        }
    });
    fixture.breaks(&[]);

    let mut fixture = Fixture::new();
    fixture.add_attempt(1, DEADLINE + 1, Some(5_000));
    let proof = fixture.judge();
    assert!(proof.broken().contains(&Name::Attempts), "{:#?}", proof.links);
    let text = proof.report().text;
    assert!(text.contains("opened again under another deadline and charged 2 times"), "{text}");
}

#[test]
fn a_statement_for_another_run_id_is_broken() {
    let mut fixture = Fixture::new();
    let own = fixture.shown().run_id;
    for (stated, broken) in [
        (Some(own), vec![]),
        (Some(VaultRunId::from([9; 32])), vec![Name::Statement]),
        // Nothing that names no run of the vault vouches for a charge.
        (None, vec![Name::Statement]),
    ] {
        fixture.execution.vault_run_id = stated;
        fixture.reseal();
        fixture.output_hash = fixture.seal_digest();
        fixture.settle();
        fixture.breaks(&broken);
    }
}

#[test]
fn an_execution_before_its_opening_or_after_its_settlement_is_broken() {
    for (start, end, broken) in [
        (-110, 11, vec![]),
        (10, 170, vec![]),
        (-130, 11, vec![Name::Times]),
        (10, 190, vec![Name::Times]),
    ] {
        let mut fixture = Fixture::new();
        fixture.execution.started_at = super::fixture::at(start);
        fixture.execution.finished_at = super::fixture::at(end);
        fixture.reseal();
        fixture.output_hash = fixture.seal_digest();
        fixture.settle();
        fixture.breaks(&broken);
    }
}

#[test]
fn a_charge_hidden_behind_a_voided_attempt_is_found() {
    let mut fixture = Fixture::new();

    // The gateway hides the bundle and shows the second attempt, whose escrow went back.
    for part in ["pack", "module", "facts"] {
        fs::remove_dir_all(fixture.path(part)).unwrap();
    }
    fixture.add_attempt(2, DEADLINE, None);
    fixture.execution.attempt = 2;
    fixture.shown().record.as_mut().unwrap().lifecycle = Lifecycle::Voided(1);
    fixture.write_run();
    let proof = fixture.judge();
    assert_eq!((proof.exit_code(), proof.sum.total), (0, 5_000), "{:#?}", proof.links);
    let text = proof.report().text;
    assert!(text.contains("0.0005 XLM (5000 stroops), over 2 attempts"), "{text}");
    assert!(text.contains("attempt 2: the whole escrow went back"), "{text}");
    assert!(!text.contains("nothing was charged"), "{text}");
}

#[test]
fn an_attempt_that_is_not_over_leaves_the_sum_open() {
    let mut fixture = Fixture::new();
    fixture.add_attempt(2, DEADLINE, None);
    let proof = fixture.judge();
    assert_eq!((proof.exit_code(), proof.sum.complete), (2, false), "{:#?}", proof.links);

    // Past its deadline it cannot be charged any more, and has not been returned yet.
    fixture.facts.ledger_time = DEADLINE;
    let proof = fixture.judge();
    assert_eq!(proof.attempts[1].outcome, Outcome::Overdue);
    assert_eq!((proof.exit_code(), proof.sum.complete), (0, true), "{:#?}", proof.links);
    assert!(proof.report().text.contains("has not been returned yet"));
}

#[test]
fn a_reclaimed_attempt_cost_nothing() {
    let mut fixture = Fixture::new();
    for part in ["pack", "module", "facts"] {
        fs::remove_dir_all(fixture.path(part)).unwrap();
    }
    fixture.facts.receipts = None;
    fixture.facts.account = None;
    fixture.shown().finalized = None;
    fixture.shown().record.as_mut().unwrap().lifecycle = Lifecycle::Reclaimed;
    fixture.write_run();
    fixture.breaks(&[]);
    let text = conclusion(&fixture);
    assert!(text.contains("nothing, in its one attempt"), "{text}");
}

#[test]
fn a_substitute_that_settles_is_named_in_the_receipt_and_proven() {
    let mut fixture = Fixture::new();
    fixture.settler = stellar::Address::Account([6; 32]);
    fixture.settle();
    fixture.breaks(&[]);
}

#[test]
fn a_reclaimed_attempt_cost_nothing_whatever_its_terms_were() {
    let mut fixture = Fixture::new();
    for part in ["pack", "module", "facts"] {
        fs::remove_dir_all(fixture.path(part)).unwrap();
    }
    fixture.facts.receipts = None;
    fixture.facts.account = None;
    fixture.shown().finalized = None;
    fixture.shown().record.as_mut().unwrap().lifecycle = Lifecycle::Reclaimed;
    fixture.write_run();

    // The opening is forgotten, and the gateway shows no terms.
    fixture.shown().opened = None;
    fixture.edit_run(|run| drop(run.as_object_mut().unwrap().remove("terms")));
    let proof = fixture.judge();
    assert_eq!(proof.exit_code(), 0, "{:#?}", proof.links);
    let text = conclusion(&fixture);
    let user = fixture.terms.user;
    assert!(text.contains(&format!("cost {user} nothing, in its one attempt")), "{text}");
    assert!(text.contains("terms: no terms are known"), "{text}");

    // What the user remembers was not compared with anything, and another user is found out.
    fixture.asked.seed = Some(7);
    assert_eq!(fixture.judge().exit_code(), 2);
    fixture.edit_run(|run| run["user"] = "GBOB".into());
    assert_eq!(fixture.judge().broken(), [Name::Terms]);
}

#[test]
fn a_voided_attempt_that_was_sealed_cost_nothing_and_its_files_are_not_looked_at() {
    let mut fixture = Fixture::new();
    fixture.facts.receipts = None;
    fixture.facts.account = None;
    fixture.shown().finalized = None;
    fixture.shown().record.as_mut().unwrap().lifecycle = Lifecycle::Voided(7);
    fixture.write_run();
    let proof = fixture.judge();
    assert_eq!(proof.exit_code(), 0, "{:#?}", proof.links);
    let text = conclusion(&fixture);
    assert!(text.contains("the whole escrow went back"), "{text}");
    assert!(text.contains("the chain holds no output hash of them"), "{text}");
}

/// An attempt with a fee that another listed runner settled, as the record alone still knows.
fn substituted() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.terms.runner_fee = 7_000;
    fixture.reopen();
    fixture.settler = stellar::Address::Account([6; 32]);
    fixture.settle();
    fixture.forget_settlement();
    fixture
}

#[test]
fn a_substitute_whose_event_is_gone_took_no_fee_and_the_usage_is_its() {
    let mut fixture = substituted();
    fixture.shown().runners = vec![stellar::Address::Account([6; 32])];
    let proof = fixture.judge();
    assert_eq!((proof.exit_code(), proof.broken()), (2, vec![]), "{:#?}", proof.links);
    assert_eq!(proof.attempts[0].outcome, Outcome::Settled { charge: 5_000, fee: 0 });
    assert_eq!(proof.state(Name::Usage), Some(LinkState::Ok));
    assert!(proof.report().text.contains("at least 0.0005 XLM"), "{}", proof.report().text);
}

#[test]
fn a_settler_that_nothing_names_any_more_is_not_known_and_nothing_is_called_broken() {
    let fixture = substituted();
    let proof = fixture.judge();
    assert_eq!((proof.exit_code(), proof.broken()), (2, vec![]), "{:#?}", proof.links);
    assert_eq!(proof.state(Name::Usage), Some(LinkState::Unknown));
    let outcome = Outcome::FeeUnknown { charge: 5_000, highest_fee: 7_000 };
    assert_eq!(proof.attempts[0].outcome, outcome);
    let text = proof.report().text;
    assert!(text.contains("at least 0.0005 XLM"), "{text}");
    assert!(text.contains("at most 0.0007 XLM (7000 stroops) as fee"), "{text}");
}

#[test]
fn a_settlement_without_a_signature_left_the_fee_with_the_user_though_its_event_is_gone() {
    for settler in [stellar::Address::Account([4; 32]), stellar::Address::Account([6; 32])] {
        let mut fixture = Fixture::new();
        fs::remove_dir_all(fixture.path("pack")).unwrap();
        fixture.terms.runner_fee = 7_000;
        fixture.facts.attempts.clear();
        let found = super::fixture::opened(&fixture);
        fixture.facts.attempts.push(found);
        let key = wire::AttemptKey::new(fixture.run, 1);
        fixture.output_hash = wire::failure::digest(key, "EXECUTOR_MISSING", "none");
        (fixture.settled, fixture.charge) = (Usage::default(), 0);
        (fixture.settler, fixture.is_attested) = (settler, false);
        fixture.settle();
        fixture.edit_run(|run| {
            run["errorCode"] = serde_json::json!("EXECUTOR_MISSING");
            run["error"] = serde_json::json!("none");
        });
        fixture.forget_settlement();
        fixture.shown().runners = vec![settler];
        let proof = fixture.judge();
        assert_eq!((proof.exit_code(), proof.broken()), (2, vec![]), "{:#?}", proof.links);
        assert_eq!(proof.attempts[0].outcome, Outcome::Settled { charge: 0, fee: 0 });
    }
}

#[test]
fn a_receipt_that_is_not_the_accounts_newest_is_proven_by_the_list() {
    let mut fixture = Fixture::new();
    let run_id = VaultRunId::from([8; 32]);
    let other = stellar::vault::SettledRun { run_id, ..fixture.receipt() };
    fixture.add_receipt(&other);
    let proof = fixture.judge();
    assert_eq!(proof.state(Name::Account), Some(LinkState::Ok), "{:#?}", proof.links);
    assert!(proof.report().text.contains("receipt 1 of 2"));

    // Also when the node has forgotten the events, and the records have ended.
    let shown = fixture.shown();
    (shown.finalized, shown.record) = (None, None);
    fixture.facts.oldest_time = OPENED + 86_400;
    fixture.breaks(&[]);

    let list = fixture.facts.receipts.as_mut().unwrap();
    let text = list.receipts[1].text.clone();
    list.receipts[0].text = text;
    assert!(fixture.judge().broken().contains(&Name::Account));
}

#[test]
fn the_users_own_request_is_compared() {
    let mut fixture = Fixture::new();
    fixture.asked.input = Some(Digest::of(b"{}"));
    fixture.breaks(&[]);
    assert!(conclusion(&fixture).contains("seed and workflow not compared"));
    fixture.asked.seed = Some(42);
    fixture.asked.workflow = Some("profile".to_owned());
    fixture.breaks(&[]);
    assert!(!conclusion(&fixture).contains("not compared"));
    fixture.asked.seed = Some(43);
    fixture.breaks(&[Name::Request]);
    fixture.asked = super::super::Asked { input: Some(Digest::of(b"[]")), ..Default::default() };
    fixture.breaks(&[Name::Request]);
}

#[test]
fn the_json_of_a_proof_has_its_schema() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../spec/verify.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let mut open = Fixture::new();
    open.add_attempt(2, DEADLINE, None);
    let withheld = Fixture::new();
    fs::remove_dir_all(withheld.path("pack")).unwrap();
    fs::write(withheld.path(crate::verify::bundle::TOMBSTONE_FILE), "WITHDRAWN").unwrap();
    for fixture in [Fixture::new(), retried(), open, withheld] {
        let json = fixture.judge().report().render(crate::output::Format::Json);
        let json = serde_json::from_str(&json).unwrap();
        let errors: Vec<_> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {json:#}");
    }
}
