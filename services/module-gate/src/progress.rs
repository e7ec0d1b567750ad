//! What a caller hears while it waits. Nothing rests on it: a caller that is slow or gone misses
//! it.

use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use wire::pb::module::v1::{Finished, Progress as Message};

use crate::error::Error;

/// One message of the answer.
#[derive(Debug)]
pub enum ProgressMessage {
    /// Still at it.
    Progress(Message),
    /// The last one: the signed statement.
    Finished(Finished),
}

/// The place of the last message: it is kept free, so that the end waits for no caller.
#[derive(Debug)]
pub struct Ending(mpsc::OwnedPermit<Result<ProgressMessage, Status>>);

/// The way to one caller.
#[derive(Debug, Clone)]
pub struct Progress {
    to: mpsc::Sender<Result<ProgressMessage, Status>>,
    began: Instant,
}

impl Progress {
    /// Messages given to it come out of the receiver.
    pub fn channel() -> (Self, Ending, mpsc::Receiver<Result<ProgressMessage, Status>>) {
        let (to, from) = mpsc::channel(32);
        let last = to.clone().try_reserve_owned().expect("a new channel has room");
        (Self { to, began: Instant::now() }, Ending(last), from)
    }

    /// Reports that `phase` has begun.
    pub fn report(&self, phase: &str, message: &str) {
        let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let message = Message { phase: phase.to_owned(), message: message.to_owned(), elapsed_ms };

        // A full channel is a slow caller, who misses this message.
        let _ = self.to.try_send(Ok(ProgressMessage::Progress(message)));
    }

    /// Whether the caller has gone away.
    pub fn gone(&self) -> bool {
        self.to.is_closed()
    }
}

impl Ending {
    /// Ends the answer.
    pub fn send(self, result: Result<Vec<u8>, Error>) {
        let last = result
            .map(|statement| ProgressMessage::Finished(Finished { statement }))
            .map_err(Status::from);
        self.0.send(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_has_a_place_however_much_was_not_read() {
        let (progress, ending, mut messages) = Progress::channel();
        for _ in 0..1_000 {
            progress.report("running", "");
        }
        ending.send(Ok(b"statement".to_vec()));
        drop(progress);
        let mut last = None;
        while let Some(message) = messages.recv().await {
            last = Some(message.unwrap());
        }
        assert!(matches!(last, Some(ProgressMessage::Finished(_))), "{last:?}");
    }
}
