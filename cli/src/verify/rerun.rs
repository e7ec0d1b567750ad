//! Executing the module again under the guard. A deterministic module leaves the same bytes for the
//! same input and seed, on any machine: then what was bought does not rest on the attester's word.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use seal::EXECUTION_FILE;
use serde_json::Value;
use tokio::process::Command;
use wire::statement::{ExecutionStatement, Verdict};
use wire::{Digest, dsse, egress};

use super::bundle::Bundle;
use super::link::{Link, LinkState, Name, Proof};
use crate::error::{CliError, Result};

/// The program that executes modules under the guard.
const PROGRAM: &str = "module-gate";
/// What the program needs of this command's environment: where programs and temporary files are.
const KEPT: [&str; 6] =
    ["PATH", "HOME", "TMPDIR", "LANG", "MODULE_GATE_NODE", "MODULE_GATE_SCRATCH"];
/// A second execution may take longer than the first: another machine, or a busy one.
const PATIENCE: u64 = 10;
/// Longest wall time that the program takes, in milliseconds.
const LONGEST_MS: u64 = 86_400_000;

/// Executes the bundle's module again and compares what it leaves with what was sealed.
///
/// # Errors
///
/// [`CliError::Usage`] when the program cannot be started; [`CliError::Unknown`] when files cannot
/// be read or written.
pub async fn link(bundle: &Bundle, proof: &Proof, program: Option<&Path>) -> Result<Link> {
    // Module, input and seed must be those that were paid for, or the comparison says nothing.
    let needed = [Name::Statement, Name::Files, Name::Module, Name::Request];
    let lacks = needed
        .iter()
        .find(|name| !matches!(proof.state(**name), Some(LinkState::Ok | LinkState::Skipped)));
    if let Some(name) = lacks {
        let text = format!("not executed again, since the link {} does not hold", name.as_str());
        return Ok(Link::unknown(Name::Rerun, text));
    }
    let Some(envelope) = bundle.read(&format!("pack/{EXECUTION_FILE}"))? else {
        return Ok(Link::skipped(Name::Rerun, "there is no statement of an execution to repeat"));
    };

    // The link `statement` holds, so that the payload is the one that was signed.
    let payload = dsse::Envelope::parse(&envelope).ok().and_then(|envelope| envelope.unverified());
    let statement = payload.and_then(|payload| ExecutionStatement::parse(&payload).ok());
    let Some(execution) = statement.map(ExecutionStatement::into_predicate) else {
        return Ok(Link::unknown(Name::Rerun, "the statement cannot be read"));
    };
    if execution.verdict != Verdict::Pass {
        return Ok(Link::skipped(Name::Rerun, "a failed run has no outputs to compare"));
    }
    let Some(input) = &bundle.claim.input else {
        return Ok(Link::unknown(Name::Rerun, "the bundle has no input"));
    };
    let asked = execution
        .egress
        .as_ref()
        .map_or(0, |egress| egress.upstreams.iter().map(|upstream| upstream.calls).sum::<u64>());
    if asked > 0 {
        let text = format!(
            "not executed again: the module made calls to services ({asked}), whose answers may \
             differ"
        );
        return Ok(Link::unknown(Name::Rerun, text));
    }

    let folder = tempfile::tempdir()
        .map_err(|error| CliError::unknown("no temporary folder can be made", error))?;
    let (file, out) = (folder.path().join("input.json"), folder.path().join("out"));
    let module = folder.path().join("module");
    lay_out(bundle, &module)?;

    // The gates execute on the canonical text, which is what the statement's digest is of.
    let canonical = wire::json::exact::canonical(input.as_str())
        .map_err(|flaw| CliError::bad(format!("the bundle's input: {}", flaw.message)))?;
    std::fs::write(&file, canonical.text)
        .map_err(|error| CliError::unknown("the input cannot be written", error))?;
    let limit = execution.budgets.runtime_ms.saturating_mul(PATIENCE).clamp(60_000, LONGEST_MS);
    let ran = run(program, &module, &file, &out, execution.seed, limit).await?;
    let Ran { code, report, words } = ran;
    if code != Some(0) {
        let verdict = report.get("verdict").and_then(Value::as_str).unwrap_or("no verdict");
        let text = format!("the module ran again and came to {verdict}: {words}");
        return Ok(match code {
            Some(1) => Link::broken(Name::Rerun, text),
            _ => Link::unknown(Name::Rerun, text),
        });
    }
    let (sealed, left) = (contents(&bundle.pack().join(seal::OUTPUTS_DIR))?, contents(&out)?);
    // What the service wrote about calls is judged by the link `calls`.
    let names = sealed.keys().chain(left.keys()).filter(|name| !name.starts_with(egress::FOLDER));
    let differing = names.into_iter().find(|name| sealed.get(*name) != left.get(*name));
    Ok(match differing {
        None => Link::ok(
            Name::Rerun,
            format!(
                "executed again under the guard: {} outputs, byte for byte the same",
                left.len()
            ),
        ),
        Some(name) => Link::broken(
            Name::Rerun,
            format!("executed again, the output {name} is not what was sealed"),
        ),
    })
}

/// The module's files as its tree's document has them: a bundle's folder may have lost which of them
/// are executable. The link `module` holds, so that the document is the one that was paid for.
fn lay_out(bundle: &Bundle, into: &Path) -> Result<()> {
    let document = bundle.read(&format!("module/{}", seal::TREE_FILE))?;
    let document = document.ok_or_else(|| CliError::bad("the bundle has no module"))?;
    let tree = seal::Tree::parse(&document, &seal::Limits::MODULE)
        .map_err(|error| CliError::bad(wire::causes(&error)))?;
    let failed = |error| CliError::unknown("the module cannot be laid out", error);
    for file in tree.files() {
        let (from, to) = (bundle.module().join("tree").join(&file.path), into.join(&file.path));
        std::fs::create_dir_all(to.parent().unwrap_or(into)).map_err(failed)?;
        std::fs::copy(from, &to).map_err(failed)?;
        let mode = if file.executable { 0o755 } else { 0o644 };
        std::fs::set_permissions(&to, Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

/// What the program answered.
struct Ran {
    code: Option<i32>,
    report: Value,
    words: String,
}

async fn run(
    program: Option<&Path>,
    module: &Path,
    input: &Path,
    out: &Path,
    seed: u64,
    limit_ms: u64,
) -> Result<Ran> {
    let program = program.map_or_else(found, Path::to_owned);
    let mut command = Command::new(&program);
    command.arg("run").arg("--module").arg(module);
    command.arg("--input").arg(input).arg("--out").arg(out).args(["--output", "json"]);
    command.args(["--seed", &seed.to_string(), "--timeout-ms", &limit_ms.to_string()]);

    // The user who verifies may be an operator too: none of their settings may reach services, or
    // spend a credential, in the module's name.
    command.env_clear().envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));

    // If this command is stopped the module must not run on.
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| {
        CliError::usage(format!(
            "--rerun needs {PROGRAM}, and {} cannot be started: {error}; name it with \
             --module-gate",
            program.display()
        ))
    })?;

    // Without JSON the exit code and standard error say what happened.
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let reason = report.get("reason").or_else(|| report.get("code")).and_then(Value::as_str);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let words = reason.unwrap_or_else(|| stderr.trim()).chars().take(400).collect();
    Ok(Ran { code: output.status.code(), report, words })
}

/// The program beside this one, as an installation has them, else by the search path.
fn found() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

/// Every file below `root` with its digest.
fn contents(root: &Path) -> Result<BTreeMap<String, Digest>> {
    let failed = |error: &dyn std::fmt::Display| CliError::unknown("outputs cannot be read", error);
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).follow_links(false) {
        let entry = entry.map_err(|error| failed(&error))?;
        if entry.file_type().is_dir() {
            continue;
        }
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let bytes = std::fs::read(entry.path()).map_err(|error| failed(&error))?;
        files.insert(path.display().to_string(), Digest::of(&bytes));
    }
    Ok(files)
}
