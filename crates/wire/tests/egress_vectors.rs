//! Vectors about lists of calls, which the console's own verifier is held to as well
//! (web/tests/unit/vectors.test.ts). `UPDATE=1 cargo test -p wire --test egress_vectors` writes them.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wire::egress::{
    Call, CallOutcome, Egress, MAX_PATH, UpstreamKind, UpstreamUse, answer_digest, compare_bodies,
    lines, recompute, request_digest, root,
};

const REQUEST: &[u8] = "{\"model\":\"é\"}".as_bytes();
const ANSWER: &[u8] = b"\xff\x00{}";

/// A list with its statement, and bodies that were kept.
struct Vector {
    name: &'static str,
    list: String,
    bodies: Option<String>,
    egress: Egress,
}

impl Vector {
    /// Three calls of two services, all of which adds up.
    fn honest(name: &'static str) -> Self {
        let calls = [
            call(0, "model", CallOutcome::Complete),
            call(1, "search", CallOutcome::Inconclusive),
            call(2, "model", CallOutcome::Refused),
        ];
        let list: String = calls.iter().map(line).collect();
        let egress = Egress {
            upstreams: vec![
                UpstreamUse { wall_ms: 7, refused: 1, ..upstream("model", UpstreamKind::OpenAi) },
                UpstreamUse { inconclusive: 1, ..upstream("search", UpstreamKind::Http) },
            ],
            listed: 3,
            unlisted_refusals: 2,
            root: root(&lines(list.as_bytes())),
        };
        let bodies = format!("{}\n{}\n", body(0), body(1));
        Self { name, list, bodies: Some(bodies), egress }
    }

    /// Another list, with the root that it has.
    fn relisted(name: &'static str, change: fn(&str) -> String) -> Self {
        let honest = Self::honest(name);
        let list = change(&honest.list);
        let root = root(&lines(list.as_bytes()));
        let listed = lines(list.as_bytes()).len() as u64;
        Self { list, egress: Egress { root, listed, ..honest.egress }, ..honest }
    }

    fn stated(name: &'static str, change: fn(&mut Egress)) -> Self {
        let mut vector = Self::honest(name);
        change(&mut vector.egress);
        vector
    }

    fn kept(name: &'static str, bodies: String) -> Self {
        Self { bodies: Some(bodies), ..Self::honest(name) }
    }

    fn to_json(&self) -> Value {
        let calls = recompute(self.list.as_bytes(), &self.egress);
        let kept = |calls: &[Call]| match &self.bodies {
            Some(bodies) => compare_bodies(bodies.as_bytes(), calls).map(Some),
            None => Ok(None),
        };
        let result = calls.and_then(|calls| kept(&calls));
        json!({
            "name": self.name,
            "list": self.list,
            "bodies": self.bodies,
            "egress": self.egress,
            "kept": result.as_ref().ok(),
            "error": result.as_ref().err().map(ToString::to_string),
        })
    }
}

fn upstream(name: &str, kind: UpstreamKind) -> UpstreamUse {
    let url = format!("https://{name}.example/v1");
    UpstreamUse {
        name: name.to_owned(),
        kind,
        url,
        calls: 1,
        refused: 0,
        request_bytes: REQUEST.len() as u64,
        response_bytes: ANSWER.len() as u64,
        llm_in: 3,
        llm_out: u64::MAX - 1,
        unbilled: 1,
        inconclusive: 0,
        wall_ms: 5,
    }
}

fn call(index: u64, upstream: &str, outcome: CallOutcome) -> Call {
    let left = outcome != CallOutcome::Refused;
    let count = |number: u64| if left { number } else { 0 };
    Call {
        index,
        upstream: upstream.to_owned(),
        method: "POST".to_owned(),
        path: "/chat?q=é".to_owned(),
        outcome,
        status: left.then_some(200),
        request_bytes: count(REQUEST.len() as u64),
        response_bytes: count(ANSWER.len() as u64),
        request: request_digest("POST", "/chat?q=é", REQUEST),
        answer: left.then(|| answer_digest(200, ANSWER)),
        llm_in: count(3),
        // No reader of JSON that rounds integers may read this one.
        llm_out: count(u64::MAX - 1),
        unbilled: count(1),
        reason: (!left).then(|| "all calls are made".to_owned()),
        wall_ms: if left { 5 } else { 2 },
    }
}

fn line(call: &Call) -> String {
    serde_json::to_string(call).unwrap() + "\n"
}

fn body(index: u64) -> Value {
    let request = str::from_utf8(REQUEST).unwrap();
    json!({ "index": index, "request": request, "answer_base64": "/wB7fQ==" })
}

fn vectors() -> Vec<Vector> {
    let without = Vector { bodies: None, ..Vector::honest("no bodies were kept") };
    let empty = Egress {
        upstreams: vec![UpstreamUse {
            calls: 0,
            request_bytes: 0,
            response_bytes: 0,
            llm_in: 0,
            llm_out: 0,
            unbilled: 0,
            wall_ms: 0,
            ..upstream("model", UpstreamKind::Anthropic)
        }],
        listed: 0,
        unlisted_refusals: 0,
        root: root(&[]),
    };
    let nothing =
        Vector { list: String::new(), egress: empty, ..Vector::honest("nothing was asked") };
    let mut all = vec![
        Vector::honest("an honest list"),
        without,
        Vector { bodies: None, ..nothing },
        Vector::stated("another root", |egress| egress.root = root(&[b"another"])),
        Vector::stated("another length", |egress| egress.listed = 4),
        Vector::stated("a service less", |egress| drop(egress.upstreams.pop())),
        Vector::stated("other calls", |egress| egress.upstreams[0].calls = 2),
        Vector::stated("other refusals", |egress| egress.upstreams[0].refused = 0),
        Vector::stated("other bytes sent", |egress| egress.upstreams[1].request_bytes += 1),
        Vector::stated("other bytes received", |egress| egress.upstreams[1].response_bytes = 0),
        Vector::stated("other tokens read", |egress| egress.upstreams[0].llm_in = 4),
        Vector::stated("tokens that rounding hides", |egress| {
            egress.upstreams[0].llm_out = u64::MAX;
        }),
        Vector::stated("other tokens not billed", |egress| egress.upstreams[0].unbilled = 0),
        Vector::stated("an uncertain usage left out", |egress| {
            egress.upstreams[1].inconclusive = 0;
        }),
        Vector::stated("another time", |egress| egress.upstreams[0].wall_ms = 5),
        Vector::relisted("two lines change places", |list| {
            let mut lines: Vec<_> = list.lines().collect();
            lines.swap(0, 1);
            lines.join("\n")
        }),
        Vector::relisted("a line is no JSON", |list| list.replacen('{', "[", 1)),
        Vector::relisted("a line is an array", |list| format!("[]\n{list}")),
        Vector::relisted("a member twice", |list| list.replacen('{', "{\"index\":0,", 1)),
        Vector::relisted("a member is missing", |list| list.replacen("\"llm_in\":3,", "", 1)),
        Vector::relisted("an outcome that is none", |list| list.replacen("complete", "done", 1)),
        Vector::relisted("a negative number", |list| {
            list.replacen("\"llm_in\":3", "\"llm_in\":-3", 1)
        }),
        Vector::relisted("a status above all", |list| list.replacen(":200", ":70000", 1)),
        Vector::relisted("another service", |list| list.replacen("search", "other", 1)),
        Vector::relisted("empty lines between", |list| list.replace('\n', "\n\n")),
        Vector::relisted("no end of the last line", |list| list.trim_end().to_owned()),
        Vector::kept("a body twice", format!("{}\n{}\n", body(0), body(0))),
        Vector::kept("a body of no call", body(3).to_string()),
        Vector::kept("another body", body(0).to_string().replace('é', "e")),
        Vector::kept("a body of another answer", body(0).to_string().replace("/wB7", "/wB8")),
        Vector::kept("a body that is no base64", body(0).to_string().replace("==", "")),
        Vector::kept("a body in both forms", {
            body(0).to_string().replacen('{', "{\"answer\":\"\",", 1)
        }),
        Vector::kept("a body of a refused call", body(2).to_string()),
        Vector::kept("a line that is no body", "{\"index\":\"0\"}".to_owned()),
    ];

    // The digest of a path that was cut is over the whole of it, which the list does not have.
    let mut cut = call(0, "model", CallOutcome::Complete);
    cut.path = "/".to_owned() + &"é".repeat(MAX_PATH - 1);
    let list = line(&cut);
    let egress = Egress {
        upstreams: vec![upstream("model", UpstreamKind::OpenAi)],
        listed: 1,
        unlisted_refusals: 0,
        root: root(&lines(list.as_bytes())),
    };
    let bodies = Some(body(0).to_string());
    all.push(Vector { name: "a path that was cut", list, bodies, egress });
    all
}

#[test]
fn the_vectors_of_lists_of_calls_are_the_ones_that_others_are_held_to() {
    let vectors: Vec<_> = vectors().iter().map(Vector::to_json).collect();
    let holds = |name: &str| {
        vectors.iter().any(|vector| vector["name"] == name && vector["error"].is_null())
    };
    for name in
        ["an honest list", "no bodies were kept", "nothing was asked", "a path that was cut"]
    {
        assert!(holds(name), "{name}: {vectors:#?}");
    }
    let errors = vectors.iter().filter(|vector| !vector["error"].is_null()).count();
    assert!(errors >= vectors.len() - 6, "{vectors:#?}");

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/egress.json");
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), text, "UPDATE=1 writes {}", file.display());
}
