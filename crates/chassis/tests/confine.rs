//! A confined process reaches only what it was given. Without the test harness, whose threads would
//! stay free: this program starts itself again and looks at what the child could do.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use chassis::confine::{ConfineError, Confinement, confine};

fn main() {
    let arguments: Vec<_> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("child") => child(Path::new(&arguments[2])),
        // The harness's own questions, such as `--list`.
        Some(flag) if flag.starts_with("--list") => {}
        _ => parent(),
    }
}

fn parent() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["read", "write", "none"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("file"), "old").unwrap();
    }
    let mut child = Command::new(env::current_exe().unwrap());
    let status =
        child.arg("child").arg(folder.path()).env_remove("LUMIO_CONFINE").status().unwrap();
    assert!(status.success(), "the child found a promise broken");
    let missing = confine(&[], &[&folder.path().join("missing")]);
    assert!(matches!(missing, Err(ConfineError::Missing(_))), "{missing:?}");
    println!("test a_confined_process_reaches_only_what_it_was_given ... ok");
}

fn child(folder: &Path) {
    let [read, write, none] = ["read", "write", "none"].map(|name| folder.join(name));
    let confinement = confine(&[&read, Path::new("/no/such/folder")], &[&write]).unwrap();
    if let Confinement::None(cause) = confinement {
        eprintln!("not checked here: {cause}");
        return;
    }

    assert_eq!(fs::read_to_string(read.join("file")).unwrap(), "old");
    assert!(fs::write(read.join("file"), "new").is_err(), "wrote where it may only read");
    fs::write(write.join("new"), "new").unwrap();
    assert!(fs::read(none.join("file")).is_err(), "read what it was not given");
    assert!(fs::write(none.join("new"), "new").is_err(), "wrote where it may nothing");
    fs::write("/dev/null", "gone").unwrap();
    // What it starts is as confined as it is.
    let shell = Command::new("/bin/cat").arg(none.join("file")).output().unwrap();
    assert!(!shell.status.success(), "its child read what it was not given");
    std::thread::scope(|scope| {
        let threaded = scope.spawn(|| confine(&[], &[])).join().unwrap();
        assert!(matches!(threaded, Err(ConfineError::Threads(2))), "{threaded:?}");
    });
}
