//! What the command line prints as JSON names the version of its form, unless it is a list.

use serde_json::Value;

use crate::fixture::Fixture;
use crate::reconciling::{INTO_AN_OPERATORS_HANDS, OPEN};
use crate::retention::{command, said};

impl Fixture {
    /// The one document that a command prints, waited for off the threads that serve the runner of
    /// this process.
    fn answer(&self, arguments: &[&str]) -> Value {
        let output = tokio::task::block_in_place(|| command(self, arguments));
        let answer = serde_json::from_slice(&output.stdout);
        answer.unwrap_or_else(|_| panic!("{arguments:?}: {}", said(&output)))
    }

    fn assert_versioned(&self, arguments: &[&str]) {
        let answer = self.answer(arguments);
        assert_eq!(answer["schemaVersion"], 1, "{arguments:?}: {answer:#}");
        // A failure names the version as well, and is no answer.
        assert!(!answer["error"].is_object(), "{arguments:?}: {answer:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_names_the_version_of_its_form_and_a_list_is_a_list() {
    let fixture = Fixture::new().await;
    let migrated = command(&fixture, &["migrate"]);
    assert!(migrated.status.success(), "{}", said(&migrated));
    fixture.assert_versioned(&["channels", "add", "--stroops", "20000000", "--output", "json"]);
    let folder = tempfile::tempdir().unwrap();
    let earlier = folder.path().join(".runner-state.json");
    std::fs::write(&earlier, "[]").unwrap();
    let earlier = earlier.to_str().unwrap();
    fixture.assert_versioned(&["import", earlier, "--confirm", "--output", "json"]);

    let runner = fixture.start(&OPEN).await;
    let (id, _) = fixture.open_run(&runner).await;
    fixture.assert_versioned(&["account", "--output", "json"]);
    fixture.assert_versioned(&["reconcile", "--output", "json"]);
    fixture.sql(INTO_AN_OPERATORS_HANDS).await;
    fixture.assert_versioned(&["runs", "show", &id]);
    fixture.assert_versioned(&["dead-letters", "show", &id]);
    for list in [
        &["channels", "list", "--output", "json"][..],
        &["dead-letters", "list", "--output", "json"],
        &["doctor", "--output", "json"],
        &["events", "gaps", "--output", "json"],
        &["intake", "list", "--output", "json"],
        &["runs", "list"],
    ] {
        let answer = fixture.answer(list);
        assert!(answer.is_array(), "{list:?}: {answer:#}");
    }

    fixture.assert_versioned(&["dead-letters", "replay", &id, "--output", "json"]);
    runner.gateway.until(&id, |run| run["phase"] == "escrow_open").await;
    // Refused, since no decision is waited for any more: an answer nevertheless.
    fixture.assert_versioned(&["runs", "resume", &id, "--output", "json"]);
    fixture.assert_versioned(&["runs", "void", &id, "--output", "json"]);
    fixture.assert_versioned(&["dead-letters", "discard", &id, "--output", "json"]);
    runner.stop().await;
}
