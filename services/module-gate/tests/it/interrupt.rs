//! Ctrl-C ends what runs, leaves nothing behind, and proves nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;

use crate::command::Home;
use crate::fixture::node;

const LOOPS: &str = "
    import { renameSync, writeFileSync } from 'node:fs';
    const started = `${process.env.LUMIO_OUTPUT}/started`;
    writeFileSync(`${started}.part`, String(process.pid));
    renameSync(`${started}.part`, started);
    for (;;);";

fn start(home: &Home, words: &[&str]) -> Child {
    fs::create_dir(home.path("scratch")).unwrap();
    fs::set_permissions(home.path("scratch"), Permissions::from_mode(0o711)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_module-gate"));
    command.args(words).arg("--scratch").arg(home.path("scratch"));
    command.env("MODULE_GATE_NODE", node()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The number of the running module's process.
fn started(home: &Home, job: &str) -> String {
    let reported = home.path("scratch").join(job).join("output/started");
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(120) {
        if let Ok(pid) = fs::read_to_string(&reported) {
            return pid;
        }
        std::thread::yield_now();
    }
    panic!("it never started");
}

#[test]
fn an_interrupted_command_leaves_nothing_and_proves_nothing() {
    let home = Home::new();
    let case = json!({ "entry": "main.mjs", "timeoutMs": 600_000 });
    home.module("a", &[], LOOPS, &json!([case, case]));
    let (modules, module) = (home.path("modules"), home.path("modules/a"));
    let commands = [
        ["oracles", "run", "--modules-root", modules.to_str().unwrap()],
        ["gates", "shipping", "--module", module.to_str().unwrap()],
    ];
    for (words, signal) in commands.iter().zip([Signal::INT, Signal::TERM]) {
        let child = start(&home, words);
        let pid = started(&home, &format!("local.{}", child.id()));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("interrupted") && text.contains("try again"), "{text}");
        assert!(output.stdout.is_empty(), "no verdict");
        assert!(!Path::new("/proc").join(&pid).exists(), "the module outlived its command");
        fs::remove_dir_all(home.path("scratch/runtime")).ok();
        fs::remove_dir(home.path("scratch")).unwrap();
    }
}
