//! The administrator's calls.

use std::io::Read as _;
use std::path::Path;

use stellar::{Call, Invocation, state};
use wire::Digest;

use super::{administered, show};
use crate::context::Context;
use crate::contracts::{Contract, DEPLOY_FEE};
use crate::error::{CliError, Result};
use crate::files;
use crate::output::Report;

/// Most bytes of a contract's code that a network takes.
const LARGEST_CODE: u64 = 128 * 1024;

/// Whose key signs.
#[derive(Debug, clap::Args)]
pub struct Signer {
    /// Whose key signs
    #[arg(long = "as", value_name = "NAME")]
    pub(super) signer: String,
}

/// Sends the call and shows the state of the administration afterwards.
pub(super) async fn submit(
    context: &Context,
    contract: Contract,
    signer: &Signer,
    call: Invocation,
) -> Result<Report> {
    // An administrator's call also pays for months of the contract's life.
    context.submit_within(&context.keys.load(&signer.signer)?, call, DEPLOY_FEE).await?;
    show(context, contract).await
}

pub(super) async fn set_paused(context: &Context, signer: &Signer, paused: bool) -> Result<Report> {
    let vault = context.vault()?;
    let call = if paused { vault.pause_opens() } else { vault.resume_opens() };
    submit(context, Contract::Vault, signer, call).await
}

pub(super) async fn schedule(
    context: &Context,
    contract: Contract,
    wasm: &Path,
    signer: &Signer,
) -> Result<Report> {
    let code = read_code(wasm)?;
    let hash = Digest::of(&code);

    // Uploaded first: users who are affected have to be able to read what is announced (V20).
    if !state::has_code(&context.rpc, &hash).await? {
        context.steps.say(format!("uploading the code {hash} ({} bytes)", code.len()));
        let key = context.keys.load(&signer.signer)?;
        context.submit_within(&key, Call::Upload(code), DEPLOY_FEE).await?;
    }
    let call = administered(context, contract)?.schedule_upgrade(&hash)?;
    submit(context, contract, signer, call).await
}

pub(super) async fn upgrade(
    context: &Context,
    contract: Contract,
    wasm: &Path,
    signer: &Signer,
) -> Result<Report> {
    let hash = Digest::of(&read_code(wasm)?);
    let administered = administered(context, contract)?;
    let key = context.keys.load(&signer.signer)?;
    context.submit_within(&key, administered.upgrade(&hash)?, DEPLOY_FEE).await?;
    context.steps.say(format!("the new code {hash} is in place"));

    // Where the new code keeps its data in the same form, this does nothing.
    context.submit_within(&key, administered.migrate(), DEPLOY_FEE).await?;
    show(context, contract).await
}

/// A contract's code from a file.
pub(super) fn read_code(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: String| CliError::usage(format!("{}: {error}", path.display()));
    let file = files::open(path).map_err(|error| failed(error.to_string()))?;
    let mut code = Vec::new();

    // One byte above the limit shows that the file is too large.
    let read = file.take(LARGEST_CODE + 1).read_to_end(&mut code);
    read.map_err(|error| failed(error.to_string()))?;
    if code.len() as u64 > LARGEST_CODE {
        return Err(failed(format!("a contract has at most {LARGEST_CODE} bytes")));
    }
    if !code.starts_with(b"\0asm") {
        return Err(failed("this is no Wasm".to_owned()));
    }
    Ok(code)
}
