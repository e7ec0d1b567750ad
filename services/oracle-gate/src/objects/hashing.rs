//! Digests of many objects, each read once, several in flight.
//!
//! A digest over several files in their order (`sha256-concat-v0`, the bundle of a gate) is made
//! from the same bytes as the digests of the files themselves: what is read is never read again
//! (O15). In a folder each worker reads a block of each of several files and hashes these blocks
//! together, in the lanes of its core; in a bucket a large object is asked for in ranges, of which
//! a few are on their way at once. Memory is bounded by the number of workers, whatever the size
//! and number of files.
//!
//! Of a very large file the digests of its shards are made beside its own, from the same bytes, or
//! each shard is a task of its own, so that all workers share one file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Take;
use std::ops::{ControlFlow, Range};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::{GetOptions, GetRange, ObjectStore};
use sha256_lanes::{Piece, Stream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::digest::Digest;

use super::failure::{StoreError, classify, is_absent};
use super::folder::{self, BLOCK, Blocks, Opened};
use super::{Meter, Objects, Part, part};

/// Larger objects of a bucket are asked for in ranges.
const RANGED_FROM: u64 = 32 << 20;
/// Bytes of one range.
const RANGE: u64 = 8 << 20;
/// Ranges of one object on their way at once.
const RANGES: usize = 4;
/// Bytes of one file in a worker's turn where it reads several: the turn's blocks together stay in
/// the core's own cache between the reading and the hashing.
const LANE_BLOCK: usize = 64 << 10;

/// Files that are read one after the other by one worker.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// Their paths, in the order they are read, and their lengths as far as they are known.
    pub files: Vec<(String, Option<u64>)>,
    /// Digests over several of them: each by the places of its files in `files`, rising.
    pub runs: Vec<Vec<usize>>,
    /// Bytes of files that were read before, by their places: these are not read again.
    pub given: BTreeMap<usize, Bytes>,
    /// Bytes of a shard, not 0, of the files whose shards get a digest each beside the file's own,
    /// by their places.
    pub shard_bytes: BTreeMap<usize, u64>,
    /// Which bytes of its files are read, where these are not all.
    pub part: Option<Part>,
}

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// How many bytes.
    pub length: u64,
    /// Their digest.
    pub sha256: Digest,
    /// The digests of their shards; empty where none were asked for.
    pub shards: Vec<Digest>,
}

/// What was read of a file; `None` if it is not there.
pub type Hashed = Result<Option<Measure>, StoreError>;

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
    made: Vec<Option<Stream>>,
}

impl<'a> Runs<'a> {
    fn new(task: &'a Task) -> Self {
        Self { task, made: task.runs.iter().map(|_| Some(Stream::new())).collect() }
    }

    /// The streams that take the bytes of a file.
    fn of(&mut self, file: usize) -> impl Iterator<Item = &mut Stream> {
        let runs = self.task.runs.iter().zip(&mut self.made);
        runs.filter(move |(files, _)| files.contains(&file)).filter_map(|(_, made)| made.as_mut())
    }

    fn update(&mut self, file: usize, bytes: &[u8]) {
        for stream in self.of(file) {
            stream.update(bytes);
        }
    }

    /// What is known of a file whose bytes were read before.
    fn given(&mut self, file: usize) -> Option<Hashed> {
        let bytes = self.task.given.get(&file)?;
        self.update(file, bytes);
        let mut digests = Digests::of(self.task, file);
        digests.update(bytes);
        Some(Ok(Some(digests.finish())))
    }

    /// A digest that lacks a file is invalid.
    fn spoil(&mut self, file: usize) {
        for (files, made) in self.task.runs.iter().zip(&mut self.made) {
            if files.contains(&file) {
                *made = None;
            }
        }
    }

    fn finish(self) -> Vec<Option<Digest>> {
        self.made.into_iter().map(|stream| stream.map(digest)).collect()
    }
}

fn digest(stream: Stream) -> Digest {
    Digest::from(stream.finish())
}

/// The digest of a file, and those of its shards where they are asked for.
struct Digests {
    whole: Stream,
    length: u64,
    shards: Option<Shards>,
}

struct Shards {
    shard_bytes: u64,
    /// Bytes that the stream has, or is about to take.
    taken: u64,
    stream: Stream,
    finished: Vec<Digest>,
}

impl Digests {
    fn of(task: &Task, file: usize) -> Self {
        let shards = task.shard_bytes.get(&file).map(|shard_bytes| Shards {
            shard_bytes: *shard_bytes,
            taken: 0,
            stream: Stream::new(),
            finished: Vec::new(),
        });
        Self { whole: Stream::new(), length: 0, shards }
    }

    /// How many bytes may be taken next: a piece ends where a shard ends.
    fn room(&self) -> usize {
        let room = self.shards.as_ref().map_or(u64::MAX, |shards| match shards.taken {
            taken if taken < shards.shard_bytes => shards.shard_bytes - taken,
            _ => shards.shard_bytes,
        });
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// So many bytes come next, for all of [`Digests::streams`]; what came before is hashed.
    fn expect(&mut self, bytes: usize) {
        self.length += bytes as u64;
        let Some(shards) = &mut self.shards else { return };
        if bytes > 0 && shards.taken == shards.shard_bytes {
            shards.end();
        }
        shards.taken += bytes as u64;
    }

    /// Hashed together, the two streams cost a core less than one after the other.
    fn streams(&mut self) -> impl Iterator<Item = &mut Stream> {
        let shard = self.shards.as_mut().map(|shards| &mut shards.stream);
        std::iter::once(&mut self.whole).chain(shard)
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(self.room().min(bytes.len()));
            self.expect(now.len());
            let pieces = self.streams().map(|stream| Piece { stream, bytes: now });
            sha256_lanes::update_all(pieces);
            bytes = later;
        }
    }

    fn finish(self) -> Measure {
        let shards = self.shards.map_or_else(Vec::new, |mut shards| {
            if shards.taken > 0 {
                shards.end();
            }
            shards.finished
        });
        Measure { length: self.length, sha256: digest(self.whole), shards }
    }
}

impl Shards {
    fn end(&mut self) {
        self.finished.push(digest(std::mem::take(&mut self.stream)));
        self.taken = 0;
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

/// Events of a worker that are not sent yet: each sending wakes the task that waits, which costs
/// more than to read and hash a small file.
struct EventBatch<'a> {
    to: &'a mpsc::UnboundedSender<Vec<Event>>,
    waiting: Vec<Event>,
    sent: Instant,
}

impl<'a> EventBatch<'a> {
    /// Most events that wait, and how long they do: a journal that is written of them lacks no more
    /// than these when a call is killed.
    const MOST: usize = 64;
    const LONGEST: Duration = Duration::from_millis(10);

    fn new(to: &'a mpsc::UnboundedSender<Vec<Event>>) -> Self {
        Self { to, waiting: Vec::new(), sent: Instant::now() }
    }

    /// Breaks when the receiver of the results has gone.
    fn put(&mut self, event: Event) -> ControlFlow<()> {
        self.waiting.push(event);
        self.send_what_is_due()
    }

    /// As [`EventBatch::put`], also where a large file is still read.
    fn send_what_is_due(&mut self) -> ControlFlow<()> {
        let few = self.waiting.len() < Self::MOST && self.sent.elapsed() < Self::LONGEST;
        if self.waiting.is_empty() || few {
            return ControlFlow::Continue(());
        }
        self.sent = Instant::now();
        match self.to.send(std::mem::take(&mut self.waiting)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

impl Drop for EventBatch<'_> {
    fn drop(&mut self) {
        // The receiver may be gone.
        drop(self.to.send(std::mem::take(&mut self.waiting)));
    }
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
            tokio::task::spawn_blocking(move || work(&shared, workers, &to));
        }
        // The channel ends with the last worker only once this end is gone.
        drop(to);
        let mut before = 0;
        loop {
            match tokio::time::timeout(self.timeouts.call, events.recv()).await {
                Ok(Some(events)) => events.into_iter().for_each(&mut *take),
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
            let mut digests = Digests::of(&task, at);
            let take = |bytes: &[u8]| {
                digests.update(bytes);
                runs.update(at, bytes);
            };
            let ranged = self.bucket.is_some() && length.is_some_and(|length| length > RANGED_FROM);
            let read = match &task.part {
                Some(part) => self.read_part(path, part, take).await.map(Some),
                None if ranged => self.read_ranges(path, take).await,
                None => self.read_stream(path, take).await,
            };
            let hashed = read.map(|read| read.map(|()| digests.finish()));
            if !matches!(hashed, Ok(Some(_))) {
                runs.spoil(at);
            }
            drop(to.send(Event::File(number, at, hashed)));
        }
        drop(to.send(Event::Runs(number, runs.finish())));
    }

    async fn read_stream(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Option<()>, StoreError> {
        let Some(mut object) = self.open_object(path).await? else { return Ok(None) };
        while let Some(bytes) = object.next().await? {
            take(&bytes);
        }
        Ok(Some(()))
    }

    /// Reads an object in ranges, a few of them at once, in their order. All are of the version
    /// that the first answer named: a store refuses one of another.
    async fn read_ranges(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Option<()>, StoreError> {
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

        self.read_rest(path, RANGE.min(length)..length, tag, take).await.map(Some)
    }

    /// Reads a part of an object, of the version that it is of.
    async fn read_part(
        &self,
        path: &str,
        part: &Part,
        take: impl FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        self.meter.opened();
        self.read_rest(path, part.range.clone(), part.of.mark.clone(), take).await
    }

    /// Reads bytes of an object that was seen to be there, in their order, a few ranges at once.
    async fn read_rest(
        &self,
        path: &str,
        bytes: Range<u64>,
        tag: Option<String>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        let location = self.location(path)?;
        let starts =
            (0..(bytes.end - bytes.start).div_ceil(RANGE)).map(|n| bytes.start + n * RANGE);
        let parts = stream::iter(starts).map(|start| {
            let range = start..(start + RANGE).min(bytes.end);
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
                    Err(error) if is_absent(&error) => {
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
        Ok(())
    }
}

/// Takes tasks until none is left, several at once where the processor hashes several at once.
fn work(shared: &Shared, workers: usize, to: &mpsc::UnboundedSender<Vec<Event>>) {
    let mut batch = EventBatch::new(to);
    // Few tasks are shared out evenly: lanes are worth less than a second core.
    let width = sha256_lanes::width().min(shared.tasks.len().div_ceil(workers)).max(1);
    let block = if width == 1 { BLOCK } else { LANE_BLOCK };
    // Opened once for all files, on this thread, since a disk that hangs is waited for with a
    // limit. Where it fails, each file's own opening says why.
    let root = folder::open_root(&shared.root).ok();
    let mut readers: Vec<Reader<'_>> = (0..width).map(|_| Reader::new(block)).collect();
    while !readers.is_empty() {
        // Each reader has a block of its file, or has found that no task is left.
        for reader in &mut readers {
            if reader.advance(shared, root.as_ref(), &mut batch).is_break() {
                return;
            }
        }
        readers.retain(|reader| reader.open.is_some());
        sha256_lanes::update_all(readers.iter_mut().flat_map(Reader::pieces));
        if batch.send_what_is_due().is_break() {
            return;
        }
    }
}

/// One task at a time, read block by block.
struct Reader<'a> {
    buffer: Vec<u8>,
    task: Option<Reading<'a>>,
    open: Option<OpenFile>,
}

/// A task that is read.
struct Reading<'a> {
    number: usize,
    runs: Runs<'a>,
    /// The place of the file that is read now, or next.
    at: usize,
}

/// The file that is read now.
struct OpenFile {
    blocks: Blocks<Take<File>>,
    digests: Digests,
    /// The block in the buffer, which is not hashed yet.
    block: folder::Block,
}

impl<'a> Reader<'a> {
    fn new(block: usize) -> Self {
        Self { buffer: vec![0; block], task: None, open: None }
    }

    /// Reads the next block, of the next file or of the next task where one ends. Afterwards a file
    /// is open, or no task is left. Breaks where the receiver of the results is gone.
    fn advance(
        &mut self,
        shared: &'a Shared,
        root: Option<&OwnedFd>,
        batch: &mut EventBatch<'_>,
    ) -> ControlFlow<()> {
        loop {
            if shared.stop.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            let Some(reading) = &mut self.task else {
                // Relaxed: each number is given out once, and orders nothing else.
                let number = shared.next.fetch_add(1, Ordering::Relaxed);
                let Some(task) = shared.tasks.get(number) else {
                    return ControlFlow::Continue(());
                };
                self.task = Some(Reading { number, runs: Runs::new(task), at: 0 });
                continue;
            };
            let Some((path, _)) = reading.runs.task.files.get(reading.at) else {
                let ended = self.task.take().map(|reading| (reading.number, reading.runs.finish()));
                if let Some((number, runs)) = ended {
                    batch.put(Event::Runs(number, runs))?;
                }
                continue;
            };

            let hashed = match self.open.take() {
                // Its last block is hashed.
                Some(open) if open.block.last => Ok(Some(open.digests.finish())),
                Some(mut open) => match open.read(shared, path, &mut self.buffer) {
                    Ok(()) => {
                        self.open = Some(open);
                        return ControlFlow::Continue(());
                    }
                    Err(error) => Err(error),
                },
                None => match reading.runs.given(reading.at) {
                    Some(hashed) => hashed,
                    None => match OpenFile::open(shared, root, reading, &mut self.buffer) {
                        Ok(Some(open)) => {
                            self.open = Some(open);
                            return ControlFlow::Continue(());
                        }
                        Ok(None) => Ok(None),
                        Err(error) => Err(error),
                    },
                },
            };
            if !matches!(hashed, Ok(Some(_))) {
                reading.runs.spoil(reading.at);
            }
            batch.put(Event::File(reading.number, reading.at, hashed))?;
            reading.at += 1;
        }
    }

    /// The block in the buffer, for the file's own digest and for those of its runs.
    fn pieces(&mut self) -> impl Iterator<Item = Piece<'_>> {
        let Self { buffer, task, open } = self;
        let open = open.as_mut();
        let bytes = &buffer[..open.as_ref().map_or(0, |open| open.block.length)];
        let runs = task.as_mut().into_iter().flat_map(|task| task.runs.of(task.at));
        let own = open.into_iter().flat_map(|open| open.digests.streams());
        let streams = own.chain(runs);
        streams.map(move |stream| Piece { stream, bytes })
    }
}

impl OpenFile {
    /// Opens a file and reads its first block; `None` if it is not there.
    fn open(
        shared: &Shared,
        root: Option<&OwnedFd>,
        reading: &Reading<'_>,
        buffer: &mut [u8],
    ) -> Result<Option<Self>, StoreError> {
        let (task, at) = (reading.runs.task, reading.at);
        let path = &task.files[at].0;
        let opened = match root {
            Some(root) => folder::open_in(root.as_fd(), path)?,
            None => folder::open(&shared.root, path)?,
        };
        let Opened::File(file, length) = opened else { return Ok(None) };
        shared.meter.opened();
        let block = folder::Block { length: 0, last: false };
        let (file, length) = part::of_file(path, file, length, task.part.as_ref())?;
        let blocks = Blocks::new(file, length);
        let mut open = Self { blocks, digests: Digests::of(task, at), block };
        open.read(shared, path, buffer)?;
        Ok(Some(open))
    }

    fn read(&mut self, shared: &Shared, path: &str, buffer: &mut [u8]) -> Result<(), StoreError> {
        let room = self.digests.room().min(buffer.len());
        self.block = self.blocks.read(path, &mut buffer[..room])?;
        self.digests.expect(self.block.length);
        shared.meter.read(self.block.length as u64);
        shared.progress.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
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
                ..Task::default()
            };
            let tasks = alone.chain([one, gone]).collect();
            let mut heard = 0;
            let done = runtime().block_on(objects.hash_all(tasks, |_, _, _| heard += 1));
            prop_assert_eq!(heard, 2 * contents.len() + 2);
            let digest = |content: &Vec<u8>| Measure {
                length: content.len() as u64,
                sha256: Digest::of(content),
                shards: Vec::new(),
            };
            let whole = &done[contents.len()];
            for (at, content) in contents.iter().enumerate() {
                for hashed in [&done[at].files[0], &whole.files[at]] {
                    prop_assert_eq!(hashed.as_ref().unwrap(), &Some(digest(content)));
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
    /// Shards of every length, of files that end before, at and behind the end of a shard, of a
    /// block and of a range, each beside the file's own digest and each as a task of its own.
    #[test]
    fn digests_of_shards_are_those_of_their_bytes_by_every_way() {
        let dir = tempfile::tempdir().unwrap();
        let whole: Vec<u8> = (0..3 * BLOCK + 2).map(|at| (at * 7 + at / 253) as u8).collect();
        let here = Objects::local(dir.path()).unwrap();
        let around = |at: usize| [at - 1, at, at + 1];
        let lengths =
            [0, 1, 63, 64, 65].into_iter().chain(around(2 * BLOCK)).chain(around(3 * BLOCK));
        for length in lengths {
            let content = &whole[..length];
            std::fs::write(dir.path().join("f"), content).unwrap();
            for shard in [7_000, LANE_BLOCK, BLOCK, BLOCK + 1, 4 * BLOCK] {
                let expected: Vec<Digest> = content.chunks(shard).map(Digest::of).collect();
                for objects in [here.clone(), here.with_jobs(3), here.through(|store| store)] {
                    let beside = Task {
                        files: vec![("f".into(), None)],
                        shard_bytes: [(0, shard as u64)].into(),
                        ..Task::default()
                    };
                    let done = runtime().block_on(async {
                        let of = objects.version("f").await.unwrap().unwrap();
                        let starts = (0..length).step_by(shard).map(|start| start as u64);
                        let parts = starts.map(|start| Task {
                            files: vec![("f".into(), None)],
                            part: Some(Part {
                                range: start..(start + shard as u64).min(of.length),
                                of: of.clone(),
                            }),
                            ..Task::default()
                        });
                        let tasks = std::iter::once(beside).chain(parts).collect();
                        objects.hash_all(tasks, |_, _, _| ()).await
                    });
                    let measure = Measure {
                        length: length as u64,
                        sha256: Digest::of(content),
                        shards: expected.clone(),
                    };
                    assert_eq!(done[0].files[0].as_ref().unwrap(), &Some(measure));
                    let parts = done[1..].iter().map(|done| {
                        let part = done.files[0].as_ref().unwrap().as_ref().unwrap();
                        (part.length, part.sha256)
                    });
                    let chunks = content.chunks(shard).map(|chunk| chunk.len() as u64);
                    assert!(parts.eq(chunks.zip(expected.iter().copied())), "{length} by {shard}");
                }
            }
        }
    }

    #[test]
    fn a_part_of_another_version_of_a_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), [1; 100]).unwrap();
        let here = Objects::local(dir.path()).unwrap();
        for objects in [here.clone(), here.through(|store| store)] {
            let of = runtime().block_on(objects.version("f")).unwrap().unwrap();
            // Of the same length, and a file of its own whenever it was written.
            std::fs::write(dir.path().join("g"), [2; 100]).unwrap();
            std::fs::rename(dir.path().join("g"), dir.path().join("f")).unwrap();
            let part = Task {
                files: vec![("f".into(), None)],
                part: Some(Part { range: 10..20, of }),
                ..Task::default()
            };
            let done = runtime().block_on(objects.hash_all(vec![part], |_, _, _| ()));
            let found = &done[0].files[0];
            assert!(matches!(found, Err(StoreError::Changed { .. })), "{found:?}");
        }
    }
}
