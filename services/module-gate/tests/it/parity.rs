//! The local gate gives the verdict that the service gives (M4).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use wire::statement::Shipping;

use crate::fixture::{Fixture, Running, shipped};

/// VerdictAndCode and code.
type VerdictAndCode = (String, Option<String>);

/// Every module of the repository that is a folder of regular files: the examples, and the fixtures
/// that each break one promise.
fn modules() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("../../examples/modules"), here.join("tests/modules")];
    let mut found: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|module| module.join("module.json").is_file())
        // This one runs until its limit, which each of both judges would wait for.
        .filter(|module| !module.ends_with("loops-forever"))
        .collect();
    found.sort();
    found
}

/// Modules that are wrong before anything of them is started.
fn broken(folder: &Path) -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/modules/git.diff.alt");
    let variant = |name: &str, change: &dyn Fn(&Path)| {
        let copy = folder.join(name);
        guard::copy_tree(&here, &copy, guard::Identity::Auto).unwrap();
        change(&copy);
        copy
    };
    let manifest = |copy: &Path, change: &dyn Fn(&mut Value)| {
        let path = copy.join("module.json");
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    };
    vec![
        variant("no-json", &|copy| fs::write(copy.join("module.json"), "{").unwrap()),
        variant("no-evidence", &|copy| {
            manifest(copy, &|value| drop(value.as_object_mut().unwrap().remove("evidence")));
        }),
        variant("no-tests", &|copy| {
            manifest(copy, &|value| drop(value.as_object_mut().unwrap().remove("tests")));
        }),
        variant("leads-out", &|copy| {
            fs::write(copy.join("extra.mjs"), "import '../elsewhere.mjs';\n").unwrap();
        }),
        variant("wrong-port", &|copy| {
            manifest(copy, &|value| {
                let port = value["provides"][0].as_str().unwrap().to_owned();
                value["port_exports"] = json!({ port: { "file": "none.mjs", "export": "x" } });
            });
        }),
        variant("bad-spec", &|copy| {
            fs::create_dir_all(copy.join("oracles/specs")).unwrap();
            fs::write(copy.join("oracles/specs/x.json"), r#"{"cases":[]}"#).unwrap();
        }),
    ]
}

async fn by_service(gate: &Running, fixture: &Fixture, module: &Path) -> VerdictAndCode {
    let stated: Shipping = shipped(&gate.ship(fixture.publish(module)).await.unwrap());
    (stated.verdict.to_string(), stated.code.map(|code| code.to_string()))
}

fn by_command(module: &Path) -> (VerdictAndCode, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_module-gate"))
        .args(["gates", "shipping", "--output", "json", "--module"])
        .arg(module)
        .env_remove("MODULE_GATE_SCRATCH")
        .env("MODULE_GATE_NODE", testkit::program("node").unwrap())
        .output()
        .unwrap();
    let reports: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let text = |member: &str| reports[0][member].as_str().map(str::to_owned);
    ((text("verdict").unwrap(), text("code")), reports)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_gate_and_the_service_give_the_same_verdict_and_code() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let mut different = Vec::new();
    for module in modules().into_iter().chain(broken(folder.path())) {
        let (here, report) = by_command(&module);
        let there = by_service(&gate, &fixture, &module).await;
        if here != there {
            different
                .push(format!("{}: {here:?} here, {there:?} there: {report}", module.display()));
        }
    }
    gate.stop().await;
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn a_module_that_never_leaves_an_output_is_warned_of() {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/modules/git.diff.alt");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("silent");
    guard::copy_tree(&module, &copy, guard::Identity::Auto).unwrap();
    let path = copy.join("module.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["entry"] = json!("silent.mjs");
    fs::write(&path, manifest.to_string()).unwrap();
    fs::write(copy.join("silent.mjs"), "console.log('nothing is left')").unwrap();
    fs::create_dir_all(copy.join("oracles/specs")).unwrap();
    let spec = json!({ "module": manifest["id"], "cases": [{ "entry": "silent.mjs" }] });
    fs::write(copy.join("oracles/specs/main.json"), spec.to_string()).unwrap();
    let (verdict, report) = by_command(&copy);
    assert_eq!(verdict, ("PASS".to_owned(), None), "{report}");
    assert!(report[0]["warnings"][0].as_str().unwrap().contains("LUMIO_OUTPUT"), "{report}");
}

/// A package of the npm registry becomes a module by a manifest, an entry and a case: nothing of it
/// is changed.
#[test]
fn a_published_npm_package_ships_under_a_manifest() {
    if std::env::var_os("LUMIO_LONG").is_none() {
        eprintln!("skipped: packages are only fetched with LUMIO_LONG=1");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("text.slug");
    fs::create_dir_all(module.join("oracles/specs")).unwrap();
    let put = |path: &str, content: &str| fs::write(module.join(path), content).unwrap();
    put("package.json", r#"{"name":"text.slug","version":"1.0.0","private":true}"#);
    let installed = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--no-bin-links", "--ignore-scripts"])
        .arg("slugify@1.6.6")
        .current_dir(&module)
        .output();
    if !installed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: the package could not be fetched");
        return;
    }
    let manifest = json!({
        "id": "text.slug", "version": "1.0.0", "summary": "Makes a slug of a title.",
        "entry": "main.mjs", "provides": ["SlugPort@1"], "tests": ["script:test.mjs"],
        "invariants": ["The same title has the same slug."],
        "evidence": [{ "kind": "test", "file": "test.mjs" }],
    });
    put("module.json", &manifest.to_string());
    put(
        "main.mjs",
        "import { readFileSync, writeFileSync } from 'node:fs';
        import slugify from 'slugify';
        const { title = 'Some Title!' } = JSON.parse(readFileSync(process.env.LUMIO_INPUT));
        writeFileSync(process.env.LUMIO_OUTPUT + '/slug.txt', slugify(title, { lower: true }));",
    );
    put(
        "test.mjs",
        "import assert from 'node:assert'; import slugify from 'slugify';
        assert.equal(slugify('Ünïcode & more'), 'Unicode-and-more');",
    );
    let spec = json!({ "module": "text.slug", "cases": [{ "entry": "main.mjs" }] });
    put("oracles/specs/main.json", &spec.to_string());
    let (verdict, report) = by_command(&module);
    assert_eq!(verdict, ("PASS".to_owned(), None), "{report}");
    assert_eq!(report[0]["cases"][0]["outputs"], 1, "{report}");
}
