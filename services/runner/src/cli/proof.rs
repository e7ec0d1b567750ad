//! The commands that ask contract state before they change anything.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::{postgres, print_line};
use serde_json::json;
use wire::{RunId, escape};

use super::{OutputFormat, print_json, refused};
use crate::config::Config;
use crate::operations::by_hand::{self, Ending, Outcome};
use crate::operations::reconcile::{Reconciler, Reconciliation};
use crate::sight::Followed;
use crate::sight::proof::Evidence;

/// What these commands need.
pub(super) struct ProofContext {
    /// Where runs are kept.
    pub(super) db: sqlx::PgPool,
    rpc: stellar::Rpc,
    followed: Followed,
    /// First token of subjects.
    pub(super) nats_prefix: String,
}

impl ProofContext {
    /// Reaches database and node as the settings name them.
    pub(super) async fn open() -> Result<Self, ExitCode> {
        let config = Config::load(None).map_err(|error| refused(&error.into(), 3))?;
        let opened = async {
            let db = postgres::connect(&config.database_url).await?;
            let rpc = stellar::Rpc::new(&config.rpc_url).context("RUNNER_RPC_URL")?;
            rpc.require_network(&config.network).await?;
            anyhow::Ok((db, rpc))
        };
        let (db, rpc) = opened.await.map_err(|error| unknown(&error))?;
        let followed = Followed::new(&config.network, config.vault, config.registry, config.runner);
        Ok(Self { db, rpc, followed, nats_prefix: config.policy.nats_prefix })
    }

    /// What proofs are read from.
    pub(super) fn evidence(&self) -> Evidence<'_> {
        Evidence { db: &self.db, rpc: &self.rpc, followed: &self.followed }
    }
}

/// `runner reconcile`.
pub(super) async fn reconcile(repair: bool, output: OutputFormat) -> ExitCode {
    let context = match ProofContext::open().await {
        Ok(context) => context,
        Err(code) => return code,
    };
    let reconciler = Reconciler {
        db: &context.db,
        rpc: &context.rpc,
        followed: &context.followed,
        nats_prefix: &context.nats_prefix,
        repair,
    };
    let done = match reconciler.run().await {
        Ok(done) => done,
        Err(error) => return unknown(&error.into()),
    };
    match output {
        OutputFormat::Json => {
            if let Err(code) = print_json(&done) {
                return code;
            }
        }
        OutputFormat::Text => print(&done, repair),
    }
    match (done.is_clean(), done.is_unknown()) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(2),
        (false, false) => ExitCode::from(1),
    }
}

fn print(done: &Reconciliation, repair: bool) {
    for (what, count) in &done.compared {
        print_line!("{count:>8} {what} compared");
    }
    if done.findings.is_empty() {
        print_line!("everything agrees");
        return;
    }
    print_line!("{:<20} {:<37} {:<12} text, action", "finding", "run", "proof");
    for finding in &done.findings {
        let kind = serde_json::to_value(finding.kind).unwrap_or_default();
        let run = finding.run.map(|run| run.to_string());
        let run = run.or_else(|| finding.vault_run_id.map(|id| format!("{:.16}…", id.to_string())));
        print_line!(
            "{:<20} {:<37} {:<12} {}\n{:>20} {}",
            kind.as_str().unwrap_or_default(),
            run.or_else(|| finding.user.clone()).unwrap_or_default(),
            finding.proof.unwrap_or("-"),
            escape::line(&finding.text),
            if finding.repaired { "repaired:" } else { "action:" },
            escape::line(&finding.action),
        );
    }
    let repaired = done.findings.iter().filter(|finding| finding.repaired).count();
    print_line!("{} findings, {repaired} repaired", done.findings.len());
    if !repair {
        print_line!("--repair does what the vault's state proves");
    }
}

/// `runner runs resume`.
pub(super) async fn resume(id: RunId, output: OutputFormat) -> ExitCode {
    let context = match ProofContext::open().await {
        Ok(context) => context,
        Err(code) => return code,
    };
    let resumed = by_hand::resume(&context.evidence(), &context.nats_prefix, id).await;
    match resumed {
        Ok(outcome) => ExitCode::from(say(id, &outcome, output)),
        Err(error) => unknown(&error.into()),
    }
}

/// `runner runs finalize`, `void` and `reclaim`.
pub(super) async fn end(
    id: RunId,
    ending: Ending,
    reason: &str,
    wait_secs: u64,
    output: OutputFormat,
) -> ExitCode {
    let context = match ProofContext::open().await {
        Ok(context) => context,
        Err(code) => return code,
    };
    let ended = by_hand::end(&context.evidence(), &context.nats_prefix, id, ending, reason).await;
    let outcome = match ended {
        Ok(outcome) => outcome,
        Err(error) => return unknown(&error.into()),
    };
    if !matches!(outcome, Outcome::Started(_)) {
        return ExitCode::from(say(id, &outcome, output));
    }
    let outcome = match by_hand::ended(&context.db, id, Duration::from_secs(wait_secs)).await {
        Ok(true) => Outcome::Ended("it has ended".to_owned()),
        Ok(false) => Outcome::Unknown(format!(
            "it has not ended after {wait_secs} s; workers go on with it: is an engine running?"
        )),
        Err(error) => return unknown(&error.into()),
    };
    ExitCode::from(say(id, &outcome, output))
}

/// Prints what came of an order; its exit code.
pub(super) fn say(id: RunId, outcome: &Outcome, output: OutputFormat) -> u8 {
    let (name, text, code) = match outcome {
        Outcome::Started(text) => ("started", text, 0),
        Outcome::Ended(text) => ("ended", text, 0),
        Outcome::Refused(text) => ("refused", text, 1),
        Outcome::Unknown(text) => ("unknown", text, 2),
    };
    match output {
        OutputFormat::Json => {
            let body = json!({ "run": id, "outcome": name, "text": text });
            if print_json(&body).is_err() {
                return 1;
            }
        }
        OutputFormat::Text if code == 0 => print_line!("run {id}: {}", escape::line(text)),
        OutputFormat::Text => {
            refused(&anyhow::anyhow!("run {id}: {}", escape::line(text)), code);
        }
    }
    code
}

/// Says that nothing is known, and why.
pub(super) fn unknown(error: &anyhow::Error) -> ExitCode {
    refused(&anyhow::anyhow!("nothing is known; try again: {error:#}"), 2)
}
