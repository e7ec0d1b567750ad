//! What is kept of every call (E6): its line in the list, and its bodies where they are asked for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wire::egress::{Call, CallOutcome, Egress, UpstreamUse};

use crate::meter::Reservation;
use crate::route::Route;
use crate::text;

/// Most lines of a list. What is refused after that is only counted.
pub const MAX_CALLS: usize = 10_000;
/// Most bytes of a line. `lumio verify` reads files of up to 64 MiB, which are 67,108,864 bytes; a
/// full list has at most 10,000 × (5,800 + 1) = 58,010,000. A line is made of a path (512
/// characters) and a reason (600), each character at most four bytes since none is a control
/// character, together 4,448; a service's name and a method (32 each, in bytes at most 160); two
/// digests (130), numbers and names of members (at most 600).
pub const MAX_LINE: usize = 5_800;
/// Most characters of a method; those that leave have fewer.
const MAX_METHOD: usize = 32;
/// Bytes of bodies after which nothing leaves any more.
const MAX_BODIES: usize = 24 << 20;
/// Most bytes of bodies that are kept, which is what `lumio verify` reads of a file. Calls that
/// left at one time may have more: those that end last are without bodies then, and the list has
/// their digests.
const MAX_KEPT: usize = 64 << 20;

/// All calls of one execution.
#[derive(Debug, Default)]
pub struct Evidence {
    inner: Mutex<Inner>,
    /// A call has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    pending: usize,
    closed: bool,
    unlisted: u64,
    bodies: Vec<u8>,
    budget: Option<String>,
}

#[derive(Debug)]
enum Entry {
    Pending(Call, Reservation),
    Done(Call),
}

/// Bodies of one call.
#[derive(Debug)]
pub struct Bodies<'a> {
    /// As it left.
    pub request: &'a [u8],
    /// As it came, decompressed and without credentials.
    pub answer: &'a [u8],
}

/// Everything that was kept.
#[derive(Debug)]
pub struct Kept {
    /// What the statement says.
    pub egress: Egress,
    /// The list.
    pub list: Vec<u8>,
    /// Bodies, one line for each call.
    pub bodies: Vec<u8>,
    /// The first thing that the run's budget stood against.
    pub budget: Option<String>,
}

impl Evidence {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is about to leave. `call` says what is known until then, for the case that it
    /// never ends. Answers its place in the list.
    ///
    /// # Errors
    /// There is no room for it, or the execution has ended: it must not leave.
    pub fn begin(&self, mut call: Call, reservation: Reservation) -> Result<usize, String> {
        let mut inner = self.inner();
        if inner.closed {
            return Err("the execution has ended".to_owned());
        }
        if inner.entries.len() >= MAX_CALLS {
            return Err(format!("the list of calls is full: it has {MAX_CALLS} lines"));
        }
        if inner.bodies.len() >= MAX_BODIES {
            return Err(format!("there is no room for bodies beyond {MAX_BODIES} bytes"));
        }
        let index = inner.entries.len();
        call.index = index as u64;
        let call = bounded(call);
        inner.entries.push(Entry::Pending(call, reservation));
        inner.pending += 1;
        Ok(index)
    }

    /// A call has ended: `settle` completes its line. It is not called where the execution had
    /// ended before.
    pub fn end(
        &self,
        index: usize,
        bodies: Option<Bodies<'_>>,
        settle: impl FnOnce(&mut Call, Reservation),
    ) {
        let mut inner = self.inner();
        let Some(entry) = inner.entries.get_mut(index) else { return };
        let Entry::Pending(call, reservation) = entry else { return };
        let (mut call, reservation) = (call.clone(), *reservation);
        settle(&mut call, reservation);
        *entry = Entry::Done(bounded(call));
        if let Some(bodies) = bodies {
            let line = format!("{}\n", line(index, &bodies));
            if inner.bodies.len() + line.len() <= MAX_KEPT {
                inner.bodies.extend(line.into_bytes());
            }
        }
        inner.pending -= 1;
        drop(inner);
        self.ended.notify_all();
    }

    /// Records a request that is not sent.
    pub fn refuse(&self, mut call: Call) {
        let mut inner = self.inner();
        if inner.closed {
            return;
        }
        if inner.entries.len() >= MAX_CALLS {
            inner.unlisted += 1;
            return;
        }
        call.index = inner.entries.len() as u64;
        call.outcome = CallOutcome::Refused;
        inner.entries.push(Entry::Done(bounded(call)));
    }

    /// Notes that the run's budget refused a request or cut a stream.
    pub fn budget(&self, why: &str) {
        self.inner().budget.get_or_insert_with(|| text::message(why));
    }

    /// Waits for calls under way, at most as long as `patience`; then ends them by `settle`.
    pub fn close(
        &self,
        routes: &[Route],
        patience: Duration,
        mut settle: impl FnMut(&mut Call, Reservation),
    ) -> Kept {
        let waited =
            self.ended.wait_timeout_while(self.inner(), patience, |inner| inner.pending > 0);
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        inner.closed = true;
        let mut calls = Vec::new();
        for entry in &mut inner.entries {
            if let Entry::Pending(call, reservation) = entry {
                settle(call, *reservation);
            }
            let (Entry::Pending(call, _) | Entry::Done(call)) = entry;
            calls.push(call.clone());
            *entry = Entry::Done(call.clone());
        }
        let unlisted_refusals = inner.unlisted;
        let bodies = std::mem::take(&mut inner.bodies);
        let budget = inner.budget.clone();
        drop(inner);

        let mut list = Vec::new();
        for call in &calls {
            // A call has text keys and whole numbers.
            list.extend(serde_json::to_vec(call).unwrap_or_default());
            list.push(b'\n');
        }
        let root = wire::egress::root(&wire::egress::lines(&list));
        let mut upstreams: Vec<UpstreamUse> = routes.iter().map(|one| sum(one, &calls)).collect();
        upstreams.sort_by(|one, next| one.name.cmp(&next.name));
        let listed = calls.len() as u64;
        let egress = Egress { upstreams, listed, unlisted_refusals, root };
        Kept { egress, list, bodies, budget }
    }
}

/// A call whose line has at most [`MAX_LINE`] bytes: texts of modules and services are cut.
fn bounded(mut call: Call) -> Call {
    if call.method.chars().count() > MAX_METHOD {
        call.method = call.method.chars().take(MAX_METHOD - 1).chain(['…']).collect();
    }
    call.reason = call.reason.map(|reason| text::message(&reason));
    call
}

fn line(index: usize, bodies: &Bodies<'_>) -> Value {
    let text = |name: &str, bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => (name.to_owned(), Value::from(text)),
        Err(_) => (format!("{name}_base64"), Value::from(STANDARD.encode(bytes))),
    };
    let mut line = json!({ "index": index });
    for (name, value) in [text("request", bodies.request), text("answer", bodies.answer)] {
        line[name] = value;
    }
    line
}

fn sum(route: &Route, calls: &[Call]) -> UpstreamUse {
    let mut sums = UpstreamUse {
        name: route.name.clone(),
        kind: route.kind,
        url: route.url.to_string(),
        calls: 0,
        refused: 0,
        request_bytes: 0,
        response_bytes: 0,
        llm_in: 0,
        llm_out: 0,
        unbilled: 0,
        inconclusive: 0,
        wall_ms: 0,
    };
    for call in calls.iter().filter(|call| call.upstream == route.name) {
        match call.outcome {
            CallOutcome::Refused => sums.refused += 1,
            CallOutcome::Complete => sums.calls += 1,
            CallOutcome::Inconclusive => {
                sums.calls += 1;
                sums.inconclusive += 1;
            }
        }
        sums.request_bytes += call.request_bytes;
        sums.response_bytes += call.response_bytes;
        sums.llm_in += call.llm_in;
        sums.llm_out += call.llm_out;
        sums.unbilled += call.unbilled;
        sums.wall_ms += call.wall_ms;
    }
    sums
}

#[cfg(test)]
mod tests {
    use wire::Digest;
    use wire::egress::MAX_PATH;

    use super::*;

    fn call(path: &str) -> Call {
        Call {
            index: 0,
            upstream: "service".to_owned(),
            method: "POST".to_owned(),
            path: path.to_owned(),
            outcome: CallOutcome::Inconclusive,
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            request: Digest::of(b""),
            answer: None,
            llm_in: 0,
            llm_out: 0,
            unbilled: 0,
            reason: None,
            wall_ms: 0,
        }
    }

    #[test]
    fn bodies_of_calls_that_leave_at_one_time_have_a_bound_too() {
        let evidence = Evidence::default();
        let places: Vec<_> = (0..5)
            .map(|_| evidence.begin(call("/"), Reservation::NOTHING).expect("there is room"))
            .collect();
        let answer = vec![b'a'; 15 << 20];
        for place in places {
            let bodies = Bodies { request: b"{}", answer: &answer };
            evidence.end(place, Some(bodies), |_, _| {});
        }
        evidence.begin(call("/"), Reservation::NOTHING).expect_err("nothing leaves any more");

        let kept = evidence.close(&[], Duration::ZERO, |_, _| {});
        assert_eq!(kept.egress.listed, 5);
        assert_eq!(wire::egress::lines(&kept.bodies).len(), 4, "of the fifth is only its line");
        assert!(kept.bodies.len() <= MAX_KEPT);
    }

    #[test]
    fn a_line_has_a_bound_and_so_has_the_list() {
        let huge = |sign: &str| sign.repeat(7 << 20);
        // A path's signs are those of an address: none is a control character.
        for (method, path, reason) in [("X", "\"", "\u{1}"), ("é", "\u{10ffff}", "\u{10ffff}")] {
            let call = Call {
                index: u64::MAX,
                upstream: "x".repeat(32),
                method: huge(method),
                status: Some(u16::MAX),
                request_bytes: u64::MAX,
                response_bytes: u64::MAX,
                answer: Some(Digest::of(b"")),
                llm_in: u64::MAX,
                llm_out: u64::MAX,
                unbilled: u64::MAX,
                reason: Some(huge(reason)),
                wall_ms: u64::MAX,
                ..call(&path.repeat(MAX_PATH))
            };
            let line = serde_json::to_vec(&bounded(call)).unwrap();
            assert!(line.len() <= MAX_LINE, "{} bytes", line.len());
        }
        const { assert!(MAX_CALLS * (MAX_LINE + 1) < 64 << 20) };
    }
}
