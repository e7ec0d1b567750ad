//! A folder with modules in it as an author has them at home, and the command that runs their
//! oracle cases.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use walkdir::WalkDir;

/// Mode, owner, size, time of the last change of anything about it, content.
type Facts = (u32, u32, u64, (i64, i64), Vec<u8>);

/// The variable that names the copy of the program under test.
pub const PROGRAM: &str = "MODULE_GATE_UNDER_TEST";

/// A folder that holds `modules/` and whatever else is put there.
pub struct Home {
    folder: TempDir,
}

/// What a command ended with.
pub struct Ended {
    pub code: Option<i32>,
    pub text: String,
    stdout: Vec<u8>,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // As root, modules run as a user who must get there to read what surrounds them.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn put(&self, path: &str, content: &str) {
        let target = self.path(path);
        let above: Vec<_> =
            target.ancestors().skip(1).take_while(|at| *at != self.folder.path()).collect();
        for folder in above.into_iter().rev() {
            if !folder.is_dir() {
                fs::create_dir(folder).unwrap();
                fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
            }
        }
        fs::write(&target, content).unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
    }

    /// A module under `modules/` that may do what it `declares`, with these oracle cases.
    pub fn module(&self, name: &str, declares: &[&str], main: &str, cases: &Value) {
        let manifest = json!({
            "id": format!("fixture.{name}"), "version": "1.0.0", "summary": "a \
             fixture", "entry": "main.mjs",
            "provides": ["FixturePort@1"], "side_effects": declares, "tests": ["script:main.mjs"],
            "invariants": ["It is one."], "evidence": [{ "kind": "test", "file": "main.mjs" }],
        });
        let spec = json!({ "module": format!("fixture.{name}"), "cases": cases });
        self.put(&format!("modules/{name}/module.json"), &manifest.to_string());
        self.put(&format!("modules/{name}/main.mjs"), main);
        self.put(&format!("modules/{name}/oracles/specs/main.json"), &spec.to_string());
    }

    /// Judges the module for shipping.
    pub fn ship(&self, name: &str) -> Ended {
        let module = self.path("modules").join(name);
        let mut command = Command::new(program());
        command.args(["gates", "shipping", "--output", "json", "--module"]).arg(module);
        command.env_remove("MODULE_GATE_SCRATCH").env_remove("MODULE_GATE_PIN_PROCESSORS");
        let output = command.env("MODULE_GATE_NODE", testkit::program("node").unwrap()).output();
        Ended::from(output.unwrap())
    }

    pub fn oracles(&self, more: &[&str]) -> Ended {
        self.oracles_by(&[], more)
    }

    /// Runs every case of every module; `by` goes before the command.
    pub fn oracles_by(&self, by: &[&str], more: &[&str]) -> Ended {
        let modules = self.path("modules");
        let program = program();
        let mut words = by.to_vec();
        words.extend([program.to_str().unwrap(), "oracles", "run", "--output", "json"]);
        words.extend(["--modules-root", modules.to_str().unwrap()]);
        words.extend(more);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.folder.path());
        command.env_remove("MODULE_GATE_SCRATCH").env_remove("MODULE_GATE_PIN_PROCESSORS");
        let output = command.env("MODULE_GATE_NODE", testkit::program("node").unwrap()).output();
        Ended::from(output.unwrap())
    }

    /// Everything in the folder, by its path.
    pub fn state(&self) -> BTreeMap<PathBuf, Facts> {
        let all = WalkDir::new(self.folder.path()).into_iter().map(Result::unwrap);
        all.map(|entry| {
            let metadata = entry.metadata().unwrap();
            let content = if metadata.is_symlink() {
                fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes()
            } else if metadata.is_file() {
                fs::read(entry.path()).unwrap()
            } else {
                Vec::new()
            };
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            let facts = (metadata.mode(), metadata.uid(), metadata.len(), changed, content);
            (entry.into_path(), facts)
        })
        .collect()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = [&*output.stdout, &*output.stderr].concat();
        Self {
            code: output.status.code(),
            text: String::from_utf8_lossy(&text).into_owned(),
            stdout: output.stdout,
        }
    }
}

impl Ended {
    /// The report of the only module.
    pub fn report(&self) -> Value {
        let mut reported: Vec<Value> = serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text));
        assert_eq!(reported.len(), 1, "{}", self.text);
        reported.remove(0)
    }
}

/// The program under test: where another user runs these tests, a copy that this user can reach.
pub fn program() -> PathBuf {
    std::env::var_os(PROGRAM)
        .map_or_else(|| env!("CARGO_BIN_EXE_module-gate").into(), PathBuf::from)
}

/// A link, wherever it leads.
pub fn link(target: impl AsRef<Path>, at: PathBuf) {
    std::os::unix::fs::symlink(target, at).unwrap();
}
