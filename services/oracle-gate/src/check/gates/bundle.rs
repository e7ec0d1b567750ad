//! The three methods of engines: a flag that carries the digest of a bundle of files.
//!
//! Where flag, bundle and index lie follows from the gate map and the run's pins alone; a receipt
//! that names them has to name the same places. What an index names stays inside the pack, and in a
//! sealed pack every piece of evidence has to be in the inventory: what came later proves nothing.

use seal::facts::GateReceipt;
use wire::digest::{Digest, Hasher};

use super::fault::{Fault, same_place};
use super::flag::{self, MAX_FLAG_BYTES};
use super::index::{self, MAX_INDEX_BYTES, Member};
use crate::catalogue::method::{Bundle, Law};
use crate::check::measured::{Known, Measured, Plan};
use crate::check::packs::Pack;
use crate::check::subject::Subject;
use crate::locator::{inside, path_reason};
use crate::reasons::Reason;

/// Where the evidence of one pack is, below the oracle root.
struct Places {
    flag: String,
    root: String,
    index: Option<String>,
}

/// A file that is hashed: its name for the order, and where it is.
struct Input {
    name: String,
    path: String,
    stated: Option<Digest>,
}

/// Verifies the flag of one pack.
pub(super) async fn verify(
    subject: &Subject<'_>,
    receipt: &GateReceipt,
    pack: &Pack,
    bundle: &Bundle,
    measured: &mut Measured,
) -> Vec<Fault> {
    let Some(places) = places(subject, pack, bundle) else {
        let text = "the run's pins do not fit into its paths".to_owned();
        return vec![Fault::Bad(Reason::GateEvidenceInvalid, text)];
    };
    let mut faults = contradictions(receipt, pack, &places);
    match compare(receipt, pack, bundle, &places, measured).await {
        Ok(()) => {}
        Err(fault) => faults.push(fault),
    }
    faults
}

fn places(subject: &Subject<'_>, pack: &Pack, bundle: &Bundle) -> Option<Places> {
    let pins = &subject.view.pins;
    let place = |path: String| inside(&pack.root, &path);
    Some(Places {
        flag: place(bundle.flag.render(pins)?),
        root: place(bundle.root.render(pins)?),
        index: match &bundle.index {
            Some(index) => Some(place(index.render(pins)?)),
            None => None,
        },
    })
}

/// What the receipt says of places, where it is not so.
fn contradictions(receipt: &GateReceipt, pack: &Pack, places: &Places) -> Vec<Fault> {
    let Some(stated) = &receipt.artifacts else { return Vec::new() };
    let index = stated.index_path.as_ref().filter(|_| places.index.is_some());
    [
        (stated.passed_flag_path.as_ref(), places.flag.as_str()),
        (stated.validation_bundle_root.as_ref(), places.root.as_str()),
        (index, places.index.as_deref().unwrap_or_default()),
    ]
    .into_iter()
    .filter_map(|(stated, found)| same_place(&pack.objects, stated, found).err())
    .collect()
}

/// Reads flag and index, and plans what the digest of the bundle is made of. Whatever goes wrong
/// here goes wrong again where the evidence is judged, and is reported there.
pub(super) async fn plan(
    subject: &Subject<'_>,
    pack: &Pack,
    bundle: &Bundle,
    plan: &mut Plan,
    measured: &mut Measured,
) {
    let Some(places) = places(subject, pack, bundle) else { return };
    drop(document(pack, &places.flag, MAX_FLAG_BYTES, measured).await);
    let Ok(inputs) = inputs(pack, bundle, &places, measured).await else { return };
    match bundle.law {
        Law::MemberDigests { .. } => inputs.iter().for_each(|input| plan.read(&input.path)),
        Law::Files | Law::IndexedBytes { .. } => plan.run(paths(&inputs)),
    }
}

async fn compare(
    receipt: &GateReceipt,
    pack: &Pack,
    bundle: &Bundle,
    places: &Places,
    measured: &mut Measured,
) -> Result<(), Fault> {
    let flag = document(pack, &places.flag, MAX_FLAG_BYTES, measured).await?;
    let vouched =
        flag::parse(&flag, &bundle.digest_field).map_err(|text| invalid(&places.flag, &text))?;
    let stated = receipt.digest.map(|digest| digest.hex);
    // A receipt only repeats what the flag says; the bundle itself decides.
    if let Some(stated) = stated.filter(|stated| *stated != vouched) {
        return Err(mismatch(format!("the receipt has digest {stated}, the flag {vouched}")));
    }
    let inputs = inputs(pack, bundle, places, measured).await?;
    let found = digest(bundle.law, &inputs, measured)?;
    if found == vouched {
        return Ok(());
    }
    Err(mismatch(format!("the flag has digest {vouched}, the bundle is {found}")))
}

fn invalid(path: &str, text: &str) -> Fault {
    Fault::Bad(Reason::GateEvidenceInvalid, format!("{path}: {text}"))
}

fn paths(inputs: &[Input]) -> Vec<String> {
    inputs.iter().map(|input| input.path.clone()).collect()
}

/// What the digest of the bundle is made of, in its order.
async fn inputs(
    pack: &Pack,
    bundle: &Bundle,
    places: &Places,
    measured: &mut Measured,
) -> Result<Vec<Input>, Fault> {
    let Some(path) = &places.index else { return files(pack, bundle, places) };
    let index = document(pack, path, MAX_INDEX_BYTES, measured).await?;
    let members = index::parse(&index, &bundle.digest_field);
    indexed(pack, bundle, places, members.map_err(|text| invalid(path, &text))?)
}

fn mismatch(text: String) -> Fault {
    Fault::Bad(Reason::GateEvidenceMismatch, text)
}

fn missing(path: &str) -> Fault {
    Fault::Bad(Reason::GateEvidenceMissing, format!("{path} is not there"))
}

/// A small file that has to be there and, in a sealed pack, sealed.
async fn document(
    pack: &Pack,
    path: &str,
    most: u64,
    measured: &mut Measured,
) -> Result<bytes::Bytes, Fault> {
    let bytes = measured.document(&pack.objects, path, most).await?;
    let bytes = bytes.ok_or_else(|| missing(path))?;
    sealed(pack, path).map(|()| bytes)
}

fn sealed(pack: &Pack, path: &str) -> Result<(), Fault> {
    if pack.may_hold(path) {
        return Ok(());
    }
    Err(mismatch(format!("{path} came after the pack was sealed")))
}

/// All files of the bundle, as the inventory names them: without one they could only be listed
/// (O8).
fn files(pack: &Pack, bundle: &Bundle, places: &Places) -> Result<Vec<Input>, Fault> {
    if pack.inventory().is_none() {
        let text = format!("{} has no inventory, and a folder is not listed", places.root);
        return Err(Fault::Bad(Reason::GateBundleUnlisted, text));
    }
    let in_pack = places.root.strip_prefix(&pack.root).unwrap_or(&places.root);
    let in_pack = in_pack.trim_start_matches('/');
    let mut inputs = Vec::new();
    for file in pack.below(in_pack) {
        let name = file.path[in_pack.len()..].trim_start_matches('/');
        if !excluded(bundle, name) {
            let path = inside(&pack.root, &file.path);
            inputs.push(Input { name: name.to_owned(), path, stated: Some(file.sha256) });
        }
    }
    if inputs.is_empty() {
        let text = format!("{} holds no file", places.root);
        return Err(Fault::Bad(Reason::GateEvidenceMissing, text));
    }
    // By bytes: the order is a part of the digest, and must be the same for every reader.
    inputs.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    Ok(inputs)
}

fn indexed(
    pack: &Pack,
    bundle: &Bundle,
    places: &Places,
    members: Vec<Member>,
) -> Result<Vec<Input>, Fault> {
    let law = bundle.law;
    let from_pack = match law {
        Law::IndexedBytes { from_pack, .. } | Law::MemberDigests { from_pack } => from_pack,
        Law::Files => return files(pack, bundle, places),
    };
    let base = if from_pack { &pack.root } else { &places.root };
    let mut inputs = Vec::new();
    for member in members {
        let name = contained(&member.path)?;
        // Digests that are only stated are all counted; the exclusion is about files that are
        // hashed.
        if !matches!(law, Law::MemberDigests { .. }) && excluded(bundle, name) {
            continue;
        }
        let path = inside(base, name);
        sealed(pack, &path)?;
        inputs.push(Input { name: name.to_owned(), path, stated: member.sha256 });
    }
    if inputs.is_empty() {
        let text = "its index names nothing but excluded files".to_owned();
        return Err(Fault::Bad(Reason::GateEvidenceInvalid, text));
    }
    if matches!(law, Law::IndexedBytes { sorted: true, .. }) {
        inputs.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    }
    Ok(inputs)
}

/// A path that an index names: below its base, on every store.
fn contained(path: &str) -> Result<&str, Fault> {
    let outside = |error: seal::path::PathError| Fault::Bad(path_reason(&error), error.to_string());
    if path.contains("://") {
        let text = format!("{path:?} in an index is a URL");
        return Err(Fault::Bad(Reason::LocatorOutsideRoot, text));
    }
    seal::path::check(path).map_err(outside).map(|()| path)
}

/// By the name of the file, or by its whole path in the bundle.
fn excluded(bundle: &Bundle, name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    bundle.exclude.iter().any(|exclude| exclude == file || exclude == name)
}

/// The digest of the bundle, of what was measured. Each input has to have the digest that is stated
/// of it.
fn digest(law: Law, inputs: &[Input], measured: &Measured) -> Result<Digest, Fault> {
    for input in inputs {
        let path = &input.path;
        let found = match measured.state(path) {
            Some(Known::There(fixity)) => fixity.sha256.ok_or(Fault::Noted)?,
            Some(Known::Absent) => return Err(missing(path)),
            Some(Known::Unknown) | None => return Err(Fault::Noted),
        };
        if let Some(stated) = input.stated.filter(|stated| *stated != found) {
            return Err(mismatch(format!("{path} is {found}, {stated} is stated")));
        }
    }
    if !matches!(law, Law::MemberDigests { .. }) {
        // All of them are there, so only a file that went away meanwhile can be missing in the run.
        return measured
            .run(&paths(inputs))
            .ok_or_else(|| Fault::Bad(Reason::ChangedDuringRead, inputs[0].path.clone()));
    }
    let mut whole = Hasher::new();
    for input in inputs {
        let Some(stated) = input.stated else {
            let text = format!("its index states no digest of {:?}", input.name);
            return Err(Fault::Bad(Reason::GateEvidenceInvalid, text));
        };
        whole.update(stated.to_string());
    }
    Ok(whole.finish())
}
