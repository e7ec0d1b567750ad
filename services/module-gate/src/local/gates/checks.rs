//! The checks of a gate that start nothing: what a module says of itself against the files it
//! brings.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::local::gates::{Failure, Warning};
use crate::module::document::inside;
use crate::module::manifest::Manifest;

/// Largest source file that is looked into, in bytes.
const MAX_SOURCE: u64 = 1 << 20;
const SOURCES: [&str; 3] = [".mjs", ".js", ".cjs"];

/// What every gate demands of a manifest beside its schema.
pub(super) fn requirements(manifest: &Manifest, shipping: bool) -> Vec<Failure> {
    let missing = [
        ("tests", manifest.tests.is_empty(), true),
        ("invariants", manifest.invariants.is_empty(), true),
        ("evidence", manifest.evidence.is_empty(), shipping),
    ];
    missing
        .into_iter()
        .filter(|(_, empty, demanded)| *empty && *demanded)
        .map(|(member, ..)| {
            let error = format!("module.json: /{member}: expected at least one entry");
            Failure::new("E_REQUIRE_UNSAT", Some(&manifest.id), error)
        })
        .collect()
}

/// Imports that lead out of the module. It runs alone, so that they would find nothing.
pub(super) fn lint(manifest: &Manifest, root: &Path, files: &[String]) -> Vec<Failure> {
    let mut failures = Vec::new();
    for file in files.iter().filter(|file| SOURCES.iter().any(|suffix| file.ends_with(suffix))) {
        // A module's own dependencies are others' code, which resolves itself.
        if file.contains("node_modules/") {
            continue;
        }
        let small = fs::metadata(root.join(file)).is_ok_and(|found| found.len() <= MAX_SOURCE);
        let Some(text) = small.then(|| fs::read_to_string(root.join(file)).ok()).flatten() else {
            continue;
        };
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in text.lines().enumerate() {
            for specifier in imports(line).filter(|specifier| specifier.starts_with('.')) {
                if inside(folder, specifier).is_none() {
                    let error = format!(
                        "{file}:{}: the import {specifier:?} leads out of the module",
                        number + 1
                    );
                    failures.push(Failure {
                        file: Some(file.clone()),
                        line: u32::try_from(number + 1).ok(),
                        ..Failure::new("E_LINT", Some(&manifest.id), error)
                    });
                }
            }
        }
    }
    failures
}

/// The specifiers that a line imports, where the line begins as an import or ends one.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    let line = line.trim_start();
    let is_import = ["import ", "import{", "import'", "import\"", "export ", "} from "]
        .iter()
        .any(|word| line.starts_with(word));
    let quoted = |text: &'_ str| {
        let quote = text.chars().next().filter(|letter| "'\"".contains(*letter))?;
        text[1..].split(quote).next().map(str::len)
    };
    let mut found = Vec::new();
    let mut take = |rest: &'_ str, offset: usize| {
        let trimmed = rest.trim_start();
        if let Some(length) = quoted(trimmed) {
            let start = offset + rest.len() - trimmed.len() + 1;
            found.push((start, start + length));
        }
    };
    for word in ["import(", "require("] {
        for (at, _) in line.match_indices(word) {
            take(&line[at + word.len()..], at + word.len());
        }
    }
    if is_import {
        if let Some(rest) = line.strip_prefix("import").filter(|rest| !rest.starts_with('(')) {
            take(rest, "import".len());
        }
        if let Some(at) = line.rfind("from") {
            take(&line[at + 4..], at + 4);
        }
    }
    found.into_iter().filter_map(move |(from, to)| line.get(from..to))
}

/// Ports whose export is not where the manifest says it is.
pub(super) fn ports(manifest: &Manifest, root: &Path) -> (Vec<Failure>, Vec<Warning>) {
    let (mut failures, mut warnings) = (Vec::new(), Vec::new());
    for (port, export) in &manifest.port_exports {
        let fails = |error: String| Failure {
            file: Some(export.file.clone()),
            ..Failure::new("E_PORT_CONFORMANCE", Some(&manifest.id), format!("{port}: {error}"))
        };
        let path = inside("", &export.file).filter(|path| !path.is_empty());
        let text = path.and_then(|path| fs::read_to_string(root.join(path)).ok());
        match text {
            None => {
                failures.push(fails(format!("the file {:?} is not in the module", export.file)))
            }
            Some(text) if !exports(&text, &export.export) => {
                failures
                    .push(fails(format!("{:?} does not export {:?}", export.file, export.export)));
            }
            Some(_) => {}
        }
        if !manifest.provides.contains(port) {
            failures.push(fails("the module does not provide this port".to_owned()));
        }
    }
    let without =
        manifest.provides.iter().filter(|port| !manifest.port_exports.contains_key(*port));
    let without: Vec<_> = without.cloned().collect();
    if !without.is_empty() {
        warnings.push(Warning {
            code: "WARN_PORT_EXPORTS_MISSING",
            module: Some(manifest.id.clone()),
            message: format!("port_exports names no file for {}", without.join(", ")),
        });
    }
    (failures, warnings)
}

/// Whether a source exports a name, by the forms in which that is written.
fn exports(text: &str, name: &str) -> bool {
    let is_name = |word: &str| word == name;
    let words = |line: &str| {
        line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '$'))
            .any(is_name)
    };
    let mut in_list = false;
    text.lines().any(|line| {
        let line = line.trim_start();
        in_list |= line.starts_with("export {")
            || line.starts_with("export{")
            || line.starts_with("module.exports");
        let hit =
            (in_list || line.starts_with("export ") || line.starts_with("exports.")) && words(line);
        in_list &= !line.contains('}');
        hit
    }) || (name == "default" && text.contains("export default"))
}

/// Packs a module that is an npm package, without running any script of it. Answers the name of the
/// tarball.
pub(super) fn npm_pack(
    npm: &Path,
    path: &str,
    root: &Path,
    home: &Path,
) -> anyhow::Result<Option<String>> {
    if !root.join("package.json").is_file() {
        return Ok(None);
    }
    let output = Command::new(npm)
        .args(["pack", "--dry-run", "--ignore-scripts", "--json", "--offline"])
        .current_dir(root)
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", npm.display()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!(
            "npm pack ended with {}: {}",
            output.status,
            text.trim().chars().take(500).collect::<String>()
        );
    }
    let packed: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("npm pack answered no JSON")?;
    Ok(Some(packed[0]["filename"].as_str().unwrap_or("a package without a name").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_of_every_form_are_seen_and_other_words_are_not() {
        let all = |line| imports(line).collect::<Vec<_>>();
        assert_eq!(all("import x from '../a.mjs';"), ["../a.mjs"]);
        assert_eq!(all("import './b.mjs'"), ["./b.mjs"]);
        assert_eq!(all("export { y } from \"./c.mjs\";"), ["./c.mjs"]);
        assert_eq!(
            all("const z = await import('../d.mjs'), w = require('../e.cjs');"),
            ["../d.mjs", "../e.cjs"]
        );
        assert!(all("// the word from '../f'").is_empty());
        assert!(all("console.log('import');").is_empty());
    }

    #[test]
    fn exports_are_found_by_their_name() {
        for text in [
            "export function f() {}",
            "export const f = 1",
            "const f = 1;\nexport {\n  g,\n  f,\n};",
            "exports.f = 1",
        ] {
            assert!(exports(text, "f"), "{text}");
        }
        assert!(!exports("function f() {}\nexport const g = f2;", "f"));
    }
}
