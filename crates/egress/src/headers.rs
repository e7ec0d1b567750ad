//! Which headers leave with a request, and which come back with an answer.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use wire::egress::UpstreamKind;

use crate::refusal::Refusal;
use crate::route::{Route, may_name_a_model};
use crate::scrub::Scrubber;
use crate::text::quoted;

/// What does not come back: it names the operator's account, belongs to one connection, or is no
/// longer true. Everything else, such as `retry-after`, is passed on as it is.
const DROPPED_RESPONSE_HEADERS: &[&str] = &[
    "set-cookie",
    "set-cookie2",
    "alt-svc",
    "strict-transport-security",
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
    "content-encoding",
    "content-length",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "location",
    "www-authenticate",
    "content-md5",
    "digest",
];

/// Request headers that carry credentials, name another account or address, or belong to one
/// connection.
const DROPPED_REQUEST_HEADERS: &[&str] = &[
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-goog-user-project",
    "cookie",
    "host",
    "content-length",
    "accept-encoding",
    // An echoed credential would come back in a form that is not looked for.
    "accept-charset",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "http2-settings",
    "openai-organization",
    "openai-project",
    "via",
    // Some frameworks answer another method or path than the one asked for by these.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-rewrite-url",
];

/// Prefixes of headers from which gateways before services (LiteLLM, Portkey, Cloudflare, Helicone,
/// Bifrost) take another key, another service, or the number of attempts.
const GATEWAY_PREFIXES: &[&str] = &["x-litellm-", "x-portkey-", "cf-aig-", "helicone-", "x-bf-"];

/// What asks for a part of an answer. An echoed credential could be read part by part, and a part of
/// one is not removed. A service that is not asked gives the whole (RFC 9110, 14.2).
const RANGE_HEADERS: &[&str] = &["range", "if-range"];

/// Words of a name that make its value a credential.
const CREDENTIAL_WORDS: &[&str] = &[
    "authorization",
    "auth",
    "apikey",
    "token",
    "secret",
    "password",
    "credential",
    "credentials",
];
/// Words that name a credential together with `key`, which alone is also part of
/// `idempotency-key`.
const KEY_WORDS: &[&str] =
    &["api", "access", "application", "functions", "master", "rapidapi", "subscription", "virtual"];

/// The headers that belong to one connection alone, by its `Connection` header (RFC 9110, 7.6.1).
fn of_connection(headers: &HeaderMap) -> Vec<String> {
    words(headers, header::CONNECTION)
}

/// The comma-separated members of a header, in lower case.
fn words(headers: &HeaderMap, name: HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|word| String::from_utf8_lossy(word).trim().to_ascii_lowercase())
        .collect()
}

/// Whether a request asks for another protocol on its connection. An offer of HTTP/2 may be ignored
/// (RFC 9110, 7.8), and clients that make it with every request (curl, Java's) go on as before.
pub(crate) fn asks_for_another_protocol(headers: &HeaderMap) -> bool {
    words(headers, header::UPGRADE).iter().any(|protocol| protocol != "h2c")
}

/// The headers that leave: what the module sent, without what belongs to its connection, takes a
/// credential's place or may name another model, and the credential itself.
pub(crate) fn leaving(sent: &HeaderMap, route: &Route) -> HeaderMap {
    let of_connection = of_connection(sent);
    let credential = route.credential.as_ref();
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        let word = name.as_str();
        let dropped = DROPPED_REQUEST_HEADERS.contains(&word)
            || GATEWAY_PREFIXES.iter().any(|family| word.starts_with(family))
            // CGI, WSGI and FastCGI map `-` and `_` to the same name of a variable:
            // `X_Original_URL` would override `X-Original-URL`.
            || word.contains('_')
            || route.kind != UpstreamKind::Http && may_name_a_model(word)
            || credential.is_some_and(|own| own.header() == name)
            || credential.is_some() && (is_credential(word) || RANGE_HEADERS.contains(&word))
            || of_connection.iter().any(|named| named == word);
        if !dropped {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(credential) = credential {
        headers.insert(credential.header().clone(), credential.value().clone());
    }
    headers
}

/// Whether a name is one that services read a credential from. Where the operator has set one, the
/// module's own would be another account's.
fn is_credential(name: &str) -> bool {
    let words: Vec<&str> = name.split('-').collect();
    words.iter().any(|word| CREDENTIAL_WORDS.contains(word))
        || words.ends_with(&["key"]) && words.iter().any(|word| KEY_WORDS.contains(word))
}

/// Makes sure that a service reads the same JSON in a body as the proxy: UTF-8, not compressed, and
/// of one type. The content type that is sent is always the proxy's own, since readers differ about
/// parameters of the type.
pub(crate) fn as_json(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let encodings = words(headers, header::CONTENT_ENCODING);
    if encodings.iter().any(|encoding| encoding != "identity") {
        return Err(Refusal::media_type("a compressed request cannot be bounded"));
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (kind, more) = (types.next(), types.next());
    if more.is_some() {
        return Err(Refusal::media_type("the request has more than one content type"));
    }
    if let Some(kind) = kind {
        // A header may hold other bytes than text.
        let text = String::from_utf8_lossy(kind.as_bytes());
        check_json(&text).map_err(|why| {
            let text = quoted(&text);
            Refusal::media_type(format!("the content type {text} is refused: {why}"))
        })?;
    }
    headers.remove(header::CONTENT_ENCODING);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(())
}

fn check_json(kind: &str) -> Result<(), &'static str> {
    let mut parts = kind.split(';').map(str::trim);
    if !parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err("expected \"application/json\"");
    }
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        let is_utf8 = ["utf-8", "utf8"].iter().any(|known| value.eq_ignore_ascii_case(known));
        if name.trim().eq_ignore_ascii_case("charset") && !is_utf8 {
            return Err("JSON is sent in UTF-8");
        }
    }
    Ok(())
}

/// The content and transfer codings of an answer, separated by commas; empty if it is not
/// compressed. Servers compress for the transfer as well (RFC 9112, 6.1), and a compressed body
/// would hold a credential in a form that is not found.
pub(crate) fn coding(answered: &HeaderMap) -> String {
    let plain = |coding: &String| !matches!(coding.as_str(), "" | "identity");
    let content = words(answered, header::CONTENT_ENCODING).into_iter().filter(plain);
    let transfer = words(answered, header::TRANSFER_ENCODING).into_iter().filter(plain);
    let transfer = transfer.filter(|coding| coding != "chunked");
    content
        .chain(transfer.map(|coding| format!("{coding} (Transfer-Encoding)")))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The length of a body that is passed on as the service has it: of a compressed one it is unknown.
pub(crate) fn length(answered: &HeaderMap) -> Option<u64> {
    if !coding(answered).is_empty() {
        return None;
    }
    let length = answered.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    length.trim().parse().ok()
}

/// The headers of an answer that the module gets.
pub(crate) fn passed(answered: &HeaderMap, scrubber: &Scrubber) -> HeaderMap {
    let of_connection = of_connection(answered);
    let mut headers = HeaderMap::new();
    for (name, value) in answered {
        let word = name.as_str();
        let kept = !DROPPED_RESPONSE_HEADERS.contains(&word)
            && !of_connection.iter().any(|named| named == word)
            && !scrubber.finds(value.as_bytes())
            && !scrubber.finds(word.as_bytes());
        if kept {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let list = list.iter();
        list.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            })
    }

    #[test]
    fn names_of_credentials_are_known_by_their_words() {
        for name in [
            "x-litellm-api-key",
            "cf-aig-authorization",
            "helicone-auth",
            "x-auth-token",
            "private-token",
            "x-rapidapi-key",
            "ocp-apim-subscription-key",
            "x-portkey-virtual-key",
            "x-apikey",
            "x-client-secret",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in ["idempotency-key", "x-stainless-lang", "accept", "anthropic-version", "author"]
        {
            assert!(!is_credential(name), "{name}");
        }
    }

    #[test]
    fn only_http_2_is_an_offer_that_may_be_ignored() {
        let asks = |value| asks_for_another_protocol(&headers(&[("upgrade", value)]));
        assert!(!asks("h2c") && !asks("H2C, h2c"));
        for other in ["websocket", "h2c, websocket", "", "TLS/1.0", "h2"] {
            assert!(asks(other), "{other:?}");
        }
        assert!(asks_for_another_protocol(&headers(&[("upgrade", "h2c"), ("upgrade", "x")])));
        assert!(!asks_for_another_protocol(&headers(&[])));
    }

    #[test]
    fn every_compression_of_an_answer_is_known() {
        for (list, expected) in [
            (&[][..], ""),
            (&[("content-encoding", "identity"), ("transfer-encoding", "chunked")], ""),
            (&[("content-encoding", "identity"), ("content-encoding", "GZIP")], "gzip"),
            (&[("content-encoding", "gzip, gzip")], "gzip, gzip"),
            (&[("transfer-encoding", "gzip, chunked")], "gzip (Transfer-Encoding)"),
        ] {
            assert_eq!(coding(&headers(list)), expected, "{list:?}");
        }
        let sized = |more: &[(&'static str, &'static str)]| {
            length(&headers(&[&[("content-length", "12")][..], more].concat()))
        };
        assert_eq!(sized(&[]), Some(12));
        assert_eq!(sized(&[("content-encoding", "gzip")]), None);
        assert_eq!(length(&headers(&[("content-length", "12, 12")])), None);
        let mut odd = headers(&[]);
        odd.insert(header::CONTENT_ENCODING, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_ne!(coding(&odd), "");
    }

    #[test]
    fn a_body_is_read_as_the_same_json_everywhere_or_refused() {
        for list in [
            &[][..],
            &[("content-type", "application/json")],
            &[("content-type", "Application/JSON; charset=\"UTF-8\"")],
            &[
                ("content-type", "application/json;charset=utf8; q=1"),
                ("content-encoding", "Identity"),
            ],
        ] {
            let mut sent = headers(list);
            as_json(&mut sent).unwrap_or_else(|refusal| panic!("{list:?}: {refusal:?}"));
            assert_eq!(sent, headers(&[("content-type", "application/json")]), "{list:?}");
        }
        let utf7 = ("content-type", "application/json; charset=utf-7");
        for list in [
            &[utf7][..],
            &[("content-type", "application/json; charset=utf-8; charset=utf-16")],
            &[("content-type", "application/json; Charset = 'utf-8'")],
            &[("content-type", "application/json, text/plain")],
            &[("content-type", "application/json"), utf7],
            &[("content-type", "application/json"), ("content-type", "application/json")],
            &[("content-type", "text/plain")],
            &[("content-type", "")],
            &[("content-encoding", "gzip")],
            &[("content-encoding", "identity"), ("content-encoding", "gzip")],
        ] {
            let refusal = as_json(&mut headers(list)).unwrap_err();
            assert_eq!(refusal.code, "unsupported_media_type", "{list:?}");
        }
    }
}
