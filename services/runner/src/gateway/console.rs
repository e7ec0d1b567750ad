//! The console: static files from a folder, and the document that configures them.
//!
//! The folder is read once, when the process starts. A request can only name what was found then,
//! so no path leads out of the folder, and what a file holds does not change under a running
//! process.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use wire::Digest;

use crate::gateway::pieces;

/// Files of a console, at most.
const MOST_FILES: usize = 2_000;
/// Bytes of all of them, at most: they are held in memory.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// Smaller files gain nothing by compression.
const WORTH_COMPRESSING: usize = 512;
/// Names in here are made from the content, so that a name never means anything else.
const IMMUTABLE: &str = "assets/";
/// What the gateway itself answers under `/`, so that no file may have these names.
const RESERVED: [&str; 2] = ["config.json", "openapi.json"];

/// The digest of an empty style, which some wallet dialogs insert before they fill it by script.
const EMPTY_STYLE: &str = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";

/// The files.
#[derive(Debug)]
pub struct Console {
    files: BTreeMap<String, Arc<File>>,
    policy: HeaderValue,
}

#[derive(Debug)]
struct File {
    kind: &'static str,
    is_immutable: bool,
    plain: Encoded,
    gzip: Option<Encoded>,
}

#[derive(Debug)]
struct Encoded {
    bytes: Bytes,
    tag: HeaderValue,
}

impl Console {
    /// Reads the folder. `connect` are origins beside its own that the pages may call.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is no built console, or is larger than what is held in memory.
    pub fn read(folder: &Path, connect: &[String]) -> anyhow::Result<Self> {
        let shown = folder.display();
        let root = fs::canonicalize(folder).with_context(|| format!("cannot open {shown}"))?;
        let mut found = Found { root: root.clone(), files: BTreeMap::new(), bytes: 0 };
        found.add_folder(&root, "")?;
        ensure!(
            found.files.contains_key("index.html"),
            "{shown} has no index.html; name the folder that the console was built into"
        );
        let policy = HeaderValue::from_str(&policy(connect))?;
        Ok(Self { files: found.files, policy })
    }

    /// Routes of every file; the page itself also at `/`, at `/app` and below it, where its own
    /// addresses are.
    ///
    /// # Errors
    ///
    /// Never in practice: `read` has found the page.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> anyhow::Result<Router<S>> {
        let page = self.files.get("index.html").context("there is no page")?;
        let pages = ["", "app", "app/", "app/{*path}"].map(|path| (path, page));
        let files = self.files.iter().map(|(path, file)| (path.as_str(), file));
        let mut router = Router::new();
        for (path, file) in pages.into_iter().chain(files) {
            let (file, policy) = (Arc::clone(file), self.policy.clone());
            let answer = move |headers: HeaderMap| async move { file.answer(&headers, policy) };
            router = router.route(&format!("/{path}"), get(answer));
        }
        Ok(router)
    }
}

/// What was found so far.
struct Found {
    root: PathBuf,
    files: BTreeMap<String, Arc<File>>,
    bytes: u64,
}

impl Found {
    /// Adds the files of a folder whose path from the root is `below`, empty or ending in `/`.
    fn add_folder(&mut self, folder: &Path, below: &str) -> anyhow::Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // What tools leave beside a build is not served.
            if name.starts_with('.') {
                continue;
            }
            let shown = path.display();
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            ensure!(
                !name.is_empty() && name.bytes().all(is_plain),
                "{shown}: expected a name of letters, digits, dots, dashes and underscores"
            );
            // A link may lead anywhere inside of the folder, and not out of it.
            let real = fs::canonicalize(&path).with_context(|| format!("cannot open {shown}"))?;
            ensure!(real.starts_with(&self.root), "{shown} is a link out of the folder");

            let about = fs::metadata(&real)?;
            if about.is_dir() {
                // Routes of the API are no folders of files.
                ensure!(
                    !below.is_empty() || !super::API_ROOTS.contains(&name),
                    "{shown}: the gateway answers /{name} itself; name the folder otherwise"
                );
                // A circle of links ends here, with its too many files.
                ensure!(below.split('/').count() < 16, "{shown}: folders in folders without end");
                self.add_folder(&real, &format!("{below}{name}/"))?;
            } else if !(below.is_empty() && RESERVED.contains(&name)) {
                self.add_file(&real, format!("{below}{name}"), about.len())?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, file: &Path, path: String, length: u64) -> anyhow::Result<()> {
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > MOST_BYTES || self.files.len() >= MOST_FILES {
            bail!("more than {MOST_FILES} files or {MOST_BYTES} bytes; is it a console's folder?");
        }
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(
            path.contains('.') || path.contains('/'),
            "{path}: a file beside index.html needs an ending, such as .txt"
        );
        self.files.insert(path.clone(), Arc::new(File::new(&path, bytes)?));
        Ok(())
    }
}

impl File {
    fn new(path: &str, bytes: Vec<u8>) -> anyhow::Result<Self> {
        let (kind, is_text) = kind(path);
        let gzip = if is_text && bytes.len() >= WORTH_COMPRESSING {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(&bytes)?;
            Some(encoder.finish()?).filter(|short| short.len() < bytes.len())
        } else {
            None
        };
        Ok(Self {
            kind,
            is_immutable: path.starts_with(IMMUTABLE),
            plain: Encoded::new(bytes)?,
            gzip: gzip.map(Encoded::new).transpose()?,
        })
    }

    fn answer(&self, headers: &HeaderMap, policy: HeaderValue) -> Response {
        let takes_gzip = accepts_gzip(headers);
        let (encoded, encoding) = match &self.gzip {
            Some(gzip) if takes_gzip => (gzip, Some("gzip")),
            _ => (&self.plain, None),
        };
        let cache = match self.is_immutable {
            true => "public, max-age=31536000, immutable",
            // Kept, and asked for each time whether it is still this one.
            false => "no-cache",
        };
        let fixed = [
            (header::CACHE_CONTROL, cache),
            (header::VARY, "accept-encoding"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            // A wallet's window must be able to answer the page that opened it.
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin-allow-popups"),
            (HeaderName::from_static("x-frame-options"), "DENY"),
        ];
        let is_known = headers
            .get(header::IF_NONE_MATCH)
            .and_then(|tags| tags.to_str().ok())
            .is_some_and(|tags| {
                tags.split(',').map(str::trim).any(|tag| {
                    // Proxies may have made the tag a weak one (RFC 9110, section 13.1.2).
                    tag == "*" || tag.trim_start_matches("W/").as_bytes() == encoded.tag.as_bytes()
                })
            });
        let mut answer = match is_known {
            true => (StatusCode::NOT_MODIFIED, pieces::unsent()).into_response(),
            false => Body::from(encoded.bytes.clone()).into_response(),
        };
        let out = answer.headers_mut();
        for (name, value) in fixed {
            out.insert(name, HeaderValue::from_static(value));
        }
        out.insert(header::ETAG, encoded.tag.clone());
        out.insert(header::CONTENT_SECURITY_POLICY, policy);
        if !is_known {
            out.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
            if let Some(encoding) = encoding {
                out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
        }
        answer
    }
}

impl Encoded {
    fn new(bytes: Vec<u8>) -> anyhow::Result<Self> {
        // Of what is sent: the compressed form has another tag than the plain one.
        let tag = HeaderValue::from_str(&format!("\"{}\"", Digest::of(&bytes)))?;
        Ok(Self { bytes: bytes.into(), tag })
    }
}

/// The type of a file, and whether it is text that compresses well.
fn kind(path: &str) -> (&'static str, bool) {
    let ending = path.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default();
    match ending {
        "html" => ("text/html; charset=utf-8", true),
        "js" | "mjs" => ("text/javascript; charset=utf-8", true),
        "css" => ("text/css; charset=utf-8", true),
        "json" | "map" => ("application/json", true),
        "webmanifest" => ("application/manifest+json", true),
        "svg" => ("image/svg+xml", true),
        "txt" | "md" => ("text/plain; charset=utf-8", true),
        "wasm" => ("application/wasm", true),
        "png" => ("image/png", false),
        "jpg" | "jpeg" => ("image/jpeg", false),
        "webp" => ("image/webp", false),
        "avif" => ("image/avif", false),
        "ico" => ("image/vnd.microsoft.icon", false),
        "woff2" => ("font/woff2", false),
        _ => ("application/octet-stream", false),
    }
}

/// Whether the client takes gzip: it says so, and not with a weight of zero (RFC 9110, 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        let is_refused = weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|q| q <= 0.0));
        is_gzip && !is_refused
    })
}

/// What a page may do. Scripts come from here alone, none is inline; WebAssembly verifies
/// runs in the browser.
fn policy(connect: &[String]) -> String {
    let mut others = String::new();
    for origin in connect {
        others.push(' ');
        others.push_str(origin);
    }
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
         style-src 'self' {EMPTY_STYLE}; img-src 'self' data:; font-src 'self' data:; \
         connect-src 'self'{others}; worker-src 'self'; manifest-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_no_file_from_outside_of_it() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.txt"), "x").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(Console::read(folder.path(), &[]).is_err(), "there is no page");
        fs::write(at("index.html"), "<!doctype html>").unwrap();
        fs::write(at(".env"), "SECRET=1").unwrap();
        fs::create_dir(at("assets")).unwrap();
        fs::write(at("assets/a-1.js"), "x").unwrap();
        fs::write(at("config.json"), "{}").unwrap();
        let console = Console::read(folder.path(), &[]).unwrap();
        let names: Vec<_> = console.files.keys().map(String::as_str).collect();
        assert_eq!(names, ["assets/a-1.js", "index.html"]);

        std::os::unix::fs::symlink(outside.path().join("secret.txt"), at("link.txt")).unwrap();
        let refused = Console::read(folder.path(), &[]).unwrap_err().to_string();
        assert!(refused.contains("out of the folder"), "{refused}");
        fs::remove_file(at("link.txt")).unwrap();
        fs::create_dir(at("runs")).unwrap();
        assert!(Console::read(folder.path(), &[]).is_err(), "/runs is the gateway's own");
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let takes = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(text).unwrap());
            accepts_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && takes("deflate, gzip"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("x-gzip") && !takes("gzip; q=0.0"));
    }
}
