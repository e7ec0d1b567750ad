//! The pack of an attempt: which files it has, and how they get there.

use bytes::Bytes;
use seal::manifest::{MAX_RELEASE_BYTES, MAX_SCENARIO_BYTES};
use seal::tree::File;
use seal::{
    EXECUTION_FILE, Limits, ManifestV1, OUTPUTS_DIR, SHIPPING_FILE, Sharding, Tree, WorldKey,
    pack_id,
};
use wire::Problem;
use wire::digest::Digest;
use wire::statement::Output;

use super::claims::Claims;
use super::record::Intent;
use crate::Gate;
use crate::crash;
use crate::error::Error;
use crate::modules::create_equal;

/// Most bytes of one output: it is created in one piece, since no store creates in parts once only.
const MAX_OUTPUT_BYTES: u64 = 256 << 20;
// Sealed by the rule of all packs: no file of a run is so large that it has shards.
const _: () = assert!(MAX_OUTPUT_BYTES <= Sharding::PACK.above);
/// Most bytes of all outputs of a run.
const MAX_OUTPUTS_BYTES: u64 = 1 << 30;

/// Where a pack lies.
pub fn root(pack_id: Digest) -> String {
    format!("packs/{pack_id}")
}

/// The manifest that follows from the statements, and from nothing else.
pub fn manifest(claims: &Claims, intent: &Intent) -> Result<ManifestV1, Error> {
    let execution = &claims.execution;
    let release = format!("lumio-guard/{}", execution.guard.version);
    let scenario = execution.workflow_id.len();
    if scenario == 0 || scenario > MAX_SCENARIO_BYTES || release.len() > MAX_RELEASE_BYTES {
        let text = "workflow_id and the guard's version have 1 to 256 bytes";
        return Err(Error::refused(Problem::StatementInvalid, text));
    }
    let inventory = Tree::new(files(claims, intent), &Limits::PACK)
        .map_err(|error| Error::refused(Problem::StatementInvalid, error.to_string()))?;
    let mut manifest = ManifestV1 {
        // A placeholder: the id follows from all the other fields.
        oracle_pack_id: execution.module_digest,
        world_key: WorldKey {
            manifest_fingerprint: execution.module_digest,
            parameter_hash: execution.input_digest,
            scenario_id: execution.workflow_id.clone(),
            seed: execution.seed,
        },
        run_id: intent.draft.run.into(),
        attempt: intent.draft.attempt,
        engine_release: release,
        catalogue_digest: intent.catalogue,
        gate_map_digest: intent.gate_map,
        inventory,
        created_at_utc: intent.created_at,
    };
    manifest.oracle_pack_id = pack_id::v1(&manifest);
    Ok(manifest)
}

fn files(claims: &Claims, intent: &Intent) -> Vec<File> {
    let file = |path: String, length: u64, sha256: Digest| File {
        path,
        executable: false,
        length,
        sha256,
    };
    let statements = statements(intent).into_iter();
    let statements = statements
        .map(|(name, bytes)| file(name.to_owned(), bytes.len() as u64, Digest::of(&bytes)));
    let outputs = claims.execution.outputs.iter();
    let outputs = outputs
        .map(|output| file(format!("{OUTPUTS_DIR}/{}", output.path), output.length, output.sha256));
    statements.chain(outputs).collect()
}

fn statements(intent: &Intent) -> Vec<(&'static str, Bytes)> {
    let mut statements = vec![(EXECUTION_FILE, intent.draft.statement.clone())];
    if !intent.draft.shipping.is_empty() {
        statements.push((SHIPPING_FILE, intent.draft.shipping.clone()));
    }
    statements
}

/// Puts every file of the pack in its place. What is there already is compared, not written.
pub async fn fill(
    gate: &Gate,
    claims: &Claims,
    intent: &Intent,
    manifest: &ManifestV1,
) -> Result<(), Error> {
    let outputs = &claims.execution.outputs;
    let total = outputs.iter().map(|output| output.length).fold(0, u64::saturating_add);
    if total > MAX_OUTPUTS_BYTES || outputs.iter().any(|output| output.length > MAX_OUTPUT_BYTES) {
        let text = "outputs have at most 256 MiB each and 1 GiB together";
        return Err(Error::refused(Problem::PayloadTooLarge, text));
    }
    let root = root(manifest.oracle_pack_id);
    for output in outputs {
        copy(gate, intent, &root, output).await?;
        crash::point("pack.during_fill");
    }
    for (name, bytes) in statements(intent) {
        create_equal(&gate.objects, &format!("{root}/{name}"), bytes).await?;
    }
    Ok(())
}

/// Verifies every byte on the way: what reaches the pack is what the statement names (O13).
async fn copy(gate: &Gate, intent: &Intent, root: &str, output: &Output) -> Result<(), Error> {
    let target = format!("{root}/{OUTPUTS_DIR}/{}", output.path);
    if gate.objects.hash(&target).await? == Some((output.length, output.sha256)) {
        return Ok(());
    }
    let (run, attempt) = (intent.draft.run.simple(), intent.draft.attempt);
    let staged = format!("staging/{run}/{attempt}/{OUTPUTS_DIR}/{}", output.path);
    let refused = |text: String| Error::refused(Problem::DigestMismatch, text);
    let bytes = gate
        .exchange
        .read(&staged, output.length)
        .await
        .map_err(|error| match error {
            crate::objects::StoreError::TooLarge { .. } => {
                refused(format!("staged output {} is longer than stated", output.path))
            }
            error => error.into(),
        })?
        .ok_or_else(|| refused(format!("staged output {} is not there", output.path)))?;
    if bytes.len() as u64 != output.length || Digest::of(&bytes) != output.sha256 {
        return Err(refused(format!("staged output {} is not what was stated", output.path)));
    }
    create_equal(&gate.objects, &target, bytes).await.map(drop)
}
