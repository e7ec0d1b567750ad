//! Shakes a contract's interface: leaves in the Wasm's `contractspecv0` section (SEP-48) only what
//! the contract's functions and events really use, each entry once.
//!
//! The SDK writes an entry for every type and event it sees, private ones too, and marks in the
//! data section those that are reached; it expects its build tool to drop the others. Everything
//! else in the module stays byte for byte.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use soroban_spec::{read, shaking};
use stellar_xdr::{Limited, Limits, WriteXdr};
use wasm_encoder::{CustomSection, Module, RawSection};
use wasmparser::{Parser, Payload};

const SPEC: &str = "contractspecv0";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: shake <built.wasm> <shaken.wasm>");
        return ExitCode::from(3);
    };
    match run(from, to) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shake: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(from: &str, to: &str) -> Result<()> {
    let built = fs::read(from).with_context(|| format!("reading {from}"))?;
    let spec = shaken_spec(&built)?;
    let shaken = with_spec(&built, &spec)?;
    fs::write(to, &shaken).with_context(|| format!("writing {to}"))?;
    println!("{to}: {} bytes, {} before", shaken.len(), built.len());
    Ok(())
}

/// The entries that are marked as used, functions always, each once and in their order.
fn shaken_spec(built: &[u8]) -> Result<Vec<u8>> {
    let entries = read::from_wasm(built).context("reading the interface")?;
    let markers = shaking::find_all(built);
    if markers.is_empty() {
        bail!("no interface entry is marked as used; was this built with soroban-sdk 28?");
    }
    let mut seen = HashSet::new();
    let mut spec = Limited::new(Vec::new(), Limits::none());
    for entry in shaking::filter(entries, &markers) {
        if seen.insert(entry.to_xdr(Limits::none()).context("encoding an interface entry")?) {
            entry.write_xdr(&mut spec).context("encoding the interface")?;
        }
    }
    Ok(spec.inner)
}

/// The module with `spec` where its first interface section stood.
fn with_spec(built: &[u8], spec: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::new();
    let mut placed = false;
    for payload in Parser::new(0).parse_all(built) {
        let payload = payload.context("reading the module")?;
        if let Payload::CustomSection(section) = &payload
            && section.name() == SPEC
        {
            if !placed {
                module.section(&CustomSection { name: SPEC.into(), data: spec.into() });
                placed = true;
            }
        } else if let Some((id, range)) = payload.as_section() {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            let data = built.get(range).context("a section reaches beyond the module")?;
            module.section(&RawSection { id, data });
        }
    }
    if !placed {
        bail!("the module has no {SPEC} section");
    }
    Ok(module.finish())
}
