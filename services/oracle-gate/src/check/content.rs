//! Rules about the bytes that locators name: are they there, sealed, and of the digest of the view?

use seal::content::{Algo, ContentDigest};
use seal::tree::File;
use seal::{Limits, Tree};
use wire::digest::Digest;

use super::findings::Findings;
use super::locators::LocatedOutput;
use super::measured::{Known, Measured};
use super::outcome::Details;
use super::packs::Pack;
use super::subject::{Plans, Subject};
use crate::locator::inside;
use crate::objects::{Evidence, Fixity};
use crate::reasons::Reason;

/// A file that a locator names.
struct Part {
    path: String,
    fixity: Fixity,
}

/// The files that an output may consist of, before it is known which are there.
pub struct Candidates {
    /// The path itself, or the matches of its wildcard.
    named: Vec<String>,
    /// For a folder of a sealed pack: the files that the inventory names below it. A folder is
    /// never listed (O8).
    below: Vec<String>,
    /// Whether the expansion failed, so that nothing is known.
    unknown: bool,
}

/// Finds every output's candidates and plans what has to be read of them.
pub async fn plan(
    subject: &Subject<'_>,
    plans: &mut Plans,
    least: Evidence,
    findings: &mut Findings,
) -> Vec<Candidates> {
    let mut all = Vec::new();
    for output in &subject.outputs {
        let (at, pack) = subject.pack_of(output);
        let objects = pack.map_or(subject.objects, |pack| &pack.objects);
        let plan = plans.of(at);
        let expanded = output.path.expand(objects).await;
        let unknown = expanded.is_err();
        let files = match expanded {
            Ok(expansion) => {
                expansion.odd.iter().for_each(|odd| findings.store(odd));
                expansion.files
            }
            Err(error) => {
                findings.store(&error);
                Vec::new()
            }
        };
        for (path, length) in &files {
            plan.file(path.as_str(), *length);
        }
        let named: Vec<String> = files.into_iter().map(|(path, _)| path).collect();
        // A folder as far as that can be known: no pattern, and no file of the inventory.
        let folder =
            pack.filter(|pack| !output.path.has_wildcard() && !pack.names(output.path.in_pack()));
        let below: Vec<String> = folder
            .into_iter()
            .flat_map(|pack| pack.below(output.path.in_pack()).map(move |file| (pack, file)))
            .map(|(pack, file)| inside(&pack.root, &file.path))
            .collect();
        // The digest over all parts is made while they are read for their own digests.
        let stated = output.locator.content_digest;
        if least > Evidence::SizeOnly && stated.is_some_and(|stated| stated.algo == Algo::Concat) {
            for parts in [&named, &below] {
                if parts.len() > 1 {
                    plan.run(parts.clone());
                }
            }
        }
        all.push(Candidates { named, below, unknown });
    }
    all
}

/// Judges the content of every output.
pub async fn check(
    subject: &Subject<'_>,
    candidates: &[Candidates],
    measured: &Measured,
    findings: &mut Findings,
    details: &mut Details,
) {
    for (output, candidates) in subject.outputs.iter().zip(candidates) {
        let path = output.path.as_str();
        if output.locator.content_digest.is_none() {
            details.locators_missing_digest += 1;
            findings.add(Reason::DigestMissing, path);
        }
        let (_, pack) = subject.pack_of(output);
        let Some(parts) = parts(candidates, measured) else { continue };
        if output.path.has_wildcard() && candidates.named.len() > parts.len() {
            findings
                .add(Reason::ChangedDuringRead, format!("{path}: a part that was listed is gone"));
        }
        if parts.is_empty() {
            missing(subject, output, pack, findings, details).await;
            continue;
        }
        in_inventory(&parts, pack, findings);
        if let Some(stated) = output.locator.content_digest {
            compare(path, &parts, stated, measured, findings);
        }
    }
}

/// Nothing has the name. A folder is no file, and without an inventory nothing says what is in it.
async fn missing(
    subject: &Subject<'_>,
    output: &LocatedOutput<'_>,
    pack: Option<&Pack>,
    findings: &mut Findings,
    details: &mut Details,
) {
    let path = output.path.as_str();
    let unlisted = pack.is_none_or(|pack| pack.inventory().is_none());
    if unlisted && !output.path.has_wildcard() {
        match subject.objects.is_folder(path).await {
            Ok(true) => return findings.add(Reason::FolderUnlisted, path),
            // In a bucket only the catalogue says so; that nothing is there cannot be determined at
            // all.
            Ok(false) if subject.objects.root().is_none() && subject.is_a_folder(output) => {
                return findings.add(Reason::FolderUnlisted, path);
            }
            Ok(false) => {}
            Err(error) => return findings.store(&error),
        }
    }
    details.locators_missing += 1;
    let wildcard = output.path.has_wildcard();
    let code = if wildcard { Reason::PartSetEmpty } else { Reason::LocatorMissing };
    findings.add(code, path);
}

/// The files that are there; `None` if the store does not say of one of them.
fn parts(candidates: &Candidates, measured: &Measured) -> Option<Vec<Part>> {
    if candidates.unknown {
        return None;
    }
    for paths in [&candidates.named, &candidates.below] {
        let mut parts = Vec::new();
        for path in paths {
            match measured.state(path) {
                Some(Known::There(fixity)) => {
                    parts.push(Part { path: path.clone(), fixity: *fixity });
                }
                Some(Known::Absent) => {}
                Some(Known::Unknown) | None => return None,
            }
        }
        if !parts.is_empty() {
            return Some(parts);
        }
    }
    Some(Vec::new())
}

fn in_inventory(parts: &[Part], pack: Option<&Pack>, findings: &mut Findings) {
    let Some(pack) = pack else { return };
    for part in parts.iter().filter(|part| !pack.may_hold(&part.path)) {
        findings.add(Reason::LocatorNotInPack, part.path.as_str());
    }
}

fn compare(
    path: &str,
    parts: &[Part],
    stated: ContentDigest,
    measured: &Measured,
    findings: &mut Findings,
) {
    if parts.iter().any(|part| measured.changed(&part.path).is_some()) {
        return changed(path, parts, stated, measured, findings);
    }
    let found = match stated.algo {
        // Without a digest it is reported as not verified, once for the whole check.
        _ if parts.iter().any(|part| part.fixity.sha256.is_none()) => return,
        Algo::Concat => {
            let paths: Vec<String> = parts.iter().map(|part| part.path.clone()).collect();
            match measured.run(&paths) {
                Some(digest) => Some(digest),
                // A part was there when it was listed and gone when it was read.
                None => return findings.add(Reason::ChangedDuringRead, path),
            }
        }
        Algo::Tree => tree(path, parts, |part| part.fixity.sha256),
    };
    match found {
        Some(found) if found == stated.hex => {}
        Some(found) => {
            let text = format!("{path}: the view has {}, the bytes are {found}", stated.hex);
            findings.add(Reason::DigestMismatch, text);
        }
        None => findings.add(Reason::DigestMismatch, format!("{path}: the files are no tree")),
    }
}

/// Shards showed that bytes are not the sealed ones. Where the view has the digest of the sealed
/// bytes, these do not have it; where the view has another, the digest of these is not known.
fn changed(
    path: &str,
    parts: &[Part],
    stated: ContentDigest,
    measured: &Measured,
    findings: &mut Findings,
) {
    let of_part = |part: &Part| match measured.changed(&part.path) {
        Some(changed) => Some(changed.sealed),
        None => part.fixity.sha256,
    };
    let sealed = match (stated.algo, parts) {
        (Algo::Concat, [part]) => of_part(part),
        // Several parts are read whole, for the digest over all of them.
        (Algo::Concat, _) => None,
        (Algo::Tree, _) => tree(path, parts, of_part),
    };
    if sealed != Some(stated.hex) {
        return;
    }
    let mut text = format!("{path}: the view has {}", stated.hex);
    for part in parts {
        for bytes in measured.changed(&part.path).into_iter().flat_map(|changed| &changed.ranges) {
            let (first, last) = (bytes.start, bytes.end - 1);
            text += &format!("; bytes {first} to {last} of {} are not the sealed ones", part.path);
        }
    }
    findings.add(Reason::DigestMismatch, text);
}

/// Over the names relative to the output's own folder: the folder it names, or that of its parts.
fn tree(path: &str, parts: &[Part], sha256: impl Fn(&Part) -> Option<Digest>) -> Option<Digest> {
    let below = format!("{path}/");
    let folder = if parts.iter().all(|part| part.path.starts_with(&below)) {
        below.len()
    } else {
        path.rsplit_once('/').map_or(0, |(folder, _)| folder.len() + 1)
    };
    let file = |part: &Part| {
        let sha256 = sha256(part)?;
        let length = part.fixity.length;
        Some(File { path: part.path[folder..].to_owned(), executable: false, length, sha256 })
    };
    let files = parts.iter().map(file).collect::<Option<_>>()?;
    Tree::new(files, &Limits::PACK).ok().map(|tree| tree.digest())
}
