//! Rules about the view itself and about the bytes its locators name.

use std::collections::BTreeSet;

use seal::content::{Algo, Concat, ContentDigest};
use seal::facts::{Locator, RunFactsView};
use seal::tree::File;
use seal::{Limits, Tree};
use wire::digest::Digest;

use super::{Details, Findings, Pack};
use crate::locator::Contained;
use crate::objects::{Objects, StoreError};
use crate::reasons::Reason;

/// A locator whose path may be read.
pub struct Output<'a> {
    /// The locator.
    pub locator: &'a Locator,
    /// Its path.
    pub path: Contained,
}

/// Does the view agree with itself?
pub fn form(view: &RunFactsView, findings: &mut Findings) {
    if view.run_id != view.pins.run_id {
        let (outer, pins) = (view.run_id, view.pins.run_id);
        findings.add(Reason::RunPinsMismatch, format!("run_id is {outer}, pins.run_id is {pins}"));
    }
    if view.locators.is_empty() {
        findings.add(Reason::LocatorsEmpty, "the view has no locators");
    }
    for locator in &view.locators {
        if let Some(pin) = foreign_pin(view, locator) {
            let path = &locator.path;
            findings.add(Reason::RunPinsMismatch, format!("{path}: {pin} is not the run's"));
        }
    }
    match view.computed_bundle_hash() {
        Ok(hash) if hash == view.bundle_hash => {}
        Ok(hash) => {
            let stated = view.bundle_hash;
            findings.add(Reason::BundleHashMismatch, format!("{stated} is stated, {hash} is so"));
        }
        Err(error) => findings.add(Reason::BundleHashMismatch, error.to_string()),
    }
}

fn foreign_pin(view: &RunFactsView, locator: &Locator) -> Option<&'static str> {
    let pins = &view.pins;
    let differs = [
        (
            "manifest_fingerprint",
            locator.manifest_fingerprint.is_some_and(|it| it != pins.manifest_fingerprint),
        ),
        ("parameter_hash", locator.parameter_hash.is_some_and(|it| it != pins.parameter_hash)),
        ("seed", locator.seed.is_some_and(|it| it != pins.seed)),
        ("scenario_id", locator.scenario_id.as_ref().is_some_and(|it| *it != pins.scenario_id)),
        ("run_id", locator.run_id.is_some_and(|it| it != pins.run_id)),
    ];
    differs.into_iter().find_map(|(pin, differs)| differs.then_some(pin))
}

/// The locators that may be read at all.
pub fn contain<'a>(
    objects: &Objects,
    view: &'a RunFactsView,
    findings: &mut Findings,
) -> Vec<Output<'a>> {
    let mut seen = BTreeSet::new();
    let mut outputs = Vec::new();
    for locator in &view.locators {
        match Contained::parse(&locator.path, objects.root()) {
            Err(error) => findings.add(Reason::LocatorOutsideRoot, error.to_string()),
            Ok(path) if !seen.insert(path.clone()) => {
                findings.add(Reason::LocatorDuplicate, path.as_str());
            }
            Ok(path) => outputs.push(Output { locator, path }),
        }
    }
    outputs
}

/// Are the bytes there, and do they have the digests of the view?
pub async fn content(
    objects: &Objects,
    outputs: &[Output<'_>],
    packs: &[Pack],
    findings: &mut Findings,
    details: &mut Details,
) {
    for output in outputs {
        let path = output.path.as_str();
        if output.locator.content_digest.is_none() {
            details.locators_missing_digest += 1;
            findings.add(Reason::DigestMissing, path);
        }
        let parts = match parts(objects, output).await {
            Ok(parts) => parts,
            Err(error) => {
                findings.store(&error);
                continue;
            }
        };
        if parts.is_empty() {
            details.locators_missing += 1;
            let wildcard = output.path.has_wildcard();
            let code = if wildcard { Reason::PartSetEmpty } else { Reason::LocatorMissing };
            findings.add(code, path);
            continue;
        }
        in_inventory(output, &parts, packs, findings);
        if let Some(stated) = output.locator.content_digest {
            compare(objects, path, &parts, stated, findings).await;
        }
    }
}

/// The files a locator names, with length and digest each.
type Parts = Vec<(String, u64, Digest)>;

async fn parts(objects: &Objects, output: &Output<'_>) -> Result<Parts, StoreError> {
    let mut parts = Vec::new();
    for path in output.path.expand(objects).await? {
        if let Some((length, sha256)) = objects.hash(&path).await? {
            parts.push((path, length, sha256));
        }
    }
    Ok(parts)
}

fn in_inventory(output: &Output<'_>, parts: &Parts, packs: &[Pack], findings: &mut Findings) {
    let root = output.path.pack_root();
    let manifest = packs.iter().find(|pack| pack.root == root).and_then(|pack| pack.manifest());
    let Some(inventory) = manifest.and_then(|manifest| manifest.inventory()) else { return };
    for (path, ..) in parts {
        let name = path.strip_prefix(&root).unwrap_or(path).trim_start_matches('/');
        if inventory.file(name).is_none() {
            findings.add(Reason::LocatorNotInPack, path.as_str());
        }
    }
}

async fn compare(
    objects: &Objects,
    path: &str,
    parts: &Parts,
    stated: ContentDigest,
    findings: &mut Findings,
) {
    let found = match (stated.algo, &parts[..]) {
        (Algo::Concat, [(_, _, sha256)]) => Ok(Some(*sha256)),
        (Algo::Concat, _) => concat(objects, parts).await,
        (Algo::Tree, _) => Ok(tree(path, parts)),
    };
    match found {
        Ok(Some(found)) if found == stated.hex => {}
        Ok(Some(found)) => {
            findings.add(
                Reason::DigestMismatch,
                format!("{path}: the view has {}, the bytes are {found}", stated.hex),
            );
        }
        Ok(None) => {
            findings.add(Reason::LocatorMissing, format!("{path} went away during the check"))
        }
        Err(error) => findings.store(&error),
    }
}

async fn concat(objects: &Objects, parts: &Parts) -> Result<Option<Digest>, StoreError> {
    let mut concat = Concat::default();
    for (path, ..) in parts {
        if !objects.concat(path, &mut concat).await? {
            return Ok(None);
        }
    }
    Ok(Some(concat.finish()))
}

/// Over the names relative to the output's own folder.
fn tree(path: &str, parts: &Parts) -> Option<Digest> {
    let folder = path.rsplit_once('/').map_or(0, |(folder, _)| folder.len() + 1);
    let file = |(path, length, sha256): &(String, u64, Digest)| File {
        path: path[folder..].to_owned(),
        executable: false,
        length: *length,
        sha256: *sha256,
    };
    let files = parts.iter().map(file).collect();
    Tree::new(files, &Limits::PACK).ok().map(|tree| tree.digest())
}
