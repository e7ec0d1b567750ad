//! The command line alone: what needs no network, and what it says when there is none.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod hostile;
mod machine;

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing listens here.
const NO_NODE: &str = "http://user:secret@127.0.0.1:1/?apikey=secret";

struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lumio"));
        command.args(arguments).env_clear();
        command.env("LUMIO_CONFIG_DIR", self.0.path().join("lumio"));
        command.env("XDG_CONFIG_HOME", self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {failed}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn networks_have_names_and_one_is_in_use() {
    let machine = Machine::new();
    let list = machine.text(&["network", "list"]);
    assert!(list.contains("NAME") && list.contains("* ") && list.contains("local"), "{list}");
    let public = "Test SDF Network ; September 2015";
    let add = ["network", "add", "testnet", "--rpc-url", NO_NODE, "--network-passphrase", public];
    let list = machine.text(&add);
    assert!(list.contains("testnet") && !list.contains("secret"), "{list}");
    machine.text(&["network", "use", "testnet"]);
    let json = machine.text(&["network", "list", "--output", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["name"], "testnet");
    assert_eq!(json[1]["current"], true);
    let mode = std::fs::metadata(machine.0.path().join("lumio/networks.json")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);

    // The profile is used, and the message names it, its address and no credentials.
    let error = machine
        .fails(2, &["balance", "show", "GDRXE2BQUC3AZNPVFSCEZ76NJ3WWL25FYFK6RGZGIEKWE4SOOHSUJUJ6"]);
    assert!(error.contains("http://127.0.0.1:1"), "{error}");
    assert!(error.contains("LUMIO_RPC_URL") && error.contains("'testnet'"), "{error}");
    assert!(!error.contains("secret"), "{error}");

    machine.text(&["network", "remove", "testnet"]);
    assert!(machine.fails(3, &["network", "use", "testnet"]).contains("network list"));
    let bad = ["network", "add", "x", "--rpc-url", "ftp://x"];
    assert!(machine.fails(3, &bad).contains("--rpc-url"));
}

#[test]
fn no_cause_is_said_twice() {
    let machine = Machine::new();
    let error = machine.fails(2, &["--gateway-url", "http://127.0.0.1:1", "run", "list"]);
    assert!(error.contains("http://127.0.0.1:1") && error.contains("LUMIO_GATEWAY_URL"), "{error}");
    assert_eq!(error.to_lowercase().matches("connection refused").count(), 1, "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn an_input_may_come_by_standard_input() {
    let machine = Machine::new();
    let user = "GDRXE2BQUC3AZNPVFSCEZ76NJ3WWL25FYFK6RGZGIEKWE4SOOHSUJUJ6";
    let start = ["run", "start", "--user", user, "--agent", "1", "--budgets", "runtime_ms=1"];
    let given = |text: &str| {
        let mut command = machine.command(&[&start[..], &["--input", "-"]].concat());
        command.env("LUMIO_GATEWAY_URL", "http://127.0.0.1:1");
        command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = given("no json");
    assert!(code == Some(3) && error.contains("--input -: "), "{error}");
    let (code, error) = given("{\"csv\":\"a\"}");
    assert!(code == Some(2) && error.contains("LUMIO_GATEWAY_URL"), "it was read: {error}");
}

#[test]
fn a_usage_lists_nothing_that_the_environment_gives() {
    let machine = Machine::new();
    let mut command = machine.command(&["module", "publish", "."]);
    for name in ["LUMIO_ORACLE_GATE_URL", "LUMIO_MODULE_GATE_URL"] {
        command.env(name, "http://127.0.0.1:1");
    }
    for name in ["LUMIO_ORACLE_GATE_TOKEN", "LUMIO_MODULE_GATE_TOKEN"] {
        command.env(name, "hunter2");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("--as <NAME>") && said.contains("--rates <RATES>"), "{said}");
    assert!(!said.contains("-gate-") && !said.contains("hunter2"), "{said}");
}

#[test]
fn outputs_are_brought_with_the_rights_that_the_umask_leaves() {
    let machine = Machine::new();
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let output = json!({ "path": "report.json", "length": 2, "sha256": digest });
    let listed = json!({ "attempt": 1, "outputs": [output] }).to_string();
    let url = hostile::server(move |path, _| {
        (200, if path.ends_with("/outputs") { listed.clone() } else { "{}".to_owned() })
    });
    for (umask, mode) in [("077", 0o600), ("022", 0o644)] {
        let to = machine.0.path().join(umask);
        let brought = Command::new("/bin/sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_lumio"))
            .args(["run", "outputs", hostile::RUN, "--gateway-url", &url, "--to"])
            .arg(&to)
            .env_clear()
            .env("LUMIO_CONFIG_DIR", machine.0.path().join("lumio"))
            .output()
            .unwrap();
        assert!(brought.status.success(), "{}", String::from_utf8_lossy(&brought.stderr));
        let file = std::fs::metadata(to.join("report.json")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode, "{umask}");
    }
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let machine = Machine::new();
    for arguments in [
        ["keys", "show", "nosuch", "--output", "json"].as_slice(),
        &["--output=json", "keys", "show"],
        &["--output", "json", "no-such-command"],
    ] {
        let output = machine.run(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&error["schemaVersion"], &error["error"]["exitCode"]), (&1.into(), &3.into()));
        assert_eq!(error["error"]["kind"], "usage");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty(), "{error}");
    }
}

#[test]
fn an_encrypted_key_signs_with_its_passphrase_and_openssl_reads_it() {
    let machine = Machine::new();
    let passphrase = machine.0.path().join("passphrase");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).mode(0o600).open(&passphrase).unwrap();
    file.write_all(b"correct horse\n").unwrap();
    let with = |arguments: &[&str]| {
        let mut command = machine.command(arguments);
        command.env("LUMIO_KEY_PASSPHRASE_FILE", &passphrase).output().unwrap()
    };
    let made = with(&["keys", "generate", "alice", "--encrypt"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let address = String::from_utf8(made.stdout).unwrap();
    assert_eq!(machine.text(&["keys", "show", "alice"]), address, "no passphrase is needed");
    let list = machine.text(&["keys", "list"]);
    assert!(list.contains("KEPT") && list.contains("encrypted"), "{list}");
    let error = machine.fails(3, &["keys", "show", "alice", "--secret"]);
    assert!(error.contains("LUMIO_KEY_PASSPHRASE_FILE"), "{error}");
    let secret = with(&["keys", "show", "alice", "--secret"]);
    assert!(secret.stdout.starts_with(b"S"), "{}", String::from_utf8_lossy(&secret.stderr));

    let key = machine.0.path().join("lumio/keys/alice");
    let openssl = Command::new("openssl")
        .args(["pkey", "-noout", "-in"])
        .arg(&key)
        .args(["-passin", "pass:correct horse"])
        .output();
    match openssl {
        Ok(read) => assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr)),
        Err(_) => eprintln!("skipped: there is no openssl"),
    }
    std::fs::set_permissions(&passphrase, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = with(&["keys", "show", "alice", "--secret"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("chmod 600"));
}

#[test]
fn a_passphrase_is_changed_and_a_wrong_one_changes_nothing() {
    let machine = Machine::new();
    let file = |name: &str, text: &str| {
        let path = machine.0.path().join(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    };
    let (old, new) = (file("old", "correct horse"), file("new", "battery staple"));
    let (wrong, short) = (file("wrong", "something else"), file("short", "short"));
    let with = |arguments: &[&str], old: &std::path::Path, new: &std::path::Path| {
        let mut command = machine.command(arguments);
        command.env("LUMIO_KEY_PASSPHRASE_FILE", old).env("LUMIO_KEY_NEW_PASSPHRASE_FILE", new);
        command.output().unwrap()
    };
    assert!(with(&["keys", "generate", "alice", "--encrypt"], &old, &new).status.success());
    let secret = with(&["keys", "show", "alice", "--secret"], &old, &new).stdout;
    assert!(secret.starts_with(b"S"));

    let key = machine.0.path().join("lumio/keys/alice");
    let before = std::fs::read(&key).unwrap();
    let change = ["keys", "passphrase", "alice"];
    for (old, new) in [(&wrong, &new), (&old, &short)] {
        assert_eq!(with(&change, old, new).status.code(), Some(3));
        assert_eq!(std::fs::read(&key).unwrap(), before);
    }
    let changed = with(&change, &old, &new);
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(with(&["keys", "show", "alice", "--secret"], &new, &old).stdout, secret);
    let refused = with(&["keys", "show", "alice", "--secret"], &old, &new);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the passphrase is wrong"));

    machine.text(&["keys", "generate", "plain"]);
    let plain = with(&["keys", "passphrase", "plain"], &old, &new);
    assert!(String::from_utf8_lossy(&plain.stderr).contains("lumio keys encrypt plain"));
}

#[test]
fn a_login_is_asked_for_by_name_and_never_leaves_the_machine_unencrypted() {
    let machine = Machine::new();
    assert!(machine.fails(3, &["whoami"]).contains("lumio login"));
    machine.text(&["keys", "generate", "alice"]);
    let public = ["--network-passphrase", "Public Global Stellar Network ; September 2015"];
    let arguments = ["login", "--as", "alice", "--gateway-url", "http://runner.example"];
    let error = machine.fails(3, &[arguments.as_slice(), &public].concat());
    assert!(error.contains("not encrypted"), "{error}");
}

#[test]
fn the_version_names_the_commit() {
    let version = Machine::new().text(&["--version"]);
    assert!(version.starts_with("lumio ") && version.trim_end().ends_with(')'), "{version}");
}
