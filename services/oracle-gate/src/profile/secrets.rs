//! Keeps secrets out of profiles, and what a profile holds out of errors.

use serde_yaml_ng::Value;

/// Parts of a name that say its value is a secret.
const SECRET: [&str; 8] = [
    "access_key",
    "accesskey",
    "api_key",
    "credential",
    "passphrase",
    "password",
    "private_key",
    "secret",
];

/// The first member that holds a secret, as a dotted path: one whose name says so, or a URL with
/// credentials in it. A variable in its place is no secret.
pub(super) fn find(value: &Value) -> Option<String> {
    match value {
        Value::Mapping(members) => members.iter().find_map(|(key, member)| {
            let key = key.as_str().unwrap_or("?");
            if names_secret(key) && holds_text(member) {
                return Some(key.to_owned());
            }
            find(member).map(|below| format!("{key}.{below}"))
        }),
        Value::Sequence(items) => items.iter().enumerate().find_map(|(at, item)| {
            let below = find(item)?;
            Some(if below.is_empty() { at.to_string() } else { format!("{at}.{below}") })
        }),
        Value::Tagged(tagged) => find(&tagged.value),
        Value::String(text) => has_userinfo(text).then(String::new),
        _ => None,
    }
    .map(|path| path.trim_end_matches('.').to_owned())
}

fn names_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // The name of a header, a variable or a file is where a secret is, and not the secret.
    let elsewhere = ["_header", "_env", "_variable", "_file", "_path", "_name", "_ref"];
    if elsewhere.iter().any(|end| key.ends_with(end)) {
        return false;
    }
    key == "token" || key.ends_with("_token") || SECRET.iter().any(|part| key.contains(part))
}

fn holds_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty() && !text.starts_with("${"),
        Value::Number(_) => true,
        Value::Sequence(items) => items.iter().any(holds_text),
        _ => false,
    }
}

/// `scheme://name:password@host`, by the part before the first slash of the rest.
fn has_userinfo(text: &str) -> bool {
    let rest = text.split_once("://").map(|(_, rest)| rest);
    rest.is_some_and(|rest| {
        rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@'))
    })
}

/// An error of the YAML reader without the value that it quotes. Names of fields stay.
pub(super) fn redact(error: &str) -> String {
    seal::json::explain(&error)
}
