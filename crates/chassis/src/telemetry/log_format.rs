//! JSON log lines with the trace that they belong to.

use std::fmt;
use std::path::Path;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use serde_json::{Map, Value};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Adds `trace_id` and `span_id` to each line that the JSON format `F` writes inside of a span, and
/// makes one message of what a library says: its fields are its own, and may change with it.
#[derive(Debug)]
pub(super) struct WithTrace<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        if is_of_library(event.metadata()) {
            line = in_words(&line).unwrap_or(line);
        }

        // The span that is entered on this thread: the layer that makes traces keeps it here.
        let current = Context::current();
        let span = current.span();
        let place = span.span_context();
        // The format writes one object and a line feed; the members go before its closing brace.
        let object = line.trim_end().strip_suffix('}').filter(|_| place.is_valid());
        let Some(object) = object else { return writer.write_str(&line) };
        let (trace, span) = (place.trace_id(), place.span_id());
        writeln!(writer, r#"{object},"trace_id":"{trace}","span_id":"{span}"}}"#)
    }
}

/// Whether an event comes from a dependency: the path of its source is absolute, or missing, as for
/// events of the `log` crate.
fn is_of_library(metadata: &Metadata<'_>) -> bool {
    metadata.file().is_none_or(|file| Path::new(file).is_absolute())
}

/// The line of a library with its fields as a part of the message; `None` if it is no object.
fn in_words(line: &str) -> Option<String> {
    const OURS: [&str; 4] = ["timestamp", "level", "target", "span"];
    let Value::Object(mut given) = serde_json::from_str(line).ok()? else { return None };
    // An event of OpenTelemetry has a name in place of a message.
    let mut text = |name: &str| match given.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let said = text("message").or_else(|| text("name"));
    let (kept, fields): (Vec<_>, Vec<_>) =
        given.into_iter().partition(|(name, _)| OURS.contains(&name.as_str()));
    let words = fields.into_iter().filter_map(|(name, value)| {
        let value = match value {
            Value::String(text) => text.trim().to_owned(),
            value => value.to_string(),
        };
        (!value.is_empty()).then(|| format!("{name}: {value}"))
    });
    let words = words.collect::<Vec<_>>().join("; ");
    let message = match said {
        Some(said) if words.is_empty() => said,
        Some(said) => format!("{said} ({words})"),
        None if words.is_empty() => "an event without words".to_owned(),
        None => words,
    };
    let members = kept.into_iter().chain([("message".to_owned(), Value::String(message))]);
    let object = serde_json::to_string(&members.collect::<Map<_, _>>()).ok()?;
    Some(object + "\n")
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::routing::get;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tower::ServiceExt as _;
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, Registry};

    use super::*;
    use crate::telemetry::captured::Log;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[tokio::test]
    async fn a_log_line_of_a_request_carries_its_trace_and_span() {
        let log = Log::default();
        let provider = SdkTracerProvider::builder().build();
        let format = tracing_subscriber::fmt::layer()
            .with_writer(log.writer())
            .json()
            .flatten_event(true)
            .map_event_format(WithTrace)
            // Without what libraries say for themselves.
            .with_filter(LevelFilter::WARN);
        let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        // For this thread alone, on which the test's runtime runs everything.
        let subscriber = Registry::default().with(traces).with(format);
        let _scope = tracing::subscriber::set_default(subscriber);

        let look = async || {
            tracing::warn!("looked at a run");
            crate::telemetry::traceparent()
        };
        let router = Router::new().route("/runs/{id}", get(look)).layer(crate::trace::http());
        let request = Request::get("/runs/1").header("traceparent", CALLER);
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let body = axum::body::to_bytes(answer.into_body(), 1_000).await.unwrap();
        tracing::warn!("outside of any request");

        let lines = log.lines();
        let [inside, outside] = &lines[..] else { panic!("{lines:?}") };
        let (trace, span) = (inside["trace_id"].as_str(), inside["span_id"].as_str());
        let expected = format!("00-{}-{}-01", trace.unwrap(), span.unwrap());
        assert_eq!(body, expected, "the span is the request's");
        assert_eq!(trace, crate::telemetry::trace_id(CALLER), "the trace is the caller's");
        assert_eq!(outside.get("trace_id"), None);
    }

    #[test]
    fn what_a_library_says_is_one_message() {
        let words = |line: &str| {
            let line = in_words(line).unwrap();
            assert!(line.ends_with('\n') && line.trim_end().lines().count() == 1);
            serde_json::from_str::<Map<String, Value>>(&line).unwrap()
        };
        // As sqlx and OpenTelemetry say it.
        let said = words(
            r#"{"timestamp":"t","level":"WARN","message":"slow statement","summary":"SELECT 1",
                "db.statement":"","rows_returned":1,"elapsed_secs":1.5,"target":"sqlx::query"}"#,
        );
        let message = "slow statement (elapsed_secs: 1.5; rows_returned: 1; summary: SELECT 1)";
        assert_eq!(said["message"], message);
        assert_eq!(said.keys().collect::<Vec<_>>(), ["level", "message", "target", "timestamp"]);
        let said = words(r#"{"level":"ERROR","name":"ExportFailed","error":"away","target":"o"}"#);
        assert_eq!(said["message"], "ExportFailed (error: away)");
        assert_eq!(words(r#"{"level":"ERROR","error":"away"}"#)["message"], "error: away");
        assert!(!words(r#"{"level":"ERROR"}"#)["message"].as_str().unwrap().is_empty());
    }

    #[test]
    fn our_own_fields_stay() {
        let log = Log::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(log.writer());
        let layer = layer.json().flatten_event(true).map_event_format(WithTrace);
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            tracing::warn!(check = "nats", "nats is away");
        });
        let lines = log.lines();
        assert_eq!(lines[0]["check"], "nats");
        assert_eq!(lines[0]["message"], "nats is away");
    }
}
