//! Identities of this machine: one file a key, readable by its owner only (R9).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use stellar::{Address, Keypair};
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};

/// Most bytes of a key file.
const LARGEST: u64 = 1_024;

/// The folder of keys.
#[derive(Debug, Clone)]
pub struct Keys(PathBuf);

impl Keys {
    /// The keys in `folder`, which need not exist yet.
    pub const fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Stores a key under a name that is free.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for a name that is taken or unfit, or a folder that cannot be written.
    pub fn store(&self, name: &str, key: &Keypair) -> Result<()> {
        let path = self.path(name)?;
        let failed = |error: std::io::Error| {
            Failure::usage(format!("cannot write {}: {error}", path.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed)?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::usage(format!(
                "there is a key named '{name}' already; choose another name"
            )),
            _ => failed(error),
        })?;
        let text = Zeroizing::new(format!("{}\n", *key.secret()));
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// The key of that name.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] when there is none, when others may read its file, or when it holds no key.
    pub fn load(&self, name: &str) -> Result<Keypair> {
        let path = self.path(name)?;
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Failure::usage(format!(
                "there is no key named '{name}' in {}; make one with: lumio keys generate {name}",
                self.0.display()
            )),
            _ => Failure::usage(format!("cannot read {}: {error}", path.display())),
        };
        let file = fs::File::open(&path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(Failure::usage(format!(
                "{path} can be read by others (mode {:o}); run: chmod 600 {path}",
                mode & 0o777
            )));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(LARGEST).read_to_string(&mut text).map_err(failed)?;
        text.parse()
            .map_err(|error| Failure::usage(format!("{} holds no key: {error}", path.display())))
    }

    /// All names with their addresses, sorted.
    ///
    /// # Errors
    ///
    /// Those of [`Keys::load`].
    pub fn list(&self) -> Result<Vec<(String, Address)>> {
        let folder = match fs::read_dir(&self.0) {
            Ok(folder) => folder,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(Failure::usage(format!("cannot read {}: {error}", self.0.display())));
            }
        };
        let mut names: Vec<String> = folder
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_name(name))
            .collect();
        names.sort();
        names.into_iter().map(|name| self.load(&name).map(|key| (name, key.address()))).collect()
    }

    /// An address from an address or from the name of a key here.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] when it is neither.
    pub fn resolve(&self, text: &str) -> Result<Address> {
        match text.parse() {
            Ok(address) => Ok(address),
            Err(_) if is_name(text) => Ok(self.load(text)?.address()),
            Err(error) => Err(Failure::usage(format!(
                "'{text}' is neither an address nor a key's name: {error}"
            ))),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        match is_name(name) {
            true => Ok(Path::new(&self.0).join(name)),
            false => Err(Failure::usage(format!(
                "'{name}' cannot be a key's name: want 1 to 40 of a-z 0-9 - _, not first a - or _"
            ))),
        }
    }
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

    #[test]
    fn a_key_is_stored_for_its_owner_only_and_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(folder.path().join("keys"));
        assert!(keys.list().unwrap().is_empty());

        let key = Keypair::generate().unwrap();
        keys.store("alice", &key).unwrap();
        let mode = fs::metadata(folder.path().join("keys/alice")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(keys.load("alice").unwrap().address(), key.address());
        assert_eq!(keys.list().unwrap(), [("alice".to_owned(), key.address())]);
        assert_eq!(keys.resolve("alice").unwrap(), key.address());
        assert_eq!(keys.resolve(&key.address().to_string()).unwrap(), key.address());
        assert!(matches!(keys.store("alice", &key), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(folder.path().to_owned());
        keys.store("bob", &Keypair::generate().unwrap()).unwrap();
        let path = folder.path().join("bob");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = keys.load("bob").unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_not_repeated_to_the_screen() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(folder.path().to_owned());
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
