//! No client holds the HTTP server up, whatever it sends or does not send.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::routing::{get, post};
use chassis::http::{Limits, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Far longer than any limit of these tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// What no test waits for.
const NEVER: Duration = Duration::from_secs(3_600);

const SHORT: Limits = Limits {
    head: Duration::from_millis(300),
    body_pause: Duration::from_millis(300),
    body: Duration::from_millis(900),
    write_pause: Duration::from_millis(500),
    connections: 4,
    grace: Duration::from_millis(500),
};

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<anyhow::Result<()>>,
}

async fn start(limits: Limits) -> Server {
    let echo = async |body: Result<Bytes, BytesRejection>| match body {
        Ok(body) => (StatusCode::OK, body),
        Err(_) => (StatusCode::BAD_REQUEST, Bytes::from_static(b"late")),
    };
    let endless = async || {
        let pieces =
            futures::stream::repeat_with(|| std::io::Result::Ok(Bytes::from(vec![0; 65_536])));
        Body::from_stream(pieces)
    };
    let router =
        Router::new().route("/", post(echo).get(async || "ok")).route("/endless", get(endless));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(serve(listener, router, limits, stop.clone()));
    Server { address, stop, serving }
}

async fn say(server: &Server, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// What the server answers until it closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it is never closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_or_half_is_let_go() {
    let server = start(SHORT).await;
    for half in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\nX-", "POST / HTTP/1.1\r\n"] {
        rest(say(&server, half).await).await;
    }
    // A connection that was used and then is not.
    assert!(rest(say(&server, GET).await).await.contains("ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = start(SHORT).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
    let answer = rest(say(&server, &format!("{head}half")).await).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("late"), "{answer}");

    // One that comes in small pieces without an end.
    let mut stream = say(&server, head).await;
    let started_at = Instant::now();
    while stream.write_all(b"x").await.is_ok() && started_at.elapsed() < PATIENCE {
        let mut answer = [0; 64];
        if timeout(Duration::from_millis(100), stream.read(&mut answer)).await.is_ok() {
            break;
        }
    }
    assert!(started_at.elapsed() < PATIENCE, "{:?}", started_at.elapsed());
    let whole = format!("{}{}", head, "x".repeat(100));
    assert!(rest(say(&server, &whole).await).await.ends_with(&"x".repeat(100)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_ends() {
    let server = start(SHORT).await;
    let stream = say(&server, "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Nothing is read, until the server has given up; then what was on its way comes to an end.
    tokio::time::sleep(Duration::from_secs(2)).await;
    rest(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_may_be_wait_and_are_served() {
    let server = start(SHORT).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(say(&server, "").await);
    }
    assert!(rest(say(&server, GET).await).await.contains("ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_clients() {
    let limits = Limits { head: NEVER, body: NEVER, body_pause: NEVER, ..SHORT };
    let server = start(limits).await;
    let _silent = say(&server, "").await;
    let _half = say(&server, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").await;
    let endless = say(&server, "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(endless.readable().await.is_ok());
    server.stop.cancel();
    timeout(PATIENCE, server.serving).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
