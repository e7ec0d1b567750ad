//! Digests of many objects, each read once, several in flight.
//!
//! A digest over several files in their order (`sha256-concat-v0`, the bundle of a gate) is made
//! from the same bytes as the digests of the files themselves: what is read is never read again
//! (O15). In a folder each worker reads whole blocks into one buffer of its own; in a bucket a
//! large object is asked for in ranges, of which a few are on their way at once. Memory is bounded
//! by the number of workers, whatever the size and number of files.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::sync::mpsc;
use wire::digest::{Digest, Hasher};

use super::failure::{StoreError, classify, is_absent};
use super::folder::{self, BLOCK, Opened};
use super::{Meter, Objects};

/// Larger objects of a bucket are asked for in ranges.
const RANGED_FROM: u64 = 32 << 20;
/// Bytes of one range.
const RANGE: u64 = 8 << 20;
/// Ranges of one object on their way at once.
const RANGES: usize = 4;

/// Files that are read one after the other by one worker.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// Their paths, in the order they are read, and their lengths as far as they are known.
    pub files: Vec<(String, Option<u64>)>,
    /// Digests over several of them: each by the places of its files in `files`, rising.
    pub runs: Vec<Vec<usize>>,
    /// Bytes of files that were read before, by their places: these are not read again.
    pub given: BTreeMap<usize, Bytes>,
}

/// Length and digest of a file; `None` if it is not there.
pub type Hashed = Result<Option<(u64, Digest)>, StoreError>;

/// What became of a task.
#[derive(Debug)]
pub struct Done {
    /// In the order of its files.
    pub files: Vec<Hashed>,
    /// In the order of its runs; `None` where one of the files has no digest.
    pub runs: Vec<Option<Digest>>,
}

/// The digests that a task makes over several files, while it is read.
struct Runs<'a> {
    task: &'a Task,
    made: Vec<Option<Hasher>>,
}

impl<'a> Runs<'a> {
    fn new(task: &'a Task) -> Self {
        Self { task, made: task.runs.iter().map(|_| Some(Hasher::new())).collect() }
    }

    fn of(&self, file: usize) -> Vec<usize> {
        let runs = self.task.runs.iter().enumerate();
        runs.filter(|(_, files)| files.contains(&file)).map(|(run, _)| run).collect()
    }

    fn update(&mut self, runs: &[usize], bytes: &[u8]) {
        for run in runs {
            if let Some(hasher) = &mut self.made[*run] {
                hasher.update(bytes);
            }
        }
    }

    /// What is known of a file whose bytes were read before.
    fn given(&mut self, file: usize) -> Option<Hashed> {
        let bytes = self.task.given.get(&file)?;
        self.update(&self.of(file), bytes);
        Some(Ok(Some((bytes.len() as u64, Digest::of(bytes)))))
    }

    /// A digest that lacks a file is none.
    fn spoil(&mut self, runs: &[usize]) {
        for run in runs {
            self.made[*run] = None;
        }
    }

    fn finish(self) -> Vec<Option<Digest>> {
        self.made.into_iter().map(|hasher| hasher.map(Hasher::finish)).collect()
    }
}

/// What workers on files of a folder share.
struct Shared {
    root: PathBuf,
    tasks: Vec<Task>,
    next: AtomicUsize,
    stop: AtomicBool,
    progress: AtomicU64,
    meter: Arc<Meter>,
}

/// Stops the workers when their results are no longer awaited.
struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// What is known of a task so far: its files, and the digests over runs of them.
type Progress = (Vec<Option<Hashed>>, Vec<Option<Digest>>);

enum Event {
    File(usize, usize, Hashed),
    Runs(usize, Vec<Option<Digest>>),
}

impl Objects {
    /// Hashes every file of every task. `each` is called for a file as soon as its digest is known,
    /// with the numbers of the task and of the file in it.
    pub async fn hash_all(
        &self,
        tasks: Vec<Task>,
        mut each: impl FnMut(usize, usize, &Hashed),
    ) -> Vec<Done> {
        let mut done: Vec<Progress> = tasks
            .iter()
            .map(|task| (task.files.iter().map(|_| None).collect(), vec![None; task.runs.len()]))
            .collect();
        let paths: Vec<Vec<String>> = tasks
            .iter()
            .map(|task| task.files.iter().map(|(path, _)| path.clone()).collect())
            .collect();
        let lengths = tasks.iter().flat_map(|task| &task.files).filter_map(|(_, length)| *length);
        self.meter.expect(lengths.sum());
        let mut take = |event: Event| match event {
            Event::File(task, file, hashed) => {
                each(task, file, &hashed);
                done[task].0[file] = Some(hashed);
            }
            Event::Runs(task, runs) => done[task].1 = runs,
        };
        let timed_out = match (&self.root, self.direct) {
            (Some(root), true) => self.hash_files(root.clone(), tasks, &mut take).await,
            _ => {
                let (to, mut events) = mpsc::unbounded_channel();
                let work = stream::iter(tasks.into_iter().enumerate())
                    .map(|(number, task)| self.hash_task(number, task, to.clone()))
                    .buffer_unordered(self.jobs.max(1));
                let mut work = std::pin::pin!(work);
                while work.next().await.is_some() {
                    while let Ok(event) = events.try_recv() {
                        take(event);
                    }
                }
                // What was sent after the last look.
                while let Ok(event) = events.try_recv() {
                    take(event);
                }
                false
            }
        };
        // What no worker has answered is not known.
        let missing = |path: &String| match timed_out {
            true => StoreError::Timeout { path: path.clone() },
            false => StoreError::Unavailable {
                path: path.clone(),
                cause: "its reader ended early".to_owned(),
            },
        };
        done.into_iter()
            .zip(&paths)
            .map(|((files, runs), paths)| {
                let files = files.into_iter().zip(paths);
                let files = files.map(|(file, path)| file.unwrap_or_else(|| Err(missing(path))));
                Done { files: files.collect(), runs }
            })
            .collect()
    }

    /// Workers on threads of their own. Answers whether the disk stopped giving anything.
    async fn hash_files(
        &self,
        root: PathBuf,
        tasks: Vec<Task>,
        take: &mut impl FnMut(Event),
    ) -> bool {
        let workers = self.jobs.clamp(1, tasks.len().max(1));
        let shared = Arc::new(Shared {
            root,
            tasks,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            progress: AtomicU64::new(0),
            meter: Arc::clone(&self.meter),
        });
        let stop = StopOnDrop(Arc::clone(&shared));
        let (to, mut events) = mpsc::unbounded_channel();
        for _ in 0..workers {
            let (shared, to) = (Arc::clone(&shared), to.clone());
            tokio::task::spawn_blocking(move || work(&shared, &to));
        }
        // The channel ends with the last worker only once this end is gone.
        drop(to);
        let mut before = 0;
        loop {
            match tokio::time::timeout(self.timeouts.call, events.recv()).await {
                Ok(Some(event)) => take(event),
                Ok(None) => return false,
                // A large file takes long; one that gives nothing at all is not waited for.
                Err(_) => {
                    let now = shared.progress.load(Ordering::Relaxed);
                    if now == before {
                        drop(stop);
                        return true;
                    }
                    before = now;
                }
            }
        }
    }

    /// A task whose objects are streamed.
    async fn hash_task(&self, number: usize, task: Task, to: mpsc::UnboundedSender<Event>) {
        let mut runs = Runs::new(&task);
        for (at, (path, length)) in task.files.iter().enumerate() {
            if let Some(hashed) = runs.given(at) {
                drop(to.send(Event::File(number, at, hashed)));
                continue;
            }
            let of = runs.of(at);
            let mut hasher = Hasher::new();
            let take = |bytes: &[u8]| {
                hasher.update(bytes);
                runs.update(&of, bytes);
            };
            let ranged = self.bucket.is_some() && length.is_some_and(|length| length > RANGED_FROM);
            let read = if ranged {
                self.read_ranges(path, take).await
            } else {
                self.read_stream(path, take).await
            };
            let hashed = read.map(|length| length.map(|length| (length, hasher.finish())));
            if !matches!(hashed, Ok(Some(_))) {
                runs.spoil(&of);
            }
            drop(to.send(Event::File(number, at, hashed)));
        }
        drop(to.send(Event::Runs(number, runs.finish())));
    }

    async fn read_stream(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Option<u64>, StoreError> {
        let Some(mut object) = self.open_object(path).await? else { return Ok(None) };
        let length = object.length();
        while let Some(bytes) = object.next().await? {
            take(&bytes);
        }
        Ok(Some(length))
    }

    /// Reads an object in ranges, a few of them at once, in their order. All are of the version
    /// that the first answer named: a store refuses one of another.
    async fn read_ranges(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Option<u64>, StoreError> {
        let location = self.location(path)?;
        let first =
            GetOptions { range: Some(GetRange::Bounded(0..RANGE)), ..GetOptions::default() };
        let first = self.store.get_opts(&location, first);
        let first = match self.within(path, self.timeouts.call, first).await? {
            Ok(first) => first,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(classify(path, &error)),
        };
        self.meter.opened();
        let (length, tag) = (first.meta.size, first.meta.e_tag.clone());
        let bytes = self.within(path, self.timeouts.call, first.bytes()).await?;
        let bytes = bytes.map_err(|error| classify(path, &error))?;
        let changed = || StoreError::Changed { path: path.to_owned() };
        // A first range of another length is of another version than the length that came with it.
        if bytes.len() as u64 != RANGE.min(length) {
            return Err(changed());
        }
        self.meter.read(bytes.len() as u64);
        take(&bytes);

        let starts = (1..length.div_ceil(RANGE)).map(|part| part * RANGE);
        let parts = stream::iter(starts).map(|start| {
            let range = start..(start + RANGE).min(length);
            let options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                if_match: tag.clone(),
                ..GetOptions::default()
            };
            let location = &location;
            async move {
                let got = async {
                    match self.store.get_opts(location, options).await {
                        Ok(got) => got.bytes().await,
                        Err(error) => Err(error),
                    }
                };
                match self.within(path, self.timeouts.call, got).await? {
                    Ok(bytes) if bytes.len() as u64 == range.end - range.start => Ok(bytes),
                    Ok(_) | Err(object_store::Error::Precondition { .. }) => {
                        Err(StoreError::Changed { path: path.to_owned() })
                    }
                    Err(error) => Err(classify(path, &error)),
                }
            }
        });
        let mut parts = std::pin::pin!(parts.buffered(RANGES));
        while let Some(bytes) = parts.next().await {
            let bytes = bytes?;
            self.meter.read(bytes.len() as u64);
            take(&bytes);
        }
        Ok(Some(length))
    }
}

/// Takes tasks until none is left.
fn work(shared: &Shared, to: &mpsc::UnboundedSender<Event>) {
    let mut buffer = vec![0; BLOCK];
    // Opened once for all files, on this thread, since a disk that hangs is waited for with a
    // limit. Where it fails, each file's own opening says why.
    let root = folder::open_root(&shared.root).ok();
    loop {
        // Relaxed: each number is given out once, and orders nothing else.
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(task) = shared.tasks.get(number) else { return };
        let mut runs = Runs::new(task);
        for (at, (path, _)) in task.files.iter().enumerate() {
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            let of = runs.of(at);
            let hashed = match runs.given(at) {
                Some(hashed) => hashed,
                None => hash_file(shared, (root.as_ref(), path), &mut buffer, &of, &mut runs),
            };
            if !matches!(hashed, Ok(Some(_))) {
                runs.spoil(&of);
            }
            if to.send(Event::File(number, at, hashed)).is_err() {
                return;
            }
        }
        if to.send(Event::Runs(number, runs.finish())).is_err() {
            return;
        }
    }
}

fn hash_file(
    shared: &Shared,
    (root, path): (Option<&OwnedFd>, &str),
    buffer: &mut [u8],
    of: &[usize],
    runs: &mut Runs<'_>,
) -> Hashed {
    let opened = match root {
        Some(root) => folder::open_in(root.as_fd(), path)?,
        None => folder::open(&shared.root, path)?,
    };
    let Opened::File(file, length) = opened else { return Ok(None) };
    shared.meter.opened();
    let mut hasher = Hasher::new();
    folder::read_blocks(path, file, length, buffer, |bytes| {
        hasher.update(bytes);
        runs.update(of, bytes);
        shared.meter.read(bytes.len() as u64);
        shared.progress.fetch_add(1, Ordering::Relaxed);
        !shared.stop.load(Ordering::Relaxed)
    })?;
    Ok(Some((length, hasher.finish())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// However files are spread over workers, and by whichever way they are read: each digest
        /// is that of the bytes, and so is each digest over several.
        #[test]
        fn digests_are_those_of_the_bytes(
            sizes in prop::collection::vec((0..3_usize, 0..40_000_usize), 1..8),
            jobs in 1..4_usize,
            through in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let content = |(blocks, rest): &(usize, usize)| {
                let length = blocks * BLOCK + rest % 17 + (rest / 17) * 13;
                (0..length).map(|at| (at * 31 + rest) as u8).collect::<Vec<u8>>()
            };
            let contents: Vec<Vec<u8>> = sizes.iter().map(content).collect();
            for (at, content) in contents.iter().enumerate() {
                std::fs::write(dir.path().join(format!("f{at}")), content).unwrap();
            }
            let objects = Objects::local(dir.path()).unwrap().with_jobs(jobs);
            let objects = if through { objects.through(|store| store) } else { objects };
            let name = |at: usize| (format!("f{at}"), None);
            let all: Vec<usize> = (0..contents.len()).collect();
            let odd: Vec<usize> = all.iter().copied().filter(|at| at % 2 == 1).collect();
            let one = Task {
                files: all.iter().map(|at| name(*at)).collect(),
                runs: vec![all, odd],
                ..Task::default()
            };
            let alone = (0..contents.len())
                .map(|at| Task { files: vec![name(at)], ..Task::default() });
            let gone = Task {
                files: vec![name(0), ("none".into(), None)],
                runs: vec![vec![0, 1]],
                given: [(0, Bytes::from(contents[0].clone()))].into(),
            };
            let tasks = alone.chain([one, gone]).collect();
            let mut heard = 0;
            let done = runtime().block_on(objects.hash_all(tasks, |_, _, _| heard += 1));
            prop_assert_eq!(heard, 2 * contents.len() + 2);
            let digest = |content: &Vec<u8>| (content.len() as u64, Digest::of(content));
            let whole = &done[contents.len()];
            for (at, content) in contents.iter().enumerate() {
                for hashed in [&done[at].files[0], &whole.files[at]] {
                    prop_assert_eq!(*hashed.as_ref().unwrap(), Some(digest(content)));
                }
            }
            prop_assert_eq!(whole.runs[0], Some(Digest::of(&contents.concat())));
            let odd: Vec<u8> =
                contents.iter().skip(1).step_by(2).flatten().copied().collect();
            prop_assert_eq!(whole.runs[1], Some(Digest::of(&odd)));
            let gone = &done[contents.len() + 1];
            prop_assert!(matches!(gone.files[1], Ok(None)) && gone.runs[0].is_none());
        }
    }
}
