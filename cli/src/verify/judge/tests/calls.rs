//! Lies about what a module asked of services. The liar here may sign and seal: what remains is
//! that the list does not add up to what was charged.

use std::fs;

use serde_json::json;
use wire::egress::{
    BODIES_FILE, CALLS_FILE, Call, CallOutcome, Egress, UpstreamKind, UpstreamUse, answer_digest,
    lines, request_digest, root,
};
use wire::statement::Output;
use wire::{Digest, Usage};

use super::super::Name;
use super::fixture::Fixture;
use crate::verify::link::LinkState;

const REQUEST: &str = "{\"model\":\"m\"}";
const ANSWER: &str = "{\"usage\":{}}";

fn call(index: u64, outcome: CallOutcome) -> Call {
    let left = outcome != CallOutcome::Refused;
    Call {
        index,
        upstream: "model".to_owned(),
        method: "POST".to_owned(),
        path: "/chat/completions".to_owned(),
        outcome,
        status: left.then_some(200),
        request_bytes: if left { REQUEST.len() as u64 } else { 0 },
        response_bytes: if left { ANSWER.len() as u64 } else { 0 },
        request: request_digest("POST", "/chat/completions", REQUEST.as_bytes()),
        answer: left.then(|| answer_digest(200, ANSWER.as_bytes())),
        llm_in: if left { 30 } else { 0 },
        llm_out: if left { 4 } else { 0 },
        unbilled: 0,
        reason: (!left).then(|| "the run's budget: all 2 calls are made".to_owned()),
        wall_ms: 5,
    }
}

fn list(calls: &[Call]) -> Vec<u8> {
    let line = |call: &Call| serde_json::to_string(call).unwrap() + "\n";
    calls.iter().map(line).collect::<String>().into_bytes()
}

/// A run that made two calls of a model, and was refused a third.
struct Metered {
    fixture: Fixture,
    calls: Vec<Call>,
    egress: Egress,
    bodies: String,
}

impl Metered {
    fn new() -> Self {
        let calls = vec![
            call(0, CallOutcome::Complete),
            call(1, CallOutcome::Complete),
            call(2, CallOutcome::Refused),
        ];
        let egress = Egress {
            upstreams: vec![UpstreamUse {
                name: "model".to_owned(),
                kind: UpstreamKind::OpenAi,
                url: "https://model.example/v1".to_owned(),
                calls: 2,
                refused: 1,
                request_bytes: 2 * REQUEST.len() as u64,
                response_bytes: 2 * ANSWER.len() as u64,
                llm_in: 60,
                llm_out: 8,
                unbilled: 0,
                inconclusive: 0,
                wall_ms: 15,
            }],
            listed: 3,
            unlisted_refusals: 0,
            root: root(&lines(&list(&calls))),
        };
        let body = |index| json!({ "index": index, "request": REQUEST, "answer": ANSWER });
        let bodies = format!("{}\n{}\n", body(0), body(1));
        Self { fixture: Fixture::new(), calls, egress, bodies }
    }

    /// Everything is written, signed, sealed and settled as it is now.
    fn seal(mut self) -> Fixture {
        let list = list(&self.calls);
        let fixture = &mut self.fixture;
        fs::create_dir_all(fixture.path("pack/outputs/_lumio")).unwrap();
        let files = [(BODIES_FILE, self.bodies.into_bytes()), (CALLS_FILE, list)];
        for (path, bytes) in files.into_iter().rev() {
            fs::write(fixture.path("pack/outputs").join(path), &bytes).unwrap();
            let length = bytes.len() as u64;
            let output = Output { path: path.to_owned(), length, sha256: Digest::of(&bytes) };
            fixture.execution.outputs.insert(0, output);
        }
        let of = |part: fn(&UpstreamUse) -> u64| self.egress.upstreams.iter().map(part).sum();
        let usage = Usage {
            llm_in: of(|one| one.llm_in),
            llm_out: of(|one| one.llm_out),
            http_calls: of(|one| one.calls),
            runtime_ms: 500,
        };
        fixture.execution.usage = usage;
        fixture.execution.budgets =
            Usage { llm_in: 100, llm_out: 100, http_calls: 5, ..fixture.execution.budgets };
        fixture.execution.egress = Some(self.egress);
        fixture.settled = usage;
        fixture.repin();
        fixture.settle();
        self.fixture
    }
}

#[test]
fn the_calls_of_a_run_are_shown_and_add_up() {
    let fixture = Metered::new().seal();
    let proof = fixture.judge();
    assert_eq!(proof.state(Name::Calls), Some(LinkState::Ok), "{:#?}", proof.links);
    assert_eq!(proof.exit_code(), 0, "{:#?}", proof.links);
    let report = proof.report();
    let text = &report.text;
    assert!(text.contains("2 calls of model, 1 refused; they add up"), "{text}");
    assert!(text.contains("2 calls' bodies kept, as listed"), "{text}");
    assert!(text.contains("POST /chat/completions"), "{text}");
    assert!(text.contains("all 2 calls are made"), "{text}");
    assert_eq!(report.json["calls"].as_array().map(Vec::len), Some(3), "{:#}", report.json);
}

#[test]
fn a_run_without_services_has_no_such_link() {
    assert_eq!(Fixture::new().judge().state(Name::Calls), None);
}

#[test]
fn a_sum_or_a_root_that_does_not_follow_from_the_list_breaks_calls() {
    let lies: [fn(&mut Egress); 11] = [
        |egress| egress.root = Digest::of(b"another"),
        |egress| egress.listed = 2,
        |egress| egress.upstreams[0].calls = 3,
        |egress| egress.upstreams[0].refused = 0,
        |egress| egress.upstreams[0].request_bytes += 1,
        |egress| egress.upstreams[0].response_bytes -= 1,
        |egress| egress.upstreams[0].llm_in = 61,
        |egress| egress.upstreams[0].llm_out = 9,
        |egress| egress.upstreams[0].unbilled = 1,
        |egress| egress.upstreams[0].inconclusive = 1,
        |egress| egress.upstreams[0].wall_ms = 0,
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut metered = Metered::new();
        lie(&mut metered.egress);
        let proof = metered.seal().judge();
        assert_eq!(proof.broken(), [Name::Calls], "lie {number}: {:#?}", proof.links);
        assert_eq!(proof.exit_code(), 1);
    }
}

#[test]
fn a_list_that_is_another_one_breaks_calls() {
    let lies: [fn(&mut Vec<Call>); 6] = [
        |calls| calls[0].llm_in = 29,
        |calls| calls[1].path = "/embeddings".to_owned(),
        |calls| calls[2].outcome = CallOutcome::Complete,
        |calls| calls.swap(0, 1),
        |calls| drop(calls.pop()),
        |calls| calls[0].upstream = "other".to_owned(),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        // First beside the stated root, then with a root that was made for it.
        for has_its_root in [false, true] {
            let mut metered = Metered::new();
            lie(&mut metered.calls);
            if has_its_root {
                metered.egress.root = root(&lines(&list(&metered.calls)));
            }
            let proof = metered.seal().judge();

            // A path alone changes no sum, and its body then has another digest.
            assert_eq!(proof.broken(), [Name::Calls], "lie {number}: {:#?}", proof.links);
        }
    }
}

#[test]
fn a_kept_body_that_is_another_one_breaks_calls() {
    for (from, to) in
        [("\\\"m\\\"", "\\\"n\\\""), ("\"index\":1", "\"index\":2"), ("usage", "users")]
    {
        let mut metered = Metered::new();
        metered.bodies = metered.bodies.replacen(from, to, 1);
        let proof = metered.seal().judge();
        assert_eq!(proof.broken(), [Name::Calls], "{from}: {:#?}", proof.links);
    }
}

#[test]
fn a_list_that_is_not_in_the_pack_breaks_calls() {
    let fixture = Metered::new().seal();
    fs::remove_file(fixture.path("pack/outputs").join(CALLS_FILE)).unwrap();
    fixture.breaks(&[Name::Calls, Name::Files]);
}
