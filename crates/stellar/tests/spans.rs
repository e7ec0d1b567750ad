//! Every call of a node that is a part of other work is a span, and says so if it fails.

use std::sync::{Arc, Mutex};

use stellar::Rpc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument as _, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use wire::TxHash;

/// What spans were made with, and what was recorded on them.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<Vec<String>>>);

impl Recorded {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no test panics with it"))
    }
}

impl<S: tracing::Subscriber> Layer<S> for Recorded {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }
}

impl Visit for Recorded {
    fn record_str(&mut self, field: &Field, value: &str) {
        if ["rpc.method", "otel.status_code", "error.type"].contains(&field.name()) {
            self.0.lock().expect("no test panics with it").push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[tokio::test]
async fn calls_of_a_node_are_spans_that_name_their_method_and_their_failure() {
    let recorded = Recorded::default();
    let subscriber = tracing_subscriber::registry().with(recorded.clone());
    // For this thread alone, on which the test's runtime runs everything.
    let _scope = tracing::subscriber::set_default(subscriber);

    // Nothing listens on port 1.
    let rpc = Rpc::new("http://127.0.0.1:1").unwrap();
    let work = async {
        rpc.network().await.unwrap_err();
        rpc.inclusion_fee().await.unwrap_err();
        rpc.transaction(&TxHash::from([7; 32])).await.unwrap_err();
    };
    work.instrument(info_span!("work")).await;
    let expected = ["getNetwork", "getFeeStats", "getTransaction"];
    let expected: Vec<_> =
        expected.into_iter().flat_map(|method| [method, "ERROR", "unreachable"]).collect();
    assert_eq!(recorded.take(), expected);

    // What is asked outside of any work would be a trace of its own for every poll.
    rpc.network().await.unwrap_err();
    assert_eq!(recorded.take(), [""; 0]);
}
