//! A signal ends a process in order, a second one at once. Alone in its process, since signals
//! reach every test in it.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::time::Duration;

use chassis::Service;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SOON: Duration = Duration::from_secs(20);

fn signal() {
    kill(Pid::this(), Signal::SIGTERM).unwrap();
}

#[tokio::test]
async fn one_signal_asks_and_a_second_one_does_not_wait() {
    let service = Service::default();
    let (stop, (asked, was_asked)) = (service.stop(), tokio::sync::oneshot::channel());
    service.spawn("orderly", async move {
        // Signals are listened to only once `run` was polled, which a first turn of ours follows.
        signal_when_listening();
        stop.cancelled().await;
        asked.send(()).unwrap();
        Ok(())
    });
    service.run(SOON).await.unwrap();
    was_asked.await.unwrap();

    let service = Service::default();
    let stop = service.stop();
    service.spawn("deaf", async move {
        signal_when_listening();
        stop.cancelled().await;
        signal();
        std::future::pending().await
    });
    let error = service.run(Duration::from_secs(600)).await.unwrap_err().to_string();
    assert!(error.contains("again") && error.contains("deaf"), "{error}");
}

/// On a runtime with one thread, a spawned task first runs after the test has polled `run`.
fn signal_when_listening() {
    signal();
}
