//! Where a store is: a folder of this machine, or a bucket and a prefix of an S3-compatible
//! service.
//!
//! A location is wiring and holds no secret, so it may be printed.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use url::{Host, Url};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A folder.
    Local(PathBuf),
    /// A bucket and a prefix in it.
    S3(S3Location),
}

/// A bucket and a prefix in it, and how the service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// Everything of ours lies below it; empty: the whole bucket.
    pub prefix: String,
    /// URL of the service; none: Amazon's for the region.
    pub endpoint: Option<String>,
    /// Region for signatures.
    pub region: String,
    /// Whether the bucket is named in the path rather than in the host's name.
    pub path_style: bool,
}

/// How an S3-compatible service is reached, as profiles and the environment say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Settings {
    /// URL of the service; none: Amazon's for the region.
    pub endpoint: Option<String>,
    /// Region; none is only allowed together with an endpoint.
    pub region: Option<String>,
    /// Whether the bucket is named in the path; none: as is usual, in the path only of other
    /// services than Amazon's.
    pub path_style: Option<bool>,
    /// Whether an endpoint other than this machine may be reached without TLS.
    pub allow_http: bool,
}

/// Why a location is refused, in one line without a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LocationError {
    /// Something is wrong with the root, or it needs wiring that is missing.
    #[error("{0}")]
    Root(String),
    /// Something is wrong with the endpoint.
    #[error("{0}")]
    Endpoint(String),
}

impl LocationError {
    fn root(text: impl Into<String>) -> Self {
        Self::Root(text.into())
    }
}

impl StoreLocation {
    /// Reads a root: a path, a `file://` URL, or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(root: &str, wiring: &S3Settings) -> Result<Self, LocationError> {
        if let Some(rest) = root.strip_prefix("s3://") {
            return S3Location::parse(rest, wiring).map(Self::S3);
        }
        let refused = |text: &str| Err(LocationError::root(text));
        let in_url = root.strip_prefix("file://");
        // A host in a URL would be taken for the first folder of a relative path.
        if in_url.is_some_and(|path| !path.starts_with('/')) {
            return refused("oracle_root is neither a path nor file:/// with an absolute path");
        }
        match in_url.unwrap_or(root) {
            "" => refused("oracle_root is empty"),
            // The text is not repeated: it may be a secret.
            path if path.contains("://") => {
                refused("oracle_root is neither a folder of this machine nor s3://bucket/prefix")
            }
            path => Ok(Self::Local(path.into())),
        }
    }

    /// The bucket, if it is one.
    pub fn bucket(&self) -> Option<&S3Location> {
        match self {
            Self::Local(_) => None,
            Self::S3(at) => Some(at),
        }
    }

    /// The folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Local(folder) => Some(folder),
            Self::S3(_) => None,
        }
    }
}

impl S3Location {
    fn parse(rest: &str, wiring: &S3Settings) -> Result<Self, LocationError> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) {
            let text = "the bucket's name has not 3 to 63 of a-z, 0-9, '.' and '-'";
            return Err(LocationError::root(text));
        }
        if !prefix.is_empty() {
            seal::path::check(prefix).map_err(|error| {
                LocationError::root(format!("the prefix is refused: {}", error.reason))
            })?;
            if prefix.len() > seal::path::MAX_PREFIX_BYTES {
                let most = seal::path::MAX_PREFIX_BYTES;
                let text = format!("the prefix is longer than {most} bytes");
                return Err(LocationError::root(text));
            }
        }
        let endpoint = wiring.endpoint.as_deref().filter(|text| !text.is_empty());
        let endpoint = endpoint.map(|text| endpoint_url(text, wiring.allow_http)).transpose();
        let endpoint = endpoint.map_err(LocationError::Endpoint)?;
        let region = wiring.region.clone().filter(|region| !region.is_empty());
        let region = match (region, &endpoint) {
            (Some(region), _) => region,
            // Other services ignore it, but a signature has to name one.
            (None, Some(_)) => "us-east-1".to_owned(),
            (None, None) => {
                return Err(LocationError::root("an s3:// root needs a region or an endpoint"));
            }
        };
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            path_style: wiring.path_style.unwrap_or(endpoint.is_some()),
            endpoint,
            region,
        })
    }
}

/// An endpoint is an origin: anything more would be dropped, or printed although it is a secret.
fn endpoint_url(text: &str, allow_http: bool) -> Result<String, String> {
    let url = Url::parse(text).map_err(|_| "the endpoint is not a URL".to_owned())?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && matches!(url.path(), "" | "/");
    if !bare {
        return Err("the endpoint is more than scheme, host and port".to_owned());
    }
    let here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return Err("the endpoint has no host".to_owned()),
    };
    match url.scheme() {
        "https" => {}
        "http" if here || allow_http => {}
        "http" => {
            let text = "an http:// endpoint on another machine needs allow_http: true";
            return Err(text.to_owned());
        }
        _ => return Err("the endpoint is neither https:// nor http://".to_owned()),
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(folder) => fmt::Display::fmt(&folder.display(), f),
            Self::S3(S3Location { bucket, prefix, .. }) if prefix.is_empty() => {
                write!(f, "s3://{bucket}")
            }
            Self::S3(S3Location { bucket, prefix, .. }) => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A root that is taken prints as itself, and leads to no other place.
        #[test]
        fn a_root_is_taken_as_it_is_written_or_refused(
            root in "(s3://|file://|http://|/|\\.\\./|packs|prod|[A-Z]|@|\\?|#|%2F|é){0,6}",
            endpoint in "(https?://|s3|\\.|example|:9000|/|@|\\?|#){0,6}",
        ) {
            match StoreLocation::parse(&root, &at(&endpoint)) {
                Ok(StoreLocation::S3(location)) => {
                    let again = StoreLocation::S3(location.clone()).to_string();
                    prop_assert_eq!(&again, root.trim_end_matches('/'));
                    prop_assert!(location.prefix.split('/').all(|part| part != ".."));
                    let origin = location.endpoint.unwrap_or_default();
                    prop_assert!(!origin.contains(['@', '?', '#']), "{}", origin);
                }
                Ok(StoreLocation::Local(folder)) => {
                    let rest = root.strip_prefix("file://").unwrap_or(&root);
                    prop_assert_eq!(folder.to_str(), Some(rest));
                    prop_assert!(!rest.contains("://"));
                }
                Err(error) => prop_assert!(!error.to_string().contains('@'), "{}", error),
            }
        }
    }

    fn s3(root: &str, wiring: &S3Settings) -> Option<S3Location> {
        StoreLocation::parse(root, wiring).ok()?.bucket().cloned()
    }

    fn at(endpoint: &str) -> S3Settings {
        S3Settings { endpoint: Some(endpoint.to_owned()), ..S3Settings::default() }
    }

    #[test]
    fn endpoint_region_and_path_style_are_wiring() {
        let location = s3("s3://packs/prod/eu/", &at("http://127.0.0.1:9000/")).unwrap();
        assert_eq!((location.bucket.as_str(), location.prefix.as_str()), ("packs", "prod/eu"));
        assert_eq!(location.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert!(location.path_style && location.region == "us-east-1");
        assert_eq!(StoreLocation::S3(location).to_string(), "s3://packs/prod/eu");

        let amazon = S3Settings { region: Some("eu-west-1".to_owned()), ..S3Settings::default() };
        let location = s3("s3://packs", &amazon).unwrap();
        assert_eq!((location.region.as_str(), location.path_style), ("eu-west-1", false));
        let chosen = S3Settings { path_style: Some(true), ..amazon };
        assert!(s3("s3://packs", &chosen).unwrap().path_style);
    }

    #[test]
    fn what_is_doubtful_is_refused_without_repeating_it() {
        for (root, wiring) in [
            ("s3://packs", S3Settings::default()),
            ("s3://", at("https://s3.example")),
            ("s3://UPPER/x", at("https://s3.example")),
            ("s3://packs/../x", at("https://s3.example")),
            ("s3://packs", at("https://me:hunter2@s3.example")),
            ("s3://packs", at("https://s3.example/?token=hunter2")),
            ("s3://packs", at("http://s3.example")),
            ("s3://packs", at("ftp://s3.example")),
            ("gs://hunter2", S3Settings::default()),
            ("", S3Settings::default()),
        ] {
            let refused = StoreLocation::parse(root, &wiring).unwrap_err();
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
        let open = S3Settings { allow_http: true, ..at("http://s3.example") };
        assert!(s3("s3://packs", &open).is_some());
    }

    #[test]
    fn a_folder_is_a_path_or_a_file_url() {
        let location = StoreLocation::parse("file:///srv/x", &S3Settings::default()).unwrap();
        assert_eq!(location.folder(), Some(Path::new("/srv/x")));
        for relative in ["file://host/x", "file://x", "file://"] {
            assert!(StoreLocation::parse(relative, &S3Settings::default()).is_err(), "{relative}");
        }
    }
}
