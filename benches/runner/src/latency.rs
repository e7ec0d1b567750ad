//! How long one run takes without load, at random phases of a ledger.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::LocalNetwork;
use serde_json::Value;
use sqlx::Row as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};
use wire::dsse::Envelope;

use crate::Options;
use crate::figures::{Times, at_most, head, ms, ratio, row};
use crate::load::{Until, closed_loop};
use crate::paid::{Paid, Setting};

/// What a run may take beside two ledgers, its execution and its seal.
const ALLOWANCE: Duration = Duration::from_millis(150);
/// Only a defect makes a run take longer than this many ledgers, and this time.
const PATIENCE: u32 = 20;
const LEAST_PATIENCE: Duration = Duration::from_secs(60);

/// Measures and prints it.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    let ledger = Duration::from_millis(options.latency_ledger_ms);
    let network = LocalNetwork { ledger_ms: options.latency_ledger_ms, ..LocalNetwork::default() };
    let setting = Setting { network, users: 1, channels: 2, runner: &[] };
    let mut paid = Paid::start(&setting).await?;
    let mut runs = Vec::new();
    // The first one makes connections and fills caches.
    for number in 0..=options.runs {
        if number % 20 == 0 {
            eprintln!("latency: run {number} of {}", options.runs);
        }
        sleep(ledger.mul_f64(rand::random())).await;
        match one_run(&mut paid, ledger).await {
            Ok(run) if number > 0 => runs.push(run),
            Ok(_) => {}
            Err(error) => {
                eprintln!("{}", paid.logs());
                return Err(error);
            }
        }
    }

    println!("\n## One run without load\n");
    println!("{} runs at random phases of ledgers of {} ms.\n", runs.len(), ledger.as_millis());
    head(&["", "run ms", "execution ms", "seal ms", "allowed ms", "of it"]);
    let times = |of: fn(&Run) -> Duration| runs.iter().map(of).collect::<Times>();
    let (whole, executions, seals) =
        (times(|run| run.whole), times(|run| run.execution), times(|run| run.seal));
    let works = times(|run| run.execution + run.seal);
    for percent in [50, 95] {
        let allowed = ledger * 2 + works.quantile(percent) + ALLOWANCE;
        let took = whole.quantile(percent);
        row(&[
            format!("p{percent}"),
            ms(took),
            ms(executions.quantile(percent)),
            ms(seals.quantile(percent)),
            ms(allowed),
            at_most(ratio(took.as_secs_f64(), allowed.as_secs_f64()), 1.0),
        ]);
    }
    let within = runs.iter().filter(|run| run.whole <= run.allowed(ledger)).count();
    println!("\n{within} of {} runs were within what their own work allows.", runs.len());
    Ok(())
}

/// How long one run took, and what of it was work.
struct Run {
    whole: Duration,
    /// By module-gate's signed statement.
    execution: Duration,
    /// By oracle-gate's record.
    seal: Duration,
}

impl Run {
    fn allowed(&self, ledger: Duration) -> Duration {
        ledger * 2 + self.execution + self.seal + ALLOWANCE
    }
}

async fn one_run(paid: &mut Paid, ledger: Duration) -> anyhow::Result<Run> {
    let requests = paid.requests(1);
    let call = move |number| requests.call(number);
    let begun = Instant::now();
    closed_loop(paid.gateway()?, 1, Until::Count(1), 202, call).await?;
    let text = "SELECT r.id, r.status, r.created_at, r.updated_at, a.statement \
         FROM runs r JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt \
         WHERE r.phase = 'done' AND NOT EXISTS (SELECT FROM runs o WHERE o.phase <> 'done') \
         ORDER BY r.created_at DESC LIMIT 1";
    let found = loop {
        // The run itself says when it was asked for and when it ended.
        sleep(Duration::from_millis(100)).await;
        if let Some(found) = sqlx::query(text).fetch_optional(paid.db()).await? {
            break found;
        }
        let patience = (ledger * PATIENCE).max(LEAST_PATIENCE);
        ensure!(begun.elapsed() < patience, "a run has not ended after {patience:?}");
    };
    let status: &str = found.get("status");
    ensure!(status == "finalized", "the run is {status}");
    let (from, to): (OffsetDateTime, _) = (found.get("created_at"), found.get("updated_at"));
    let seal = "SELECT created_at, settled_at FROM seals WHERE run_id = $1";
    let seal = sqlx::query_as(seal).bind(found.get::<sqlx::types::Uuid, _>("id"));
    let (opened, settled): (OffsetDateTime, OffsetDateTime) = seal.fetch_one(paid.seals()).await?;
    Ok(Run {
        whole: between(from, to)?,
        execution: execution(found.get("statement"))?,
        seal: between(opened, settled)?,
    })
}

/// How long module-gate says that it executed.
fn execution(statement: &[u8]) -> anyhow::Result<Duration> {
    let payload = Envelope::parse(statement)?.unverified().context("a statement has a payload")?;
    let statement: Value = serde_json::from_slice(&payload)?;
    let at = |name: &str| {
        let text = statement["predicate"][name].as_str();
        let text = text.with_context(|| format!("a statement says {name}"))?;
        anyhow::Ok(OffsetDateTime::parse(text, &Rfc3339)?)
    };
    between(at("started_at")?, at("finished_at")?)
}

fn between(from: OffsetDateTime, to: OffsetDateTime) -> anyhow::Result<Duration> {
    Ok(Duration::try_from(to - from)?)
}
