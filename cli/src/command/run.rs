//! `lumio run` and `lumio watch`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use stellar::amount;
use wire::Usage;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::gateway::{Gateway, segment, text};
use crate::output::{Report, table};
use crate::times;

/// How often a watched run is asked for.
const POLL: Duration = Duration::from_millis(500);
/// How many answers in a row may fail before watching ends.
const PATIENCE: u32 = 20;
/// Most bytes of an input (R12).
const LARGEST_INPUT: u64 = 1024 * 1024;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Run {
    /// Ask for a run
    #[command(after_help = "Examples:\n  lumio run start --user alice --agent 1 --budgets \
            runtime_ms=60000 --input input.json --watch\n  \
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
        #[arg(long)]
        status: Option<String>,
    },
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
    #[arg(long)]
    rate_version: Option<u32>,
    /// The most that may be used: llm_in=…,llm_out=…,http_calls=…,runtime_ms=…
    #[arg(long, value_parser = crate::parse::budgets)]
    budgets: Usage,
    /// File with the module's input, JSON of at most 1 MiB [default: {}]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Fixes the run's randomness; at most 2^53 - 1
    #[arg(long)]
    seed: Option<u64>,
    /// Name of the workflow
    #[arg(long)]
    workflow: Option<String>,
    /// A word to find the run by
    #[arg(long)]
    label: Option<String>,
    /// The same key with the same request answers the same run
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Follow the run to its end
    #[arg(long)]
    watch: bool,
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
            let run = gateway
                .post("/runs", &body(context, &start)?, start.idempotency_key.as_deref())
                .await?;
            if !start.watch {
                return Ok(report(run));
            }
            follow(context, gateway, &format!("/runs/{}", segment(&text(&run, "id"))?)).await
        }
        Run::Show { id } => Ok(report(gateway.get(&format!("/runs/{}", segment(&id)?)).await?)),
        Run::Cancel { id } => Ok(report(
            gateway.post(&format!("/runs/{}/cancel", segment(&id)?), &json!({}), None).await?,
        )),
        Run::Retry { id } => Ok(report(
            gateway.post(&format!("/runs/{}/retry", segment(&id)?), &json!({}), None).await?,
        )),
        Run::List { limit, status } => {
            let status = status.as_deref().map(segment).transpose()?;
            let status = status.map(|status| format!("&status={status}")).unwrap_or_default();
            let runs = gateway.get(&format!("/runs?limit={limit}{status}")).await?;
            let rows = runs.as_array().map(|runs| runs.iter().map(row).collect::<Vec<_>>());
            let rows = rows.ok_or_else(|| {
                Failure::Unknown("the gateway answered with no list of runs".to_owned())
            })?;
            let text = match rows.is_empty() {
                true => "no runs; start one with: lumio run start".to_owned(),
                false => table(["RUN", "STATUS", "AGENT", "CREATED", "LABEL"], &rows),
            };
            Ok(Report::new(text, runs))
        }
    }
}

/// Follows a run to its end.
///
/// # Errors
///
/// [`Failure::Unknown`] when the gateway stops answering or time is up.
pub async fn watch(context: &Context, command: &Watch) -> Result<Report> {
    let path = format!("/runs/{}", segment(&command.id)?);
    let follow = follow(context, Gateway::new(context)?, &path);
    let Some(limit) = command.timeout else { return follow.await };
    match tokio::time::timeout(Duration::from_secs(limit), follow).await {
        Ok(ended) => ended,
        Err(_) => Err(Failure::Unknown(format!(
            "the run has not ended after {limit} seconds; it goes on, watch it again"
        ))),
    }
}

async fn follow(context: &Context, gateway: Gateway<'_>, path: &str) -> Result<Report> {
    let (mut last, mut failures) = (String::new(), 0);
    loop {
        match gateway.get(path).await {
            Ok(run) => {
                failures = 0;
                let step = step(&run);
                if step != last {
                    context.steps.say(&step);
                    last = step;
                }
                match text(&run, "status").as_str() {
                    "finalized" => return Ok(report(run)),
                    "failed" | "cancelled" => return Ok(Report { exit_code: 1, ..report(run) }),
                    _ => {}
                }
            }
            Err(Failure::Unknown(reason)) => {
                failures += 1;
                if failures == PATIENCE {
                    return Err(Failure::Unknown(reason));
                }
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(POLL).await;
    }
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
    let failed = |error: String| Failure::usage(format!("--input {}: {error}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if size > LARGEST_INPUT {
        return Err(failed(format!("it has {size} bytes, at most {LARGEST_INPUT} are taken")));
    }
    let bytes = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
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

fn report(run: Value) -> Report {
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
    let receipt = run.get("receipt").filter(|receipt| !receipt.is_null());
    if let Some(receipt) = receipt {
        fact("charged", &shown(&text(receipt, "actualCharge")));
        fact("returned", &shown(&text(receipt, "refund")));
        fact("output", &text(receipt, "outputHash"));
    }
    Report::new(lines.join("\n"), run)
}

/// A time of the gateway's as a date with its distance from now.
fn deadline(text: &str) -> String {
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    let at = parsed.ok().and_then(|at| u64::try_from(at.unix_timestamp()).ok());
    at.map_or_else(|| text.to_owned(), |at| times::show(at, times::now()))
}

fn shown(stroops: &str) -> String {
    stroops.parse().map_or_else(|_| stroops.to_owned(), amount::show)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_with_its_receipt() {
        let run = json!({
            "id": "r", "status": "finalized", "phase": "finalized", "attempt": 2,
            "receipt": { "actualCharge": "15000000", "refund": "1", "outputHash": "ab" },
        });
        let text = report(run).text;
        assert!(text.contains("status     finalized  (attempt 2)"), "{text}");
        assert!(text.contains("charged    1.5 XLM (15000000 stroops)"), "{text}");
    }
}
