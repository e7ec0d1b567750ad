//! The signed run of the guide, as oracle-gate seals one.

use std::fs;
use std::path::{Path, PathBuf};

use oracle_gate::runs::{Draft, seal};
use time::OffsetDateTime;
use wire::statement::{Execution, ExecutionStatement, Shipping};

use crate::fixture::{Fixture, run, shipping};

/// Writes the example anew; the test of the guide then reads it. The seal's nonce is another each
/// time, so nothing is compared.
#[tokio::test]
#[ignore = "writes docs/oracle-store/example/signed; needed when what a pack holds changes"]
async fn the_signed_example_is_written_anew() {
    // 28 January 2026, midnight UTC.
    let at = OffsetDateTime::from_unix_timestamp(1_769_558_400).unwrap();
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let passed = fixture.passed(1);
    let keys = [fixture.key.verifying_key()];
    let (stated, _) = ExecutionStatement::open(&passed.statement, &keys).unwrap();
    let stated = Execution { started_at: at, finished_at: at, ..stated.into_predicate() };
    let draft = Draft {
        shipping: fixture.ship(Shipping { issued_at: at, ..shipping() }),
        ..fixture.draft(stated)
    };
    let (sealed, _) = seal(&fixture.gate(&db).await, draft, at).await.unwrap();
    assert_eq!(sealed.facts_ref, Some(format!("sr/run_facts_view/{}.1.json", run(1).simple())));

    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/oracle-store/example/signed");
    if example.exists() {
        fs::remove_dir_all(&example).unwrap();
    }
    for folder in ["packs", "sr"] {
        copy(&fixture.path(folder), &example.join(folder));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { drop(fs::write(to, fs::read(path).unwrap())) }
    }
}
