//! What was changed after sealing is found, and named.

use std::fs;

use oracle_gate::check::check;
use oracle_gate::runs::seal;

use crate::fixture::{Fixture, NOW, edit, execution, run};

/// The codes a check gives after `tamper` changed the pack in the folder it is handed.
async fn codes(tamper: impl FnOnce(&Fixture, &std::path::Path)) -> Vec<&'static str> {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let gate = fixture.gate(&db).await;
    let (sealed, _) = seal(&gate, fixture.passed(1), NOW).await.unwrap();
    tamper(&fixture, &fixture.path(&format!("packs/{}", sealed.pack_id)));
    let outcome = check(&gate.objects, &gate.rules, &sealed.facts_ref.unwrap(), NOW).await;
    outcome.reason_codes.iter().map(|reason| reason.code()).collect()
}

#[tokio::test]
async fn a_changed_output_is_found() {
    let found = codes(|_, pack| {
        edit(&pack.join("outputs/report.json"), |mut bytes| {
            bytes[0] ^= 1;
            bytes
        });
    });
    assert_eq!(found.await, ["PACK_FILE_CHANGED", "DIGEST_MISMATCH"]);
}

#[tokio::test]
async fn a_missing_output_is_found() {
    let found = codes(|_, pack| fs::remove_file(pack.join("outputs/report.json")).unwrap());
    assert_eq!(found.await, ["PACK_FILE_MISSING", "LOCATOR_MISSING"]);
}

#[tokio::test]
async fn an_output_behind_a_link_is_refused() {
    let found = codes(|fixture, pack| {
        let path = pack.join("outputs/report.json");
        fixture.write("copy", fs::read(&path).unwrap());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(fixture.path("copy"), path).unwrap();
    });
    let found = found.await;
    assert!(found.contains(&"LINK_REFUSED"), "{found:?}");
}

#[tokio::test]
async fn an_edited_manifest_is_found() {
    let found = codes(|_, pack| {
        edit(&pack.join("_oracle_pack_manifest.json"), |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replace("lumio-guard/0.1.0", "lumio-guard/0.1.1")
                .into()
        });
    });
    assert_eq!(found.await, ["SEAL_MANIFEST_MISMATCH", "PACK_ID_MISMATCH"]);
}

#[tokio::test]
async fn a_replaced_seal_is_found() {
    let found = codes(|_, pack| {
        edit(&pack.join("_SEALED.json"), |bytes| {
            String::from_utf8(bytes).unwrap().replace("1970-01-01", "1971-01-01").into()
        });
    });
    assert_eq!(found.await, ["PACK_REF_MISMATCH"]);
}

#[tokio::test]
async fn an_empty_or_missing_seal_is_no_seal() {
    let found = codes(|_, pack| fs::write(pack.join("_SEALED.json"), "").unwrap());
    assert_eq!(found.await, ["SEAL_INVALID", "PACK_REF_MISMATCH"]);
    let found = codes(|_, pack| fs::remove_file(pack.join("_SEALED.json")).unwrap());
    assert_eq!(found.await, ["PACK_NOT_SEALED", "PACK_REF_MISMATCH"]);
}

#[tokio::test]
async fn a_statement_with_more_usage_is_found_even_when_signed_again() {
    let found = codes(|fixture, pack| {
        let mut other = execution(run(1));
        other.outputs = Vec::new();
        other.verdict = wire::statement::Verdict::Inconclusive;
        other.code = Some(wire::statement::Code::GuardIncomplete);
        other.usage = wire::Usage::default();
        fs::write(pack.join("_execution.dsse"), fixture.sign(other, &fixture.key)).unwrap();
    });
    assert_eq!(found.await, ["PACK_FILE_CHANGED", "GATE_EVIDENCE_MISMATCH"]);
}

#[tokio::test]
async fn an_edited_view_is_found() {
    let found = codes(|fixture, _| {
        let view = fixture.path(&format!("sr/run_facts_view/{}.1.json", run(1).simple()));
        edit(&view, |bytes| {
            String::from_utf8(bytes).unwrap().replace("tables/a.csv", "tables/b.csv").into()
        });
    });
    assert_eq!(found.await, ["BUNDLE_HASH_MISMATCH", "LOCATOR_MISSING", "GATE_EVIDENCE_MISMATCH"]);
}
