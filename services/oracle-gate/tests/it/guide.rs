//! What is documented is so: the table of reasons, the checklist, the schemas.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use oracle_gate::reasons::{ALL, Class, guide};
use seal::schemas;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document(name: &str) -> String {
    fs::read_to_string(repository().join("docs/oracle-store").join(name)).unwrap()
}

#[test]
fn the_guide_is_the_table() {
    assert!(
        document("reasons.md") == guide(),
        "docs/oracle-store/reasons.md is old: write `oracle-gate reasons` to it"
    );
}

#[test]
fn codes_are_unique_and_spelled_as_error_info_demands() {
    let mut codes: Vec<&str> = ALL.iter().map(|reason| reason.code()).collect();
    for code in &codes {
        let plain = code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        assert!(plain && code.len() <= 63, "{code}");
    }
    codes.sort_unstable();
    let all = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), all);
}

/// The codes that the requirement names, and what an operator does after each.
#[test]
fn the_four_codes_of_the_build_plan_are_terminal_and_say_what_to_do() {
    for code in ["PACK_NOT_SEALED", "LOCATOR_MISSING", "GATE_PASS_MISSING", "DIGEST_MISSING"] {
        let reason = ALL.iter().find(|reason| reason.code() == code).unwrap();
        let row = reason.row();
        assert!(!row.retryable && row.class == Class::Invalid && row.class.exit() == 1, "{code}");
        assert!(!row.action.is_empty() && !row.meaning.is_empty());
    }
}

#[test]
fn only_what_may_pass_by_itself_is_retryable_and_nothing_bad_is() {
    for reason in ALL {
        let row = reason.row();
        assert!(!row.retryable || row.class == Class::Unverifiable, "{}", row.code);
        assert!(!row.lenient || row.class != Class::Usage, "{}", row.code);
    }
}

/// Codes of `seal` and of the call itself are in no checklist for readers.
#[test]
fn every_code_of_a_check_stands_in_the_checklist() {
    let readme = document("README.md");
    let (_, list) = readme.split_once("## Validation checklist").unwrap();
    let (list, _) = list.split_once("\n## ").unwrap();
    let listed: BTreeSet<&str> = list.split('`').collect();
    let sealing = [
        "PACK_ROOT_NOT_FOUND",
        "PACK_ROOT_UNDERIVED",
        "PACK_ROOT_AMBIGUOUS",
        "PACK_ALREADY_SEALED",
        "MANIFEST_MISMATCH",
        "SEAL_MISMATCH",
        "STORE_NOT_WRITE_ONCE",
        "BUCKET_POSTURE_WEAK",
        "PACK_ON_HOLD",
        "PACK_RECORD_REFUSED",
        "RETENTION_NOT_OVER",
        "PACK_FILE_ADDED",
        "PACK_RESEALED",
        "RETENTION_BELOW_CLASS",
        "SEAL_UNCONFIRMED",
        "CONFIG_INVALID",
    ];
    for reason in ALL {
        let code = reason.code();
        assert!(listed.contains(code) || sealing.contains(&code), "{code} is in no line");
    }
}

#[test]
fn every_schema_stands_in_the_contract() {
    let readme = document("README.md");
    for (name, _) in schemas::ALL.iter().filter(|(name, _)| name.ends_with(".v1.json")) {
        assert!(readme.contains(name), "{name}");
    }
}
