//! What moves runs, on the product's own tables and statements: runs are claimed for the workers that
//! are free, each is taken to its last phase under its fencing token with the event of it, which lets
//! go of it, and other processes are woken. Beside it graphile-worker does jobs that write as many
//! rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use runner::gateway::accept::{Acceptor, Offer};
use runner::gateway::create_request;
use runner::gateway::intake::Intake;
use runner::model::policy::Places;
use runner::model::run::RunLease;
use runner::model::state::{Lane, Phase, Status};
use runner::runs::signal::WorkSignal;
use runner::runs::{event, store};
use sqlx::PgPool;
use testkit::TestDb;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::figures::{at_least, head, ratio, row};
use crate::gateway::{Requests, Servers};
use crate::peer::{self, Task};

/// How many runs are moved at one time; graphile-worker does 24 jobs.
const WORKERS: u32 = 24;
/// How many times the peer's rate is wanted.
const TARGET: f64 = 0.5;
/// Nothing of a measurement takes longer.
const LEASE_MS: i64 = 60_000;
const RUNNER: &str = "GRUNNER";

/// Measures and prints it.
pub async fn measure(options: &Options) -> anyhow::Result<()> {
    peer::install().await?;
    let servers = Servers::start().await?;
    let (ours, theirs) = (servers.postgres.database().await?, servers.postgres.database().await?);
    let engine = Engine::new(&ours, "bench").await?;
    let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut waits = BTreeMap::new();
    for round in 1..=options.rounds {
        eprintln!("queue: round {round} of {}", options.rounds);
        engine.fill(options.jobs).await?;
        let sampled = Waits::sample(&ours);
        rates.entry("runner").or_default().push(engine.drain(options.jobs).await?);
        sampled.add_to(&mut waits);
        let tasks = [("rows", Task::Rows), ("wake", Task::Wake), ("nothing", Task::Nothing)];
        for (name, task) in tasks {
            rates.entry(name).or_default().push(peer::work(&theirs.url, options.jobs, task).await?);
        }
    }
    let rate = |name: &str| rates.get(name).map_or(0.0, |all| mean(all));

    println!("\n## The product's own tables\n");
    println!(
        "{} rounds of {} runs or jobs, {WORKERS} at one time; five rows are written for each.\n",
        options.rounds, options.jobs
    );
    head(&["way", "a second", "ratio"]);
    let others = [
        ("graphile-worker, with the same number of rows", rate("rows")),
        ("the same, and a notification with the commit", rate("wake")),
        ("graphile-worker alone: two rows, in batches", rate("nothing")),
    ];
    let ours = rate("runner");
    row(&["runner".to_owned(), format!("{ours:.0}"), String::new()]);
    for (place, (name, theirs)) in others.into_iter().enumerate() {
        let ratio = ratio(ours, theirs);
        let ratio = if place == 0 { at_least(ratio, TARGET) } else { format!("{ratio:.2}") };
        row(&[name.to_owned(), format!("{theirs:.0}"), ratio]);
    }
    engine.print_calls(options.jobs * options.rounds);
    print_waits(&waits);
    Ok(())
}

fn mean(values: &[f64]) -> f64 {
    // Of rates over the same number of jobs, it is the harmonic one.
    values.len() as f64 / values.iter().map(|value| 1.0 / value).sum::<f64>()
}

/// What is called for a run, in the order of the calls.
const CALLS: [&str; 6] = ["claim", "begin", "fence", "advance", "publish event", "commit"];

/// Workers that do with a run what the product's do around a step.
pub struct Engine {
    db: PgPool,
    acceptor: Acceptor,
    accepting: JoinHandle<anyhow::Result<()>>,
    work_signal: WorkSignal,
    /// What wakes other processes.
    waking: JoinHandle<anyhow::Result<()>>,
    intake: Intake,
    prefix: String,
    filled: AtomicU64,
    /// Microseconds spent in each of [`CALLS`].
    spent: [AtomicU64; CALLS.len()],
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.accepting.abort();
        self.waking.abort();
    }
}

impl Engine {
    /// Workers on this database, which gets the product's tables. Subjects of events begin with
    /// `prefix`.
    pub async fn new(db: &TestDb, prefix: &str) -> anyhow::Result<Self> {
        // Besides the workers': one to claim, one to wake others, two to accept runs.
        let pool = chassis::postgres::connect_at_most(&db.url, WORKERS + 4).await?;
        chassis::postgres::migrate(&pool, &runner::MIGRATIONS).await?;
        let work_signal = WorkSignal::default();
        let (acceptor, accepting) = Acceptor::new(pool.clone(), work_signal.clone());
        let waking = work_signal.clone().wake_others(pool.clone(), CancellationToken::new());
        Ok(Self {
            db: pool,
            acceptor,
            accepting: tokio::spawn(accepting.serve()),
            work_signal,
            waking: tokio::spawn(waking),
            intake: Intake::new(Some(u64::MAX), 3_600),
            prefix: prefix.to_owned(),
            filled: AtomicU64::new(0),
            spent: Default::default(),
        })
    }

    /// Accepts this many runs.
    pub async fn fill(&self, count: u64) -> anyhow::Result<()> {
        let begun = self.filled.fetch_add(count, Ordering::Relaxed);
        let requests = &Requests::new(String::new());
        let numbers: Vec<u64> = (begun..begun + count).collect();
        for some in numbers.chunks(128) {
            try_join_all(some.iter().copied().map(|number| async move {
                let new = create_request::read(requests.body(number), || number)?;
                let now = chassis::clock::now();
                let place = self.intake.reserve(false);
                let offer = Offer::new((new, None, None), place, &self.prefix, now)?;
                anyhow::Ok(self.acceptor.accept(offer).await?)
            }))
            .await?;
        }
        sqlx::raw_sql("ANALYZE").execute(&self.db).await?;
        Ok(())
    }

    /// Moves this many runs, which have to be there; how many in a second. Runs are claimed for all
    /// workers that are free, as the product does.
    pub async fn drain(&self, count: u64) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let (mut moved, mut working) = (0_u64, FuturesUnordered::new());
        loop {
            for lease in self.claim(WORKERS as usize - working.len()).await? {
                working.push(self.step(lease));
            }
            let Some(ended) = working.next().await else { break };
            ended?;
            moved += 1;
            // Those that ended meanwhile leave room for the same claim.
            while let Some(Some(ended)) = working.next().now_or_never() {
                ended?;
                moved += 1;
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(moved == count, "{moved} of {count} runs were moved");
        Ok(count as f64 / seconds)
    }

    /// Moves the next run; `false` if there is none.
    pub async fn move_next(&self) -> anyhow::Result<bool> {
        let Some(lease) = self.claim(1).await?.pop() else { return Ok(false) };
        self.step(lease).await?;
        Ok(true)
    }

    async fn claim(&self, most: usize) -> anyhow::Result<Vec<RunLease>> {
        let (owner, places) = (("bench", RUNNER), Places::default());
        let claimed = store::claim(&self.db, owner, LEASE_MS, Lane::Chain, places, most);
        self.timed(0, claimed).await
    }

    /// Does with a run what the product's last step does.
    async fn step(&self, lease: RunLease) -> anyhow::Result<()> {
        let now = chassis::clock::now();
        let mut tx = self.timed(1, chassis::postgres::begin(&self.db)).await?;
        self.timed(2, store::fence(&mut tx, lease, Phase::Queued)).await?;
        // It ends, as a job does: what stays in the queue of each would slow the next ones.
        let phases = (Phase::Queued, Phase::Done);
        let advanced = store::advance(&mut tx, lease, phases, Status::Cancelled, now);
        self.timed(3, advanced).await?;
        self.timed(4, event::publish(&mut tx, &self.prefix, lease.id, now)).await?;
        self.timed(5, tx.commit()).await?;
        self.work_signal.notify_others();
        Ok(())
    }

    async fn timed<T, E>(
        &self,
        place: usize,
        call: impl Future<Output = Result<T, E>>,
    ) -> anyhow::Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let begun = Instant::now();
        let answer = call.await.context(CALLS[place])?;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.spent[place].fetch_add(micros, Ordering::Relaxed);
        Ok(answer)
    }

    fn print_calls(&self, runs: u64) {
        let spent = self.spent.each_ref().map(|micros| micros.load(Ordering::Relaxed));
        let all: u64 = spent.iter().sum();
        println!();
        head(&["call, for one run", "ms", "share"]);
        for (name, micros) in CALLS.iter().zip(spent) {
            let each = ratio(micros as f64 / 1_000.0, runs as f64);
            let share = 100.0 * ratio(micros as f64, all as f64);
            row(&[(*name).to_owned(), format!("{each:.2}"), format!("{share:.0} %")]);
        }
    }
}

/// For what sessions of a database wait, and how often they were seen to.
type Seen = BTreeMap<String, u64>;

/// Looks at the sessions every few milliseconds.
struct Waits {
    looking: JoinHandle<()>,
    seen: std::sync::Arc<std::sync::Mutex<Seen>>,
}

impl Waits {
    fn sample(db: &TestDb) -> Self {
        let (pool, seen) = (db.pool.clone(), std::sync::Arc::<std::sync::Mutex<Seen>>::default());
        let shared = seen.clone();
        let looking = tokio::spawn(async move {
            let mut tick = interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                let text = "SELECT coalesce(wait_event_type || ': ' || wait_event, 'no wait') \
                    FROM pg_stat_activity WHERE datname = current_database() \
                        AND state = 'active' AND pid <> pg_backend_pid()";
                let found = sqlx::query_scalar::<_, String>(text).fetch_all(&pool).await;
                let Ok(mut seen) = shared.lock() else { return };
                for wait in found.into_iter().flatten() {
                    *seen.entry(wait).or_default() += 1;
                }
            }
        });
        Self { looking, seen }
    }

    fn add_to(self, all: &mut Seen) {
        self.looking.abort();
        let Ok(seen) = self.seen.lock() else { return };
        for (wait, count) in seen.iter() {
            *all.entry(wait.clone()).or_default() += count;
        }
    }
}

fn print_waits(waits: &Seen) {
    let all: u64 = waits.values().sum();
    let mut waits: Vec<_> = waits.iter().collect();
    waits.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    println!();
    head(&["what busy sessions of Postgres wait for", "share of samples"]);
    for (wait, count) in waits.into_iter().take(6) {
        row(&[wait.clone(), format!("{:.0} %", 100.0 * ratio(*count as f64, all as f64))]);
    }
}
