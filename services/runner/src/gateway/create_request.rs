//! What a caller asks for becomes a request here or not at all. Pure.
//!
//! Types are not coerced: a number is a JSON number, whole, not negative, and small enough that
//! every JSON reader holds it exactly. All mistakes are reported at once, each with its place.
//! Unknown members are ignored, as frontends may send their own, except among the budgets, where a
//! misspelt one would be a budget of zero.
//!
//! The body is read as text. A reader that made values of it would round numbers and take one of
//! two members with the same name, and two inputs would have one digest.

use std::collections::BTreeMap;

use serde_json::Value;
use stellar::Address;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};
use wire::json::exact::{self, Flaw};
use wire::problem::Issue;
use wire::statement::MAX_SEED;
use wire::view::RunPriority;
use wire::{Digest, Problem, Usage};

use crate::error::{Error, Result};
use crate::model::run::Request;

/// The most bytes of a run's input, as canonical JSON (R12).
pub const MAX_INPUT_BYTES: usize = 1024 * 1024;
/// The most bytes of an input that is stored before its run, as canonical JSON (R12).
pub const MAX_STORED_BYTES: usize = 8 * 1024 * 1024;
/// The most bytes of a request to store one: white space and escapes may make it longer.
pub const MAX_STORED_BODY_BYTES: usize = MAX_STORED_BYTES + 64 * 1024;
/// The most bytes of a request: its input and some more.
pub const MAX_BODY_BYTES: usize = MAX_INPUT_BYTES + 64 * 1024;
/// The most bytes of `metadata`, as JSON.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// How far from now a run may start at most.
const MAX_START_DELAY: Duration = Duration::days(30);
/// The most bytes of any other member that means something, as JSON. It is read into a tree of
/// values, which may take a hundred times the memory of its text.
const MAX_MEMBER_BYTES: usize = 4 * 1024;
/// The most mistakes that are reported of one request.
const MAX_ISSUES: usize = 20;
/// The most bytes of `workflowId` and `label`: what the gates take as well.
const MAX_NAME_BYTES: usize = 256;
/// What a run works on when its caller named nothing: the gates and the facts view need a name.
const DEFAULT_WORKFLOW: &str = "default";

/// A request that was read, with what is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// What was asked for.
    pub request: Request,
    /// The input: canonical JSON. Empty while it is one that was stored before.
    pub input: Vec<u8>,
    /// The input that was stored before, if the caller named one.
    pub input_ref: Option<Digest>,
    /// It does not start before.
    pub start_at: Option<OffsetDateTime>,
    /// How urgent it is, if its caller said so.
    pub priority: Option<RunPriority>,
    /// Digest of all that was asked for, which does not depend on the way in, on white space or on
    /// the order of members (R5). Numbers count by their value; those that are never read, in the
    /// metadata and in members that mean nothing here, by their text.
    pub fingerprint: Digest,
}

impl NewRun {
    /// Whether its start lies in the future. One in the past is no reason to refuse it: it starts
    /// at once.
    ///
    /// # Errors
    ///
    /// [`Problem::InvalidRequest`] for a start that is too far away.
    pub fn is_scheduled(&self, now: OffsetDateTime) -> Result<bool> {
        let Some(start_at) = self.start_at.filter(|start_at| *start_at > now) else {
            return Ok(false);
        };
        if start_at - now <= MAX_START_DELAY {
            return Ok(true);
        }
        let days = MAX_START_DELAY.whole_days();
        let text = format!("expected a time at most {days} days from now");
        let issues = vec![Issue::new(vec!["startAt".to_owned()], text)];
        let (problem, detail) = (Problem::InvalidRequest, "Invalid payload".to_owned());
        Err(Error::Refused { problem, detail, issues })
    }
}

/// Reads a request from the body of `POST /runs`. `draw` gives the seed if the caller named none.
///
/// # Errors
///
/// A refusal that lists every mistake.
pub fn read(body: &[u8], draw: impl FnOnce() -> u64) -> Result<NewRun> {
    let members = body_members(body)?;
    let mut form = Validator { members: &members, issues: Vec::new() };
    let user = form.user();
    let (agent_id, rate_version) = form.agent();
    let budgets = form.budgets();
    let (workflow_id, label) = (form.name("workflowId"), form.name("label"));
    let metadata = form.metadata();
    let input_ref = form.input_ref();
    let input = if input_ref.is_some() { Vec::new() } else { form.input() };
    let seed = form.number("seed", MAX_SEED);
    let (start_at, priority) = (form.start_at(), form.priority());
    let others = form.others();
    let Some(user) = user.filter(|_| form.issues.is_empty()) else {
        return Err(form.refusal());
    };

    let mut request = Request {
        user,
        agent_id,
        rate_version,
        budgets,
        workflow_id: Some(workflow_id.unwrap_or_else(|| DEFAULT_WORKFLOW.to_owned())),
        label,
        metadata: metadata.as_ref().map(|(sent, _)| sent.clone()),
        // A stored input has the name that it would have here, so that both ways are one request.
        input_digest: input_ref.unwrap_or_else(|| Digest::of(&input)),
        seed: 0,
    };
    let spelled = metadata.map(|(_, spelled)| spelled);
    let fingerprint = fingerprint(&request, seed, spelled.as_deref(), &others)?;
    request.seed = seed.unwrap_or_else(draw);
    Ok(NewRun { request, input, input_ref, start_at, priority, fingerprint })
}

/// The body of `POST /runs`, as its document describes it. It is read by [`read`], which refuses
/// what a reader of this type would take: numbers that are rounded, members that appear twice.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub struct RunRequest {
    /// Who pays: an account (G…) or a contract (C…).
    user: String,
    /// The agent's number.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    agent_id: u64,
    /// The rate card; the newest if absent.
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    rate_version: Option<u64>,
    /// The most units that the run may use.
    budgets: Budgets,
    /// The caller's name for what runs; `default` if absent.
    #[schema(min_length = 1, max_length = 256)]
    workflow_id: Option<String>,
    /// The caller's name for this run.
    #[schema(min_length = 1, max_length = 256)]
    label: Option<String>,
    /// What the caller attaches: kept as it is, at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// What the module works on: any JSON of at most 1 MiB; `{}` if absent.
    #[schema(value_type = Option<Value>)]
    input: Option<Value>,
    /// Instead of `input`: one that `POST /inputs` has stored, by its digest.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    input_ref: Option<String>,
    /// Drawn if absent.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    seed: Option<u64>,
    /// It does not start before this time (RFC 3339), at most 30 days from now; at once if absent.
    #[schema(format = DateTime)]
    start_at: Option<String>,
    /// How urgent it is among those that wait: five minutes before or after `normal`. `high` is for
    /// operators.
    priority: Option<RunPriority>,
}

/// Budgets; a meter that is absent is zero.
#[derive(Debug, utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub struct Budgets {
    /// Tokens read.
    #[schema(
        value_type = u64,
        required = false,
        minimum = 0,
        maximum = 9_007_199_254_740_991_u64
    )]
    llm_in: Option<u64>,
    /// Tokens written.
    #[schema(
        value_type = u64,
        required = false,
        minimum = 0,
        maximum = 9_007_199_254_740_991_u64
    )]
    llm_out: Option<u64>,
    /// HTTP calls.
    #[schema(
        value_type = u64,
        required = false,
        minimum = 0,
        maximum = 9_007_199_254_740_991_u64
    )]
    http_calls: Option<u64>,
    /// Milliseconds of wall time.
    #[schema(
        value_type = u64,
        required = false,
        minimum = 0,
        maximum = 9_007_199_254_740_991_u64
    )]
    runtime_ms: Option<u64>,
}

/// The body of `POST /quote`, as its document describes it.
#[derive(Debug, utoipa::ToSchema)]
#[schema(as = QuoteRequest, rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub struct QuoteDocument {
    /// Whose chances are judged beside the price; the caller's own account.
    user: Option<String>,
    /// The agent's number.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    agent_id: u64,
    /// The rate card; the newest if absent.
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    rate_version: Option<u64>,
    /// The most units that the run may use.
    budgets: Budgets,
}

/// What a price is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteRequest {
    /// Whose chances are judged beside the price.
    pub user: Option<Address>,
    /// The agent.
    pub agent_id: u32,
    /// The rate card; the newest if absent.
    pub rate_version: Option<u32>,
    /// The budgets.
    pub budgets: Usage,
}

/// Reads a request from the body of `POST /quote`: members of `POST /runs`, read by the same rules.
///
/// # Errors
///
/// A refusal that lists every mistake.
pub fn read_quote(body: &[u8]) -> Result<QuoteRequest> {
    let members = body_members(body)?;
    let mut form = Validator { members: &members, issues: Vec::new() };
    let user = form.text("user").and_then(|_| form.user());
    let (agent_id, rate_version) = form.agent();
    let budgets = form.budgets();
    // Nothing is kept of a quote, so a member that means nothing is a mistake.
    for name in members.keys().filter(|name| !KNOWN_TO_QUOTE.contains(&name.as_str())) {
        form.issue(&[name], "is not known here; expected user, agentId, rateVersion, budgets");
    }
    if !form.issues.is_empty() {
        return Err(form.refusal());
    }
    Ok(QuoteRequest { user, agent_id, rate_version, budgets })
}

/// The members of a body, each with the text of its value.
///
/// # Errors
///
/// [`Problem::InvalidRequest`] for a body that is no JSON object, or has a member twice.
pub fn body_members(body: &[u8]) -> Result<BTreeMap<String, &str>> {
    let invalid =
        |why: String| Error::refused(Problem::InvalidRequest, format!("Invalid payload: {why}"));
    let body = std::str::from_utf8(body).map_err(|error| invalid(format!("not UTF-8: {error}")))?;
    exact::members(body).map_err(|flaw| {
        invalid(format!("expected a JSON object: {} {}", flaw.pointer(), flaw.message))
    })
}

/// The seed is taken as it was asked for: one that is drawn would be another for every repetition.
fn fingerprint(
    request: &Request,
    seed: Option<u64>,
    metadata: Option<&str>,
    others: &BTreeMap<String, String>,
) -> Result<Digest> {
    let document = serde_json::json!({
        "kind": "lumio-request-v1",
        "user": request.user,
        "agentId": request.agent_id,
        "rateVersion": request.rate_version,
        "budgets": request.budgets,
        "workflowId": request.workflow_id,
        "label": request.label,
        "seed": seed,
        "input": request.input_digest,
        // As text: canonical JSON would round their numbers.
        "metadata": metadata,
        "others": others,
    });
    wire::json::digest(&document).map_err(|error| Error::Broken(error.to_string()))
}

struct Validator<'a> {
    members: &'a BTreeMap<String, &'a str>,
    issues: Vec<Issue>,
}

/// The members that mean something here.
///
/// [`KNOWN_LATER`] are not among them, although they are read: what is not known here goes into the
/// fingerprint as it is spelled, so that a request without them keeps the fingerprint that it had
/// before they were there.
const KNOWN: [&str; 10] = [
    "user",
    "agentId",
    "rateVersion",
    "budgets",
    "workflowId",
    "label",
    "metadata",
    "input",
    "inputRef",
    "seed",
];

/// Members that came to mean something later.
const KNOWN_LATER: [&str; 2] = ["startAt", "priority"];

/// Those that a quote is asked with.
const KNOWN_TO_QUOTE: [&str; 4] = ["user", "agentId", "rateVersion", "budgets"];

impl<'a> Validator<'a> {
    fn issue(&mut self, path: &[&str], message: impl Into<String>) {
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        self.note(path, message.into());
    }

    /// Notes a flaw inside the member `name`.
    fn flaw(&mut self, name: &str, flaw: Flaw) {
        let path = std::iter::once(name.to_owned()).chain(flaw.path).collect();
        self.note(path, flaw.message);
    }

    fn note(&mut self, path: Vec<String>, message: String) {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(Issue::new(path, message));
        }
    }

    /// The text of a member that is there; `null` is not there.
    fn text(&self, name: &str) -> Option<&'a str> {
        self.members.get(name).copied().filter(|text| *text != "null")
    }

    /// A small member in which no number may be rounded.
    fn member(&mut self, name: &str) -> Option<Value> {
        let text = self.text(name)?;
        if text.len() > MAX_MEMBER_BYTES {
            self.issue(&[name], format!("has more than {MAX_MEMBER_BYTES} bytes"));
            return None;
        }
        let read = exact::read(text);
        let exact = match read {
            Ok(exact) => exact,
            Err(flaw) => {
                self.flaw(name, flaw);
                return None;
            }
        };
        if !exact.rounded.is_empty() {
            exact.rounded.into_iter().for_each(|flaw| self.flaw(name, flaw));
            return None;
        }
        match serde_json::from_str(&exact.text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.issue(&[name], format!("cannot be read: {error}"));
                None
            }
        }
    }

    fn user(&mut self) -> Option<Address> {
        let member = self.member("user");
        let user = member.as_ref().and_then(Value::as_str).and_then(|text| text.parse().ok());
        if user.is_none() {
            self.issue(&["user"], "expected an account (G…) or a contract (C…)");
        }
        user
    }

    fn number(&mut self, name: &str, most: u64) -> Option<u64> {
        let value = self.member(name)?;
        match whole(&value, most) {
            Ok(number) => Some(number),
            Err(message) => {
                self.issue(&[name], message);
                None
            }
        }
    }

    /// Agent and rate card.
    fn agent(&mut self) -> (u32, Option<u32>) {
        let narrow = |value: Option<u64>| value.and_then(|number| u32::try_from(number).ok());
        let agent_id = self.number("agentId", u64::from(u32::MAX));
        if agent_id.is_none() && self.text("agentId").is_none() {
            self.issue(&["agentId"], "is required");
        }
        let rate_version = self.number("rateVersion", u64::from(u32::MAX));
        if rate_version == Some(0) {
            self.issue(&["rateVersion"], "expected a whole number from 1");
        }
        (narrow(agent_id).unwrap_or_default(), narrow(rate_version))
    }

    /// The refusal of everything that was noted.
    fn refusal(self) -> Error {
        let (problem, detail) = (Problem::InvalidRequest, "Invalid payload".to_owned());
        Error::Refused { problem, detail, issues: self.issues }
    }

    fn budgets(&mut self) -> Usage {
        let known = self.issues.len();
        let budgets = match self.member("budgets") {
            Some(Value::Object(budgets)) => budgets,
            _ => {
                if self.issues.len() == known {
                    let text = "expected an object with llmIn, llmOut, httpCalls, runtimeMs";
                    self.issue(&["budgets"], text);
                }
                return Usage::default();
            }
        };
        let mut usage = Usage::default();
        for (name, value) in &budgets {
            let meter = match name.as_str() {
                "llmIn" => &mut usage.llm_in,
                "llmOut" => &mut usage.llm_out,
                "httpCalls" => &mut usage.http_calls,
                "runtimeMs" => &mut usage.runtime_ms,
                _ => {
                    let text = "is not a meter; there are llmIn, llmOut, httpCalls, runtimeMs";
                    self.issue(&["budgets", name], text);
                    continue;
                }
            };
            match whole(value, MAX_SEED) {
                Ok(number) => *meter = number,
                Err(message) => self.issue(&["budgets", name], message),
            }
        }
        usage
    }

    fn start_at(&mut self) -> Option<OffsetDateTime> {
        let value = self.member("startAt")?;
        let text = value.as_str().unwrap_or_default();
        let read = OffsetDateTime::parse(text, &Rfc3339).ok();
        // Postgres keeps no years beyond these, and no caller means one.
        let read = read.filter(|at| (1970..10_000).contains(&at.to_offset(UtcOffset::UTC).year()));
        if read.is_none() {
            self.issue(&["startAt"], "expected a time such as 2026-01-31T00:00:00Z (RFC 3339)");
        }
        read
    }

    fn priority(&mut self) -> Option<RunPriority> {
        let value = self.member("priority")?;
        let read = value.as_str().and_then(|text| text.parse().ok());
        if read.is_none() {
            self.issue(&["priority"], "expected `low`, `normal` or `high`");
        }
        read
    }

    fn name(&mut self, name: &str) -> Option<String> {
        let value = self.member(name)?;
        let fits = |text: &&str| {
            (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains(char::is_control)
        };
        let text = value.as_str().filter(fits).map(str::to_owned);
        if text.is_none() {
            let text =
                format!("expected text of 1 to {MAX_NAME_BYTES} bytes without control characters");
            self.issue(&[name], text);
        }
        text
    }

    /// The metadata as it was sent, and in one spelling.
    fn metadata(&mut self) -> Option<(String, String)> {
        const NAME: &str = "metadata";
        let text = self.text(NAME)?;
        if !text.starts_with('{') || text.len() > MAX_METADATA_BYTES {
            let text = format!("expected an object of at most {MAX_METADATA_BYTES} bytes");
            self.issue(&[NAME], text);
            return None;
        }
        match exact::read(text) {
            // Its numbers are never read, so they may be any.
            Ok(exact::Exact { text: spelled, nul: None, .. }) => Some((text.to_owned(), spelled)),
            Ok(exact::Exact { nul: Some(flaw), .. }) | Err(flaw) => {
                self.flaw(NAME, flaw);
                None
            }
        }
    }

    fn input_ref(&mut self) -> Option<Digest> {
        const NAME: &str = "inputRef";
        let value = self.member(NAME)?;
        if self.members.contains_key("input") {
            self.issue(&[NAME], "expected input or inputRef, and not both");
        }
        let digest = value.as_str().and_then(|text| text.parse().ok());
        if digest.is_none() {
            let text = "expected 64 lower-case hex digits, as POST /inputs answers them";
            self.issue(&[NAME], text);
        }
        digest
    }

    fn input(&mut self) -> Vec<u8> {
        const NAME: &str = "input";
        // A `null` that was sent is an input, unlike one that was not.
        let text = self.members.get(NAME).copied().unwrap_or("{}");
        match exact::canonical(text) {
            Ok(canonical) if !canonical.rounded.is_empty() => {
                canonical.rounded.into_iter().for_each(|flaw| self.flaw(NAME, flaw));
            }
            Ok(canonical) if canonical.text.len() <= MAX_INPUT_BYTES => {
                return canonical.text.into_bytes();
            }
            Ok(_) => self.issue(&[NAME], format!("has more than {MAX_INPUT_BYTES} bytes")),
            Err(flaw) => self.flaw(NAME, flaw),
        }
        Vec::new()
    }

    /// Members that mean nothing here, in one spelling: a request with others is another request.
    fn others(&mut self) -> BTreeMap<String, String> {
        let mut others = BTreeMap::new();
        for (name, text) in self.members {
            if KNOWN.contains(&name.as_str()) {
                continue;
            }
            // As everywhere here: what is known and `null` is not there.
            if KNOWN_LATER.contains(&name.as_str()) && *text == "null" {
                continue;
            }
            match exact::read(text) {
                Ok(exact) => drop(others.insert(name.clone(), exact.text)),
                Err(flaw) => self.flaw(name, flaw),
            }
        }
        others
    }
}

/// A whole number from 0 to `most`. `1.0` is whole: JSON knows one kind of number.
fn whole(value: &Value, most: u64) -> std::result::Result<u64, String> {
    let number = value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        let exact =
            number.fract() == 0.0 && (0.0..=wire::json::MAX_INTEGER as f64).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        exact.then_some(number as u64)
    });
    number
        .filter(|number| *number <= most)
        .ok_or_else(|| format!("expected a whole number from 0 to {most}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn user() -> String {
        Address::Account([7; 32]).to_string()
    }

    fn read_value(body: &Value) -> Result<NewRun> {
        read(body.to_string().as_bytes(), || 42)
    }

    /// A body with these members beside those that must be there.
    fn with(members: &str) -> String {
        let user = user();
        format!(r#"{{"user":"{user}","agentId":1,"budgets":{{"runtimeMs":10}}{members}}}"#)
    }

    fn pointers(body: &str) -> Vec<String> {
        match read(body.as_bytes(), || 0) {
            Err(Error::Refused { issues, .. }) => {
                issues.into_iter().map(|issue| issue.pointer).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn issues(body: &Value) -> Vec<String> {
        pointers(&body.to_string())
    }

    #[test]
    fn the_least_request_is_enough() {
        let NewRun { request, input, .. } = read(with("").as_bytes(), || 42).unwrap();
        assert_eq!((request.seed, input.as_slice()), (42, b"{}".as_slice()));
        assert_eq!(request.budgets, Usage { runtime_ms: 10, ..Usage::default() });
        assert_eq!(request.rate_version, None);
        assert_eq!(request.workflow_id.as_deref(), Some("default"), "the gates need a name");
    }

    #[test]
    fn a_name_that_the_gates_would_refuse_is_refused_before_money_moves() {
        let named = |name: &str| with(&format!(r#","workflowId":"{name}""#));
        assert!(read(named(&"é".repeat(128)).as_bytes(), || 42).is_ok());
        assert_eq!(pointers(&named(&"é".repeat(129))), ["/workflowId"]);
        assert_eq!(pointers(&named("a\\u0000")), ["/workflowId"]);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let body = json!({
            "user": "", "agentId": -1, "rateVersion": 0, "workflowId": "", "metadata": [],
            "budgets": { "llmIn": 1.5, "llmOut": "3", "httpCall": 1 },
            "seed": 9_007_199_254_740_992_u64,
        });
        let mut found = issues(&body);
        found.sort();
        let expected = [
            "/agentId",
            "/budgets/httpCall",
            "/budgets/llmIn",
            "/budgets/llmOut",
            "/metadata",
            "/rateVersion",
            "/seed",
            "/user",
            "/workflowId",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_small_member_that_is_large_is_not_read() {
        let large = format!("[{}0]", r#"{"":0},"#.repeat(1_000));
        for name in [
            "user",
            "agentId",
            "rateVersion",
            "budgets",
            "workflowId",
            "label",
            "seed",
            "startAt",
            "priority",
            "inputRef",
        ] {
            let body = format!(r#"{{"{name}":{large}}}"#);
            let found = match read(body.as_bytes(), || 0) {
                Err(Error::Refused { issues, .. }) => issues,
                other => panic!("{other:?}"),
            };
            let place = format!("/{name}");
            let is_named =
                |issue: &Issue| issue.pointer == place && issue.message.contains("4096 bytes");
            assert!(found.iter().any(is_named), "{name}: {found:?}");
            if KNOWN_TO_QUOTE.contains(&name) {
                let quote = read_quote(body.as_bytes()).unwrap_err();
                assert!(matches!(quote, Error::Refused { .. }), "{name}: {quote:?}");
            }
        }
    }

    #[test]
    fn a_request_has_few_mistakes_however_many_it_makes() {
        let many = |count: usize| {
            let members: Vec<String> = (0..count).map(|at| format!(r#""m{at}":0"#)).collect();
            members.join(",")
        };
        let budgets = with("").replace(r#""runtimeMs":10"#, &many(400));
        assert_eq!(pointers(&budgets).len(), MAX_ISSUES);
        let quote = with(&format!(",{}", many(400)));
        match read_quote(quote.as_bytes()) {
            Err(Error::Refused { issues, .. }) => assert_eq!(issues.len(), MAX_ISSUES),
            other => panic!("{other:?}"),
        }
        let unknown = with(&format!(",{}", many(2_000)));
        assert!(matches!(read(unknown.as_bytes(), || 0), Err(Error::Refused { .. })));
        let own = with(&format!(",{}", many(400)));
        assert!(read(own.as_bytes(), || 0).is_ok(), "a frontend may send its own");
    }

    #[test]
    fn nothing_is_coerced() {
        for wrong in
            [json!(""), json!(true), json!([]), json!("1"), json!(-1), json!(0.5), json!(1e300)]
        {
            let body = json!({ "user": user(), "agentId": 1, "budgets": { "llmIn": wrong } });
            assert_eq!(issues(&body), ["/budgets/llmIn"], "{wrong}");
        }
        let body = json!({ "user": user(), "agentId": 1.0, "budgets": { "llmIn": 2.0 } });
        assert_eq!(read_value(&body).unwrap().request.budgets.llm_in, 2);
        // A reader of doubles would take it for the whole number below it.
        assert_eq!(pointers(&with(r#","seed":9007199254740990.9999"#)), ["/seed"]);
    }

    #[test]
    fn the_input_is_any_json_and_has_one_spelling() {
        let of = |input: &str| read(with(&format!(r#","input":{input}"#)).as_bytes(), || 0);
        assert_eq!(of(r#"{ "b": 1, "a": 2.0 }"#).unwrap().input, br#"{"a":2,"b":1}"#);
        assert_eq!(of("null").unwrap().input, b"null");
        let large = format!("\"{}\"", "x".repeat(MAX_INPUT_BYTES));
        assert_eq!(pointers(&with(&format!(r#","input":{large}"#))), ["/input"]);
    }

    #[test]
    fn a_stored_input_makes_the_same_request_as_one_that_is_sent_along() {
        let sent = read(with(r#","input":{"a":1}"#).as_bytes(), || 0).unwrap();
        let digest = Digest::of(br#"{"a":1}"#);
        let stored = read(with(&format!(r#","inputRef":"{digest}""#)).as_bytes(), || 0).unwrap();
        assert_eq!((stored.input_ref, stored.input.len()), (Some(digest), 0));
        assert_eq!((stored.fingerprint, stored.request), (sent.fingerprint, sent.request));

        let both = format!(r#","input":1,"inputRef":"{digest}""#);
        for wrong in [both.as_str(), r#","inputRef":"abc""#, r#","inputRef":7"#] {
            assert_eq!(pointers(&with(wrong)), ["/inputRef"], "{wrong}");
        }
        assert!(read(with(r#","inputRef":null"#).as_bytes(), || 0).unwrap().input_ref.is_none());
    }

    #[test]
    fn two_inputs_never_have_one_digest() {
        for (input, pointer) in [
            (r#"{"rows":[1,18446744073709551616]}"#, "/input/rows/1"),
            (r#"{"a/b":18446744073709551617}"#, "/input/a~1b"),
            ("9007199254740992", "/input"),
            ("-9007199254740992", "/input"),
            ("[0.10000000000000000001]", "/input/0"),
            ("[1e400]", "/input/0"),
            (r#"{"a":1,"a":1}"#, "/input/a"),
            (r#"[{"a":{"b":1,"\u0062":2}}]"#, "/input/0/a/b"),
        ] {
            assert_eq!(pointers(&with(&format!(r#","input":{input}"#))), [pointer], "{input}");
        }
        let twice = r#"{"user":"","user":""}"#;
        assert!(matches!(read(twice.as_bytes(), || 0), Err(Error::Refused { .. })));
        let budgets = with("").replace(r#""runtimeMs":10"#, r#""runtimeMs":10,"runtimeMs":10"#);
        assert_eq!(pointers(&budgets), ["/budgets/runtimeMs"]);
    }

    #[test]
    fn metadata_is_kept_as_it_was_sent() {
        let sent = r#"{ "n": 18446744073709551617, "tiny": 1e-999, "b": 1.50 }"#;
        let read_it =
            |metadata: &str| read(with(&format!(r#","metadata":{metadata}"#)).as_bytes(), || 0);
        assert_eq!(read_it(sent).unwrap().request.metadata.as_deref(), Some(sent));
        assert_eq!(pointers(&with(r#","metadata":{"a":{"b":1,"b":2}}"#)), ["/metadata/a/b"]);
        assert_eq!(pointers(&with(r#","metadata":{"a":["\u0000"]}"#)), ["/metadata/a/0"]);
        assert_eq!(pointers(&with(r#","metadata":{"a":"\ud800"}"#)), ["/metadata/a"]);
    }

    #[test]
    fn the_fingerprint_is_of_what_was_asked_for_and_not_of_how() {
        let of = |members: &str| read(with(members).as_bytes(), || 7).unwrap().fingerprint;
        let plain = of(r#","metadata":{"a":1,"b":2}"#);
        assert_eq!(plain, of(r#" , "metadata" : { "b":2, "a":1 } , "label" : null "#));
        assert_ne!(plain, of(r#","metadata":{"a":1,"b":2.0}"#));
        let absent = of("");
        for null in ["priority", "startAt", "label", "rateVersion", "seed", "metadata"] {
            assert_eq!(absent, of(&format!(r#","{null}":null"#)), "{null}");
        }
        assert_ne!(absent, of(r#","theirs":null"#), "what means nothing here may be anything");
        assert_eq!(of(r#","seed":7,"input":[1]"#), of(r#","seed":7.0,"input":[1.0]"#));
        let large = |digit: char| of(&format!(r#","metadata":{{"n":1844674407370955161{digit}}}"#));
        assert_ne!(large('6'), large('7'));
        assert_ne!(plain, of(r#","metadata":{"a":1,"b":2},"theirs":1"#));
        let seeds = |seed: u64| read(with("").as_bytes(), || seed).unwrap().fingerprint;
        assert_eq!(seeds(1), seeds(2), "a seed that is drawn is not asked for");
    }

    #[test]
    fn a_start_and_a_priority_are_read_and_are_part_of_what_was_asked_for() {
        let of = |members: &str| read(with(members).as_bytes(), || 0).unwrap();
        let now = time::macros::datetime!(2026-01-02 03:04:05 UTC);
        let plain = of("");
        assert_eq!((plain.start_at, plain.priority), (None, None));
        assert!(!plain.is_scheduled(now).unwrap());
        let at = |secs: i64| (now + Duration::seconds(secs)).format(&Rfc3339).unwrap();
        let starting = |secs: i64| of(&format!(r#","startAt":"{}","priority":"low""#, at(secs)));
        assert_eq!(starting(60).priority, Some(RunPriority::Low));
        assert!(starting(60).is_scheduled(now).unwrap());
        assert!(!starting(-60).is_scheduled(now).unwrap(), "the past is now");
        assert!(starting(31 * 86_400).is_scheduled(now).is_err());
        assert_ne!(plain.fingerprint, starting(60).fingerprint);
        for wrong in [r#""tomorrow""#, "7", r#""""#, r#""-9999-01-01T00:00:00Z""#, "{}"] {
            assert_eq!(pointers(&with(&format!(r#","startAt":{wrong}"#))), ["/startAt"], "{wrong}");
        }
        assert_eq!(pointers(&with(r#","priority":"urgent""#)), ["/priority"]);
        assert_eq!(pointers(&with(r#","priority":1"#)), ["/priority"]);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(
            text in ".{0,200}", number in any::<f64>(), raw in any::<Vec<u8>>(),
        ) {
            let body = json!({ "user": text, "agentId": number, "budgets": { text.clone(): number },
                "workflowId": text, "label": number, "input": text, "metadata": { "a": text } });
            let _ = read_value(&body);
            let _ = read(&raw, || 0);
        }
    }
}
