//! Identities of stellar-cli, read where its files hold them.

use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac as _};
use sha2::Sha512;
use stellar::{Address, Keypair};
use zeroize::Zeroizing;

use crate::error::{CliError, Result};

/// The path of an account's key below its seed (SEP-5): m/44'/148'/0'.
const PATH: [u32; 3] = [44, 148, 0];

/// Where stellar-cli keeps its files: its present folder, and that of its first releases.
pub(super) fn folders() -> Vec<PathBuf> {
    let xdg = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = xdg
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    let folders = base
        .into_iter()
        .flat_map(|base| ["stellar", "soroban"].map(|tool| base.join(tool).join("identity")));
    folders.collect()
}

/// The key of an identity; `None` if there is none of that name.
pub(super) fn load(folder: &Path, name: &str) -> Option<Result<Keypair>> {
    let path = folder.join(format!("{name}.toml"));
    path.is_file().then(|| open(&path, name))
}

/// All identities whose address is known, with their names.
pub(super) fn list(folder: &Path) -> Vec<(String, Address)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|entry| {
        let file = entry.ok()?.file_name().into_string().ok()?;
        file.strip_suffix(".toml").map(str::to_owned)
    });
    let mut listed: Vec<_> = names
        .filter(|name| super::is_name(name))
        .filter_map(|name| {
            let path = folder.join(format!("{name}.toml"));
            let public = table(&path).ok().and_then(|table| {
                table.get("public_key").and_then(toml::Value::as_str)?.parse().ok()
            });
            let address = public.or_else(|| open(&path, &name).ok().map(|key| key.address()))?;
            Some((name, address))
        })
        .collect();
    listed.sort();
    listed
}

fn open(path: &Path, name: &str) -> Result<Keypair> {
    let table = table(path)?;
    let member = |key: &str| table.get(key).and_then(toml::Value::as_str);
    let failed = |why: &str| {
        CliError::usage(format!("the stellar-cli identity '{name}' ({}): {why}", path.display()))
    };
    if let Some(secret) = member("secret_key") {
        return secret.parse().map_err(|_| failed("its secret_key is no key"));
    }
    match member("seed_phrase") {
        Some(phrase) if phrase.starts_with("secure_store:") => {
            Err(failed("it is in the system's keyring; store its key here with: lumio keys import"))
        }
        Some(phrase) => from_phrase(phrase).map_err(failed),
        None => Err(failed("it holds no secret, so it cannot sign")),
    }
}

fn table(path: &Path) -> Result<toml::Table> {
    let text = super::read(path, || CliError::usage(format!("{} is gone", path.display())))?;
    text.parse().map_err(|_| CliError::usage(format!("{} is no TOML", path.display())))
}

/// The first account of a seed phrase, by SEP-5 (BIP-39, SLIP-10).
fn from_phrase(phrase: &str) -> std::result::Result<Keypair, &'static str> {
    let phrase =
        bip39::Mnemonic::parse(phrase).map_err(|_| "its seed_phrase is not valid BIP-39")?;

    // With no passphrase of its own, as stellar-cli makes it.
    let seed = Zeroizing::new(phrase.to_seed(""));
    let mut node = derive(b"ed25519 seed", &[seed.as_slice()])?;
    for index in PATH {
        // Ed25519 knows hardened steps only; the highest bit says so.
        let index = (index | 0x8000_0000).to_be_bytes();
        let (key, chain) = node.split_at(32);
        node = derive(chain, &[&[0], key, &index])?;
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&node[..32]);
    Ok(Keypair::from_seed(&key))
}

/// HMAC-SHA-512: 32 bytes of key and 32 of chain code.
fn derive(key: &[u8], parts: &[&[u8]]) -> std::result::Result<Zeroizing<[u8; 64]>, &'static str> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).map_err(|_| "its key has no length")?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(Zeroizing::new(mac.finalize().into_bytes().into()))
}
