//! A service of models that bills by the seed of each request, with every fault that such services
//! have, and writes down what it bills.
//!
//! What it does with a request follows from the request's `seed` alone, so a failure can be repeated.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use wire::Digest;
use wire::egress::{Call, CallOutcome, request_digest};

use crate::openai::{completion, delta, usage};
use crate::upstream::{Step, Upstream, answer, events, json as whole, upstream};

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
    /// The answer has it, whole and without contradiction.
    Complete,
    /// It does not, or it cannot be relied on.
    Missing,
    /// It was sent, and taken away again by a reset before or after it was read.
    Either,
    /// The request was refused: nothing was billed.
    Refused,
}

/// What the service does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::VariantArray)]
pub enum Kind {
    /// A whole answer with its record.
    Whole,
    /// The same, compressed.
    Compressed,
    /// A stream whose last event is the record.
    Stream,
    /// A stream whose every event has the record until then.
    StreamOfManyRecords,
    /// A stream in pieces that end anywhere.
    Trickling,
    /// A stream of which the caller reads the first piece only.
    LeftByTheModule,
    /// Status 429.
    TooManyRequests,
    /// Status 500.
    ServerError,
    /// Status 503, with a record that is not billed.
    ErrorWithRecord,
    /// A redirect to another service.
    Redirected,
    /// A reset in place of an answer.
    Reset,
    /// A reset within an answer.
    ResetWithin,
    /// A reset after the record was sent.
    ResetAfterTheRecord,
    /// An answer that breaks off.
    HalfClosed,
    /// The connection ends without an answer.
    Silent,
    /// An answer that is no HTTP.
    NoHttp,
    /// No answer in time.
    Slow,
    /// An answer that is larger than allowed.
    Gigantic,
    /// A small answer that is large when it is decompressed.
    Bomb,
    /// The same as a stream.
    BombOfEvents,
    /// A stream that ends before its record.
    Cut,
    /// A stream that ends within its record.
    CutWithin,
    /// A stream with an event that is no JSON.
    Malformed,
    /// A record whose sum is another one.
    Contradiction,
    /// A record with a negative number.
    Negative,
    /// A record with a fraction.
    Fraction,
    /// A record with a number as text.
    Text,
    /// A record with the largest number.
    Huge,
    /// A record with a member twice.
    Twice,
    /// An answer without a record.
    NoRecord,
    /// An answer without a body.
    Empty,
    /// An answer with something after its JSON.
    TrailingData,
}

use Kind::*;

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;
    /// Those to which no answer comes.
    const WITHOUT_ANSWER: [Self; 4] = [Reset, Silent, NoHttp, Slow];

    /// What is done with the request of this seed.
    pub fn of(seed: u64) -> Self {
        let mut place = scattered(seed) % Self::ALL.iter().map(|kind| kind.weight()).sum::<u64>();
        for kind in Self::ALL {
            match place.checked_sub(kind.weight()) {
                Some(rest) => place = rest,
                None => return *kind,
            }
        }
        Whole
    }

    /// How often it comes, compared with the others. Those that take long are rare.
    const fn weight(self) -> u64 {
        match self {
            Whole | Stream => 4,
            Compressed | StreamOfManyRecords | Trickling | LeftByTheModule => 2,
            _ => 1,
        }
    }

    /// Whether the request has to ask for a stream.
    pub fn is_streamed(self) -> bool {
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
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes every byte")
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

/// A running service.
pub struct FaultyModel {
    /// Where it runs.
    pub service: Upstream,
    /// What was billed for each request that arrived, by its digest as a list of calls has it.
    log: Arc<Mutex<HashMap<Digest, Billed>>>,
}

/// What the calls of a list come to, each of them compared with the service's own log.
#[derive(Debug, Default)]
pub struct Reconciled {
    /// Those that left.
    pub left: u64,
    /// Those that did not.
    pub refused: u64,
    /// Those of the ones that left whose usage is not certain.
    pub marked: u64,
    /// Tokens read that are charged.
    pub llm_in: u64,
    /// Tokens written that are charged.
    pub llm_out: u64,
    /// What the service did with them.
    pub kinds: HashSet<Kind>,
}

/// Starts such a service. Requests have to differ from each other, by their seeds for example.
pub fn faulty_model() -> FaultyModel {
    let log = Arc::new(Mutex::new(HashMap::new()));
    let own = Arc::clone(&log);
    let bomb = gzip(&vec![b' '; 16 << 20]);
    let service = upstream(move |request| {
        let seed = request.json()["seed"].as_u64().unwrap_or_default();
        let (kind, spread) = (Kind::of(seed), scattered(!seed));
        let (llm_in, llm_out) = (10 + spread % 17, 1 + spread % 23);
        let billed = match kind.record() {
            Record::Refused => Billed { kind, llm_in: 0, llm_out: 0 },
            _ => Billed { kind, llm_in, llm_out },
        };
        let digest = request_digest(&request.method, &request.target, &request.body);
        own.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, billed);
        steps(kind, llm_in, llm_out, &bomb)
    });
    FaultyModel { service, log }
}

impl FaultyModel {
    /// How many different requests have arrived.
    pub fn billed(&self) -> u64 {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// Compares a list of calls with the log: every call that left has arrived once, costs what the
    /// service billed where its record is complete, and otherwise is marked and costs no more.
    ///
    /// # Panics
    /// They differ; with the call and what the log has for it.
    pub fn reconcile(&self, calls: &[Call]) -> Reconciled {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut sums, mut seen) = (Reconciled::default(), HashSet::new());
        for call in calls {
            if call.outcome == CallOutcome::Refused {
                assert_eq!((call.llm_in, call.llm_out), (0, 0), "{call:?}");
                assert!(!log.contains_key(&call.request), "it did leave: {call:?}");
                sums.refused += 1;
                continue;
            }
            assert!(seen.insert(call.request), "the same request is listed twice: {call:?}");
            let billed = log.get(&call.request);
            let billed = billed.unwrap_or_else(|| panic!("it has not arrived: {call:?}"));
            billed.assert_agrees(call);
            sums.left += 1;
            sums.marked += u64::from(call.outcome == CallOutcome::Inconclusive);
            sums.llm_in += call.llm_in;
            sums.llm_out += call.llm_out;
            sums.kinds.insert(billed.kind);
        }
        sums
    }
}

impl Billed {
    fn assert_agrees(&self, call: &Call) {
        let equal = (call.llm_in, call.llm_out) == (self.llm_in, self.llm_out);
        let within = call.llm_in <= self.llm_in && call.llm_out <= self.llm_out;
        let holds = match (self.kind.record(), call.outcome) {
            (Record::Complete | Record::Refused | Record::Either, CallOutcome::Complete) => equal,
            (Record::Missing | Record::Either, CallOutcome::Inconclusive) => {
                within && call.reason.is_some()
            }
            _ => false,
        };
        assert!(holds, "{self:?}: {call:?}");
        // Without an answer nothing is certain.
        let unanswered = Kind::WITHOUT_ANSWER.contains(&self.kind);
        let nothing = (call.llm_in, call.llm_out, call.answer) == (0, 0, None);
        assert!(!unanswered || nothing, "{self:?}: {call:?}");
    }
}
