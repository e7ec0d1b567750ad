//! The metrics of this service, with their units and meanings. Label values come from closed lists:
//! how a module names a service is its own word, so the service's kind is the label.

use std::sync::LazyLock;

use chassis::metrics::meter;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use wire::egress::{Egress, UpstreamKind};

const KINDS: [UpstreamKind; 3] =
    [UpstreamKind::OpenAi, UpstreamKind::Anthropic, UpstreamKind::Http];

/// `lumio.egress.calls` (calls): requests of modules to services, by `kind` of service and
/// `outcome`: `complete`, `uncertain` (its tokens are not known for certain), `refused` (it did not
/// leave).
fn calls() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.egress.calls")
            .with_unit("{call}")
            .with_description("requests of modules to services")
            .build()
    });
    &COUNTER
}

/// `lumio.egress.tokens` (tokens): what services reported, by `kind` of service and `billing`:
/// `charged` to a run, or `unbilled`, which is the operator's loss (E4).
fn tokens() -> &'static Counter<u64> {
    static COUNTER: LazyLock<Counter<u64>> = LazyLock::new(|| {
        meter()
            .u64_counter("lumio.egress.tokens")
            .with_unit("{token}")
            .with_description("tokens that services reported")
            .build()
    });
    &COUNTER
}

/// Makes every series appear with 0. An alert that looks for an increase would not see the first
/// loss of a series that begins with it.
pub fn prepare() {
    for kind in KINDS {
        for outcome in ["complete", "uncertain", "refused"] {
            add(calls(), 0, kind, KeyValue::new("outcome", outcome));
        }
        for billing in ["charged", "unbilled"] {
            add(tokens(), 0, kind, KeyValue::new("billing", billing));
        }
    }
}

/// Counts what one execution asked of services. Unless it is `charged`, all its tokens are the
/// operator's loss.
pub fn count_calls(egress: Option<&Egress>, charged: bool) {
    for upstream in egress.iter().flat_map(|egress| &egress.upstreams) {
        let kind = upstream.kind;
        let complete = upstream.calls.saturating_sub(upstream.inconclusive);
        add(calls(), complete, kind, KeyValue::new("outcome", "complete"));
        add(calls(), upstream.inconclusive, kind, KeyValue::new("outcome", "uncertain"));
        add(calls(), upstream.refused, kind, KeyValue::new("outcome", "refused"));

        let stated = upstream.llm_in.saturating_add(upstream.llm_out);
        let (paid, lost) = if charged { (stated, 0) } else { (0, stated) };
        add(tokens(), paid, kind, KeyValue::new("billing", "charged"));
        let lost = lost.saturating_add(upstream.unbilled);
        add(tokens(), lost, kind, KeyValue::new("billing", "unbilled"));
    }
}

fn add(counter: &Counter<u64>, count: u64, kind: UpstreamKind, further: KeyValue) {
    counter.add(count, &[KeyValue::new("kind", kind.to_string()), further]);
}
