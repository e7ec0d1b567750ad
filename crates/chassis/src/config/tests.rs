use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn every_mistake_is_reported_at_once_by_name_and_without_values() {
    let env = Env::from_map([
        ("PORT", "70000"),
        ("FLAG", "maybe"),
        ("RPC", "ftp://user:hunter2@host"),
        ("KEY", "hunter2"),
        ("EMPTY", "  "),
    ]);

    assert!(env.secret("MISSING|OLD_MISSING").expose().is_empty());
    assert_eq!(env.number("PORT", 4000_u16, 1..=65_535), 4000);
    assert!(env.boolean("FLAG", true));
    assert_eq!(env.url("RPC", "http://localhost", &["http", "https"]), "http://localhost");
    assert_eq!(env.parse("KEY", |_| Err::<(), _>("expected 64 hex digits")), None);
    assert_eq!(env.required("EMPTY"), "");

    let text = env.finish().unwrap_err().to_string();
    for name in ["MISSING: ", "PORT: ", "FLAG: ", "RPC: ", "KEY: ", "EMPTY: "] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    assert!(!text.contains("hunter2") && !text.contains('\n'), "{text}");
}

#[test]
fn an_invalid_url_is_told_apart_from_another_scheme() {
    let wrong = |value: &str| {
        let env = Env::from_map([("NATS_URL", value)]);
        assert_eq!(env.required_url("NATS_URL", &["nats", "tls"]), "");
        env.finish().unwrap_err().to_string()
    };
    for url in ["nats://runner:hunter2/x@host:4222", "nats://host:99999", "tls://[::1"] {
        let error = wrong(url);
        assert!(error.starts_with("NATS_URL: is no URL: ") && error.contains("%2F"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for url in ["http://host", "host:4222", "natshost"] {
        let error = wrong(url);
        assert_eq!(error, "NATS_URL: expected a URL that starts with nats:// or tls://", "{url}");
    }
}

#[test]
fn a_parameter_that_the_driver_of_postgres_does_not_read_is_refused_without_its_value() {
    let wrong = |parameters: &str| {
        let url = format!("postgres://u:pw@h/db?{parameters}");
        let env = Env::from_map([("DATABASE_URL", url.as_str())]);
        env.database_url();
        env.finish().err().map(|mistakes| mistakes.to_string())
    };
    for right in [
        "",
        "sslmode=require&options[statement_timeout]=60s",
        "options=-c%20a%3Db&user=me@tenant",
        "password=a%26b",
    ] {
        assert_eq!(wrong(right), None, "{right}");
    }
    let error = wrong("sslkey=/k&sslpassword=hunter2&channel_binding=x").unwrap();
    let told = "parameter 2 (sslpassword), parameter 3 (channel_binding);";
    assert!(error.starts_with("DATABASE_URL: ") && error.contains(told), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    // Behind an `&` that is not escaped, the rest of a value looks like a name.
    for rest in
        ["password=a&hunter", "password=a&hunter=2", "options[hunter=1", "hunter=1", "=hunter"]
    {
        let error = wrong(rest).unwrap();
        assert!(error.contains("parameter ") && !error.contains("hunter"), "{error}");
    }
}

#[test]
fn a_password_that_ends_the_host_early_is_refused_before_a_part_of_it_is_shown() {
    let read = |name: &'static str, value: &str| {
        let env = Env::from_map([(name, value)]);
        let schemes = ["postgres", "postgresql", "nats", "tls", "http", "https"];
        env.optional_url(name, &schemes);
        env.finish().err().map(|mistakes| mistakes.to_string())
    };
    for cut in [
        "postgres://lumio:12/34@host/db",
        "postgres://lumio:12?34@host/db",
        "postgres://lumio:12#34@host/db",
        "nats://lumio:12/3=4@host:4222",
        "https://lumio:12/34@node.example/rpc",
    ] {
        let error = read("URL", cut).unwrap_or_default();
        assert!(error.starts_with("URL: has an @ behind"), "{cut}: {error}");
        assert!(error.contains("%2F") && !error.contains("34"), "{error}");
    }
    for right in [
        "postgres://lumio:12%2F34@host/db",
        "postgres://lumio@host:5432/db?user=me@tenant",
        "postgres://[::1]:5432/db?user=me@tenant",
        "nats://token@host:4222",
        "https://node.example/@team/rpc",
    ] {
        assert_eq!(read("URL", right), None, "{right}");
    }
}

#[test]
fn a_mistake_that_is_made_twice_is_reported_once() {
    let env = Env::from_map([("RPC", "localhost:8000")]);
    env.url("RPC", "http://localhost", &["http"]);
    env.url("RPC", "http://localhost", &["http"]);
    env.mistake("RPC", "another one");
    let mistakes = env.finish().unwrap_err().0;
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
}

#[test]
fn the_first_name_that_is_set_counts() {
    let env = Env::from_map([("OLD", "1"), ("NEW", "")]);
    assert_eq!(env.required("NEW|OLD"), "1");

    let env = Env::from_map([("OLD", "1"), ("NEW", "2")]);
    assert_eq!(env.required("NEW|OLD"), "2");
    assert_eq!(env.finish(), Ok(()));
}

#[test]
fn booleans_take_six_words_only() {
    for (word, value) in [("true", true), ("YES", true), ("1", true), ("0", false), ("No", false)] {
        assert_eq!(Env::from_map([("FLAG", word)]).boolean("FLAG", !value), value, "{word}");
    }
    let env = Env::from_map([("FLAG", "on")]);
    env.boolean("FLAG", true);
    assert!(env.finish().is_err());
}

#[test]
fn a_folder_has_to_be_one_or_to_be_possible() {
    let wrong = |folder: &Path| {
        let env = Env::default();
        env.check_folder("FOLDER", folder);
        env.finish().err().map(|mistakes| mistakes.to_string())
    };
    let folder = tempfile::tempdir().unwrap();
    let (file, below) = (folder.path().join("file"), folder.path().join("a/b"));
    fs::write(&file, "").unwrap();
    for usable in [folder.path(), &below, Path::new("."), Path::new("not/here")] {
        assert_eq!(wrong(usable), None, "{}", usable.display());
    }
    assert!(!below.exists(), "nothing is made");
    for unusable in [&file, &file.join("below")] {
        let error = wrong(unusable).unwrap_or_default();
        assert!(error.starts_with("FOLDER: is not a folder"), "{}: {error}", unusable.display());
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere.
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(wrong(&below).is_none(), is_root);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_secret_is_not_printed() {
    let env = Env::from_map([("KEY", "hunter2")]);
    let shown = format!("{:?} {env:?}", env.secret("KEY"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_file_adds_what_is_not_set_and_only_if_nobody_else_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let mut env = Env::from_map([("A", "process")]);
    assert!(!env.add_file(&path).unwrap());

    fs::write(&path, "# comment\nA=file\nexport B=\"two words\"\n\nC = x=y\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(env.add_file(&path), Err(EnvFileError::Exposed(_))));

    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(env.add_file(&path).unwrap());
    let values = ["A", "B", "C"].map(|name| env.required(name));
    assert_eq!(values, ["process", "two words", "x=y"]);

    fs::write(&path, "A=1\nhunter2 nonsense\n").unwrap();
    let error = env.add_file(&path).unwrap_err().to_string();
    assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_file_is_read_as_compose_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let text = "\
        PLAIN=first\n\
        PLAIN=a b\t\n\
        COMMENTED=value # what follows is a comment\n\
        EMPTY=\n\
        HASH=a#b\n\
        SINGLE='a # $PLAIN b'\n\
        DOUBLE=\"a # \\n b\"\n\
        export EXPORTED=yes\n\
        REFERENCE=${HASH}c\n\
        LINES='one\n\
two'\n";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut env = Env::default();
    env.add_file(&path).unwrap();
    let expected = [
        ("PLAIN", "a b"),
        ("COMMENTED", "value"),
        ("HASH", "a#b"),
        ("SINGLE", "a # $PLAIN b"),
        ("DOUBLE", "a # \n b"),
        ("EXPORTED", "yes"),
        ("REFERENCE", "a#bc"),
        ("LINES", "one\ntwo"),
    ];
    for (name, value) in expected {
        assert_eq!(env.optional(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(env.optional("EMPTY"), None);
}

#[test]
fn a_line_that_readers_take_differently_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let refused = [
        ("A= # hunter2", "line of its own"),
        ("A=x\t# hunter2", "line of its own"),
        ("A='hunter2' x", "closing quote"),
        ("A=\"hunter2\"x", "closing quote"),
        ("A='hunter2\\'", "single quote"),
        ("A=\"hunter2", "not closed"),
        ("A='hunter2\nB=2\nC=3", "not closed"),
        ("A=${hunter2", "$$"),
        ("A=${hunter2/x/y}", "$$"),
        ("A=${hunter2:}", "$$"),
        ("A=${hunter2:?is missing}", "not set"),
        ("A=\"\\0101\"", "escapes"),
        ("=hunter2", "NAME=value"),
        ("1A=hunter2", "NAME=value"),
        ("A hunter2", "NAME=value"),
    ];
    for (line, why) in refused {
        fs::write(&path, format!("\u{feff}# a comment\nB='1\n2'\n{line}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = Env::default().add_file(&path).unwrap_err().to_string();
        assert!(error.contains("line 4 ") && error.contains(why), "{line}: {error}");
        assert!(!error.contains("hunter2"), "{line}: {error}");
    }
}

#[test]
fn values_that_double_with_each_line_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let text: String = (0..64).map(|n| format!("A{}=${{A{n}}}${{A{n}}}x\n", n + 1)).collect();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let error = Env::default().add_file(&path).unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
}
