//! Credentials, redirects, and requests that could mean two things.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine as _;
use egress::{Plan, Source};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use testkit::upstream;
use testkit::upstream::{answer, events};
use wire::egress::UpstreamKind;

use crate::fixture::{Fixture, KEY, PLENTY, delta, fetch, raw, route, usage};

#[tokio::test(flavor = "multi_thread")]
async fn an_echoed_credential_is_removed_from_bodies_streams_and_headers() {
    let service = upstream(|request| {
        let sent = request.header("authorization").unwrap_or_default().to_owned();
        if request.json()["stream"] == true {
            return events([&*delta(&sent), &*usage(1, 1), "data: [DONE]"]);
        }
        let body = json!({ "error": { "message": format!("wrong key {sent}") } }).to_string();
        let head = format!(
            "HTTP/1.1 401 {sent}\r\nx-echo: {sent}\r\nX-{KEY}: 1\r\nset-cookie: account=1\r\n\
             www-authenticate: Bearer\r\nx-request-id: 7\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        vec![testkit::Step::Send(head.into_bytes()), testkit::Step::KeepOpen]
    });
    let fixture = Fixture::of(UpstreamKind::OpenAi, &service);
    let body = json!({ "model": "m", "messages": [] });
    let response = fixture.post("/chat/completions", &body).send().await.unwrap();
    assert_eq!(response.status(), 401);
    let names: Vec<_> = response.headers().keys().map(ToString::to_string).collect();
    assert!(names.contains(&"x-request-id".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains(KEY)), "{names:?}");
    for dropped in ["x-echo", "set-cookie", "www-authenticate"] {
        assert!(!names.contains(&dropped.to_owned()), "{names:?}");
    }
    let text = response.text().await.unwrap();
    assert!(text.contains("Bearer [credential removed]") && !text.contains(KEY), "{text}");
    let (_, text) = fixture.chat(json!({ "stream": true })).await.unwrap();
    assert!(text.contains("[credential removed]") && !text.contains(KEY), "{text}");
    // Nor are they in the report: `finish` looks for them.
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_the_modules_own_call_or_nothing() {
    let other = upstream(|_| answer("200 OK", "text/plain", "other"));
    let elsewhere = other.url();
    let service = upstream(move |request| {
        let to = match request.target.as_str() {
            "/api/within" => "/api/there?x=1".to_owned(),
            "/api/above" => "/admin".to_owned(),
            "/api/key" => format!("/api/there?key={KEY}"),
            "/api/escaped" => format!("/api/there?key={}", KEY.replace('-', "%2D")),
            "/api/away" => format!("{elsewhere}/api/there"),
            _ => return answer("200 OK", "text/plain", "there"),
        };
        let head = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
        );
        vec![testkit::Step::Send(head.into_bytes()), testkit::Step::KeepOpen]
    });
    let url = format!("{}/api", service.url());
    let fixture = Fixture::with(route(UpstreamKind::Http, &url), PLENTY);
    let response = fixture.get("/within").send().await.unwrap();
    assert_eq!(response.headers()["location"], "/model/there?x=1");
    for path in ["/above", "/away"] {
        let (status, text) = fetch(fixture.get(path)).await.unwrap();
        assert!(status == 502 && text.contains("somewhere else"), "{path}: {text}");
    }
    for path in ["/key", "/escaped"] {
        let response = fixture.get(path).send().await.unwrap();
        assert!(!response.headers().contains_key("location"), "{:?}", response.headers());
        let text = response.text().await.unwrap();
        assert!(text.contains("credential in the address") && !text.contains("sk"), "{text}");
    }
    let (report, _) = fixture.finish().await;
    assert_eq!(report.usage.http_calls, 5, "each that left is one");
    assert!(other.arrived().is_empty());
}

/// What a service does with its request's headers is not the operator's choice.
#[tokio::test(flavor = "multi_thread")]
async fn an_echo_in_another_form_is_removed_too() {
    let service = upstream(|request| {
        let sent = request.header("authorization").unwrap_or_default();
        let text = match request.target.as_str() {
            "/base64" => base64::engine::general_purpose::STANDARD.encode(sent),
            "/lines" => {
                let text = base64::engine::general_purpose::STANDARD.encode(sent);
                let lines: Vec<_> = text.as_bytes().chunks(20).map(<[u8]>::escape_ascii).collect();
                lines.iter().map(|line| format!("{line}\r\n")).collect()
            }
            "/hex" => sent.bytes().map(|byte| format!("{byte:02X} ")).collect(),
            "/url" => sent.replace('-', "%2D"),
            "/json" => sent.replace('-', "\\u002d"),
            "/html" => sent.replace('-', "&#45;"),
            "/quoted" => sent.replace('-', "=2D"),
            "/twice" => sent.replace('-', "%252d"),
            "/gzip" => sent.to_owned(),
            _ => String::new(),
        };
        if request.target != "/gzip" {
            return answer("200 OK", "text/plain", text);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        let body = encoder.finish().unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        vec![testkit::Step::Send([head.as_bytes(), &body].concat()), testkit::Step::KeepOpen]
    });
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    let paths =
        ["/base64", "/lines", "/hex", "/url", "/json", "/html", "/quoted", "/twice", "/gzip"];
    for path in paths {
        let (status, text) = fetch(fixture.get(path)).await.unwrap();
        assert_eq!(status, 200);
        assert!(text.contains("[credential removed]"), "{path}: {text}");
        assert!(!text.contains("0123456789") && text.len() < 64, "{path}: {text}");
    }
    fixture.finish().await;
}

/// Heads that two readers could understand in two ways never make two requests of one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_smuggled() {
    let service = upstream(|_| answer("200 OK", "text/plain", "ok"));
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    let hidden = "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    for head in [
        format!(
            "POST /model/a HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 40\r\n\r\n{hidden}"
        ),
        format!(
            "POST /model/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\ncontent-length: 4\r\n\r\n{hidden}"
        ),
        format!(
            "POST /model/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!("GET /model/a\r\n HTTP/1.1\r\nhost: x\r\n\r\n{hidden}"),
        "GET /model/a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            .to_owned(),
        "CONNECT 10.0.0.1:22 HTTP/1.1\r\nhost: 10.0.0.1:22\r\n\r\n".to_owned(),
        "GET http://10.0.0.1/model/a HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(fixture.address()).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
    }
    let (report, _) = fixture.finish().await;
    let arrived = service.arrived();
    assert!(arrived.iter().all(|request| request.target == "/a"), "{arrived:?}");
    assert!(arrived.iter().all(|request| request.header("upgrade").is_none()), "{arrived:?}");
    assert_eq!(report.usage.http_calls, arrived.len() as u64);
}

/// What is declared binds whatever the request's headers say, and nothing is sent that a service
/// would give back whole.
#[tokio::test(flavor = "multi_thread")]
async fn no_header_or_method_asks_for_another_place_or_for_what_was_sent() {
    let service = upstream(|request| answer("200 OK", "text/plain", format!("{request:?}")));
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    let mut request = fixture.get("/rates");
    let names = [
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-prefix",
        "forwarded",
    ];
    for name in names {
        request = request.header(name, "/admin");
    }
    let (status, text) = fetch(request).await.unwrap();
    assert!(status == 200 && !text.contains("/admin"), "{text}");

    for method in ["TRACE", "trace", "Trace", "connect", "get", "PROPFIND"] {
        let text = raw(&fixture, &format!("{method} /model/rates HTTP/1.1"), &[], b"");
        let expected = format!("the method \\\"{method}\\\" is not allowed");
        assert!(text.starts_with("HTTP/1.1 403") && text.contains(&expected), "{text}");
    }
    assert_eq!(service.arrived().len(), 1);
    fixture.finish().await;
}

/// Servers that hand headers on as variables read `_` and `-` as the same sign, and gateways know
/// names of credentials that services do not.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_spelling_or_gateway_takes_a_header_that_does_not_leave() {
    let service = upstream(|request| answer("200 OK", "text/plain", format!("{request:?}")));
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    let names = [
        "X_HTTP_Method_Override",
        "X_Original_URL",
        "X_Forwarded_For",
        "X-Original_URL",
        "x_api_key",
        "anything_else",
        "x-litellm-api-key",
        "x-litellm-timeout",
        "x-portkey-custom-host",
        "cf-aig-authorization",
        "Helicone-Auth",
        "helicone-target-url",
        "x-bf-vk",
        "x-goog-user-project",
        "x-auth-token",
        "Private-Token",
        "proxy-authorization",
        // By these an echo would come back in parts, or in another form.
        "range",
        "if-range",
        "accept-charset",
    ];
    let headers: Vec<String> = names.iter().map(|name| format!("{name}: smuggled")).collect();
    let mut headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    headers.extend(["idempotency-key: kept", "x-stainless-lang: kept"]);
    let text = raw(&fixture, "GET /model/rates HTTP/1.1", &headers, b"");
    assert!(text.starts_with("HTTP/1.1 200") && !text.contains("smuggled"), "{text}");
    assert_eq!(text.matches("kept").count(), 2, "{text}");
    fixture.finish().await;
}

/// What clients offer with every request is no wish for another protocol.
#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_http_2_is_ignored() {
    let service = upstream(|request| answer("200 OK", "text/plain", format!("{request:?}")));
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    let offer = ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABk"];
    let text = raw(&fixture, "GET /model/rates HTTP/1.1", &offer, b"");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(!text.contains("h2c") && !text.to_lowercase().contains("http2-settings"), "{text}");
    for other in ["websocket", "h2c, websocket"] {
        let other = format!("upgrade: {other}");
        let text =
            raw(&fixture, "GET /model/rates HTTP/1.1", &["connection: upgrade", &other], b"");
        assert!(text.starts_with("HTTP/1.1 403"), "{text}");
    }
    assert_eq!(service.arrived().len(), 1);
    fixture.finish().await;
}

/// Whatever a service says of how it compressed its answer, nothing goes by that is not read.
#[tokio::test(flavor = "multi_thread")]
async fn an_echo_that_is_compressed_beside_what_is_said_is_not_passed_on() {
    let service = upstream(|request| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(request.header("authorization").unwrap().as_bytes()).unwrap();
        let body = encoder.finish().unwrap();
        let says = match request.target.as_str() {
            "/twice" => "content-encoding: identity\r\ncontent-encoding: gzip".to_owned(),
            "/odd" => "content-encoding: \u{fc}".to_owned(),
            "/echo" => format!("content-encoding: {}{KEY}", "x".repeat(190)),
            _ => "transfer-encoding: gzip, chunked".to_owned(),
        };
        let body = match request.target.as_str() {
            "/transfer" => {
                [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat()
            }
            _ => body,
        };
        let head = format!("HTTP/1.1 200 OK\r\n{says}\r\nconnection: close\r\n\r\n");
        vec![testkit::Step::Send([head.as_bytes(), &body].concat())]
    });
    let fixture = Fixture::of(UpstreamKind::Http, &service);
    let seen = fetch(fixture.get("/twice")).await.unwrap();
    assert_eq!(seen, (200, "Bearer [credential removed]".to_owned()));
    for path in ["/odd", "/echo", "/transfer"] {
        assert_eq!(fetch(fixture.get(path)).await, None, "{path}");
    }
    let (report, calls) = fixture.finish().await;
    for call in &calls[1..] {
        assert!(call.reason.as_ref().unwrap().contains("unsupported compression"), "{call:?}");
    }
    assert!(!String::from_utf8_lossy(&report.list).contains(&KEY[..9]), "{calls:?}");
}

/// A module cannot fill the gate's memory with bodies of requests that wait.
#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_request_is_read_when_its_turn_has_come() {
    let (free, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let service = upstream(move |_| {
        wait.lock().unwrap().recv().unwrap();
        answer("200 OK", "text/plain", "ok")
    });
    let mut route = route(UpstreamKind::Http, &service.url());
    route.limits.concurrency = 1;
    let fixture = Fixture::with(route, PLENTY);
    let first = tokio::spawn(fetch(fixture.get("/first")));
    while service.arrived().is_empty() {
        tokio::task::yield_now().await;
    }

    // The server asks for the body when it is about to read it.
    let mut stream = TcpStream::connect(fixture.address()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let head = "POST /model/second HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\
        expect: 100-continue\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut line = [0; 25];
    assert!(stream.read(&mut line).is_err(), "nothing is asked for yet");
    free.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().0, 200);
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    stream.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    free.send(()).unwrap();
    stream.write_all(b"ab").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let (report, _) = fixture.finish().await;
    assert_eq!(report.usage.http_calls, 2);
}

/// Every process of the machine can connect to the proxy; only the guard's connections are served.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_guard_did_not_make_is_not_served() {
    let service = upstream(|_| answer("200 OK", "text/plain", "ok"));
    let route = route(UpstreamKind::Http, &service.url());
    let client = egress::proxy::client(&route, &[]).unwrap();
    let source = Source::Live(vec![client]);
    let plan = Plan { routes: vec![route], budgets: PLENTY, source, records: false, open: false };
    let fixture = Fixture::plan(plan);
    assert_eq!(fetch(fixture.get("/a")).await, None);
    let (report, _) = fixture.finish().await;
    assert_eq!((report.usage.http_calls, service.arrived().len()), (0, 0));
}
