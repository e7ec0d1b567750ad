//! Spans of the statements that Postgres was given.
//!
//! sqlx reports each statement when it has ended, as an event with its duration. A span of that
//! length is made of it, in the span that was current: so no place that talks to the database has
//! to think of it, and none is forgotten.

use std::fmt;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer;

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
}

impl StatementSpans {
    pub(super) const fn new(tracer: SdkTracer) -> Self {
        Self { tracer }
    }
}

impl<S: Subscriber> layer::Layer<S> for StatementSpans {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
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
        let mut span = self
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
        span.end_with_timestamp(ended_at);
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
