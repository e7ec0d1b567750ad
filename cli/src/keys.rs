//! Identities of this machine: one file a key, readable by its owner only (R9).
//!
//! A file holds the secret seed (`S…`), or the key encrypted under a passphrase: PKCS#8 with scrypt
//! and AES-256 (RFC 5958, RFC 8018), which `openssl pkey` reads as well. Identities of stellar-cli
//! are found by their names too, where its files hold them; they are only ever read.

pub mod encrypted;
mod identity;

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use stellar::{Address, Keypair};
use zeroize::Zeroizing;

use crate::config::create_folder;
use crate::error::{CliError, Result};
use crate::files;

/// Most bytes of a key file.
const LARGEST: u64 = 4_096;

/// The folder of keys.
#[derive(Debug, Clone)]
pub struct Keys {
    folder: PathBuf,
    /// Where stellar-cli keeps its identities.
    stellar: Vec<PathBuf>,
}

/// A key as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its account.
    pub address: Address,
    /// How it is kept.
    pub kept: Kept,
}

/// How a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// As a seed in a file.
    File,
    /// Encrypted under a passphrase.
    Encrypted,
    /// By stellar-cli.
    StellarCli,
}

impl Kept {
    /// Its name in lists and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Encrypted => "encrypted",
            Self::StellarCli => "stellar-cli",
        }
    }
}

impl Keys {
    /// The keys in `folder`, which need not exist yet, and those of stellar-cli.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, stellar: identity::folders() }
    }

    /// The keys in `folder` alone, beside the identities in `stellar`.
    #[cfg(test)]
    fn with_identities(folder: PathBuf, stellar: PathBuf) -> Self {
        Self { folder, stellar: vec![stellar] }
    }

    /// Stores a key under a name that is free, encrypted if there is a passphrase.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] for a name that is taken or unfit, or a folder that cannot be written.
    pub fn store(&self, name: &str, key: &Keypair, passphrase: Option<&str>) -> Result<()> {
        let path = self.path(name)?;
        let text = file_text(key, passphrase)?;
        let failed = |error: std::io::Error| {
            CliError::usage(format!("cannot write {}: {error}", path.display()))
        };
        create_folder(&self.folder).map_err(failed)?;

        // Only for a name that is free: a key that is overwritten is lost.
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => CliError::usage(format!(
                "there is a key named '{name}' already; choose another name"
            )),
            _ => failed(error),
        })?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Puts the key's encrypted form in place of its seed.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when there is no such key in the folder, or it is encrypted already.
    pub fn encrypt(&self, name: &str, passphrase: &str) -> Result<Address> {
        let path = self.path(name)?;
        let text = read(&path, || self.missing(name))?;
        if encrypted::is_encrypted(&text) {
            return Err(CliError::usage(format!("the key '{name}' is encrypted already")));
        }
        let key = seed(&path, &text)?;
        self.replace(&path, &key, passphrase)
    }

    /// Puts an encrypted key under another passphrase: its own is asked for first, then `new`.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when there is no such key in the folder, it is not encrypted, or the old
    /// passphrase is wrong. The file is then as it was.
    pub fn change_passphrase(
        &self,
        name: &str,
        new: impl FnOnce() -> Result<Zeroizing<String>>,
    ) -> Result<Address> {
        let path = self.path(name)?;
        let text = read(&path, || self.missing(name))?;
        if !encrypted::is_encrypted(&text) {
            return Err(CliError::usage(format!(
                "the key '{name}' has no passphrase; give it one with: lumio keys encrypt {name}"
            )));
        }

        // Asks for the present passphrase, before the new one.
        let key = self.load(name)?;
        self.replace(&path, &key, &new()?)
    }

    fn replace(&self, path: &Path, key: &Keypair, passphrase: &str) -> Result<Address> {
        let text = file_text(key, Some(passphrase))?;
        let failed = |error: std::io::Error| {
            CliError::usage(format!("cannot write {}: {error}", path.display()))
        };

        // Whole or not at all: a key that is half written is lost.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(key.address())
    }

    /// The key of that name. Asks for the passphrase of an encrypted one.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when there is none, when others may read its file, or when it holds no
    /// key.
    pub fn load(&self, name: &str) -> Result<Keypair> {
        let path = self.path(name)?;

        // Identities of stellar-cli count only where no key of ours has the name.
        if !path.exists()
            && let Some(key) = self.stellar.iter().find_map(|folder| identity::load(folder, name))
        {
            return key;
        }
        let text = read(&path, || self.missing(name))?;
        if !encrypted::is_encrypted(&text) {
            return seed(&path, &text);
        }
        let passphrase = encrypted::passphrase(&format!("passphrase of the key '{name}'"))?;
        encrypted::open(&text, &passphrase)
            .map_err(|why| CliError::usage(format!("the key '{name}' cannot be opened: {why}")))
    }

    /// All names with their addresses, sorted. Asks for no passphrase. What is in the folder and is
    /// no file cannot be a key: `left_out` gets a message about it.
    ///
    /// # Errors
    ///
    /// Those of [`Keys::load`].
    pub fn list(&self, mut left_out: impl FnMut(String)) -> Result<Vec<Listed>> {
        let folder = match fs::read_dir(&self.folder) {
            Ok(folder) => Some(folder),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let folder = self.folder.display();
                return Err(CliError::usage(format!("cannot read {folder}: {error}")));
            }
        };
        let mut names: Vec<String> = folder
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_name(name))
            .collect();
        names.sort();
        names.retain(|name| {
            let path = self.folder.join(name);

            // Through links: a link to a key's file is as good as the file. Where a link leads
            // nowhere, reading it says so.
            let kind = fs::metadata(&path).map(|found| found.file_type());
            let Some(kind) = kind.ok().filter(|kind| !kind.is_file()) else { return true };
            let kind = files::describe(kind);
            left_out(format!("skipping {}: expected a key file, found {kind}", path.display()));
            false
        });
        let own = names.into_iter().map(|name| {
            let path = self.path(&name)?;
            let text = read(&path, || self.missing(&name))?;
            let (address, kept) = match encrypted::address(&text) {
                Some(address) => (address, Kept::Encrypted),
                None => (seed(&path, &text)?.address(), Kept::File),
            };
            Ok(Listed { name, address, kept })
        });
        let mut listed = own.collect::<Result<Vec<_>>>()?;
        for folder in &self.stellar {
            for (name, address) in identity::list(folder) {
                // A name of our own goes before the same name there, here as in `load`.
                if listed.iter().all(|known| known.name != name) {
                    listed.push(Listed { name, address, kept: Kept::StellarCli });
                }
            }
        }
        Ok(listed)
    }

    /// An address from an address or from the name of a key here.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when it is neither.
    pub fn resolve(&self, text: &str) -> Result<Address> {
        match text.parse() {
            Ok(address) => Ok(address),
            Err(_) if is_name(text) => self.address(text),
            Err(error) => Err(CliError::usage(format!(
                "'{text}' is neither an address nor a key's name: {error}"
            ))),
        }
    }

    /// The address of a key, without its passphrase.
    ///
    /// # Errors
    ///
    /// As [`Keys::load`].
    pub fn address(&self, name: &str) -> Result<Address> {
        let path = self.path(name)?;
        if path.exists() {
            let text = read(&path, || self.missing(name))?;
            if let Some(address) = encrypted::address(&text) {
                return Ok(address);
            }
        }
        Ok(self.load(name)?.address())
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        match is_name(name) {
            true => Ok(self.folder.join(name)),
            false => Err(CliError::usage(format!(
                "'{name}' cannot be a key's name: expected 1 to 40 of a-z 0-9 - _, not first a - \
                    or _"
            ))),
        }
    }

    fn missing(&self, name: &str) -> CliError {
        CliError::usage(format!(
            "there is no key named '{name}' in {}; make one with: lumio keys generate {name}",
            self.folder.display()
        ))
    }
}

fn file_text(key: &Keypair, passphrase: Option<&str>) -> Result<Zeroizing<String>> {
    match passphrase {
        None => Ok(Zeroizing::new(format!("{}\n", *key.secret()))),
        Some(passphrase) => encrypted::seal(key, passphrase)
            .map(Zeroizing::new)
            .map_err(|why| CliError::usage(format!("the key cannot be encrypted: {why}"))),
    }
}

fn seed(path: &Path, text: &str) -> Result<Keypair> {
    text.parse()
        .map_err(|error| CliError::usage(format!("{} holds no key: {error}", path.display())))
}

/// A key's file, which only its owner may read.
fn read(path: &Path, missing: impl FnOnce() -> CliError) -> Result<Zeroizing<String>> {
    let failed =
        |error: std::io::Error| CliError::usage(format!("cannot read {}: {error}", path.display()));
    let file = match files::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(failed(error)),
    };

    // Of the file that was opened, so that no other can take its place.
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(CliError::usage(format!(
            "{path} can be read by others (mode {:o}); run: chmod 600 {path}",
            mode & 0o777
        )));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// A plain file name that is no address, no path, and looks like no option.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    matches!(text.len(), 1..=40) && text.bytes().all(plain) && !text.starts_with(['-', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(folder: PathBuf) -> Keys {
        Keys { folder, stellar: Vec::new() }
    }

    #[test]
    fn an_encrypted_key_is_listed_without_its_passphrase_and_opened_only_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = alone(folder.path().to_owned());
        let key = Keypair::generate().unwrap();
        keys.store("alice", &key, None).unwrap();
        assert_eq!(keys.encrypt("alice", "correct horse").unwrap(), key.address());
        let text = fs::read_to_string(folder.path().join("alice")).unwrap();
        assert!(!text.contains(key.secret().as_str()) && text.contains("ENCRYPTED PRIVATE KEY"));
        let listed = keys.list(|_| ()).unwrap();
        assert_eq!((listed[0].address, listed[0].kept), (key.address(), Kept::Encrypted));
        assert_eq!(keys.resolve("alice").unwrap(), key.address());
        assert_eq!(encrypted::open(&text, "correct horse").unwrap().address(), key.address());
        assert!(encrypted::open(&text, "wrong horse").is_err());
        assert!(keys.encrypt("alice", "again").is_err());
    }

    #[test]
    fn identities_of_stellar_cli_are_found_and_our_own_go_before_them() {
        let folder = tempfile::tempdir().unwrap();
        let identities = folder.path().join("stellar");
        fs::create_dir(&identities).unwrap();
        let write = |name: &str, text: &str| {
            let mut options = OpenOptions::new();
            let path = identities.join(format!("{name}.toml"));
            let mut file = options.write(true).create(true).mode(0o600).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };

        // SEP-5, test 1.
        write(
            "carol",
            "seed_phrase = \"illness spike retreat truth genius clock brain pass fit cave bargain \
                toe\"\n",
        );
        let dave = Keypair::generate().unwrap();
        write("dave", &format!("secret_key = \"{}\"\n", *dave.secret()));
        write(
            "erin",
            "public_key = \"GDRXE2BQUC3AZNPVFSCEZ76NJ3WWL25FYFK6RGZGIEKWE4SOOHSUJUJ6\"\n",
        );
        write("frank", "seed_phrase = \"secure_store:frank\"\n");
        let keys = Keys::with_identities(folder.path().join("keys"), identities);
        let carol = keys.load("carol").unwrap();
        assert_eq!(
            carol.address().to_string(),
            "GDRXE2BQUC3AZNPVFSCEZ76NJ3WWL25FYFK6RGZGIEKWE4SOOHSUJUJ6"
        );
        assert_eq!(keys.load("dave").unwrap().address(), dave.address());
        assert!(keys.load("erin").unwrap_err().to_string().contains("no secret"));
        assert!(keys.load("frank").unwrap_err().to_string().contains("keyring"));
        let own = Keypair::generate().unwrap();
        keys.store("dave", &own, None).unwrap();
        assert_eq!(keys.load("dave").unwrap().address(), own.address());
        let listed = keys.list(|_| ()).unwrap();
        let names: Vec<_> = listed.iter().map(|key| (key.name.as_str(), key.kept)).collect();
        assert_eq!(
            names,
            [("dave", Kept::File), ("carol", Kept::StellarCli), ("erin", Kept::StellarCli)]
        );
    }

    #[test]
    fn a_key_is_stored_for_its_owner_only_and_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let keys = alone(folder.path().join("keys"));
        assert!(keys.list(|_| ()).unwrap().is_empty());

        let key = Keypair::generate().unwrap();
        keys.store("alice", &key, None).unwrap();
        let mode = fs::metadata(folder.path().join("keys/alice")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(keys.load("alice").unwrap().address(), key.address());
        let listed = keys.list(|_| ()).unwrap();
        assert_eq!((listed[0].name.as_str(), listed[0].address), ("alice", key.address()));
        assert_eq!(keys.resolve("alice").unwrap(), key.address());
        assert_eq!(keys.resolve(&key.address().to_string()).unwrap(), key.address());
        assert!(matches!(keys.store("alice", &key, None), Err(CliError::Usage(_))));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let keys = alone(folder.path().to_owned());
        keys.store("bob", &Keypair::generate().unwrap(), None).unwrap();
        let path = folder.path().join("bob");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = keys.load("bob").unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_not_repeated_to_the_screen() {
        let folder = tempfile::tempdir().unwrap();
        let keys = alone(folder.path().to_owned());
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.path().join("eve"))
            .unwrap();
        file.write_all(b"SECRETSECRET").unwrap();
        assert!(!keys.load("eve").unwrap_err().to_string().contains("SECRETSECRET"));
    }

    #[test]
    fn names_stay_inside_the_folder() {
        for name in ["", "..", "a/b", "/a", "-a", "A", "a.b", &"a".repeat(41)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
