//! Tells a person who waits how much was read: on a terminal only, beside the answer.

use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use crate::objects::{Meter, Objects};

const EVERY: Duration = Duration::from_secs(2);

/// The same store, what is read of it counted.
pub(super) fn metered(objects: &Objects) -> (Objects, Arc<Meter>) {
    let meter = Arc::<Meter>::default();
    (objects.metered(&meter), meter)
}

/// What `work` ends with.
pub(super) async fn told<T>(meter: &Meter, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
    let mut terminal = std::io::stderr();
    loop {
        tokio::select! {
            ended = &mut work => return ended,
            _ = ticks.tick(), if terminal.is_terminal() => {
                let now = meter.now();
                let (files, size) = (now.objects_read, now.bytes_read >> 20);
                // A terminal that went away is no reason to stop.
                drop(writeln!(terminal, "read {files} files, {size} MiB"));
            }
        }
    }
}
