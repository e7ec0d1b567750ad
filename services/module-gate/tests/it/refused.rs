//! A module that does what it may not, or fails, costs nothing and leaves nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;
use wire::digest::Digest;
use wire::problem::Problem;
use wire::statement::{Code, Verdict};

use crate::fixture::{Fixture, csv_profile, node, request, shipped, stated, test_module};

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

/// A module whose program, if it is the entry, is this.
fn module(entry: &str, main: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = json!({
        "id": "fixture.fails", "version": "0.1.0", "summary": "Fails.", "entry": entry,
        "provides": ["FixturePort@1"], "side_effects": [], "tests": [format!("script:{entry}")],
        "invariants": ["It is one."], "evidence": [{ "kind": "test", "file": "main.mjs" }],
    });
    fs::write(folder.path().join("module.json"), manifest.to_string()).unwrap();
    fs::write(folder.path().join("main.mjs"), main).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reason_names_a_place_of_the_server() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let private: Vec<String> = [fixture.config().scratch, fixture.store(), node()]
        .into_iter()
        .flat_map(|path| [path.canonicalize().unwrap(), path])
        .map(|path| path.display().to_string())
        .collect();

    // The entry, the program, and what the reason says in the module's own words. Whether a folder
    // above the module's may be opened is the guard's to say in more than one way.
    let lists =
        |folder: &str| format!("import {{ readdirSync }} from 'node:fs'; readdirSync('{folder}');");
    let cases = [
        (
            "main.mjs",
            "import { spawnSync } from 'node:child_process';
             spawnSync(process.execPath, ['-e', '0']);"
                .to_owned(),
            "Process:shell",
        ),
        (
            "main.mjs",
            "import { spawnSync } from 'node:child_process';
             throw spawnSync('./missing', [process.execPath, process.cwd()]).error ?? 1;"
                .to_owned(),
            "Process:shell",
        ),
        (
            "main.mjs",
            "throw new Error(process.argv.join(' ') + process.cwd());".to_owned(),
            "main.mjs",
        ),
        ("main.mjs", lists(".."), ".."),
        ("main.mjs", lists("../.."), ""),
        ("main.mjs", lists("../../.."), ""),
        ("missing.mjs", String::new(), "missing.mjs"),
    ];
    for (entry, main, says) in cases {
        let stored = fixture.publish(module(entry, &main).path());
        let executed = stated(&gate.execute(&request(stored, &json!({}))).await.unwrap());
        let judged = shipped(&gate.ship(stored).await.unwrap());
        assert_eq!((executed.verdict, judged.verdict), (Verdict::Fail, Verdict::Fail), "{main}");
        for reason in [executed.reason.unwrap(), judged.reason.unwrap()] {
            assert!(reason.contains(says), "{main}: {reason}");
            for place in &private {
                assert!(!reason.contains(place), "{main}: {reason}");
            }
        }
    }
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
