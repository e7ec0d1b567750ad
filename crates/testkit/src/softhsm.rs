//! SoftHSM: a PKCS #11 token that keeps its keys in files, with the library that is loaded for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;

use crate::programs::program;

/// The PIN of every token.
pub const PIN: &str = "canary7f3a-pin";

/// A place for tokens of the test's own.
#[derive(Debug)]
pub struct SoftHsm {
    folder: TempDir,
    module: PathBuf,
    util: PathBuf,
}

impl SoftHsm {
    /// A place without any token.
    ///
    /// # Panics
    ///
    /// When SoftHSM is not here (`./dev setup` brings it), or the place cannot be made.
    #[expect(clippy::new_without_default, reason = "it panics where there is no SoftHSM")]
    pub fn new() -> Self {
        let found = |name| program(name).unwrap_or_else(|| panic!("no {name}: run ./dev setup"));
        let folder = tempfile::Builder::new().prefix("lumio-softhsm-").tempdir();
        let folder = folder.expect("a folder of its own");
        let (tokens, away) = (folder.path().join("tokens"), folder.path().join("away"));
        for place in [&tokens, &away] {
            fs::create_dir(place).expect("a folder in it");
        }
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs::write(folder.path().join("softhsm2.conf"), text).expect("a file in it");
        // Others that it needs lie beside it, where the link leads.
        let module = found("libsofthsm2.so").canonicalize().expect("the library");
        Self { folder, module, util: found("softhsm2-util") }
    }

    /// What a runner needs for a token of this label, besides the names of its keys.
    pub fn settings(&self, token: &str) -> Vec<(&'static str, String)> {
        // Where it was unpacked rather than installed, the process must be let to what it needs.
        let paths = std::iter::once(self.folder.path()).chain(self.libraries());
        let paths: Vec<_> = paths.map(|path| path.display().to_string()).collect();
        let mut settings = vec![
            ("RUNNER_SIGNER", "pkcs11".to_owned()),
            ("RUNNER_PKCS11_MODULE", self.module.display().to_string()),
            ("RUNNER_PKCS11_TOKEN", token.to_owned()),
            ("RUNNER_PKCS11_PIN", PIN.to_owned()),
            ("RUNNER_PKCS11_PATHS", paths.join(",")),
        ];
        settings.extend(self.environment());
        settings
    }

    /// The library's own variables.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let conf = self.folder.path().join("softhsm2.conf").display().to_string();
        let libraries = self.libraries().map(|path| path.display().to_string());
        let libraries = libraries.map(|path| ("LD_LIBRARY_PATH", path));
        std::iter::once(("SOFTHSM2_CONF", conf)).chain(libraries).collect()
    }

    /// Where the libraries are that came along with it.
    fn libraries(&self) -> Option<&Path> {
        self.module.ancestors().nth(2)
    }

    /// Makes a token.
    ///
    /// # Panics
    ///
    /// When SoftHSM refuses.
    pub fn make_token(&self, label: &str) {
        self.run(&["--init-token", "--free", "--label", label, "--so-pin", PIN, "--pin", PIN]);
    }

    /// Puts the Ed25519 key of this seed into a token, under a label.
    ///
    /// # Panics
    ///
    /// When SoftHSM refuses.
    pub fn import(&self, token: &str, label: &str, seed: &[u8; 32]) {
        // RFC 8410: the fixed head of a PKCS #8 document that holds an Ed25519 seed.
        const HEAD: [u8; 16] =
            [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let key = BASE64_STANDARD.encode([HEAD.as_slice(), seed].concat());
        let file = self.folder.path().join("key.pem");
        let text = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
        fs::write(&file, text).expect("a file for the key");
        let name = file.display().to_string();
        let id = label.bytes().fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
        let of = ["--token", token, "--label", label, "--id", &id, "--pin", PIN];
        self.run(&[&["--import", &name], of.as_slice()].concat());
        fs::remove_file(file).expect("the key's file");
    }

    /// Takes every token away, as one that is unplugged.
    ///
    /// # Panics
    ///
    /// When the files cannot be moved.
    pub fn take_away(&self) {
        self.move_all("tokens", "away");
    }

    /// Brings the tokens back that were taken away.
    ///
    /// # Panics
    ///
    /// When the files cannot be moved.
    pub fn bring_back(&self) {
        self.move_all("away", "tokens");
    }

    fn move_all(&self, from: &str, to: &str) {
        for entry in self.folder.path().join(from).read_dir().expect("the folder of tokens") {
            let entry = entry.expect("a token");
            let there = self.folder.path().join(to).join(entry.file_name());
            fs::rename(entry.path(), there).expect("a token's new place");
        }
    }

    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(&self.util);
        command.arg("--module").arg(&self.module).args(arguments).envs(self.environment());
        let output = command.output().expect("softhsm2-util");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}
