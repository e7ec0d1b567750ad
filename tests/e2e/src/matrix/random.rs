//! Three runners on one database, killed at random under load, while clients hang up on every
//! route.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use stellar::Keypair;
use tokio::time::Instant;

use super::check;
use super::clients::{Names, hang_up, leave_every_method, routes};
use super::lane::{End, Lane, body, end, until_ended};
use super::{LEASE, TRANSACTION_LIFE};
use crate::process::Process;
use crate::stack::Variables;

/// How many runners share the database.
const RUNNERS: usize = 3;
/// The load asks for no more runs while this many are under way.
const MOST_UNDER_WAY: i64 = 12;
/// How long the remaining runs may take to end after the last fault, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What came of it.
#[derive(Debug, Default)]
pub struct RandomResult {
    /// How long it lasted.
    pub lasted: Duration,
    /// How many processes were killed.
    pub kills: u64,
    /// How many were stopped for longer than their lease, and went on.
    pub holds: u64,
    /// How many runs there were.
    pub runs: usize,
    /// How many of them were answered to a client that repeats its request until it is answered.
    pub answered: usize,
    /// How often such a client had to repeat itself.
    pub repeated: u64,
    /// How many runs ended settled, returned, and in an operator's hands.
    pub ends: [usize; 3],
    /// Settlements in the vault: those of earlier attempts of a run too.
    pub settled: usize,
    /// What they cost, stroops.
    pub charged: i128,
    /// Connections that were reset, a route each.
    pub resets: BTreeMap<String, u64>,
    /// Calls of gRPC that were given up, a method each.
    pub given_up: BTreeMap<&'static str, u64>,
    /// From the last fault to the end of the last run.
    pub drained: Duration,
    /// What is not as it must be.
    pub broken: Vec<String>,
}

struct Runner {
    name: String,
    variables: Variables,
    http: u16,
    grpc: u16,
}

/// What the parts share while they work.
struct Shared<'a> {
    lane: &'a Lane,
    runners: Vec<Runner>,
    until: Instant,
    http: reqwest::Client,
    /// Runs whose ids are known.
    known: Mutex<Vec<String>>,
}

/// Lets it go on for this long, then waits until every run has ended, and compares.
pub(super) async fn run(seed: u64, lasts: Duration) -> anyhow::Result<RandomResult> {
    println!("random part: {RUNNERS} runners, {lasts:?}");
    let lane = Lane::start().await?;
    let mut runners = Vec::new();
    for number in 1..=RUNNERS {
        let name = format!("runner-{number}");
        let (mut variables, http, grpc) =
            lane.stack.further_runner(&name, &Keypair::generate()?)?;
        variables.insert("RUNNER_AUTH".to_owned(), "none".to_owned());
        runners.push(Runner { name, variables, http, grpc });
    }
    let mut shared = Shared {
        lane: &lane,
        runners,
        until: Instant::now(),
        http: reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?,
        known: Mutex::default(),
    };
    let mut running = Vec::new();
    for runner in &shared.runners {
        running.push(Some(shared.start(runner).await?));
    }
    // From here: starting takes most of a short part's time on a busy machine.
    shared.until = Instant::now() + lasts;
    let mut result = RandomResult { lasted: lasts, ..RandomResult::default() };
    let (kills, load, resets, calls) = tokio::join!(
        shared.faults(StdRng::seed_from_u64(seed), &mut running),
        shared.load(),
        shared.resets(StdRng::seed_from_u64(seed.wrapping_add(1))),
        shared.calls(StdRng::seed_from_u64(seed.wrapping_add(2))),
    );
    (result.kills, result.holds) = kills?;
    (result.answered, result.repeated) = load?;
    (result.resets, result.given_up) = (resets?, calls?);
    println!("random part: {} kills, {} holds; waiting for the end", result.kills, result.holds);
    shared.drain(&mut result).await?;
    println!(
        "random part: {} runs, {:?} settled, returned, with an operator, {} broken",
        result.runs,
        result.ends,
        result.broken.len()
    );
    Ok(result)
}

impl Shared<'_> {
    async fn start(&self, runner: &Runner) -> anyhow::Result<Process> {
        let folder = self.lane.stack.folder();
        let process =
            Process::start(&runner.name, "runner", &["serve"], &runner.variables, folder)?;
        process.answering(runner.http).await
    }

    /// Kills a runner and starts it again, or stops it (SIGSTOP) until other runners have its leases.
    async fn faults(
        &self,
        mut random: StdRng,
        running: &mut [Option<Process>],
    ) -> anyhow::Result<(u64, u64)> {
        let (mut kills, mut holds) = (0, 0);
        // One at least, however short the part is.
        while Instant::now() < self.until || kills == 0 {
            let pause = Duration::from_millis(random.random_range(200..2_500));
            tokio::time::sleep(pause).await;
            let place = random.random_range(0..running.len());
            if random.random_bool(0.75) {
                running[place] = None;
                kills += 1;
                tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
                running[place] = Some(self.start(&self.runners[place]).await?);
            } else if let Some(process) = &running[place] {
                process.hold()?;
                holds += 1;
                let longer = Duration::from_millis(random.random_range(100..2_000));
                tokio::time::sleep(LEASE + longer).await;
                process.go_on()?;
            }
        }
        Ok((kills, holds))
    }

    /// Asks for runs as a careful client does: with a key, again until there is an answer.
    async fn load(&self) -> anyhow::Result<(usize, u64)> {
        let (mut answered, mut repeated) = (0, 0);
        while Instant::now() < self.until {
            if self.under_way().await? >= MOST_UNDER_WAY {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            let body = body(&self.lane.alice, self.lane.agent, answered);
            let key = format!("load-{answered}");
            let give_up_at = Instant::now() + PATIENCE;
            for turn in 0.. {
                let url = format!("http://127.0.0.1:{}", self.runners[turn % RUNNERS].http);
                let request = self.http.post(format!("{url}/runs")).header("idempotency-key", &key);
                if let Ok(answer) = request.json(&body).send().await
                    && answer.status() == 202
                    && let Ok(run) = answer.json::<Value>().await
                {
                    let id = run["id"].as_str().context("a run has an id")?.to_owned();
                    if let Ok(mut known) = self.known.lock() {
                        known.push(id);
                    }
                    answered += 1;
                    break;
                }
                repeated += 1;
                ensure!(Instant::now() < give_up_at, "no gateway accepts the run {key}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok((answered, repeated))
    }

    /// Hangs up on every route, one after the other, at whichever runner is there.
    async fn resets(&self, mut random: StdRng) -> anyhow::Result<BTreeMap<String, u64>> {
        let (mut counts, mut routes) = (BTreeMap::new(), routes()?);
        while Instant::now() < self.until {
            routes.shuffle(&mut random);
            for route in &routes {
                if route.path == "/runs" && self.under_way().await? >= MOST_UNDER_WAY {
                    continue;
                }
                let names = self.names(&mut random);
                let port = self.runners[random.random_range(0..RUNNERS)].http;
                // The port is closed while a process is dead.
                if hang_up(port, route, &names, &mut random).await.is_ok() {
                    let name = format!("{} {}", route.method, route.path);
                    *counts.entry(name).or_default() += 1;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(counts)
    }

    async fn calls(&self, mut random: StdRng) -> anyhow::Result<BTreeMap<&'static str, u64>> {
        let mut counts = BTreeMap::new();
        while Instant::now() < self.until {
            if self.under_way().await? < MOST_UNDER_WAY {
                let names = self.names(&mut random);
                let port = self.runners[random.random_range(0..RUNNERS)].grpc;
                leave_every_method(port, &names, &mut random, &mut counts).await?;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(counts)
    }

    fn names(&self, random: &mut StdRng) -> Names {
        let known = self.known.lock().map(|known| known.clone()).unwrap_or_default();
        // The newest ones are under way; before there is one, an id that no run has.
        let recent = &known[known.len().saturating_sub(5)..];
        let run = rand::seq::IndexedRandom::choose(recent, random);
        let run = run.cloned().unwrap_or_else(|| uuid::Uuid::nil().to_string());
        Names { alice: self.lane.alice.clone(), agent: self.lane.agent, run }
    }

    async fn under_way(&self) -> anyhow::Result<i64> {
        let text = "SELECT count(*) FROM runs WHERE phase <> 'done' AND operator_reason IS NULL";
        let pool = &self.lane.stack.databases[0].pool;
        Ok(sqlx::query_scalar(text).fetch_one(pool).await?)
    }

    /// Every run ends, those too whose clients never had an answer; then everything is compared.
    async fn drain(&self, result: &mut RandomResult) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.under_way().await? > 0 && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        result.drained = begun.elapsed();
        let pool = &self.lane.stack.databases[0].pool;
        let text = "SELECT id::text FROM runs ORDER BY created_at";
        let ids: Vec<String> = sqlx::query_scalar(text).fetch_all(pool).await?;
        let url = format!("http://127.0.0.1:{}", self.runners[0].http);
        let mut runs = Vec::new();
        for id in &ids {
            let run = match until_ended(&self.http, &url, id, Duration::from_secs(60)).await {
                Ok(run) => run,
                Err(error) => {
                    result.broken.push(format!("{error:#}"));
                    continue;
                }
            };
            match end(&run) {
                Ok(end) => result.ends[place(end)] += 1,
                Err(error) => result.broken.push(format!("{error:#}")),
            }
            runs.push(run);
        }
        result.runs = ids.len();
        if let Ok(known) = self.known.lock() {
            let lost = known.iter().filter(|id| !ids.contains(id)).count();
            if lost > 0 {
                result.broken.push(format!("{lost} runs were accepted, and are not there"));
            }
        }
        if result.drained > LEASE + TRANSACTION_LIFE {
            let drained = result.drained;
            result.broken.push(format!("the last run ended {drained:.1?} after the last fault"));
        }
        let text = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND state LIKE 'idle in transaction%' \
                    AND now() - state_change > interval '5 seconds'";
        let left: i64 = sqlx::query_scalar(text).fetch_one(pool).await?;
        if left > 0 {
            result.broken.push(format!("{left} connections are idle in an open transaction"));
        }
        let (money, broken) = check::all(&self.lane.stack, &self.lane.ledger, &runs).await?;
        (result.settled, result.charged) = (money.settled, money.charged);
        result.broken.extend(broken);
        Ok(())
    }
}

const fn place(end: End) -> usize {
    match end {
        End::Settled => 0,
        End::Returned => 1,
        End::Operator => 2,
    }
}
