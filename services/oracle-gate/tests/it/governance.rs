//! What is decided about a sealed pack afterwards, what an audit finds of it, and what is
//! collected.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use wire::digest::Digest;

use crate::cli::publish;
use crate::fixture::{Fixture, NOW, json_of, oracle_gate};

/// Runs a command about the pack `run-5`.
fn of_pack(fixture: &Fixture, command: &str, arguments: &[&str]) -> Output {
    let pack = [command, "--profile", "dev", "--pack-root", "run-5", "--output", "json"];
    oracle_gate(fixture, &[&pack[..], arguments].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn sealed() -> Fixture {
    let fixture = Fixture::new();
    publish(&fixture);
    let seal = ["seal", "--profile", "dev", "--run-facts-ref", "view.json"];
    let output = oracle_gate(&fixture, &seal);
    assert!(output.status.success(), "{}", said(&output));
    fixture
}

const TOMBSTONE: [&str; 4] = ["--reason", "erasure-request", "--authority", "data owner"];
const HOLD: [&str; 4] = ["--authority", "legal", "--matter", "case 7"];

fn check(fixture: &Fixture) -> Value {
    let check = ["check", "--profile", "dev", "--run-facts-ref", "view.json", "--output", "json"];
    json_of(&oracle_gate(fixture, &check))
}

fn codes(report: &Value) -> Vec<&str> {
    report["reason_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect()
}

#[test]
fn a_pack_with_a_tombstone_is_never_read_and_never_missing() {
    let fixture = sealed();
    let seal = fs::read(fixture.path("run-5/_SEALED.json")).unwrap();
    let written = of_pack(&fixture, "tombstone", &[&TOMBSTONE[..], &["--note", "n"]].concat());
    let record = &json_of(&written)["record"];
    assert_eq!(record["decision"]["reason"], json!("ERASURE_REQUEST"));
    assert_eq!(record["seal_digest"], json!(Digest::of(&seal).to_string()));
    assert_eq!(fs::read(fixture.path("run-5/_SEALED.json")).unwrap(), seal, "nothing is changed");
    assert_eq!(fs::read(fixture.path("run-5/data/one")).unwrap(), b"one", "nothing is removed");
    assert_eq!(json_of(&of_pack(&fixture, "state", &[]))["state"], json!("TOMBSTONED"));

    // Whatever becomes of the rest: the tombstone is what is reported of the pack.
    let expected = |report: &Value| {
        let found = codes(report);
        assert!(found.contains(&"PACK_TOMBSTONED"), "{found:?}");
        let about = ["LOCATOR_MISSING", "PACK_FILE_MISSING", "PACK_NOT_SEALED", "SEAL_INVALID"];
        assert!(!found.iter().any(|code| about.contains(code)), "{found:?}");
    };
    expected(&check(&fixture));
    assert_eq!(codes(&json_of(&of_pack(&fixture, "audit", &[]))), ["PACK_TOMBSTONED"]);
    let again = of_pack(&fixture, "tombstone", &TOMBSTONE);
    assert!(again.status.code() == Some(1) && said(&again).contains("PACK_TOMBSTONED"));
    let held = of_pack(&fixture, "hold", &HOLD);
    assert!(held.status.code() == Some(1) && said(&held).contains("PACK_TOMBSTONED"));
    let sealed = oracle_gate(
        &fixture,
        &["seal", "--profile", "dev", "--run-facts-ref", "view.json", "--ensure"],
    );
    assert!(said(&sealed).contains("PACK_TOMBSTONED"), "{}", said(&sealed));
    fs::remove_file(fixture.path("run-5/data/one")).unwrap();
    expected(&check(&fixture));
    fs::remove_file(fixture.path("run-5/_SEALED.json")).unwrap();
    expected(&check(&fixture));
    // A record that cannot be read is no absent one.
    fs::write(fixture.path("run-5/_records/1.json"), "nothing that can be read").unwrap();
    let report = check(&fixture);
    assert!(codes(&report).contains(&"PACK_RECORD_INVALID"), "{report}");
    assert!(!report.to_string().contains("PACK_NOT_SEALED"), "{report}");
    let audited = json_of(&of_pack(&fixture, "audit", &[]));
    assert!(codes(&audited).contains(&"PACK_RECORD_INVALID"));
}

#[test]
fn a_pack_on_hold_gets_no_tombstone() {
    let fixture = sealed();
    let report = check(&fixture);
    let before = codes(&report);
    assert_eq!(json_of(&of_pack(&fixture, "hold", &HOLD))["record"]["number"], json!(1));
    assert_eq!(json_of(&of_pack(&fixture, "hold", &HOLD))["record"]["number"], json!(2));
    for number in ["1", "2"] {
        let refused = of_pack(&fixture, "tombstone", &TOMBSTONE);
        assert!(refused.status.code() == Some(1), "{}", said(&refused));
        assert!(said(&refused).contains("PACK_ON_HOLD"), "{}", said(&refused));
        let state = json_of(&of_pack(&fixture, "state", &[]));
        assert_eq!(state["state"], json!("SEALED_OK"));
        assert_eq!(state["holds"][0].to_string(), number);
        let release = ["--authority", "legal", "--hold", number];
        assert!(of_pack(&fixture, "release", &release).status.success());
        let again = of_pack(&fixture, "release", &release);
        assert!(said(&again).contains("PACK_RECORD_REFUSED"), "{}", said(&again));
    }
    // Records about the pack are no files of it.
    assert!(seal::verify::pack(&fixture.path("run-5")).unwrap().is_whole());
    assert!(of_pack(&fixture, "audit", &[]).status.success());
    assert_eq!(codes(&check(&fixture)), before);
    let archived = ["--authority", "storage", "--location", "tape 9"];
    assert!(of_pack(&fixture, "archive", &archived).status.success());
    assert_eq!(json_of(&of_pack(&fixture, "state", &[]))["state"], json!("ARCHIVED"));
    assert!(said(&of_pack(&fixture, "archive", &archived)).contains("PACK_RECORD_REFUSED"));
    // A record that cannot be read blocks whatever comes next.
    fixture.write("run-5/_records/6.json", "{}");
    assert!(said(&of_pack(&fixture, "tombstone", &TOMBSTONE)).contains("PACK_RECORD_INVALID"));
    fs::remove_file(fixture.path("run-5/_records/6.json")).unwrap();
    assert!(of_pack(&fixture, "tombstone", &TOMBSTONE).status.success());
}

#[tokio::test]
async fn of_a_hold_and_a_tombstone_at_the_same_moment_one_is_recorded_last() {
    use oracle_gate::governance::{Order, manifest_digest, record, state};
    use oracle_gate::objects::Objects;
    use seal::records::{Decision, Survives, TombstoneReason};

    for _ in 0..8 {
        let fixture = sealed();
        let objects = Objects::local(fixture.dir.path()).unwrap();
        let now = state(&objects, "run-5").await.unwrap();
        let manifest_digest = manifest_digest(&objects, "run-5", &now).await.unwrap();
        let order = Order { authority: "x".to_owned(), now: NOW };
        let tombstone = Decision::Tombstone {
            reason: TombstoneReason::Withdrawn,
            replacement: None,
            survives: Survives::Everything,
            manifest_digest,
            note: None,
        };
        let hold = Decision::Hold { matter: "m".to_owned() };
        let (buried, held) = tokio::join!(
            record(&objects, "run-5", &order, &tombstone),
            record(&objects, "run-5", &order, &hold),
        );
        // Whichever was first decides: a hold refuses the tombstone, a tombstone refuses the hold.
        assert!(buried.is_ok() != held.is_ok(), "{buried:?} {held:?}");
    }
}

#[test]
fn only_a_sealed_pack_gets_records_and_only_with_reasons() {
    let fixture = Fixture::new();
    publish(&fixture);
    for (command, arguments) in [("tombstone", &TOMBSTONE[..]), ("hold", &HOLD)] {
        let refused = of_pack(&fixture, command, arguments);
        assert!(said(&refused).contains("PACK_NOT_SEALED"), "{}", said(&refused));
    }
    assert_eq!(json_of(&of_pack(&fixture, "state", &[]))["state"], json!("STAGING"));
    for wrong in [
        &["--reason", "because", "--authority", "x"][..],
        &["--reason", "withdrawn", "--authority", ""],
        &["--reason", "withdrawn"],
        &["--reason", "withdrawn", "--authority", "x", "--replacement", "abc"],
        &["--reason", "withdrawn", "--authority", "x", "--events"],
    ] {
        assert_eq!(of_pack(&fixture, "tombstone", wrong).status.code(), Some(3), "{wrong:?}");
    }
    // The name of a record is none of an engine's.
    fixture.write("run-5/_records/1.json", "data");
    let seal = oracle_gate(&fixture, &["seal", "--profile", "dev", "--run-facts-ref", "view.json"]);
    assert!(said(&seal).contains("NAME_REFUSED"), "{}", said(&seal));
    assert_eq!(fs::read(fixture.path("run-5/_records/1.json")).unwrap(), b"data");
}

#[test]
fn a_pack_expires_only_when_its_class_says_so() {
    let fixture = sealed();
    let expired = ["--reason", "retention-expired", "--authority", "records office"];
    let refused = of_pack(&fixture, "tombstone", &expired);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("RETENTION_NOT_OVER"), "{}", said(&refused));
    let state = json_of(&of_pack(&fixture, "state", &[]));
    assert_eq!(state["retention_class"], json!("standard"));
    // What is ordered does not wait for a class.
    assert!(of_pack(&fixture, "tombstone", &TOMBSTONE).status.success());
}

#[test]
fn an_audit_names_every_drift() {
    let fixture = sealed();
    let whole = of_pack(&fixture, "audit", &[]);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stdout));
    fixture.write("run-5/data/added\u{202e}", "x");
    fs::remove_file(fixture.path("run-5/data/one")).unwrap();
    fixture.write("run-5/data/one", "two");
    std::os::unix::fs::symlink("one", fixture.path("run-5/data/link")).unwrap();
    let drifted = of_pack(&fixture, "audit", &[]);
    let report = json_of(&drifted);
    assert_eq!(drifted.status.code(), Some(1));
    assert_eq!(codes(&report), ["LINK_REFUSED", "PACK_FILE_CHANGED", "PACK_FILE_ADDED"]);
    let text = report.to_string();
    for path in ["data/added", "data/one", "data/link"] {
        assert!(text.contains(path), "{path} is missing: {text}");
    }
    // A check reads by name, so it sees the edit and says that a sealed pack is never edited.
    let edited = check(&fixture);
    let issues = edited["issues"].as_array().unwrap();
    let issue = issues.iter().find(|issue| issue["code"] == "PACK_FILE_CHANGED").unwrap();
    assert!(issue["action"].as_str().unwrap().contains("never edited"), "{issue}");

    let roots = ["--pack-root", "none"];
    let both = ["audit", "--profile", "dev", "--pack-root", "run-5", "--output", "sarif"];
    let sarif = oracle_gate(&fixture, &[&both[..], &roots].concat());
    let log = json_of(&sarif);
    assert_eq!(log["runs"].as_array().unwrap().len(), 2);
    assert_eq!(sarif.status.code(), Some(1));
    let text = oracle_gate(&fixture, &["audit", "--profile", "dev", "--pack-root", "run-5"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("FAIL run-5") && !text.contains('\u{202e}'), "{text}");
}

#[test]
fn an_audit_goes_on_where_it_stopped() {
    let fixture = sealed();
    fixture.write("packs.txt", "run-5\n\nrun-6\nrun-5\n");
    let audit = ["audit", "--profile", "dev", "--pack-roots-from", "packs.txt", "--output", "json"];
    let journal = fixture.path("audit.journal");
    let with = [&audit[..], &["--journal", "audit.journal"]].concat();
    let lines = |output: &Output| -> Vec<Value> {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let first = oracle_gate(&fixture, &with);
    assert_eq!(first.status.code(), Some(1), "{}", said(&first));
    assert_eq!(lines(&first).len(), 2, "a pack that is named twice is read once");
    assert!(lines(&first).iter().all(|line| line["schemaVersion"] == 1), "each is an answer");
    // What was finished is not read again, and is reported again: with the journal the edit is not
    // seen, without it it is. A line that was cut is read again.
    fs::remove_file(fixture.path("run-5/data/one")).unwrap();
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.trim_end().rsplit_once("\"run_facts_ref\"").unwrap().0).unwrap();
    let second = oracle_gate(&fixture, &with);
    assert_eq!(lines(&second), lines(&first));
    let third = lines(&oracle_gate(&fixture, &audit));
    assert_eq!(third[0]["reason_codes"], json!(["PACK_FILE_MISSING"]));
    // A file that is no journal is left alone.
    fixture.write("audit.journal", "data");
    let refused = oracle_gate(&fixture, &with);
    assert_eq!(refused.status.code(), Some(3));
    assert_eq!(fs::read(&journal).unwrap(), b"data");
    fixture.write("packs.txt", "\n");
    assert_eq!(oracle_gate(&fixture, &audit).status.code(), Some(3), "nothing passes vacuously");
}

#[test]
fn every_answer_names_the_version_of_its_form() {
    let fixture = Fixture::new();
    publish(&fixture);
    let view = ["--profile", "dev", "--run-facts-ref", "view.json"];
    let pack = ["--profile", "dev", "--pack-root", "run-5"];
    let none: &[&str] = &[];
    for (command, options, more) in [
        ("seal", &view[..], none),
        ("check", &view[..], none),
        ("audit", &pack[..], none),
        ("hold", &pack[..], &HOLD[..]),
        ("release", &pack[..], &["--authority", "legal", "--hold", "1"][..]),
        ("archive", &pack[..], &["--authority", "storage", "--location", "tape 9"][..]),
        ("tombstone", &pack[..], &TOMBSTONE[..]),
        ("state", &pack[..], none),
        ("collect", &["--profile", "dev"][..], &["--staging-days", "30"][..]),
        ("probe", &["--profile", "dev"][..], none),
        ("reasons", none, none),
    ] {
        let words = [&[command, "--output", "json"][..], options, more].concat();
        let answer = json_of(&oracle_gate(&fixture, &words));
        assert_eq!(answer["schemaVersion"], json!(1), "{command}: {answer:#}");
        // A failure names the version as well, and is no answer.
        assert!(answer.get("error").is_none(), "{command}: {answer:#}");
    }
}

#[tokio::test]
async fn only_staging_folders_of_sealed_attempts_are_collected_and_first_planned() {
    let fixture = Fixture::new();
    let db = testkit::postgres().await;
    let gate = fixture.gate(&db).await;
    let draft = fixture.passed(1);
    let run = draft.run.simple().to_string();
    oracle_gate::runs::seal(&gate, draft, NOW).await.unwrap();
    let staged = format!("staging/{run}/1");
    assert!(fixture.path(&staged).is_dir());
    let other = format!("staging/{}/1", "ab".repeat(16));
    fixture.write(&format!("{other}/outputs/x"), "not sealed");
    fixture.write("staging/notes/1/x", "not ours");
    fixture.write(&format!("staging/{run}/01/x"), "not ours");

    let collect = |arguments: &[&str]| {
        let all = ["collect", "--profile", "dev", "--staging-days", "1", "--output", "json"];
        json_of(&oracle_gate(&fixture, &[&all[..], arguments].concat()))
    };
    let of = |plan: &Value, path: &str| {
        let staging = plan["staging"].as_array().unwrap();
        staging.iter().find(|staged| staged["path"] == path).unwrap()["stays"].clone()
    };
    // Everything was written a moment ago.
    let plan = collect(&["--apply"]);
    assert_eq!(plan["removed"], json!(0));
    assert!(of(&plan, &staged).as_str().unwrap().contains("lately"), "{plan}");

    let objects = oracle_gate::objects::Objects::local(fixture.dir.path()).unwrap();
    let later = chassis::clock::now() + time::Duration::days(2);
    let plan = oracle_gate::collect::plan(&objects, &objects, 1, later).await.unwrap();
    let stays = |path: &str| plan.iter().find(|staged| staged.path == path).unwrap().stays.clone();
    assert_eq!(stays(&staged), None);
    assert!(stays(&other).unwrap().contains("nothing says"));
    assert!(stays("staging/notes/1").unwrap().contains("name"));
    assert!(stays(&format!("staging/{run}/01")).unwrap().contains("name"));
    assert!(fixture.path(&staged).is_dir(), "a plan removes nothing");
    let removed = oracle_gate::collect::apply(&objects, &objects, &plan, 1, later).await.unwrap();
    assert_eq!(removed, 1);
    assert!(!fixture.path(&staged).exists());
    for path in [&other, "staging/notes/1", &format!("staging/{run}/01")] {
        assert!(fixture.path(path).is_dir(), "{path} is gone");
    }
}

#[tokio::test]
async fn events_of_decisions_and_drift_go_through_the_services_outbox() {
    let fixture = Fixture::new();
    let db = testkit::postgres().await;
    let gate = fixture.gate(&db).await;
    let (sealed, _) = oracle_gate::runs::seal(&gate, fixture.passed(1), NOW).await.unwrap();
    let root = format!("packs/{}", sealed.pack_id);
    let run = |command: &str, arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
            .args([command, "--profile", "dev", "--pack-root", &root, "--events"])
            .args(["--output", "json"])
            .args(arguments)
            .env_clear()
            .env("ORACLE_GATE_ROOT", fixture.dir.path())
            .env("DATABASE_URL", &db.url)
            .output()
            .unwrap()
    };
    let outputs = fixture.path(&root).join("outputs/added");
    fs::write(&outputs, "x").unwrap();
    assert_eq!(run("audit", &[]).status.code(), Some(1));
    let archived = run("archive", &["--authority", "a", "--location", "l"]);
    assert_eq!(json_of(&archived)["event"], json!("published"), "{}", said(&archived));
    let written = run("tombstone", &TOMBSTONE);
    assert_eq!(json_of(&written)["event"], json!("published"), "{}", said(&written));
    // A pack with a tombstone is a decision and no drift.
    assert_eq!(run("audit", &[]).status.code(), Some(1));

    let subjects: Vec<String> = sqlx::query_scalar("SELECT subject FROM outbox ORDER BY id")
        .fetch_all(&db.pool)
        .await
        .unwrap();
    let names = subjects.iter().map(|subject| subject.rsplit('.').nth(1).unwrap());
    let names: Vec<&str> = names.collect();
    assert_eq!(names, ["sealed", "drift", "archived", "tombstoned"]);

    // Nothing of it is served any more, though every byte is still there.
    let run = crate::fixture::run(1);
    let refused = oracle_gate::bundle::entries(&gate, run, 1).await.unwrap_err();
    assert!(refused.to_string().contains("PACK_TOMBSTONED"), "{refused}");
}
