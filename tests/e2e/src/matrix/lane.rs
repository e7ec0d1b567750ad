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
use super::payment::{Channel, PaymentEnd};
use super::{At, Case, EDGES, Fault, LEASE, TRANSACTION_LIFE, Way};
use crate::stack::{Stack, repository};

/// How long an edge may take to be reached, and a run to end: only a defect takes so long.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long what is away stays away.
const AWAY: Duration = Duration::from_secs(1);
/// How long a node lags or a ledger stalls.
const BEHIND: Duration = Duration::from_secs(2);
/// How many ledgers the pruned node keeps.
const HISTORY: u32 = 30;
/// How long one stack is used: the vault's records of its runs are compared after each case, and
/// live for about an hour of ledgers this short.
const STACK_LIFE: Duration = Duration::from_secs(40 * 60);
/// The shortest deadline that a run can have, in seconds, and the wall limit that fits into it.
const SHORT: [(&str, &str); 2] =
    [("RUNNER_DEADLINE_SECS", "660"), ("RUNNER_WALL_LIMIT_MS", "30000")];
/// By how many seconds the ledger's clock is moved to be past that deadline.
const PAST_DEADLINE: u64 = 700;

/// Requests for runs, which may not be answered yet.
type Asked = Vec<JoinHandle<anyhow::Result<String>>>;

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
    /// How the payment beside them ended, if there was one.
    pub payment: Option<PaymentEnd>,
    /// From the end of the fault to that of the last run, and of the payment.
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
        let young = lane.take().filter(|lane| lane.started.elapsed() < STACK_LIFE);
        let mut here = match young {
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
                payment: None,
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
    started: Instant,
    asked: usize,
    /// To which a payment is ordered in this case.
    channel: Option<Channel>,
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
        let started = Instant::now();
        let (asked, channel, ended) = (0, None, Vec::new());
        Ok(Self {
            stack,
            postgres,
            nats,
            agent,
            alice,
            ledger,
            http,
            pruned,
            started,
            asked,
            channel,
            ended,
        })
    }

    async fn case(&mut self, case: Case) -> anyhow::Result<CaseResult> {
        let shared_before = self.shared_transactions().await?;
        let numbers = self.asked + 1..=self.asked + case.runs;
        self.asked += case.runs;
        let (runs, again) = self.meet(case, numbers).await?;

        let lifted = Instant::now();
        let mut ends = Vec::new();
        for id in &runs {
            let run = self.until_ended(id).await?;
            ends.push(end(&run)?);
            self.ended.push(run);
        }
        let payment = match &self.channel {
            Some(channel) => Some(channel.until_ended(&self.stack).await?),
            None => None,
        };
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
        if case.way().gives_back() && ends.contains(&End::Settled) {
            broken.push(format!("the escrow was to go back, and the runs ended {ends:?}"));
        }
        self.stack.runner = None;
        if let (Some(channel), Some(end)) = (self.channel.take(), payment) {
            broken.extend(channel.contradiction(&self.stack, end).await?);
            channel.drain(&self.stack).await?;
        }
        let shared = self.shared_transactions().await? > shared_before;
        Ok(CaseResult { case, ends, payment, took, shared, broken })
    }

    /// Brings runs to the edge, and causes the fault there. Answers the runs, and the requests that
    /// the client has repeated meanwhile.
    async fn meet(
        &mut self,
        case: Case,
        numbers: RangeInclusive<usize>,
    ) -> anyhow::Result<(Vec<String>, Asked)> {
        let (way, at, _) = EDGES[case.edge];
        if let At::Point(point) = at {
            let armed = format!("hold:{point}");
            let asked = self.approach(case, way, &armed, numbers.clone()).await?;
            self.until_held().await?;
            let again = self.strike(case, numbers).await?;
            return Ok((all(asked).await?, again));
        }
        self.start_runner(case, None).await?;
        let runs = all(self.ask_for(numbers.clone())).await?;
        if at == At::Ended {
            self.until_ended(&runs[0]).await?;
        }
        self.runner()?.hold()?;
        let again = self.strike(case, numbers).await?;
        Ok((runs, again))
    }

    /// Starts the runner so that it stops at the edge, and asks for runs that come there. The
    /// answers are not waited for: the edge may be reached before all of them.
    async fn approach(
        &mut self,
        case: Case,
        way: Way,
        armed: &str,
        numbers: RangeInclusive<usize>,
    ) -> anyhow::Result<Asked> {
        match way {
            Way::Settled => {
                self.start_runner(case, Some(armed)).await?;
                Ok(self.ask_for(numbers))
            }
            Way::CalledOff => {
                self.start_runner(case, Some(armed)).await?;
                let runs = self.call_off(numbers).await?;
                Ok(runs.into_iter().map(|id| tokio::spawn(async move { Ok(id) })).collect())
            }
            Way::Overdue => {
                self.start_runner(case, Some("hold:open.after_result")).await?;
                let asked = self.ask_for(numbers);
                self.until_held().await?;
                self.stack.runner = None;
                self.stack.advance_ledger_time(PAST_DEADLINE).await?;
                self.start_runner(case, Some(armed)).await?;
                Ok(asked)
            }
            Way::Payment => {
                let channel = Channel::add(&self.stack).await?;
                self.start_runner(case, Some(armed)).await?;
                let asked = self.ask_for(numbers);
                channel.pay(&self.stack).await?;
                self.channel = Some(channel);
                Ok(asked)
            }
        }
    }

    /// Asks for runs, and calls each off when it is opened and its module has not started.
    async fn call_off(&self, numbers: RangeInclusive<usize>) -> anyhow::Result<Vec<String>> {
        // None is opened before module-gate was asked about all, and then it stands still.
        self.stack.freeze().await?;
        let runs = all(self.ask_for(numbers)).await?;
        self.until_openings_wanted(&runs).await?;
        let gate = self.stack.module_gate.as_ref().context("module-gate was started")?;
        gate.hold()?;
        self.stack.fault(&json!({ "fault": "freeze", "on": false })).await?;
        for id in &runs {
            let is_opened = |run: &Value| run["phase"] == "executing";
            until(&self.http, &self.stack.gateway(), id, PATIENCE, is_opened).await?;
        }
        // All at one time: once the first of them reaches the edge, the runner answers nobody.
        let cancels = runs.iter().map(|id| {
            let url = format!("{}/runs/{id}/cancel", self.stack.gateway());
            let request = self.http.post(url).json(&Value::Null);
            async move { request.send().await?.error_for_status() }
        });
        futures::future::try_join_all(cancels).await?;
        gate.go_on()?;
        Ok(runs)
    }

    async fn until_openings_wanted(&self, runs: &[String]) -> anyhow::Result<()> {
        let text = "SELECT count(*) FROM calls WHERE kind = 'open' AND run_id::text = ANY($1)";
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            let wanted = sqlx::query_scalar::<_, i64>(text).bind(runs);
            let wanted = wanted.fetch_one(&self.stack.databases[0].pool).await?;
            if usize::try_from(wanted).is_ok_and(|wanted| wanted == runs.len()) {
                return Ok(());
            }
            ensure!(Instant::now() < give_up_at, "{wanted} of {runs:?} are to be opened");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Causes the fault while the runner is stopped, and ends the fault again. Answers the requests
    /// that the client repeats meanwhile.
    async fn strike(
        &mut self,
        case: Case,
        numbers: RangeInclusive<usize>,
    ) -> anyhow::Result<Asked> {
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
                return Ok(self.ask_for(numbers));
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
        if case.way() == Way::Overdue {
            further.extend(SHORT);
        }
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

    /// Asks for runs at one time.
    fn ask_for(&self, numbers: RangeInclusive<usize>) -> Asked {
        numbers.map(|number| self.ask(number)).collect()
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

    /// How many transactions have carried several calls.
    async fn shared_transactions(&self) -> anyhow::Result<i64> {
        let pool = &self.stack.databases[0].pool;
        // Before the first start of the runner there is no table.
        let text = "SELECT count(*) FROM (SELECT transaction_id FROM transaction_calls \
                    GROUP BY transaction_id HAVING count(*) > 1) AS several";
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
async fn all(asked: Asked) -> anyhow::Result<Vec<String>> {
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
    let has_ended = |run: &Value| run["phase"] == "done" || run["phase"] == "operator";
    until(http, gateway, id, patience, has_ended).await
}

/// The run, once the gateway shows it so.
async fn until(
    http: &reqwest::Client,
    gateway: &str,
    id: &str,
    patience: Duration,
    holds: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let give_up_at = Instant::now() + patience;
    loop {
        let asked = async {
            let answer = http.get(format!("{gateway}/runs/{id}")).send().await?;
            answer.error_for_status()?.json::<Value>().await
        };
        let last = match asked.await {
            Ok(run) if holds(&run) => return Ok(run),
            Ok(run) => format!("{run:#}"),
            Err(error) => error.to_string(),
        };
        ensure!(Instant::now() < give_up_at, "run {id} does not go on: {last}");
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
