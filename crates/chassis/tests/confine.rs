//! A confined process reaches only what it was given. Without the test harness, whose threads would
//! stay free: this program starts itself again and looks at what the child could do.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

use chassis::Env;
use chassis::confine::{ConfineError, Confinement, confine};
use chassis::process::{self, Process, Settings};
use chassis::service::Signals;
use chassis::telemetry::{CERTIFICATE, ENDPOINT};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("child") => child(Path::new(&arguments[2])),
        Some("service") => return service(),
        // The harness's own questions, such as `--list`.
        Some(flag) if flag.starts_with("--list") => {}
        _ => parent(),
    }
    ExitCode::SUCCESS
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

    // No folder of the system's: without leave of its own a confined process cannot read it.
    let certificate = folder.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    let mut service = Command::new(env::current_exe().unwrap());
    service.arg("service").env_remove("LUMIO_CONFINE");
    service.env(ENDPOINT, "https://localhost:1").env(CERTIFICATE, &certificate);
    let started = service.output().unwrap();
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(started.status.success(), "{said}");
    println!("test a_confined_service_reads_the_certificate_of_its_collector ... ok");
}

/// A service that has nothing to do, and so ends when it has started.
fn service() -> ExitCode {
    let env = Env::process();
    let settings = Settings::read(&env, "CONFINED_LOG_LEVEL");
    env.finish().unwrap();
    let (read, write, grace) = (Vec::new(), Vec::new(), Duration::from_secs(1));
    let process = Process { name: "confined", settings, read, write, grace };
    // No thread comes of it, which would stay free.
    process::run(process, Signals::listen().unwrap(), async |_| Ok(()))
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
