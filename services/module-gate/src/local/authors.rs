//! What an author needs while a module is written: a beginning, one run, the smallest declaration
//! that passes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use egress::replay::Recorded;
use guard::{Capability, Category, Charge};
use serde::Serialize;
use serde_json::json;
use wire::digest::Digest;
use wire::egress::Egress;
use wire::id::{AttemptKey, RunId};
use wire::statement::{Code, Verdict};
use wire::usage::Usage;

use crate::judging::attempt::{self, WallLimit};
use crate::judging::finding::{Attributed, Finding};
use crate::judging::judge::{self, Judgement};
use crate::local::modules::{Local, copy_alone};
use crate::module::manifest;
use crate::request::{MAX_INPUT_BYTES, Request};
use crate::sandbox::outlet::Way;
use crate::upstreams::Allowed;

const MAIN: &str = r#"// Reads one input, leaves one output. Time, randomness and identity come from the input and
// LUMIO_SEED only.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { greet } from './lib/greet.mjs';

const input = JSON.parse(readFileSync(process.env.LUMIO_INPUT, 'utf8'));
const output = { greeting: greet(input.name) };
writeFileSync(join(process.env.LUMIO_OUTPUT, 'greeting.json'), JSON.stringify(output) + '\n');
console.log(output.greeting);
"#;
const LIBRARY: &str = r#"/** A greeting for a name; for the world where there is none. */
export function greet(name) {
  return `Hello, ${typeof name === 'string' && name !== '' ? name : 'world'}!`;
}
"#;
const TEST: &str = r#"import assert from 'node:assert/strict';
import { greet } from '../lib/greet.mjs';

assert.equal(greet('Ada'), 'Hello, Ada!');
assert.equal(greet(), 'Hello, world!');
"#;

/// Makes the folder of a new module below `into`. Answers where it lies.
///
/// # Errors
/// The id is invalid, or the folder is there already.
pub fn scaffold(id: &str, into: &Path) -> anyhow::Result<PathBuf> {
    let manifest = json!({
        "id": id,
        "version": "0.1.0",
        "summary": "Greets a person by name.",
        "entry": "main.mjs",
        "provides": ["GreetingPort@1"],
        "port_exports": { "GreetingPort@1": { "file": "lib/greet.mjs", "export": "greet" } },
        "side_effects": [],
        "invariants": ["The same input gives the same greeting."],
        "tests": ["script:tests/greet.test.mjs"],
        "evidence": [{ "kind": "test", "file": "tests/greet.test.mjs" }],
    });
    let manifest = serde_json::to_string_pretty(&manifest)? + "\n";

    // What is written has to be a document that ships.
    manifest::parse(manifest.as_bytes())?;
    let spec = json!({
        "module": id,
        "cases": [{
            "name": "greets",
            "entry": "main.mjs",
            "repeat": 3,
            "env": { "LUMIO_INPUT": "oracles/fixtures/ada.json" },
        }],
    });
    let readme = format!(
        "# {id}\n\nGreets a person by name.\n\n    \
         module-gate run --module . --input oracles/fixtures/ada.json\n    \
         module-gate gates shipping --module .\n"
    );

    let folder = into.join(id);
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;

    // Fails if the folder is there already: nothing of an author's is overwritten.
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let files = [
        ("module.json", manifest),
        ("main.mjs", MAIN.to_owned()),
        ("lib/greet.mjs", LIBRARY.to_owned()),
        ("tests/greet.test.mjs", TEST.to_owned()),
        ("oracles/specs/greets.json", serde_json::to_string_pretty(&spec)? + "\n"),
        ("oracles/fixtures/ada.json", "{\"name\":\"Ada\"}\n".to_owned()),
        ("README.md", readme),
    ];
    for (path, content) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        fs::write(&path, content)?;
    }
    Ok(folder)
}

/// One run of a module's entry.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The module's folder.
    pub folder: &'a Path,
    /// The input as it was given.
    pub input: &'a [u8],
    /// What `LUMIO_SEED` says.
    pub seed: u64,
    /// Where to put what it leaves.
    pub out: Option<&'a Path>,
    /// Longest wall time in milliseconds.
    pub timeout_ms: u64,
    /// Calls and tokens that it may use.
    pub budgets: Usage,
    /// What of services is allowed.
    pub allowed: Arc<Allowed>,
    /// Where the answers of its services come from.
    pub way: Way,
    /// Where to put a recording of them.
    pub record: Option<&'a Path>,
}

/// What a run of the entry came to.
#[derive(Debug, Serialize)]
pub struct EntryReport {
    /// PASS, FAIL or INCONCLUSIVE.
    pub verdict: Verdict,
    /// Why it is no PASS.
    pub code: Option<Code>,
    /// In words.
    pub reason: Option<String>,
    /// Wall time in milliseconds.
    pub runtime_ms: u64,
    /// Calls and tokens that a run would be charged for.
    pub usage: Usage,
    /// What it asked of services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// What it left.
    pub outputs: Vec<EntryOutput>,
    /// What it did or tried.
    pub effects: Vec<Attributed>,
}

/// One file that was left.
#[derive(Debug, Serialize)]
pub struct EntryOutput {
    /// Below `LUMIO_OUTPUT`.
    pub path: String,
    /// In bytes.
    pub length: u64,
    /// Of its content.
    pub sha256: Digest,
    /// The beginning of a text, for people.
    pub preview: Option<String>,
}

/// Runs the entry once, as `Execute` would, without any service.
///
/// # Errors
/// The input is no JSON or too large; nothing could be found out about the module.
pub fn run_entry(local: &Local<'_>, entry: &Entry<'_>) -> anyhow::Result<EntryReport> {
    let value: serde_json::Value =
        serde_json::from_slice(entry.input).context("--input: expected JSON")?;
    let input = wire::json::canonical(&value).context("--input")?;
    if input.len() > MAX_INPUT_BYTES {
        bail!("--input: expected at most {MAX_INPUT_BYTES} bytes of canonical JSON");
    }
    if let Some(out) = entry.out
        && out.exists()
        && fs::read_dir(out)?.next().is_some()
    {
        bail!("--out {}: expected an empty folder, or none", out.display());
    }

    let workspace = local.workspace()?;
    let tree = copy_alone(entry.folder, &workspace, &local.sandbox.tree_limits)?;
    let run: RunId = chassis::clock::new_uuid().to_string().parse()?;
    let request = Request {
        key: AttemptKey::new(run, 1),
        agent: None,
        vault_run_id: None,
        user: "local".to_owned(),
        workflow_id: "local".to_owned(),
        module: tree.digest(),
        input_digest: Digest::of(&input),
        input,
        seed: entry.seed,
        budgets: Usage { runtime_ms: entry.timeout_ms, ..entry.budgets },
        wall_limit_ms: entry.timeout_ms,
        deadline_unix: u64::MAX,
        attesters: Vec::new(),
    };
    let limit = WallLimit::Operator(entry.timeout_ms);
    let limit = (limit, entry.way);
    let mut sandbox = local.sandbox.clone();
    sandbox.allowed = Arc::clone(&entry.allowed);
    let done = attempt::run(&sandbox, &workspace, &request, limit, Arc::clone(&local.cancel))?;

    // What was cancelled leaves nothing in the author's folders.
    local.check_complete()?;
    if let Some(path) = entry.record {
        write_recording(path, &done.recorded)?;
    }

    if let Some(out) = entry.out {
        for output in &done.outputs {
            let target = out.join(&output.path);
            fs::create_dir_all(target.parent().unwrap_or(out))?;
            fs::write(target, &output.content)?;
        }
    }
    let outputs = done.outputs.into_iter().map(|output| EntryOutput {
        preview: preview(&output.content),
        path: output.path,
        length: output.length,
        sha256: output.sha256,
    });
    Ok(EntryReport {
        verdict: done.finding.as_ref().map_or(Verdict::Pass, Finding::verdict),
        code: done.finding.as_ref().map(|finding| finding.code),
        reason: done.finding.map(|finding| finding.reason),
        runtime_ms: done.wall_ms,
        usage: Usage { runtime_ms: done.wall_ms, ..done.used },
        egress: done.egress,
        outputs: outputs.collect(),
        effects: done.observations.attributed().to_vec(),
    })
}

/// Writes answers as lines of a recording, in place of what was there.
fn write_recording(path: &Path, recorded: &[Recorded]) -> anyhow::Result<()> {
    let mut text = String::new();
    for one in recorded {
        text.push_str(&serde_json::to_string(one)?);
        text.push('\n');
    }
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("--record: cannot write {}", path.display()))
}

/// The first line of a text, escaped and cut.
fn preview(content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?;
    Some(text.lines().next()?.escape_debug().take(200).collect())
}

/// The result of a run for people.
pub fn run_text(report: &EntryReport) -> String {
    let code = report.code.map_or_else(String::new, |code| format!(" {code}"));
    let mut lines = vec![format!("{}{code} after {} ms", report.verdict, report.runtime_ms)];
    lines.extend(report.reason.iter().map(|reason| format!("  reason   {reason}")));
    for upstream in report.egress.iter().flat_map(|egress| &egress.upstreams) {
        lines.push(format!(
            "  upstream {}: {} calls, {} refused, {} + {} tokens, {} bytes sent, {} received, {} \
             ms{}",
            upstream.name,
            upstream.calls,
            upstream.refused,
            upstream.llm_in,
            upstream.llm_out,
            upstream.request_bytes,
            upstream.response_bytes,
            upstream.wall_ms,
            if upstream.inconclusive > 0 {
                format!(", {} without a certain usage", upstream.inconclusive)
            } else {
                String::new()
            }
        ));
    }
    for output in &report.outputs {
        let preview = output.preview.as_ref().map_or_else(String::new, |text| format!("  {text}"));
        lines.push(format!(
            "  output   {} {} bytes {}{preview}",
            output.path, output.length, output.sha256
        ));
    }
    for one in report.effects.iter().filter(|one| one.is_charged()) {
        lines.push(format!(
            "  effect   {} {} {}",
            crate::judging::finding::name(one.effect.category),
            one.effect.operation,
            one.effect.target
        ));
    }
    lines.join("\n") + "\n"
}

/// What a module should declare.
#[derive(Debug, Serialize)]
pub struct Advice {
    /// The module.
    pub module: String,
    /// What it declares.
    pub declared: Vec<String>,
    /// The least that would have passed.
    pub smallest: Vec<String>,
    /// Declared and never seen.
    pub unused: Vec<String>,
    /// Seen and not declared.
    pub missing: Vec<String>,
    /// Tests and cases that were run to see it.
    pub runs: usize,
    /// What no declaration allows.
    pub forbidden: Vec<String>,
    /// Other words for its author.
    pub notes: Vec<String>,
}

impl Advice {
    /// Whether there is nothing to change.
    pub fn is_right(&self) -> bool {
        self.missing.is_empty() && self.unused.is_empty() && self.forbidden.is_empty()
    }
}

/// Runs everything that the module brings with every capability declared, and sees which it uses.
///
/// # Errors
/// Nothing could be found out about the module.
pub fn advise(local: &Local<'_>, folder: &Path) -> anyhow::Result<Advice> {
    let workspace = local.workspace()?;
    let tree = copy_alone(folder, &workspace, &local.sandbox.tree_limits)?;
    let candidate = judge::read(&workspace.pristine(), &tree)
        .map_err(|finding| anyhow::anyhow!("{}: {}", finding.code, finding.reason))?;
    let mut manifest = candidate.manifest;
    let declared = std::mem::take(&mut manifest.side_effects);

    // With everything declared nothing is refused, so that all of it is seen.
    manifest.side_effects =
        Capability::ALL.iter().map(|capability| capability.name().to_owned()).collect();

    let runner = local.runner(&workspace, &manifest);
    let judgement: Judgement = judge::judge(&runner, &candidate.specs, &tree, local.reporter.0)?;
    local.check_complete()?;
    let seen = |category: Category| {
        judgement.observations.counts().get(&category).is_some_and(|count| *count > 0)
    };
    let mut smallest = BTreeSet::new();
    for (category, capability) in [
        (Category::FsWrite, Capability::FsWrite),
        (Category::ProcessShell, Capability::ProcessShell),
        (Category::Network, Capability::Network),
    ] {
        if seen(category) {
            smallest.insert(capability);
        }
    }

    // Starting any program includes git.
    if seen(Category::ProcessGit) && !seen(Category::ProcessShell) {
        smallest.insert(Capability::ProcessGit);
    }
    let smallest: Vec<String> =
        smallest.into_iter().map(|capability| capability.name().to_owned()).collect();

    let mut notes = Vec::new();
    if manifest.entry.is_none() {
        notes.push(
            "there is no entry: the module can be shipped, but no run can execute it".to_owned(),
        );
    } else if !judgement.cases.iter().any(|case| case.finding.is_none()) {
        notes.push("no oracle case passes, so nothing shows that a run would".to_owned());
    }
    let forbidden: BTreeSet<String> = judgement
        .observations
        .attributed()
        .iter()
        .filter(|one| one.effect.charge == Charge::Outside)
        .map(|one| format!("{}: {} {}", one.start, one.effect.operation, one.effect.target))
        .collect();
    Ok(Advice {
        module: manifest.id.clone(),
        // Reading is never charged in its own folder, so the word alone says nothing.
        unused: declared
            .iter()
            .filter(|word| *word != "FS:read" && !smallest.contains(word))
            .cloned()
            .collect(),
        missing: smallest.iter().filter(|word| !declared.contains(word)).cloned().collect(),
        declared,
        smallest,
        runs: judgement.test_results.len() + judgement.cases.len(),
        forbidden: forbidden.into_iter().collect(),
        notes,
    })
}

/// Advice for people.
pub fn advice_text(advice: &Advice) -> String {
    let list = |words: &[String]| serde_json::to_string(words).unwrap_or_default();
    let mut lines = vec![format!("{}: seen in {} tests and cases", advice.module, advice.runs)];
    lines.push(format!("  smallest \"side_effects\": {}", list(&advice.smallest)));
    if !advice.missing.is_empty() {
        lines.push(format!("  missing  {}: seen, not declared", advice.missing.join(", ")));
    }
    if !advice.unused.is_empty() {
        lines.push(format!("  unused   {}: declared, never seen", advice.unused.join(", ")));
    }
    lines.extend(
        advice
            .forbidden
            .iter()
            .map(|effect| format!("  outside  {effect}: no declaration allows it")),
    );
    lines.extend(advice.notes.iter().map(|note| format!("  note     {note}")));
    lines.join("\n") + "\n"
}
