//! What accepting a run, moving it and asking for the summary cost while more and more runs are
//! kept.

use std::time::Duration;

use anyhow::ensure;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::Instant;

use crate::Options;
use crate::figures::{Times, at_most, head, ms, ratio, row};
use crate::gateway::{Gateway, Requests, Servers, until_published};
use crate::load::{Call, Seen, Until, closed_loop};
use crate::queue::Engine;

/// How many times as much a run may cost as with the fewest kept ones: what is above is not linear.
const TARGET: f64 = 1.25;
/// Runs that are measured many at one time, for each that is measured alone.
const TOGETHER: u64 = 6;
const CLIENTS: usize = 16;

/// Measures and prints it.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    ensure!(options.kept.is_sorted(), "--kept: expected numbers that grow");
    let servers = Servers::start().await?;
    let gateway = Gateway::start(&servers).await?;
    let engine = Engine::new(&gateway.db, gateway.prefix()).await?;
    // Connections, plans and caches are made.
    let count = options.measured;
    cost(&gateway, &engine, count, "warm-up").await?;
    let (mut kept, mut found) = (0, Vec::new());
    for wanted in &options.kept {
        eprintln!("kept: making {wanted} runs");
        keep(&gateway.db.pool, kept + 1, *wanted).await?;
        kept = *wanted;
        eprintln!("kept: measuring");
        found.push(cost(&gateway, &engine, count, &wanted.to_string()).await?);
    }

    println!("\n## Kept runs\n");
    head(&[
        "kept runs",
        "accept ms",
        "move ms",
        "accepts a second",
        "moves a second",
        "summary p50 ms",
        "accept and move, of the first",
    ]);
    for (kept, cost) in options.kept.iter().zip(&found) {
        row(&[
            kept.to_string(),
            ms(cost.accept),
            ms(cost.step),
            format!("{:.0}", cost.accepts),
            format!("{:.0}", cost.steps),
            ms(cost.summary),
            at_most(ratio(cost.of_a_run(), found[0].of_a_run()), TARGET),
        ]);
    }
    Ok(())
}

/// What was measured at one number of kept runs.
struct Cost {
    /// The mean of one after the other.
    accept: Duration,
    step: Duration,
    /// A second, many at one time.
    accepts: f64,
    steps: f64,
    summary: Duration,
}

impl Cost {
    /// Seconds that a run takes to be accepted and moved once.
    fn of_a_run(&self) -> f64 {
        (self.accept + self.step).as_secs_f64()
    }
}

/// Measures with this many runs, one after the other, and with several times as many together. All
/// of them have ended when this returns.
async fn cost(gateway: &Gateway, engine: &Engine, count: u64, name: &str) -> anyhow::Result<Cost> {
    let accepted = accept(gateway, 1, count, format!("{name}-alone")).await?;
    let mut steps = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        ensure!(engine.move_next().await?, "a run that was accepted is not there");
        steps.push(begun.elapsed());
    }
    let many = count * TOGETHER;
    let together = accept(gateway, CLIENTS, many, format!("{name}-together")).await?;
    let moved = engine.drain(many).await?;
    let asked = closed_loop(gateway.address, 1, Until::Count(100), 200, |_| summary()).await?;
    until_published(&gateway.db.pool).await?;
    Ok(Cost {
        accept: accepted.sorted().mean(),
        step: steps.into_iter().collect::<Times>().mean(),
        accepts: together.rate(),
        steps: moved,
        summary: asked.sorted().quantile(50),
    })
}

async fn accept(
    gateway: &Gateway,
    clients: usize,
    count: u64,
    prefix: String,
) -> anyhow::Result<Seen> {
    let requests = Requests::new(prefix);
    let call = move |number| requests.call(number);
    let seen = closed_loop(gateway.address, clients, Until::Count(count), 202, call).await?;
    // Its events would be published beside what is measured next.
    until_published(&gateway.db.pool).await?;
    Ok(seen)
}

fn summary() -> anyhow::Result<Call> {
    let request = http::Request::get("/summary").header("host", "localhost");
    Ok(request.body(http_body_util::Full::default())?)
}

/// Keeps paid runs with these numbers.
async fn keep(db: &PgPool, first: i64, last: i64) -> anyhow::Result<()> {
    let text = include_str!("kept.sql");
    let text = text.replace("FIRST", &first.to_string()).replace("LAST", &last.to_string());
    let mut conn = db.acquire().await?.detach();
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await?;
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut conn).await?;
    Ok(())
}
