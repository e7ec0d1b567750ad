//! A thousand mixed calls with faults: figures equal the service's own log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use serde_json::json;
use testkit::upstream::{answer, events, json as whole};
use testkit::{Step, upstream};
use wire::Usage;
use wire::egress::{CallOutcome, UpstreamKind};

use crate::world::{PLENTY, World, completion, delta, route, usage};

/// What the service billed for a request, and whether it said so.
#[derive(Clone, Copy)]
struct Billed {
    llm_in: u64,
    llm_out: u64,
    is_reported: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_mixed_calls_reconcile_to_the_call() {
    let log: Arc<Mutex<HashMap<u64, Billed>>> = Arc::default();
    let own = Arc::clone(&log);
    let service = upstream(move |request| {
        let seed = request.json()["seed"].as_u64().unwrap();
        let (llm_in, llm_out) = (10 + seed % 17, 1 + seed % 23);
        let texts: Vec<String> = (0..llm_out).map(|_| delta("w ")).collect();
        let with_end = |end: &[String]| {
            let all = texts.iter().chain(end).map(String::as_str);
            events(all)
        };
        let done = "data: [DONE]".to_owned();
        let (is_reported, billed, steps) = match seed % 10 {
            0..=2 => (true, true, whole(&completion(llm_in, llm_out))),
            3 | 4 => (true, true, with_end(&[usage(llm_in, llm_out), done])),
            // Cut before the record.
            5 => (false, true, with_end(&[])),
            6 => {
                let mut steps = with_end(&[]);
                steps.push(Step::Reset);
                (false, true, steps)
            }
            7 => (true, false, answer("429 Too Many Requests", "application/json", "{}")),
            8 => (true, false, answer("500 Internal Server Error", "application/json", "{}")),
            // A record that contradicts itself.
            _ => (
                false,
                true,
                whole(&json!({ "usage": { "prompt_tokens": llm_in,
                "completion_tokens": llm_out, "total_tokens": llm_in + llm_out - 1 } })),
            ),
        };
        let billed = if billed {
            Billed { llm_in, llm_out, is_reported }
        } else {
            Billed { llm_in: 0, llm_out: 0, is_reported }
        };
        own.lock().unwrap().insert(seed, billed);
        steps
    });

    let mut bounded = route(UpstreamKind::OpenAi, &service.url());
    bounded.limits.concurrency = 16;
    let world = World::with(bounded, Usage { http_calls: 1_000, ..PLENTY });
    let calls = futures::stream::iter(0..1_000_u64).map(|seed| {
        let stream = matches!(seed % 10, 3..=6);
        world.chat(json!({ "seed": seed, "stream": stream, "max_tokens": 40 }))
    });
    calls.buffer_unordered(16).for_each(|_| async {}).await;
    let (report, calls) = world.finish().await;

    // Which line is which request is in the kept bodies.
    let seeds: HashMap<u64, u64> = wire::egress::lines(&report.bodies)
        .into_iter()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_slice(line).unwrap();
            let request: serde_json::Value =
                serde_json::from_str(line["request"].as_str().unwrap()).unwrap();
            (line["index"].as_u64().unwrap(), request["seed"].as_u64().unwrap())
        })
        .collect();
    let log = log.lock().unwrap();
    assert_eq!((log.len(), calls.len(), report.usage.http_calls), (1_000, 1_000, 1_000));
    let (mut llm_in, mut llm_out, mut marked) = (0, 0, 0);
    for call in &calls {
        let billed = log[&seeds[&call.index]];
        if billed.is_reported {
            assert_eq!(call.outcome, CallOutcome::Complete, "{call:?}");
            assert_eq!((call.llm_in, call.llm_out), (billed.llm_in, billed.llm_out), "{call:?}");
        } else {
            assert_eq!(call.outcome, CallOutcome::Inconclusive, "{call:?}");
            assert!(call.llm_in <= billed.llm_in && call.llm_out <= billed.llm_out, "{call:?}");
            marked += 1;
        }
        llm_in += call.llm_in;
        llm_out += call.llm_out;
    }
    assert_eq!((report.usage.llm_in, report.usage.llm_out), (llm_in, llm_out));
    assert_eq!(report.egress.upstreams[0].inconclusive, marked);
}
