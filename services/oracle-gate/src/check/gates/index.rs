//! The index of a bundle: which members it has, and what it states of each.

use std::collections::BTreeSet;

use serde_json::Value;
use wire::digest::Digest;

/// Most bytes an index may have.
pub(super) const MAX_INDEX_BYTES: u64 = 16 << 20;
/// Names under which an index object may hold its members.
const LISTS: [&str; 4] = ["items", "members", "entries", "files"];
/// Names under which a member may state the sha256 of its bytes.
const DIGESTS: [&str; 2] = ["sha256_hex", "sha256"];

/// A member of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its path, as the index names it.
    pub(super) path: String,
    /// The sha256 that the index states of it, under the gate's digest field or a usual name.
    pub(super) sha256: Option<Digest>,
}

/// The members, in the order of the index.
///
/// # Errors
/// What makes it no index: also no members, one without a path, one that occurs twice, or a stated
/// invalid digest.
pub(super) fn parse(bytes: &[u8], digest_field: &str) -> Result<Vec<Member>, String> {
    let value = seal::json::parse(bytes).map_err(|error| seal::json::explain(&error))?;
    let mut lists = match &value {
        Value::Array(items) => vec![items],
        Value::Object(members) => {
            LISTS.iter().filter_map(|name| members.get(*name)?.as_array()).collect()
        }
        _ => Vec::new(),
    };
    // Exactly one list: of two, nothing says which one counts.
    let items = match (lists.pop(), lists.pop()) {
        (Some(items), None) => items,
        (None, _) => return Err("it lists no members".to_owned()),
        (Some(_), Some(_)) => return Err("it lists its members twice".to_owned()),
    };
    if items.is_empty() {
        return Err("it has no members".to_owned());
    }
    let members: Vec<Member> =
        items.iter().map(|item| member(item, digest_field)).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    match members.iter().find(|member| !seen.insert(member.path.as_str())) {
        Some(twice) => Err(format!("it names {:?} twice", twice.path)),
        None => Ok(members),
    }
}

fn member(item: &Value, digest_field: &str) -> Result<Member, String> {
    let path = item.get("path").and_then(Value::as_str).ok_or("a member has no path")?;
    let mut sha256 = None;
    // A digest may be under any of these names; all that are there have to agree.
    for name in [digest_field].into_iter().chain(DIGESTS) {
        let Some(stated) = item.get(name) else { continue };
        let digest = stated.as_str().and_then(|hex| hex.parse::<Digest>().ok());
        let digest = digest.ok_or_else(|| format!("{name} of {path:?} is no sha256"))?;
        if sha256.is_some_and(|other| other != digest) {
            return Err(format!("it states two digests of {path:?}"));
        }
        sha256 = Some(digest);
    }
    Ok(Member { path: path.to_owned(), sha256 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::digest::Digest;

    use super::{Member, parse};

    #[test]
    fn all_shapes_of_an_index_are_read() {
        let hex = Digest::of(b"x");
        let item = format!("{{\"path\":\"b\",\"sha256_hex\":\"{hex}\"}}");
        let expected = vec![
            Member { path: "b".to_owned(), sha256: Some(hex) },
            Member { path: "a".to_owned(), sha256: None },
        ];
        let list = format!("[{item},{{\"path\":\"a\"}}]");
        let shapes = ["items", "members", "entries", "files"];
        let shapes = shapes.iter().map(|name| format!("{{\"v\":1,\"{name}\":{list}}}"));
        for text in shapes.chain([list.clone()]) {
            assert_eq!(parse(text.as_bytes(), "sha256_hex"), Ok(expected.clone()), "{text}");
        }
    }

    #[test]
    fn what_is_no_index_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            "3",
            "{\"items\":[]}",
            "{\"items\":[{\"path\":\"a\"}],\"files\":[{\"path\":\"b\"}]}",
            "[{\"name\":\"a\"}]",
            "[\"a\"]",
            "[{\"path\":\"a\"},{\"path\":\"a\"}]",
            "[{\"path\":\"a\",\"sha256_hex\":\"00\"}]",
            "[{\"path\":\"a\",\"path\":\"b\"}]",
        ] {
            assert!(parse(text.as_bytes(), "sha256_hex").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in any::<Vec<u8>>()) {
            drop(parse(&bytes, "sha256_hex"));
        }
    }
}
