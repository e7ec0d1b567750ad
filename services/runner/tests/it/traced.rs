//! Every answer of the gateway names the trace of its request.

use chassis::telemetry::trace_id;
use serde_json::Value;

use crate::fixture::Fixture;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn trace_of(answer: &reqwest::Response) -> Option<String> {
    let header = answer.headers().get("traceparent")?.to_str().unwrap();
    trace_id(header).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_the_trace_of_its_request_which_is_that_of_the_run_it_asks_for() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let url = format!("{}/runs", runner.gateway.url);
    let ask = async |caller: Option<&str>| {
        let mut request = reqwest::Client::new().post(&url).json(&fixture.body());
        if let Some(caller) = caller {
            request = request.header("traceparent", caller);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let trace = trace_of(&answer).unwrap();
        let run: Value = answer.json().await.unwrap();
        assert_eq!(run["traceId"], trace, "{run:#}");
        trace
    };
    assert_eq!(Some(&*ask(Some(CALLER)).await), trace_id(CALLER), "the client's goes on");
    assert_ne!(Some(&*ask(None).await), trace_id(CALLER));

    let refused = runner.gateway.get("/elsewhere").await;
    assert_eq!(refused.status(), 404);
    assert!(trace_of(&refused).is_some());
    assert_eq!(trace_of(&runner.gateway.get("/live").await), None, "a poll is in no trace");
    runner.stop().await;
}
