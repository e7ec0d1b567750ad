//! What a run cost is proven after the nodes have forgotten it, by the receipts that the gateway
//! makes of the events that it followed; and what the words about a run without sealed files are.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use e2e::{Stack, repository};
use serde_json::{Value, json};
use wire::receipts::{ReceiptText, ReceiptsDocument};

/// What a gateway answers instead of its list of receipts.
type Change = fn(ReceiptsDocument) -> Option<ReceiptsDocument>;

const CHANGES: [(&str, Change); 6] = [
    ("the list is refused", |_| None),
    ("every receipt is left out", |mut list| {
        list.before = list.end().unwrap().1;
        list.receipts.clear();
        Some(list)
    }),
    ("the run's own receipt is left out, and the list begins after it", |mut list| {
        let first = list.receipts.remove(0);
        list.before = first.hash;
        Some(list)
    }),
    ("the newest receipt is left out", |mut list| {
        list.receipts.pop();
        Some(list)
    }),
    ("a receipt in the middle is left out", |mut list| {
        list.receipts.remove(1);
        Some(list)
    }),
    ("a charge is another one, and every hash follows from it", |mut list| {
        let mut before = list.before;
        for receipt in &mut list.receipts {
            let mut text = receipt.xdr().unwrap();
            if receipt.number == 1 {
                // Any byte of the receipt's text is a part of what was charged, to whom or when.
                let middle = text.len() / 2;
                text[middle] ^= 1;
            }
            *receipt = ReceiptText::new(&before, receipt.number, &text);
            before = receipt.hash;
        }
        Some(list)
    }),
];

#[derive(Clone)]
struct Between {
    gateway: String,
    http: reqwest::Client,
    change: Change,
}

/// A gateway that answers as the real one does, but for its list of receipts. Its address.
async fn lying_gateway(stack: &Stack, change: Change) -> String {
    let between = Between { gateway: stack.gateway(), http: reqwest::Client::new(), change };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(between);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn answer(State(between): State<Between>, uri: Uri, headers: HeaderMap) -> Response {
    let asked = between.http.get(format!("{}{uri}", between.gateway));
    let asked = match headers.get(header::AUTHORIZATION) {
        Some(token) => asked.header(header::AUTHORIZATION, token),
        None => asked,
    };
    let honest = asked.send().await.unwrap();
    let (status, head) = (honest.status(), honest.headers().clone());
    let mut body: Bytes = honest.bytes().await.unwrap();
    if uri.path().starts_with("/receipts/") {
        let list = ReceiptsDocument::read(&body).unwrap_or_else(|error| {
            panic!("{error}: {uri} {status} {}", String::from_utf8_lossy(&body));
        });
        let Some(changed) = (between.change)(list) else {
            let problem = json!({ "title": "Not found", "status": 404, "detail": "no list" });
            return (StatusCode::NOT_FOUND, problem.to_string()).into_response();
        };
        body = serde_json::to_vec(&changed).unwrap().into();
    }
    let kind = head[header::CONTENT_TYPE].clone();
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_every_node_has_forgotten_is_proven_by_the_receipts_of_the_gateway() {
    let stack = Stack::start().await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let mut ids = Vec::new();
    for ms in [20, 30, 40] {
        let id = stack.ask(agent, &json!({ "deed": "wait", "ms": ms })).await.unwrap();
        let run = stack.ended(&id).await.unwrap();
        assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
        ids.push(id);
    }
    stack.account().await.unwrap();
    let node = stack.forgetful_node().await.unwrap();
    let answer = stack.lumio(&["verify", &ids[0], "--rpc-url", &node]).unwrap();
    assert!(answer.contains("proven: the run cost"), "{answer}");
    assert!(answer.contains("all receipts of the account are at hand"), "{answer}");

    // What is left out, or another one, does not lead to the hash that the vault holds.
    for (what, change) in CHANGES {
        let gateway = lying_gateway(&stack, change).await;
        let asked = ["--output", "json", "verify", &ids[0], "--rpc-url", &node, "--gateway-url"];
        let token = stack.token().unwrap();
        let asked = [&asked[..], &[&gateway, "--gateway-token", &token]].concat();
        let output = stack.lumio_output(&asked).unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{what}: {said:#}");
        assert_eq!((&said["proven"], &said["sum"]["complete"]), (&json!(false), &json!(false)));
        assert!(said["conclusion"].to_string().contains("at least"), "{what}: {said:#}");
    }

    // Without the gateway nothing reaches back, and the sum is not called whole.
    let bundle = stack.folder().join("bundle");
    stack.lumio(&["export", &ids[0], "--out", bundle.to_str().unwrap()]).unwrap();
    let away = ["--gateway-url", "http://127.0.0.1:1", "--rpc-url", &node];
    let alone = ["--output", "json", "verify", &ids[0], "--bundle", bundle.to_str().unwrap()];
    let alone = stack.lumio_output(&[&alone[..], &away[..]].concat()).unwrap();
    let said: Value = serde_json::from_slice(&alone.stdout).unwrap();
    assert_eq!(
        (alone.status.code(), &said["sum"]["complete"]),
        (Some(2), &json!(false)),
        "{said:#}"
    );

    // The list is the account's own affair, and what it is asked with is checked.
    let status = async |path: String| {
        let asked = reqwest::Client::new().get(format!("{}{path}", stack.gateway()));
        asked.bearer_auth(stack.token().unwrap()).send().await.unwrap().status().as_u16()
    };
    let (alice, other) = (stack.alice().unwrap(), stack.keys().source.address());
    assert_eq!(status(format!("/receipts/{alice}?before=2")).await, 200);
    assert_eq!(status(format!("/receipts/{alice}?before=1")).await, 400);
    assert_eq!(status(format!("/receipts/{other}")).await, 403);
    let list =
        stack.lumio(&["--output", "json", "receipts", "export", "alice", "--rpc-url", &node]);
    let list: Value = serde_json::from_str(&list.unwrap()).unwrap();
    assert_eq!((&list["whole"], &list["count"]), (&json!(true), &json!(3)), "{list:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_run_without_sealed_files_the_words_say_so_and_what_it_cost() {
    let stack = Stack::start().await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    // The run is opened, and nothing is sealed while its module works.
    let id = stack.ask(agent, &json!({ "deed": "wait", "ms": 15_000 })).await.unwrap();
    testkit::eventually(|| async { stack.run(&id).await.unwrap()["status"] == "running" }).await;
    let output = stack.lumio_output(&["verify", &id]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("attempt 1 has no sealed files at the gateway"), "{text}");
    assert!(text.contains("a run is sealed once its module was executed"), "{text}");
    assert!(!text.contains("proven:") && text.contains("at least"), "{text}");

    let output = stack.lumio_output(&["run", "outputs", &id]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("the attempt has no outputs: a run has them once it is"), "{text}");
}
