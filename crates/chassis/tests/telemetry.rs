//! One process has one log, whichever part takes it first. Alone in its process, so that no other
//! test has.

use std::sync::Barrier;
use std::thread;

use chassis::telemetry;
use tokio::runtime::Handle;

#[tokio::test]
async fn all_who_set_up_the_log_at_once_succeed() {
    let (start, runtime) = (Barrier::new(8), Handle::current());
    thread::scope(|scope| {
        let set_up = || {
            let _inside = runtime.enter();
            start.wait();
            telemetry::init("chassis-test", "warn").err()
        };
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(set_up)).collect();
        for caller in callers {
            assert!(matches!(caller.join(), Ok(None)));
        }
    });
}
