//! The operator's word on services: who may use which, with what credential, within what limits
//! (E1).
//!
//! A module names the services it needs. None is reached unless a file of the operator allows
//! exactly that address, for that agent or that module. Credentials are named there and stand
//! elsewhere, in a file or a variable; they are read once at start and never leave this process but
//! to their service.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::files;
use egress::{Allowance, Credential, Limits, Route};
use reqwest::{Certificate, Client};
use serde::Deserialize;
use url::Url;
use wire::Digest;
use wire::egress::UpstreamKind;
use zeroize::Zeroizing;

use crate::module::document::{Invalid, Schema, compile};
use crate::module::upstream::{Evidence, Upstream, address};

/// The schema as it is published.
pub const SCHEMA_TEXT: &str = include_str!("../../../spec/upstreams.schema.json");

static SCHEMA: Schema = Schema::of_secrets(|| compile(SCHEMA_TEXT));

/// Most bytes of a credential or a certificate.
const MAX_FILE: u64 = 1 << 20;

/// Everything that an operator allows.
#[derive(Clone, Default)]
pub struct Allowed {
    entries: Vec<Entry>,
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.entries.iter().map(|entry| entry.url.as_str());
        f.debug_list().entries(urls).finish()
    }
}

/// Who asks for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A run: of this module, for this agent if the runner has named it.
    Run {
        /// The module, by its digest.
        module: Digest,
        /// The agent's number in the registry.
        agent: Option<u32>,
    },
    /// The operator's own command line.
    Local,
}

/// One service that is allowed.
#[derive(Clone)]
struct Entry {
    kind: UpstreamKind,
    /// As modules name it.
    url: Url,
    /// Where requests go.
    target: Url,
    agents: Vec<u32>,
    modules: Vec<Digest>,
    everyone: bool,
    models: Vec<String>,
    credential: Option<Credential>,
    limits: Limits,
    client: Client,
}

#[derive(Debug, Deserialize)]
struct Document {
    upstreams: Vec<Written>,
}

#[derive(Debug, Deserialize)]
struct Written {
    kind: UpstreamKind,
    url: String,
    via: Option<String>,
    #[serde(default)]
    agents: Vec<u32>,
    #[serde(default)]
    modules: Vec<Digest>,
    #[serde(default)]
    everyone: bool,
    #[serde(default)]
    models: Vec<String>,
    credential: Option<WrittenCredential>,
    #[serde(default)]
    plain_http: bool,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    limits: WrittenLimits,
}

#[derive(Debug, Deserialize)]
struct WrittenCredential {
    file: Option<PathBuf>,
    env: Option<String>,
    header: Option<String>,
    prefix: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct WrittenLimits {
    calls: Option<u64>,
    llm_in: Option<u64>,
    llm_out: Option<u64>,
    output_tokens: Option<u64>,
    request_bytes: Option<usize>,
    response_bytes: Option<usize>,
    concurrency: Option<usize>,
    connect_ms: Option<u64>,
    idle_ms: Option<u64>,
    total_ms: Option<u64>,
    #[serde(default)]
    allowance: WrittenAllowance,
}

#[derive(Debug, Default, Deserialize)]
struct WrittenAllowance {
    message: Option<u64>,
    call: Option<u64>,
    tools: Option<u64>,
    unbounded: Option<u64>,
}

impl Allowed {
    /// Reads the operator's file, and the credentials that it names. `variable` looks a variable of
    /// the environment up.
    ///
    /// # Errors
    /// Everything that is wrong with it, by its place; no credential is repeated.
    pub fn read(
        path: &Path,
        variable: &dyn Fn(&str) -> Option<Zeroizing<String>>,
    ) -> Result<Self, Invalid> {
        let name = path.display().to_string();
        let unreadable = |error: std::io::Error| Invalid::one(&name, error.to_string());
        let mut bytes = Vec::new();
        let file = files::open(path).map_err(unreadable)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let document: Document = SCHEMA.parse(&name, &bytes)?;

        let mut mistakes = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        for (index, written) in document.upstreams.into_iter().enumerate() {
            match written.entry(variable) {
                Ok(entry) => entries.push(entry),
                Err(wrong) => mistakes
                    .extend(wrong.into_iter().map(|text| format!("/upstreams/{index}{text}"))),
            }
        }
        if mistakes.is_empty() {
            Ok(Self { entries })
        } else {
            Err(Invalid { file: name, mistakes })
        }
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The routes of a module's services, and a client for each.
    ///
    /// # Errors
    /// Which service is not allowed, and what to do.
    pub fn routes(
        &self,
        upstreams: &[Upstream],
        asker: Asker,
    ) -> Result<(Vec<Route>, Vec<Client>), String> {
        let mut routes = Vec::with_capacity(upstreams.len());
        let mut clients = Vec::with_capacity(upstreams.len());
        for upstream in upstreams {
            let entry = self.entry(upstream, asker)?;
            clients.push(entry.client.clone());
            routes.push(Route {
                // What is stated is where requests went.
                url: entry.target.clone(),
                models: models(upstream, entry)?,
                credential: entry.credential.clone(),
                limits: entry.limits.clone(),
                ..route(upstream)?
            });
        }
        Ok((routes, clients))
    }

    fn entry(&self, upstream: &Upstream, asker: Asker) -> Result<&Entry, String> {
        let Upstream { name, kind, url: text, .. } = upstream;
        let url = address(text)?;
        let mut same = self.entries.iter().filter(|entry| entry.kind == *kind && entry.url == url);
        let Some(first) = same.clone().next() else {
            return Err(format!(
                "the upstream {name:?} is not allowed here: the operator's file has no entry of \
                 kind {kind} for {text}"
            ));
        };
        let allows = |entry: &&Entry| match asker {
            // The command line is the operator's own.
            Asker::Local => true,
            Asker::Run { module, agent } => {
                entry.everyone
                    || entry.modules.contains(&module)
                    || agent.is_some_and(|agent| entry.agents.contains(&agent))
            }
        };
        same.find(allows).ok_or_else(|| {
            let who = match asker {
                Asker::Run { module, agent: Some(agent) } => {
                    format!("agent {agent} and module {module}")
                }
                Asker::Run { module, agent: None } => format!("module {module}"),
                Asker::Local => "this command".to_owned(),
            };
            format!("the upstream {name:?} ({}) is not allowed to {who}", first.url)
        })
    }
}

/// A route as the manifest has it, for answers that are recorded.
///
/// # Errors
/// The address is invalid.
pub fn route(upstream: &Upstream) -> Result<Route, String> {
    Ok(Route {
        name: upstream.name.clone(),
        kind: upstream.kind,
        url: address(&upstream.url)?,
        models: upstream.models.clone(),
        methods: upstream.parsed_methods(),
        paths: upstream.paths.clone(),
        keeps_bodies: upstream.evidence == Evidence::Bodies,
        credential: None,
        limits: Limits::default(),
    })
}

/// Models that both module and operator allow.
fn models(upstream: &Upstream, entry: &Entry) -> Result<Vec<String>, String> {
    if entry.models.is_empty() || upstream.models.is_empty() {
        let either = if entry.models.is_empty() { &upstream.models } else { &entry.models };
        return Ok(either.clone());
    }
    let both = upstream.models.iter().filter(|model| entry.models.contains(model));
    let both: Vec<String> = both.cloned().collect();

    // An empty list would stand for all.
    if both.is_empty() {
        return Err(format!(
            "the upstream {:?} is allowed for other models: {}",
            upstream.name,
            entry.models.join(", ")
        ));
    }
    Ok(both)
}

impl Written {
    fn entry(
        self,
        variable: &dyn Fn(&str) -> Option<Zeroizing<String>>,
    ) -> Result<Entry, Vec<String>> {
        let mut mistakes = Vec::new();
        let url = address(&self.url).map_err(|why| mistakes.push(format!("/url: {why}"))).ok();
        let target = match &self.via {
            None => url.clone(),
            Some(via) => address(via).map_err(|why| mistakes.push(format!("/via: {why}"))).ok(),
        };

        // The credential would cross the network in the clear.
        if target.as_ref().is_some_and(|url| url.scheme() == "http") && !self.plain_http {
            let place = if self.via.is_some() { "/via" } else { "/url" };
            mistakes.push(format!(
                "{place}: expected https; for a service on this machine or a test, set \
                 \"plain_http\": true"
            ));
        }
        if !self.everyone && self.agents.is_empty() && self.modules.is_empty() {
            mistakes.push(
                ": expected \"agents\" or \"modules\" that may use it, or \"everyone\": true"
                    .to_owned(),
            );
        }
        let credential = match &self.credential {
            None => None,
            Some(written) => written
                .read(self.kind, variable)
                .map_err(|why| mistakes.push(format!("/credential{why}")))
                .ok(),
        };
        let authorities = match &self.ca_file {
            None => Vec::new(),
            Some(path) => certificates(path)
                .map_err(|why| mistakes.push(format!("/ca_file: {why}")))
                .unwrap_or_default(),
        };
        let (Some(url), Some(target), true) = (url, target, mistakes.is_empty()) else {
            return Err(mistakes);
        };

        let mut route = Route {
            name: String::new(),
            kind: self.kind,
            url: target.clone(),
            models: Vec::new(),
            methods: Vec::new(),
            paths: Vec::new(),
            keeps_bodies: false,
            credential: None,
            limits: self.limits.limits(),
        };
        let client =
            egress::proxy::client(&route, &authorities).map_err(|why| vec![format!(": {why}")])?;
        Ok(Entry {
            kind: self.kind,
            url,
            target,
            agents: self.agents,
            modules: self.modules,
            everyone: self.everyone,
            models: self.models,
            credential,
            limits: std::mem::take(&mut route.limits),
            client,
        })
    }
}

impl WrittenCredential {
    fn read(
        &self,
        kind: UpstreamKind,
        variable: &dyn Fn(&str) -> Option<Zeroizing<String>>,
    ) -> Result<Credential, String> {
        let secret = match (&self.file, &self.env) {
            (Some(file), None) => secret_file(file).map_err(|why| format!("/file: {why}"))?,
            (None, Some(name)) => {
                variable(name).ok_or_else(|| format!("/env: the variable {name} is not set"))?
            }
            _ => return Err(": expected either \"file\" or \"env\"".to_owned()),
        };
        let (header, prefix) = match kind {
            UpstreamKind::Anthropic => ("x-api-key", ""),
            UpstreamKind::OpenAi | UpstreamKind::Http => ("authorization", "Bearer "),
        };
        let header = self.header.as_deref().unwrap_or(header);

        // A prefix belongs to the header that it is usual with.
        let usual = if header.eq_ignore_ascii_case("authorization") { prefix } else { "" };
        let prefix = self.prefix.as_deref().unwrap_or(usual);
        Credential::new(header, prefix, secret).map_err(|why| format!(": {why}"))
    }
}

/// Reads a credential from a file that only its owner may read.
fn secret_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("cannot read {shown}: {error}");
    let mut file = files::open(path).map_err(failed)?;

    // Of the file that was opened, so that no other can take its place.
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(format!("{shown} is no file"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!(
            "{shown} may be read by others (its mode is {:04o}): `chmod 0600 {shown}`",
            found.mode() & 0o7777
        ));
    }
    let own = rustix::process::geteuid().as_raw();

    // A file that root put there is as good as one's own.
    if found.uid() != own && found.uid() != 0 {
        return Err(format!("{shown} belongs to another user"));
    }
    if found.len() > MAX_FILE {
        return Err(format!("{shown} is larger than {MAX_FILE} bytes"));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    let trimmed = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
    if trimmed.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    Ok(trimmed)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, String> {
    let shown = path.display();
    let pem = files::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let found = Certificate::from_pem_bundle(&pem)
        .map_err(|_| format!("{shown} holds no certificates in PEM"))?;
    if found.is_empty() { Err(format!("{shown} holds no certificate")) } else { Ok(found) }
}

impl WrittenLimits {
    fn limits(&self) -> Limits {
        let usual = Limits::default();
        let time = |ms: Option<u64>, usual| ms.map_or(usual, Duration::from_millis);
        Limits {
            calls: self.calls.unwrap_or(usual.calls),
            llm_in: self.llm_in.unwrap_or(usual.llm_in),
            llm_out: self.llm_out.unwrap_or(usual.llm_out),
            output_tokens: self.output_tokens.unwrap_or(usual.output_tokens),
            request_bytes: self.request_bytes.unwrap_or(usual.request_bytes),
            response_bytes: self.response_bytes.unwrap_or(usual.response_bytes),
            concurrency: self.concurrency.unwrap_or(usual.concurrency),
            connect: time(self.connect_ms, usual.connect),
            idle: time(self.idle_ms, usual.idle),
            total: time(self.total_ms, usual.total),
            allowance: Allowance {
                message: self.allowance.message.unwrap_or(usual.allowance.message),
                call: self.allowance.call.unwrap_or(usual.allowance.call),
                tools: self.allowance.tools.unwrap_or(usual.allowance.tools),
                unbounded: self.allowance.unbounded,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(text: &str, key: Option<(&str, u32)>) -> Result<Allowed, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("upstreams.json");
        let mut text = text.to_owned();
        if let Some((secret, mode)) = key {
            let path = folder.path().join("key");
            std::fs::write(&path, secret).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            text = text.replace("KEY", path.to_str().unwrap());
        }
        std::fs::write(&file, text).unwrap();
        let variable = |name: &str| {
            (name == "MODEL_KEY").then(|| Zeroizing::new("sk-from-the-environment".to_owned()))
        };
        Allowed::read(&file, &variable).map_err(|invalid| invalid.to_string())
    }

    fn upstream(url: &str) -> Vec<Upstream> {
        vec![Upstream {
            name: "model".to_owned(),
            kind: UpstreamKind::OpenAi,
            url: url.to_owned(),
            models: vec!["m".to_owned()],
            methods: Vec::new(),
            paths: Vec::new(),
            evidence: Evidence::Digests,
        }]
    }

    const FILE: &str = r#"{"upstreams":[{"kind":"openai","url":"https://api.example/v1",
        "agents":[7],"credential":{"file":"KEY"},"models":["m","n"],
        "limits":{"calls":5,"idle_ms":50,"allowance":{"unbounded":9}}}]}"#;

    #[test]
    fn what_is_allowed_has_its_limits_and_its_credential() {
        let allowed = read(FILE, Some(("sk-from-a-file\n", 0o600))).unwrap();
        assert!(!format!("{allowed:?}").contains("sk-"));
        let asker = Asker::Run { module: Digest::of(b"m"), agent: Some(7) };
        let (routes, clients) =
            allowed.routes(&upstream("https://api.example/v1/"), asker).unwrap();
        assert_eq!((routes.len(), clients.len()), (1, 1));
        assert_eq!(routes[0].models, ["m"]);
        assert_eq!((routes[0].limits.calls, routes[0].limits.allowance.unbounded), (5, Some(9)));
        let credential = routes[0].credential.as_ref().unwrap();
        assert_eq!(credential.value().as_bytes(), b"Bearer sk-from-a-file");
    }

    #[test]
    fn another_place_may_stand_for_what_modules_name() {
        let via = r#""via":"http://127.0.0.1:8080/v1","plain_http":true,"agents""#;
        let text = FILE.replace("\"agents\"", via);
        let allowed = read(&text, Some(("sk-from-a-file", 0o600))).unwrap();
        let named = upstream("https://api.example/v1");
        let (routes, _) = allowed.routes(&named, Asker::Local).unwrap();
        assert_eq!(routes[0].url.as_str(), "http://127.0.0.1:8080/v1");
        let error = read(&text.replace("true", "false"), Some(("sk-from-a-file", 0o600)));
        assert!(error.unwrap_err().contains("/via: expected https"));
    }

    #[test]
    fn what_is_not_allowed_is_refused_by_its_name() {
        let allowed = read(FILE, Some(("sk-from-a-file", 0o600))).unwrap();
        let module = Digest::of(b"m");
        let refused = |url: &str, asker| allowed.routes(&upstream(url), asker).unwrap_err();
        let run = |agent| Asker::Run { module, agent };
        assert!(
            refused("https://other.example/v1", run(Some(7))).contains("no entry of kind openai")
        );
        assert!(refused("http://api.example/v1", run(Some(7))).contains("no entry"));
        assert!(refused("https://api.example/v1", run(Some(8))).contains("agent 8"));
        assert!(refused("https://api.example/v1", run(None)).contains(&module.to_string()));
        assert!(Allowed::default().routes(&upstream("https://a.example"), Asker::Local).is_err());
        let mut other = upstream("https://api.example/v1");
        other[0].models = vec!["x".to_owned()];
        let error = allowed.routes(&other, run(Some(7))).unwrap_err();
        assert!(error.contains("other models"), "{error}");
    }

    #[test]
    fn a_named_pipe_is_no_credential_and_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let error = read(&FILE.replace("KEY", pipe.to_str().unwrap()), None).unwrap_err();
        assert!(error.contains("/credential/file") && error.contains("a named pipe"), "{error}");
        assert!(Allowed::read(&pipe, &|_: &str| None).is_err());
    }

    #[test]
    fn mistakes_have_their_place_and_no_secret() {
        for (text, mode, expected) in [
            (FILE, 0o644, "/upstreams/0/credential/file"),
            (FILE, 0o640, "chmod 0600"),
            (&FILE.replace("\"agents\":[7],", ""), 0o600, "/upstreams/0: expected \"agents\""),
            (&FILE.replace("https", "http"), 0o600, "\"plain_http\": true"),
            (&FILE.replace("\"file\":\"KEY\"", "\"env\":\"NOT_SET\""), 0o600, "NOT_SET is not set"),
            (&FILE.replace("\"file\":\"KEY\"", ""), 0o600, "either \"file\" or \"env\""),
            (&FILE.replace("idle_ms", "idle"), 0o600, "did you mean \"idle_ms\"?"),
            (&FILE.replace("\"calls\":5", "\"calls\":0"), 0o600, "/limits/calls: expected"),
            (
                &FILE.replace("\"agents\"", "\"ca_file\":\"/none.pem\",\"agents\""),
                0o600,
                "/ca_file",
            ),
        ] {
            let error = read(text, Some(("sk-never-shown", mode))).unwrap_err();
            assert!(error.contains(expected), "{expected} in {error}");
            assert!(!error.contains("sk-never"), "{error}");
        }
        let env = FILE.replace("\"file\":\"KEY\"", "\"env\":\"MODEL_KEY\"");
        assert!(read(&env, None).is_ok());
    }
}
