//! Many mixed calls with faults: figures equal the service's own log, call by call.
//!
//! What the service does with each request follows from the request's seed alone, so a failure can
//! be repeated. An ordinary run makes a thousand calls; with `LUMIO_LONG=1` each of several seeds
//! makes a thousand.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use serde_json::{Value, json};
use testkit::upstream::{answer, events, json as whole};
use testkit::{Step, Upstream, upstream};
use wire::Usage;
use wire::egress::{Call, CallOutcome, UpstreamKind};

use crate::world::{PLENTY, World, chat, completion, delta, route, usage};

/// What the service did with a request, and what it billed for it.
#[derive(Debug, Clone, Copy)]
struct Billed {
    kind: Kind,
    llm_in: u64,
    llm_out: u64,
}

/// Whether the client could read how much it was billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    /// It stands in the answer, whole and in one meaning.
    Complete,
    /// It does not, or it cannot be relied on.
    Missing,
    /// It was sent, and taken away again by a reset before or after it was read.
    Either,
    /// The request was refused: nothing was billed.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Whole,
    Compressed,
    Stream,
    StreamOfManyRecords,
    Trickling,
    LeftByTheModule,
    TooManyRequests,
    ServerError,
    ErrorWithRecord,
    Redirected,
    Reset,
    ResetWithin,
    ResetAfterTheRecord,
    HalfClosed,
    Silent,
    NoHttp,
    Slow,
    Gigantic,
    Bomb,
    BombOfEvents,
    Cut,
    CutWithin,
    Malformed,
    Contradiction,
    Negative,
    Fraction,
    Text,
    Huge,
    Twice,
    NoRecord,
    Empty,
    TrailingData,
}

use Kind::*;

/// Each as often as it stands here. Those that take long are rare.
const KINDS: &[Kind] = &[
    Whole,
    Whole,
    Whole,
    Whole,
    Compressed,
    Compressed,
    Stream,
    Stream,
    Stream,
    Stream,
    StreamOfManyRecords,
    StreamOfManyRecords,
    Trickling,
    Trickling,
    LeftByTheModule,
    LeftByTheModule,
    TooManyRequests,
    ServerError,
    ErrorWithRecord,
    Redirected,
    Reset,
    ResetWithin,
    ResetAfterTheRecord,
    HalfClosed,
    Silent,
    NoHttp,
    Slow,
    Gigantic,
    Bomb,
    BombOfEvents,
    Cut,
    CutWithin,
    Malformed,
    Contradiction,
    Negative,
    Fraction,
    Text,
    Huge,
    Twice,
    NoRecord,
    Empty,
    TrailingData,
];

impl Kind {
    fn of(seed: u64) -> Self {
        let count = u64::try_from(KINDS.len()).unwrap();
        KINDS[usize::try_from(scattered(seed) % count).unwrap()]
    }

    fn is_streamed(self) -> bool {
        matches!(
            self,
            Stream
                | StreamOfManyRecords
                | Trickling
                | LeftByTheModule
                | ResetAfterTheRecord
                | BombOfEvents
                | Cut
                | CutWithin
                | Malformed
        )
    }

    fn record(self) -> Record {
        match self {
            Whole | Compressed | Stream | StreamOfManyRecords | Trickling | LeftByTheModule => {
                Record::Complete
            }
            TooManyRequests | ServerError | ErrorWithRecord | Redirected => Record::Refused,
            ResetAfterTheRecord => Record::Either,
            _ => Record::Missing,
        }
    }
}

/// Spreads neighbouring seeds (the finaliser of SplitMix64).
fn scattered(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compressed(kind: &str, body: &[u8]) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: gzip\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    vec![Step::Send([head.as_bytes(), body].concat()), Step::KeepOpen]
}

/// An answer of JSON that breaks off in its middle.
fn begun() -> Step {
    let text = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
        content-length: 900\r\n\r\n{\"usage\":{\"prompt_tokens\":5,";
    Step::Send(text.as_bytes().to_vec())
}

/// A whole answer with this record.
fn with_record(record: &Value) -> Vec<Step> {
    whole(&json!({ "choices": [{ "message": { "content": "hi" } }], "usage": record }))
}

fn record(llm_in: &Value, llm_out: u64) -> Value {
    json!({ "prompt_tokens": llm_in, "completion_tokens": llm_out })
}

fn steps(kind: Kind, llm_in: u64, llm_out: u64, bomb: &[u8]) -> Vec<Step> {
    let texts: Vec<String> = (0..llm_out).map(|_| delta("w ")).collect();
    let done = "data: [DONE]".to_owned();
    let stream = |end: &[String]| events(texts.iter().chain(end).map(String::as_str));
    let ended = [usage(llm_in, llm_out), done.clone()];
    let json_kind = "application/json";
    match kind {
        Whole => whole(&completion(llm_in, llm_out)),
        Compressed => {
            compressed(json_kind, &gzip(completion(llm_in, llm_out).to_string().as_bytes()))
        }
        Stream => stream(&ended),
        // As some servers send it: in every chunk what was written until then.
        StreamOfManyRecords => {
            let chunks = (1..=llm_out).map(|written| {
                let chunk = json!({ "choices": [{ "delta": { "content": "w " } }],
                    "usage": record(&json!(llm_in), written) });
                format!("data: {chunk}")
            });
            let chunks: Vec<String> = chunks.chain([done]).collect();
            events(chunks.iter().map(String::as_str))
        }
        // Pieces that end anywhere.
        Trickling => {
            let head = stream(&[]).remove(0);
            let text: String =
                texts.iter().chain(&ended).map(|event| format!("{event}\r\n\r\n")).collect();
            let pieces = text.as_bytes().chunks(97).map(|piece| Step::Send(piece.to_vec()));
            std::iter::once(head).chain(pieces).collect()
        }
        LeftByTheModule => {
            let mut steps = stream(&ended);
            steps.insert(2, Step::Pause(Duration::from_millis(30)));
            steps
        }
        TooManyRequests => answer("429 Too Many Requests", json_kind, "{}"),
        ServerError => answer("500 Internal Server Error", json_kind, "{}"),
        ErrorWithRecord => {
            answer("503 Service Unavailable", json_kind, completion(9, 9).to_string())
        }
        Redirected => {
            let head = "HTTP/1.1 307 Temporary Redirect\r\nlocation: https://elsewhere.example/\r\n\
                content-length: 0\r\n\r\n";
            vec![Step::Send(head.as_bytes().to_vec()), Step::KeepOpen]
        }
        Reset => vec![Step::Reset],
        // The bytes are there before the reset takes away what was not read.
        ResetWithin => vec![begun(), Step::Pause(Duration::from_millis(5)), Step::Reset],
        ResetAfterTheRecord => {
            let mut steps = stream(&ended[..1]);
            steps.extend([Step::Pause(Duration::from_millis(5)), Step::Reset]);
            steps
        }
        HalfClosed => vec![begun(), Step::CloseHalf],
        Silent => Vec::new(),
        NoHttp => vec![Step::Send(b"220 mail.example ESMTP\r\n".to_vec())],
        Slow => vec![Step::Pause(Duration::from_millis(900))],
        Gigantic => answer("200 OK", json_kind, vec![b' '; 3 << 20]),
        Bomb => compressed(json_kind, bomb),
        BombOfEvents => compressed("text/event-stream", bomb),
        Cut => stream(&[]),
        CutWithin => {
            let mut steps = stream(&[]);
            steps.push(Step::Send(usage(llm_in, llm_out).as_bytes()[..30].to_vec()));
            steps
        }
        Malformed => stream(&["data: {\"choices\":[".to_owned(), done]),
        Contradiction => with_record(&json!({ "prompt_tokens": llm_in,
            "completion_tokens": llm_out, "total_tokens": llm_in + llm_out - 1 })),
        Negative => with_record(&record(&json!(-5), llm_out)),
        Fraction => with_record(&record(&json!(5.5), llm_out)),
        Text => with_record(&record(&json!(llm_in.to_string()), llm_out)),
        Huge => with_record(&record(&json!(u64::MAX), llm_out)),
        Twice => {
            let text = format!(
                "{{\"usage\":{{\"prompt_tokens\":{llm_in},\"prompt_tokens\":1,\
                 \"completion_tokens\":{llm_out}}}}}"
            );
            answer("200 OK", json_kind, text)
        }
        NoRecord => whole(&json!({ "choices": [] })),
        Empty => answer("200 OK", json_kind, ""),
        TrailingData => answer("200 OK", json_kind, format!("{}{{}}", completion(llm_in, llm_out))),
    }
}

/// A service that writes down what it bills.
fn service(log: &Arc<Mutex<HashMap<u64, Billed>>>) -> Upstream {
    let own = Arc::clone(log);
    let bomb = gzip(&vec![b' '; 16 << 20]);
    upstream(move |request| {
        let seed = request.json()["seed"].as_u64().unwrap();
        let (kind, spread) = (Kind::of(seed), scattered(!seed));
        let (llm_in, llm_out) = (10 + spread % 17, 1 + spread % 23);
        let billed = match kind.record() {
            Record::Refused => Billed { kind, llm_in: 0, llm_out: 0 },
            _ => Billed { kind, llm_in, llm_out },
        };
        own.lock().unwrap().insert(seed, billed);
        steps(kind, llm_in, llm_out, &bomb)
    })
}

/// One request, as a module makes it: read to its end, or left after the first piece.
async fn call(world: &World, seed: u64) {
    let kind = Kind::of(seed);
    let body = chat(json!({ "seed": seed, "stream": kind.is_streamed(), "max_tokens": 40 }));
    let Ok(mut response) = world.post("/chat/completions", &body).send().await else { return };
    while let Ok(Some(_)) = response.chunk().await {
        if kind == LeftByTheModule {
            return;
        }
    }
}

fn compare(call: &Call, billed: Billed) {
    let equal = (call.llm_in, call.llm_out) == (billed.llm_in, billed.llm_out);
    let within = call.llm_in <= billed.llm_in && call.llm_out <= billed.llm_out;
    let holds = match (billed.kind.record(), call.outcome) {
        (Record::Complete | Record::Refused | Record::Either, CallOutcome::Complete) => equal,
        (Record::Missing | Record::Either, CallOutcome::Inconclusive) => {
            within && call.reason.is_some()
        }
        _ => false,
    };
    assert!(holds, "{billed:?}: {call:?}");
}

async fn reconcile(seeds: std::ops::Range<u64>) {
    let log = Arc::default();
    let service = service(&log);
    let count = seeds.end - seeds.start;
    let mut bounded = route(UpstreamKind::OpenAi, &service.url());
    bounded.limits.concurrency = 16;
    // What is kept of gigantic answers has to have room beside all the others.
    bounded.limits.response_bytes = 256 << 10;
    let world = World::with(bounded, Usage { http_calls: count, ..PLENTY });
    let calls = futures::stream::iter(seeds).map(|seed| call(&world, seed));
    calls.buffer_unordered(16).for_each(|()| async {}).await;
    let (report, calls) = world.finish().await;

    // Which line is which request is in the kept bodies.
    let seeds: HashMap<u64, u64> = wire::egress::lines(&report.bodies)
        .into_iter()
        .map(|line| {
            let line: Value = serde_json::from_slice(line).unwrap();
            let request: Value = serde_json::from_str(line["request"].as_str().unwrap()).unwrap();
            (line["index"].as_u64().unwrap(), request["seed"].as_u64().unwrap())
        })
        .collect();
    let log = log.lock().unwrap();
    assert_eq!((log.len() as u64, report.usage.http_calls), (count, count));
    assert_eq!(calls.len() as u64, count);

    let (mut sums, mut marked, mut seen) = ((0, 0), 0, HashMap::new());
    for call in &calls {
        // No answer came to the others, so no bodies are kept; they are marked and cost no token.
        let Some(seed) = seeds.get(&call.index) else {
            assert_eq!(call.outcome, CallOutcome::Inconclusive, "{call:?}");
            assert_eq!((call.llm_in, call.llm_out, call.answer), (0, 0, None), "{call:?}");
            marked += 1;
            continue;
        };
        compare(call, log[seed]);
        *seen.entry(log[seed].kind).or_insert(0) += 1;
        sums = (sums.0 + call.llm_in, sums.1 + call.llm_out);
        marked += u64::from(call.outcome == CallOutcome::Inconclusive);
    }

    // Totals reconcile to the call.
    assert_eq!((report.usage.llm_in, report.usage.llm_out), sums);
    let used = &report.egress.upstreams[0];
    assert_eq!((used.calls, used.inconclusive, used.refused), (count, marked, 0));
    let without_answer = [Reset, Silent, NoHttp, Slow];
    let of = |kinds: &[Kind]| log.values().filter(|one| kinds.contains(&one.kind)).count();
    let (least, resets) = (of(&without_answer), of(&[ResetWithin, ResetAfterTheRecord]));
    let found = calls.len() - seeds.len();
    assert!((least..=least + resets).contains(&found), "{found} of {least} and {resets}");
    for kind in KINDS.iter().filter(|kind| !without_answer.contains(kind)) {
        assert!(seen.contains_key(kind), "{kind:?} was among them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_mixed_calls_reconcile_to_the_call() {
    reconcile(0..1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_thousand_mixed_calls_reconcile_to_the_call() {
    if std::env::var_os("LUMIO_LONG").is_none() {
        eprintln!("skipped: only with LUMIO_LONG=1");
        return;
    }
    for part in 1..=10 {
        reconcile(part * 1_000..(part + 1) * 1_000).await;
    }
}
