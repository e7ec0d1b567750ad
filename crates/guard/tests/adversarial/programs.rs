//! The programs the cases run: compiled once for all tests, in a folder every user can reach.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

macro_rules! sources {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("programs/", $name)))),*] };
}

/// Text of the programs: the user who runs the tests may not be able to read this checkout.
const SOURCES: [(&str, &str); 16] = sources![
    "probe.h",
    "main.c",
    "files.c",
    "content.c",
    "metadata.c",
    "doors.c",
    "outside.c",
    "processes.c",
    "signals.c",
    "network.c",
    "load.c",
    "looks.c",
    "races.c",
    "random.c",
    "beside.c",
    "addon.c"
];
/// Parts of the one program that holds all probes.
const PROBES: [&str; 12] = [
    "main.c",
    "files.c",
    "content.c",
    "metadata.c",
    "doors.c",
    "outside.c",
    "processes.c",
    "signals.c",
    "network.c",
    "load.c",
    "looks.c",
    "races.c",
];

static BUILT: OnceLock<TempDir> = OnceLock::new();

/// A value that lives as long as the process is never dropped: its folder goes when it ends.
extern "C" fn remove_built() {
    if let Some(folder) = BUILT.get() {
        let _ = fs::remove_dir_all(folder.path());
    }
}

#[expect(unsafe_code, reason = "no safe way leads to what runs when a process ends")]
fn built() -> &'static Path {
    BUILT
        .get_or_init(|| {
            let folder = tempfile::Builder::new().prefix("guard-programs-").tempdir().unwrap();
            // SAFETY: the handler touches only a value that is never dropped. What the guard forks
            // ends by `_exit`, which runs no handler.
            unsafe { libc::atexit(remove_built) };
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            for (name, text) in SOURCES {
                fs::write(folder.path().join(name), text).unwrap();
            }
            gcc(folder.path(), "probe", &PROBES, &["-static", "-lpthread", "-lrt"]);
            gcc(folder.path(), "random", &["random.c"], &["-static", "-lpthread"]);
            gcc(folder.path(), "beside", &["beside.c"], &["-static"]);
            gcc(folder.path(), "addon.node", &["addon.c"], &["-shared", "-fPIC"]);
            folder
        })
        .path()
}

fn gcc(folder: &Path, name: &str, sources: &[&str], flags: &[&str]) {
    let program = folder.join(name);
    let built = Command::new("gcc")
        .args(["-O1", "-w", "-fno-strict-aliasing", "-o"])
        .arg(&program)
        .args(sources.iter().map(|source| folder.join(source)))
        .args(flags)
        .status()
        .unwrap();
    assert!(built.success(), "gcc is needed for this test");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// All probes in one static program.
pub fn probe() -> PathBuf {
    built().join("probe")
}

/// The interpreter of random operations.
pub fn random() -> PathBuf {
    built().join("random")
}

/// Starts a program with a listener of seccomp notifications already there.
pub fn beside() -> PathBuf {
    built().join("beside")
}

/// A native addon of Node.
pub fn addon() -> PathBuf {
    built().join("addon.node")
}

/// The project's own Node first, then the one on the path.
pub fn node() -> Option<PathBuf> {
    static NODE: OnceLock<Option<PathBuf>> = OnceLock::new();
    NODE.get_or_init(|| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|dir| dir.join(".dev/node/bin/node"));
        let path = ["/usr/local/bin/node", "/usr/bin/node"].map(PathBuf::from);
        own.chain(path).filter_map(|path| path.canonicalize().ok()).find(|path| reachable(path))
    })
    .clone()
}

/// Whether a user who owns nothing can start a program, decided by its path without links.
fn reachable(program: &Path) -> bool {
    let open =
        |path: &Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    program.ancestors().all(open)
}
