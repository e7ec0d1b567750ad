//! `_passed.flag`: the digest that a gate vouches for, as JSON or as one line `name = digest`.

use serde_json::Value;
use wire::digest::Digest;

/// Most bytes a flag may have.
pub(super) const MAX_FLAG_BYTES: u64 = 64 << 10;

/// The digest under `field`.
///
/// # Errors
/// What makes it no flag of that field.
pub(super) fn parse(bytes: &[u8], field: &str) -> Result<Digest, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?.trim();
    let digest =
        |text: &str| text.parse().map_err(|_| format!("its {field} is not 64 lower hex digits"));
    if text.starts_with('{') {
        let value =
            seal::json::parse(text.as_bytes()).map_err(|error| seal::json::explain(&error))?;
        return match value.get(field) {
            Some(Value::String(hex)) => digest(hex),
            Some(_) => Err(format!("its {field} is no text")),
            None => Err(format!("it has no {field}")),
        };
    }
    match text.split_once('=') {
        Some((name, hex)) if name.trim() == field => digest(hex.trim()),
        Some(_) => Err(format!("it does not start with {field} =")),
        None => Err("it is neither JSON nor a line with '='".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::digest::Digest;

    use super::parse;

    #[test]
    fn both_spellings_give_the_digest() {
        let hex = Digest::of(b"x").to_string();
        for text in [
            format!("sha256_hex = {hex}\n"),
            format!("sha256_hex={hex}"),
            format!("{{\"sha256_hex\": \"{hex}\", \"by\": \"1A\"}}\n"),
        ] {
            assert_eq!(parse(text.as_bytes(), "sha256_hex"), Ok(Digest::of(b"x")), "{text}");
        }
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        let hex = Digest::of(b"x").to_string();
        for text in [
            String::new(),
            "PASS".to_owned(),
            hex.clone(),
            format!("other = {hex}"),
            format!("sha256_hex = {}", hex.to_uppercase()),
            format!("sha256_hex = {hex}\nsha256_hex = {hex}"),
            format!("{{\"other\": \"{hex}\"}}"),
            format!("{{\"sha256_hex\": \"{hex}\", \"sha256_hex\": \"{hex}\"}}"),
            "{\"sha256_hex\": null}".to_owned(),
            "{".to_owned(),
        ] {
            assert!(parse(text.as_bytes(), "sha256_hex").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
            prop_assert!(parse(&bytes, "sha256_hex").is_err());
        }
    }
}
