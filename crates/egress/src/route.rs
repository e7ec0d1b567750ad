//! One service that a module may use: where it is, what may be asked of it, and within what limits.

use std::time::Duration;

use http::Method;
use percent_encoding::percent_decode_str;
use url::Url;
use wire::egress::UpstreamKind;

use crate::secret::Credential;
use crate::text::quoted;

/// One service as one execution may use it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The name in the module's manifest: the first part of the path at the proxy.
    pub name: String,
    /// The form of requests and answers.
    pub kind: UpstreamKind,
    /// Its address; paths are below it.
    pub url: Url,
    /// Models that may be asked for; empty for all.
    pub models: Vec<String>,
    /// Methods that may be used; empty for all of its kind.
    pub methods: Vec<Method>,
    /// Paths below the address that may be asked for; empty for all of its kind. One that ends in
    /// `*` matches all that begin with the rest.
    pub paths: Vec<String>,
    /// Bodies are kept as evidence.
    pub keeps_bodies: bool,
    /// What proves who asks.
    pub credential: Option<Credential>,
    /// The operator's limits.
    pub limits: Limits,
}

/// The operator's limits for one execution's use of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests that leave.
    pub calls: u64,
    /// Tokens read.
    pub llm_in: u64,
    /// Tokens written.
    pub llm_out: u64,
    /// Tokens written in one call that states no limit of its own.
    pub output_tokens: u64,
    /// Bytes of one request's body.
    pub request_bytes: usize,
    /// Bytes of one answer's body, compressed and decompressed each.
    pub response_bytes: usize,
    /// Requests under way at once; more wait.
    pub concurrency: usize,
    /// Until a connection is made.
    pub connect: Duration,
    /// Between two pieces of an answer, and until its first.
    pub idle: Duration,
    /// From a request to the end of its answer.
    pub total: Duration,
    /// Tokens that a service adds to what it is sent.
    pub allowance: Allowance,
}

/// Tokens that a service may add to the text that it is sent, and what has no bound of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// For each message.
    pub message: u64,
    /// For each call.
    pub call: u64,
    /// For a call that offers tools.
    pub tools: u64,
    /// For each part whose tokens nothing sent bounds: images, audio, files, ids of content stored
    /// at the service, tools that run there. Such a call is refused without it. A member that is
    /// not known is refused in any case.
    pub unbounded: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 1_000,
            llm_in: u64::MAX,
            llm_out: u64::MAX,
            output_tokens: 4_096,
            request_bytes: 8 << 20,
            response_bytes: 32 << 20,
            concurrency: 8,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            total: Duration::from_secs(600),
            allowance: Allowance::default(),
        }
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self { message: 32, call: 64, tools: 768, unbounded: None }
    }
}

/// What a request is about, as far as it decides how it is bounded and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// OpenAI `chat/completions`.
    Chat,
    /// OpenAI `completions`.
    Completions,
    /// OpenAI `embeddings`.
    Embeddings,
    /// OpenAI `responses`.
    Responses,
    /// Anthropic `messages`.
    Messages,
    /// Anthropic `messages/count_tokens`: asks a model how many tokens a text has, and uses none.
    CountTokens,
    /// Asks about models: uses no tokens.
    Free,
    /// Of another service: only the call counts.
    Plain,
}

impl Endpoint {
    /// Whether its answer carries a record of tokens.
    pub fn is_metered(self) -> bool {
        !matches!(self, Self::CountTokens | Self::Free | Self::Plain)
    }

    /// Whether its requests name a model.
    pub fn names_a_model(self) -> bool {
        !matches!(self, Self::Free | Self::Plain)
    }

    /// Refuses every parameter of a query that is not known: some services and gateways take the
    /// model from there, or a member of the body.
    ///
    /// # Errors
    /// Why the query is refused.
    pub fn check_query(self, query: Option<&str>) -> Result<(), String> {
        if !self.names_a_model() {
            return Ok(());
        }
        match query.unwrap_or_default().split('&').find(|one| !is_known_parameter(one)) {
            None => Ok(()),
            Some(one) => Err(format!(
                "the parameter {} of the query is refused: it could name another model or raise \
                 the cost",
                quoted(one)
            )),
        }
    }
}

/// Parameters that SDKs send: Anthropic's for its beta endpoints, Azure's for the version of its
/// interface. No sign of a value is one by which some servers begin another parameter.
fn is_known_parameter(parameter: &str) -> bool {
    let is_version =
        |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    matches!(parameter, "" | "beta=true")
        || parameter.strip_prefix("api-version=").is_some_and(is_version)
}

/// Whether a member of a body or a header with this name may say which model answers.
pub(crate) fn may_name_a_model(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["model", "fallback", "deployment"].iter().any(|word| name.contains(word))
}

impl Route {
    /// The endpoint that a request is for.
    ///
    /// # Errors
    /// Why it is not allowed.
    pub fn endpoint(&self, method: &Method, path: &str) -> Result<Endpoint, String> {
        if !METHODS.contains(method) {
            // Names of methods are told apart by their letters (RFC 9110, 9.1), but not by every
            // server: for some, `trace` is TRACE, which answers with what it was sent, credential
            // and all.
            return Err(format!("the method {} is not allowed", quoted(method.as_str())));
        }
        if !self.methods.is_empty() && !self.methods.contains(method) {
            let allowed: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
            return Err(format!("the module declares no {method}, only {}", allowed.join(", ")));
        }
        let declared = self.paths.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == allowed,
        });
        if !self.paths.is_empty() && !declared {
            return Err(format!("the module declares no path {}", quoted(path)));
        }

        // An address with or without the version: `https://…/v1`, or the server alone.
        let known = path.strip_prefix("/v1").unwrap_or(path);
        let post = method == Method::POST;
        let endpoint = match (self.kind, known) {
            (UpstreamKind::Http, _) => Some(Endpoint::Plain),
            (UpstreamKind::OpenAi, "/chat/completions") if post => Some(Endpoint::Chat),
            (UpstreamKind::OpenAi, "/completions") if post => Some(Endpoint::Completions),
            (UpstreamKind::OpenAi, "/embeddings") if post => Some(Endpoint::Embeddings),
            (UpstreamKind::OpenAi, "/responses") if post => Some(Endpoint::Responses),
            (UpstreamKind::Anthropic, "/messages") if post => Some(Endpoint::Messages),
            (UpstreamKind::Anthropic, "/messages/count_tokens") if post => {
                Some(Endpoint::CountTokens)
            }
            (_, models) if method == Method::GET && is_models(models) => Some(Endpoint::Free),
            _ => None,
        };
        endpoint.ok_or_else(|| {
            let path = quoted(path);
            format!(
                "{method} {path} is not allowed: the tokens of such a request cannot be counted"
            )
        })
    }

    /// The address that a request goes to. `path` begins with a slash.
    ///
    /// # Errors
    /// Why the path is refused: it could mean another place than it says.
    pub fn target(&self, path: &str, query: Option<&str>) -> Result<Url, String> {
        check(path)?;
        let base = self.url.path().trim_end_matches('/');
        let mut url = self.url.clone();
        url.set_path(&format!("{base}{path}"));
        url.set_query(query);
        // What the library made of it has to be what was checked.
        let below = url.path().strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        if below { Ok(url) } else { Err(format!("the path {} leaves the service", quoted(path))) }
    }

    /// Where a redirect leads, as the module has to ask for it; nothing if it leaves the service.
    pub fn redirect(&self, asked: &Url, location: &str) -> Option<String> {
        let target = asked.join(location).ok()?;
        let same = target.origin() == self.url.origin()
            && target.username().is_empty()
            && target.password().is_none();
        let base = self.url.path().trim_end_matches('/');
        let rest = target.path().strip_prefix(base).filter(|rest| rest.starts_with('/'))?;
        if !same || check(rest).is_err() {
            return None;
        }
        let query = target.query().map_or_else(String::new, |query| format!("?{query}"));
        Some(format!("/{}{rest}{query}", self.name))
    }
}

/// Every method that a request may have: those that a manifest can name, and `OPTIONS`.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

fn is_models(path: &str) -> bool {
    path == "/models" || path.strip_prefix("/models/").is_some_and(|id| !id.is_empty())
}

/// Refuses what two readers could understand in two ways.
fn check(path: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("the path {} is refused: {why}", quoted(path)));
    if !path.starts_with('/') {
        return refused("it does not begin with a slash");
    }
    let decoded = percent_decode_str(path).collect::<Vec<u8>>();
    if decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\') {
        return refused("it holds a control character or a backslash");
    }
    let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
    if slashes(&decoded) != slashes(path.as_bytes()) {
        return refused("it holds an encoded slash");
    }
    // Once decoded is enough: no server that decodes twice is asked with a sign that is left.
    if decoded.windows(3).any(|three| {
        three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit()
    }) {
        return refused("it is encoded twice");
    }
    let mut parts = decoded.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        // Some servers take a parameter off each part before they look at it (RFC 3986, 3.3).
        let part = part.split(|byte| *byte == b';').next().unwrap_or_default();
        if part == b"." || part == b".." || (part.is_empty() && !last) {
            return refused("it holds an empty part, `.` or `..`");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(kind: UpstreamKind, url: &str) -> Route {
        Route {
            name: "model".to_owned(),
            kind,
            url: url.parse().unwrap(),
            models: Vec::new(),
            methods: Vec::new(),
            paths: Vec::new(),
            keeps_bodies: false,
            credential: None,
            limits: Limits::default(),
        }
    }

    #[test]
    fn only_requests_that_can_be_counted_are_let_out() {
        let counting = route(UpstreamKind::Anthropic, "https://api.example");
        let counting = counting.endpoint(&Method::POST, "/v1/messages/count_tokens");
        assert_eq!(counting, Ok(Endpoint::CountTokens));
        let route = route(UpstreamKind::OpenAi, "https://api.example/v1");
        let endpoint = |method: Method, path| route.endpoint(&method, path);
        assert_eq!(endpoint(Method::POST, "/chat/completions"), Ok(Endpoint::Chat));
        assert_eq!(endpoint(Method::POST, "/v1/responses"), Ok(Endpoint::Responses));
        assert_eq!(endpoint(Method::GET, "/models/x"), Ok(Endpoint::Free));
        for (method, path) in [
            (Method::GET, "/chat/completions"),
            (Method::POST, "/files"),
            (Method::POST, "/images/generations"),
            (Method::POST, "/batches"),
            (Method::GET, "/responses/r_1"),
            (Method::POST, "/chat/completions/"),
            (Method::DELETE, "/models/x"),
        ] {
            assert!(endpoint(method.clone(), path).is_err(), "{method} {path}");
        }
    }

    #[test]
    fn no_parameter_of_a_query_names_a_model() {
        for endpoint in [Endpoint::Chat, Endpoint::Messages, Endpoint::CountTokens] {
            for query in
                [None, Some(""), Some("beta=true"), Some("api-version=2024-10-21-preview&")]
            {
                assert_eq!(endpoint.check_query(query), Ok(()), "{query:?}");
            }
            for query in [
                "model=other",
                "beta=true&model=other",
                "beta=true;model=other",
                "beta=false",
                "api-version=1;model=other",
                "api-version=1%26model=other",
                "m%6fdel=other",
                "%6dodel=other",
                "model[]=other",
                "MODEL=other",
                "deployment=other",
                "extra_body=%7B%7D",
                "n=100",
                "max_tokens=100000",
                "_method=GET",
                "model",
                "=",
            ] {
                let error = endpoint.check_query(Some(query)).unwrap_err();
                assert!(error.contains("could name another model"), "{query}: {error}");
            }
            let long = "x".repeat(40_000);
            assert!(endpoint.check_query(Some(&long)).unwrap_err().len() < 500);
        }
        assert_eq!(Endpoint::Free.check_query(Some("limit=20&after_id=m")), Ok(()));
        assert_eq!(Endpoint::Plain.check_query(Some("model=any")), Ok(()));
    }

    #[test]
    fn declared_methods_and_paths_bind() {
        let mut route = route(UpstreamKind::Http, "https://data.example/api");
        route.methods = vec![Method::GET];
        route.paths = vec!["/v1/rates".to_owned(), "/v1/days/*".to_owned()];
        assert!(route.endpoint(&Method::GET, "/v1/rates").is_ok());
        assert!(route.endpoint(&Method::GET, "/v1/days/1").is_ok());
        assert!(route.endpoint(&Method::GET, "/v1/other").unwrap_err().contains("/v1/other"));
        assert!(route.endpoint(&Method::POST, "/v1/rates").unwrap_err().contains("only GET"));
    }

    #[test]
    fn only_known_methods_leave_and_only_as_they_are_written() {
        let route = route(UpstreamKind::Http, "https://data.example/api");
        for method in METHODS {
            assert!(route.endpoint(&method, "/a").is_ok(), "{method}");
        }
        for name in ["TRACE", "trace", "Trace", "CONNECT", "connect", "get", "POSt", "PROPFIND"] {
            let method: Method = name.parse().unwrap();
            let error = route.endpoint(&method, "/a").unwrap_err();
            assert!(error.contains("is not allowed"), "{error}");
        }
        let long: Method = "X".repeat(9_000).parse().unwrap();
        assert!(route.endpoint(&long, &"/x".repeat(9_000)).unwrap_err().len() < 500);
        let long = "/x".repeat(9_000);
        assert!(route.target(&format!("{long}/.."), None).unwrap_err().len() < 500);
    }

    #[test]
    fn a_path_means_one_place_or_is_refused() {
        let route = route(UpstreamKind::Http, "https://data.example/api");
        let target = route.target("/a%20b/c", Some("q=1")).unwrap();
        assert_eq!(target.as_str(), "https://data.example/api/a%20b/c?q=1");
        for path in ["/a/", "/a;x=1/b;y", "/a/..b;x", "/a/;x"] {
            assert!(route.target(path, None).is_ok(), "{path}");
        }
        for path in [
            "/../secret",
            "/a/../../b",
            "/%2e%2e/b",
            "/.%2E/b",
            "/a/./b",
            "//other.example/",
            "/web/..;/..;/v1/models",
            "/a/..;x=1/b",
            "/a/.;/b",
            "/a/..;",
            "/a/..%3b/b",
            "/a/%2e%2e%3Bx/b",
            "/;x/b",
            "/a//b",
            "/a%2fb",
            "/a\\b",
            "/a%5cb",
            "/a%00",
            "/a%0d%0aHost:x",
            "/%252e%252e/b",
            "a",
        ] {
            assert!(route.target(path, None).is_err(), "{path}");
        }
    }

    #[test]
    fn a_redirect_never_leaves_the_service() {
        let route = route(UpstreamKind::Http, "https://data.example/api");
        let asked: Url = "https://data.example/api/a/b".parse().unwrap();
        assert_eq!(route.redirect(&asked, "c?d=1").as_deref(), Some("/model/a/c?d=1"));
        assert_eq!(route.redirect(&asked, "/api/e").as_deref(), Some("/model/e"));
        for location in [
            "/other",
            "https://evil.example/api/x",
            "http://data.example/api/x",
            "https://data.example:8443/api/x",
            "//evil.example/api/x",
            "../../x",
            "/apix",
            "https://user@data.example/api/x",
            "file:///etc/passwd",
        ] {
            assert_eq!(route.redirect(&asked, location), None, "{location}");
        }
    }
}
