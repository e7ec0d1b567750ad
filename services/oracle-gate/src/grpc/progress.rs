//! Calls that report their progress.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use tokio::time::interval;
use tonic::Status;
use wire::pb::oracle::v1 as pb;

use super::answer;
use crate::objects::Meter;

/// How often progress is reported.
const EVERY: Duration = Duration::from_secs(2);

/// A stream of messages.
pub(super) type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// Progress while `work` goes on, then what it ends with. Without a receiver the work stops.
pub(super) fn messages<M: Send + 'static>(
    work: impl Future<Output = Result<M, Status>> + Send + 'static,
    meter: Arc<Meter>,
    message: fn(pb::Progress) -> M,
) -> Messages<M> {
    let begun = (Box::pin(work), interval(EVERY), meter);
    Box::pin(unfold(Some(begun), move |going| async move {
        let (mut work, mut ticks, meter) = going?;
        tokio::select! {
            ended = &mut work => Some((ended, None)),
            _ = ticks.tick() => {
                let progress = message(answer::progress(meter.now()));
                Some((Ok(progress), Some((work, ticks, meter))))
            }
        }
    }))
}
