//! Verifies a pack again, of which nothing but its root is known: every link, every file, that no
//! file was added, that nothing was sealed twice, and that the store keeps it as long as it has to.
//!
//! It may list the one root that it is given (O8). Whatever cannot be read is reported beside what
//! can.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use seal::records::is_record;
use seal::tree::File;
use seal::verify::{Broken, Report};
use seal::{MANIFEST_FILE, MAX_DOCUMENT_BYTES, Manifest, SEAL_FILE, SealMarker, Tree};
use time::OffsetDateTime;

use crate::check::measured::{Measured, Plan, Proof};
use crate::check::packs::broken_reason;
use crate::check::{Details, Findings, Outcome, PackDetail, Rules};
use crate::governance;
use crate::locator::inside;
use crate::objects::{Evidence, Leftovers, Objects};
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
    match governance::log(objects, root).await {
        // A tombstone outranks the seal and every file.
        Ok(log) if log.tombstone().is_some() => {
            let text = log.tombstone().map(governance::tombstone_text).unwrap_or_default();
            findings.add(Reason::PackTombstoned, format!("{name}: {text}"));
            return findings.outcome(details);
        }
        Ok(_) => {}
        Err(error) => findings.add(error.reason(), error.text()),
    }

    let mut read = async |document: &str| {
        let read = objects.read(&inside(root, document), MAX_DOCUMENT_BYTES).await;
        read.map_err(|error| findings.store(&error))
    };
    let (seal, manifest) = (read(SEAL_FILE).await, read(MANIFEST_FILE).await);
    let listing = match objects.entries(root, Leftovers::OfClosing).await {
        Ok(listing) => listing,
        Err(error) => {
            findings.store(&error);
            return findings.outcome(details);
        }
    };
    listing.odd.iter().for_each(|odd| findings.store(odd));
    // What the store keeps back is among the findings, and nothing more can be known without it.
    let (Ok(seal), Ok(manifest)) = (seal, manifest) else { return findings.outcome(details) };

    let mut report = Report::read(seal.as_deref(), manifest.as_deref());
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
        added(name, sealed, &listing.entries, &mut findings);
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

/// Files that the inventory does not name. Records come after the seal, so they are none of it.
fn added(name: &str, sealed: &[File], entries: &[crate::objects::Entry], findings: &mut Findings) {
    let known: BTreeSet<&str> = sealed.iter().map(|file| file.path.as_str()).collect();
    for path in entries.iter().map(|entry| entry.path.as_str()) {
        let own = path == SEAL_FILE || path == MANIFEST_FILE || is_record(path);
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
