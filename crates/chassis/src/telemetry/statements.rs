//! Spans of the statements that Postgres was given.
//!
//! sqlx reports each statement when it has ended, as an event with its duration. A span of that
//! length is made of it, in the span that was current: so no place that talks to the database has
//! to think of it, and none is forgotten.
//!
//! The event does not say whether the statement failed. So the span of the last statement of each
//! span is kept open for [`note_failure`], until the next statement comes or the span closes.

use std::fmt;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::field::{Field, Visit};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, layer};

/// Makes the spans.
#[derive(Debug)]
pub(super) struct StatementSpans {
    tracer: SdkTracer,
}

/// What sqlx says about a statement.
#[derive(Debug, Default)]
struct Statement {
    summary: String,
    text: String,
    seconds: f64,
    rows: u64,
}

/// The last statement of a span, among the extensions of that span.
#[derive(Debug)]
struct Last {
    span: opentelemetry_sdk::trace::Span,
    ended_at: SystemTime,
    has_rows: bool,
}

impl Drop for Last {
    fn drop(&mut self) {
        self.span.end_with_timestamp(self.ended_at);
    }
}

/// Notes on the span of the current span's last statement that it failed: by which kind of error
/// ([`crate::postgres::Kind`]), and with which SQLSTATE if the server named one. A statement that
/// had rows is another one, which did not fail.
pub(crate) fn note_failure(kind: &'static str, code: Option<&str>) {
    Span::current().with_subscriber(|(id, subscriber)| {
        let registry = subscriber.downcast_ref::<Registry>()?;
        let span = registry.span(id)?;
        let mut extensions = span.extensions_mut();
        let last = extensions.get_mut::<Last>().filter(|last| !last.has_rows)?;
        last.span.set_status(Status::error(""));
        last.span.set_attribute(KeyValue::new("error.type", kind));
        if let Some(code) = code {
            last.span.set_attribute(KeyValue::new("db.response.status_code", code.to_owned()));
        }
        Some(())
    });
}

impl StatementSpans {
    pub(super) const fn new(tracer: SdkTracer) -> Self {
        Self { tracer }
    }
}

impl<S> layer::Layer<S> for StatementSpans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        // Only as a part of some work: a statement alone would be a trace of one span.
        let parent = Context::current();
        if !parent.span().span_context().is_sampled() {
            return;
        }

        let mut statement = Statement::default();
        event.record(&mut statement);
        let ended_at = SystemTime::now();
        let duration = Duration::try_from_secs_f64(statement.seconds).unwrap_or_default();
        let started_at = ended_at.checked_sub(duration).unwrap_or(ended_at);

        // sqlx prints a long statement on lines of its own, and then leaves the summary in its
        // place.
        let text = if statement.text.is_empty() { &statement.summary } else { &statement.text };
        let operation = operation(&statement.summary);
        let span = self
            .tracer
            .span_builder(operation.clone())
            .with_kind(SpanKind::Client)
            .with_start_time(started_at)
            .with_attributes([
                KeyValue::new("db.system.name", "postgresql"),
                KeyValue::new("db.operation.name", operation),
                // Values are parameters and never in the text, so it holds no secret (R9).
                KeyValue::new("db.query.text", text.trim().to_owned()),
            ])
            .start_with_context(&self.tracer, &parent);
        let last = Last { span, ended_at, has_rows: statement.rows > 0 };
        // Both are dropped, and so end, without the lock on the extensions.
        let before = match context.lookup_current() {
            Some(current) => {
                let mut extensions = current.extensions_mut();
                extensions.replace(last)
            }
            None => Some(last),
        };
        drop(before);
    }
}

/// The statement's first word in capitals: a short and closed list.
fn operation(summary: &str) -> String {
    let word = summary.split_whitespace().next().unwrap_or("statement");
    word.trim_end_matches(|letter: char| !letter.is_ascii_alphabetic()).to_ascii_uppercase()
}

impl Visit for Statement {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.seconds = value;
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if ["rows_affected", "rows_returned"].contains(&field.name()) {
            self.rows = self.rows.saturating_add(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.text),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_the_first_word() {
        assert_eq!(operation("SELECT id, subject"), "SELECT");
        assert_eq!(operation("with put as"), "WITH");
        assert_eq!(operation("COMMIT;"), "COMMIT");
        assert_eq!(operation(""), "STATEMENT");
    }
}
