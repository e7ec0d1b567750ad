//! A stack of its own that works on one case after the other.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Mutex as Shared;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use stellar::{Address, Rpc};
use testkit::{NatsServer, PostgresServer};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::check::{self, Ledger};
use super::{At, Case, EDGES, Fault, LEASE, TRANSACTION_LIFE};
use crate::stack::{Stack, repository};

/// How long an edge may take to be reached, and a run to end: only a defect takes so long.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long what is away stays away.
const AWAY: Duration = Duration::from_secs(1);
/// How long a node lags or a ledger stalls.
const BEHIND: Duration = Duration::from_secs(2);
/// How many ledgers the pruned node keeps.
const HISTORY: u32 = 30;

/// How one run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Paid, with a receipt.
    Settled,
    /// The escrow went back, or was never taken.
    Returned,
    /// A person has to look.
    Operator,
}

/// What came of one case.
#[derive(Debug)]
pub struct CaseResult {
    /// Which one.
    pub case: Case,
    /// How each of its runs ended.
    pub ends: Vec<End>,
    /// From the end of the fault to that of the last run.
    pub took: Duration,
    /// Whether at least two calls shared a transaction.
    pub shared: bool,
    /// What is not as it must be.
    pub broken: Vec<String>,
}

/// Works on cases until there are none.
pub(super) async fn work(
    queue: &Shared<VecDeque<Case>>,
    done: &Shared<Vec<CaseResult>>,
    total: usize,
    until: Option<Instant>,
) {
    let mut lane: Option<Lane> = None;
    loop {
        if until.is_some_and(|until| Instant::now() >= until) {
            return;
        }
        let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
        let Some(case) = next else { return };
        let mut here = match lane.take() {
            Some(lane) => lane,
            None => match Lane::start().await {
                Ok(lane) => lane,
                Err(error) => {
                    // The others go on with what is left.
                    if let Ok(mut queue) = queue.lock() {
                        queue.push_front(case);
                    }
                    println!("a lane ends, since its stack does not start: {error:#}");
                    return;
                }
            },
        };
        let result = match here.case(case).await {
            Ok(result) => result,
            Err(error) => CaseResult {
                case,
                ends: Vec::new(),
                took: Duration::ZERO,
                shared: false,
                broken: vec![format!("{error:#}\n{}", here.stack.logs())],
            },
        };
        // What one case has broken would be found again after each that follows.
        if result.broken.is_empty() {
            lane = Some(here);
        }
        if let Ok(mut done) = done.lock() {
            let said = if result.broken.is_empty() {
                format!("{:?} in {:.1?}", result.ends, result.took)
            } else {
                let lines = result.broken.iter().filter_map(|text| text.lines().next());
                format!("BROKEN {}", lines.collect::<Vec<_>>().join("; "))
            };
            done.push(result);
            println!("{}/{total} {}: {said}", done.len(), case.name());
        }
    }
}

/// The stack with servers that can be stopped.
pub(super) struct Lane {
    pub stack: Stack,
    pub postgres: PostgresServer,
    pub nats: NatsServer,
    pub agent: u64,
    pub alice: String,
    pub ledger: Ledger,
    http: reqwest::Client,
    pruned: String,
    asked: usize,
    /// Every run as it ended.
    ended: Vec<Value>,
}

/// Stacks start one after the other: together they take so much that none starts in time.
static STARTING: Mutex<()> = Mutex::const_new(());

impl Lane {
    /// Starts one. A machine that is busy with others may take too long for a node's answer, so it
    /// is tried three times.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let _turn = STARTING.lock().await;
        for _ in 0..2 {
            match Self::try_start().await {
                Ok(lane) => return Ok(lane),
                Err(error) => println!("a stack did not start, again: {error:#}"),
            }
        }
        Self::try_start().await
    }

    async fn try_start() -> anyhow::Result<Self> {
        let (postgres, nats) = (PostgresServer::start().await?, NatsServer::start().await);
        let databases =
            [postgres.database().await?, postgres.database().await?, postgres.database().await?];
        let stack = Stack::start_on(databases, nats.bus().await?).await?;
        let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced"))?;
        let alice = stack.alice()?;
        let user: Address = alice.parse().context("an address")?;
        let ledger = Ledger::new(Rpc::new(&stack.rpc_url())?, user).await?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let pruned = stack.node_with_history(HISTORY).await?;
        let ended = Vec::new();
        Ok(Self { stack, postgres, nats, agent, alice, ledger, http, pruned, asked: 0, ended })
    }

    async fn case(&mut self, case: Case) -> anyhow::Result<CaseResult> {
        let (at, _) = EDGES[case.edge];
        let before = self.transactions().await?;
        let armed = match at {
            At::Point(point) => Some(format!("hold:{point}")),
            At::Accepted | At::Ended => None,
        };
        self.start_runner(case, armed.as_deref()).await?;
        let numbers = self.asked + 1..=self.asked + case.runs;
        self.asked += case.runs;
        // At one time, and not waited for: the edge may be reached before all are answered.
        let asked = numbers.clone().map(|number| self.ask(number)).collect();
        let (runs, again) = if matches!(at, At::Point(_)) {
            self.until_held().await?;
            let again = self.strike(case, numbers).await?;
            (all(asked).await?, again)
        } else {
            let runs = all(asked).await?;
            if at == At::Ended {
                self.until_ended(&runs[0]).await?;
            }
            self.runner()?.hold()?;
            let again = self.strike(case, numbers).await?;
            (runs, again)
        };

        let lifted = Instant::now();
        let mut ends = Vec::new();
        for id in &runs {
            let run = self.until_ended(id).await?;
            ends.push(end(&run)?);
            self.ended.push(run);
        }
        let took = lifted.elapsed();
        let again = all(again).await?;
        let is_same = again.is_empty() || again == runs;
        ensure!(is_same, "the requests became {runs:?}, and repeated {again:?}");
        // Counted faults that nothing has met do not reach the next case.
        self.stack.fault(&json!({ "fault": "none" })).await?;
        let (_, mut broken) = check::all(&self.stack, &self.ledger, &self.ended).await?;
        if took > LEASE + TRANSACTION_LIFE {
            broken
                .push(format!("it took {took:.1?}, longer than a lease and a transaction's life"));
        }
        self.stack.runner = None;
        let shared = self.transactions().await? < before + 2 * i64::try_from(case.runs)?;
        Ok(CaseResult { case, ends, took, shared, broken })
    }

    /// Causes the fault while the runner is stopped, and ends the fault again. Answers the requests
    /// that the client repeats meanwhile.
    async fn strike(
        &mut self,
        case: Case,
        numbers: RangeInclusive<usize>,
    ) -> anyhow::Result<Vec<JoinHandle<anyhow::Result<String>>>> {
        match case.fault {
            Fault::Kill => {
                self.stack.runner = None;
                self.start_runner(case, None).await?;
            }
            Fault::LostResponse => {
                self.stack.fault(&json!({ "fault": "drop-send-responses", "count": 2 })).await?;
                self.runner()?.go_on()?;
            }
            Fault::Postgres => {
                self.postgres.stop();
                self.runner()?.go_on()?;
                tokio::time::sleep(AWAY).await;
                self.postgres.restart().await?;
            }
            Fault::Nats => {
                self.nats.stop();
                self.runner()?.go_on()?;
                tokio::time::sleep(AWAY).await;
                self.nats.restart().await;
            }
            Fault::Timeout => {
                for name in ["stall", "hang"] {
                    self.stack.fault(&json!({ "fault": name, "count": 1 })).await?;
                }
                self.runner()?.go_on()?;
            }
            Fault::Lagging => {
                self.stack.fault(&json!({ "fault": "lag", "ledgers": 8 })).await?;
                self.runner()?.go_on()?;
                tokio::time::sleep(BEHIND).await;
                self.stack.fault(&json!({ "fault": "lag", "ledgers": 0 })).await?;
            }
            Fault::Pruned => {
                self.stack.close_ledgers(HISTORY + 5).await?;
                self.runner()?.go_on()?;
            }
            Fault::Duplicates => {
                for name in ["duplicate-events", "reorder-answers"] {
                    self.stack.fault(&json!({ "fault": name, "count": 100 })).await?;
                }
                self.runner()?.go_on()?;
                return Ok(numbers.map(|number| self.ask(number)).collect());
            }
            Fault::Stalled => {
                self.stack.fault(&json!({ "fault": "freeze", "on": true })).await?;
                self.runner()?.go_on()?;
                tokio::time::sleep(BEHIND).await;
                self.stack.fault(&json!({ "fault": "freeze", "on": false })).await?;
            }
        }
        Ok(Vec::new())
    }

    async fn start_runner(&mut self, case: Case, armed: Option<&str>) -> anyhow::Result<()> {
        // Runs that are asked for one after the other share their transactions.
        let delay = if case.runs > 1 { "1000" } else { "20" };
        let mut further = vec![("RUNNER_AUTH", "none"), ("RUNNER_BATCH_MAX_DELAY_MS", delay)];
        further.extend(armed.map(|point| ("RUNNER_CRASH_AT", point)));
        let pruned = self.pruned.clone();
        if case.fault == Fault::Pruned {
            further.push(("RUNNER_RPC_URL", &pruned));
        }
        self.stack.start_runner(&further).await
    }

    fn runner(&mut self) -> anyhow::Result<&mut crate::Process> {
        self.stack.runner.as_mut().context("the runner was started")
    }

    async fn until_held(&mut self) -> anyhow::Result<()> {
        let give_up_at = Instant::now() + PATIENCE;
        while !self.runner()?.is_held()? {
            ensure!(Instant::now() < give_up_at, "the edge was not reached");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Asks for the run of this number, which has a key of its own.
    fn ask(&self, number: usize) -> JoinHandle<anyhow::Result<String>> {
        let body = body(&self.alice, self.agent, number);
        let url = format!("{}/runs", self.stack.gateway());
        tokio::spawn(ask(self.http.clone(), url, format!("case-{number}"), body))
    }

    async fn until_ended(&self, id: &str) -> anyhow::Result<Value> {
        until_ended(&self.http, &self.stack.gateway(), id, PATIENCE).await
    }

    async fn transactions(&self) -> anyhow::Result<i64> {
        let pool = &self.stack.databases[0].pool;
        // Before the first start of the runner there is no table.
        let text = "SELECT count(*) FROM chain_transactions";
        Ok(sqlx::query_scalar(text).fetch_one(pool).await.unwrap_or_default())
    }
}

/// Asks for a run, as often as a careful client does: with the same key.
async fn ask(
    http: reqwest::Client,
    url: String,
    key: String,
    body: Value,
) -> anyhow::Result<String> {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        let request = http.post(&url).header("idempotency-key", &key);
        let said = match request.json(&body).send().await {
            Ok(answer) if answer.status() == 202 => {
                let run: Value = answer.json().await?;
                return Ok(run["id"].as_str().context("a run has an id")?.to_owned());
            }
            Ok(answer) if answer.status().is_client_error() && answer.status() != 429 => {
                bail!("POST /runs answered {}: {}", answer.status(), answer.text().await?)
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        ensure!(Instant::now() < give_up_at, "POST /runs: {said}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The runs that were asked for.
async fn all(asked: Vec<JoinHandle<anyhow::Result<String>>>) -> anyhow::Result<Vec<String>> {
    futures::future::try_join_all(asked).await?.into_iter().collect()
}

/// A request for a paid run.
pub(super) fn body(alice: &str, agent: u64, number: usize) -> Value {
    json!({
        "user": alice, "agentId": agent,
        "input": { "deed": "wait", "ms": 100, "number": number },
        "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 20_000 },
    })
}

/// The run, once nothing is left to do for the runner.
pub(super) async fn until_ended(
    http: &reqwest::Client,
    gateway: &str,
    id: &str,
    patience: Duration,
) -> anyhow::Result<Value> {
    let give_up_at = Instant::now() + patience;
    loop {
        let asked = async {
            let answer = http.get(format!("{gateway}/runs/{id}")).send().await?;
            answer.error_for_status()?.json::<Value>().await
        };
        let last = match asked.await {
            Ok(run) if run["phase"] == "done" || run["phase"] == "operator" => return Ok(run),
            Ok(run) => format!("{run:#}"),
            Err(error) => error.to_string(),
        };
        ensure!(Instant::now() < give_up_at, "run {id} has not ended: {last}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How a run ended: exactly one of three ways.
pub(super) fn end(run: &Value) -> anyhow::Result<End> {
    let (status, escrow) = (run["status"].as_str(), run["escrow"].as_str());
    match (run["phase"].as_str(), status, escrow) {
        (Some("operator"), _, _) => Ok(End::Operator),
        (Some("done"), Some("finalized"), _) if run["receipt"].is_object() => Ok(End::Settled),
        (Some("done"), Some("failed" | "cancelled"), Some("none" | "returned")) => {
            Ok(End::Returned)
        }
        _ => bail!("it ended in no known way: {run:#}"),
    }
}
