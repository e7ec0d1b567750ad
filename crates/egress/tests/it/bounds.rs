//! Requests that have one meaning for every reader, and untrusted texts that stay short.

use serde_json::{Value, json};
use testkit::upstream;
use testkit::upstream::{answer, json as whole};
use wire::egress::{CallOutcome, UpstreamKind};

use crate::fixture::{Fixture, PLENTY, chat, completion, fetch, raw, route};

/// What an answer and a line of the list may have at most, with all that is around a message.
const SHORT: usize = 6_000;

fn code(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let body: Value = serde_json::from_str(body).unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}

/// A server that heeds the charset would read another model and another `n` than the proxy.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_others_could_read_in_another_way_does_not_leave() {
    let service = upstream(|_| whole(&completion(3, 2)));
    let fixture = Fixture::of(UpstreamKind::OpenAi, &service);
    let body = chat(json!({})).to_string();
    let line = "POST /model/chat/completions HTTP/1.1";
    let json = "content-type: application/json";
    let utf7 = "content-type: application/json; charset=utf-7";
    for headers in [
        &[utf7][..],
        &["content-type: application/json; charset=utf-16le"],
        &["content-type: text/plain"],
        &["content-type: multipart/form-data; boundary=a"],
        &[json, utf7],
        &[json, json],
        &[json, "content-encoding: gzip"],
        &[json, "content-encoding: identity", "content-encoding: gzip"],
    ] {
        let text = raw(&fixture, line, headers, body.as_bytes());
        assert!(text.starts_with("HTTP/1.1 415"), "{headers:?}: {text}");
        assert_eq!(code(&text), "unsupported_media_type", "{headers:?}");
    }
    assert!(service.arrived().is_empty(), "nothing left");
    for headers in [
        &[json][..],
        &["content-type: application/json; charset=UTF-8", "content-encoding: identity"],
        &[],
    ] {
        let text = raw(&fixture, line, headers, body.as_bytes());
        assert!(text.starts_with("HTTP/1.1 200"), "{headers:?}: {text}");
    }
    for arrived in service.arrived() {
        let kinds = arrived.headers.iter().filter(|(name, _)| name == "content-type");
        let kinds: Vec<_> = kinds.map(|(_, value)| value.as_str()).collect();
        assert_eq!(kinds, ["application/json"]);
        assert_eq!(arrived.header("content-encoding"), None);
    }
    fixture.finish().await;
}

/// The list of models holds wherever a request could name another one, and whatever the operator
/// states for parts without a bound.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_model_is_named_beside_the_body() {
    let service = upstream(|request| {
        let counted = json!({ "input_tokens": 3, "output_tokens": 2 });
        match request.target.split('?').next().unwrap() {
            "/messages" => whole(&json!({ "content": [], "usage": counted })),
            "/messages/count_tokens" => whole(&json!({ "input_tokens": 3 })),
            _ => whole(&completion(3, 2)),
        }
    });
    for (kind, path) in [
        (UpstreamKind::OpenAi, "/chat/completions"),
        (UpstreamKind::Anthropic, "/messages"),
        (UpstreamKind::Anthropic, "/messages/count_tokens"),
    ] {
        let mut route = route(kind, &service.url());
        route.models = vec!["m".to_owned()];
        route.limits.allowance.unbounded = Some(10);
        let fixture = Fixture::with(route, PLENTY);
        let with = |more: Value| chat(more).to_string();
        let plain = with(json!({ "max_tokens": 5 }));
        let tool = |tool: Value| with(json!({ "max_tokens": 5, "tools": [tool] }));
        let refused = [
            ("?model=other", plain.clone()),
            ("?beta=true&model=other", plain.clone()),
            ("?beta=true;model=other", plain.clone()),
            ("?%6dodel=other", plain.clone()),
            ("?x=1", plain.clone()),
            ("", with(json!({ "model": "other" }))),
            ("", with(json!({ "models": ["other"] }))),
            ("", with(json!({ "extra_body": { "model": "other" } }))),
            ("", with(json!({ "fallbacks": ["other"] }))),
            ("", with(json!({ "service_tier": "priority" }))),
            ("", tool(json!({ "type": "image_generation", "model": "other" }))),
            ("", tool(json!({ "type": "x", "options": { "fallback_models": ["other"] } }))),
        ];
        let count = refused.len();
        let json = "content-type: application/json";
        for (query, body) in refused {
            let line = format!("POST /model{path}{query} HTTP/1.1");
            let text = raw(&fixture, &line, &[json], body.as_bytes());
            assert!(text.starts_with("HTTP/1.1 403"), "{path}{query} {body}: {text}");
            assert_eq!(code(&text), "not_allowed", "{path}{query} {body}");
        }
        let before = service.arrived().len();
        let schema = json!({ "type": "object", "properties": { "model": { "type": "string" } } });
        let function = json!({ "type": "function", "name": "f", "input_schema": schema,
            "function": { "name": "f", "parameters": schema } });
        for (query, body) in [("?beta=true", plain), ("", tool(function))] {
            let line = format!("POST /model{path}{query} HTTP/1.1");
            let named = "x-model-deployment: other";
            let text = raw(&fixture, &line, &[json, named, "x-kept: 1"], body.as_bytes());
            assert!(text.starts_with("HTTP/1.1 200"), "{path}{query}: {text}");
        }
        let arrived = service.arrived();
        assert_eq!(arrived.len(), before + 2, "nothing else left");
        for request in &arrived[before..] {
            assert_eq!(request.header("x-model-deployment"), None);
            assert_eq!(request.header("x-kept"), Some("1"));
        }
        let (report, _) = fixture.finish().await;
        assert_eq!(report.egress.upstreams[0].refused, count as u64, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_a_module_are_repeated_in_part() {
    let service = upstream(|_| whole(&completion(1, 1)));
    let mut route = route(UpstreamKind::OpenAi, &service.url());
    route.models = (0..64).map(|number| format!("{number}{}", "m".repeat(120))).collect();
    let model = route.models[0].clone();
    let fixture = Fixture::with(route, PLENTY);
    let huge = "x\u{1}\"é".repeat(1 << 19);
    let with = |more: Value| {
        let mut body = chat(json!({ "model": model }));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let part = |part: Value| with(json!({ "messages": [{ "role": "user", "content": [part] }] }));
    let bodies = [
        with(json!({ huge.as_str(): 1 })),
        with(json!({ "model": huge })),
        part(json!({ "type": huge })),
        part(json!({ "type": "text", huge.as_str(): 1 })),
        part(json!({ "type": "document", "source": { "type": huge } })),
        with(json!({ "tools": [{ "type": huge }] })),
        // A member twice, which the reader of JSON names.
        format!("{{\"{0}\":1,\"{0}\":2}}", "x".repeat(3 << 20)),
    ];
    let count = bodies.len() + 4;
    for body in bodies {
        let line = "POST /model/chat/completions HTTP/1.1";
        let text = raw(&fixture, line, &["content-type: application/json"], body.as_bytes());
        assert!(text.starts_with("HTTP/1.1 4") && text.len() < SHORT, "{} bytes", text.len());
        assert!(text.contains("cut"), "{text}");
    }
    let long = "x".repeat(40_000);
    for (line, header) in [
        (format!("GET /model/{long}/.. HTTP/1.1"), "accept: a".to_owned()),
        (format!("GET /model/{long} HTTP/1.1"), "accept: a".to_owned()),
        (format!("{} /model/a HTTP/1.1", long.to_uppercase()), "accept: a".to_owned()),
        ("POST /model/embeddings HTTP/1.1".to_owned(), format!("content-type: {long}")),
    ] {
        let text = raw(&fixture, &line, &[&header], b"");
        assert!(text.starts_with("HTTP/1.1 4") && text.len() < SHORT, "{} bytes", text.len());
    }
    let (report, calls) = fixture.finish().await;
    assert!(calls.iter().all(|call| call.outcome == CallOutcome::Refused), "{calls:?}");
    assert_eq!((calls.len(), service.arrived().len()), (count, 0));
    let longest = report.list.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
    assert!(longest < SHORT, "{longest} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_a_service_are_repeated_in_part() {
    let service = upstream(|_| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {}\r\n\r\n", "x".repeat(40_000));
        vec![testkit::Step::Send(head.into_bytes())]
    });
    let fixture = Fixture::of(UpstreamKind::OpenAi, &service);
    let (status, text) = fixture.chat(json!({})).await.unwrap();
    assert!(status == 502 && text.len() < SHORT && text.contains("cut"), "{text}");
    let (report, _) = fixture.finish().await;
    assert!(report.list.len() < SHORT);
}

/// An answer that begins another protocol is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_protocol_that_nobody_asked_for_is_no_answer() {
    for kind in [UpstreamKind::Http, UpstreamKind::OpenAi] {
        let service = upstream(|_| {
            let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                connection: upgrade\r\n\r\nraw bytes";
            vec![testkit::Step::Send(head.as_bytes().to_vec())]
        });
        let fixture = Fixture::of(kind, &service);
        let (status, text) = fixture.chat(json!({})).await.unwrap();
        assert!(status == 502 && text.contains("upstream_failed"), "{kind}: {status} {text}");
        let (report, calls) = fixture.finish().await;
        assert_eq!(report.usage.http_calls, 1, "{kind}");
        let reason = calls[0].reason.as_deref().unwrap();
        assert!(reason.contains("answered 101") && calls[0].status.is_none(), "{calls:?}");
    }
}

/// A parameter hides no step up.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_with_parameters_stays_below_the_address() {
    let service = upstream(|_| answer("200 OK", "text/plain", "ok"));
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    for path in ["/web/..;/..;/v1/models", "/a/.;x/b", "/a/..%3Bx", "/;/a"] {
        let text = raw(&fixture, &format!("GET /model{path} HTTP/1.1"), &[], b"");
        assert!(text.starts_with("HTTP/1.1 403"), "{path}: {text}");
    }
    assert_eq!(fetch(fixture.get("/a;version=1/b")).await.unwrap().0, 200);
    fixture.finish().await;
}
