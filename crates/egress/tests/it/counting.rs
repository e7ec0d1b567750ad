//! What is counted is what the service reported.

use serde_json::{Value, json};
use testkit::upstream;
use testkit::upstream::{events, json as whole};
use wire::egress::{CallOutcome, UpstreamKind};

use crate::fixture::{Fixture, KEY, chat, completion, delta, fetch, usage};

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_is_charged_by_its_record_and_the_credential_is_the_operators() {
    let service = upstream(|_| whole(&completion(19, 10)));
    let fixture = Fixture::of(UpstreamKind::OpenAi, &service);
    let request = fixture.post("/v1/chat/completions", &chat(json!({ "max_tokens": 50 })));
    let request = request.header("authorization", "Bearer placeholder").header("cookie", "a=b");
    let (status, body) = fetch(request.header("openai-organization", "org")).await.unwrap();
    assert_eq!(status, 200, "{body}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), completion(19, 10));

    let (report, calls) = fixture.finish().await;
    assert_eq!((report.usage.llm_in, report.usage.llm_out, report.usage.http_calls), (19, 10, 1));
    assert_eq!((calls[0].outcome, calls[0].status), (CallOutcome::Complete, Some(200)));
    let arrived = service.arrived();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].target, "/v1/chat/completions");
    assert_eq!(arrived[0].header("authorization"), Some(&*format!("Bearer {KEY}")));
    assert_eq!(arrived[0].header("host"), Some(&*service.address.to_string()));
    assert_eq!(
        (arrived[0].header("cookie"), arrived[0].header("openai-organization")),
        (None, None)
    );
    assert_eq!(calls[0].request_bytes, arrived[0].body.len() as u64);
    let digest = wire::egress::request_digest("POST", "/v1/chat/completions", &arrived[0].body);
    assert_eq!(calls[0].request, digest);
    assert_eq!(calls[0].answer, Some(wire::egress::answer_digest(200, body.as_bytes())));
    let bodies: Value = serde_json::from_slice(&report.bodies).unwrap();
    assert_eq!(bodies["answer"], body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_stream_is_asked_for_and_hidden_from_a_client_that_did_not_ask() {
    let service = upstream(|_| events([&*delta("a"), &*delta("b"), &*usage(7, 2), "data: [DONE]"]));
    let fixture = Fixture::of(UpstreamKind::OpenAi, &service);
    let (_, hidden) = fixture.chat(json!({ "stream": true })).await.unwrap();
    assert_eq!(hidden, format!("{}\n\n{}\n\ndata: [DONE]\n\n", delta("a"), delta("b")));
    let asks = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let (_, shown) = fixture.chat(asks).await.unwrap();
    assert!(shown.contains(&usage(7, 2)));

    let (report, calls) = fixture.finish().await;
    assert_eq!((report.usage.llm_in, report.usage.llm_out, report.usage.http_calls), (14, 4, 2));
    assert!(calls.iter().all(|call| call.outcome == CallOutcome::Complete), "{calls:?}");
    for request in service.arrived() {
        assert_eq!(request.json()["stream_options"], json!({ "include_usage": true }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropics_messages_are_counted_streamed_and_not() {
    let service = upstream(|request| {
        if request.json()["stream"] == true {
            return events([
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
                 {\"input_tokens\":25,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}",
                "event: ping\ndata: {\"type\":\"ping\"}",
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":\
                 {\"type\":\"text_delta\",\"text\":\"hi\"}}",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":\
                 {\"output_tokens\":15}}",
                "event: message_stop\ndata: {\"type\":\"message_stop\"}",
            ]);
        }
        whole(&json!({ "content": [], "usage": { "input_tokens": 10, "output_tokens": 4,
            "cache_creation_input_tokens": 100 } }))
    });
    let fixture = Fixture::of(UpstreamKind::Anthropic, &service);
    let message = |stream: bool| {
        json!({ "model": "c", "max_tokens": 64, "stream": stream,
            "messages": [{ "role": "user", "content": "hello" }] })
    };
    for stream in [false, true] {
        let (status, body) = fetch(fixture.post("/v1/messages", &message(stream))).await.unwrap();
        assert_eq!(status, 200, "{body}");
    }
    let (report, calls) = fixture.finish().await;
    assert_eq!((report.usage.llm_in, report.usage.llm_out), (110 + 30, 4 + 15));
    assert!(calls.iter().all(|call| call.outcome == CallOutcome::Complete), "{calls:?}");
    assert_eq!(service.arrived()[0].header("x-api-key"), Some(KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_endpoints_are_counted_or_refused() {
    let service = upstream(|request| {
        whole(&match request.target.as_str() {
            "/embeddings" => json!({ "usage": { "prompt_tokens": 8, "total_tokens": 8 } }),
            "/responses" => json!({ "usage": { "input_tokens": 3, "output_tokens": 4,
                "total_tokens": 7 } }),
            _ => json!({ "data": [] }),
        })
    });
    let fixture = Fixture::of(UpstreamKind::OpenAi, &service);
    for (path, body) in [
        ("/embeddings", json!({ "model": "e", "input": "some text" })),
        ("/responses", json!({ "model": "m", "input": "some text" })),
    ] {
        assert_eq!(fetch(fixture.post(path, &body)).await.unwrap().0, 200, "{path}");
    }
    assert_eq!(fetch(fixture.get("/models")).await.unwrap().0, 200);
    for (path, body) in [
        ("/files", json!({})),
        ("/chat/completions", json!({ "messages": [] })),
        ("/responses", json!({ "model": "m", "input": "a", "background": true })),
        ("/../secret", json!({})),
    ] {
        let (status, text) = fetch(fixture.post(path, &body)).await.unwrap();
        assert!((400..500).contains(&status), "{path}: {status} {text}");
        assert!(text.contains("Lumio's proxy"), "{text}");
    }
    let (report, _) = fixture.finish().await;
    assert_eq!((report.usage.llm_in, report.usage.llm_out, report.usage.http_calls), (11, 4, 3));
    assert_eq!((report.egress.upstreams[0].calls, service.arrived().len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_another_kind_counts_calls() {
    let service = upstream(|request| {
        testkit::upstream::answer(
            "200 OK",
            "text/plain",
            format!("{} {}", request.method, request.target),
        )
    });
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    let (_, body) = fetch(fixture.get("/rates?day=1")).await.unwrap();
    assert_eq!(body, "GET /rates?day=1");
    let (_, body) = fetch(fixture.post("/orders", &json!({ "a": 1 }))).await.unwrap();
    assert_eq!(body, "POST /orders");
    let (report, _) = fixture.finish().await;
    assert_eq!((report.usage.http_calls, report.usage.llm_in), (2, 0));
}

/// What was recorded is answered again, with the same counts, and nothing leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_stands_for_the_service() {
    use std::sync::Arc;

    use egress::replay::Recording;
    use egress::{Plan, Source};

    use crate::fixture::{PLENTY, route};

    let service = upstream(|request| {
        if request.json()["stream"] == true {
            return events([&*delta("a"), &*usage(7, 1), "data: [DONE]"]);
        }
        whole(&completion(19, 10))
    });
    let fixture = Fixture::of(UpstreamKind::OpenAi, &service);
    let first = [
        fixture.chat(json!({})).await.unwrap(),
        fixture.chat(json!({ "stream": true })).await.unwrap(),
    ];
    let (report, _) = fixture.finish().await;
    let lines = report.recorded.iter().map(|one| serde_json::to_string(one).unwrap() + "\n");
    let mut recording = Recording::default();
    recording.add(&lines.collect::<String>()).unwrap();

    let source = Source::Recorded(Arc::new(recording));
    let routes = vec![route(UpstreamKind::OpenAi, "https://unreachable.invalid")];
    let fixture =
        Fixture::plan(Plan { routes, budgets: PLENTY, source, records: false, open: true });
    let again = [
        fixture.chat(json!({})).await.unwrap(),
        fixture.chat(json!({ "stream": true })).await.unwrap(),
    ];
    assert_eq!(again, first);
    let (status, text) = fixture.chat(json!({ "seed": 5 })).await.unwrap();
    assert!(status == 502 && text.contains("no answer is recorded"), "{text}");
    let (replayed, _) = fixture.finish().await;
    assert_eq!(replayed.usage, report.usage);
    assert_eq!((replayed.missing.len(), service.arrived().len()), (1, 2));
}
