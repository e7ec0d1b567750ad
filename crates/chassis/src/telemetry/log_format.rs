//! JSON log lines with the trace that they belong to.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Adds `trace_id` and `span_id` to each line that the JSON format `F` writes inside of a span.
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
        // The span that is entered on this thread: the layer that makes traces keeps it here.
        let current = Context::current();
        let span = current.span();
        let place = span.span_context();
        if !place.is_valid() {
            return self.0.format_event(context, writer, event);
        }

        // The format writes one object and a line feed; the members go before its closing brace.
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let Some(object) = line.trim_end().strip_suffix('}') else {
            return writer.write_str(&line);
        };
        let (trace, span) = (place.trace_id(), place.span_id());
        writeln!(writer, r#"{object},"trace_id":"{trace}","span_id":"{span}"}}"#)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::routing::get;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use serde_json::Value;
    use tower::ServiceExt as _;
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, Registry};

    use super::WithTrace;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_log_line_of_a_request_carries_its_trace_and_span() {
        let log = Log::default();
        let (written, provider) = (log.clone(), SdkTracerProvider::builder().build());
        let format = tracing_subscriber::fmt::layer()
            .with_writer(move || written.clone())
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

        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [inside, outside] = &lines[..] else { panic!("{text}") };
        let (trace, span) = (inside["trace_id"].as_str(), inside["span_id"].as_str());
        let expected = format!("00-{}-{}-01", trace.unwrap(), span.unwrap());
        assert_eq!(body, expected, "the span is the request's");
        assert_eq!(trace, crate::telemetry::trace_id(CALLER), "the trace is the caller's");
        assert_eq!(outside.get("trace_id"), None);
    }
}
