//! What an execution asked of named services, all of it by way of module-gate's proxy (E3, E6).
//!
//! The proxy writes one line for every request, in the order in which they left: the list. The
//! statement carries sums for each service, and the Merkle root over the list's lines; the list
//! itself lies in the pack. So every sum can be recomputed, and one call can be shown without the
//! others.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Digest, Hasher, json};

/// Folder among the outputs that is module-gate's own. No module may leave anything in it.
pub const FOLDER: &str = "_lumio/";
/// The list of calls among the outputs, one JSON object a line.
pub const CALLS_FILE: &str = "_lumio/calls.jsonl";
/// Bodies of requests and answers among the outputs, where the module's manifest asks for them.
pub const BODIES_FILE: &str = "_lumio/bodies.jsonl";

/// Most characters of a path in the list; a longer one is cut there.
pub const MAX_PATH: usize = 512;

/// Before a line, and before two nodes: no leaf can be taken for a node (RFC 6962, section 2.1).
const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];
/// Makes digests of requests and answers differ from those of anything else.
const REQUEST_TAG: &[u8] = b"lumio-egress-request-v1\n";
const ANSWER_TAG: &[u8] = b"lumio-egress-answer-v1\n";

/// What a statement says of all calls of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// Every service the module declares, sorted by name.
    pub upstreams: Vec<UpstreamUse>,
    /// Lines of the list.
    pub listed: u64,
    /// Requests that were refused after the list was full.
    #[serde(default)]
    pub unlisted_refusals: u64,
    /// Merkle root over the lines of the list, without their line ends (RFC 6962, section 2.1).
    pub root: Digest,
}

/// The sums of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamUse {
    /// As the module's manifest names it.
    pub name: String,
    /// The form of its requests and answers.
    pub kind: UpstreamKind,
    /// Where requests went: the address that the manifest names, or the one that the operator has
    /// in its place.
    pub url: String,
    /// Requests that left: each is one of `http_calls`.
    pub calls: u64,
    /// Requests that did not leave.
    pub refused: u64,
    /// Bytes of bodies that left.
    pub request_bytes: u64,
    /// Bytes of bodies that came, after decompression.
    pub response_bytes: u64,
    /// Tokens read that are charged.
    pub llm_in: u64,
    /// Tokens written that are charged.
    pub llm_out: u64,
    /// Tokens that the service reported above what is charged: the operator's loss (E4).
    pub unbilled: u64,
    /// Calls whose usage is not certain: no record, a contradictory one, or a stream that was cut.
    pub inconclusive: u64,
    /// Time from each request to the end of its answer, all together, in milliseconds.
    pub wall_ms: u64,
}

/// The form of a service's requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamKind {
    /// OpenAI's, which many servers speak.
    #[serde(rename = "openai")]
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Any other: only calls are counted.
    Http,
}

impl fmt::Display for UpstreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Http => "http",
        })
    }
}

/// One request: a line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its place in the list, from 0.
    pub index: u64,
    /// The service.
    pub upstream: String,
    /// Such as `POST`.
    pub method: String,
    /// Path and query below the service's address.
    pub path: String,
    /// What became of it.
    pub outcome: CallOutcome,
    /// The answer's status, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of the request's body, as it left.
    pub request_bytes: u64,
    /// Bytes of the answer's body, after decompression.
    pub response_bytes: u64,
    /// [`request_digest`].
    pub request: Digest,
    /// [`answer_digest`], if an answer began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Digest>,
    /// Tokens read that are charged.
    pub llm_in: u64,
    /// Tokens written that are charged.
    pub llm_out: u64,
    /// Tokens that the service reported above what is charged.
    #[serde(default)]
    pub unbilled: u64,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From the request to the end of the answer, in milliseconds.
    pub wall_ms: u64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallOutcome {
    /// It left, and what it used is certain.
    Complete,
    /// It left, and what it used is not certain: only what is certain is charged.
    Inconclusive,
    /// It did not leave: it was refused, or the service could not be reached.
    Refused,
}

/// Why a list is not what a statement says.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A line is no call.
    #[error("line {0} of the list of calls is no call")]
    Line(usize, #[source] serde_json::Error),
    /// The lines are not in order.
    #[error("line {0} of the list of calls has another place in it")]
    Order(usize),
    /// A line names a service that the statement does not.
    #[error("line {line} of the list of calls names {name:?}, which the statement does not")]
    Unknown {
        /// Which line.
        line: usize,
        /// The name.
        name: String,
    },
    /// A line is no body.
    #[error("line {0} of the bodies is invalid")]
    BodyLine(usize, #[source] serde_json::Error),
    /// A body of a call that the list does not have, or a second one.
    #[error("line {0} of the bodies belongs to no call of the list, or occurs twice")]
    BodyOfNoCall(usize),
    /// A body has another digest.
    #[error("line {0} of the bodies has another digest than the list of calls says")]
    OtherBody(usize),
    /// Another list was stated.
    #[error("the list of calls is another one than stated: its {0}")]
    Other(&'static str),
    /// A sum is another one.
    #[error("the calls of {name:?} add up to {found} {what}, the statement says {stated}")]
    Sum {
        /// The service.
        name: String,
        /// What was added up.
        what: &'static str,
        /// Their sum.
        found: u64,
        /// What is stated.
        stated: u64,
    },
}

/// The digest of a request's body with what it was about. `path` has the query.
pub fn request_digest(method: &str, path: &str, body: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(REQUEST_TAG);
    // Neither can hold a line end.
    hasher.update(method);
    hasher.update(b"\n");
    hasher.update(path);
    hasher.update(b"\n");
    hasher.update(body);
    hasher.finish()
}

/// Begins the digest of an answer, whose body comes in pieces.
pub fn answer_hasher(status: u16) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(ANSWER_TAG);
    hasher.update(status.to_string());
    hasher.update(b"\n");
    hasher
}

/// The digest of an answer: its status and its body, decompressed and with credentials removed.
pub fn answer_digest(status: u16, body: &[u8]) -> Digest {
    let mut hasher = answer_hasher(status);
    hasher.update(body);
    hasher.finish()
}

/// The Merkle root over `lines` (RFC 6962, section 2.1): the digest of nothing for none.
pub fn root(lines: &[&[u8]]) -> Digest {
    match lines {
        [] => Digest::of(b""),
        [line] => two(LEAF, line, &[]),
        _ => {
            // The largest power of two below their number.
            let half = lines.len().next_power_of_two() / 2;
            let (left, right) = lines.split_at(half);
            two(NODE, root(left).as_bytes(), root(right).as_bytes())
        }
    }
}

fn two(kind: [u8; 1], left: &[u8], right: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(kind);
    hasher.update(left);
    hasher.update(right);
    hasher.finish()
}

/// The lines of a list, without their ends.
pub fn lines(list: &[u8]) -> Vec<&[u8]> {
    list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()
}

/// Recomputes everything that `stated` says from the list.
///
/// # Errors
///
/// The first thing that is not so.
pub fn recompute(list: &[u8], stated: &Egress) -> Result<Vec<Call>, ListError> {
    let lines = lines(list);
    if lines.len() as u64 != stated.listed {
        return Err(ListError::Other("length"));
    }
    if root(&lines) != stated.root {
        return Err(ListError::Other("root"));
    }

    let calls = read(list)?;
    for (at, call) in calls.iter().enumerate() {
        if !stated.upstreams.iter().any(|upstream| upstream.name == call.upstream) {
            return Err(ListError::Unknown { line: at + 1, name: call.upstream.clone() });
        }
    }
    for upstream in &stated.upstreams {
        add_up(upstream, &calls)?;
    }
    Ok(calls)
}

/// The calls of a list, in their order. A line that is no call, or is at another place than it
/// says, is an error.
fn read(list: &[u8]) -> Result<Vec<Call>, ListError> {
    let mut calls = Vec::new();
    for (at, line) in lines(list).into_iter().enumerate() {
        let call: Call = json::read(line).map_err(|error| ListError::Line(at + 1, error))?;
        if call.index != at as u64 {
            return Err(ListError::Order(at + 1));
        }
        calls.push(call);
    }
    Ok(calls)
}

/// Compares the bodies that were kept with the digests in the list. Answers how many calls have
/// theirs.
///
/// # Errors
///
/// A line is no body of a call of the list, occurs twice, or has another digest.
pub fn compare_bodies(bodies: &[u8], calls: &[Call]) -> Result<usize, ListError> {
    let mut seen = vec![false; calls.len()];
    for (at, line) in lines(bodies).into_iter().enumerate() {
        let line_number = at + 1;
        let body: BodyLine =
            json::read(line).map_err(|error| ListError::BodyLine(line_number, error))?;
        let place = usize::try_from(body.index).ok();
        let call = place.and_then(|place| calls.get(place));
        let (Some(place), Some(call)) = (place, call) else {
            return Err(ListError::BodyOfNoCall(line_number));
        };
        if std::mem::replace(&mut seen[place], true) {
            return Err(ListError::BodyOfNoCall(line_number));
        }

        let bytes = |text: &Option<String>, base64: &Option<String>| match (text, base64) {
            (Some(text), None) => Some(text.clone().into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).ok(),
            _ => None,
        };
        let request = bytes(&body.request, &body.request_base64);
        let answer = bytes(&body.answer, &body.answer_base64);
        let (Some(request), Some(answer)) = (request, answer) else {
            return Err(ListError::BodyOfNoCall(line_number));
        };
        // A long path is cut in the list, and its digest is over the whole.
        let is_cut = call.path.chars().count() >= MAX_PATH;
        let same_request = is_cut
            || (request_digest(&call.method, &call.path, &request) == call.request
                && request.len() as u64 == call.request_bytes);
        let same_answer = call.status.map(|status| answer_digest(status, &answer)) == call.answer;
        if !same_request || !same_answer {
            return Err(ListError::OtherBody(line_number));
        }
    }
    Ok(seen.into_iter().filter(|seen| *seen).count())
}

/// A line of the file of bodies: each of the two as text where it is text.
#[derive(Serialize, Deserialize)]
struct BodyLine {
    index: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer_base64: Option<String>,
}

/// Whether the calls of one service add up to what is stated of it.
fn add_up(stated: &UpstreamUse, calls: &[Call]) -> Result<(), ListError> {
    let own = || calls.iter().filter(|call| call.upstream == stated.name);
    let left = |call: &&Call| call.outcome != CallOutcome::Refused;
    let sum = |of: fn(&Call) -> u64| own().map(of).fold(0, u64::saturating_add);
    let uncertain = own().filter(|call| call.outcome == CallOutcome::Inconclusive);
    let sums = [
        ("calls", own().filter(left).count() as u64, stated.calls),
        ("refusals", own().filter(|call| !left(call)).count() as u64, stated.refused),
        ("bytes sent", sum(|call| call.request_bytes), stated.request_bytes),
        ("bytes received", sum(|call| call.response_bytes), stated.response_bytes),
        ("tokens read", sum(|call| call.llm_in), stated.llm_in),
        ("tokens written", sum(|call| call.llm_out), stated.llm_out),
        ("tokens not billed", sum(|call| call.unbilled), stated.unbilled),
        ("calls without a certain usage", uncertain.count() as u64, stated.inconclusive),
        ("milliseconds", sum(|call| call.wall_ms), stated.wall_ms),
    ];
    for (what, found, stated_sum) in sums {
        if found != stated_sum {
            let name = stated.name.clone();
            return Err(ListError::Sum { name, what, found, stated: stated_sum });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(index: u64, outcome: CallOutcome) -> Call {
        Call {
            index,
            upstream: "model".to_owned(),
            method: "POST".to_owned(),
            path: "/chat/completions".to_owned(),
            outcome,
            status: Some(200),
            request_bytes: 10,
            response_bytes: 20,
            request: request_digest("POST", "/chat/completions", b"{}"),
            answer: Some(answer_digest(200, b"{}")),
            llm_in: 3,
            llm_out: 4,
            unbilled: 0,
            reason: None,
            wall_ms: 5,
        }
    }

    fn list(calls: &[Call]) -> Vec<u8> {
        let line = |call: &Call| serde_json::to_string(call).unwrap() + "\n";
        calls.iter().map(line).collect::<String>().into_bytes()
    }

    fn stated(list: &[u8]) -> Egress {
        Egress {
            upstreams: vec![UpstreamUse {
                name: "model".to_owned(),
                kind: UpstreamKind::OpenAi,
                url: "https://model.example/v1".to_owned(),
                calls: 2,
                refused: 1,
                request_bytes: 30,
                response_bytes: 60,
                llm_in: 9,
                llm_out: 12,
                unbilled: 0,
                inconclusive: 1,
                wall_ms: 15,
            }],
            listed: 3,
            unlisted_refusals: 0,
            root: root(&lines(list)),
        }
    }

    fn three() -> Vec<Call> {
        use CallOutcome::{Complete, Inconclusive, Refused};
        [Complete, Inconclusive, Refused].into_iter().zip(0..).map(|(o, n)| call(n, o)).collect()
    }

    #[test]
    fn a_list_adds_up_to_what_is_stated_or_says_what_does_not() {
        let all = list(&three());
        assert_eq!(recompute(&all, &stated(&all)).unwrap().len(), 3);

        let mut other = stated(&all);
        other.upstreams[0].llm_out = 11;
        let error = recompute(&all, &other).unwrap_err().to_string();
        assert!(error.contains("12 tokens written"), "{error}");

        let mut changed = three();
        changed[1].llm_in = 2;
        let error = recompute(&list(&changed), &stated(&all)).unwrap_err();
        assert!(matches!(error, ListError::Other("root")), "{error}");

        let mut swapped = three();
        swapped.swap(0, 1);
        let swapped = list(&swapped);
        let error = recompute(&swapped, &stated(&swapped)).unwrap_err();
        assert!(matches!(error, ListError::Order(1)), "{error}");
    }

    #[test]
    fn kept_bodies_have_the_digests_of_the_list() {
        let calls = three();
        let line = |index: usize, request: &str, answer: &str| {
            format!("{{\"index\":{index},\"request\":{request:?},\"answer\":{answer:?}}}\n")
        };
        let mut calls: Vec<Call> = calls;
        for call in &mut calls {
            call.request_bytes = 2;
        }
        let all = line(0, "{}", "{}") + &line(2, "{}", "{}");
        assert_eq!(compare_bodies(all.as_bytes(), &calls).unwrap(), 2);
        let base64 = "{\"index\":1,\"request_base64\":\"e30=\",\"answer\":\"{}\"}";
        assert_eq!(compare_bodies(base64.as_bytes(), &calls).unwrap(), 1);
        for wrong in [
            line(0, "{ }", "{}"),
            line(0, "{}", "[]"),
            line(3, "{}", "{}"),
            line(0, "{}", "{}") + &line(0, "{}", "{}"),
            "{\"index\":0,\"request\":\"{}\"}".to_owned(),
            "{\"index\":-1}".to_owned(),
        ] {
            assert!(compare_bodies(wrong.as_bytes(), &calls).is_err(), "{wrong}");
        }
    }

    /// The vectors of RFC 6962's reference implementation for trees of none, one and eight leaves.
    #[test]
    fn the_root_is_that_of_certificate_transparency() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        for (count, expected) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(root(&leaves[..count]).to_string(), expected, "{count} leaves");
        }
    }
}
