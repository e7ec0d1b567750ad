//! What is known of every file that a check meets. Each is read once, so all rules of one check
//! speak of the same bytes (O15).
//!
//! First the rules say what they need ([`Plan`]): files, and digests over several files in an
//! order. Then everything is measured at once, several files in flight, and after that nothing is
//! read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, stream};
use wire::digest::Digest;

use super::findings::Findings;
use super::outcome::EvidenceCount;
use crate::objects::{Evidence, Fixity, Objects, StoreError, Task};

/// Most files asked about at once where no bytes are read.
const HEADS: usize = 16;

/// What is known of one file.
#[derive(Debug, Clone)]
pub enum Known {
    /// It is not there.
    Absent,
    /// It is there.
    There(Fixity),
    /// The store did not say; that is among the findings.
    Unknown,
}

/// Files that are to be measured, and digests over several of them.
#[derive(Debug, Default)]
pub struct Plan {
    files: BTreeMap<String, Option<u64>>,
    /// Files whose bytes are needed, whatever else would do.
    read: BTreeSet<String>,
    runs: BTreeSet<Vec<String>>,
}

/// Everything measured so far, by paths below the oracle root.
#[derive(Debug)]
pub struct Measured {
    least: Evidence,
    known: BTreeMap<String, Known>,
    runs: BTreeMap<Vec<String>, Option<Digest>>,
    documents: BTreeMap<String, Bytes>,
    /// Documents that the store did not give. It is not asked again: of two answers to one question
    /// the worse one counts.
    failed: BTreeMap<String, StoreError>,
}

impl Plan {
    /// One file, with its length where it is known.
    pub fn file(&mut self, path: impl Into<String>, length: Option<u64>) {
        let known = self.files.entry(path.into()).or_default();
        *known = known.or(length);
    }

    /// One file whose bytes have to be read, whatever the least evidence is.
    pub fn read(&mut self, path: &str) {
        self.file(path, None);
        self.read.insert(path.to_owned());
    }

    /// The digest over the bytes of these files, one after the other.
    pub fn run(&mut self, paths: Vec<String>) {
        for path in &paths {
            self.read(path);
        }
        self.runs.insert(paths);
    }
}

impl Measured {
    /// Nothing measured yet; `least` is the least that will do.
    pub fn new(least: Evidence) -> Self {
        let (known, runs) = (BTreeMap::new(), BTreeMap::new());
        Self { least, known, runs, documents: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// What was measured of a file.
    pub fn state(&self, path: &str) -> Option<&Known> {
        self.known.get(path)
    }

    /// What was measured of a file that is there.
    pub fn known(&self, path: &str) -> Option<Fixity> {
        match self.known.get(path) {
            Some(Known::There(fixity)) => Some(*fixity),
            _ => None,
        }
    }

    /// The digest over the bytes of these files, as far as all of them could be read.
    pub fn run(&self, paths: &[String]) -> Option<Digest> {
        match paths {
            [path] => self.known(path).and_then(|fixity| fixity.sha256),
            _ => self.runs.get(paths).copied().flatten(),
        }
    }

    /// A small file's bytes, read once for the whole check.
    ///
    /// # Errors
    /// Any [`StoreError`], also where it has more than `most` bytes.
    pub async fn document(
        &mut self,
        objects: &Objects,
        path: &str,
        most: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        if let Some(bytes) = self.documents.get(path) {
            let fits = bytes.len() as u64 <= most;
            let path = path.to_owned();
            return if fits {
                Ok(Some(bytes.clone()))
            } else {
                Err(StoreError::TooLarge { path, most })
            };
        }
        if matches!(self.known.get(path), Some(Known::Absent)) {
            return Ok(None);
        }
        if let Some(error) = self.failed.get(path) {
            return Err(error.clone());
        }
        let read = match objects.read(path, most).await {
            // Nothing was read of it, so its digest may still be made.
            Err(error @ StoreError::TooLarge { .. }) => return Err(error),
            Err(error) => {
                self.failed.insert(path.to_owned(), error.clone());
                self.known.insert(path.to_owned(), Known::Unknown);
                return Err(error);
            }
            Ok(read) => read,
        };
        let Some(bytes) = read else {
            self.known.insert(path.to_owned(), Known::Absent);
            return Ok(None);
        };
        let (length, sha256) = (bytes.len() as u64, Some(Digest::of(&bytes)));
        let fixity = Fixity { length, sha256, evidence: Evidence::HashedBytes };
        self.known.insert(path.to_owned(), Known::There(fixity));
        self.documents.insert(path.to_owned(), bytes.clone());
        Ok(Some(bytes))
    }

    /// Notes what the store did not give of the documents that were asked for so far.
    pub fn note_failures(&self, findings: &mut Findings) {
        self.failed.values().for_each(|error| findings.store(error));
    }

    /// Measures whatever of `plan` is not known yet. What the store fails on is noted and unknown.
    pub async fn measure(&mut self, objects: &Objects, plan: Plan, findings: &mut Findings) {
        let runs: Vec<Vec<String>> = plan
            .runs
            .into_iter()
            .filter(|paths| paths.len() > 1 && !self.runs.contains_key(paths))
            .collect();
        let in_runs: BTreeSet<&String> = runs.iter().flatten().collect();
        let files: Vec<(String, Option<u64>)> = plan
            .files
            // What is in a run is read with its run, and not once more by itself.
            .into_iter()
            .filter(|(path, _)| !self.known.contains_key(path) && !in_runs.contains(path))
            .collect();

        // Where a store's word or a length will do, most files are not read at all.
        let by_word = self.least == Evidence::SizeOnly
            || (self.least == Evidence::StoreSha256 && objects.trusts_checksums());
        let mut tasks = ordered(&runs);
        // Documents were read already: their bytes are handed over (O15).
        for task in &mut tasks {
            let given = task.files.iter().enumerate();
            let given = given.filter_map(|(at, (path, _))| Some((at, self.documents.get(path)?)));
            task.given = given.map(|(at, bytes)| (at, bytes.clone())).collect();
        }
        let (read, files): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(path, _)| !by_word || plan.read.contains(path));
        let alone = read.into_iter().map(|file| Task { files: vec![file], ..Task::default() });
        tasks.extend(alone);
        if by_word {
            let least = self.least;
            let mut heads = std::pin::pin!(
                stream::iter(files)
                    .map(async |(path, _)| {
                        let fixity = objects.fixity(&path, least).await;
                        (path, fixity)
                    })
                    .buffer_unordered(HEADS)
            );
            while let Some((path, fixity)) = heads.next().await {
                self.learn(path, fixity, findings);
            }
        }
        let named: Vec<Task> = tasks.clone();
        let done = objects.hash_all(tasks, |_, _, _| ()).await;
        for (task, done) in named.into_iter().zip(done) {
            let names: Vec<String> = task.files.into_iter().map(|(path, _)| path).collect();
            for (files, digest) in task.runs.iter().zip(done.runs) {
                let paths = files.iter().map(|at| names[*at].clone()).collect();
                self.runs.insert(paths, digest);
            }
            for (path, hashed) in names.into_iter().zip(done.files) {
                let fixity = |(length, sha256)| Fixity {
                    length,
                    sha256: Some(sha256),
                    evidence: Evidence::HashedBytes,
                };
                self.learn(path, hashed.map(|hashed| hashed.map(fixity)), findings);
            }
        }
    }

    fn learn(
        &mut self,
        path: String,
        fixity: Result<Option<Fixity>, StoreError>,
        findings: &mut Findings,
    ) {
        let known = match fixity {
            Ok(Some(fixity)) => Known::There(fixity),
            Ok(None) => Known::Absent,
            Err(error) => {
                findings.store(&error);
                Known::Unknown
            }
        };
        self.known.insert(path, known);
    }

    /// How many files are known how well.
    pub fn evidence(&self) -> EvidenceCount {
        let mut count = EvidenceCount::default();
        for known in self.known.values() {
            let Known::There(fixity) = known else { continue };
            match fixity.evidence {
                Evidence::HashedBytes => count.hashed_bytes += 1,
                Evidence::StoreSha256 => count.store_sha256 += 1,
                Evidence::SizeOnly => count.size_only += 1,
            }
        }
        count
    }
}

/// Tasks in which each file of the runs is read once: runs that share a file are made together, in
/// the order of their paths. Where one of them has another order, they are read one by one: the
/// only case in which a file is read again.
fn ordered(runs: &[Vec<String>]) -> Vec<Task> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut owner: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, run) in runs.iter().enumerate() {
        let mut group = vec![number];
        // Runs that share a file become one group, which reads the file once for all of them.
        let shared: BTreeSet<usize> =
            run.iter().filter_map(|path| owner.get(path.as_str()).copied()).collect();
        for other in shared {
            group.append(&mut groups[other]);
        }
        groups.push(group);
        let at = groups.len() - 1;
        for run in &groups[at] {
            for path in &runs[*run] {
                owner.insert(path, at);
            }
        }
    }
    let mut tasks = Vec::new();
    for group in groups.into_iter().filter(|group| !group.is_empty()) {
        let rising = group.iter().all(|run| runs[*run].is_sorted());
        if rising {
            let files: BTreeSet<&String> = group.iter().flat_map(|run| &runs[*run]).collect();
            let files: Vec<String> = files.into_iter().cloned().collect();
            let place = |path: &String| files.binary_search(path).unwrap_or_default();
            let runs = group.iter().map(|run| runs[*run].iter().map(place).collect()).collect();
            let files = files.iter().map(|path| (path.clone(), None)).collect();
            tasks.push(Task { files, runs, ..Task::default() });
        } else {
            tasks.extend(group.iter().map(|run| Task {
                files: runs[*run].iter().map(|path| (path.clone(), None)).collect(),
                runs: vec![(0..runs[*run].len()).collect()],
                ..Task::default()
            }));
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn runs_that_share_files_are_read_together() {
        let runs = [
            run(&["a", "b"]),
            run(&["x", "y"]),
            run(&["b", "c"]),
            run(&["z", "x"]),
            run(&["a", "c"]),
        ];
        let tasks = ordered(&runs);
        let reads =
            tasks.iter().flat_map(|task| &task.files).filter(|(path, _)| path.as_str() < "d");
        assert_eq!(reads.count(), 3, "{tasks:?}");
        // Of two runs in different orders one is read apart.
        let odd: Vec<_> =
            tasks.iter().filter(|task| task.files.iter().any(|(p, _)| p == "x")).collect();
        assert_eq!(odd.len(), 2);
        assert_eq!(tasks.iter().map(|task| task.runs.len()).sum::<usize>(), runs.len());
    }
}
