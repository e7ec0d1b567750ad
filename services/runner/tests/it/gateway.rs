//! The gateway's answers.

use serde_json::{Value, json};
use wire::pb::runner::v1::{
    CreateRunRequest, GetRunRequest, GetSummaryRequest, ListRunsRequest, RunStatus,
    runner_client::RunnerClient,
};

use crate::fixture::Fixture;

async fn problem(answer: reqwest::Response, status: u16, code: &str) -> Value {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{body}");
    assert!(body["error"].is_string(), "{body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_answered_with_problems_that_keep_the_old_member() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let body = json!({ "user": "someone", "agentId": "1", "budgets": { "llmIn": -1 } });
    let body = problem(gateway.post("/runs", &body).await, 400, "INVALID_REQUEST").await;
    assert_eq!(body["issues"].as_array().unwrap().len(), 3, "{body}");
    let large = json!({ "input": "x".repeat(1_200_000) });
    problem(gateway.post("/runs", &large).await, 413, "PAYLOAD_TOO_LARGE").await;

    let unknown = "00000000-0000-4000-8000-000000000000";
    let missing = problem(gateway.get(&format!("/runs/{unknown}")).await, 404, "NOT_FOUND").await;
    assert_eq!(missing["error"], "Run not found");
    problem(gateway.get("/runs/7").await, 404, "NOT_FOUND").await;
    problem(gateway.get("/elsewhere").await, 404, "NOT_FOUND").await;
    problem(gateway.post(&format!("/runs/{unknown}/retry"), &Value::Null).await, 404, "NOT_FOUND")
        .await;
    problem(gateway.get("/runs?status=paused").await, 400, "INVALID_REQUEST").await;
    problem(gateway.get("/runs?cursor=zz").await, 400, "INVALID_REQUEST").await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_answers_the_same_run_to_the_same_request_only() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let first: Value =
        gateway.post_with_key("\"k-1\"", &fixture.body()).await.json().await.unwrap();
    let again = gateway.post_with_key("k-1", &fixture.body()).await;
    assert_eq!(again.status(), 202);
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.json::<Value>().await.unwrap(), first);

    let mut other = fixture.body();
    other["label"] = json!("another");
    problem(gateway.post_with_key("k-1", &other).await, 422, "IDEMPOTENCY_MISMATCH").await;
    let mut stranger = other.clone();
    stranger["user"] = json!(fixture.stranger());
    assert_eq!(
        gateway.post_with_key("k-1", &stranger).await.status(),
        202,
        "keys belong to a user"
    );
    problem(gateway.post_with_key(&"k".repeat(300), &other).await, 400, "INVALID_REQUEST").await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_with_one_key_make_one_run() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let body = fixture.body();
    let posts = (0..12).map(|_| runner.gateway.post_with_key("race", &body));
    let answers = futures::future::join_all(posts).await;
    for answer in answers {
        assert!(matches!(answer.status().as_u16(), 202 | 409), "{}", answer.status());
    }
    let runs: Vec<Value> = runner.gateway.get("/runs").await.json().await.unwrap();
    assert_eq!(runs.len(), 1);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_bare_arrays_in_pages_with_the_newest_last() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(gateway.accepted(&fixture.body()).await);
    }
    let of = |runs: &[Value]| -> Vec<String> {
        runs.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
    };
    let answer = gateway.get("/runs?limit=2").await;
    let link = answer.headers()["link"].to_str().unwrap().to_owned();
    assert_eq!(of(&answer.json::<Vec<Value>>().await.unwrap()), ids[1..]);
    let next = link.trim_start_matches('<').split('>').next().unwrap();
    let answer = gateway.get(next).await;
    assert!(answer.headers().get("link").is_none());
    assert_eq!(of(&answer.json::<Vec<Value>>().await.unwrap()), ids[..1]);

    let none: Vec<Value> =
        gateway.get(&format!("/runs?user={}", fixture.stranger())).await.json().await.unwrap();
    assert!(none.is_empty());
    gateway.ended(&ids[2], "failed").await;
    gateway.ended(&ids[0], "failed").await;
    gateway.ended(&ids[1], "failed").await;
    let failed: Vec<Value> = gateway.get("/runs?status=failed").await.json().await.unwrap();
    assert_eq!(of(&failed), ids);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_says_whose_runner_it_is_and_how_much_there_is_to_do() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let summary: Value = runner.gateway.get("/summary").await.json().await.unwrap();
    assert_eq!(summary["config"]["runner"], fixture.runner.address().to_string());
    assert_eq!(summary["config"]["contractId"], fixture.vault.0.to_string());
    assert_eq!(summary["status"]["queueDepth"], 0);
    assert!(summary["status"]["lastTickAt"].is_string(), "{summary}");
    assert_eq!(runner.gateway.get("/live").await.status(), 200);
    assert_eq!(runner.gateway.get("/runs/7/bundle").await.status(), 404);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_tells_the_same_to_those_who_have_a_token() {
    let fixture = Fixture::new().await;
    let token = "0123456789abcdef";
    let tokens = format!("test:{token}");
    let settings = [("RUNNER_GRPC_PORT", "0"), ("RUNNER_GRPC_TOKENS", tokens.as_str())];
    let (service, started) = fixture.try_start(&settings).await;
    let url = format!("http://{}", started.unwrap().grpc.unwrap());
    let stranger = chassis::grpc::client(&url, None).unwrap();
    let refused = RunnerClient::new(stranger).get_summary(GetSummaryRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unauthenticated);

    let channel = chassis::grpc::client(&url, Some(&token.into())).unwrap();
    let mut client = RunnerClient::new(channel);
    let mut request = CreateRunRequest {
        user: fixture.user.address().to_string(),
        agent_id: fixture.agent_id,
        budgets: Some(wire::Usage { runtime_ms: 10, ..wire::Usage::default() }.into()),
        input_json: Some(br#"{"rows":3}"#.to_vec()),
        idempotency_key: Some("k".to_owned()),
        ..CreateRunRequest::default()
    };
    let run = client.create_run(request.clone()).await.unwrap().into_inner();
    assert_eq!(client.create_run(request.clone()).await.unwrap().into_inner().id, run.id);
    request.label = Some("another".to_owned());
    let mismatch = client.create_run(request).await.unwrap_err();
    assert_eq!(wire::Problem::of(&mismatch), Some(wire::Problem::IdempotencyMismatch));
    let failed = testkit::eventually(|| {
        let (mut client, id) = (client.clone(), run.id.clone());
        async move {
            let run = client.get_run(GetRunRequest { id }).await.unwrap().into_inner();
            (run.status() == RunStatus::Failed).then_some(run)
        }
    });
    assert_eq!(failed.await.error_code.as_deref(), Some("EXECUTOR_MISSING"));
    let listed = client.list_runs(ListRunsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.runs.len(), 1);
    let summary = client.get_summary(GetSummaryRequest {}).await.unwrap().into_inner();
    assert_eq!(summary.runner, fixture.runner.address().to_string());
    service.finish(std::time::Duration::from_secs(20)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_watches_runs_and_names_every_mistake() {
    use tokio_stream::StreamExt as _;
    use tonic_types::StatusExt as _;
    use wire::pb::runner::v1::{CancelRunRequest, WatchRunRequest, WatchRunsRequest};

    let fixture = Fixture::new().await;
    let token = "0123456789abcdef";
    let tokens = format!("test:{token}");
    let settings = [("RUNNER_GRPC_PORT", "0"), ("RUNNER_GRPC_TOKENS", tokens.as_str())];
    let runner = fixture.start(&settings).await;
    let url = format!("http://{}", runner.grpc.unwrap());
    let channel = chassis::grpc::client(&url, Some(&token.into())).unwrap();
    let mut client = RunnerClient::new(channel);

    let all = client.watch_runs(WatchRunsRequest::default()).await.unwrap().into_inner();
    let id = runner.gateway.accepted(&fixture.body()).await;
    let run = WatchRunRequest { id: id.clone(), after: 0 };
    let one = client.watch_run(run).await.unwrap().into_inner();
    for stream in [all, one] {
        let seen: Vec<_> = stream.take(5).map(Result::unwrap).collect().await;
        assert!(seen.iter().all(|event| event.run_id == id));
        assert!(seen.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
        assert_eq!(seen[4].r#type, "dev.lumio.run.failed.v1");
        let event: Value = serde_json::from_slice(&seen[4].event_json).unwrap();
        assert_eq!(event["data"]["error"]["code"], "EXECUTOR_MISSING");
    }
    let rest = WatchRunRequest { id: id.clone(), after: 4 };
    let mut rest = client.watch_run(rest).await.unwrap().into_inner();
    assert_eq!(rest.next().await.unwrap().unwrap().cursor, 5);

    // A deadline of the caller ends a stream that would last.
    let mut bounded = tonic::Request::new(WatchRunRequest { id: id.clone(), after: 5 });
    bounded.set_timeout(std::time::Duration::from_millis(300));
    let ended = match client.watch_run(bounded).await {
        Ok(stream) => stream.into_inner().next().await.unwrap().unwrap_err(),
        Err(status) => status,
    };
    assert!(
        matches!(ended.code(), tonic::Code::DeadlineExceeded | tonic::Code::Cancelled),
        "{ended:?}"
    );

    let late = client.cancel_run(CancelRunRequest { id }).await.unwrap_err();
    assert_eq!(wire::Problem::of(&late), Some(wire::Problem::RunNotCancellable));
    let wrong = CreateRunRequest { user: "G".to_owned(), ..CreateRunRequest::default() };
    let wrong = client.create_run(wrong).await.unwrap_err();
    let mistakes = wrong.get_details_bad_request().unwrap().field_violations;
    assert!(mistakes.iter().any(|mistake| mistake.field == "/user"), "{mistakes:?}");
    let later = CreateRunRequest {
        user: fixture.user.address().to_string(),
        agent_id: fixture.agent_id,
        budgets: Some(wire::Usage { runtime_ms: 10, ..wire::Usage::default() }.into()),
        start_at: Some("2100-01-01T00:00:00Z".to_owned()),
        priority: Some("urgent".to_owned()),
        ..CreateRunRequest::default()
    };
    let wrong = client.create_run(later.clone()).await.unwrap_err();
    let mistakes = wrong.get_details_bad_request().unwrap().field_violations;
    assert!(mistakes.iter().any(|mistake| mistake.field == "/priority"), "{mistakes:?}");
    let wrong = CreateRunRequest { priority: Some("high".to_owned()), ..later.clone() };
    let wrong = client.create_run(wrong).await.unwrap_err();
    let mistakes = wrong.get_details_bad_request().unwrap().field_violations;
    assert!(mistakes.iter().any(|mistake| mistake.field == "/startAt"), "{mistakes:?}");
    let soon = chassis::clock::now() + time::Duration::hours(1);
    let soon = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    let waits =
        CreateRunRequest { start_at: Some(soon), priority: Some("high".to_owned()), ..later };
    let waits = client.create_run(waits).await.unwrap().into_inner();
    assert_eq!(waits.status(), RunStatus::Pending);
    let after = WatchRunsRequest { after: Some(u64::MAX), user: None };
    assert_eq!(client.watch_runs(after).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    runner.stop().await;
}
