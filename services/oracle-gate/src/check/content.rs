//! Rules about the bytes that locators name: are they there, sealed, and of the digest of the view?

use seal::content::{Algo, Concat, ContentDigest};
use seal::tree::File;
use seal::{Limits, Tree};
use wire::digest::{Digest, Hasher};

use super::locators::Output;
use super::measured::Measured;
use super::{Details, Findings, Pack, Subject};
use crate::locator::inside;
use crate::objects::{Fixity, Objects, StoreError};
use crate::reasons::Reason;

/// A file that a locator names.
struct Part {
    path: String,
    fixity: Fixity,
}

/// Judges the content of every output.
pub async fn check(
    subject: &Subject<'_>,
    measured: &mut Measured,
    findings: &mut Findings,
    details: &mut Details,
) {
    for output in &subject.outputs {
        let path = output.path.as_str();
        if output.locator.content_digest.is_none() {
            details.locators_missing_digest += 1;
            findings.add(Reason::DigestMissing, path);
        }
        let root = output.path.pack_root();
        let pack = subject.packs.iter().find(|pack| pack.root == root);
        let objects = pack.map_or(subject.objects, |pack| &pack.objects);
        let parts = match parts(objects, output, pack, measured).await {
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
        in_inventory(&parts, pack, findings);
        if let Some(stated) = output.locator.content_digest {
            compare(objects, path, &parts, stated, findings).await;
        }
    }
}

/// The files a locator names: the one, the matches of its wildcard, or, for a folder of a sealed pack,
/// those that the inventory names below it. A folder is never listed (O8).
async fn parts(
    objects: &Objects,
    output: &Output<'_>,
    pack: Option<&Pack>,
    measured: &mut Measured,
) -> Result<Vec<Part>, StoreError> {
    let mut parts = Vec::new();
    for path in output.path.expand(objects).await? {
        if let Some(fixity) = measured.file(objects, &path).await? {
            parts.push(Part { path, fixity });
        }
    }
    if let Some(pack) = pack.filter(|_| parts.is_empty() && !output.path.has_wildcard()) {
        for file in pack.below(output.path.in_pack()) {
            let path = inside(&pack.root, &file.path);
            if let Some(fixity) = measured.file(objects, &path).await? {
                parts.push(Part { path, fixity });
            }
        }
    }
    Ok(parts)
}

fn in_inventory(parts: &[Part], pack: Option<&Pack>, findings: &mut Findings) {
    let Some(pack) = pack else { return };
    for part in parts.iter().filter(|part| !pack.may_hold(&part.path)) {
        findings.add(Reason::LocatorNotInPack, part.path.as_str());
    }
}

async fn compare(
    objects: &Objects,
    path: &str,
    parts: &[Part],
    stated: ContentDigest,
    findings: &mut Findings,
) {
    let found = match (stated.algo, parts) {
        // Without a digest it is reported as not verified, once for the whole check.
        (_, parts) if parts.iter().any(|part| part.fixity.sha256.is_none()) => return,
        (Algo::Concat, [part]) => Ok(part.fixity.sha256),
        (Algo::Concat, parts) => concat(objects, parts, findings).await,
        (Algo::Tree, parts) => Ok(tree(path, parts)),
    };
    match found {
        Ok(Some(found)) if found == stated.hex => {}
        Ok(Some(found)) => {
            let text = format!("{path}: the view has {}, the bytes are {found}", stated.hex);
            findings.add(Reason::DigestMismatch, text);
        }
        Ok(None) => findings.add(Reason::DigestMismatch, format!("{path}: the files are no tree")),
        Err(error) => findings.store(&error),
    }
}

/// Reads all parts again; one that is no longer what was measured is told.
async fn concat(
    objects: &Objects,
    parts: &[Part],
    findings: &mut Findings,
) -> Result<Option<Digest>, StoreError> {
    let mut concat = Concat::default();
    for part in parts {
        let mut whole = Hasher::new();
        let Some(mut object) = objects.open_object(&part.path).await? else {
            findings.add(Reason::ChangedDuringRead, format!("{} went away", part.path));
            continue;
        };
        while let Some(bytes) = object.next().await? {
            concat.update(&bytes);
            whole.update(&bytes);
        }
        if Some(whole.finish()) != part.fixity.sha256 {
            findings.add(Reason::ChangedDuringRead, part.path.as_str());
        }
    }
    Ok(Some(concat.finish()))
}

/// Over the names relative to the output's own folder: the folder it names, or that of its parts.
fn tree(path: &str, parts: &[Part]) -> Option<Digest> {
    let below = format!("{path}/");
    let folder = if parts.iter().all(|part| part.path.starts_with(&below)) {
        below.len()
    } else {
        path.rsplit_once('/').map_or(0, |(folder, _)| folder.len() + 1)
    };
    let file = |part: &Part| {
        let sha256 = part.fixity.sha256?;
        let length = part.fixity.length;
        Some(File { path: part.path[folder..].to_owned(), executable: false, length, sha256 })
    };
    let files = parts.iter().map(file).collect::<Option<_>>()?;
    Tree::new(files, &Limits::PACK).ok().map(|tree| tree.digest())
}
