//! The command line: exit codes of C1, no service needed, one line for a failed start.

use std::process::{Command, Output};

use oracle_gate::check::Status;
use oracle_gate::runs::seal;
use serde_json::{Value, json};
use wire::digest::Digest;

use crate::fixture::{Fixture, NOW, json_of, oracle_gate, publish_view};

fn exit(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// A view of one output in `run-5`, as an engine publishes it.
pub fn publish(fixture: &Fixture) {
    fixture.write("run-5/data/one", "one");
    publish_view(fixture, "run-5/data/one", Digest::of(b"one"));
}

#[test]
fn a_pack_is_sealed_once_and_ensured_after_that() {
    let fixture = Fixture::new();
    publish(&fixture);
    let seal = ["seal", "--profile", "dev", "--run-facts-ref", "view.json"];

    let first = oracle_gate(&fixture, &seal);
    assert_eq!(exit(&first), 0, "{}", String::from_utf8_lossy(&first.stderr));
    let first = json_of(&first);
    assert_eq!((&first["pack_root"], &first["existed"]), (&json!("run-5"), &json!(false)));
    let whole = seal::verify::pack(&fixture.path("run-5")).unwrap();
    assert!(whole.is_whole());
    // What the pack is, of what, and by what it was made, is recorded; its id follows from it.
    let Some(seal::Manifest::V1(recorded)) = whole.manifest else { panic!("no manifest") };
    assert_eq!(recorded.oracle_pack_id, seal::pack_id::v1(&recorded));
    assert_eq!(json!(recorded.oracle_pack_id), first["oracle_pack_id"]);
    let (world, key) = (Digest::of(b"world"), &recorded.world_key);
    assert_eq!((key.manifest_fingerprint, key.parameter_hash), (world, world));
    assert_eq!((key.scenario_id.as_str(), key.seed), ("s", 7));
    assert_eq!(recorded.engine_release, "unknown");

    let second = oracle_gate(&fixture, &seal);
    let text = String::from_utf8(second.stderr.clone()).unwrap();
    assert!(exit(&second) == 1 && text.contains("PACK_ALREADY_SEALED"), "{text}");
    assert!(text.contains("equal") && text.lines().count() == 1, "{text}");
    let ensured = oracle_gate(&fixture, &[&seal[..], &["--ensure"]].concat());
    assert_eq!(json_of(&ensured)["seal_digest"], first["seal_digest"]);
    let other =
        oracle_gate(&fixture, &[&seal[..], &["--engine-release", "2", "--ensure"]].concat());
    assert_eq!(exit(&other), 1);
    fixture.write("run-5/data/one", "two");
    let changed = oracle_gate(&fixture, &seal);
    let text = String::from_utf8(changed.stderr).unwrap();
    assert!(text.contains("PACK_ALREADY_SEALED") && text.contains("differ"), "{text}");
}

#[test]
fn what_cannot_be_sealed_says_why() {
    let fixture = Fixture::new();
    publish(&fixture);
    let view: Value =
        serde_json::from_slice(&std::fs::read(fixture.path("view.json")).unwrap()).unwrap();
    let mut without = view.clone();
    without["locators"] = json!([]);
    fixture.write("without.json", without.to_string());
    let mut across = view.clone();
    let mut second = view["locators"][0].clone();
    second["path"] = json!("run-6/data/one");
    across["locators"].as_array_mut().unwrap().push(second);
    fixture.write("across.json", across.to_string());
    for (arguments, code, expected) in [
        (vec!["--run-facts-ref", "without.json"], "PACK_ROOT_UNDERIVED", 3),
        (vec!["--run-facts-ref", "across.json"], "PACK_ROOT_AMBIGUOUS", 3),
        (vec!["--run-facts-ref", "none.json"], "RUN_FACTS_UNREADABLE", 1),
        (vec!["--run-facts-ref", "view.json", "--pack-root", "run-6"], "PACK_ROOT_NOT_FOUND", 1),
        (vec!["--run-facts-ref", "view.json", "--pack-root", "../x"], "CONFIG_INVALID", 3),
        (vec!["--run-facts-ref", "view.json", "--pack-root", "a//b"], "CONFIG_INVALID", 3),
        (vec!["--run-facts-ref", "view.json", "--pack-root", "run-*"], "CONFIG_INVALID", 3),
        (vec!["--run-facts-ref", "view.json", "--pack-root", ""], "CONFIG_INVALID", 3),
        (vec!["--run-facts-ref", "view.json", "--engine-release", ""], "CONFIG_INVALID", 3),
        (vec!["--run-facts-ref", "view.json", "--jobs", "0"], "--jobs", 3),
    ] {
        let arguments = [&["seal", "--profile", "dev"][..], &arguments].concat();
        let output = oracle_gate(&fixture, &arguments);
        let text = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(text.contains(code) && exit(&output) == expected, "{text}");
    }
}

#[tokio::test]
async fn a_stored_view_is_checked_without_a_service() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let gate = fixture.gate(&db).await;
    let (sealed, _) = seal(&gate, fixture.passed(1), NOW).await.unwrap();
    assert_eq!(sealed.check.unwrap().status, Status::Ok);
    let facts_ref = sealed.facts_ref.unwrap();
    let key = wire::dsse::key_id(&fixture.key.verifying_key());
    let check = ["check", "--profile", "prod", "--run-facts-ref", &facts_ref, "--output", "json"];

    let passed = oracle_gate(&fixture, &[&check[..], &["--attestation-key", &key]].concat());
    assert_eq!((exit(&passed), &json_of(&passed)["status"]), (0, &json!("OK")));
    let keyless = oracle_gate(&fixture, &check);
    assert_eq!(
        (exit(&keyless), &json_of(&keyless)["reason_codes"]),
        (2, &json!(["GATE_KEYS_MISSING"]))
    );
    let unknown =
        wire::dsse::key_id(&ed25519_dalek::SigningKey::from_bytes(&[9; 32]).verifying_key());
    let distrusted =
        oracle_gate(&fixture, &[&check[..], &["--attestation-key", &unknown]].concat());
    assert_eq!(exit(&distrusted), 1);
    assert_eq!(json_of(&distrusted)["reason_codes"], json!(["GATE_EVIDENCE_UNTRUSTED"]));
    fixture.write(&format!("packs/{}/outputs/report.json", sealed.pack_id), "{}");
    let tampered = oracle_gate(&fixture, &[&check[..], &["--attestation-key", &key]].concat());
    assert_eq!(exit(&tampered), 1);
}

#[test]
fn leniency_is_the_profiles_to_give() {
    let fixture = Fixture::new();
    publish(&fixture);
    let ask = |profile, flag| {
        exit(&oracle_gate(
            &fixture,
            &["check", "--profile", profile, "--run-facts-ref", "view.json", flag],
        ))
    };
    assert_eq!(ask("prod", "--allow-unsealed"), 3);
    assert_eq!(ask("dev", "--allow-missing-digest"), 3);
    assert_eq!(ask("local", "--allow-unsealed"), 1, "the bundle hash of this view is wrong");
    assert_eq!(ask("local", "--no-such-flag"), 3);
    assert_eq!(ask("missing.yaml", "--strict-seal"), 3);
    assert_eq!(exit(&oracle_gate(&fixture, &["--help"])), 0);
}

#[test]
fn a_failed_start_is_one_line_that_names_the_settings() {
    let fixture = Fixture::new();
    let output = oracle_gate(&fixture, &["serve"]);
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((exit(&output), text.lines().count()), (3, 1), "{text}");
    for name in
        ["ORACLE_GATE_GRPC_TOKENS", "ORACLE_GATE_ATTESTATION_KEYS", "DATABASE_URL", "NATS_URL"]
    {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    // In the form of all services: codes are of what is checked, and a service checks nothing yet.
    assert!(text.starts_with("oracle-gate: ORACLE_GATE_"), "{text}");

    // Of a bucket too, although its own address is wrong already.
    let output = Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
        .arg("serve")
        .env_clear()
        .env("ORACLE_GATE_ROOT", "s3://x")
        .env("ORACLE_GATE_BIND", "no-address")
        .env("ORACLE_GATE_EXCHANGE", "/dev/null/exchange")
        .env("ORACLE_GATE_LOG_LEVEL", "loud")
        .env("NATS_PREFIX", "a.b")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((exit(&output), text.lines().count()), (3, 1), "{text}");
    for wrong in [
        "ORACLE_GATE_BIND: ",
        "bucket's name",
        "AWS_ACCESS_KEY_ID",
        "ORACLE_GATE_EXCHANGE: is not a folder",
        "ORACLE_GATE_LOG_LEVEL: ",
        "NATS_PREFIX: ",
    ] {
        assert!(text.contains(wrong), "{wrong} is missing in {text}");
    }
}

/// Bytes pass through; they are not kept. The check itself needs a few megabytes.
#[test]
fn a_file_larger_than_the_memory_is_checked() {
    const FILE: u64 = 48 << 20;
    let fixture = Fixture::new();
    publish(&fixture);
    let large = std::fs::File::create(fixture.path("run-5/data/large")).unwrap();
    large.set_len(FILE).unwrap();
    let arguments = ["--profile", "local", "--run-facts-ref", "view.json"];
    let sealed = oracle_gate(&fixture, &[&["seal"][..], &arguments].concat());
    assert_eq!(exit(&sealed), 0, "{}", String::from_utf8_lossy(&sealed.stderr));
    let checked = Command::new("prlimit")
        .arg(format!("--data={}", FILE / 2))
        .args([env!("CARGO_BIN_EXE_oracle-gate"), "check"])
        .args(arguments)
        .env_clear()
        .env("ORACLE_GATE_ROOT", fixture.dir.path())
        .current_dir(fixture.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    // The whole inventory was hashed; what else the check says is about the view.
    assert!(said.contains("2 files hashed") && !said.contains("PACK_"), "{said}");
}

#[test]
fn an_answer_that_a_full_disk_does_not_take_is_no_success() {
    for command in [&["reasons"][..], &["completions", "bash"], &["--help"]] {
        let program = env!("CARGO_BIN_EXE_oracle-gate");
        testkit::assert_full_disk_is_no_success(program, command, 2);
    }
}

#[test]
fn a_store_is_probed_by_command() {
    let fixture = Fixture::new();
    let output = oracle_gate(&fixture, &["probe", "--profile", "dev", "--output", "json"]);
    let probed = json_of(&output);
    assert_eq!((exit(&output), &probed["write_once"]), (0, &json!(true)));
    assert_eq!(probed["store_probe"]["races_with_one_winner"], json!(20));
    let text = oracle_gate(&fixture, &["probe", "--profile", "dev"]);
    assert!(String::from_utf8(text.stdout).unwrap().contains("write-once: yes"));
}

#[test]
fn a_journal_continues_an_interrupted_seal_and_is_of_one_pack_only() {
    let fixture = Fixture::new();
    publish(&fixture);
    fixture.write("run-5/data/two", "two");
    let seal = ["seal", "--profile", "dev", "--run-facts-ref", "view.json", "--journal", "journal"];
    let interrupted = || {
        let killed = Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
            .args(seal)
            .env_clear()
            .env("ORACLE_GATE_ROOT", fixture.dir.path())
            .env("ORACLE_GATE_CRASH_AT", "seal.before_write")
            .current_dir(fixture.dir.path())
            .output()
            .unwrap();
        assert!(killed.status.code().is_none(), "it did not die");
    };
    interrupted();
    let journal = std::fs::read_to_string(fixture.path("journal")).unwrap();
    assert_eq!(journal.lines().count(), 3, "{journal}");
    // What was written since is hashed again, whatever the journal says.
    fixture.write("run-5/data/two", "TWO");
    let manifest = fixture.path("run-5/_oracle_pack_manifest.json");
    std::fs::remove_file(manifest).unwrap();
    interrupted();
    let journal = std::fs::read_to_string(fixture.path("journal")).unwrap();
    let hashed = |name: &str| journal.matches(&format!("\"data/{name}\"")).count();
    assert_eq!((hashed("one"), hashed("two")), (1, 2), "{journal}");

    let other = [
        "seal",
        "--profile",
        "dev",
        "--run-facts-ref",
        "view.json",
        "--journal",
        "journal",
        "--pack-root",
        ".",
    ];
    let refused = oracle_gate(&fixture, &other);
    let text = String::from_utf8(refused.stderr.clone()).unwrap();
    assert!(exit(&refused) == 3 && text.contains("in the pack"), "{text}");
    let sealed = oracle_gate(&fixture, &seal);
    assert_eq!(exit(&sealed), 0, "{}", String::from_utf8_lossy(&sealed.stderr));
    assert!(seal::verify::pack(&fixture.path("run-5")).unwrap().is_whole());
    assert!(!fixture.path("journal").exists());
}

#[test]
fn a_bucket_without_credentials_is_a_matter_of_configuration() {
    let fixture = Fixture::new();
    let output = Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
        .args(["probe", "--profile", "prod"])
        .env_clear()
        .env("ORACLE_GATE_ROOT", "s3://packs/prod")
        .env("ORACLE_GATE_S3_REGION", "eu-west-1")
        .current_dir(fixture.dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(exit(&output) == 3 && text.contains("AWS_ACCESS_KEY_ID"), "{text}");
}

#[test]
fn a_pack_closed_as_failed_stays_so() {
    let fixture = Fixture::new();
    publish(&fixture);
    let seal = ["seal", "--profile", "dev", "--run-facts-ref", "view.json"];
    let failed = oracle_gate(&fixture, &[&seal[..], &["--seal-status", "SEALED_FAILED"]].concat());
    assert_eq!(json_of(&failed)["seal_status"], json!("SEALED_FAILED"));
    assert!(seal::verify::pack(&fixture.path("run-5")).unwrap().is_whole(), "it can be looked at");
    let sealed = std::fs::read(fixture.path("run-5/_SEALED.json")).unwrap();
    let ensured = oracle_gate(&fixture, &[&seal[..], &["--ensure"]].concat());
    let text = String::from_utf8(ensured.stderr.clone()).unwrap();
    assert!(exit(&ensured) == 1 && text.contains("SEAL_MISMATCH"), "{text}");
    assert_eq!(std::fs::read(fixture.path("run-5/_SEALED.json")).unwrap(), sealed);
}

#[test]
fn a_pack_of_the_first_version_is_read_and_not_sealed_again() {
    let fixture = Fixture::new();
    publish(&fixture);
    let hex = Digest::of(b"world");
    let mut manifest = json!({
        "version": "v0", "oracle_pack_id": hex, "engine_release": "unknown",
        "world_key": {"manifest_fingerprint": hex, "parameter_hash": hex, "scenario_id": "s", "seed": 7},
        "catalogue_digest": hex, "gate_map_digest": hex, "created_at_utc": "2026-01-28",
    });
    let text = format!("{hex}|{hex}|s|7|unknown|{hex}|{hex}");
    manifest["oracle_pack_id"] = json!(Digest::of(text.as_bytes()));
    let seal = json!({
        "version": "v0", "oracle_pack_id": manifest["oracle_pack_id"],
        "seal_status": "SEALED_OK", "sealed_at_utc": "2026-01-28",
    });
    fixture.write("run-5/_oracle_pack_manifest.json", format!("{manifest}\n"));
    fixture.write("run-5/_SEALED.json", format!("{seal}\n"));
    assert!(seal::verify::pack(&fixture.path("run-5")).unwrap().holds(seal::verify::Link::PackId));
    let again =
        oracle_gate(&fixture, &["seal", "--profile", "dev", "--run-facts-ref", "view.json"]);
    let text = String::from_utf8(again.stderr.clone()).unwrap();
    assert!(exit(&again) == 1 && text.contains("PACK_ALREADY_SEALED"), "{text}");
}
