use std::fs;
use std::path::Path;

use oracle_gate::reasons::{ALL, guide};

#[test]
fn the_guide_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/oracle-store/reasons.md");
    let stored = fs::read_to_string(&path).unwrap();
    assert!(
        stored == guide(),
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
