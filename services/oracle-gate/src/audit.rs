//! Verifies a pack again, of which nothing but its root is known: every link, every file, that no
//! file was added, that nothing was sealed twice, and that the store keeps it as long as it has to.
//!
//! It may list the one root that it is given (O8). Whatever cannot be read is reported beside what
//! can.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use seal::records::RECORDS_DIR;
use seal::tree::File;
use seal::verify::{Broken, Report};
use seal::{MANIFEST_FILE, MAX_DOCUMENT_BYTES, Manifest, SEAL_FILE, SealMarker, Tree};
use time::OffsetDateTime;
use wire::digest::{Digest, Hasher};

use crate::check::measured::{Measured, Plan, Proof};
use crate::check::packs::broken_reason;
use crate::check::{Details, Findings, Outcome, PackDetail, Rules};
use crate::governance;
use crate::locator::inside;
use crate::objects::{Evidence, Listing, Objects, StoreError};
use crate::reasons::Reason;
use crate::retention::{Class, Demand, Retention};

/// Most objects whose locks are asked for at once.
const HEADS: usize = 16;

/// Audits the pack in `root`.
pub async fn audit(
    objects: &Objects,
    rules: &Rules,
    retention: &Retention,
    root: &str,
    now: OffsetDateTime,
) -> Outcome {
    let mut findings = Findings::new(rules);
    let name = if root.is_empty() { "." } else { root };
    let mut details = Details {
        profile_id: rules.profile_id.clone(),
        run_facts_ref: name.to_owned(),
        ..Details::default()
    };
    let log = match governance::log(objects, root).await {
        // A tombstone outranks the seal and every file.
        Ok(log) if log.tombstone().is_some() => {
            let text = log.tombstone().map(governance::tombstone_text).unwrap_or_default();
            findings.add(Reason::PackTombstoned, format!("{name}: {text}"));
            return findings.outcome(details);
        }
        Ok(log) => Some(log),
        Err(error) => {
            findings.add(error.reason(), error.text());
            None
        }
    };

    let mut read = async |document: &str| {
        let read = objects.read(&inside(root, document), MAX_DOCUMENT_BYTES).await;
        read.map_err(|error| findings.store(&error))
    };
    let (seal, manifest) = (read(SEAL_FILE).await, read(MANIFEST_FILE).await);
    // Documents that cannot be read are reported as findings, and the remaining checks still run:
    // what is known to be bad stays bad (O12).
    let listing = objects
        .entries(root)
        .await
        .unwrap_or_else(|error| Listing { entries: Vec::new(), odd: vec![error] });
    // What lies beside the records is reported with them.
    let of_records = |odd: &StoreError| odd.name().is_some_and(is_of_records);
    listing.odd.iter().filter(|odd| !of_records(odd)).for_each(|odd| findings.store(odd));
    let (seal_known, manifest_known) = (seal.is_ok(), manifest.is_ok());
    let (seal, manifest) = (seal.unwrap_or_default(), manifest.unwrap_or_default());
    if let Some(Err(error)) = log.map(|log| governance::is_of(&log, root, seal.as_deref())) {
        findings.add(error.reason(), error.text());
    }

    let mut report = Report::read(seal.as_deref(), manifest.as_deref());
    // A document that the store keeps back is not missing.
    report.broken.retain(|broken| match broken {
        Broken::SealMissing => seal_known,
        Broken::ManifestMissing => manifest_known,
        _ => true,
    });
    // Whatever is wrong with it, it says what has to be read.
    let parsed = report.manifest.as_ref();
    let sealed: &[File] = parsed.and_then(Manifest::inventory).map_or(&[], Tree::files);
    let shards = parsed.and_then(Manifest::shards);
    let mut plan = Plan::default();
    // Of a very large file both digests, so that an audit does not rest on who made them.
    plan.inventory(root, sealed, shards, Proof::Both);
    // An audit takes no store's word for a digest.
    let mut measured = Measured::new(Evidence::HashedBytes);
    measured.measure(objects, plan, &mut findings).await;

    let found = measured.found(root, sealed);
    report.compare_files(&found);
    let sealed =
        report.manifest.as_ref().and_then(Manifest::inventory).map_or(&[][..], Tree::files);
    for broken in &report.broken {
        findings.add(broken_reason(broken), format!("{name}: {broken}"));
    }
    // Without an inventory nothing says which files belong to the pack.
    if report.manifest.as_ref().is_some_and(|manifest| manifest.inventory().is_some()) {
        added(name, sealed, &listing, &mut findings);
    }
    resealed(objects, root, &mut findings).await;
    if let (Some(seal), Some(class)) = (&report.seal, retention.class_of(root)) {
        locks(objects, root, sealed, seal, class, now, &mut findings).await;
    }

    details.evidence = measured.evidence();
    details.packs = vec![PackDetail {
        root: root.to_owned(),
        oracle_pack_id: report.manifest.as_ref().map(Manifest::pack_id),
        seal_digest: report.seal_digest,
        seal_status: report.seal.as_ref().map(|seal| seal.status().as_str().to_owned()),
    }];
    findings.outcome(details)
}

/// A fingerprint of the names, lengths and store marks of a pack's files, without reading them: it
/// changes if any file is written, added or removed. `None` where that cannot be known.
pub async fn marks(objects: &Objects, root: &str) -> Option<Digest> {
    let listing = objects.entries(root).await.ok()?;
    let mut hasher = Hasher::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    for entry in &listing.entries {
        add(&entry.path);
        add(&entry.mark);
    }
    let mut odd: Vec<String> = listing.odd.iter().map(ToString::to_string).collect();
    // Several threads list a folder, each in its own time.
    odd.sort_unstable();
    odd.iter().for_each(|odd| add(odd));
    Some(hasher.finish())
}

/// Whether a path of a pack lies where only records may: what else lies there makes the log invalid.
fn is_of_records(path: &str) -> bool {
    path.split('/').next() == Some(RECORDS_DIR)
}

/// Files that the inventory does not name, also those with a name that no inventory can have.
/// Records come after the seal, so they are not part of it.
fn added(name: &str, sealed: &[File], listing: &Listing, findings: &mut Findings) {
    let known: BTreeSet<&str> = sealed.iter().map(|file| file.path.as_str()).collect();
    let paths = listing.entries.iter().map(|entry| entry.path.as_str());
    let unclear = listing.odd.iter().filter_map(|odd| match odd {
        StoreError::Name { path, .. } => Some(path.as_str()),
        _ => None,
    });
    for path in paths.chain(unclear) {
        let own = path == SEAL_FILE || path == MANIFEST_FILE || is_of_records(path);
        if !own && !known.contains(path) {
            let added = Broken::FileAdded { path: path.to_owned() };
            findings.add(broken_reason(&added), format!("{name}: {added}"));
        }
    }
}

/// A seal that was deleted and written again leaves its first version, or the marker of its
/// deletion, in a bucket with versions.
async fn resealed(objects: &Objects, root: &str, findings: &mut Findings) {
    for document in [SEAL_FILE, MANIFEST_FILE] {
        let path = inside(root, document);
        match objects.versions(&path).await {
            Ok(None) => {}
            Ok(Some(kept)) if kept.versions <= 1 && kept.markers == 0 => {}
            Ok(Some(kept)) => {
                let (versions, markers) = (kept.versions, kept.markers);
                let text = format!("{path} has {versions} versions and {markers} delete markers");
                findings.add(Reason::PackResealed, text);
            }
            Err(error) => findings.store(&error),
        }
    }
}

/// Whether the store keeps the seal, the manifest and every file as long as the pack's class says.
async fn locks(
    objects: &Objects,
    root: &str,
    sealed: &[File],
    seal: &SealMarker,
    class: &Class,
    now: OffsetDateTime,
    findings: &mut Findings,
) {
    if class.lock == Demand::None {
        return;
    }
    let Some(due) = seal.sealed_at().map(|sealed_at| class.kept_until(sealed_at)) else {
        let text = format!("class {} counts from the seal, which does not say when", class.name);
        findings.add(Reason::RetentionBelowClass, text);
        return;
    };
    // What was due is over: nothing has to be locked any more.
    if due <= now {
        return;
    }
    if objects.root().is_some() {
        let text = format!("class {} demands a lock, and a folder has none", class.name);
        findings.add(Reason::RetentionBelowClass, text);
        return;
    }
    let names = [SEAL_FILE, MANIFEST_FILE].into_iter();
    let names = names.chain(sealed.iter().map(|file| file.path.as_str()));
    let paths: Vec<String> = names.map(|name| inside(root, name)).collect();
    let mut heads = std::pin::pin!(
        stream::iter(paths)
            .map(async |path| (objects.lock(&path).await, path))
            .buffer_unordered(HEADS)
    );
    while let Some((lock, path)) = heads.next().await {
        match lock {
            // That it is gone is reported already.
            Ok(None) => {}
            Ok(Some(lock)) => {
                if let Some(text) = class.falls_short(lock.as_ref(), due) {
                    findings.add(Reason::RetentionBelowClass, format!("{path}: {text}"));
                }
            }
            Err(error) => findings.store(&error),
        }
    }
}
