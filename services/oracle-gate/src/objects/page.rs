//! Pages of a listing. The store's client ends a listing where a page names no next one, and drops
//! what the page says of itself; so a page that says that there is more, and not where, would be
//! taken for the last one and the rest of a pack for absent.

use http::Method;
use object_store::client::HttpRequest;
use serde::Deserialize;

/// What a page says of the rest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rest {
    is_truncated: Option<String>,
    next_continuation_token: Option<String>,
}

/// Whether the request asks for a page.
pub(super) fn is_asked_for(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method() == Method::GET && query.split('&').any(|part| part == "list-type=2")
}

/// Whether the page is the last one and says so, or is not and says where the next one begins.
pub(super) fn says_whether_it_is_the_last(body: &[u8]) -> bool {
    let Ok(rest) = quick_xml::de::from_reader::<_, Rest>(body) else { return false };
    let next = rest.next_continuation_token.is_some_and(|token| !token.is_empty());
    match rest.is_truncated.as_deref() {
        Some("true") => next,
        Some("false") => !next,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(inside: &str) -> String {
        let contents = "<Contents><Key>a/IsTruncated&gt;</Key><Size>1</Size></Contents>";
        format!("<?xml version=\"1.0\"?><ListBucketResult>{contents}{inside}</ListBucketResult>")
    }

    #[test]
    fn a_page_says_whether_and_where_it_goes_on() {
        for inside in [
            "<IsTruncated>false</IsTruncated>",
            "<IsTruncated>false</IsTruncated><NextContinuationToken/>",
            "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>",
            "<NextContinuationToken>a&amp;b</NextContinuationToken><IsTruncated>true</IsTruncated>",
        ] {
            assert!(says_whether_it_is_the_last(page(inside).as_bytes()), "{inside}");
        }
        for inside in [
            "",
            "<IsTruncated>true</IsTruncated>",
            "<IsTruncated>true</IsTruncated><NextContinuationToken/>",
            "<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>",
            "<IsTruncated>maybe</IsTruncated>",
            "<IsTruncated/>",
            "<IsTruncated>false</IsTruncated><IsTruncated>true</IsTruncated>",
            "<Deeper><IsTruncated>false</IsTruncated></Deeper>",
        ] {
            assert!(!says_whether_it_is_the_last(page(inside).as_bytes()), "{inside}");
        }
        let whole = page("<IsTruncated>false</IsTruncated>");
        for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
            assert!(!says_whether_it_is_the_last(&whole.as_bytes()[..cut]), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_tell_nothing(bytes in any::<Vec<u8>>()) {
            prop_assert!(!says_whether_it_is_the_last(&bytes));
        }

        #[test]
        fn text_like_a_page_is_read_without_a_panic(
            text in "(<|>|/|</|IsTruncated|NextContinuationToken|true|false|&amp;|&|<!\\[CDATA\\[|]]>|a){0,12}",
        ) {
            says_whether_it_is_the_last(page(&text).as_bytes());
            says_whether_it_is_the_last(text.as_bytes());
        }
    }
}
