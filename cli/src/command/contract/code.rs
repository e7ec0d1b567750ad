//! Whether a deployed contract is what its source builds.

use std::path::{Path, PathBuf};

use serde_json::json;
use stellar::{Address, state};
use stellar_xdr::{ContractExecutable, Limited, ScMetaEntry};
use wire::Digest;

use super::{admin, id};
use crate::context::Context;
use crate::contracts::Contract;
use crate::error::{CliError, Result};
use crate::escape::escape;
use crate::output::Report;

/// The Wasm section of a contract's metadata (SEP-46).
const METADATA: &str = "contractmetav0";

/// Check that a deployed contract runs the code of this release, or that of a file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lumio contract verify\n  lumio contract verify vault --source .\n  \
                  lumio contract verify vault --id C… --wasm target/wasm/prepaid_vault.wasm\n\n\
                  Exit codes: 0 the code is the same, 1 it is another one, 2 the network could \
                      not tell, 3 wrong usage"
)]
pub struct Verify {
    /// Which contract [default: both]
    contract: Option<Contract>,
    /// The contract's id [default: the configured one]
    #[arg(long, value_name = "C…", requires = "contract", value_parser = contract_id)]
    id: Option<Address>,
    /// Compare with this file instead of the code that is built in
    #[arg(long, value_name = "FILE", requires = "contract")]
    wasm: Option<PathBuf>,
    /// First build the contracts from this checkout and compare them with the code that is built in
    #[arg(long, value_name = "DIR", conflicts_with = "wasm")]
    source: Option<PathBuf>,
}

/// What was found of one contract.
struct Found {
    contract: Contract,
    id: Address,
    deployed: Option<Digest>,
    expected: Digest,
    metadata: Vec<(String, String)>,
}

pub(super) async fn verify(context: &Context, command: &Verify) -> Result<Report> {
    if let Some(checkout) = &command.source {
        rebuild(context, checkout).await?;
    }
    let asked = command.contract.as_ref().map_or(&Contract::ALL[..], std::slice::from_ref);
    let mut found = Vec::new();
    for contract in asked {
        found.push(look(context, command, *contract).await?);
    }
    let is_same = found.iter().all(|one| one.deployed == Some(one.expected));
    let text: Vec<_> = found.iter().map(Found::text).collect();
    let json: Vec<_> = found.iter().map(Found::json).collect();
    let report = Report::new(
        text.join("\n"),
        json!({
            "verified": is_same,
            "contracts": json,
            "builtFromSource": command.source.is_some(),
        }),
    );
    Ok(Report { exit_code: u8::from(!is_same), ..report })
}

async fn look(context: &Context, command: &Verify, contract: Contract) -> Result<Found> {
    let id = match command.id {
        Some(id) => id,
        None => id(context, contract)?,
    };
    let expected = match &command.wasm {
        Some(path) => Digest::of(&admin::read_code(path)?),
        None => Digest::of(contract.wasm()),
    };
    let instance = state::instance(&context.rpc, &id).await?.ok_or_else(|| {
        CliError::Unknown(format!(
            "no contract {id} is on this network, or it is archived; check the id, or restore it \
                and try again"
        ))
    })?;
    let deployed = match instance.executable {
        ContractExecutable::Wasm(hash) => Some(Digest::from(hash.0)),
        _ => None,
    };
    let metadata = match deployed {
        Some(hash) => metadata(context, &hash).await?,
        None => Vec::new(),
    };
    Ok(Found { contract, id, deployed, expected, metadata })
}

/// Runs `contracts/build --check` of a checkout, whose answers have our exit codes.
async fn rebuild(context: &Context, checkout: &Path) -> Result<()> {
    let script = checkout.join("contracts/build");
    context.steps.say(format!("building the contracts in {}", checkout.display()));
    let built = tokio::process::Command::new(&script).arg("--check").output().await;
    let built = built.map_err(|error| CliError::usage(format!("{}: {error}", script.display())))?;
    let said = String::from_utf8_lossy(&built.stderr);
    let last = said.lines().last().unwrap_or_default().to_owned();
    match built.status.code() {
        Some(0) => {}
        Some(1) => return Err(CliError::Bad(last)),
        Some(3) => return Err(CliError::Usage(last)),
        _ => return Err(CliError::Unknown(last)),
    }

    // The checkout's Wasm is what its source builds; it must also be what is built in here.
    for contract in Contract::ALL {
        let path = checkout.join("contracts/wasm").join(contract.file_name());
        if Digest::of(&admin::read_code(&path)?) != Digest::of(contract.wasm()) {
            return Err(CliError::bad(format!(
                "the {} of {} is another one than this release's",
                contract.name(),
                checkout.display()
            )));
        }
    }
    Ok(())
}

/// What the code says about itself, such as compiler and SDK. An address for reading, no proof.
async fn metadata(context: &Context, hash: &Digest) -> Result<Vec<(String, String)>> {
    let Some(code) = state::code(&context.rpc, hash).await? else { return Ok(Vec::new()) };
    let mut stated = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(&code) {
        // What follows a part that cannot be read is left out: nothing rests on it.
        let Ok(payload) = payload else { break };
        let wasmparser::Payload::CustomSection(section) = payload else { continue };
        if section.name() == METADATA {
            let mut rest = Limited::new(section.data(), stellar::scval::limits());
            let entries = <ScMetaEntry as stellar_xdr::ReadXdr>::read_xdr_iter(&mut rest);
            stated.extend(entries.map_while(|entry| {
                let ScMetaEntry::ScMetaV0(entry) = entry.ok()?;
                Some((entry.key.to_utf8_string_lossy(), entry.val.to_utf8_string_lossy()))
            }));
        }
    }
    Ok(stated)
}

fn contract_id(text: &str) -> std::result::Result<Address, String> {
    match text.parse() {
        Ok(address @ Address::Contract(_)) => Ok(address),
        _ => Err(format!("'{text}' is no contract id (C…)")),
    }
}

impl Found {
    fn text(&self) -> String {
        let verdict = match self.deployed {
            Some(deployed) if deployed == self.expected => "is the expected code",
            Some(_) => "IS OTHER CODE",
            None => "IS NO WASM CONTRACT",
        };
        let mut text = format!("{} {} {verdict}", self.contract.name(), self.id);
        if let Some(deployed) = self.deployed {
            text.push_str(&format!("\n  deployed {deployed}"));
        }
        text.push_str(&format!("\n  expected {}", self.expected));
        for (key, value) in &self.metadata {
            text.push_str(&format!("\n  says     {} = {}", escape(key), escape(value)));
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let metadata: serde_json::Map<_, _> =
            self.metadata.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        json!({
            "contract": self.contract.name(),
            "id": self.id,
            "deployed": self.deployed,
            "expected": self.expected,
            "same": self.deployed == Some(self.expected),
            "metadata": metadata,
        })
    }
}
