//! The checks that start nothing: what a module says of itself against the files it brings. The
//! service and the local gates make the same, so that both come to the same verdict (M4).

use std::fs;
use std::path::Path;

use wire::statement::Code;

use crate::judging::finding::Finding;
use crate::module::document::inside;
use crate::module::manifest::Manifest;

/// Largest source file that is looked into, in bytes.
const MAX_SOURCE: u64 = 1 << 20;
const SOURCES: [&str; 3] = [".mjs", ".js", ".cjs"];

/// What a check holds against a module, and where.
#[derive(Debug, Clone)]
pub struct Flaw {
    /// The code, and the cause in words.
    pub finding: Finding,
    /// The file it is about, relative to the module.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
}

impl Flaw {
    fn new(code: Code, reason: impl AsRef<str>) -> Self {
        Self { finding: Finding::new(code, reason), file: None, line: None }
    }
}

/// All checks of a module that is to be shipped, in the order of the phases.
pub fn all(manifest: &Manifest, root: &Path, files: &[String]) -> Vec<Flaw> {
    let mut flaws = requirements(manifest, true);
    flaws.extend(lint(root, files));
    flaws.extend(ports(manifest, root));
    flaws
}

/// What every gate demands of a manifest beside its schema.
pub fn requirements(manifest: &Manifest, shipping: bool) -> Vec<Flaw> {
    let missing = [
        ("tests", manifest.tests.is_empty(), true),
        ("invariants", manifest.invariants.is_empty(), true),
        ("evidence", manifest.evidence.is_empty(), shipping),
    ];
    missing
        .into_iter()
        .filter(|(_, empty, demanded)| *empty && *demanded)
        .map(|(member, ..)| {
            let reason = format!("module.json: /{member}: expected at least one entry");
            Flaw::new(Code::RequireUnsat, reason)
        })
        .collect()
}

/// Imports that lead out of the module. It runs alone, so that they would find nothing.
pub fn lint(root: &Path, files: &[String]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for file in files.iter().filter(|file| SOURCES.iter().any(|suffix| file.ends_with(suffix))) {
        // A module's own dependencies are others' code, which resolves itself.
        if file.contains("node_modules/") {
            continue;
        }

        // A larger file runs anyway; only its imports are not looked at.
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
                    flaws.push(Flaw {
                        file: Some(file.clone()),
                        line: u32::try_from(number + 1).ok(),
                        ..Flaw::new(Code::Lint, error)
                    });
                }
            }
        }
    }
    flaws
}

/// The specifiers that a line imports, where the line begins as an import or ends one.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    let line = code_of(line);
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

/// The line without what is a comment at its beginning or end.
fn code_of(line: &str) -> &str {
    let line = line.trim_start();
    if line.starts_with("//") || line.starts_with("/*") || line.starts_with("* ") {
        return "";
    }
    line.find(" //").map_or(line, |at| &line[..at])
}

/// Ports whose export is not where the manifest says it is.
pub fn ports(manifest: &Manifest, root: &Path) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (port, export) in &manifest.port_exports {
        let fails = |error: String| Flaw {
            file: Some(export.file.clone()),
            ..Flaw::new(Code::PortConformance, format!("{port}: {error}"))
        };
        let path = inside("", &export.file).filter(|path| !path.is_empty());
        let text = path.and_then(|path| fs::read_to_string(root.join(path)).ok());
        match text {
            None => flaws.push(fails(format!("the file {:?} is not in the module", export.file))),
            Some(text) if !exports(&text, &export.export) => {
                flaws.push(fails(format!("{:?} does not export {:?}", export.file, export.export)));
            }
            Some(_) => {}
        }
        if !manifest.provides.contains(port) {
            flaws.push(fails("the module does not provide this port".to_owned()));
        }
    }
    flaws
}

/// Ports of a module for which its manifest names no file.
pub fn ports_without_export(manifest: &Manifest) -> Vec<String> {
    let provided = manifest.provides.iter();
    provided.filter(|port| !manifest.port_exports.contains_key(*port)).cloned().collect()
}

/// Whether a source exports a name, by the forms in which that is written.
fn exports(text: &str, name: &str) -> bool {
    let is_name = |word: &str| word == name;
    let words = |line: &str| {
        line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '$'))
            .any(is_name)
    };

    // A list of exports may go over several lines, up to its brace.
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
