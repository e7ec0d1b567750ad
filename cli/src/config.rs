//! This machine's configuration: the folder it is in, and the networks that have a name.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Result};
use crate::files;

/// The name of the network that needs no configuration.
pub const LOCAL: &str = "local";

/// Most bytes of a document in the folder.
const LARGEST: u64 = 1024 * 1024;

/// The folder of configuration.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Networks by name, and which of them is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Networks {
    /// The one that commands use where neither option nor environment says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub networks: BTreeMap<String, Profile>,
}

/// Where a network is, and what is deployed there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// Its RPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_url: Option<String>,
    /// Its passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_passphrase: Option<String>,
    /// The vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_id: Option<String>,
    /// The registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_id: Option<String>,
    /// The runner's gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_url: Option<String>,
}

impl Folder {
    /// The folder that is given, or `lumio` in the user's folder of configuration.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when no home folder is known.
    pub fn new(given: Option<&Path>) -> Result<Self> {
        if let Some(given) = given {
            return Ok(Self(given.to_owned()));
        }
        let xdg = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);

        // By its specification a relative path is ignored.
        let base = xdg.filter(|path| path.is_absolute());
        let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
        let base = base.ok_or_else(|| {
            CliError::usage("no home folder is known; say where to keep things: LUMIO_CONFIG_DIR")
        })?;
        Ok(Self(base.join("lumio")))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Reads a document; nothing is there when it was never written.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when it cannot be read, or others can read it although it is secret.
    pub fn read<T: DeserializeOwned + Default>(&self, name: &str, is_secret: bool) -> Result<T> {
        let path = self.path(name);
        let failed = |error: String| CliError::usage(format!("{}: {error}", path.display()));
        let file = match files::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::default()),
            Err(error) => return Err(failed(error.to_string())),
        };
        let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
        if is_secret && metadata.permissions().mode() & 0o077 != 0 {
            return Err(failed(format!(
                "can be read by others; run: chmod 600 {}",
                path.display()
            )));
        }
        if metadata.len() > LARGEST {
            return Err(failed(format!("has more than {LARGEST} bytes")));
        }
        serde_json::from_reader(std::io::BufReader::new(file))
            .map_err(|error| failed(error.to_string()))
    }

    /// Writes a document for its owner only, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when the folder cannot be written.
    pub fn write<T: Serialize>(&self, name: &str, document: &T) -> Result<()> {
        let path = self.path(name);
        let failed =
            |error: String| CliError::usage(format!("cannot write {}: {error}", path.display()));
        let folder = path.parent().unwrap_or(&self.0);
        create_folder(folder).map_err(|error| failed(error.to_string()))?;
        let text =
            serde_json::to_vec_pretty(document).map_err(|error| failed(error.to_string()))?;
        // A temporary file has mode 0600 from its first byte, and a rename is whole.
        let mut file =
            tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(error.to_string()))?;
        file.write_all(&text)
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| failed(error.to_string()))?;
        file.persist(&path).map_err(|error| failed(error.to_string()))?;
        Ok(())
    }

    /// Waits for the right to change a document. It ends with the file that is answered.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when the folder cannot be written.
    pub fn lock(&self, name: &str) -> Result<File> {
        let path = self.path(&format!("{name}.lock"));
        let failed = |error: std::io::Error| {
            CliError::usage(format!("cannot lock {}: {error}", path.display()))
        };
        create_folder(path.parent().unwrap_or(&self.0)).map_err(failed)?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(0o600).custom_flags(files::NO_WAIT);
        let file = options.open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }
}

impl Networks {
    /// The name of the document.
    pub const FILE: &str = "networks.json";

    /// Reads the networks that have a name.
    ///
    /// # Errors
    ///
    /// As [`Folder::read`].
    pub fn read(folder: &Folder) -> Result<Self> {
        folder.read(Self::FILE, false)
    }

    /// The network called `name`, or the current one. The local network needs no entry.
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when there is none of that name.
    pub fn pick(&self, name: Option<&str>) -> Result<(String, Profile)> {
        let name = name.or(self.current.as_deref()).unwrap_or(LOCAL);
        match self.networks.get(name) {
            Some(profile) => Ok((name.to_owned(), profile.clone())),
            None if name == LOCAL => Ok((LOCAL.to_owned(), Profile::default())),
            None => Err(CliError::usage(format!(
                "there is no network named '{name}'; see: lumio network list"
            ))),
        }
    }
}

/// Makes a folder for its owner only.
pub fn create_folder(folder: &Path) -> std::io::Result<()> {
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        _ => DirBuilder::new().recursive(true).mode(0o700).create(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_its_owners_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::new(Some(&folder.path().join("lumio"))).unwrap();
        assert_eq!(Networks::read(&folder).unwrap(), Networks::default());
        let mut networks = Networks { current: Some("test".to_owned()), ..Networks::default() };
        networks.networks.insert("test".to_owned(), Profile::default());
        folder.write(Networks::FILE, &networks).unwrap();
        assert_eq!(Networks::read(&folder).unwrap(), networks);
        let mode = fs::metadata(folder.path(Networks::FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(folder.path(Networks::FILE), fs::Permissions::from_mode(0o644))
            .unwrap();
        assert!(folder.read::<Networks>(Networks::FILE, true).is_err());
    }

    #[test]
    fn the_local_network_needs_no_entry_and_others_do() {
        let networks = Networks::default();
        assert_eq!(networks.pick(None).unwrap().0, LOCAL);
        assert!(networks.pick(Some("unknown")).is_err());
    }
}
