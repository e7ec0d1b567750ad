//! The links that hold by bytes: seal, manifest, files, module.

use seal::records::Record;
use seal::verify::{self, Broken, Report};
use seal::{EXECUTION_FILE, Manifest, ManifestV1, OUTPUTS_DIR, SealStatus};
use wire::Digest;
use wire::statement::Verdict;

use super::stated::Stated;
use super::{Case, End, Link, Name, absent, differs, unsettled};
use crate::error::{CliError, Result};
use crate::verify::link::{Tombstone, TombstoneSource};

/// The links, and the tombstone that a record in the pack holds.
pub(super) fn links(
    case: &Case<'_>,
    stated: Option<&Stated>,
) -> Result<(Vec<Link>, Option<Tombstone>)> {
    let root = case.bundle.pack();
    if !root.is_dir() {
        let why = absent(case);
        let link = |name| match &why {
            Some(why) => Link::unknown(name, why.clone()),
            None => Link::broken(name, "the bundle has no pack"),
        };
        let links = [Name::Seal, Name::Manifest, Name::Files].into_iter().map(link);
        return Ok((links.chain([module(case)?]).collect(), None));
    }
    let report =
        verify::pack(&root).map_err(|error| CliError::unknown("the pack cannot be read", error))?;
    let says = report.tombstone.as_ref().and_then(Record::tombstone_text);
    let tombstone = says.map(|says| Tombstone { source: TombstoneSource::Record, says });
    let links = vec![
        seal(case, &report),
        manifest(case, &report, stated),
        files(&report, stated),
        module(case)?,
    ];
    Ok((links, tombstone))
}

/// The output hash on chain is the digest of the seal's exact bytes.
fn seal(case: &Case<'_>, report: &Report) -> Link {
    let output_hash = match case.end {
        End::Settled { output_hash, .. } => output_hash,
        // Nothing was charged, so there is nothing that the files have to answer for.
        End::Returned => {
            return Link::skipped(
                Name::Seal,
                "the escrow went back without a settlement, so the chain holds no output hash",
            );
        }
        End::Open => {
            let why = unsettled(case);
            return Link::unknown(
                Name::Seal,
                format!("{why}, so that the chain holds no output hash"),
            );
        }
    };
    match report.seal_digest {
        Some(digest) if digest == output_hash => {
            Link::ok(Name::Seal, format!("output hash {output_hash} on chain"))
        }
        Some(digest) => Link::broken(
            Name::Seal,
            format!("the chain holds output hash {output_hash}, the seal's digest is {digest}"),
        ),
        None => Link::broken(Name::Seal, "the pack has no seal"),
    }
}

/// The seal names the manifest, the manifest its pack id, and both this run.
fn manifest(case: &Case<'_>, report: &Report, stated: Option<&Stated>) -> Link {
    let mut wrong: Vec<_> = of(report, |link| link != verify::Link::Files).collect();
    if let Some(manifest) = &report.manifest {
        match manifest.common() {
            Some(manifest) => wrong.extend(about(case, manifest, stated)),
            None => wrong.push("it is of the first version, which holds no inventory".to_owned()),
        }
    }
    wrong.extend(status(report, stated));
    let id =
        report.manifest.as_ref().map(|manifest| manifest.pack_id().to_string()).unwrap_or_default();
    Link::unless(Name::Manifest, format!("pack {id}, named by the seal"), wrong)
}

fn about(case: &Case<'_>, manifest: &ManifestV1, stated: Option<&Stated>) -> Vec<String> {
    let claim = &case.bundle.claim;
    let mut wrong = vec![
        (manifest.run_id != case.bundle.run_key()).then(|| "it is of another run".to_owned()),
        differs("attempt", claim.attempt(), manifest.attempt),
        case.terms.as_ref().and_then(|terms| {
            differs("module", terms.manifest_hash, manifest.world_key.manifest_fingerprint)
        }),
    ];
    if let Some(stated) = stated {
        let execution = &stated.execution;
        let world = &manifest.world_key;
        wrong.push(differs("input", execution.input_digest, world.parameter_hash));
        wrong.push(differs("seed", execution.seed, world.seed));
        wrong.push(differs("workflow", execution.workflow_id.as_str(), world.scenario_id.as_str()));
    }
    wrong.into_iter().flatten().collect()
}

/// A pack is sealed as good exactly when its statement says PASS.
fn status(report: &Report, stated: Option<&Stated>) -> Option<String> {
    let (seal, stated) = (report.seal.as_ref()?, stated?);
    let passed = stated.execution.verdict == Verdict::Pass;
    (passed != (seal.status() == SealStatus::Ok)).then(|| {
        format!("the seal is {}, which the statement does not say", seal.status().as_str())
    })
}

/// Every file is as sealed, and the outputs are those of the statement.
fn files(report: &Report, stated: Option<&Stated>) -> Link {
    let mut wrong: Vec<_> = of(report, |link| link == verify::Link::Files).collect();
    let inventory = report.manifest.as_ref().and_then(Manifest::inventory);
    let Some(inventory) = inventory else {
        return Link::broken(Name::Files, "without a manifest nothing says what was sealed");
    };
    if inventory.file(EXECUTION_FILE).is_none() {
        wrong.push(format!("{EXECUTION_FILE} is not among the sealed files"));
    }
    if let Some(stated) = stated {
        wrong.extend(outputs(inventory, stated));
    }
    Link::unless(
        Name::Files,
        format!(
            "{} files, {} bytes, none changed, missing or added",
            inventory.files().len(),
            inventory.bytes()
        ),
        wrong,
    )
}

fn outputs(inventory: &seal::Tree, stated: &Stated) -> Vec<String> {
    let prefix = format!("{OUTPUTS_DIR}/");
    let mut wrong = Vec::new();
    for output in &stated.execution.outputs {
        let sealed = inventory.file(&format!("{prefix}{}", output.path));
        if !sealed.is_some_and(|file| file.sha256 == output.sha256 && file.length == output.length)
        {
            wrong.push(format!("output {} is not sealed as it was stated", output.path));
        }
    }

    // Every stated output has been looked for above, so that any others are in no statement.
    let sealed = inventory.files().iter().filter(|file| file.path.starts_with(&prefix)).count();
    if sealed > stated.execution.outputs.len() {
        wrong.push("outputs are sealed that the statement does not name".to_owned());
    }
    wrong
}

/// The module's files have the digest that the rate card pins.
fn module(case: &Case<'_>) -> Result<Link> {
    let Some(terms) = &case.terms else {
        return Ok(Link::unknown(Name::Module, "no terms are known"));
    };
    let expected: Digest = terms.manifest_hash;
    let root = case.bundle.module();
    if !root.join("tree").is_dir() {
        return Ok(match absent(case) {
            Some(why) => Link::unknown(Name::Module, why),
            None => Link::broken(Name::Module, "the bundle has no module"),
        });
    }
    let broken = verify::module(&root, expected)
        .map_err(|error| CliError::unknown("the module cannot be read", error))?;
    Ok(Link::unless(
        Name::Module,
        format!("tree {expected}, as the rate card pins"),
        broken.iter().map(Broken::to_string),
    ))
}

fn of(report: &Report, wanted: impl Fn(verify::Link) -> bool) -> impl Iterator<Item = String> {
    report.broken.iter().filter(move |broken| wanted(broken.link())).map(Broken::to_string)
}
