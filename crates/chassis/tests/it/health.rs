//! What an orchestrator sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::service::listen;
use chassis::{Health, Service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn ready_follows_what_is_needed_and_live_does_not() {
    let (health, service) = (Health::new(), Service::default());
    health.need("store").want("friend");
    let listener = listen(testkit::ANY_PORT, "PORT").unwrap();
    let address = listener.local_addr().unwrap();
    let router = health.router();
    service.spawn("http", async move { Ok(axum::serve(listener, router).await?) });
    let answers = Arc::new(AtomicBool::new(false));
    let probe = {
        let answers = Arc::clone(&answers);
        move || {
            let ok = answers.load(Ordering::SeqCst);
            async move { if ok { Ok(()) } else { Err("no answer".to_owned()) } }
        }
    };
    service.spawn(
        "store",
        health.clone().watch("store", Duration::from_millis(10), service.stop(), probe),
    );

    assert!(get(address, "/live").await.starts_with("HTTP/1.0 200"));
    testkit::eventually(async || get(address, "/ready").await.contains("no answer")).await;
    assert!(get(address, "/ready").await.starts_with("HTTP/1.0 503"));

    answers.store(true, Ordering::SeqCst);
    testkit::eventually(async || get(address, "/ready").await.starts_with("HTTP/1.0 200")).await;
    // The friend was never heard of: degraded, and ready anyway.
    assert!(get(address, "/ready").await.contains(r#""degraded":true"#));
}
