//! Rules about the packs that outputs lie in: sealed, whole, and of this run.

use std::collections::BTreeSet;

use seal::facts::RunFactsView;
use seal::tree::File;
use seal::verify::{Broken, Link, Report};
use seal::{
    MANIFEST_FILE, MAX_DOCUMENT_BYTES, Manifest, RunKey, SEAL_FILE, SealMarker, SealStatus, Tree,
};

use super::findings::Findings;
use super::locators::LocatedOutput;
use super::measured::{Measured, Plan, Proof};
use super::outcome::PackDetail;
use super::rules::Rules;
use crate::governance;
use crate::locator::inside;
use crate::objects::Objects;
use crate::reasons::Reason;

/// A pack as it was found.
pub struct Pack {
    /// Its root, relative to the oracle root; empty if it is the oracle root.
    pub root: String,
    /// The store as this pack's seal lets it be trusted (O11).
    pub(crate) objects: Objects,
    report: Report,
}

impl Pack {
    /// Its manifest, if it can be read.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.report.manifest.as_ref()
    }

    /// Its inventory, if it has one that can be read.
    pub fn inventory(&self) -> Option<&Tree> {
        self.manifest().and_then(Manifest::inventory)
    }

    /// The files of its inventory; none where it has none that can be read.
    fn files(&self) -> &[File] {
        self.inventory().map_or(&[], Tree::files)
    }

    /// Whether the file at `path` below the oracle root was sealed, as far as that can be known:
    /// a pack without an inventory does not say.
    pub fn may_hold(&self, path: &str) -> bool {
        let name = path.strip_prefix(&self.root).unwrap_or(path).trim_start_matches('/');
        self.inventory().is_none_or(|inventory| inventory.file(name).is_some())
    }

    /// Whether the inventory names a file of this path below the pack's root.
    pub fn names(&self, path: &str) -> bool {
        self.inventory().is_some_and(|inventory| inventory.file(path).is_some())
    }

    /// The sealed files below a folder, ordered by path; none if there is no inventory.
    pub fn below(&self, folder: &str) -> impl Iterator<Item = &File> {
        let folder = format!("{}/", folder.trim_end_matches('/'));
        self.files().iter().filter(move |file| file.path.starts_with(&folder))
    }

    /// Its line in a report.
    pub fn detail(&self) -> PackDetail {
        PackDetail {
            root: self.root.clone(),
            oracle_pack_id: self.manifest().map(Manifest::pack_id),
            seal_digest: self.report.seal_digest,
            seal_status: self.report.seal.as_ref().map(|seal| seal.status().as_str().to_owned()),
        }
    }
}

/// The packs of a view.
pub(crate) struct Opened {
    /// Those that may be looked at.
    pub(crate) packs: Vec<Pack>,
    /// Roots of those with a tombstone, and of those whose records are not known.
    pub(crate) unreadable: BTreeSet<String>,
}

/// Reads seal and manifest of every pack that `outputs` lie in. What cannot be read is noted, and
/// the rest of the pack is looked at anyway.
pub async fn open(
    objects: &Objects,
    rules: &Rules,
    outputs: &[LocatedOutput<'_>],
    findings: &mut Findings,
) -> Opened {
    let roots: BTreeSet<String> = outputs.iter().map(|output| output.path.pack_root()).collect();
    let mut packs = Vec::new();
    let mut unreadable = BTreeSet::new();
    for root in roots {
        let name = if root.is_empty() { "." } else { &root };
        let log = match governance::log(objects, &root).await {
            Ok(log) => match log.tombstone() {
                None => log,
                Some(record) => {
                    let text = governance::tombstone_text(record);
                    findings.add(Reason::PackTombstoned, format!("{name}: {text}"));
                    unreadable.insert(root);
                    continue;
                }
            },
            Err(error) => {
                findings.add(error.reason(), format!("{name}: {}", error.text()));
                unreadable.insert(root);
                continue;
            }
        };

        let mut read = async |name: &str| {
            let document = objects.read(&inside(&root, name), MAX_DOCUMENT_BYTES).await;
            document.map_err(|error| findings.store(&error))
        };
        let (seal, manifest) = (read(SEAL_FILE).await, read(MANIFEST_FILE).await);
        // Nothing is known of a pack whose seal or manifest the store keeps back.
        let (Ok(seal), Ok(manifest)) = (seal, manifest) else { continue };
        if let Err(error) = governance::is_of(&log, &root, seal.as_deref()) {
            findings.add(error.reason(), format!("{name}: {}", error.text()));
        }
        // Each pack by its own seal: the store may have been another when it was closed.
        let trusts = rules.trust_store_checksums && proven(seal.as_deref());
        let objects = objects.trusting_checksums(trusts);
        // Without files for now: the manifest says first which ones have to be measured.
        let report = Report::read(seal.as_deref(), manifest.as_deref());
        packs.push(Pack { root, objects, report });
    }
    Opened { packs, unreadable }
}

/// What has to be measured of a pack: by key only, files that the manifest does not name stay
/// unseen (O8).
pub fn plan(pack: &Pack, plan: &mut Plan) {
    // Shards prove the digest of the whole only where a seal covers the manifest that has both.
    let sealed = pack.report.holds(Link::Seal) && pack.report.holds(Link::Manifest);
    let proof = if sealed { Proof::Shards } else { Proof::Both };
    let shards = pack.manifest().and_then(Manifest::shards);
    plan.inventory(&pack.root, pack.files(), shards, proof);
}

/// Judges every pack by what was measured.
pub fn judge(
    rules: &Rules,
    view: &RunFactsView,
    packs: &mut [Pack],
    measured: &Measured,
    findings: &mut Findings,
) {
    for pack in packs.iter_mut() {
        let found = measured.found(&pack.root, pack.files());
        pack.report.compare_files(&found);
        judge_one(pack, view, findings);
    }
    reference(rules, view, packs, findings);
}

/// Whether the store had shown, when the pack was sealed, that it refuses a wrong checksum.
fn proven(seal: Option<&[u8]>) -> bool {
    let seal = seal.and_then(|bytes| SealMarker::parse(bytes).ok());
    matches!(seal, Some(SealMarker::V1(v1)) if v1.store_probe.keeps_true_checksums())
}

fn judge_one(pack: &Pack, view: &RunFactsView, findings: &mut Findings) {
    let name = if pack.root.is_empty() { "." } else { &pack.root };
    for broken in &pack.report.broken {
        findings.add(broken_reason(broken), format!("{name}: {broken}"));
    }
    if pack.report.seal.as_ref().is_some_and(|seal| seal.status() == SealStatus::Failed) {
        findings.add(Reason::PackSealedFailed, name);
    }
    let Some(manifest) = pack.manifest() else { return };
    if *manifest.world_key() != view.world_key() {
        findings.add(Reason::PackPinsMismatch, format!("{name}: the manifest's world is another"));
    }
    if manifest.common().is_some_and(|common| common.run_id != view.run_id) {
        findings.add(Reason::PackPinsMismatch, format!("{name}: the manifest's run is another"));
    }
}

/// The reason that a broken link is reported as.
pub(crate) fn broken_reason(broken: &Broken) -> Reason {
    match broken {
        Broken::SealMissing => Reason::PackNotSealed,
        Broken::SealUnreadable { .. } => Reason::SealInvalid,
        Broken::ManifestMissing => Reason::PackManifestMissing,
        Broken::ManifestUnreadable { .. }
        | Broken::ShardsContradict { .. }
        | Broken::ModuleUnreadable { .. }
        | Broken::ModuleDigest { .. } => Reason::PackManifestInvalid,
        Broken::ManifestEdited { .. } | Broken::SealOfAnotherPack { .. } => {
            Reason::SealManifestMismatch
        }
        Broken::PackIdWrong { .. } => Reason::PackIdMismatch,
        Broken::FileChanged { .. } | Broken::ShardChanged { .. } => Reason::PackFileChanged,
        Broken::FileUnproven { .. } => Reason::DigestNotVerified,
        Broken::FileAdded { .. } => Reason::PackFileAdded,
        Broken::FileMissing { .. } => Reason::PackFileMissing,
        Broken::NotRegular { .. } => Reason::LinkRefused,
        Broken::RecordsInvalid { .. } => Reason::PackRecordInvalid,
    }
}

/// A view that pins a seal depends on that seal and on no other pack (O9).
fn reference(rules: &Rules, view: &RunFactsView, packs: &[Pack], findings: &mut Findings) {
    let Some(pinned) = &view.oracle_pack_ref else {
        if rules.require_pack_ref {
            findings.add(Reason::PackRefMissing, RunKey::to_string(&view.run_id));
        }
        return;
    };
    for pack in packs {
        let detail = pack.detail();
        if detail.oracle_pack_id != Some(pinned.oracle_pack_id)
            || detail.seal_digest != Some(pinned.seal_digest)
        {
            let root = &pack.root;
            let text = format!(
                "{root}: the view pins pack {} with seal {}",
                pinned.oracle_pack_id, pinned.seal_digest
            );
            findings.add(Reason::PackRefMismatch, text);
        }
    }
}
