//! A file of variables means the same here as to Docker Compose and to `./dev`, whose half of this
//! is in `tests/deploy/check.py`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chassis::Env;

fn committed(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)).unwrap()
}

/// The variables of a file with this text.
fn read(text: &str) -> Env {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env.runner");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut env = Env::default();
    assert!(env.add_file(&path).unwrap());
    env
}

#[test]
fn awkward_files_mean_what_they_mean_to_compose_and_to_dev() {
    for file in ["awkward", "expanded"] {
        let text = committed(&format!("tests/deploy/{file}.txt"));
        let meant: BTreeMap<String, String> =
            serde_json::from_str(&committed(&format!("tests/deploy/{file}.json"))).unwrap();
        for (ends, text) in [("LF", text.clone()), ("CR LF", text.replace('\n', "\r\n"))] {
            let env = read(&text);
            for (name, value) in &meant {
                let found = env.optional(name).unwrap_or_default();
                assert_eq!(found, *value, "{name} of {file}.txt, where lines end in {ends}");
            }
        }
    }
}

#[test]
fn a_reference_to_nothing_is_empty() {
    let env = read("A=<$MISSING>\nB=\"/a$b\"\n");
    assert_eq!(env.optional("A").unwrap(), "<>");
    assert_eq!(env.optional("B").unwrap(), "/a");
}

#[test]
fn the_example_means_what_it_says() {
    let text = committed(".env.example");
    let env = read(&text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let settings: Vec<_> = lines.filter_map(|line| line.split_once('=')).collect();
    assert!(settings.len() > 50);
    for (name, value) in settings {
        assert_eq!(env.optional(name).unwrap_or_default(), value.trim_matches('"'), "{name}");
    }
}
