//! Waiting for a state, with a deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a state is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// What a probe may answer: `bool`, `Option` or `Result`.
pub trait State {
    /// What the state holds once it is reached.
    type Value;

    /// The value if the state is reached.
    fn reached(self) -> Option<Self::Value>;
}

/// The limit only ends a test that would never end, so a busy machine must not meet it.
const LEAST_LIMIT: Duration = Duration::from_secs(120);

/// Asks `probe` until it answers `true`, `Some` or `Ok`.
///
/// # Panics
///
/// When that takes longer than `timeout`, or than two minutes if that is longer. What has to happen
/// within a time is measured by the test itself.
pub async fn eventually<P, F, S>(timeout: Duration, mut probe: P) -> S::Value
where
    P: FnMut() -> F,
    F: Future<Output = S>,
    S: State,
{
    let timeout = timeout.max(LEAST_LIMIT);
    let give_up_at = Instant::now() + timeout;
    loop {
        if let Some(value) = probe().await.reached() {
            return value;
        }
        assert!(Instant::now() < give_up_at, "the state was not reached within {timeout:?}");
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
