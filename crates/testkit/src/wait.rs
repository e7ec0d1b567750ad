//! Waiting for a state, with one limit for all tests.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a state is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// Ends a test that would never end otherwise. It is far above what any state takes, so that a busy
/// machine does not fail a test; what has to happen within a time is measured by the test itself.
const LIMIT: Duration = Duration::from_secs(180);

/// What a probe may answer: `bool`, `Option` or `Result`.
pub trait State {
    /// What the state holds once it is reached.
    type Value;

    /// The value if the state is reached.
    fn reached(self) -> Option<Self::Value>;
}

/// Asks `probe` until it answers `true`, `Some` or `Ok`.
///
/// # Panics
///
/// When that takes longer than three minutes.
pub async fn eventually<P, F, S>(mut probe: P) -> S::Value
where
    P: FnMut() -> F,
    F: Future<Output = S>,
    S: State,
{
    let give_up_at = Instant::now() + LIMIT;
    loop {
        if let Some(value) = probe().await.reached() {
            return value;
        }
        assert!(Instant::now() < give_up_at, "the state was not reached within {LIMIT:?}");
        sleep(EVERY).await;
    }
}

impl State for bool {
    type Value = ();

    fn reached(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> State for Option<T> {
    type Value = T;

    fn reached(self) -> Option<T> {
        self
    }
}

impl<T, E> State for Result<T, E> {
    type Value = T;

    fn reached(self) -> Option<T> {
        self.ok()
    }
}
