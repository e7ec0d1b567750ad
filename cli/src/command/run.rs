//! `lumio run` and `lumio watch`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use stellar::amount::Unit;
use wire::view::{AttemptView, Meters, OutputView, OutputsView, ReceiptView, UpstreamView};
use wire::{Digest, RunView, Usage};

use crate::calls::table_of_services;
use crate::context::Context;
use crate::error::{CliError, Result};
use crate::files;
use crate::gateway::{Gateway, required, segment, text, unexpected};
use crate::output::{Report, table};
use crate::times;
use crate::verify::facts::{CLOCK_SLACK, asked_at};

/// How often a watched run is asked for.
const POLL: Duration = Duration::from_millis(500);
/// How many answers in a row may fail before watching ends.
const PATIENCE: u32 = 20;
/// Most bytes of an input that is sent along with its run (R12).
const LARGEST_SENT_ALONG: u64 = 1024 * 1024;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Run {
    /// Ask for a run
    #[command(after_help = "Examples:\n  lumio run start --user alice --agent 1 --budgets \
            runtime_ms=60000 --input input.json --watch\n  \
                            jq .order orders.json | lumio run start --user alice --agent 1 \
                                --budgets runtime_ms=60000 --input -\n  \
                            lumio run start --user G… --agent 1 --budgets llm_in=1000 --seed 7 \
                                --idempotency-key order-12")]
    Start(Box<Start>),
    /// One run as the gateway shows it
    #[command(after_help = "Example:\n  lumio run show 0197e4a0-…")]
    Show {
        /// The run's id
        id: String,
    },
    /// Runs, oldest first
    #[command(
        after_help = "Examples:\n  lumio run list --limit 20\n  lumio run list --status failed"
    )]
    List {
        /// At most this many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Only runs in this status
        #[arg(long, value_parser = crate::parse::status)]
        status: Option<String>,
    },
    /// What a run delivered: its files, listed or brought here
    #[command(after_help = "\
Examples:
  lumio run outputs 0197e4a0-…
  lumio run outputs 0197e4a0-… --to results
  lumio run outputs 0197e4a0-… --attempt 1

Each file is compared with the digest that the gateway names; that it is what you paid for is
proven by: lumio verify")]
    Outputs(Outputs),
    /// Call a run off; possible until its module starts, and its escrow goes back
    #[command(after_help = "Example:\n  lumio run cancel 0197e4a0-…")]
    Cancel {
        /// The run's id
        id: String,
    },
    /// Queue a failed run again as its next attempt
    #[command(after_help = "Example:\n  lumio run retry 0197e4a0-…")]
    Retry {
        /// The run's id
        id: String,
    },
}

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct Start {
    /// Who pays: name of a key, or address
    #[arg(long)]
    user: String,
    /// The agent's number
    #[arg(long)]
    agent: u32,
    /// The rate card's version [default: the agent's latest]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate_version: Option<u32>,
    /// The most that may be used: llm_in=…,llm_out=…,http_calls=…,runtime_ms=…
    #[arg(long, value_parser = crate::parse::budgets)]
    budgets: Usage,
    /// File with the module's input, JSON of at most 8 MiB; - is standard input [default: {}]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Fixes the run's randomness; at most 2^53 - 1
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=crate::parse::LARGEST_NUMBER))]
    seed: Option<u64>,
    /// Name of the workflow
    #[arg(long, value_parser = crate::parse::name)]
    workflow: Option<String>,
    /// A word to find the run by
    #[arg(long, value_parser = crate::parse::name)]
    label: Option<String>,
    /// Do not open the run before this time, such as 2026-12-01T08:00:00Z; at most 30 days ahead
    #[arg(long, value_name = "TIME", value_parser = crate::parse::moment)]
    start_at: Option<String>,
    /// Which of the runs that wait goes first; they move up with time
    #[arg(long, value_enum)]
    priority: Option<Priority>,
    /// The same key with the same request answers the same run
    #[arg(long, value_name = "KEY", value_parser = crate::parse::idempotency_key)]
    idempotency_key: Option<String>,
    /// Follow the run to its end
    #[arg(long)]
    watch: bool,
}

/// How soon a run has its turn among those that wait.
#[derive(Debug, Clone, Copy, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Priority {
    Low,
    Normal,
    High,
}

/// What a run delivered.
#[derive(Debug, clap::Args)]
pub struct Outputs {
    /// The run's id
    id: String,
    /// Bring the files into this folder; what is there already is not overwritten
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Of this attempt [default: the newest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
}

/// Follow a run to its end, printing each step.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lumio watch 0197e4a0-…\n\nExit codes: 0 finalized, 1 failed or \
        cancelled, 2 the gateway does not answer or time is up"
)]
pub struct Watch {
    /// The run's id
    id: String,
    /// Stop watching after this time, such as 90s or 2h; the run goes on
    #[arg(long, value_name = "SPAN", value_parser = crate::parse::seconds)]
    timeout: Option<u64>,
}

pub(super) async fn run(context: &Context, command: Run) -> Result<Report> {
    let gateway = Gateway::new(context)?;
    match command {
        Run::Start(start) => {
            // The user's own login: only who pays may start a run.
            let user = context.keys.resolve(&start.user)?.to_string();
            let gateway = gateway.as_account(&user);
            let mut body = body(context, &start)?;
            store_if_large(context, &gateway, &mut body).await?;
            let run = gateway.post("/runs", &body, start.idempotency_key.as_deref()).await?;
            let run = known(run)?;
            if let Some(doubt) = doubtful_id(&text(&run, "id"), times::now()) {
                context.steps.say(doubt);
            }
            if !start.watch {
                return Ok(reported(context, run).await);
            }
            follow(context, gateway, &format!("/runs/{}", segment(&text(&run, "id"))?)).await
        }
        Run::Show { id } => {
            let run = gateway.get(&format!("/runs/{}", segment(&id)?)).await?;
            Ok(with_services(reported(context, known(run)?).await))
        }
        Run::Outputs(command) => outputs(context, &gateway, &command).await,
        Run::Cancel { id } => order(context, &gateway, &id, "cancel").await,
        Run::Retry { id } => order(context, &gateway, &id, "retry").await,
        Run::List { limit, status } => {
            let status = status.map(|status| format!("&status={status}")).unwrap_or_default();
            let runs = gateway.get(&format!("/runs?limit={limit}{status}")).await?;
            let list = runs.as_array().ok_or_else(|| unexpected("it is no list of runs"))?;
            list.iter().try_for_each(require_run)?;
            let rows: Vec<_> = list.iter().map(row).collect();
            let text = match rows.is_empty() {
                true => "no runs; start one with: lumio run start".to_owned(),
                false => table(["RUN", "STATUS", "AGENT", "CREATED", "LABEL"], &rows),
            };
            Ok(Report::new(text, runs))
        }
    }
}

/// Has something done about a run, and reports the run.
async fn order(context: &Context, gateway: &Gateway<'_>, id: &str, what: &str) -> Result<Report> {
    let path = format!("/runs/{}/{what}", segment(id)?);
    let run = known(gateway.post(&path, &json!({}), None).await?)?;
    Ok(reported(context, run).await)
}

/// Takes an answer as a run.
fn known(run: Value) -> Result<Value> {
    require_run(&run).map(|()| run)
}

/// Fails unless an answer says what every gateway says of a run, of whatever version it is.
fn require_run(run: &Value) -> Result<()> {
    ["id", "status"].into_iter().try_for_each(|name| required(run, name).map(drop))
}

/// Follows a run to its end.
///
/// # Errors
///
/// [`CliError::Unknown`] when the gateway stops answering or time is up.
pub async fn watch(context: &Context, command: &Watch) -> Result<Report> {
    let path = format!("/runs/{}", segment(&command.id)?);
    let follow = follow(context, Gateway::new(context)?, &path);
    let Some(limit) = command.timeout else { return follow.await };
    match tokio::time::timeout(Duration::from_secs(limit), follow).await {
        Ok(ended) => ended,
        Err(_) => Err(CliError::Unknown(format!(
            "the run has not ended after {limit} seconds; it goes on, watch it again"
        ))),
    }
}

async fn follow(context: &Context, gateway: Gateway<'_>, path: &str) -> Result<Report> {
    let (mut last, mut failures) = (String::new(), 0);
    loop {
        match gateway.get(path).await.and_then(known) {
            Ok(run) => {
                failures = 0;
                let step = step(&run);
                if step != last {
                    context.steps.say(&step);
                    last = step;
                }
                match text(&run, "status").as_str() {
                    "finalized" => {
                        return with_outputs(&gateway, reported(context, run).await).await;
                    }
                    "failed" | "cancelled" => {
                        return Ok(Report { exit_code: 1, ..reported(context, run).await });
                    }
                    _ => {}
                }
            }
            Err(CliError::Unknown(reason)) => {
                failures += 1;
                if failures == PATIENCE {
                    return Err(CliError::Unknown(reason));
                }
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// `lumio verify` looks for attempts back to the time in the run's id, so that a gateway which made
/// up a later one would hide those before it. Here, at the start, the user's own clock knows
/// better.
fn doubtful_id(id: &str, now: u64) -> Option<String> {
    let run = id.parse().ok()?;
    let by_id = asked_at(run);
    if by_id.is_some_and(|by_id| by_id <= now.saturating_add(CLOCK_SLACK)) {
        return None;
    }
    Some(format!(
        "warning: the id {id} does not say when the run was asked for, or names a time that is still to \
         come; note that you asked for it at {}, and keep your receipts with: lumio receipts export",
        times::date(now).unwrap_or_default()
    ))
}

fn body(context: &Context, start: &Start) -> Result<Value> {
    let user = context.keys.resolve(&start.user)?;
    let Usage { llm_in, llm_out, http_calls, runtime_ms } = start.budgets;
    let mut body = json!({
        "user": user,
        "agentId": start.agent,
        "budgets": { "llmIn": llm_in, "llmOut": llm_out, "httpCalls": http_calls, "runtimeMs": runtime_ms },
    });
    let optional = [
        ("rateVersion", start.rate_version.map(Value::from)),
        ("seed", start.seed.map(Value::from)),
        ("workflowId", start.workflow.clone().map(Value::from)),
        ("label", start.label.clone().map(Value::from)),
        ("startAt", start.start_at.clone().map(Value::from)),
        ("priority", start.priority.map(|priority| json!(priority))),
        ("input", start.input.as_deref().map(input).transpose()?),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    Ok(body)
}

fn input(file: &std::path::Path) -> Result<Value> {
    let failed = |error: String| CliError::usage(format!("--input {}: {error}", file.display()));
    let bytes =
        files::read(file, files::LARGEST_INPUT).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
}

/// An input that a request cannot hold is stored first, and the request names it.
async fn store_if_large(context: &Context, gateway: &Gateway<'_>, body: &mut Value) -> Result<()> {
    let Some(input) = body.get("input") else { return Ok(()) };
    let bytes = input.to_string().len() as u64;
    if bytes <= LARGEST_SENT_ALONG {
        return Ok(());
    }
    context.steps.say(format!("storing the input of {bytes} bytes"));
    let stored = gateway.post("/inputs", input, None).await?;
    // Without the name the run would be paid for with no input at all.
    let name = required(&stored, "inputRef")?;
    if let Some(members) = body.as_object_mut() {
        members.remove("input");
        members.insert("inputRef".to_owned(), name.into());
    }
    Ok(())
}

fn step(run: &Value) -> String {
    let (status, phase) = (text(run, "status"), text(run, "phase"));
    let mut step = format!("{status:<10}");
    if !phase.is_empty() && phase != status {
        step.push_str(&format!(" {phase}"));
    }
    let attempt = run.get("attempt").and_then(Value::as_u64).filter(|attempt| *attempt > 1);
    if let Some(attempt) = attempt {
        step.push_str(&format!(" (attempt {attempt})"));
    }
    step.trim_end().to_owned()
}

fn row(run: &Value) -> [String; 5] {
    let created = text(run, "createdAt");
    // To the second, in the form of every other time here.
    let created = match created.split_once('T') {
        Some((day, time)) if time.len() >= 8 && time.is_char_boundary(8) => {
            format!("{day} {} UTC", &time[..8])
        }
        _ => created,
    };
    let agent = run.get("agentId").and_then(Value::as_u64).map(|agent| agent.to_string());
    [text(run, "id"), step(run), agent.unwrap_or_default(), created, text(run, "label")]
}

/// A run with what it cost in the vault's token.
async fn reported(context: &Context, run: Value) -> Report {
    let has_receipt = |view: &Value| view.get("receipt").is_some_and(|receipt| !receipt.is_null());
    let attempts = run.get("attempts").and_then(Value::as_array);
    let has_cost =
        has_receipt(&run) || attempts.is_some_and(|attempts| attempts.iter().any(has_receipt));

    // The gateway alone is asked for a run, so that only an amount is a reason to ask the node.
    let unit = if has_cost { context.shown_unit().await } else { Unit::default() };
    report(run, &unit)
}

fn report(run: Value, unit: &Unit) -> Report {
    let mut lines =
        vec![format!("run        {}", text(&run, "id")), format!("status     {}", step(&run))];
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("{name:<10} {value}"));
        }
    };
    fact("module", &text(&run, "manifestHash"));
    fact("on chain", &text(&run, "runId"));
    fact("escrow", &text(&run, "escrow"));
    fact("deadline", &deadline(&text(&run, "deadline")));
    fact("error", &text(&run, "errorCode"));
    fact("reason", &text(&run, "error"));
    // What a gateway of another version says beyond the known members is in the JSON.
    let typed = serde_json::from_value::<RunView>(run.clone()).ok();
    if let Some(usage) = typed.as_ref().and_then(|run| run.usage.as_ref()) {
        let Meters { llm_in, llm_out, http_calls, runtime_ms } = usage;
        let used = format!("{runtime_ms} ms, {llm_in} + {llm_out} tokens, {http_calls} calls");
        fact("used", &used);
    }
    if let Some(receipt) = typed.as_ref().and_then(|run| run.receipt.as_ref()) {
        fact("charged", &unit.show(receipt.actual_charge));
        if let Some(fee) = receipt.runner_fee.filter(|fee| *fee != 0) {
            fact("fee", &unit.show(fee));
        }
        fact("returned", &unit.show(receipt.refund));
        fact("output", &receipt.output_hash.to_string());
    }
    let attempts = typed.as_ref().map(|run| run.attempts.as_slice()).unwrap_or_default();
    if attempts.len() > 1 {
        lines.push(String::new());
        lines.push(attempts_table(attempts, unit));
    }
    Report::new(lines.join("\n"), run)
}

/// What each attempt cost, and what they cost together.
fn attempts_table(attempts: &[AttemptView], unit: &Unit) -> String {
    let cost = |receipt: &ReceiptView| {
        receipt.actual_charge.saturating_add(receipt.runner_fee.unwrap_or_default())
    };
    let rows: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            let receipt = attempt.receipt.as_ref();
            let shown =
                |value: Option<i128>| value.map(|value| unit.show(value)).unwrap_or_default();
            [
                attempt.attempt.to_string(),
                attempt.outcome.to_string(),
                attempt.error_code.clone().unwrap_or_default(),
                shown(receipt.map(|receipt| receipt.actual_charge)),
                shown(receipt.and_then(|receipt| receipt.runner_fee)),
            ]
        })
        .collect();
    let total = attempts.iter().filter_map(|attempt| attempt.receipt.as_ref()).map(cost);
    let total = total.fold(0_i128, i128::saturating_add);
    let table = table(["ATTEMPT", "OUTCOME", "ERROR", "CHARGED", "FEE"], &rows);
    format!("{table}\nin all     {}", unit.show(total))
}

/// What the newest attempt asked of services, after what is known of the run. Nothing of it is
/// proven here.
fn with_services(mut report: Report) -> Report {
    let services: Vec<UpstreamView> =
        serde_json::from_value(report.json["upstreams"].clone()).unwrap_or_default();
    if !services.is_empty() {
        report.text.push_str(&format!("\n\n{}", table_of_services(&services)));
    }
    report
}

/// The files of a run that delivered, after what is known of it.
async fn with_outputs(gateway: &Gateway<'_>, mut report: Report) -> Result<Report> {
    let id = text(&report.json, "id");
    // An older gateway lists none; that the run is finalized stays true.
    let Ok(listed) = list(gateway, &id, None).await else { return Ok(report) };
    report.text.push_str(&format!(
        "\n\n{}\n\nbring them here with: lumio run outputs {id} --to DIR\nprove the run with:    lumio \
         verify {id}",
        outputs_table(&listed)
    ));
    report.json["outputs"] = json!(listed);
    Ok(report)
}

async fn list(gateway: &Gateway<'_>, id: &str, attempt: Option<u32>) -> Result<Vec<OutputView>> {
    let query = attempt.map(|attempt| format!("?attempt={attempt}")).unwrap_or_default();
    let answer = gateway.get(&format!("/runs/{}/outputs{query}", segment(id)?)).await?;
    serde_json::from_value::<OutputsView>(answer)
        .map(|list| list.outputs)
        .map_err(|error| CliError::unknown("the gateway answered with no list of outputs", error))
}

fn outputs_table(outputs: &[OutputView]) -> String {
    let rows: Vec<_> = outputs
        .iter()
        .map(|output| [output.path.clone(), output.length.to_string(), output.sha256.to_string()])
        .collect();
    table(["OUTPUT", "BYTES", "SHA-256"], &rows)
}

async fn outputs(context: &Context, gateway: &Gateway<'_>, command: &Outputs) -> Result<Report> {
    let listed = list(gateway, &command.id, command.attempt).await?;
    let mut json = json!({ "run": command.id, "outputs": listed });
    if listed.is_empty() {
        let text = "the attempt has no outputs: a run has them once it is finalized, and a failed one \
                    has none";
        return Ok(Report::new(text, json));
    }
    let Some(to) = &command.to else { return Ok(Report::new(outputs_table(&listed), json)) };
    for output in &listed {
        let path = local(to, &output.path)?;
        context.steps.say(format!("{} ({} bytes)", output.path, output.length));
        bring(gateway, &command.id, command.attempt, output, &path).await?;
    }
    json["to"] = to.display().to_string().into();
    Ok(Report::new(format!("{}\nbrought to {}", outputs_table(&listed), to.display()), json))
}

/// Where an output goes. A gateway must not choose a place outside of the folder.
fn local(to: &std::path::Path, path: &str) -> Result<PathBuf> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
    if !path.split('/').all(is_plain) {
        return Err(CliError::bad(format!(
            "the gateway names an output '{path}', which is no path"
        )));
    }
    let path = to.join(path);
    match path.symlink_metadata() {
        Ok(_) => Err(CliError::usage(format!("{} exists; choose another folder", path.display()))),
        Err(_) => Ok(path),
    }
}

/// Brings one file, whole and with its digest, or not at all.
async fn bring(
    gateway: &Gateway<'_>,
    id: &str,
    attempt: Option<u32>,
    output: &OutputView,
    path: &std::path::Path,
) -> Result<()> {
    let unwritable = |error: std::io::Error| {
        CliError::usage(format!("cannot write {}: {error}", path.display()))
    };
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    let file = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
    let query = attempt.map(|attempt| format!("?attempt={attempt}")).unwrap_or_default();
    let place = format!("/runs/{}/outputs/{}{query}", segment(id)?, encoded(&output.path));
    gateway.download(&place, file.path()).await?;

    let found = digest_of(file.path()).map_err(unwritable)?;
    if found != output.sha256 {
        return Err(CliError::bad(format!(
            "the output {} has the digest {found}, the gateway named {}",
            output.path, output.sha256
        )));
    }
    // An ordinary file for its owner's umask, not the private one of a temporary file.
    let brought = files::make(path, |into| {
        std::io::copy(&mut std::fs::File::open(file.path())?, into).map(drop)
    });
    brought.map_err(unwritable)
}

fn digest_of(path: &std::path::Path) -> std::io::Result<Digest> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut buffer) = (wire::Hasher::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// A path of an output as part of a URL.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A time of the gateway's as a date with its distance from now.
fn deadline(text: &str) -> String {
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    let at = parsed.ok().and_then(|at| u64::try_from(at.unix_timestamp()).ok());
    at.map_or_else(|| text.to_owned(), |at| times::show(at, times::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(attempts: &Value) -> Value {
        let receipt = |charge: &str| {
            json!({
                "runId": "0".repeat(64), "actualCharge": charge, "runnerFee": "5000000", "refund": "1",
                "developer": "GDEV", "outputHash": "0".repeat(64),
                "finalizedAt": "2026-01-02T03:04:05.000Z",
            })
        };
        let attempts: Vec<_> = attempts
            .as_array()
            .unwrap()
            .iter()
            .map(|charge| {
                json!({
                    "attempt": 1, "outcome": "failed", "escrow": "settled", "errorCode": "BUDGET_EXHAUSTED",
                    "receipt": receipt(charge.as_str().unwrap()), "transactionHashes": {},
                    "createdAt": "2026-01-02T03:04:05.000Z",
                })
            })
            .collect();
        json!({
            "id": "0197e4a0-0000-7000-8000-00000000000a", "user": "G", "agentId": 1,
            "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 1 },
            "status": "finalized", "phase": "finalized", "attempt": 2, "retries": 1, "seed": 1,
            "inputDigest": "0".repeat(64), "escrow": "settled", "receipt": receipt("15000000"),
            "transactionHashes": {}, "traceId": "0", "createdAt": "2026-01-02T03:04:05.000Z",
            "updatedAt": "2026-01-02T03:04:05.000Z", "attempts": attempts,
        })
    }

    #[test]
    fn a_run_is_shown_with_its_receipt_and_the_runners_fee() {
        let text = report(run(&json!([])), &Unit::lumens()).text;
        assert!(text.contains("status     finalized  (attempt 2)"), "{text}");
        assert!(text.contains("charged    1.5 XLM (15000000 stroops)"), "{text}");
        assert!(text.contains("fee        0.5 XLM (5000000 stroops)"), "{text}");
    }

    #[test]
    fn all_attempts_of_a_run_are_shown_with_their_sum() {
        let text = report(run(&json!(["10000000", "15000000"])), &Unit::lumens()).text;
        assert!(text.contains("BUDGET_EXHAUSTED"), "{text}");
        assert!(text.contains("in all     3.5 XLM (35000000 stroops)"), "{text}");
    }

    #[test]
    fn an_id_from_the_future_is_doubted_when_the_run_is_started() {
        let (id, asked) = ("01a3185c-4830-7000-8000-00000000000a", 1_799_999_998);
        assert_eq!(doubtful_id(id, asked), None);
        assert_eq!(doubtful_id(id, asked + 86_400), None, "an answer to a repeated request");
        assert!(doubtful_id(id, asked - 3_600).is_some());
        assert!(doubtful_id("01a3185c-4830-4000-8000-00000000000a", asked).is_some());
    }

    #[test]
    fn no_output_leaves_the_folder_and_none_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/x", "a//b", "a/../b", "", "a\\b"] {
            assert!(local(folder.path(), path).is_err(), "{path}");
        }
        std::fs::write(folder.path().join("x"), "").unwrap();
        assert!(local(folder.path(), "x").is_err());
        assert!(local(folder.path(), "a/x").is_ok());
        assert_eq!(encoded("a b/ü?.json"), "a%20b/%C3%BC%3F.json");
    }
}
