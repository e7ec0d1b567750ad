//! A module that does what it may not, or fails, costs nothing and leaves nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use wire::digest::Digest;
use wire::problem::Problem;
use wire::statement::{Code, Verdict};

use crate::fixture::{Fixture, csv_profile, request, stated, test_module};

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_code_and_is_free() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let cases = [
        ("writes-outside", Code::SideEffectsForbidden),
        ("writes-inside", Code::SideEffectsDeclaration),
        ("spawns-shell", Code::SideEffectsDeclaration),
        ("exits-one", Code::OracleExec),
        ("no-outputs", Code::OutputMissing),
        ("links-out", Code::OutputLimit),
        ("deep-outputs", Code::OutputLimit),
    ];
    for (name, code) in cases {
        let asked = request(fixture.publish(&test_module(name)), &serde_json::json!({}));
        let statement = stated(&gate.execute(&asked).await.unwrap());
        assert_eq!(
            (statement.verdict, statement.code),
            (Verdict::Fail, Some(code)),
            "{name}: {:?}",
            statement.reason
        );
        assert!(statement.usage.is_zero() && statement.outputs.is_empty(), "{name}");
        assert!(statement.reason.is_some_and(|reason| !reason.is_empty()), "{name}");
        assert!(!fixture.anything_staged(&asked), "{name}");
        let scratch = fs::read_dir(fixture.config().scratch).unwrap();
        let left: Vec<_> = scratch.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "runtime"), "{name} left {left:?}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_somebody_else_cannot_be_read() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&test_module("reads-secret"));
    let secret = tempfile::Builder::new().prefix("env").tempdir().unwrap();
    fs::set_permissions(secret.path(), Permissions::from_mode(0o755)).unwrap();
    let file = secret.path().join(".env.runner");
    fs::write(&file, "RUNNER_SECRET=hush\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let asked = request(module, &serde_json::json!({ "path": file }));

    let statement = stated(&gate.execute(&asked).await.unwrap());

    assert_eq!(
        (statement.verdict, statement.code),
        (Verdict::Fail, Some(Code::SideEffectsForbidden))
    );
    assert!(statement.usage.is_zero() && !fixture.anything_staged(&asked));
    assert!(statement.reason.unwrap().contains(".env.runner"));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_no_module_is_stated_as_that() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("module.json"), r#"{"id":"A"}"#).unwrap();
    let asked = request(fixture.publish(folder.path()), &serde_json::json!({}));
    let statement = stated(&gate.execute(&asked).await.unwrap());
    assert_eq!((statement.verdict, statement.code), (Verdict::Fail, Some(Code::ModuleInvalid)));
    assert!(statement.reason.unwrap().contains("version"));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_store_is_found_before_anything_runs() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&csv_profile());
    let root = fixture.store().join(format!("modules/{module}"));
    let main = root.join("tree/main.mjs");
    let text = fs::read_to_string(&main).unwrap();
    fs::write(&main, text.replacen("rows", "ROWS", 1)).unwrap();
    let asked = request(module, &serde_json::json!({ "csv": "a\n1\n" }));
    let status = gate.execute(&asked).await.unwrap_err();
    assert_eq!(Problem::of(&status), Some(Problem::DigestMismatch), "{status:?}");

    // A tree that is consistent in itself, and another one than asked for.
    let other = fixture.publish(&test_module("slow"));
    let stored = fixture.store().join(format!("modules/{other}"));
    fs::remove_dir_all(&root).unwrap();
    fs::rename(stored, &root).unwrap();
    let status = gate.execute(&request(module, &serde_json::json!({}))).await.unwrap_err();
    assert_eq!(Problem::of(&status), Some(Problem::DigestMismatch), "{status:?}");
    let status = gate.ship(module).await.unwrap_err();
    assert_eq!(Problem::of(&status), Some(Problem::DigestMismatch), "{status:?}");
    let status = gate.ship(Digest::of(b"nothing")).await.unwrap_err();
    assert_eq!(Problem::of(&status), Some(Problem::ModuleUnknown), "{status:?}");
    gate.stop().await;
}
