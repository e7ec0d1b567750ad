//! A store in a bucket.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::TryFutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, Checksum, S3ConditionalPut};
use object_store::client::HttpRequestBody;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::failure::{StoreError, classify, from_status};
use super::kept::Versions;
use super::listing::{Key, Keys};
use super::page;
use super::transport::{Connector, code};
use super::{Credentials, MAX_LISTED, S3Location, Timeouts};

/// Objects asked for in one page.
const PAGE: usize = 1000;
/// How long an address signed for a probe holds.
const SIGNED_FOR: Duration = Duration::from_secs(60);

/// A bucket, and what its own client offers beside the common interface.
#[derive(Debug)]
pub(super) struct S3 {
    pub(super) store: AmazonS3,
    /// For writes: each names the algorithm of its checksum, which a bucket with a default
    /// retention demands (Amazon S3, "PutObject": `x-amz-sdk-checksum-algorithm` or `Content-MD5`).
    pub(super) writes: AmazonS3,
    http: reqwest::Client,
    answer: Duration,
    region: String,
}

/// A page of the versions of a bucket's objects.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VersionPage {
    #[serde(rename = "Version")]
    versions: Vec<VersionKey>,
    #[serde(rename = "DeleteMarker")]
    markers: Vec<VersionKey>,
    is_truncated: String,
    next_key_marker: String,
    next_version_id_marker: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VersionKey {
    key: String,
}

/// A page of a bucket's objects.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ObjectPage {
    contents: Vec<ObjectKey>,
    next_continuation_token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ObjectKey {
    key: String,
    size: u64,
    #[serde(rename = "ETag")]
    tag: String,
    last_modified: String,
}

impl ObjectKey {
    fn read(self) -> Key {
        let written = OffsetDateTime::parse(&self.last_modified, &Rfc3339);
        let changed = written.map_or(0, OffsetDateTime::unix_timestamp_nanos);
        let mark = format!("{}:{}:{}", self.size, self.tag, self.last_modified);
        Key { key: self.key, length: self.size, mark, changed }
    }
}

impl S3 {
    pub(super) fn new(
        location: &S3Location,
        credentials: &Credentials,
        timeouts: Timeouts,
    ) -> object_store::Result<Self> {
        // Signed with the rest; without it a service does not report the checksum it keeps.
        let store = client(location, credentials, timeouts, ("x-amz-checksum-mode", "ENABLED"))?;
        let named = ("x-amz-sdk-checksum-algorithm", "SHA256");
        let writes = client(location, credentials, timeouts, named)?;
        let failed = |error: reqwest::Error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        };
        let http = Connector::client().map_err(failed)?;
        let region = location.region.clone();
        Ok(Self { store, writes, http, answer: timeouts.answer, region })
    }

    /// Every key that starts with `prefix`, by its exact text; with `flat` only up to the next
    /// slash.
    pub(super) async fn keys(&self, prefix: &str, flat: bool) -> Result<Keys, StoreError> {
        match self.keys_by_client(prefix, flat).await {
            // `object_store` fails the whole listing at one key that it cannot parse. The keys are
            // listed again with our own parser, so that this key does not hide the others.
            Err(StoreError::Name { .. }) => self.keys_as_they_are(prefix, flat).await,
            listed => listed,
        }
    }

    async fn keys_by_client(&self, prefix: &str, flat: bool) -> Result<Keys, StoreError> {
        let (mut keys, mut token) = (Vec::new(), None);
        loop {
            let page = PaginatedListOptions {
                delimiter: flat.then_some("/".into()),
                max_keys: Some(PAGE),
                page_token: token,
                ..PaginatedListOptions::default()
            };
            let page = self.store.list_paginated(Some(prefix), page).await;
            let page = page.map_err(|error| classify(prefix, &error))?;
            keys.extend(page.result.objects.iter().map(Key::of));
            within_limit(prefix, keys.len())?;
            // A page that is not the last was seen to name the next one; some name an empty one at
            // the end.
            token = page.page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(Keys { found: keys, odd: Vec::new() });
            }
        }
    }

    async fn keys_as_they_are(&self, prefix: &str, flat: bool) -> Result<Keys, StoreError> {
        let mut keys = Keys::default();
        let mut token = String::new();
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            if flat {
                query.push(("delimiter", "/"));
            }
            if !token.is_empty() {
                query.push(("continuation-token", &token));
            }
            let body = self.ask(prefix, &query).await?;
            let unclear = |cause: &str| StoreError::Unavailable {
                path: prefix.to_owned(),
                cause: cause.to_owned(),
            };
            if !page::says_whether_it_is_the_last(&body) {
                return Err(unclear("a page of the listing does not say whether there is more"));
            }
            let page: ObjectPage = quick_xml::de::from_reader(&body[..])
                .map_err(|_| unclear("a page of the listing cannot be read"))?;
            for key in page.contents.into_iter().map(ObjectKey::read) {
                // An empty object whose key ends in a slash makes a folder visible, and is no file.
                if key.length == 0 && key.key.ends_with('/') && Path::parse(&key.key).is_ok() {
                    continue;
                }
                match Path::parse(&key.key) {
                    Ok(path) if path.as_ref() == key.key => keys.found.push(key),
                    _ => keys.odd.push(key.key),
                }
            }
            within_limit(prefix, keys.found.len() + keys.odd.len())?;
            if page.next_continuation_token.is_empty() {
                return Ok(keys);
            }
            token = page.next_continuation_token;
        }
    }

    /// The keys that start with `prefix` and have a delete marker or more than one version.
    pub(super) async fn rewritten(&self, prefix: &str) -> Result<BTreeSet<String>, StoreError> {
        let (mut seen, mut rewritten) = (BTreeSet::new(), BTreeSet::new());
        let (mut key, mut version) = (String::new(), String::new());
        loop {
            let mut query = vec![("prefix", prefix), ("versions", "")];
            for (name, value) in [("key-marker", &key), ("version-id-marker", &version)] {
                if !value.is_empty() {
                    query.push((name, value));
                }
            }
            let body = self.ask(prefix, &query).await?;
            let page = version_page(prefix, &body)?;
            for version in page.versions {
                if !seen.insert(version.key.clone()) {
                    rewritten.insert(version.key);
                }
            }
            rewritten.extend(page.markers.into_iter().map(|marker| marker.key));
            within_limit(prefix, seen.len())?;
            // Also where the store keeps no versions and answers with an ordinary listing.
            if page.is_truncated == "false" {
                return Ok(rewritten);
            }
            let next = (page.next_key_marker, page.next_version_id_marker);
            let goes_on = !next.0.is_empty() && (&next.0, &next.1) != (&key, &version);
            if page.is_truncated != "true" || !goes_on {
                let (path, cause) = (prefix.to_owned(), "a page of its versions names no end");
                return Err(StoreError::Unavailable { path, cause: cause.to_owned() });
            }
            (key, version) = next;
        }
    }

    /// How often something was written or deleted under a key. A key's own versions are the first
    /// of those that begin as it does, so one page says all that matters: whether there is more
    /// than one.
    pub(super) async fn versions(&self, location: &Path) -> Result<Versions, StoreError> {
        let path = location.to_string();
        let body = self.ask(&path, &[("prefix", &path), ("versions", "")]).await?;
        let page = version_page(&path, &body)?;
        let of = |keys: Vec<VersionKey>| keys.iter().filter(|one| one.key == path).count();
        Ok(Versions { versions: of(page.versions), markers: of(page.markers) })
    }

    /// A question about the bucket itself, for which the client has no call. `about` is named in
    /// errors.
    pub(super) async fn ask(
        &self,
        about: &str,
        query: &[(&str, &str)],
    ) -> Result<Bytes, StoreError> {
        let path = about.to_owned();
        let failed = |cause: String| StoreError::Unavailable { path: path.clone(), cause };
        // Of an address that the client signs, what comes before the key is the bucket's own.
        let signed = self.store.signed_url(Method::GET, &Path::from("x"), SIGNED_FOR).await;
        let mut url = signed.map_err(|error| classify(&path, &error))?;
        let bucket = url.path().strip_suffix("/x").unwrap_or_default().to_owned();
        url.set_path(&bucket);
        url.set_query(None);
        url.query_pairs_mut().extend_pairs(query);

        let request = http::Request::builder().uri(url.as_str()).method(Method::GET);
        let request = request.body(HttpRequestBody::empty());
        let mut request = request.map_err(|error| failed(error.to_string()))?;
        let credential = self.store.credentials().get_credential().await;
        let credential = credential.map_err(|error| classify(&path, &error))?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| classify(&path, &error))?;
        let sent = self.http.get(url).headers(request.headers().clone()).timeout(self.answer);
        let answer = match sent.send().await.map_err(reqwest::Error::without_url) {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => return Err(StoreError::Timeout { path }),
            Err(error) => return Err(failed(error.to_string())),
        };
        let status = answer.status();
        let body = answer.bytes().await.map_err(reqwest::Error::without_url);
        let body = body.map_err(|error| failed(error.to_string()))?;
        if status.is_success() {
            return Ok(body);
        }
        Err(from_status(&path, status.as_u16(), code(&body).unwrap_or_default()))
    }

    /// Uploads with a checksum stated by the caller, right or wrong; answers the status.
    pub(super) async fn put_stating(
        &self,
        location: &Path,
        bytes: &'static [u8],
        sha256: &str,
    ) -> Result<u16, StoreError> {
        let path = location.to_string();
        let failed = |cause: String| StoreError::Unavailable { path: path.clone(), cause };
        let stated = HeaderName::from_static("x-amz-checksum-sha256");
        let value = HeaderValue::from_str(sha256).map_err(|error| failed(error.to_string()))?;
        let options = SignedUrlOptions::new().with_signed_header(stated.clone(), value.clone());
        let signed = self.writes.signed_url_opts(Method::PUT, location, SIGNED_FOR, &options);
        let url = signed.await.map_err(|error| classify(&path, &error))?;
        let sent = self.http.put(url).header(stated, value).body(bytes).timeout(self.answer).send();
        // The address is as good as a key while it holds, so it must not be part of an error.
        let sent = sent.map_err(reqwest::Error::without_url).await;
        match sent {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) if error.is_timeout() => Err(StoreError::Timeout { path }),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn version_page(path: &str, body: &[u8]) -> Result<VersionPage, StoreError> {
    quick_xml::de::from_reader(body).map_err(|_| StoreError::Unavailable {
        path: path.to_owned(),
        cause: "its list of versions cannot be read".to_owned(),
    })
}

fn within_limit(path: &str, listed: usize) -> Result<(), StoreError> {
    if listed > MAX_LISTED {
        return Err(StoreError::TooLarge { path: path.to_owned(), most: MAX_LISTED as u64 });
    }
    Ok(())
}

/// A client of which every request carries `header`.
fn client(
    location: &S3Location,
    credentials: &Credentials,
    timeouts: Timeouts,
    header: (&'static str, &'static str),
) -> object_store::Result<AmazonS3> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(header.0), HeaderValue::from_static(header.1));
    let options = ClientOptions::new()
        .with_allow_http(location.endpoint.as_ref().is_some_and(|url| url.starts_with("http://")))
        .with_default_headers(headers);
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: timeouts.retries,
        // The last try begins early enough to end within the limit of the call.
        retry_timeout: timeouts.call / 2,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&location.bucket)
        .with_region(&location.region)
        .with_virtual_hosted_style_request(!location.path_style)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_disable_bulk_delete(true)
        .with_client_options(options)
        .with_retry(retry)
        .with_http_connector(Connector { answer: timeouts.answer });
    if let Some(endpoint) = &location.endpoint {
        let endpoint = match (location.path_style, endpoint.split_once("://")) {
            // The client takes an endpoint of this style with the bucket in its name already.
            (false, Some((scheme, host))) => format!("{scheme}://{}.{host}", location.bucket),
            _ => endpoint.clone(),
        };
        builder = builder.with_endpoint(endpoint);
    }
    credentials.apply(builder).build()
}
