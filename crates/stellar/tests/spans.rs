//! Every call of a node is a span, whether or not the node answers.

use std::sync::{Arc, Mutex};

use stellar::Rpc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use wire::TxHash;

/// The methods that spans were made for.
#[derive(Clone, Default)]
struct Methods(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Methods {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut self.clone());
    }
}

impl Visit for Methods {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "rpc.method" {
            self.0.lock().expect("no test panics with it").push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[tokio::test]
async fn calls_of_a_node_are_spans_that_name_their_method() {
    let methods = Methods::default();
    let subscriber = tracing_subscriber::registry().with(methods.clone());
    // For this thread alone, on which the test's runtime runs everything.
    let _scope = tracing::subscriber::set_default(subscriber);

    // Nothing listens on port 1: a call that fails is a span as well.
    let rpc = Rpc::new("http://127.0.0.1:1").unwrap();
    rpc.network().await.unwrap_err();
    rpc.inclusion_fee().await.unwrap_err();
    rpc.transaction(&TxHash::from([7; 32])).await.unwrap_err();
    assert_eq!(*methods.0.lock().unwrap(), ["getNetwork", "getFeeStats", "getTransaction"]);
}
