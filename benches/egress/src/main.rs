//! `egress-overhead`: what the proxy of modules adds to a call, beside a direct call and beside any
//! other proxy, in one run. Rounds alternate, so that whatever slows the machine slows all of them.

mod upstream;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use egress::{Credential, Engine, Limits, Plan, Proxy, Route, Source};
use futures::future::try_join_all;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wire::Usage;
use wire::egress::UpstreamKind;

use crate::upstream::Upstream;

/// Print what the proxy of modules adds to a call of a service
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  cargo run --release -p egress-overhead\n  \
    cargo run --release -p egress-overhead -- --upstream 127.0.0.1:4300 \
        --beside litellm=http://127.0.0.1:4000/v1\n\n\
    Exit codes: 0 done, 2 it could not be measured, 3 wrong usage")]
struct Options {
    /// Calls of each way, at each number of connections
    #[arg(long, default_value_t = 2_000,
        value_parser = clap::value_parser!(u32).range(100..=100_000))]
    calls: u32,
    /// After this time the service answers
    #[arg(long, default_value_t = 50, value_name = "MS",
        value_parser = clap::value_parser!(u64).range(0..=10_000))]
    delay_ms: u64,
    /// Where the service listens, so that another proxy can be configured with it before
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    upstream: SocketAddr,
    /// Another proxy in front of the service, measured in the same rounds: NAME=BASE-URL
    #[arg(long, value_name = "NAME=URL", value_parser = named)]
    beside: Vec<(String, String)>,
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, url) = text.split_once('=').ok_or("expected NAME=BASE-URL")?;
    Ok((name.to_owned(), url.trim_end_matches('/').to_owned()))
}

/// One way to the service.
struct Way {
    name: String,
    base: Base,
    client: Client,
}

enum Base {
    Fixed(String),
    /// The list of calls of one execution has an end, so each round has a proxy of its own.
    Ours,
}

/// Calls of one round.
const ROUND: u32 = 250;
const PLENTY: Usage =
    Usage { llm_in: 1 << 50, llm_out: 1 << 50, http_calls: 1 << 50, runtime_ms: 0 };

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 3 } else { 0 });
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("egress-overhead: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    // The clients' own; the service and the proxy have theirs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let delay = Duration::from_millis(options.delay_ms);
    let upstream = Upstream::start(options.upstream, delay)?;
    let engine = Engine::start()?;
    let direct = Base::Fixed(format!("http://{}/v1", upstream.address));
    let mut ways = vec![way("direct", direct)?, way("lumio", Base::Ours)?];
    for (name, url) in &options.beside {
        ways.push(way(name, Base::Fixed(url.clone()))?);
    }

    println!(
        "the service answers after {} ms; {} calls of each way\n",
        options.delay_ms, options.calls
    );
    println!("| calls | connections | way | p50 ms | p99 ms | added p50 ms | added p99 ms |");
    println!("|---|--:|---|--:|--:|--:|--:|");
    let bench = Bench { runtime: &runtime, engine: &engine, upstream: &upstream, ways: &ways };
    let mut spent = Vec::new();
    for (stream, connections) in [(false, 1), (false, 16), (true, 1), (true, 16)] {
        let before = Spent::now();
        let measured = bench.rounds(options.calls, connections, stream)?;
        let what = if stream { "streamed, to the first event" } else { "whole" };
        if let (Some(before), Some(after)) = (before, Spent::now()) {
            spent.push((what, connections, after.since(&before), measured[1].len()));
        }
        let base = (quantile(&measured[0], 50), quantile(&measured[0], 99));
        for (way, times) in ways.iter().zip(&measured) {
            let (p50, p99) = (quantile(times, 50), quantile(times, 99));
            println!(
                "| {what} | {connections} | {} | {p50:.3} | {p99:.3} | {:.3} | {:.3} |",
                way.name,
                p50 - base.0,
                p99 - base.1
            );
        }
    }

    println!("\n| the proxy's own thread | connections | processor µs a call | switches a call |");
    println!("|---|--:|--:|--:|");
    for (what, connections, spent, calls) in spent {
        let calls = calls as f64;
        let (micros, switches) = (spent.nanos as f64 / 1_000.0 / calls, spent.switches as f64);
        println!("| {what} | {connections} | {micros:.0} | {:.1} |", switches / calls);
    }

    println!("\n| 64 connections, no delay | calls a second | of direct |\n|---|--:|--:|");
    upstream.set_delay(Duration::ZERO);
    let mut direct = 0.0;
    for (index, way) in ways.iter().enumerate() {
        let rate = bench.rate(way, options.calls)?;
        if index == 0 {
            direct = rate;
        }
        println!("| {} | {rate:.0} | {:.2} |", way.name, rate / direct);
    }
    Ok(())
}

fn way(name: &str, base: Base) -> anyhow::Result<Way> {
    let client = Client::builder().no_proxy().tcp_nodelay(true).build()?;
    Ok(Way { name: name.to_owned(), base, client })
}

/// What the proxy's threads have used of the processors so far, as Linux counts it. What is added to
/// a call beyond that is waiting: for a thread to be woken, and for data.
struct Spent {
    nanos: u64,
    /// How often one of them gave its processor up, mostly to wait for the next message.
    switches: u64,
}

impl Spent {
    /// `None` where the kernel does not say.
    fn now() -> Option<Self> {
        let mut spent = Self { nanos: 0, switches: 0 };
        for thread in std::fs::read_dir("/proc/self/task").ok()? {
            let thread = thread.ok()?.path();
            let read = |name: &str| std::fs::read_to_string(thread.join(name)).ok();
            if read("comm")?.trim() != "egress" {
                continue;
            }
            let first = read("schedstat")?.split_whitespace().next()?.parse::<u64>();
            spent.nanos += first.ok()?;
            let status = read("status")?;
            let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
            spent.switches +=
                counts.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum::<u64>();
        }
        Some(spent)
    }

    fn since(&self, before: &Self) -> Self {
        Self { nanos: self.nanos - before.nanos, switches: self.switches - before.switches }
    }
}

struct Bench<'b> {
    runtime: &'b Runtime,
    engine: &'b Engine,
    upstream: &'b Upstream,
    ways: &'b [Way],
}

impl Bench<'_> {
    /// Latencies of each way, in milliseconds, sorted.
    fn rounds(&self, calls: u32, connections: u32, stream: bool) -> anyhow::Result<Vec<Vec<f64>>> {
        let mut measured = vec![Vec::new(); self.ways.len()];
        let each = ROUND.min(calls) / connections;
        let rounds = calls.div_ceil(each * connections);
        for _ in 0..rounds {
            for (way, times) in self.ways.iter().zip(&mut measured) {
                times.extend(self.with_base(way, |base| {
                    self.runtime.block_on(round(&way.client, base, (connections, each), stream))
                })?);
            }
        }
        for times in &mut measured {
            times.sort_by(f64::total_cmp);
        }
        Ok(measured)
    }

    /// Calls a second at 64 connections.
    fn rate(&self, way: &Way, calls: u32) -> anyhow::Result<f64> {
        const CONNECTIONS: u32 = 64;
        let each = calls.div_ceil(CONNECTIONS).min(100);
        let mut spent = Duration::ZERO;
        let mut done = 0;
        while done < calls {
            self.with_base(way, |base| {
                let begun = Instant::now();
                let round = round(&way.client, base, (CONNECTIONS, each), false);
                let times = self.runtime.block_on(round)?;
                spent += begun.elapsed();
                done += u32::try_from(times.len())?;
                Ok(())
            })?;
        }
        Ok(f64::from(done) / spent.as_secs_f64())
    }

    fn with_base<T>(
        &self,
        way: &Way,
        job: impl FnOnce(&str) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        match &way.base {
            Base::Fixed(base) => job(base),
            Base::Ours => {
                let proxy = self.proxy()?;
                let base = format!("http://{}/model", proxy.listener());
                let done = job(&base);
                let report = proxy.finish();
                // A proxy that counts nothing would be fast.
                let counted = report.usage.llm_in == report.usage.http_calls * upstream::READ;
                anyhow::ensure!(counted, "the proxy counted other tokens than the service");
                done
            }
        }
    }

    fn proxy(&self) -> anyhow::Result<Proxy> {
        let limits = Limits { calls: 1 << 50, concurrency: 1_024, ..Limits::default() };
        let key = "sk-bench-0123456789-abcdefghijklmnopqrstuvwxyz-0123".to_owned();
        let credential = Credential::new("authorization", "Bearer ", key.into());
        let credential = credential.map_err(anyhow::Error::msg)?;
        let route = Route {
            name: "model".to_owned(),
            kind: UpstreamKind::OpenAi,
            url: format!("http://{}/v1", self.upstream.address).parse()?,
            models: Vec::new(),
            methods: Vec::new(),
            paths: Vec::new(),
            keeps_bodies: false,
            // So that answers are searched for it, as those of a real service are.
            credential: Some(credential),
            limits,
        };
        let client = egress::proxy::client(&route, &[]).map_err(anyhow::Error::msg)?;
        let source = Source::Live(vec![client]);
        let plan =
            Plan { routes: vec![route], budgets: PLENTY, source, records: false, open: true };
        Ok(Proxy::start(self.engine, plan)?)
    }
}

/// `each` calls on each connection, one after the other; their latencies without those of the first
/// call, which makes the connection.
async fn round(
    client: &Client,
    base: &str,
    (connections, each): (u32, u32),
    stream: bool,
) -> anyhow::Result<Vec<f64>> {
    let body = chat(stream);
    let all = (0..connections).map(|_| {
        let body = &body;
        async move {
            let mut times = Vec::new();
            for index in 0..=each {
                let took = call(client, base, body, stream).await?;
                if index > 0 {
                    times.push(took.as_secs_f64() * 1_000.0);
                }
            }
            anyhow::Ok(times)
        }
    });
    Ok(try_join_all(all).await?.concat())
}

/// One call; to its end, or of a stream until the first event.
async fn call(client: &Client, base: &str, body: &Value, stream: bool) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut answer = client.post(format!("{base}/chat/completions")).json(body).send().await?;
    anyhow::ensure!(answer.status().is_success(), "the answer is {}", answer.status());
    if !stream {
        answer.bytes().await?;
        return Ok(begun.elapsed());
    }
    let first = answer.chunk().await?;
    let took = begun.elapsed();
    anyhow::ensure!(first.is_some(), "the stream is empty");
    while answer.chunk().await?.is_some() {}
    Ok(took)
}

/// A request of a usual size.
fn chat(stream: bool) -> Value {
    let text = "Answer from this text alone. ".repeat(30);
    json!({ "model": "m", "max_tokens": 60, "temperature": 0, "stream": stream,
        "messages": [
            { "role": "system", "content": "You answer." },
            { "role": "user", "content": text },
        ] })
}

fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).copied().unwrap_or_default()
}
