//! `lumio keys`.

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;
use serde_json::json;
use stellar::Keypair;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::Report;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and print its address
    #[command(after_help = "Example:\n  lumio keys generate alice")]
    Generate {
        /// What to call it
        name: String,
    },
    /// All keys with their addresses
    #[command(after_help = "Example:\n  lumio keys list --output json")]
    List,
    /// A key's address
    #[command(
        after_help = "Examples:\n  lumio keys show alice\n  lumio keys show runner --secret > runner.secret"
    )]
    Show {
        /// What it is called
        name: String,
        /// Print the secret seed instead: whoever sees it owns the account
        #[arg(long)]
        secret: bool,
    },
    /// Store a secret seed read from standard input
    #[command(after_help = "Example:\n  lumio keys import alice < alice.secret")]
    Import {
        /// What to call it
        name: String,
    },
}

pub(super) fn run(context: &Context, command: Keys) -> Result<Report> {
    match command {
        Keys::Generate { name } => {
            let key = Keypair::generate()?;
            context.keys.store(&name, &key)?;
            Ok(told(&name, &key))
        }
        Keys::Import { name } => {
            let key = read_secret()?;
            context.keys.store(&name, &key)?;
            Ok(told(&name, &key))
        }
        Keys::Show { name, secret: false } => Ok(told(&name, &context.keys.load(&name)?)),
        Keys::Show { name, secret: true } => {
            let secret = context.keys.load(&name)?.secret();
            Ok(Report::new(secret.as_str(), json!({ "name": name, "secret": secret.as_str() })))
        }
        Keys::List => {
            let keys = context.keys.list()?;
            let lines: Vec<_> =
                keys.iter().map(|(name, address)| format!("{name:<20} {address}")).collect();
            let json: Vec<_> = keys
                .iter()
                .map(|(name, address)| json!({ "name": name, "address": address }))
                .collect();
            let text = if lines.is_empty() {
                "no keys; make one with: lumio keys generate NAME".to_owned()
            } else {
                lines.join("\n")
            };
            Ok(Report::new(text, json!(json)))
        }
    }
}

fn told(name: &str, key: &Keypair) -> Report {
    let address = key.address();
    Report::new(address.to_string(), json!({ "name": name, "address": address }))
}

/// A secret comes by standard input only: arguments show in process listings (R9).
fn read_secret() -> Result<Keypair> {
    const LARGEST: u64 = 1_024;
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(Failure::usage(
            "give the secret seed on standard input, such as: lumio keys import NAME < FILE",
        ));
    }
    let mut text = Zeroizing::new(String::new());
    let read = input.lock().take(LARGEST).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    text.parse().map_err(|error: stellar::InvalidSecret| Failure::usage(error.to_string()))
}
