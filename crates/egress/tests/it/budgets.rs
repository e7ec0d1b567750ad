//! Budgets before, between and within calls (E4).

use std::time::Duration;

use serde_json::json;
use testkit::upstream::{events, json as whole};
use testkit::{Step, upstream};
use wire::Usage;
use wire::egress::{CallOutcome, UpstreamKind};

use crate::fixture::{Fixture, PLENTY, chat, completion, delta, fetch, route, usage};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_could_pass_the_budget_does_not_leave() {
    let service = upstream(|_| whole(&completion(5, 5)));
    let with = |budgets| Fixture::with(route(UpstreamKind::OpenAi, &service.url()), budgets);
    for (budgets, what) in [
        (Usage { llm_in: 50, ..PLENTY }, "tokens to read"),
        (Usage { llm_out: 0, ..PLENTY }, "tokens to write"),
        (Usage { http_calls: 0, ..PLENTY }, "calls"),
    ] {
        let fixture = with(budgets);
        let (status, text) = fixture.chat(json!({})).await.unwrap();
        assert!(status == 402 && text.contains(what), "{status} {text}");
        let (report, calls) = fixture.finish().await;
        assert_eq!(report.usage, Usage::default());
        assert_eq!(calls[0].outcome, CallOutcome::Refused);
        assert!(report.budget.unwrap().contains(what));
    }
    assert!(service.arrived().is_empty(), "nothing left");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_lowered_to_what_is_left_after_each_call() {
    let service = upstream(|request| {
        let asked = request.json()["max_tokens"].as_u64().unwrap();
        whole(&completion(5, asked.min(30)))
    });
    let budgets = Usage { llm_out: 50, ..PLENTY };
    let fixture = Fixture::with(route(UpstreamKind::OpenAi, &service.url()), budgets);
    for expected in [200, 200, 402] {
        let (status, text) = fixture.chat(json!({ "max_tokens": 40 })).await.unwrap();
        assert_eq!(status, expected, "{text}");
    }
    let limits: Vec<_> =
        service.arrived().iter().map(|request| request.json()["max_tokens"].as_u64()).collect();
    assert_eq!(limits, [Some(40), Some(20)]);
    let (report, _) = fixture.finish().await;
    assert_eq!((report.usage.llm_out, report.usage.http_calls), (50, 2));
}

/// A service that ignores its limit: the run pays its budget, the operator the rest.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_above_the_budget_is_not_charged() {
    let service = upstream(|_| whole(&completion(2_000, 900)));
    let budgets = Usage { llm_in: 1_000, llm_out: 100, ..PLENTY };
    let fixture = Fixture::with(route(UpstreamKind::OpenAi, &service.url()), budgets);
    assert_eq!(fixture.chat(json!({})).await.unwrap().0, 200);
    let (report, calls) = fixture.finish().await;
    assert_eq!((report.usage.llm_in, report.usage.llm_out), (1_000, 100));
    assert_eq!((calls[0].unbilled, report.egress.upstreams[0].unbilled), (1_800, 1_800));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_cut_at_the_budget() {
    let service = upstream(|_| {
        let mut steps = events([]);
        for _ in 0..500 {
            steps.push(Step::Send(format!("{}\n\n", delta("word ")).into_bytes()));
            steps.push(Step::Pause(Duration::from_millis(1)));
        }
        steps.push(Step::Send(format!("{}\n\ndata: [DONE]\n\n", usage(5, 500)).into_bytes()));
        steps
    });
    let budgets = Usage { llm_out: 20, ..PLENTY };
    let fixture = Fixture::with(route(UpstreamKind::OpenAi, &service.url()), budgets);
    assert_eq!(fixture.chat(json!({ "stream": true })).await, None, "the answer broke off");
    let (report, calls) = fixture.finish().await;
    assert!(report.usage.llm_out <= 20);
    assert_eq!(calls[0].outcome, CallOutcome::Inconclusive);
    assert!(calls[0].reason.as_ref().unwrap().contains("cut at 20 tokens"), "{calls:?}");
    assert!(report.budget.unwrap().contains("cut at 20"));
}

/// Who uses a budget up pays for it, so nothing else is named so.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_runs_own_budget_is_named_as_the_one_that_is_short() {
    let service = upstream(|_| whole(&completion(5, 5)));
    let thinking = |limit: u64, tokens: u64| {
        json!({ "model": "m", "max_tokens": limit, "messages": [{ "role": "user", "content": "a" }],
            "thinking": { "type": "enabled", "budget_tokens": tokens } })
    };
    let openai = UpstreamKind::OpenAi;
    let none = u64::MAX;
    for (kind, limit, left, body, code) in [
        (openai, none, 100, chat(json!({ "max_tokens": 0 })), "invalid_request"),
        (openai, none, 100, chat(json!({ "n": 200 })), "invalid_request"),
        (openai, none, 100, chat(json!({ "stream_options": 1 })), "invalid_request"),
        (openai, 3, 100, chat(json!({ "n": 5 })), "operator_limit"),
        (openai, 3, 100, chat(json!({ "n": 5, "max_tokens": 9 })), "operator_limit"),
        (openai, none, 4, chat(json!({ "n": 5 })), "budget_exhausted"),
        (openai, 9, 4, chat(json!({ "n": 5, "max_tokens": 9 })), "budget_exhausted"),
        (UpstreamKind::Anthropic, none, 1_000, thinking(100, 200), "invalid_request"),
        (UpstreamKind::Anthropic, none, 150, thinking(100, 200), "invalid_request"),
        (UpstreamKind::Anthropic, 150, 1_000, thinking(300, 200), "operator_limit"),
        (UpstreamKind::Anthropic, none, 150, thinking(300, 200), "budget_exhausted"),
    ] {
        let mut route = route(kind, &service.url());
        route.limits.llm_out = limit;
        let fixture = Fixture::with(route, Usage { llm_out: left, ..PLENTY });
        let path = if kind == openai { "/chat/completions" } else { "/messages" };
        let (status, text) = fetch(fixture.post(path, &body)).await.unwrap();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["error"]["code"], code, "{status} {text}");
        let (report, _) = fixture.finish().await;
        assert_eq!(report.budget.is_some(), code == "budget_exhausted", "{body}: {report:?}");
    }
    assert!(service.arrived().is_empty(), "nothing left");
}

/// A service that does not heed a limit of the module's or the operator's uses no budget up.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_above_its_own_limit_is_cut_and_no_budget_is_named() {
    let service = upstream(|_| {
        let texts: Vec<String> = (0..50).map(|_| delta("word ")).collect();
        events(texts.iter().map(String::as_str))
    });
    for (limit, more, whose) in [
        (u64::MAX, json!({ "max_tokens": 20 }), "the limit that the request states"),
        (20, json!({ "max_tokens": 30 }), "the operator's limit"),
        (20, json!({}), "the operator's limit"),
    ] {
        let mut route = route(UpstreamKind::OpenAi, &service.url());
        route.limits.llm_out = limit;
        let fixture = Fixture::with(route, PLENTY);
        let mut asked = json!({ "stream": true });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(fixture.chat(asked).await, None, "the answer broke off");
        let (report, calls) = fixture.finish().await;
        let reason = calls[0].reason.as_deref().unwrap();
        assert!(reason.contains("cut at 20 tokens") && reason.contains(whose), "{reason}");
        assert_eq!(report.budget, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_never_pass_the_budget_together() {
    let service = upstream(|request| {
        let asked = request.json()["max_tokens"].as_u64().unwrap();
        let mut steps = vec![Step::Pause(Duration::from_millis(5))];
        steps.extend(whole(&completion(30, asked)));
        steps
    });
    let budgets = Usage { llm_in: 2_000, llm_out: 100, http_calls: 12, runtime_ms: 0 };
    let fixture = Fixture::with(route(UpstreamKind::OpenAi, &service.url()), budgets);
    let calls = (0..24).map(|_| fixture.chat(json!({ "max_tokens": 10 })));
    let statuses: Vec<u16> =
        futures::future::join_all(calls).await.into_iter().map(|one| one.unwrap().0).collect();
    let answered = statuses.iter().filter(|status| **status == 200).count();
    let (report, _) = fixture.finish().await;
    assert!(report.usage.is_within(&budgets), "{:?}", report.usage);
    assert_eq!(answered as u64, report.usage.http_calls);
    assert_eq!((answered, report.usage.llm_out), (10, 100), "{statuses:?}");
}
