//! `lumio keys`.

use std::io::{IsTerminal as _, Read as _};

use clap::Subcommand;
use serde_json::json;
use stellar::{Address, Keypair};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::keys::encrypted;
use crate::output::{Report, table};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and print its address
    #[command(
        after_help = "Examples:\n  lumio keys generate alice\n  lumio keys generate alice --encrypt"
    )]
    Generate {
        /// What to call it
        name: String,
        /// Keep it under a passphrase, which is asked for, or read from the file that
        /// LUMIO_KEY_PASSPHRASE_FILE names
        #[arg(long)]
        encrypt: bool,
    },
    /// All keys with their addresses
    #[command(after_help = "Example:\n  lumio keys list --output json")]
    List,
    /// A key's address
    #[command(
        after_help = "Examples:\n  lumio keys show alice\n  lumio keys show runner --secret > \
            runner.secret"
    )]
    Show {
        /// What it is called
        name: String,
        /// Print the secret seed instead: anyone who sees it owns the account
        #[arg(long)]
        secret: bool,
    },
    /// Store a secret seed read from standard input
    #[command(after_help = "Example:\n  lumio keys import alice < alice.secret")]
    Import {
        /// What to call it
        name: String,
        /// Keep it under the passphrase in the file that LUMIO_KEY_PASSPHRASE_FILE names
        #[arg(long)]
        encrypt: bool,
    },
    /// Keep a key under a passphrase from now on
    #[command(after_help = "Example:\n  lumio keys encrypt alice\n\nThe file is PKCS#8 (scrypt, \
            AES-256), which `openssl pkey` reads too.\n\
                      Commands then ask for the passphrase, or read it from the file that \
                          LUMIO_KEY_PASSPHRASE_FILE names.")]
    Encrypt {
        /// What it is called
        name: String,
    },
    /// Put an encrypted key under another passphrase
    #[command(after_help = "Example:\n  lumio keys passphrase alice\n\nAsks for the old one and \
            twice for the new one. For programs: LUMIO_KEY_PASSPHRASE_FILE names\na file with the \
                old one, LUMIO_KEY_NEW_PASSPHRASE_FILE one with the new one.")]
    Passphrase {
        /// What it is called
        name: String,
    },
}

pub(super) fn run(context: &Context, command: Keys) -> Result<Report> {
    match command {
        Keys::Generate { name, encrypt } => {
            let key = Keypair::generate()?;
            store(context, &name, &key, encrypt)
        }
        Keys::Import { name, encrypt } => {
            let key = read_secret()?;
            store(context, &name, &key, encrypt)
        }
        Keys::Encrypt { name } => {
            let passphrase = encrypted::new_passphrase(&name)?;
            Ok(report(&name, context.keys.encrypt(&name, &passphrase)?))
        }
        Keys::Passphrase { name } => {
            let new = || encrypted::changed_passphrase(&name);
            Ok(report(&name, context.keys.change_passphrase(&name, new)?))
        }
        Keys::Show { name, secret: false } => Ok(report(&name, context.keys.address(&name)?)),
        Keys::Show { name, secret: true } => {
            let secret = context.keys.load(&name)?.secret();
            Ok(Report::new(secret.as_str(), json!({ "name": name, "secret": secret.as_str() })))
        }
        Keys::List => {
            let keys = context.keys.list(|notice| context.steps.say(notice))?;
            let rows: Vec<_> = keys
                .iter()
                .map(|key| [key.name.clone(), key.address.to_string(), key.kept.name().to_owned()])
                .collect();
            let json: Vec<_> = keys
                .iter()
                .map(|key| {
                    json!({ "name": key.name, "address": key.address, "kept": key.kept.name() })
                })
                .collect();
            let text = match rows.is_empty() {
                true => "no keys; make one with: lumio keys generate NAME".to_owned(),
                false => table(["NAME", "ADDRESS", "KEPT"], &rows),
            };
            Ok(Report::new(text, json!(json)))
        }
    }
}

fn store(context: &Context, name: &str, key: &Keypair, encrypt: bool) -> Result<Report> {
    let passphrase = encrypt.then(|| encrypted::new_passphrase(name)).transpose()?;
    context.keys.store(name, key, passphrase.as_deref().map(String::as_str))?;
    Ok(report(name, key.address()))
}

fn report(name: &str, address: Address) -> Report {
    Report::new(address.to_string(), json!({ "name": name, "address": address }))
}

/// A secret comes by standard input only: arguments show in process listings (R9).
fn read_secret() -> Result<Keypair> {
    const LARGEST: u64 = 1_024;
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(CliError::usage(
            "give the secret seed on standard input, such as: lumio keys import NAME < FILE",
        ));
    }
    let mut text = Zeroizing::new(String::new());
    let read = input.lock().take(LARGEST).read_to_string(&mut text);
    read.map_err(|error| CliError::usage(format!("cannot read standard input: {error}")))?;
    text.parse().map_err(|error: stellar::InvalidSecret| CliError::usage(error.to_string()))
}
