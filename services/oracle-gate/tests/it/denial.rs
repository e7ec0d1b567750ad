//! Default deny: whatever the store does wrong in one of its calls, and whatever was changed in
//! what it holds, a check does not pass.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use oracle_gate::check::{Outcome, Rules, Status, check_bytes};
use oracle_gate::objects::Objects;
use oracle_gate::profile::Profile;
use proptest::prelude::*;
use proptest::sample::Index;
use seal::facts::RunFactsView;
use tempfile::TempDir;

use crate::conformance::fixture::{StoreFixture, fingerprint, key};
use crate::faulty_store::{FaultyStore, StoreFault};
use crate::fixture::NOW;

/// A good case on disk, and by what it is judged.
struct Judged {
    dir: TempDir,
    rules: Rules,
    view: Vec<u8>,
}

impl Judged {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        StoreFixture::good().write(dir.path());
        let profile = dir.path().join("profile.yaml");
        let root = dir.path().join("store").to_str().unwrap().to_owned();
        let profile = Profile::load(profile.to_str().unwrap(), Some(root), |_| None).unwrap();
        let rules = Rules::strict(&profile, vec![key().verifying_key()]);
        let view = fs::read(dir.path().join("view.json")).unwrap();
        Self { dir, rules, view }
    }

    fn objects(&self) -> Objects {
        Objects::local(&self.dir.path().join("store")).unwrap()
    }

    /// A check in which the store has its fault at the call `at`; with everything that was read.
    async fn check(&self, fault: StoreFault, at: usize) -> (Outcome, Vec<String>) {
        let mut faulty = None;
        let objects = self.objects().through(|inner| {
            let store = Arc::new(FaultyStore::new(inner, fault, at));
            faulty = Some(Arc::clone(&store));
            store
        });
        let outcome = check_bytes(&objects, &self.rules, "view", &self.view, NOW).await;
        (outcome, faulty.unwrap().log())
    }

    async fn honest(&self, view: &[u8]) -> Outcome {
        check_bytes(&self.objects(), &self.rules, "view", view, NOW).await
    }
}

fn codes(outcome: &Outcome) -> Vec<&'static str> {
    outcome.reason_codes.iter().map(|reason| reason.code()).collect()
}

/// Listed in every pack; most have none.
const RECORDS: &str = "/_records";

#[tokio::test]
async fn no_failing_call_lets_a_check_pass() {
    let judged = Judged::new();
    let (outcome, log) = judged.check(StoreFault::Broken, usize::MAX).await;
    assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.issues);
    for (fault, code) in [
        (StoreFault::Denied, "ACCESS_DENIED"),
        (StoreFault::TimedOut, "TIMEOUT"),
        (StoreFault::Throttled, "THROTTLED"),
        (StoreFault::Broken, "STORE_UNAVAILABLE"),
        (StoreFault::Absent, ""),
    ] {
        for (at, call) in log.iter().enumerate() {
            // That there are no records is the truth, so this answer changes nothing.
            if call.ends_with(RECORDS) && fault == StoreFault::Absent {
                continue;
            }
            let (outcome, _) = judged.check(fault, at).await;
            let found = codes(&outcome);
            assert_eq!(outcome.status, Status::Fail, "{fault:?} at {call}");
            assert!(outcome.exit(false) != 0, "{fault:?} at {call}: {found:?}");
            assert!(code.is_empty() || found.contains(&code), "{fault:?} at {call}: {found:?}");
        }
    }
}

#[tokio::test]
async fn what_may_pass_by_itself_is_distinguished_from_what_will_not() {
    let judged = Judged::new();
    for (fault, retryable) in
        [(StoreFault::TimedOut, true), (StoreFault::Throttled, true), (StoreFault::Denied, false)]
    {
        let (outcome, _) = judged.check(fault, 0).await;
        let reported: Vec<bool> = outcome.issues.iter().map(|issue| issue.retryable).collect();
        assert_eq!((outcome.exit(false), reported), (2, vec![retryable]), "{fault:?}");
        assert!(outcome.is_doubtful());
    }
}

#[tokio::test]
async fn no_wrong_bytes_let_a_check_pass() {
    let judged = Judged::new();
    let (_, log) = judged.check(StoreFault::Flipped, usize::MAX).await;
    for fault in
        [StoreFault::Flipped, StoreFault::Shorter, StoreFault::BreaksOff, StoreFault::Longer]
    {
        for (at, call) in log.iter().enumerate() {
            // There are no bytes that could be wrong.
            if call.ends_with(RECORDS) {
                continue;
            }
            let (outcome, _) = judged.check(fault, at).await;
            assert_eq!(outcome.status, Status::Fail, "{fault:?} at {call}");
        }
    }
}

#[tokio::test]
async fn a_part_that_goes_away_while_it_is_read_is_reported() {
    let judged = Judged::new();
    let (_, log) = judged.check(StoreFault::Flipped, usize::MAX).await;
    let part = format!("get run-5/data/parts/f={}/part-0.txt", fingerprint());
    let at = log.iter().position(|call| *call == part).unwrap();
    let (outcome, _) = judged.check(StoreFault::Absent, at).await;
    assert!(codes(&outcome).contains(&"CHANGED_DURING_READ"), "{:?}", outcome.issues);
}

/// What is read for a digest is never read again for another (O15).
#[tokio::test]
async fn every_object_is_read_at_most_once() {
    let judged = Judged::new();
    let (_, log) = judged.check(StoreFault::Flipped, usize::MAX).await;
    let mut seen = std::collections::BTreeSet::new();
    for call in &log {
        assert!(seen.insert(call), "{call} is there twice: {log:#?}");
    }
}

/// One object that cannot be read hides nothing of what is known about the others.
#[tokio::test]
async fn what_is_known_to_be_bad_stays_bad_beside_what_could_not_be_read() {
    let judged = Judged::new();
    let part = format!("run-5/data/parts/f={}/part-1.txt", fingerprint());
    fs::write(judged.dir.path().join("store").join(&part), "OTHER").unwrap();
    let (_, log) = judged.check(StoreFault::Denied, usize::MAX).await;
    let documents = ["_SEALED.json", "_oracle_pack_manifest.json"];
    let mut denied = 0;
    for (at, call) in log.iter().enumerate() {
        let bad = call.ends_with(&part) || documents.iter().any(|name| call.ends_with(name));
        if bad || call.starts_with("list ") {
            continue;
        }
        let (outcome, _) = judged.check(StoreFault::Denied, at).await;
        let found = codes(&outcome);
        assert!(found.contains(&"ACCESS_DENIED"), "{call}: {found:?}");
        assert!(found.contains(&"PACK_FILE_CHANGED"), "{call}: {found:?}");
        assert_eq!(outcome.exit(false), 1, "{call}: {found:?}");
        denied += 1;
    }
    assert!(denied > 5, "only {denied}");
}

/// Promise 1.4 of the build plan: no scanning, no "latest". The records about a pack are listed,
/// since one that was removed from among them shows in no other way.
#[tokio::test]
async fn a_check_reads_by_key_and_lists_only_the_folder_of_its_wildcard() {
    let judged = Judged::new();
    let (_, log) = judged.check(StoreFault::Broken, usize::MAX).await;
    let (gets, lists): (Vec<&String>, Vec<&String>) =
        log.iter().partition(|call| call.starts_with("get "));
    let expansion = format!("list run-5/data/parts/f={}", fingerprint());
    assert_eq!(lists, [&format!("list run-5{RECORDS}"), &expansion]);
    let stray = gets.iter().find(|call| !call.starts_with("get run-5/"));
    assert_eq!(stray, None);
}

/// Every file below `folder`, sorted.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_changed_byte_of_a_pack_goes_unseen(
        file in any::<Index>(),
        byte in any::<Index>(),
        bits in 1..=u8::MAX,
    ) {
        let judged = Judged::new();
        let files = files(&judged.dir.path().join("store/run-5"));
        let path = &files[file.index(files.len())];
        let mut bytes = fs::read(path).unwrap();
        let at = byte.index(bytes.len());
        bytes[at] ^= bits;
        fs::write(path, bytes).unwrap();
        let outcome = block_on(judged.honest(&judged.view));
        prop_assert_eq!(outcome.status, Status::Fail, "{:?}", path);
    }

    /// A damaged view passes only if everything that decides about reading still is what it was.
    #[test]
    fn no_damaged_view_passes(
        edits in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..3),
    ) {
        let judged = Judged::new();
        let mut bytes = judged.view.clone();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        if block_on(judged.honest(&bytes)).status != Status::Fail {
            let decides = |bytes: &[u8]| {
                let mut view = RunFactsView::parse(bytes).unwrap();
                (view.plan_ref, view.record_ref, view.status_ref) = Default::default();
                (view.output_roles, view.intended_outputs, view.evidence_notes) = Default::default();
                view
            };
            prop_assert_eq!(decides(&bytes), decides(&judged.view));
        }
    }
}
