//! One process has one log, whoever takes it first. Alone in its process, so that no other test has.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::{sync::Barrier, thread};

use chassis::telemetry;
use tokio::runtime::Handle;

#[tokio::test]
async fn all_who_set_up_the_log_at_once_succeed() {
    let (start, runtime) = (Barrier::new(8), Handle::current());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let _inside = runtime.enter();
                start.wait();
                telemetry::init("chassis-test", "warn").unwrap();
            });
        }
    });
}
