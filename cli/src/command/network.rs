//! `lumio network`: networks by name, as other tools have contexts.

use clap::Subcommand;
use serde_json::json;

use crate::config::{LOCAL, Networks, Profile};
use crate::context::Context;
use crate::error::{CliError, Result};
use crate::output::{Report, table};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Network {
    /// Keep a network under a name; what is not given keeps its value
    #[command(after_help = "Examples:\n  lumio network add testnet --rpc-url \
            https://soroban-testnet.stellar.org \\\n      \
                      --network-passphrase 'Test SDF Network ; September 2015' --vault-id C… \
                          --registry-id C…\n  \
                      lumio network add testnet --gateway-url https://runner.example")]
    Add {
        /// What to call it
        name: String,
    },
    /// Use a network where no command says otherwise
    #[command(after_help = "Example:\n  lumio network use testnet")]
    Use {
        /// What it is called
        name: String,
    },
    /// All networks, the one in use marked
    #[command(after_help = "Example:\n  lumio network list --output json")]
    List,
    /// Forget a network; nothing on the network changes
    #[command(after_help = "Example:\n  lumio network remove testnet")]
    Remove {
        /// What it is called
        name: String,
    },
}

pub(super) fn run(context: &Context, command: Network) -> Result<Report> {
    // Held over reading and writing, or one of two commands at once would lose its change.
    let _lock = context.folder.lock(Networks::FILE)?;
    let mut networks = Networks::read(&context.folder)?;
    match command {
        Network::Add { name } => {
            check_name(&name)?;
            add(context, &mut networks, &name)?;
        }
        Network::Use { name } => {
            networks.pick(Some(&name))?;
            networks.current = Some(name);
        }
        Network::Remove { name } => {
            if networks.networks.remove(&name).is_none() {
                return Err(unknown(&name));
            }
            if networks.current.as_deref() == Some(name.as_str()) {
                networks.current = None;
            }
        }
        Network::List => return Ok(list(&networks)),
    }
    context.folder.write(Networks::FILE, &networks)?;
    Ok(list(&networks))
}

/// Takes what the options of every command say here, and checks it before it is kept.
fn add(context: &Context, networks: &mut Networks, name: &str) -> Result<()> {
    let given = context.settings();
    let profile = networks.networks.entry(name.to_owned()).or_default();
    let named = |option: &Option<String>, flag: &str| {
        // From the command line only: what the environment says is about this shell, not this
        // network.
        let given = std::env::args().any(|arg| arg == flag || arg.starts_with(&format!("{flag}=")));
        option.clone().filter(|_| given)
    };
    let members = [
        (&mut profile.rpc_url, named(&given.rpc_url, "--rpc-url")),
        (&mut profile.network_passphrase, named(&given.network_passphrase, "--network-passphrase")),
        (&mut profile.vault_id, named(&given.vault_id, "--vault-id")),
        (&mut profile.registry_id, named(&given.registry_id, "--registry-id")),
        (&mut profile.gateway_url, named(&given.gateway_url, "--gateway-url")),
    ];
    for (member, value) in members {
        if value.is_some() {
            *member = value;
        }
    }
    check(profile)
}

fn check(profile: &Profile) -> Result<()> {
    for (flag, id) in [("--vault-id", &profile.vault_id), ("--registry-id", &profile.registry_id)] {
        let is_contract = |text: &str| matches!(text.parse(), Ok(stellar::Address::Contract(_)));
        if let Some(id) = id.as_deref().filter(|id| !is_contract(id)) {
            return Err(CliError::usage(format!("{flag}: '{id}' is no contract id; expected C…")));
        }
    }
    for (flag, url) in [("--rpc-url", &profile.rpc_url), ("--gateway-url", &profile.gateway_url)] {
        if let Some(url) = url {
            crate::context::require_http(flag, url)?;
        }
    }
    Ok(())
}

fn list(networks: &Networks) -> Report {
    let current = networks.current.as_deref().unwrap_or(LOCAL);
    let mut all: Vec<(&str, Profile)> =
        networks.networks.iter().map(|(name, profile)| (name.as_str(), profile.clone())).collect();
    if !networks.networks.contains_key(LOCAL) {
        all.insert(0, (LOCAL, Profile::default()));
    }
    let rows: Vec<_> = all
        .iter()
        .map(|(name, profile)| {
            let shown = |member: &Option<String>| {
                member
                    .as_deref()
                    .map_or_else(|| "-".to_owned(), crate::context::without_credentials)
            };
            [
                if *name == current { "*" } else { "" }.to_owned(),
                (*name).to_owned(),
                shown(&profile.rpc_url),
                shown(&profile.gateway_url),
                profile.network_passphrase.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let json: Vec<_> = all
        .iter()
        .map(|(name, profile)| {
            json!({ "name": name, "current": *name == current, "settings": profile })
        })
        .collect();
    Report::new(table(["", "NAME", "RPC", "GATEWAY", "PASSPHRASE"], &rows), json!(json))
}

fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    match name.len() {
        1..=40 if name.bytes().all(plain) && !name.starts_with(['-', '_']) => Ok(()),
        _ => Err(CliError::usage(format!(
            "'{name}' cannot be a network's name: expected 1 to 40 of a-z 0-9 - _, not first a - \
                or _"
        ))),
    }
}

fn unknown(name: &str) -> CliError {
    CliError::usage(format!("there is no network named '{name}'; see: lumio network list"))
}
