//! Many mixed calls with faults: figures equal the service's own log, call by call.
//!
//! An ordinary run makes a thousand calls; with `LUMIO_LONG=1` each of several seeds makes a
//! thousand.

use futures::StreamExt;
use serde_json::json;
use testkit::faulty_model::{Kind, faulty_model};
use wire::Usage;
use wire::egress::UpstreamKind;

use crate::fixture::{Fixture, PLENTY, chat, impatient, route};

/// One request, as a module makes it: read to its end, or left after the first piece.
async fn call(fixture: &Fixture, seed: u64) {
    let kind = Kind::of(seed);
    let body = chat(json!({ "seed": seed, "stream": kind.is_streamed(), "max_tokens": 40 }));
    let Ok(mut response) = fixture.post("/chat/completions", &body).send().await else { return };
    while let Ok(Some(_)) = response.chunk().await {
        if kind == Kind::LeftByTheModule {
            return;
        }
    }
}

async fn reconcile(seeds: std::ops::Range<u64>) {
    let model = faulty_model();
    let count = seeds.end - seeds.start;
    let mut bounded = route(UpstreamKind::OpenAi, &model.service.url());
    // Some of the model's faults are that it is too slow.
    bounded.limits = impatient();
    bounded.limits.concurrency = 16;
    // What is kept of gigantic answers has to have room beside all the others.
    bounded.limits.response_bytes = 256 << 10;
    let fixture = Fixture::with(bounded, Usage { http_calls: count, ..PLENTY });
    let calls = futures::stream::iter(seeds).map(|seed| call(&fixture, seed));
    calls.buffer_unordered(16).for_each(|()| async {}).await;
    let (report, calls) = fixture.finish().await;

    let sums = model.reconcile(&calls);
    assert_eq!((sums.left, sums.refused, calls.len() as u64), (count, 0, count));
    assert_eq!((model.billed(), report.usage.http_calls), (count, count));
    assert_eq!(model.service.arrived().len() as u64, count, "none arrived twice");
    // Totals reconcile to the call.
    assert_eq!((report.usage.llm_in, report.usage.llm_out), (sums.llm_in, sums.llm_out));
    let used = &report.egress.upstreams[0];
    assert_eq!((used.calls, used.inconclusive, used.refused), (count, sums.marked, 0));
    for kind in Kind::ALL {
        assert!(sums.kinds.contains(kind), "{kind:?} was among them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_mixed_calls_reconcile_to_the_call() {
    reconcile(0..1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_thousand_mixed_calls_reconcile_to_the_call() {
    if std::env::var_os("LUMIO_LONG").is_none() {
        eprintln!("skipped: only with LUMIO_LONG=1");
        return;
    }
    for part in 1..=10 {
        reconcile(part * 1_000..(part + 1) * 1_000).await;
    }
}
