//! What this machine does to the command: disks that are full, files that are none, and values that
//! cannot be.

use std::fs::File;
use std::process::{Output, Stdio};

use rustix::fs::{CWD, Mode, mkfifoat};

use super::Machine;
use super::hostile::{RUN, server};

const USER: &str = "GDRXE2BQUC3AZNPVFSCEZ76NJ3WWL25FYFK6RGZGIEKWE4SOOHSUJUJ6";

/// Runs a command whose standard output is on a disk without space.
fn on_a_full_disk(machine: &Machine, arguments: &[&str]) -> Output {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = machine.command(arguments).stdout(full).stderr(Stdio::piped()).spawn();
    child.unwrap().wait_with_output().unwrap()
}

fn one_line(what: &[&str], output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(said.lines().count(), 1, "{what:?}: {said}");
    said
}

#[test]
fn an_answer_that_a_full_disk_does_not_take_is_no_success() {
    let machine = Machine::new();
    machine.text(&["keys", "generate", "alice"]);
    let runs = server(|_, _| (200, "[]".to_owned()));
    let commands: [&[&str]; 10] = [
        &["contract", "errors"],
        &["contract", "errors", "--output", "json"],
        &["keys", "list"],
        &["keys", "show", "alice"],
        &["network", "list", "--output", "json"],
        &["run", "list", "--gateway-url", &runs],
        &["completions", "bash"],
        &["--help"],
        &["keys", "--help"],
        &["--version"],
    ];
    for command in commands {
        let output = on_a_full_disk(&machine, command);
        let said = one_line(command, &output);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains("standard output") && said.contains("No space left"), "{said}");
    }

    // What is bad stays so.
    let wrong = ["run", "list", "--output", "json", "--gateway-url", "nowhere"];
    let output = on_a_full_disk(&machine, &wrong);
    assert_eq!(output.status.code(), Some(3));
    assert!(one_line(&wrong, &output).contains("No space left"));
}

#[test]
fn what_happens_on_the_way_has_to_be_written_too() {
    let machine = Machine::new();
    let runs = server(|_, _| (200, format!("{{\"id\":\"{RUN}\",\"status\":\"finalized\"}}")));
    let watch = ["watch", RUN, "--gateway-url", &runs];
    assert!(machine.run(&watch).status.success());
    let output = on_a_full_disk(&machine, &watch);
    assert_eq!(output.status.code(), Some(2));
    one_line(&watch, &output);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let machine = Machine::new();
    for command in [&["contract", "errors"][..], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = machine.command(command).stdout(writer).stderr(Stdio::piped()).spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(output.stderr.is_empty(), "{command:?}");
    }
}

#[test]
fn an_answer_without_its_members_is_refused() {
    let machine = Machine::new();
    let start = ["run", "start", "--user", USER, "--agent", "1", "--budgets", "runtime_ms=1"];
    let commands: [&[&str]; 7] = [
        &["run", "show", RUN],
        &["run", "cancel", RUN],
        &["run", "retry", RUN],
        &start,
        &["run", "list"],
        &["run", "outputs", RUN],
        &["verify", RUN],
    ];
    for answer in ["", "null", "{}", "[null]", "\"run\"", r#"{"id":"","status":"failed"}"#] {
        let url = server(move |_, _| (200, answer.to_owned()));
        for command in commands {
            let all = [command, &["--gateway-url", &url]].concat();
            // A bundle's archive of one byte and more is read as one, and is broken.
            if command[0] == "verify" && !answer.is_empty() {
                continue;
            }
            let said = machine.fails(2, &all);
            assert!(said.contains("gateway"), "{command:?} {answer}: {said}");
            assert!(machine.run(&all).stdout.is_empty(), "{command:?} {answer}");
        }
    }
    // Without a bundle the run itself is asked for.
    let url = server(|path, _| match path.contains("/bundle") {
        true => (404, "{}".to_owned()),
        false => (200, "null".to_owned()),
    });
    let said = machine.fails(2, &["verify", RUN, "--gateway-url", &url]);
    assert!(said.contains("not what was expected"), "{said}");
}

#[test]
fn a_node_that_answers_without_end_is_not_listened_to() {
    let machine = Machine::new();
    let url = server(|_, _| (200, " ".repeat(33 * 1024 * 1024)));
    let said = machine.fails(2, &["balance", "show", USER, "--rpc-url", &url]);
    assert!(said.contains("more than 33554432 bytes"), "{said}");
}

#[test]
fn wrong_addresses_and_tokens_are_wrong_usage_and_name_their_setting() {
    let machine = Machine::new();
    let list = ["run", "list"];
    let publish = ["module", "publish", ".", "--as", "x", "--agent", "1", "--rates", "llm_in=1"];
    for url in ["ftp://user:hunter2@x", "http://", "localhost:4000"] {
        for (option, command) in [
            ("--gateway-url", &list[..]),
            ("--rpc-url", &list),
            ("--oracle-gate-url", &publish),
            ("--module-gate-url", &publish),
        ] {
            let said = machine.fails(3, &[command, &[option, url]].concat());
            assert!(said.contains(option) && !said.contains("hunter2"), "{option} {url}: {said}");
        }
    }
    for (option, variable, command) in [
        ("--gateway-token", "LUMIO_GATEWAY_TOKEN", &list[..]),
        ("--oracle-gate-token", "LUMIO_ORACLE_GATE_TOKEN", &publish),
        ("--module-gate-token", "LUMIO_MODULE_GATE_TOKEN", &publish),
    ] {
        let token = "hunter2\nhunter2";
        let by_option = machine.command(&[command, &[option, token]].concat()).output();
        let by_variable = machine.command(command).env(variable, token).output();
        for output in [by_option.unwrap(), by_variable.unwrap()] {
            let said = one_line(command, &output);
            assert_eq!(output.status.code(), Some(3), "{said}");
            assert!(said.contains(option) && said.contains(variable), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn a_file_where_a_folder_is_expected_is_called_a_file() {
    let machine = Machine::new();
    let said = machine.fails(3, &["module", "digest", "/etc/passwd"]);
    assert!(said.contains("expected the folder of a module, found a file"), "{said}");
    let said = machine.fails(3, &["module", "digest", "/no/such/folder"]);
    assert!(said.contains("No such file"), "{said}");
}

#[test]
fn what_is_no_file_among_the_keys_is_left_out_with_a_notice() {
    let machine = Machine::new();
    machine.text(&["keys", "generate", "alice"]);
    let keys = machine.0.path().join("lumio/keys");
    std::fs::create_dir(keys.join("folder")).unwrap();
    mkfifoat(CWD, keys.join("pipe"), Mode::RWXU).unwrap();
    let list = machine.text(&["keys", "list"]);
    assert!(list.contains("alice") && !list.contains("chmod"), "{list}");
    assert!(list.contains("folder: expected a key file, found a folder"), "{list}");
    assert!(list.contains("pipe: expected a key file, found a named pipe"), "{list}");

    let output = machine.run(&["keys", "list", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 2);

    // Asked for by name, each is an error that is true.
    for (name, kind) in [("folder", "a folder"), ("pipe", "a named pipe")] {
        let said = machine.fails(3, &["keys", "show", name]);
        assert!(said.contains(kind), "{said}");
    }
}

#[test]
fn no_file_that_is_named_is_waited_for() {
    let machine = Machine::new();
    let pipe = machine.0.path().join("pipe");
    mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
    let pipe = pipe.to_str().unwrap();
    let start = ["run", "start", "--user", USER, "--agent", "1", "--budgets", "runtime_ms=1"];
    let commands: [&[&str]; 4] = [
        &[&start[..], &["--input", pipe]].concat(),
        &["verify", RUN, "--input", pipe],
        &["verify", RUN, "--bundle", pipe],
        &["receipts", "verify", USER, "--receipts", pipe],
    ];
    for command in commands {
        let said = machine.fails(3, command);
        assert!(said.contains("found a named pipe"), "{command:?}: {said}");
    }
    let mut show = machine.command(&["keys", "generate", "bob", "--encrypt"]);
    let output = show.env("LUMIO_KEY_PASSPHRASE_FILE", pipe).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("found a named pipe"));
}

#[test]
fn wrong_values_of_options_are_wrong_usage() {
    let machine = Machine::new();
    let start = ["run", "start", "--user", USER, "--agent", "1", "--budgets", "runtime_ms=1"];
    let too_large = "9007199254740992";
    let budgets = format!("runtime_ms={too_large}");
    for option in [
        ["--seed", too_large],
        ["--start-at", "yesterday"],
        ["--label", "a\nb"],
        ["--workflow", ""],
        ["--idempotency-key", "a\nb"],
        ["--rate-version", "0"],
    ] {
        let said = machine.fails(3, &[&start[..], &option].concat());
        assert!(said.contains(option[0]), "{said}");
    }
    let wrong = ["run", "start", "--user", USER, "--agent", "1", "--budgets", &budgets];
    assert!(machine.fails(3, &wrong).contains("--budgets"));
    assert!(machine.fails(3, &["verify", RUN, "--seed", too_large]).contains("--seed"));
    assert!(machine.fails(3, &["run", "list", "--status", "broken"]).contains("--status"));
}
