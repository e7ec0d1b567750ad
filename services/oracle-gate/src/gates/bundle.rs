//! The three methods of engines: a flag that carries the digest of a bundle of files.
//!
//! Where flag, bundle and index lie follows from the gate map and the run's pins alone; a receipt that
//! names them has to name the same places. What an index names stays inside the pack, and in a sealed
//! pack every piece of evidence has to be in the inventory: what came later proves nothing.

use seal::facts::GateReceipt;
use wire::digest::{Digest, Hasher};

use super::evidence::{Fault, same_place, unchanged};
use super::flag::{self, MAX_FLAG_BYTES};
use super::index::{self, MAX_INDEX_BYTES, Member};
use crate::catalogue::method::{Bundle, Law};
use crate::check::measured::Measured;
use crate::check::{Pack, Subject};
use crate::locator::inside;
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
    measured: &Measured,
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

async fn compare(
    receipt: &GateReceipt,
    pack: &Pack,
    bundle: &Bundle,
    places: &Places,
    measured: &Measured,
) -> Result<(), Fault> {
    let flag = document(pack, &places.flag, MAX_FLAG_BYTES, measured).await?;
    let invalid = |path: &str, text: String| {
        Fault::Bad(Reason::GateEvidenceInvalid, format!("{path}: {text}"))
    };
    let vouched =
        flag::parse(&flag, &bundle.digest_field).map_err(|text| invalid(&places.flag, text))?;
    let stated = receipt.digest.map(|digest| digest.hex);
    if let Some(stated) = stated.filter(|stated| *stated != vouched) {
        return Err(mismatch(format!("the receipt has digest {stated}, the flag {vouched}")));
    }
    let found = match (&places.index, bundle.law) {
        (Some(path), law) => {
            let index = document(pack, path, MAX_INDEX_BYTES, measured).await?;
            let members = index::parse(&index, &bundle.digest_field);
            let members = members.map_err(|text| invalid(path, text))?;
            indexed(pack, bundle, places, law, members, measured).await?
        }
        (None, _) => files(pack, bundle, places, measured).await?,
    };
    if found == vouched {
        return Ok(());
    }
    Err(mismatch(format!("the flag has digest {vouched}, the bundle is {found}")))
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
    measured: &Measured,
) -> Result<bytes::Bytes, Fault> {
    let bytes = pack.objects.read(path, most).await?.ok_or_else(|| missing(path))?;
    unchanged(measured, path, &bytes)?;
    sealed(pack, path).map(|()| bytes)
}

fn sealed(pack: &Pack, path: &str) -> Result<(), Fault> {
    if pack.may_hold(path) {
        return Ok(());
    }
    Err(mismatch(format!("{path} came after the pack was sealed")))
}

/// All files of the bundle, as the inventory names them: without one they could only be listed (O8).
async fn files(
    pack: &Pack,
    bundle: &Bundle,
    places: &Places,
    measured: &Measured,
) -> Result<Digest, Fault> {
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
    inputs.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    bytes_of(pack, &inputs, measured).await
}

async fn indexed(
    pack: &Pack,
    bundle: &Bundle,
    places: &Places,
    law: Law,
    members: Vec<Member>,
    measured: &Measured,
) -> Result<Digest, Fault> {
    let from_pack = match law {
        Law::IndexedBytes { from_pack, .. } | Law::MemberDigests { from_pack } => from_pack,
        Law::Files => false,
    };
    let base = if from_pack { &pack.root } else { &places.root };
    let mut inputs = Vec::new();
    for member in members {
        let name = contained(&member.path)?;
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
    match law {
        Law::MemberDigests { .. } => digests_of(pack, &inputs, measured).await,
        Law::IndexedBytes { sorted, .. } => {
            if sorted {
                inputs.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
            }
            bytes_of(pack, &inputs, measured).await
        }
        Law::Files => files(pack, bundle, places, measured).await,
    }
}

/// A path that an index names: below its base, on every store.
fn contained(path: &str) -> Result<&str, Fault> {
    let outside =
        |error: seal::path::PathError| Fault::Bad(Reason::LocatorOutsideRoot, error.to_string());
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

/// sha256 over the bytes of all inputs, one after the other.
async fn bytes_of(pack: &Pack, inputs: &[Input], measured: &Measured) -> Result<Digest, Fault> {
    let mut whole = Hasher::new();
    for input in inputs {
        hash(pack, input, measured, |bytes| whole.update(bytes)).await?;
    }
    Ok(whole.finish())
}

/// sha256 over the digests that the index states, as text, each compared with its member's bytes.
async fn digests_of(pack: &Pack, inputs: &[Input], measured: &Measured) -> Result<Digest, Fault> {
    let mut whole = Hasher::new();
    for input in inputs {
        let Some(stated) = input.stated else {
            let text = format!("its index states no digest of {:?}", input.name);
            return Err(Fault::Bad(Reason::GateEvidenceInvalid, text));
        };
        hash(pack, input, measured, |_| ()).await?;
        whole.update(stated.to_string());
    }
    Ok(whole.finish())
}

/// Reads one input. It has to have the digest that is stated of it, and the one measured before.
async fn hash(
    pack: &Pack,
    input: &Input,
    measured: &Measured,
    mut take: impl FnMut(&[u8]),
) -> Result<(), Fault> {
    let path = &input.path;
    let mut object = pack.objects.open_object(path).await?.ok_or_else(|| missing(path))?;
    let mut own = Hasher::new();
    while let Some(bytes) = object.next().await? {
        own.update(&bytes);
        take(&bytes);
    }
    let found = own.finish();
    if let Some(stated) = input.stated.filter(|stated| *stated != found) {
        return Err(mismatch(format!("{path} is {found}, {stated} is stated")));
    }
    let before = measured.known(path).and_then(|fixity| fixity.sha256);
    if before.is_some_and(|before| before != found) {
        return Err(Fault::Bad(Reason::ChangedDuringRead, path.clone()));
    }
    Ok(())
}
