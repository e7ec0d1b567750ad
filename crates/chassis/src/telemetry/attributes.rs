//! `OTEL_RESOURCE_ATTRIBUTES`, as OpenTelemetry specifies it: `key=value` pairs between commas, in
//! which any byte may be written `%XX`. The whole value counts, or nothing of it.

use opentelemetry::KeyValue;
use percent_encoding::percent_decode_str;
use prometheus::proto::MetricFamily;

/// Reads the pairs.
///
/// # Errors
///
/// What was expected; never the value.
pub(super) fn read(text: &str) -> Result<Vec<KeyValue>, &'static str> {
    // A trailing comma is allowed.
    text.split_terminator(',').map(pair).collect()
}

fn pair(entry: &str) -> Result<KeyValue, &'static str> {
    let pair = entry
        .split_once('=')
        .map(|(key, value)| (percent_decode(key.trim()), percent_decode(value.trim())));
    match pair {
        Some((Some(key), Some(value))) if !key.is_empty() => Ok(KeyValue::new(key, value)),
        _ => Err("expected key=value pairs between commas, with %XX for a comma, = or % in them"),
    }
}

/// Decodes the percent-encoding of a key or value; `None` if an escape or the UTF-8 is invalid.
fn percent_decode(escaped: &str) -> Option<String> {
    let mut pieces = escaped.split('%');
    pieces.next();
    let is_byte =
        |piece: &str| piece.bytes().take_while(u8::is_ascii_hexdigit).take(2).count() == 2;
    if !pieces.all(is_byte) {
        return None;
    }
    percent_decode_str(escaped).decode_utf8().ok().map(|text| text.into_owned())
}

/// Gives every label a name that Prometheus can read: one may not begin with a digit. OpenTelemetry
/// puts `key_` before it.
pub(super) fn name_labels(families: &mut [MetricFamily]) {
    for metric in families.iter_mut().flat_map(MetricFamily::mut_metric) {
        for label in metric.mut_label() {
            if label.name().starts_with(|first: char| first.is_ascii_digit()) {
                let name = format!("key_{}", label.name());
                label.set_name(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_one_mistake_refuses_all_of_them() {
        let read = |text: &str| {
            let pairs = read(text)?;
            let texts = pairs.iter().map(|pair| (pair.key.to_string(), pair.value.to_string()));
            Ok::<_, &str>(texts.collect::<Vec<_>>())
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read("k=a%20b"), Ok(vec![pair("k", "a b")]));
        assert_eq!(read(" a = 1 ,b=2=3,"), Ok(vec![pair("a", "1"), pair("b", "2=3")]));
        assert_eq!(read("a%2Cb=%C3%A9,c="), Ok(vec![pair("a,b", "é"), pair("c", "")]));
        for wrong in ["a", "a=1,b", "=1", "a=1,,b=2", "a=%", "a=%4", "a=%zz", "a=%FF"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
