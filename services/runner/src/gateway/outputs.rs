//! What a run delivered: its files, listed and one by one.
//!
//! The list is the execution statement's own, which is sealed with the files. oracle-gate compares
//! each file with its sealed digest on the way; a file that is not what was sealed ends in an
//! error.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use sqlx::PgPool;
use wire::pb::oracle::v1::BundleChunk;
use wire::pb::oracle::v1::bundle_chunk::Item;
use wire::statement::ExecutionStatement;
use wire::view::{OutputView, OutputsView};
use wire::{Problem, dsse};

use crate::error::{Error, Result};
use crate::gates::Gates;
use crate::gateway::answers::Retains;
use crate::gateway::pieces::{self, MOST_RETAINED, PAUSE, Pieces};
use crate::model::run::Snapshot;
use crate::runs::store;

/// Where a bundle has the outputs of its pack.
const OUTPUTS: &str = "pack/outputs";

/// The bytes of a file that were asked for, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
}

/// What a header `Range` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The whole file: no range, or one that a server may ignore (RFC 9110, section 14.2).
    Whole,
    /// A part of it.
    Part(Range),
    /// Bytes that the file does not have.
    Unsatisfiable,
}

/// `GET /runs/:id/outputs`.
///
/// # Errors
///
/// When the database does not answer.
pub async fn list(snapshot: &Snapshot, db: &PgPool) -> Result<OutputsView> {
    let attempt = snapshot.run.attempt;
    // What was not sealed was not delivered, whatever the statement says.
    if snapshot.attempt.seal.is_none() {
        return Ok(OutputsView { attempt, outputs: Vec::new() });
    }
    let statement = store::statements(db, snapshot.key()).await?.execution;
    let outputs = statement.map(|envelope| outputs_of(&envelope)).transpose()?.unwrap_or_default();
    Ok(OutputsView { attempt, outputs })
}

/// The outputs in a statement that was verified before it was stored.
fn outputs_of(envelope: &[u8]) -> Result<Vec<OutputView>> {
    let broken =
        |error: &dyn std::fmt::Display| Error::Broken(format!("stored statement: {error}"));
    let envelope = dsse::Envelope::parse(envelope).map_err(|error| broken(&error))?;
    let payload = envelope.unverified().ok_or_else(|| broken(&"its payload is no base64"))?;
    let statement = ExecutionStatement::parse(&payload).map_err(|error| broken(&error))?;
    let outputs = statement.into_predicate().outputs.into_iter();
    let view = |output: wire::statement::Output| OutputView {
        path: output.path,
        length: output.length,
        sha256: output.sha256,
    };
    Ok(outputs.map(view).collect())
}

/// `GET /runs/:id/outputs/{path}`, whole or in part.
///
/// # Errors
///
/// [`Problem::NotFound`] for a path that is no output of the attempt, [`Problem::PreconditionFailed`]
/// for another file than the one that is wanted, and what oracle-gate refuses.
pub async fn file(
    snapshot: &Snapshot,
    path: &str,
    (method, headers): (&Method, &HeaderMap),
    gates: &Gates,
    db: &PgPool,
) -> Result<Response> {
    let listed = list(snapshot, db).await?.outputs;
    let output = listed.into_iter().find(|output| output.path == path).ok_or_else(|| {
        Error::refused(Problem::NotFound, format!("the attempt left no output {path}"))
    })?;
    let tag = format!("\"{}\"", output.sha256);
    // In this order (RFC 9110, section 13.2.2).
    if named(headers, &header::IF_MATCH, |known| known == tag) == Some(false) {
        let text = format!("the file's entity tag is {tag}, which If-Match does not name");
        return Err(Error::refused(Problem::PreconditionFailed, text));
    }
    if named(headers, &header::IF_NONE_MATCH, |known| is_weakly(known, &tag)) == Some(true) {
        return Ok(described(StatusCode::NOT_MODIFIED, &tag, None, pieces::unsent()));
    }
    // A range is defined for GET alone (section 14.2).
    let asked = match *method {
        Method::GET => asked(headers, &tag, output.length),
        _ => Asked::Whole,
    };
    let range = match asked {
        Asked::Unsatisfiable => return Ok(unsatisfiable(output.length, &tag)),
        Asked::Part(range) => Some(range),
        Asked::Whole => None,
    };
    if *method == Method::HEAD {
        let mut answer = described(StatusCode::OK, &tag, None, Body::empty());
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(output.length));
        return Ok(answer);
    }

    let stream = gates.bundle(snapshot.key()).await?;
    let (wanted, length) = (format!("{OUTPUTS}/{path}"), output.length);
    let part = range.unwrap_or(Range { first: 0, last: length.saturating_sub(1) });
    let body = pieces::body("an output", PAUSE, |pieces| async move {
        send(&pieces, stream, &wanted, part).await
    });
    let Some(part) = range else {
        let mut answer = described(StatusCode::OK, &tag, None, body);
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        answer.extensions_mut().insert(Retains(MOST_RETAINED));
        return Ok(answer);
    };
    let text = format!("bytes {}-{}/{length}", part.first, part.last);
    let mut answer = described(StatusCode::PARTIAL_CONTENT, &tag, Some(&text), body);
    let count = part.last - part.first + 1;
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    answer.extensions_mut().insert(Retains(MOST_RETAINED));
    Ok(answer)
}

/// An answer about a file. A module wrote it: no browser may take it for a page of this origin.
fn described(status: StatusCode, tag: &str, range: Option<&str>, body: Body) -> Response {
    let fixed = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
    ];
    let mut answer = (status, fixed, body).into_response();
    let headers = answer.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(Ok(range)) = range.map(HeaderValue::from_str) {
        headers.insert(header::CONTENT_RANGE, range);
    }
    answer
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Refuses a range that the file does not have, and says how long it is.
fn unsatisfiable(length: u64, tag: &str) -> Response {
    let text = format!("the file has {length} bytes, and none of those that Range names");
    let mut answer = Error::refused(Problem::RangeNotSatisfiable, text).into_response();
    let headers = answer.headers_mut();
    let range = format!("bytes */{length}");
    for (name, value) in [(header::CONTENT_RANGE, range.as_str()), (header::ETAG, tag)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer
}

/// Whether a list of entity tags names one that `is_it`; nothing without such a list. A list may be
/// of several lines, and `*` is any file that is there.
fn named(
    headers: &HeaderMap,
    name: &header::HeaderName,
    is_it: impl Fn(&str) -> bool,
) -> Option<bool> {
    let lines = headers.get_all(name).iter();
    let mut lines = lines.map(|line| line.to_str().unwrap_or_default()).peekable();
    lines.peek()?;
    // A tag of these files has no comma, so that one cut out of another file's tag does not match.
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    Some(tags.any(|known| known == "*" || is_it(known)))
}

/// Whether a tag is this one, strong or weak: a cache that was made to change an answer's coding may
/// have weakened it (RFC 9110, section 8.8.3.2).
fn is_weakly(known: &str, tag: &str) -> bool {
    known.strip_prefix("W/").unwrap_or(known) == tag
}

/// One range in bytes is answered; several, and other units, may be ignored, and are.
fn asked(headers: &HeaderMap, tag: &str, length: u64) -> Asked {
    let Some(range) = text(headers, &header::RANGE) else { return Asked::Whole };
    // A part of another file than the caller began with would be glued to it (`If-Range`).
    if text(headers, &header::IF_RANGE).is_some_and(|known| known != tag) {
        return Asked::Whole;
    }
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Asked::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let end = length.saturating_sub(1);
    match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            Some(0) => Asked::Unsatisfiable,
            Some(_) if length == 0 => Asked::Unsatisfiable,
            Some(count) => Asked::Part(Range { first: length.saturating_sub(count), last: end }),
            None => Asked::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), _) if first >= length && (last.is_empty() || number(last).is_some()) => {
                Asked::Unsatisfiable
            }
            (Some(first), None) if last.is_empty() => Asked::Part(Range { first, last: end }),
            (Some(first), Some(last)) if first <= last => {
                Asked::Part(Range { first, last: last.min(end) })
            }
            _ => Asked::Whole,
        },
    }
}

/// Sends the part of one file, and lets the stream go as soon as it is sent.
async fn send(
    pieces: &Pieces,
    mut stream: tonic::Streaming<BundleChunk>,
    wanted: &str,
    part: Range,
) -> anyhow::Result<()> {
    let mut at = None;
    while let Some(chunk) = stream.message().await? {
        match (chunk.item, at) {
            (Some(Item::File(file)), None) if file.path == wanted => {
                if file.length == 0 {
                    return Ok(());
                }
                at = Some(0_u64);
            }
            (Some(Item::File(_)), Some(_)) => break,
            (Some(Item::Data(data)), Some(start)) => {
                let end = start + u64::try_from(data.len())?;
                let from = usize::try_from(part.first.clamp(start, end) - start)?;
                let to = usize::try_from((part.last + 1).clamp(start, end) - start)?;
                if from < to {
                    let piece = Bytes::from(data).slice(from..to);
                    pieces.send(piece).await?;
                }
                // Reading goes on to the file's end: only there is it known that its digest holds.
                at = Some(end);
            }
            _ => {}
        }
    }
    anyhow::ensure!(at.is_some_and(|end| end > part.last), "the file ended early");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(range: &str, length: u64) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
        asked(&headers, "\"tag\"", length)
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |first, last| Asked::Part(Range { first, last });
        assert_eq!(ask("bytes=0-0", 10), part(0, 0));
        assert_eq!(ask("bytes=2-", 10), part(2, 9));
        assert_eq!(ask("bytes=2-99", 10), part(2, 9));
        assert_eq!(ask("bytes=-3", 10), part(7, 9));
        assert_eq!(ask("bytes=-30", 10), part(0, 9));
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(ask(range, 10), Asked::Unsatisfiable, "{range}");
        }
        for range in ["bytes=0-1,4-5", "bytes=5-2", "lines=0-1", "bytes=a-b", "bytes=-"] {
            assert_eq!(ask(range, 10), Asked::Whole, "{range}");
        }
        assert_eq!(ask("bytes=0-", 0), Asked::Unsatisfiable);
    }

    #[test]
    fn a_file_is_known_by_a_list_of_tags_of_any_form() {
        let with = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(line));
            }
            let tag = "\"tag\"";
            let name = &header::IF_NONE_MATCH;
            let weakly = named(&headers, name, |known| is_weakly(known, tag));
            (weakly, named(&headers, name, |known| known == tag))
        };
        assert_eq!(with(&[]), (None, None));
        assert_eq!(with(&["\"tag\""]), (Some(true), Some(true)));
        assert_eq!(with(&["W/\"tag\""]), (Some(true), Some(false)), "weak, and so not the same");
        assert_eq!(with(&["\"a\", \"tag\""]), (Some(true), Some(true)));
        assert_eq!(with(&["\"a\"", "\"b\",\"tag\""]), (Some(true), Some(true)), "several lines");
        assert_eq!(with(&["*"]), (Some(true), Some(true)));
        assert_eq!(with(&["\"a\", W/\"b\""]), (Some(false), Some(false)));
    }

    #[test]
    fn a_part_of_another_file_than_the_one_begun_is_not_given() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=1-"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
        assert_eq!(asked(&headers, "\"tag\"", 10), Asked::Whole);
    }
}
