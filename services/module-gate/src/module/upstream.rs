//! Services that a module names in its manifest (E1).

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use url::Url;
use wire::egress::UpstreamKind;

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Upstream {
    /// Its name in the module's environment and in statements.
    pub name: String,
    /// The form of its requests and answers.
    pub kind: UpstreamKind,
    /// Its address.
    pub url: String,
    /// Models that may be asked for; empty for all.
    #[serde(default)]
    pub models: Vec<String>,
    /// Methods that may be used; empty for all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Paths below the address; empty for all.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What is kept of requests and answers.
    #[serde(default)]
    pub evidence: Evidence,
}

/// What is kept of requests and answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Their digests.
    #[default]
    Digests,
    /// Their bodies as well.
    Bodies,
}

impl Upstream {
    /// The variable that holds its address at the proxy.
    pub fn variable(&self) -> String {
        format!("LUMIO_UPSTREAM_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// The methods, parsed. The schema has refused every other word.
    pub fn parsed_methods(&self) -> Vec<Method> {
        self.methods.iter().filter_map(|name| name.parse().ok()).collect()
    }
}

/// An address in the one form that manifest and operator are compared by.
///
/// # Errors
/// Why it is no address of a service.
pub fn address(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("expected an address: {error}"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err("expected an address that begins with https://".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("expected an address with a host".to_owned());
    }
    let extra = url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some();
    if extra {
        return Err("expected an address without user, query and fragment".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// What is wrong with a manifest's services beside what its schema refuses.
pub(super) fn mistakes(upstreams: &[Upstream], side_effects: &[String]) -> Vec<String> {
    let mut mistakes = Vec::new();
    if !upstreams.is_empty() && !side_effects.iter().any(|word| word == "Network") {
        mistakes.push(
            "/side_effects: expected \"Network\", since /upstreams names services".to_owned(),
        );
    }
    let mut variables: BTreeMap<String, &str> = BTreeMap::new();
    for (index, upstream) in upstreams.iter().enumerate() {
        if let Err(why) = address(&upstream.url) {
            mistakes.push(format!("/upstreams/{index}/url: {why}, found {:?}", upstream.url));
        }
        if let Some(other) = variables.insert(upstream.variable(), &upstream.name) {
            mistakes.push(format!(
                "/upstreams/{index}/name: {:?} and {other:?} would have the same variable {}",
                upstream.name,
                upstream.variable()
            ));
        }
        if upstream.kind == UpstreamKind::Http && !upstream.models.is_empty() {
            mistakes.push(format!(
                "/upstreams/{index}/models: only an upstream of kind openai or anthropic has models"
            ));
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use crate::module::manifest;

    fn parse(upstreams: &str, effects: &str) -> Result<manifest::Manifest, String> {
        let text = format!(
            r#"{{"id":"a.b","version":"1.0.0","summary":"abc","provides":["XPort@1"],
            "side_effects":{effects},"upstreams":{upstreams}}}"#
        );
        manifest::parse(text.as_bytes()).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn services_are_read_with_their_bounds() {
        let text = r#"[{"name":"model","kind":"openai","url":"https://api.example/v1/",
            "models":["m"],"evidence":"bodies"},
            {"name":"rates","kind":"http","url":"https://rates.example","methods":["GET"],
            "paths":["/today","/days/*"]}]"#;
        let manifest = parse(text, r#"["Network"]"#).unwrap();
        assert_eq!(manifest.upstreams[0].variable(), "LUMIO_UPSTREAM_MODEL");
        assert_eq!(manifest.upstreams[1].parsed_methods(), [http::Method::GET]);
    }

    #[test]
    fn every_mistake_has_its_place_and_what_was_expected() {
        let one = |member: &str| {
            format!(
                "[{{\"name\":\"m\",\"kind\":\"openai\",\"url\":\"https://a.example\",{member}}}]"
            )
        };
        for (upstreams, place) in [
            (
                one("\"nmae\":1").as_str(),
                "/upstreams/0/nmae: unknown member; did you mean \"name\"?",
            ),
            (&one("\"methods\":[\"GETS\"]"), "/upstreams/0/methods/0: expected one of GET"),
            (&one("\"paths\":[\"a\"]"), "/upstreams/0/paths/0"),
            (&one("\"models\":[]"), "/upstreams/0/models"),
            (
                &one("\"evidence\":\"all\""),
                "/upstreams/0/evidence: expected one of digests, bodies",
            ),
            ("[]", "/upstreams"),
            (r#"[{"kind":"openai","url":"https://a.example"}]"#, "\"name\" is missing"),
            (r#"[{"name":"M","kind":"openai","url":"https://a.example"}]"#, "/upstreams/0/name"),
            (
                r#"[{"name":"m","kind":"opnai","url":"https://a.example"}]"#,
                "did you mean \"openai\"",
            ),
            (r#"[{"name":"m","kind":"http","url":"ftp://a.example"}]"#, "/upstreams/0/url"),
            (r#"[{"name":"m","kind":"http","url":"https://u:p@a.example"}]"#, "/upstreams/0/url"),
            (r#"[{"name":"m","kind":"http","url":"https://a.example?k=v"}]"#, "/upstreams/0/url"),
            (r#"[{"name":"m","kind":"http","url":"https://"}]"#, "/upstreams/0/url"),
            (r#"[{"name":"m","kind":"http","url":"https://a.example","models":["x"]}]"#, "/models"),
            (
                r#"[{"name":"a-b","kind":"http","url":"https://a.example"},
                {"name":"a_b","kind":"http","url":"https://a.example"}]"#,
                "LUMIO_UPSTREAM_A_B",
            ),
        ] {
            let error = parse(upstreams, r#"["Network"]"#).unwrap_err();
            assert!(error.contains(place), "{place} in {error}");
        }
        let error = parse(&one("\"models\":[\"x\"]"), "[]").unwrap_err();
        assert!(error.contains("/side_effects: expected \"Network\""), "{error}");
    }
}
