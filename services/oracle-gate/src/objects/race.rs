//! Several creates of one object at once, for the proof that one of them wins (O10).

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::folder::{self, Lasting, Put};
use super::{Created, Objects, StoreError};

/// Longest wait for the other writers of a race: one whose thread gets no processor for so long
/// comes later, which only makes that race an easier one.
const LONGEST: Duration = Duration::from_millis(100);

/// Where the writers of a race wait for each other, each with its bytes written and its name still
/// to be taken: else the first would have the name before the last one begins.
pub(super) struct Start {
    writers: usize,
    arrived: Mutex<usize>,
    all: Condvar,
}

impl Start {
    fn new(writers: usize) -> Self {
        Self { writers, arrived: Mutex::new(0), all: Condvar::new() }
    }

    /// Returns when all writers are here, or after [`LONGEST`].
    pub(super) fn wait(&self) {
        // A number stays right, whichever thread panicked beside it.
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        *arrived += 1;
        if *arrived >= self.writers {
            self.all.notify_all();
            return;
        }
        let missing = |arrived: &mut usize| *arrived < self.writers;
        drop(self.all.wait_timeout_while(arrived, LONGEST, missing));
    }
}

impl Objects {
    /// Creates one object with each of `contents` at once. The object is scratch: in a folder it
    /// does not reach the disk.
    pub(crate) async fn race(
        &self,
        path: &str,
        contents: &[Bytes],
    ) -> Vec<Result<Created, StoreError>> {
        if !self.is_direct() {
            let writers = contents.iter().map(|bytes| self.create(path, bytes.clone()));
            return join_all(writers).await;
        }
        let start = Arc::new(Start::new(contents.len()));
        let writers = contents.iter().map(|bytes| async {
            self.location(path)?;
            let (at, bytes) = (path.to_owned(), bytes.clone());
            let lasting = Lasting::Scratch(Some(Arc::clone(&start)));
            let put = self.on_disk(move |root| folder::create(root, &at, &bytes, &lasting));
            Ok(match put.await? {
                Put::New => Created::New,
                Put::Existed => Created::Existed,
            })
        });
        join_all(writers).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_many_writers_of_one_file_one_wins_and_its_bytes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path()).unwrap();
        for race in 0..20 {
            let path = format!("scratch/{race}");
            let contents: Vec<Bytes> = (0..16_u8).map(|writer| vec![writer; 9].into()).collect();
            let done = objects.race(&path, &contents).await;
            let done: Vec<Created> = done.into_iter().map(Result::unwrap).collect();
            let won: Vec<usize> = (0..16).filter(|at| done[*at] == Created::New).collect();
            assert_eq!(won.len(), 1, "{done:?}");
            let stayed = objects.read(&path, 64).await.unwrap().unwrap();
            assert_eq!(stayed, contents[won[0]]);
        }
        // Nothing is left of those who lost.
        let left = std::fs::read_dir(dir.path().join("scratch")).unwrap();
        assert_eq!(left.count(), 20);
    }

    #[test]
    fn writers_wait_for_the_last_one() {
        let start = Arc::new(Start::new(4));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let start = Arc::clone(&start);
                std::thread::spawn(move || start.wait())
            })
            .collect();
        start.wait();
        waiting.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(*start.arrived.lock().unwrap(), 4);
        // One that comes late does not wait.
        start.wait();
    }
}
