//! A proxy is between `lumio verify` and everything that it reads, and changes one field of one
//! answer at a time: no single lie makes a false sentence "proven".
//!
//! No ledger closes, and every honest answer is recorded once and answered again from memory,
//! so that the same question has the same answer each time. A sample of the lies is tried, and with
//! `LUMIO_LONG=1` all of them: about 70,000. `LUMIO_LIES_SHARD=K/N` takes every N-th of these from the
//! K-th on, so that several machines, or several evenings, share the work.

mod mutations;
mod proxy;

use std::ffi::OsString;
use std::sync::Mutex;
use std::time::Duration;

use clap::Parser as _;
use e2e::{Stack, repository};
use lumio::args::Cli;
use lumio::context::Context;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::Instant;

use proxy::{Lie, Proxy, Side};

/// How many lies about each story are tried without `LUMIO_LONG`.
const SAMPLE: usize = 30;

/// After so many lies a worker says how far it is.
const PROGRESS: usize = 100;

/// So many verifications run at one time: some wait for an answer that does not come.
const WORKERS: usize = 8;

/// What a verification came to.
#[derive(Debug, PartialEq)]
struct Said {
    proven: Value,
    sum: Value,
}

/// What is verified, and with which words.
struct Question<'a> {
    stack: &'a Stack,
    node: String,
    run: String,
    token: String,
    /// The end of paths that the gateway refuses.
    refused: Option<&'static str>,
}

impl Question<'_> {
    async fn proxy(&self, exchanges: Vec<proxy::Exchange>) -> Proxy {
        Proxy::start(&self.node, &self.stack.gateway(), self.refused, exchanges).await
    }

    /// The command line behind a proxy.
    fn cli(&self, proxy: &Proxy) -> Cli {
        let folder = self.stack.folder().join("lumio-behind-the-proxy");
        let arguments = [
            "lumio",
            "verify",
            &self.run,
            "--rpc-url",
            &proxy.url(Side::Node),
            "--gateway-url",
            &proxy.url(Side::Gateway),
            "--gateway-token",
            &self.token,
            "--config-dir",
            folder.to_str().unwrap(),
        ];
        Cli::try_parse_from(arguments.map(OsString::from)).unwrap()
    }

    /// Runs `lumio verify` through a proxy; `None` unless it says that the run is proven.
    async fn verify(&self, context: &Context, proxy: &Proxy) -> Option<Said> {
        let done = lumio::command::run(context, self.cli(proxy).command);
        let report = tokio::time::timeout(Duration::from_secs(60), done).await.unwrap().ok()?;
        assert_eq!(report.exit_code == 0, report.json["proven"] == true, "{}", report.text);
        (report.exit_code == 0).then(|| Said {
            proven: report.json["provenSentences"].clone(),
            sum: report.json["sum"].clone(),
        })
    }

    fn context(&self, proxy: &Proxy) -> Context {
        Context::new(self.cli(proxy).settings).unwrap()
    }

    /// Makes every change, or a sample of them, and asks each time what is proven: whatever it is,
    /// it was proven without the change.
    async fn lie(&self) {
        let proxy = self.proxy(Vec::new()).await;
        let truth = self.verify(&self.context(&proxy), &proxy).await;
        assert_eq!(truth.is_some(), self.refused.is_none(), "{}: {truth:?}", self.run);
        let exchanges = proxy.recorded();
        assert!(exchanges.len() > 6, "{exchanges:?}");

        let lies = mutations::of(&exchanges);
        let (first, step) = match std::env::var_os("LUMIO_LONG") {
            Some(_) => shard(),
            None => (0, lies.len().div_ceil(SAMPLE).max(1)),
        };
        let (count, started) = (lies.len(), Instant::now());
        let waiting = Mutex::new(lies.into_iter().enumerate().skip(first).step_by(step));
        // Threads of their own: a verification is mostly work, and little waiting.
        let runtime = Handle::current();
        let work = || runtime.block_on(self.work(&exchanges, &waiting, truth.as_ref()));
        let harmless: usize = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).sum()
            })
        });
        eprintln!(
            "{}: every {step}th of {count} lies was tried in {:?}, {harmless} changed nothing",
            self.run,
            started.elapsed()
        );
    }

    async fn work(
        &self,
        exchanges: &[proxy::Exchange],
        waiting: &Mutex<impl Iterator<Item = (usize, Lie)>>,
        truth: Option<&Said>,
    ) -> usize {
        let proxy = self.proxy(exchanges.to_vec()).await;
        let context = self.context(&proxy);
        let (mut tried, mut harmless) = (0_usize, 0);
        loop {
            let next = waiting.lock().unwrap().next();
            let Some((number, lie)) = next else { return harmless };
            tried += 1;
            if tried.is_multiple_of(PROGRESS) {
                eprintln!("{}: at lie {number}", self.run);
            }
            let what = format!("{lie:?}");
            proxy.set_lie(lie);
            let said = self.verify(&context, &proxy).await;
            harmless += usize::from(said.is_some());
            assert!(said.is_none() || said.as_ref() == truth, "{what}\n{said:#?}\n{truth:#?}");
        }
    }
}

/// From which lie on, and every how many-th, `LUMIO_LIES_SHARD=K/N` asks for; all without it.
fn shard() -> (usize, usize) {
    let Some(text) = std::env::var_os("LUMIO_LIES_SHARD") else { return (0, 1) };
    let text = text.to_string_lossy();
    let parts = text.split_once('/').map(|(part, of)| (part.parse(), of.parse()));
    match parts {
        Some((Ok(part), Ok(of))) if (1..=of).contains(&part) => (part - 1, of),
        _ => panic!("LUMIO_LIES_SHARD is '{text}'; expected K/N with 1 <= K <= N, such as 3/8"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_single_lie_of_a_proxy_before_node_or_gateway_makes_a_false_sentence_proven() {
    let mut stack = Stack::start().await.unwrap();
    stack.runner = None;
    stack.start_runner(&[("RUNNER_FEE_STROOPS", "5000")]).await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let agent_text = agent.to_string();
    let fee = ["grant", "limits", "--as", "alice", "--runner", "runner", "--agent", &agent_text];
    stack.lumio(&[&fee[..], &["--max-runner-fee", "5000stroops"]].concat()).unwrap();

    // One run that delivered, and one that used up its budget, was asked for again, and did so
    // again.
    let delivered = stack.ask(agent, &json!({ "deed": "wait", "ms": 20 })).await.unwrap();
    let run = stack.ended(&delivered).await.unwrap();
    assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
    let exhausted = exhausted_twice(&stack, agent).await;
    stack.account().await.unwrap();
    stack.freeze().await.unwrap();

    // What a node has forgotten, the gateway has followed.
    let (whole, forgetful) = (stack.rpc_url(), stack.forgetful_node().await.unwrap());
    for run in [delivered, exhausted] {
        // Where the gateway gives no bundle, what it shows of the run is all that it says.
        for (node, refused) in [(&whole, None), (&whole, Some("/bundle")), (&forgetful, None)] {
            let (token, run, node) = (stack.token().unwrap(), run.clone(), node.clone());
            Question { stack: &stack, node, run, token, refused }.lie().await;
        }
    }
}

async fn exhausted_twice(stack: &Stack, agent: u64) -> String {
    let body = json!({
        "user": stack.alice().unwrap(), "agentId": agent,
        "input": { "deed": "wait", "ms": 60_000 },
        "budgets": { "llmIn": 0, "llmOut": 0, "httpCalls": 0, "runtimeMs": 700 },
    });
    let client = reqwest::Client::new();
    let asked = client.post(format!("{}/runs", stack.gateway()));
    let asked = asked.bearer_auth(stack.token().unwrap()).json(&body).send().await.unwrap();
    let asked: Value = serde_json::from_str(&asked.text().await.unwrap()).unwrap();
    let id = asked["id"].as_str().unwrap().to_owned();
    let run = stack.ended(&id).await.unwrap();
    assert_eq!(run["errorCode"], "BUDGET_EXHAUSTED", "{run:#}\n{}", stack.logs());

    stack.lumio(&["run", "retry", &id]).unwrap();
    testkit::eventually(|| async {
        let run = stack.run(&id).await.unwrap();
        run["attempt"] == 2 && run["status"] == "failed" && run["receipt"].is_object()
    })
    .await;
    id
}
