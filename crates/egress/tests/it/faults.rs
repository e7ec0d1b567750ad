//! Services that fail in every way: nothing hangs, nothing is charged that is not certain.

use std::io::Write;
use std::time::Duration;

use egress::{Limits, Route};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use testkit::upstream::{answer, events, json as whole};
use testkit::{Arrived, Step, upstream};
use tokio::time::timeout;
use wire::Usage;
use wire::egress::{Call, CallOutcome, UpstreamKind};

use crate::fixture::{
    Fixture, PLENTY, completion, delta, fetch, impatient, limits, raw, route, usage,
};

/// Far longer than any limit of these tests.
const PATIENCE: Duration = Duration::from_secs(300);

type Answer = dyn Fn(&Arrived) -> Vec<Step> + Send + Sync;

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn pause(ms: u64) -> Step {
    Step::Pause(Duration::from_millis(ms))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compressed(encoding: &str, kind: &str, body: &[u8]) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: {encoding}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    vec![Step::Send([head.as_bytes(), body].concat()), Step::KeepOpen]
}

/// One request to a service that does `steps`: what the module saw, and the call's line.
async fn one_call(
    stream: bool,
    steps: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static,
) -> (Option<(u16, String)>, Call) {
    call_within(limits(), stream, steps).await
}

async fn call_within(
    limits: Limits,
    stream: bool,
    steps: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static,
) -> (Option<(u16, String)>, Call) {
    let service = upstream(steps);
    let route = Route { limits, ..route(UpstreamKind::OpenAi, &service.url()) };
    let fixture = Fixture::with(route, PLENTY);
    let seen = timeout(PATIENCE, fixture.chat(json!({ "stream": stream }))).await;
    let seen = seen.expect("nothing hangs");
    let (report, mut calls) = fixture.finish().await;
    assert_eq!(report.usage.http_calls, 1);
    (seen, calls.remove(0))
}

fn assert_marked(call: &Call, why: &str) {
    assert_eq!(call.outcome, CallOutcome::Inconclusive, "{call:?}");
    assert_eq!((call.llm_in, call.llm_out), (0, 0), "{call:?}");
    assert!(call.reason.as_ref().unwrap().contains(why), "{why}: {call:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_break_off_are_marked() {
    let half = |_: &Arrived| {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n";
        vec![send(head), send("{\"usage\":{\"prompt_tokens\":5,")]
    };
    let cases: Vec<(&str, Box<Answer>)> = vec![
        ("gave no answer", Box::new(|_| vec![Step::Reset])),
        ("gave no answer", Box::new(|_| Vec::new())),
        ("gave no answer", Box::new(|_| vec![send("this is no HTTP\r\n\r\n")])),
        ("broke off", Box::new(half)),
        (
            "broke off",
            Box::new(move |arrived| {
                let mut steps = half(arrived);
                steps.push(Step::CloseHalf);
                steps
            }),
        ),
        (
            "broke off",
            Box::new(move |arrived| {
                let mut steps = half(arrived);
                // So that the bytes are there before the reset takes them away.
                steps.push(pause(20));
                steps.push(Step::Reset);
                steps
            }),
        ),
    ];
    for (why, steps) in cases {
        let (seen, call) = one_call(false, steps).await;
        let (status, text) = seen.unwrap();
        assert_eq!(status, 502, "{text}");
        assert_marked(&call, why);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_break_off_are_marked_and_the_module_sees_that_they_did() {
    let (seen, call) = one_call(true, |_| events([&*delta("a")])).await;
    assert!(seen.is_some(), "a clean end without a record is whole for the module");
    assert_marked(&call, "no record");

    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
        transfer-encoding: chunked\r\n\r\n";
    let (seen, call) = one_call(true, move |_| {
        let event = format!("{}\n\n", delta("a"));
        vec![send(chunked), send(&format!("{:x}\r\n{event}\r\n", event.len()))]
    })
    .await;
    assert_eq!(seen, None);
    assert_marked(&call, "broke off");

    // With the record before the break nothing is missing.
    let (_, call) = one_call(true, move |_| {
        let event = format!("{}\n\n", usage(6, 3));
        vec![send(chunked), send(&format!("{:x}\r\n{event}\r\n", event.len())), Step::Reset]
    })
    .await;
    assert!(call.outcome == CallOutcome::Inconclusive || (call.llm_in, call.llm_out) == (6, 3));
}

/// A record counts only what came before it, however the stream ends after it.
#[tokio::test(flavor = "multi_thread")]
async fn text_after_the_record_of_a_stream_is_in_no_record() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
        transfer-encoding: chunked\r\n\r\n";
    let events = format!("{}\n\n{}\n\n", usage(6, 3), delta("more"));
    let chunk = |text: &str| send(&format!("{:x}\r\n{text}\r\n", text.len()));
    for (end, why) in [
        (vec![Step::CloseHalf], "broke off"),
        (vec![chunk("data: [DONE]\n\n"), chunk("")], "text came after its last record"),
        (vec![chunk("")], "text came after its last record"),
    ] {
        let steps = [vec![send(head), chunk(&events)], end].concat();
        let (_, call) = one_call(true, move |_| steps.clone()).await;
        assert_eq!(call.outcome, CallOutcome::Inconclusive, "{call:?}");
        assert_eq!((call.llm_in, call.llm_out), (6, 3), "{call:?}");
        assert!(call.reason.as_ref().unwrap().contains(why), "{why}: {call:?}");
    }
}

/// Headers of an answer without a body are about the body that it would have.
#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_are_whole_whatever_their_headers_say() {
    let service = upstream(|request| {
        let target = request.target.as_str();
        let (path, size) = target.split_once('-').unwrap_or((target, "500"));
        let status = match path {
            "/same" => "304 Not Modified",
            "/nothing" => "204 No Content",
            _ => "200 OK",
        };
        let coding = match path {
            "/plain" | "/nothing" => String::new(),
            "/br" => "content-encoding: br\r\n".to_owned(),
            _ => "content-encoding: gzip\r\n".to_owned(),
        };
        let length = match path {
            "/nothing" => String::new(),
            _ => format!("content-length: {size}\r\n"),
        };
        let head = format!("HTTP/1.1 {status}\r\n{coding}{length}etag: \"1\"\r\n\r\n");
        vec![send(&head), Step::KeepOpen]
    });
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    for (method, path, status, length) in [
        ("HEAD", "/plain", 200, Some("500")),
        ("HEAD", "/gzip", 200, None),
        ("HEAD", "/br", 200, None),
        ("HEAD", "/same", 304, None),
        ("GET", "/same", 304, None),
        ("GET", "/nothing", 204, None),
        ("GET", "/gzip-0", 200, None),
    ] {
        let text = raw(&fixture, &format!("{method} /model{path} HTTP/1.1"), &[], b"");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {text}");
        let found = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert!(length.is_none() || found == length, "{method} {path}: {text}");
        assert!(method != "HEAD" || length.is_some() || found.is_none(), "{path}: {text}");
        assert!(head.contains("etag: \"1\""), "{method} {path}: {text}");
        // The last chunk of an answer that may have a body.
        assert!(body.is_empty() || body == "0\r\n\r\n", "{method} {path}: {text}");
    }
    let (_, calls) = fixture.finish().await;
    for call in calls {
        assert_eq!((call.outcome, call.reason.as_ref()), (CallOutcome::Complete, None), "{call:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_trickling_services_are_given_up() {
    let (seen, call) = call_within(impatient(), false, |_| vec![pause(3_000)]).await;
    assert_eq!(seen.unwrap().0, 504);
    assert_marked(&call, "no answer within");

    let (seen, call) = call_within(impatient(), true, |_| {
        let mut steps = events([&*delta("a")]);
        steps.push(pause(3_000));
        steps
    })
    .await;
    assert_eq!(seen, None);
    assert_marked(&call, "nothing came");

    // A byte now and then keeps no connection open for ever.
    let trickling = Limits { total: impatient().total, ..limits() };
    let (_, call) = call_within(trickling, true, |_| {
        let mut steps = events([]);
        for _ in 0..60 {
            steps.extend([send(":"), pause(100)]);
        }
        steps
    })
    .await;
    assert_marked(&call, "were over");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_refuses_costs_a_call_and_no_token() {
    for status in ["429 Too Many Requests", "500 Internal Server Error", "401 Unauthorized"] {
        let service =
            upstream(move |_| answer(status, "application/json", r#"{"error":{"message":"no"}}"#));
        let fixture = Fixture::of(UpstreamKind::OpenAi, &service);
        let (seen, text) = fixture.chat(json!({})).await.unwrap();
        assert!(status.starts_with(&seen.to_string()) && text.contains("no"), "{text}");
        let (report, calls) = fixture.finish().await;
        assert_eq!(calls[0].outcome, CallOutcome::Complete);
        let expected = Usage { http_calls: 1, ..Usage::default() };
        assert_eq!(report.usage, expected);
        assert_eq!(service.arrived().len(), 1, "the proxy does not try again by itself");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gigantic_answers_and_bombs_are_cut() {
    let large = vec![b'x'; 3 << 20];
    let body = large.clone();
    let (seen, call) = one_call(false, move |_| answer("200 OK", "application/json", &body)).await;
    assert_eq!(seen.unwrap().0, 502);
    assert_marked(&call, "larger than 1048576 bytes");

    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let (seen, call) = one_call(false, {
        let bomb = bomb.clone();
        move |_| compressed("gzip", "application/json", &bomb)
    })
    .await;
    assert_eq!(seen.unwrap().0, 502);
    assert_marked(&call, "larger than");
    let (seen, call) =
        one_call(true, move |_| compressed("gzip", "text/event-stream", &bomb)).await;
    assert_eq!(seen, None);
    assert_marked(&call, "larger than");

    // One line without end.
    let line = [b"data: ".to_vec(), large].concat();
    let (_, call) = one_call(true, move |_| {
        let mut steps = events([]);
        steps.push(Step::Send(line.clone()));
        steps
    })
    .await;
    assert_marked(&call, "larger than");
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_read_where_it_is_known_and_refused_where_it_is_not() {
    let body = gzip(completion(4, 2).to_string().as_bytes());
    let (seen, call) =
        one_call(false, move |_| compressed("gzip", "application/json", &body)).await;
    assert!(seen.unwrap().1.contains("prompt_tokens"));
    assert_eq!((call.outcome, call.llm_in, call.llm_out), (CallOutcome::Complete, 4, 2));

    let stream = format!("{}\n\n{}\n\ndata: [DONE]\n\n", delta("a"), usage(4, 2));
    let stream = gzip(stream.as_bytes());
    let (_, call) = one_call(true, move |_| compressed("gzip", "text/event-stream", &stream)).await;
    assert_eq!((call.outcome, call.llm_in, call.llm_out), (CallOutcome::Complete, 4, 2));

    let (seen, call) = one_call(false, |_| compressed("br", "application/json", b"anything")).await;
    assert_eq!(seen.unwrap().0, 502);
    assert_marked(&call, "\"br\"");
    let (seen, call) =
        one_call(false, |_| compressed("gzip", "application/json", b"no gzip")).await;
    assert_eq!(seen.unwrap().0, 502);
    assert_marked(&call, "compressed");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_events_are_passed_on_and_marked() {
    for bad in ["data: {\"choices\":[", "data: {\"usage\":{\"prompt_tokens\":-5}}", "data: no"] {
        let (seen, call) = one_call(true, move |_| events([bad, "data: [DONE]"])).await;
        assert!(seen.unwrap().1.starts_with(bad));
        assert_eq!(call.outcome, CallOutcome::Inconclusive, "{bad}");
        assert_eq!((call.llm_in, call.llm_out), (0, 0), "{bad}");
    }
    let (seen, call) = one_call(false, |_| answer("200 OK", "application/json", "not JSON")).await;
    assert_eq!(seen.unwrap(), (200, "not JSON".to_owned()));
    assert_marked(&call, "no JSON");
    let contradicts = json!({ "usage": { "prompt_tokens": 10, "completion_tokens": 5,
        "total_tokens": 12 } });
    let (_, call) = one_call(false, move |_| whole(&contradicts)).await;
    assert_eq!((call.outcome, call.llm_in, call.llm_out), (CallOutcome::Inconclusive, 10, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_not_charged() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fixture = Fixture::with(route(UpstreamKind::OpenAi, &format!("http://{free}")), PLENTY);
    let (status, text) = fixture.chat(json!({})).await.unwrap();
    assert!(status == 502 && text.contains("cannot be reached"), "{text}");
    let (report, calls) = fixture.finish().await;
    assert_eq!(report.usage, Usage::default());
    assert_eq!(calls[0].outcome, CallOutcome::Refused);
}

/// A module that reads a stream and leaves before its record does not read for free.
#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_goes_away_is_charged_by_the_record_all_the_same() {
    let service = upstream(|_| {
        let mut steps = events([&*delta("the whole answer")]);
        steps.push(pause(150));
        steps.push(send(&format!("{}\n\ndata: [DONE]\n\n", usage(9, 4))));
        steps
    });
    let fixture = Fixture::of(UpstreamKind::OpenAi, &service);
    let body = crate::fixture::chat(json!({ "stream": true }));
    let mut response = fixture.post("/chat/completions", &body).send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    let (report, calls) = fixture.finish().await;
    assert_eq!((report.usage.llm_in, report.usage.llm_out), (9, 4), "{calls:?}");
    assert_eq!(calls[0].outcome, CallOutcome::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_does_not_leave() {
    let service = upstream(|_| whole(&completion(1, 1)));
    let mut route = route(UpstreamKind::OpenAi, &service.url());
    route.limits.request_bytes = 1_000;
    let fixture = Fixture::with(route, PLENTY);
    let text = "x".repeat(2_000);
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
    let (status, _) = fetch(fixture.post("/chat/completions", &body)).await.unwrap();
    assert_eq!(status, 413);
    assert!(service.arrived().is_empty(), "nothing left");
    let (report, _) = fixture.finish().await;
    assert_eq!(report.egress.upstreams[0].refused, 1);
}
