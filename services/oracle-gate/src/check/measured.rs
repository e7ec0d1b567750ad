//! What is known of every file that a check meets. Each is read once, so all rules of one check
//! speak of the same bytes (O15).
//!
//! First the rules say what they need ([`Plan`]): files, and digests over several files in an
//! order. Then everything is measured at once, several files in flight, and after that nothing is
//! read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, stream};
use seal::tree::File;
use seal::verify::Found;
use seal::{Sharding, Shards};
use wire::digest::Digest;

use super::findings::Findings;
use super::outcome::EvidenceCount;
use crate::locator::inside;
use crate::objects::{Evidence, Fixity, Hashed, Measure, Objects, Part, StoreError, Task, Version};

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

/// The shards of a very large file, as its pack's manifest has them.
#[derive(Debug, Clone)]
struct Sealed {
    length: u64,
    sha256: Digest,
    shards: Vec<Digest>,
    shard_bytes: u64,
    proof: Proof,
}

/// How a file whose shards are sealed is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By its shards, each separately, on all processors: the digest of the whole is the one that
    /// was sealed beside them. Only where a seal covers both.
    Shards,
    /// By its digest and by its shards, of the same bytes.
    Both,
}

/// Bytes of a file that are not the sealed ones.
#[derive(Debug)]
pub struct Changed {
    /// Which bytes: shards, in their order.
    pub ranges: Vec<Range<u64>>,
    /// The digest that was sealed of the whole file.
    pub sealed: Digest,
}

/// Files that are to be measured, and digests over several of them.
#[derive(Debug, Default)]
pub struct Plan {
    sealed: BTreeMap<String, Sealed>,
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
    /// Digests of shards, of files of which they were made.
    shards: BTreeMap<String, Vec<Digest>>,
    /// Files that their shards show to be others, and whose own digest was not made.
    changed: BTreeMap<String, Changed>,
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

    /// The files of an inventory, below the pack's root; the very large ones by their shards.
    pub fn inventory(&mut self, root: &str, files: &[File], shards: Option<&Shards>, proof: Proof) {
        for file in files {
            let path = inside(root, &file.path);
            if let Some((shards, of)) = shards.and_then(|all| Some((all, all.of(&file.path)?))) {
                let sealed = Sealed {
                    length: file.length,
                    sha256: file.sha256,
                    shards: of.to_vec(),
                    shard_bytes: shards.shard_bytes(),
                    proof,
                };
                self.sealed.insert(path.clone(), sealed);
            }
            self.file(path, Some(file.length));
        }
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
        Self {
            least,
            known: BTreeMap::new(),
            shards: BTreeMap::new(),
            changed: BTreeMap::new(),
            runs: BTreeMap::new(),
            documents: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
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

    /// What shards show of a file whose own digest was not made.
    pub fn changed(&self, path: &str) -> Option<&Changed> {
        self.changed.get(path)
    }

    /// The files of an inventory as they are now, below the pack's root. One that the store said
    /// nothing of, or whose digest was not made, is no difference: why is among the findings.
    pub fn found(&self, root: &str, sealed: &[File]) -> Vec<Found> {
        let mut found = Vec::new();
        for file in sealed {
            let path = inside(root, &file.path);
            let shards = self.shards.get(&path).cloned().unwrap_or_default();
            let (length, sha256) = match self.state(&path) {
                // The shards speak for themselves.
                Some(Known::There(now)) if self.changed.contains_key(&path) => (now.length, None),
                Some(Known::There(now)) => (now.length, now.sha256.or(Some(file.sha256))),
                Some(Known::Absent) => continue,
                Some(Known::Unknown) | None => (file.length, Some(file.sha256)),
            };
            found.push(Found { path: file.path.clone(), length, sha256, shards });
        }
        found
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
            // What is in a run is read with its run, and not once more separately.
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
        let (by_shards, mut read): (Vec<_>, Vec<_>) = read.into_iter().partition(|(path, _)| {
            plan.sealed.get(path).is_some_and(|sealed| sealed.proof == Proof::Shards)
        });
        // First, so that at the end no worker is left alone with one.
        let mut in_shards = InShards::default();
        for (path, length) in by_shards {
            let Some(sealed) = plan.sealed.get(&path) else { continue };
            match objects.version(&path).await {
                Ok(Some(version)) if version.length == sealed.length => {
                    in_shards.add(path, sealed, &version);
                }
                // Of another length it has other shards, and only its digest says what it is.
                Ok(Some(_)) => read.push((path, length)),
                Ok(None) => self.learn(path, Ok(None), findings),
                Err(error) => self.learn(path, Err(error), findings),
            }
        }
        let alone = read.into_iter().map(|file| Task { files: vec![file], ..Task::default() });
        tasks.extend(alone);
        for task in &mut tasks {
            let places = task.files.iter().enumerate();
            let sharded =
                places.filter_map(|(at, (path, _))| Some((at, plan.sealed.get(path)?.shard_bytes)));
            task.shard_bytes = sharded.collect();
        }
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
        let InShards { tasks: mut all, files: sharded } = in_shards;
        let parts = all.len();
        all.extend(tasks);
        let mut done = objects.hash_all(all, |_, _, _| ()).await;
        let whole = done.split_off(parts);
        let mut parts = done.into_iter().flat_map(|done| done.files);
        for (path, sealed) in sharded {
            let found = parts.by_ref().take(sealed.shards.len()).collect();
            self.learn_shards(path, &sealed, found, findings);
        }
        for (task, done) in named.into_iter().zip(whole) {
            let names: Vec<String> = task.files.into_iter().map(|(path, _)| path).collect();
            for (files, digest) in task.runs.iter().zip(done.runs) {
                let paths = files.iter().map(|at| names[*at].clone()).collect();
                self.runs.insert(paths, digest);
            }
            for (path, hashed) in names.into_iter().zip(done.files) {
                let hashed = hashed.map(|found| {
                    let Measure { length, sha256, shards } = found?;
                    if !shards.is_empty() {
                        self.shards.insert(path.clone(), shards);
                    }
                    let sha256 = Some(sha256);
                    Some(Fixity { length, sha256, evidence: Evidence::HashedBytes })
                });
                self.learn(path, hashed, findings);
            }
        }
    }

    /// A file is the sealed one if all its shards are, and these are all of its bytes.
    fn learn_shards(
        &mut self,
        path: String,
        sealed: &Sealed,
        found: Vec<Hashed>,
        findings: &mut Findings,
    ) {
        let rule = Sharding { above: 0, bytes: sealed.shard_bytes };
        let (mut shards, mut ranges) = (Vec::new(), Vec::new());
        for (number, (found, stated)) in found.into_iter().zip(&sealed.shards).enumerate() {
            let range = rule.range(number, sealed.length);
            match found {
                Ok(Some(part)) if part.length == range.end - range.start => {
                    if part.sha256 != *stated {
                        ranges.push(range);
                    }
                    shards.push(part.sha256);
                }
                // It was there, of this length, a moment ago.
                Ok(_) => {
                    let error = StoreError::Changed { path: path.clone() };
                    return self.learn(path, Err(error), findings);
                }
                Err(error) => return self.learn(path, Err(error), findings),
            }
        }
        // What is left over of the sealed shards was not read.
        if shards.len() != sealed.shards.len() {
            let error = StoreError::Changed { path: path.clone() };
            return self.learn(path, Err(error), findings);
        }
        self.shards.insert(path.clone(), shards);
        let whole = ranges.is_empty().then_some(sealed.sha256);
        if whole.is_none() {
            let changed = Changed { ranges, sealed: sealed.sha256 };
            self.changed.insert(path.clone(), changed);
        }
        let (length, evidence) = (sealed.length, Evidence::HashedBytes);
        self.learn(path, Ok(Some(Fixity { length, sha256: whole, evidence })), findings);
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

/// Files that are read shard by shard: a task for each shard, in the order of files and shards.
#[derive(Default)]
struct InShards {
    tasks: Vec<Task>,
    files: Vec<(String, Sealed)>,
}

impl InShards {
    fn add(&mut self, path: String, sealed: &Sealed, version: &Version) {
        let rule = Sharding { above: 0, bytes: sealed.shard_bytes };
        self.tasks.extend((0..sealed.shards.len()).map(|number| {
            let range = rule.range(number, sealed.length);
            Task {
                files: vec![(path.clone(), Some(range.end - range.start))],
                part: Some(Part { range, of: version.clone() }),
                ..Task::default()
            }
        }));
        self.files.push((path, sealed.clone()));
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
    use std::sync::Arc;

    use seal::{Limits, Tree};

    use super::*;
    use crate::check::{Details, Outcome, Rules};
    use crate::profile::Profile;
    use crate::reasons::Reason;

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
    /// By a rule of few bytes: what the product does with 1 GiB it does with these.
    const RULE: Sharding = Sharding { above: 1_000, bytes: 300 };
    const LENGTH: usize = 1_400;

    /// A pack of one file in shards, one in none, and what their manifest would say.
    struct Pack {
        dir: tempfile::TempDir,
        content: Vec<u8>,
        tree: Tree,
        shards: Shards,
    }

    impl Pack {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("pack")).unwrap();
            let content: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
            std::fs::write(dir.path().join("pack/large"), &content).unwrap();
            std::fs::write(dir.path().join("pack/small"), "x").unwrap();
            let tree = Tree::from_dir(&dir.path().join("pack"), &Limits::PACK).unwrap();
            let of_large = content.chunks(300).map(Digest::of).collect();
            let shards = Shards::new(RULE, &tree, [("large".to_owned(), of_large)].into());
            Self { dir, content, tree, shards: shards.unwrap().unwrap() }
        }

        fn stores(&self) -> [Objects; 2] {
            let objects = Objects::local(self.dir.path()).unwrap();
            [objects.with_jobs(3), objects.through(|store| store)]
        }

        /// What a check or an audit learns, and how many bytes it read.
        async fn measured(&self, objects: &Objects, proof: Proof) -> (Measured, Outcome, u64) {
            let rules = Profile::load("prod", Some(".".to_owned()), |_| None).unwrap();
            let mut findings = Findings::new(&Rules::strict(&rules, Vec::new()));
            let meter = Arc::default();
            let objects = objects.metered(&meter);
            let mut measured = Measured::new(Evidence::HashedBytes);
            let mut plan = Plan::default();
            plan.inventory("pack", self.tree.files(), Some(&self.shards), proof);
            measured.measure(&objects, plan, &mut findings).await;
            let read = meter.now().bytes_read;
            (measured, findings.outcome(Details::default()), read)
        }

        fn large(&self, measured: &Measured) -> Option<Found> {
            let found = measured.found("pack", self.tree.files());
            found.into_iter().find(|found| found.path == "large")
        }
    }

    #[tokio::test]
    async fn a_large_file_is_known_by_its_shards_or_by_both_and_read_once() {
        let pack = Pack::new();
        let sealed = pack.tree.file("large").unwrap().sha256;
        for objects in pack.stores() {
            for proof in [Proof::Shards, Proof::Both] {
                let (measured, outcome, read) = pack.measured(&objects, proof).await;
                assert_eq!((read, outcome.issues.len()), (LENGTH as u64 + 1, 0));
                let found = pack.large(&measured).unwrap();
                assert_eq!((found.length, found.sha256), (LENGTH as u64, Some(sealed)));
                assert_eq!(found.shards, pack.shards.of("large").unwrap());
                assert_eq!(measured.evidence().hashed_bytes, 2);
            }
        }
    }

    #[tokio::test]
    async fn a_flipped_byte_in_each_shard_is_named_by_its_bytes() {
        let pack = Pack::new();
        for objects in pack.stores() {
            for at in (0..LENGTH).step_by(149) {
                let mut other = pack.content.clone();
                other[at] ^= 1;
                std::fs::write(pack.dir.path().join("pack/large"), &other).unwrap();
                let number = at / 300;
                let differ = |found: &Found| -> Vec<usize> {
                    let stated = pack.shards.of("large").unwrap().iter().zip(&found.shards);
                    stated.enumerate().filter(|(_, (a, b))| a != b).map(|(n, _)| n).collect()
                };

                let (measured, _, _) = pack.measured(&objects, Proof::Shards).await;
                let changed = measured.changed("pack/large").unwrap();
                let range = (number * 300) as u64..(number * 300 + 300).min(LENGTH) as u64;
                assert_eq!(changed.ranges, [range], "byte {at}");
                let found = pack.large(&measured).unwrap();
                assert_eq!((found.sha256, differ(&found)), (None, vec![number]));

                let (measured, _, _) = pack.measured(&objects, Proof::Both).await;
                let found = pack.large(&measured).unwrap();
                assert_eq!(found.sha256, Some(Digest::of(&other)));
                assert_eq!(differ(&found), [number]);
            }
        }
    }

    #[tokio::test]
    async fn a_large_file_of_another_length_or_none_is_said_as_what_it_is() {
        let pack = Pack::new();
        let path = pack.dir.path().join("pack/large");
        for objects in pack.stores() {
            for length in [0, 1, 300, LENGTH - 1] {
                std::fs::write(&path, &pack.content[..length]).unwrap();
                let (measured, _, _) = pack.measured(&objects, Proof::Shards).await;
                let found = pack.large(&measured).unwrap();
                assert_eq!(found.length, length as u64);
                assert_eq!(found.sha256, Some(Digest::of(&pack.content[..length])));
            }
            std::fs::remove_file(&path).unwrap();
            let (measured, outcome, _) = pack.measured(&objects, Proof::Shards).await;
            assert!(pack.large(&measured).is_none() && outcome.issues.is_empty());
            std::os::unix::fs::symlink("small", &path).unwrap();
            let (measured, outcome, _) = pack.measured(&objects, Proof::Shards).await;
            assert!(matches!(measured.state("pack/large"), Some(Known::Unknown)));
            assert_eq!(outcome.reason_codes, [Reason::LinkRefused]);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[tokio::test]
    async fn a_large_part_of_an_output_of_several_is_read_once_for_both_digests() {
        let pack = Pack::new();
        for objects in pack.stores() {
            let rules = Profile::load("prod", Some(".".to_owned()), |_| None).unwrap();
            let mut findings = Findings::new(&Rules::strict(&rules, Vec::new()));
            let meter = Arc::default();
            let objects = objects.metered(&meter);
            let mut measured = Measured::new(Evidence::HashedBytes);
            let mut plan = Plan::default();
            plan.inventory("pack", pack.tree.files(), Some(&pack.shards), Proof::Shards);
            let paths = vec!["pack/large".to_owned(), "pack/small".to_owned()];
            plan.run(paths.clone());
            measured.measure(&objects, plan, &mut findings).await;
            let whole = [&pack.content[..], b"x"].concat();
            assert_eq!(measured.run(&paths), Some(Digest::of(&whole)));
            assert_eq!(meter.now().bytes_read, LENGTH as u64 + 1);
            let found = pack.large(&measured).unwrap();
            assert_eq!(found.sha256, Some(Digest::of(&pack.content)));
            assert_eq!(found.shards, pack.shards.of("large").unwrap());
        }
    }
}
