//! Whole paid runs, with the real guard and seal, on the local network: how many a ledger, beside
//! what the public network's limits allow, and what binds.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{bail, ensure};
use e2e::LocalNetwork;
use sqlx::{PgPool, Row as _};
use tokio::time::{Instant, sleep};

use crate::Options;
use crate::figures::{at_least, head, ratio, row};
use crate::ledgers::{Kind, Landed, allowed_runs, fill};
use crate::load::{Until, closed_loop};
use crate::paid::{Paid, Setting};
use crate::processors::{Shares, Used};

/// The part of what the limits allow that is wanted.
const TARGET: f64 = 0.7;
/// Of something that is used to this part, nothing is said to be left.
const FULL: f64 = 0.85;
/// Ledgers after the first settlement that are not counted: the first runs begin together.
const WARM_UP: i64 = 2;
/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);
/// Only a defect makes a stage take longer than this many ledgers, and this time.
const PATIENCE: u32 = 10;
const LEAST_PATIENCE: Duration = Duration::from_secs(180);
/// The length of the public network's ledgers.
const USUAL_MS: u64 = 5_000;
/// With such ledgers, the most runs under way: several ledgers of what two processors settle. With
/// more of them, accepting and opening what only waits would be counted in the place of settling.
const USUAL_UNDER_WAY: u64 = 120;

/// Measures and prints it.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    let cases = [
        ("limits, long ledgers", "public-network", options.ledger_ms),
        ("limits, 5 s", "public-network", USUAL_MS),
        ("no limits, 5 s", "unlimited", USUAL_MS),
    ];
    let mut found = Vec::new();
    for (name, profile, ledger_ms) in cases {
        let network = LocalNetwork { ledger_ms, profile };
        let case = Case { name, is_long: ledger_ms > USUAL_MS, network };
        found.push((name, case.measure(options).await?));
    }
    println!("\n## Paid runs a ledger\n");
    println!(
        "{} ledgers of {} ms, {} users, {} channels, {} runs under way ({} with ledgers of 5 s), {} \
            modules at one time.\n",
        options.ledgers,
        options.ledger_ms,
        options.users,
        options.channels,
        options.under_way,
        options.under_way.min(USUAL_UNDER_WAY),
        options.executions
    );
    head(&["case", "runs", "ledgers", "runs a ledger", "runs a second", "allowed", "by", "of it"]);
    for (place, (name, found)) in found.iter().enumerate() {
        let per_ledger = ratio(found.runs as f64, f64::from(found.ledgers));
        let part = ratio(per_ledger, found.allowed as f64);
        row(&[
            (*name).to_owned(),
            found.runs.to_string(),
            found.ledgers.to_string(),
            format!("{per_ledger:.1}"),
            format!("{:.1}", found.runs as f64 / found.elapsed.as_secs_f64()),
            found.allowed.to_string(),
            found.limit.to_owned(),
            if place == 0 { at_least(part, TARGET) } else { format!("{part:.2}") },
        ]);
    }
    print_use(&found);
    Ok(())
}

struct Case {
    name: &'static str,
    is_long: bool,
    network: LocalNetwork,
}

/// What was measured.
struct Found {
    /// Runs whose settlement is in one of the ledgers, and that are finalized.
    runs: usize,
    ledgers: u32,
    elapsed: Duration,
    /// The runs a ledger that the limits allow, and the limit that allows the fewest.
    allowed: u64,
    limit: &'static str,
    /// How many openings and settlements the fullest transactions carried.
    fullest: [usize; 2],
    fill: BTreeMap<&'static str, f64>,
    shares: Shares,
    /// Transactions of the ledgers, and how many calls each carried.
    transactions: usize,
    calls: usize,
    /// Runs that ended otherwise.
    others: i64,
}

impl Case {
    async fn measure(&self, options: &Options) -> anyhow::Result<Found> {
        eprintln!("chain: {}: starting", self.name);
        let runner = [
            ("RUNNER_WORKERS", "8".to_owned()),
            ("RUNNER_EXECUTIONS", options.executions.to_string()),
            ("RUNNER_BATCH_MAX_DELAY_MS", self.batch_ms(options).to_string()),
        ];
        let network = self.network.clone();
        let (users, channels) = (options.users, options.channels);
        let setting = Setting { network, users, channels, runner: &runner };
        let mut paid = Paid::start(&setting).await?;
        let measured = self.ledgers(options, &mut paid).await;
        if measured.is_err() {
            eprintln!("{}", paid.logs());
        }
        measured
    }

    fn under_way(&self, options: &Options) -> u64 {
        if self.is_long { options.under_way } else { options.under_way.min(USUAL_UNDER_WAY) }
    }

    /// With short ledgers a wait costs more of them than it gains.
    fn batch_ms(&self, options: &Options) -> u64 {
        if self.is_long { options.batch_ms } else { options.batch_ms.min(200) }
    }

    async fn ledgers(&self, options: &Options, paid: &mut Paid) -> anyhow::Result<Found> {
        let ledger = Duration::from_millis(self.network.ledger_ms);
        let patience = (ledger * PATIENCE).max(LEAST_PATIENCE);
        let db = paid.db().clone();
        let asking = self.under_way(options);
        let first = "SELECT min(ledger) FROM chain_transactions WHERE kind = 'finalize' \
            AND state = 'succeeded'";
        let first = until(&db, patience, paid, asking, first, 0).await? + WARM_UP;
        let newest = "SELECT max(ledger) FROM networks";
        until(&db, patience, paid, asking, newest, first - 1).await?;
        let (before, begun) = (Used::now()?, Instant::now());
        eprintln!("chain: {}: counting {} ledgers", self.name, options.ledgers);
        let last = first + i64::from(options.ledgers) - 1;
        let patience = patience + ledger * options.ledgers;
        until(&db, patience, paid, asking, newest, last).await?;
        let (shares, elapsed) = (Used::now()?.since(&before), begun.elapsed());
        let read = "SELECT max(next_ledger) FROM contract_cursors";
        until(&db, patience, paid, 0, read, last + 1).await?;
        let (landed, runs) = ended(&db, (first, last)).await?;
        let (allowed, fullest) = allowed_runs(&landed)?;
        let others = "SELECT count(*) FROM runs WHERE phase = 'done' AND status <> 'finalized'";
        Ok(Found {
            runs,
            ledgers: options.ledgers,
            elapsed,
            allowed: allowed.runs,
            limit: allowed.limit,
            fullest,
            fill: fill(&landed, options.ledgers)?,
            shares,
            transactions: landed.len(),
            calls: landed.iter().map(|landed| landed.calls).sum(),
            others: sqlx::query_scalar(others).fetch_one(&db).await?,
        })
    }
}

/// Asks for runs, so that `under_way` are, until a number is at least `least`; the number.
async fn until(
    db: &PgPool,
    patience: Duration,
    paid: &mut Paid,
    under_way: u64,
    number: &'static str,
    least: i64,
) -> anyhow::Result<i64> {
    let begun = Instant::now();
    loop {
        let open = "SELECT count(*) FROM runs WHERE phase <> 'done' AND operator_reason IS NULL";
        let open: i64 = sqlx::query_scalar(open).fetch_one(db).await?;
        let missing = under_way.saturating_sub(u64::try_from(open)?);
        if missing > 0 {
            let requests = paid.requests(missing);
            let call = move |number| requests.call(number);
            closed_loop(paid.gateway()?, 8, Until::Count(missing), 202, call).await?;
        }
        let found: Option<i64> = sqlx::query_scalar(number).fetch_one(db).await?;
        if let Some(found) = found.filter(|found| *found >= least) {
            return Ok(found);
        }
        ensure!(begun.elapsed() < patience, "{number} is {found:?}, and was to be {least}");
        sleep(EVERY).await;
    }
}

/// The transactions of these ledgers.
async fn landed(db: &PgPool, (first, last): (i64, i64)) -> anyhow::Result<Vec<Landed>> {
    let text = "SELECT t.kind, t.envelope, count(*) AS calls, \
            count(*) FILTER (WHERE m.code = 0) AS done \
         FROM chain_transactions t JOIN transaction_calls m ON m.transaction_id = t.id \
         WHERE t.state = 'succeeded' AND t.ledger BETWEEN $1 AND $2 GROUP BY t.id";
    let found = sqlx::query(text).bind(first).bind(last).fetch_all(db).await?;
    let read = |row: &sqlx::postgres::PgRow| {
        let kind = match row.get::<&str, _>("kind") {
            "open" => Kind::Open,
            "finalize" => Kind::Settle,
            other => bail!("a run was ended by {other}"),
        };
        let (calls, done): (i64, i64) = (row.get("calls"), row.get("done"));
        let counts = (usize::try_from(calls)?, usize::try_from(done)?);
        Landed::read(kind, counts, row.get("envelope"))
    };
    found.iter().map(read).collect()
}

/// The transactions of these ledgers, and how many runs were settled in them and are finalized, once
/// everything is known of these transactions and all of these runs have ended.
async fn ended(db: &PgPool, (first, last): (i64, i64)) -> anyhow::Result<(Vec<Landed>, usize)> {
    let open = "SELECT count(*) FROM chain_transactions WHERE signed_ledger < $1 \
            AND state IN ('prepared', 'sent', 'unknown')";
    let text = "SELECT count(*) FILTER (WHERE r.status = 'finalized'), \
            count(*) FILTER (WHERE r.phase = 'done') \
         FROM chain_transactions t JOIN transaction_calls m ON m.transaction_id = t.id \
            JOIN calls c ON c.id = m.call_id JOIN runs r ON r.id = c.run_id \
         WHERE t.kind = 'finalize' AND m.code = 0 AND t.ledger BETWEEN $1 AND $2";
    let begun = Instant::now();
    loop {
        let open: i64 = sqlx::query_scalar(open).bind(last).fetch_one(db).await?;
        let landed = landed(db, (first, last)).await?;
        let settled = landed.iter().filter(|landed| landed.kind == Kind::Settle);
        let settled: usize = settled.map(|landed| landed.done).sum();
        let (finalized, ended): (i64, i64) =
            sqlx::query_as(text).bind(first).bind(last).fetch_one(db).await?;
        if open == 0 && usize::try_from(ended)? == settled {
            return Ok((landed, usize::try_from(finalized)?));
        }
        let late = begun.elapsed() >= LEAST_PATIENCE;
        ensure!(!late, "{open} transactions are open; {ended} runs of {settled} have ended");
        sleep(EVERY).await;
    }
}

fn print_use(found: &[(&str, Found)]) {
    println!();
    head(&[
        "case",
        "processors busy",
        "of them by",
        "ledgers full by",
        "calls a transaction",
        "fullest",
        "binds",
    ]);
    for (name, found) in found {
        row(&[
            (*name).to_owned(),
            format!("{:.0} %", 100.0 * found.shares.busy),
            largest(found.shares.programs.iter().map(|(name, share)| (name.as_str(), *share))),
            largest(found.fill.iter().map(|(name, share)| (*name, *share))),
            format!("{:.1}", ratio(found.calls as f64, found.transactions as f64)),
            found.fullest.map(|calls| calls.to_string()).join(" and "),
            found.binds(),
        ]);
        if found.others > 0 {
            eprintln!("chain: {name}: {} runs have ended otherwise than finalized", found.others);
        }
    }
}

/// The largest shares.
fn largest<'a>(shares: impl Iterator<Item = (&'a str, f64)>) -> String {
    let mut shares: Vec<_> = shares.filter(|(_, share)| *share >= 0.01).collect();
    shares.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let text = |(name, share): &(&str, f64)| format!("{name} {:.0} %", 100.0 * share);
    shares.iter().take(6).map(text).collect::<Vec<_>>().join(", ")
}

impl Found {
    /// What is used up.
    fn binds(&self) -> String {
        let full = self.fill.iter().filter(|(_, share)| **share >= FULL).map(|(name, _)| *name);
        let mut full: Vec<_> = full.collect();
        if self.shares.busy >= FULL {
            full.push("processors");
        }
        if full.is_empty() { "waiting: nothing is used up".to_owned() } else { full.join(", ") }
    }
}
