//! What is decided about a sealed pack afterwards, what an audit finds of it, and what is
//! collected.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oracle_gate::collect::Staged;
use serde_json::{Value, json};
use wire::digest::Digest;

use crate::cli::publish;
use crate::fixture::{Fixture, NOW, json_of, oracle_gate};
use crate::s3::objects;
use crate::s3::server::Server;

/// Runs a command about the pack `run-5`.
pub fn of_pack(fixture: &Fixture, command: &str, arguments: &[&str]) -> Output {
    let pack = [command, "--profile", "dev", "--pack-root", "run-5", "--output", "json"];
    oracle_gate(fixture, &[&pack[..], arguments].concat())
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn sealed() -> Fixture {
    let fixture = Fixture::new();
    publish(&fixture);
    let seal = ["seal", "--profile", "dev", "--run-facts-ref", "view.json"];
    let output = oracle_gate(&fixture, &seal);
    assert!(output.status.success(), "{}", said(&output));
    fixture
}

pub const TOMBSTONE: [&str; 4] = ["--reason", "erasure-request", "--authority", "data owner"];
pub const HOLD: [&str; 4] = ["--authority", "legal", "--matter", "case 7"];

pub fn check(fixture: &Fixture) -> Value {
    let check = ["check", "--profile", "dev", "--run-facts-ref", "view.json", "--output", "json"];
    json_of(&oracle_gate(fixture, &check))
}

pub fn codes(report: &Value) -> Vec<&str> {
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
    // The name of a record is not one for an engine's file.
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

/// The answers of an audit, one a line, without the times at which they were found.
fn answers(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let answer = |line: &str| {
        let mut answer: Value = serde_json::from_str(line).unwrap();
        assert!(answer["audited_at_utc"].take().is_string(), "{line}");
        answer
    };
    text.lines().map(answer).collect()
}

#[test]
fn an_audit_goes_on_where_it_stopped() {
    let fixture = sealed();
    fixture.write("packs.txt", "run-5\n\nrun-6\nrun-5\n");
    let audit = ["audit", "--profile", "dev", "--pack-roots-from", "packs.txt", "--output", "json"];
    let journal = fixture.path("audit.journal");
    let with = [&audit[..], &["--journal", "audit.journal"]].concat();
    let first = oracle_gate(&fixture, &with);
    assert_eq!(first.status.code(), Some(1), "{}", said(&first));
    let whole = answers(&first);
    assert_eq!(whole.len(), 2, "a pack that is named twice is read once");
    assert!(whole.iter().all(|line| line["schemaVersion"] == 1), "each is an answer");
    assert!(whole.iter().all(|line| line["from_journal"] == false), "{whole:?}");

    // A call that was interrupted in the second pack: the first is not read again, and the answer
    // says so.
    let ended = fs::read_to_string(&journal).unwrap();
    let cut = ended.rsplit_once("\"run_facts_ref\"").unwrap().0.to_owned();
    fs::write(&journal, &cut).unwrap();
    let second = answers(&oracle_gate(&fixture, &with));
    assert_eq!(
        (&second[0]["from_journal"], &second[1]["from_journal"]),
        (&json!(true), &json!(false))
    );
    let mut same = second.clone();
    same[0]["from_journal"] = json!(false);
    assert_eq!(same, whole);
    fs::write(&journal, &cut).unwrap();
    let text = oracle_gate(&fixture, &[&with[..5], &["--journal", "audit.journal"]].concat());
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("was as it was sealed; audited at 2"), "{text}");

    // A file that was written since is read again, whatever the journal says.
    fs::write(&journal, &cut).unwrap();
    let path = fixture.path("run-5/data/one");
    let times = fs::metadata(&path).unwrap();
    fs::write(&path, "two").unwrap();
    let times = fs::FileTimes::new().set_modified(times.modified().unwrap());
    fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    let changed = answers(&oracle_gate(&fixture, &with));
    assert_eq!(changed[0]["reason_codes"], json!(["PACK_FILE_CHANGED"]));
    assert_eq!(changed[0]["from_journal"], json!(false));

    // The audit that ended vouches for nothing: the next one with its journal reads everything.
    fs::write(&path, "one").unwrap();
    let whole = answers(&oracle_gate(&fixture, &with));
    assert_eq!(whole[0]["status"], json!("OK"));
    fs::write(&path, "two").unwrap();
    let anew = oracle_gate(&fixture, &with);
    assert_eq!(anew.status.code(), Some(1));
    assert_eq!(answers(&anew)[0]["reason_codes"], json!(["PACK_FILE_CHANGED"]));
    let again = answers(&oracle_gate(&fixture, &with));
    assert!(again.iter().all(|line| line["from_journal"] == false), "{again:?}");

    // A file that is no journal is left alone.
    for other in ["data", "", "{}\n", "{\"journal\":\"oracle-gate-audit-v1\"}\n"] {
        fixture.write("audit.journal", other);
        let refused = oracle_gate(&fixture, &with);
        assert_eq!(refused.status.code(), Some(3));
        assert_eq!(fs::read_to_string(&journal).unwrap(), other);
    }
    fixture.write("packs.txt", "\n");
    assert_eq!(oracle_gate(&fixture, &audit).status.code(), Some(3), "nothing passes vacuously");
}

#[test]
fn the_journal_of_an_audit_under_another_policy_says_nothing() {
    let fixture = sealed();
    let profile = |days: u32, comment: &str| {
        let policy = format!(
            "policy: {{retention: {{classes: {{kept: {{days: {days}}}}}, default_class: kept}}}}"
        );
        let wiring = "wiring: {oracle_root: none}";
        fixture.write("own.yaml", format!("# {comment}\nprofile_id: own\n{policy}\n{wiring}\n"));
    };
    let audit = ["audit", "--profile", "own.yaml", "--pack-root", "run-5", "--output", "json"];
    let audit = [&audit[..], &["--journal", "audit.journal"]].concat();
    profile(30, "one");
    assert_eq!(answers(&oracle_gate(&fixture, &audit))[0]["from_journal"], json!(false));
    // As an interruption leaves it.
    let journal = fixture.path("audit.journal");
    let ended = fs::read_to_string(&journal).unwrap();
    let (cut, _) = ended.rsplit_once("{\"finished\"").unwrap();
    fs::write(&journal, cut).unwrap();
    profile(30, "two");
    assert_eq!(answers(&oracle_gate(&fixture, &audit))[0]["from_journal"], json!(true));

    fs::write(&journal, cut).unwrap();
    profile(31, "two");
    let refused = oracle_gate(&fixture, &audit);
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    assert!(said(&refused).contains("another profile or policy"), "{}", said(&refused));
    assert_eq!(fs::read_to_string(&journal).unwrap(), cut);
}

#[test]
fn the_journal_of_an_audit_lies_in_no_pack() {
    let fixture = sealed();
    fixture.write("run-6/data/one", "x");
    fs::create_dir(fixture.path("beside")).unwrap();
    std::os::unix::fs::symlink("run-5/data", fixture.path("alias")).unwrap();
    for (journal, pack) in [
        ("run-5/j", "run-5"),
        ("run-5/data/j", "run-5"),
        ("beside/../run-5/j", "run-5"),
        ("alias/j", "run-5"),
        // A pack that is sealed, whichever is audited; and one that is audited, sealed or not.
        ("run-5/data/j", "run-6"),
        ("run-6/data/j", "run-6"),
    ] {
        let audit = ["audit", "--profile", "dev", "--pack-root", pack, "--journal", journal];
        let refused = oracle_gate(&fixture, &audit);
        assert_eq!(refused.status.code(), Some(3), "{journal}: {}", said(&refused));
        assert!(said(&refused).contains("in the pack"), "{journal}: {}", said(&refused));
        assert!(!fixture.path(journal).exists(), "{journal}");
    }
    let seal = ["seal", "--profile", "dev", "--run-facts-ref", "view.json", "--pack-root", "run-6"];
    let refused = oracle_gate(&fixture, &[&seal[..], &["--journal", "run-5/j"]].concat());
    assert!(said(&refused).contains("in the pack"), "{}", said(&refused));
    assert!(of_pack(&fixture, "audit", &["--journal", "beside/j"]).status.success());
    assert!(seal::verify::pack(&fixture.path("run-5")).unwrap().is_whole());
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
    assert!(of(&plan, &staged).as_str().unwrap().contains("modified less than"), "{plan}");

    let objects = oracle_gate::objects::Objects::local(fixture.dir.path()).unwrap();
    let later = chassis::clock::now() + time::Duration::days(2);
    let plan = oracle_gate::collect::plan(&objects, &objects, 1, later).await.unwrap();
    let stays = |path: &str| plan.iter().find(|staged| staged.path == path).unwrap().stays.clone();
    assert_eq!(stays(&staged), None);
    assert!(stays(&other).unwrap().contains("no seal found"));
    assert!(stays("staging/notes/1").unwrap().contains("name"));
    assert!(stays(&format!("staging/{run}/01")).unwrap().contains("name"));
    assert!(fixture.path(&staged).is_dir(), "a plan removes nothing");
    let applied = oracle_gate::collect::apply(&objects, &objects, &plan, 1, later).await.unwrap();
    assert_eq!((applied.removed, applied.kept), (1, Vec::new()));
    assert!(!fixture.path(&staged).exists());
    for path in [&other, "staging/notes/1", &format!("staging/{run}/01")] {
        assert!(fixture.path(path).is_dir(), "{path} is gone");
    }
}

#[tokio::test]
async fn a_staging_folder_that_something_else_removes_stops_no_other() {
    use oracle_gate::collect::{apply, plan};

    let fixture = Fixture::new();
    let db = testkit::postgres().await;
    let gate = fixture.gate(&db).await;
    let mut staged = Vec::new();
    for number in 1..=3 {
        let draft = fixture.passed(number);
        staged.push(fixture.path(&format!("staging/{}/1", draft.run.simple())));
        oracle_gate::runs::seal(&gate, draft, NOW).await.unwrap();
    }
    // As a removal that was interrupted leaves it.
    let aside = staged[2].with_file_name(format!("1.removing-{}", "0f".repeat(16)));
    fs::rename(&staged[2], &aside).unwrap();
    let objects = fixture.objects();
    let later = chassis::clock::now() + time::Duration::days(2);
    let planned = plan(&objects, &objects, 1, later).await.unwrap();
    assert!(planned.len() == 3 && planned.iter().all(|one| one.stays.is_none()), "{planned:?}");

    fs::remove_dir_all(&staged[0]).unwrap();
    let applied = apply(&objects, &objects, &planned, 1, later).await.unwrap();
    assert_eq!((applied.removed, applied.kept), (2, Vec::new()));
    assert!(!staged[1].exists() && !aside.exists());
}

/// Every file below a folder with its bytes.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(content(&path)),
            false => drop(found.insert(path.clone(), fs::read(path).unwrap())),
        }
    }
    found
}

#[tokio::test]
async fn what_nobody_sealed_and_what_may_be_the_last_copy_is_never_collected() {
    use oracle_gate::collect::{apply, plan};

    let fixture = Fixture::new();
    let db = testkit::postgres().await;
    let gate = fixture.gate(&db).await;
    let draft = fixture.passed(1);
    let run = draft.run.simple().to_string();
    let (sealed, _) = oracle_gate::runs::seal(&gate, draft, NOW).await.unwrap();
    let (staged, pack) = (format!("staging/{run}/1"), format!("packs/{}", sealed.pack_id));
    let later = chassis::clock::now() + time::Duration::days(2);
    let server = Server::start().await;
    let kept = async |what: &str, why: &str| {
        server.hold(fixture.dir.path());
        let folder = fixture.objects();
        // The pack in the same folder, and in a bucket beside it.
        for store in [folder.clone(), objects(&server.url)] {
            let plan = plan(&store, &folder, 1, later).await.unwrap();
            let stays = plan[0].stays.clone().unwrap_or_default();
            assert!(stays.contains(why), "{what}: {plan:?}");
            let before = content(&fixture.path("staging"));
            let may_go = Staged { stays: None, ..plan[0].clone() };
            let applied = apply(&store, &folder, &[may_go], 1, later).await.unwrap();
            assert_eq!((applied.removed, applied.kept.len()), (0, 1), "{what}");
            assert_eq!(content(&fixture.path("staging")), before, "{what}");
        }
    };
    for name in ["notes.txt", "outputs/mine/data.bin", ".oracle-gate-x.part", "_SEALED.json"] {
        fixture.write(&format!("{staged}/{name}"), "mine");
        kept(name, "not in the sealed pack").await;
        fs::remove_file(fixture.path(&format!("{staged}/{name}"))).unwrap();
    }
    let _ = fs::remove_dir(fixture.path(&format!("{staged}/outputs/mine")));
    let part = format!("{staged}/.oracle-gate-{}.part", "0f".repeat(16));
    fixture.write(&part, "mine");
    kept("a name of ours", "not in the sealed pack").await;
    fs::remove_file(fixture.path(&part)).unwrap();

    let report = format!("{pack}/outputs/report.json");
    let good = fs::read(fixture.path(&report)).unwrap();
    fs::remove_file(fixture.path(&report)).unwrap();
    kept("the pack lost it", "missing from the pack").await;
    fixture.write(&report, "{\"rows\":4}");
    kept("the pack has another", "changed in the pack").await;
    fixture.write(&report, &good);
    let mine = format!("{staged}/outputs/report.json");
    fixture.write(&mine, "{\"rows\":4}");
    kept("it was written again", "other bytes").await;
    fixture.write(&mine, &good);
    let manifest = format!("{pack}/_oracle_pack_manifest.json");
    let bound = fs::read(fixture.path(&manifest)).unwrap();
    fixture.write(&manifest, [&bound[..], b" "].concat());
    kept("nothing binds the manifest", "no seal found").await;
    fixture.write(&manifest, bound);

    // A folder that was not checked stays, though every file was sealed.
    fs::create_dir(fixture.path(&format!("{staged}/mine"))).unwrap();
    let folder = fixture.objects();
    let planned = plan(&folder, &folder, 1, later).await.unwrap();
    let applied = apply(&folder, &folder, &planned, 1, later).await.unwrap();
    assert_eq!((applied.removed, applied.kept.len()), (0, 1));
    assert!(fixture.path(&format!("{staged}/mine")).is_dir());
    assert!(!fixture.path(&format!("{staged}/outputs")).exists());
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
