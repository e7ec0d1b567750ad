//! A signal ends a process in order, a second one at once. Alone in its process, since signals
//! reach every test in it.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::time::Duration;

use anyhow::bail;
use chassis::Service;
use chassis::service::Signals;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

fn signal() {
    kill(Pid::this(), Signal::SIGTERM).unwrap();
}

/// One test, since a signal would reach another one of this process, too.
#[test]
fn signals_are_kept_from_the_first_moment_and_a_second_one_does_not_wait() {
    // Before there is a runtime, as in `main`.
    let mut signals = Signals::listen().unwrap();
    signal();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        a_start_is_cancelled(&mut signals).await;
        one_signal_asks_and_a_second_one_does_not_wait().await;
    });
}

async fn a_start_is_cancelled(signals: &mut Signals) {
    let service = Service::default();
    // It is handed on at the runtime's next turn, which a start of any length leaves room for.
    let start = std::future::pending();
    assert!(!service.start(signals, SOON, start).await.unwrap(), "a signal before the start");

    let (service, stop) = (Service::default(), CancellationToken::new());
    let (started, was_stopped) = (service.clone(), stop.clone());
    let start = async {
        let all = started.stop();
        started.spawn("begun", async move {
            signal();
            all.cancelled().await;
            was_stopped.cancel();
            Ok(())
        });
        // Such as a database that does not answer.
        std::future::pending().await
    };
    assert!(!service.start(signals, SOON, start).await.unwrap(), "a signal while it starts");
    assert!(stop.is_cancelled(), "what has begun was asked to stop");

    let service = Service::default();
    let refused = service.start(signals, SOON, async { bail!("PORT: is taken") }).await;
    assert_eq!(refused.unwrap_err().to_string(), "PORT: is taken");
    assert!(service.stop().is_cancelled());
    let service = Service::default();
    assert!(service.start(signals, SOON, async { Ok(()) }).await.unwrap());
}

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
