//! Keys under a passphrase.

use std::io::{IsTerminal as _, Read as _};
use std::os::unix::fs::PermissionsExt as _;

use pkcs8::der::pem::{LineEnding, PemLabel as _};
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{EncryptedPrivateKeyInfo, ObjectIdentifier, PrivateKeyInfo, SecretDocument};
use rand_core::RngCore as _;
use stellar::{Address, Keypair};
use zeroize::Zeroizing;

use crate::error::{CliError, Result};

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
/// Before the key's own lines, so that lists and addresses need no passphrase. It proves nothing:
/// what the key signs is checked by its receiver.
const ADDRESS: &str = "# address ";
/// Names a file with the passphrase, for programs.
const PASSPHRASE_FILE: &str = "LUMIO_KEY_PASSPHRASE_FILE";
/// Names a file with the passphrase that is to take its place, for programs.
const NEW_PASSPHRASE_FILE: &str = "LUMIO_KEY_NEW_PASSPHRASE_FILE";
/// Ed25519 (RFC 8410).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// Before the 32 bytes of a key: an octet string of that length.
const OCTETS: [u8; 2] = [0x04, 0x20];
/// A shorter passphrase is found by trying.
const SHORTEST: usize = 8;

/// Whether a file holds an encrypted key.
pub(super) fn is_encrypted(text: &str) -> bool {
    text.contains(BEGIN)
}

/// The address of an encrypted key.
pub(super) fn address(text: &str) -> Option<Address> {
    text.lines().find_map(|line| line.strip_prefix(ADDRESS)?.trim().parse().ok())
}

/// The key under a passphrase, in PEM.
pub(super) fn seal(key: &Keypair, passphrase: &str) -> std::result::Result<String, String> {
    if passphrase.chars().count() < SHORTEST {
        return Err(format!("the passphrase has less than {SHORTEST} characters"));
    }
    let secret = stellar_strkey::ed25519::PrivateKey::from_string(&key.secret())
        .map_err(|error| error.to_string())?;
    let bytes = Zeroizing::new([OCTETS.as_slice(), &secret.0].concat());
    let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    for part in [&mut salt, &mut iv] {
        rand_core::OsRng.try_fill_bytes(part).map_err(|error| error.to_string())?;
    }

    // 16 MiB and five passes: as slow to guess as 128 MiB and one, and within the 32 MiB that
    // OpenSSL allows a file to ask for.
    let cost = scrypt::Params::new(14, 8, 5, 32).map_err(|error| error.to_string())?;
    let parameters =
        pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv).map_err(|error| error.to_string())?;
    let pem = PrivateKeyInfo::new(algorithm, &bytes)
        .encrypt_with_params(parameters, passphrase)
        .and_then(|document| {
            Ok(document.to_pem(EncryptedPrivateKeyInfo::PEM_LABEL, LineEnding::LF)?)
        })
        .map_err(|error| error.to_string())?;
    Ok(format!("{ADDRESS}{}\n{}", key.address(), *pem))
}

/// Opens an encrypted key.
pub(super) fn open(text: &str, passphrase: &str) -> std::result::Result<Keypair, String> {
    let start = text.find(BEGIN).ok_or("it is not encrypted")?;
    let damaged = || "the file is damaged".to_owned();
    let (_, document) = SecretDocument::from_pem(&text[start..]).map_err(|_| damaged())?;
    let document = EncryptedPrivateKeyInfo::try_from(document.as_bytes())
        .map_err(|_| damaged())?
        .decrypt(passphrase)
        .map_err(|_| "the passphrase is wrong".to_owned())?;
    let info = PrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| damaged())?;
    let bytes = info.private_key.strip_prefix(&OCTETS).filter(|_| info.algorithm.oid == ED25519);
    let secret = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or_else(damaged)?;
    let key = Keypair::from_seed(&Zeroizing::new(secret));

    // The line with the address is not under the passphrase, and so it is compared.
    match address(text) {
        Some(stated) if stated != key.address() => {
            Err(format!("it is the key of {}, but its file says {stated}", key.address()))
        }
        _ => Ok(key),
    }
}

/// A passphrase for an existing key: from the file that the environment names, else from the
/// terminal.
pub(super) fn passphrase(prompt: &str) -> Result<Zeroizing<String>> {
    ask(prompt, PASSPHRASE_FILE)
}

/// The passphrase that takes the place of another: from a file of its own, since the other's is
/// needed as well, else from the terminal.
pub fn changed_passphrase(name: &str) -> Result<Zeroizing<String>> {
    confirmed(name, NEW_PASSPHRASE_FILE)
}

fn ask(prompt: &str, variable: &str) -> Result<Zeroizing<String>> {
    if let Some(path) = std::env::var_os(variable) {
        return from_file(std::path::Path::new(&path), variable);
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage(format!(
            "the {prompt} is needed, and there is no terminal to ask at; name a file with it: \
             {variable}"
        )));
    }
    rpassword::prompt_password(format!("{prompt}: "))
        .map(Zeroizing::new)
        .map_err(|error| CliError::usage(format!("cannot read the {prompt}: {error}")))
}

/// A passphrase for a key that is to be encrypted, asked for twice at a terminal.
pub fn new_passphrase(name: &str) -> Result<Zeroizing<String>> {
    confirmed(name, PASSPHRASE_FILE)
}

fn confirmed(name: &str, variable: &str) -> Result<Zeroizing<String>> {
    let first = ask(&format!("new passphrase of the key '{name}'"), variable)?;
    if std::env::var_os(variable).is_none() {
        let second = ask("same passphrase again", variable)?;
        if first != second {
            return Err(CliError::usage("the two passphrases differ; nothing was stored"));
        }
    }
    Ok(first)
}

fn from_file(path: &std::path::Path, variable: &str) -> Result<Zeroizing<String>> {
    const LARGEST: u64 = 1_024;
    let failed =
        |error: String| CliError::usage(format!("{variable}: {}: {error}", path.display()));
    let file = crate::files::open(path).map_err(|error| failed(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;

    // A pipe, such as that of a process substitution, belongs to the process that made it.
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        return Err(failed(format!("can be read by others; run: chmod 600 {}", path.display())));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}
