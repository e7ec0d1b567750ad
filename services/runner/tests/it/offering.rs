//! What the gateway offers beside runs: agents, grants and prices from the chain, the operator's
//! views, the console's files, and how much a caller may ask.

use serde_json::{Value, json};
use stellar::Keypair;
use stellar::vault::{GrantLimits, Policy};

use crate::login::{log_in_at, start as start_with_login};
use crate::world::{DEPOSIT, Gateway, PRICE, Running, World};

/// The answer's document, after its status was compared.
async fn document(answer: reqwest::Response, status: u16) -> Value {
    let (found, url) = (answer.status().as_u16(), answer.url().to_string());
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{url}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn log_in(runner: &Running, key: &Keypair) -> Gateway {
    let tokens = log_in_at(&runner.gateway, key).await;
    runner.gateway.as_user(tokens["token"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_before_the_signature_is_what_the_vault_escrows() {
    let world = World::new().await;
    let runner = world.start(&[]).await;
    let gateway = &runner.gateway;
    let mut ask = json!({ "agentId": world.agent_id, "budgets": world.body()["budgets"] });
    let quote = document(gateway.post("/quote", &ask).await, 200).await;
    assert_eq!(quote["maxCharge"], PRICE.to_string());
    assert_eq!((&quote["escrow"], &quote["runnerFee"]), (&quote["maxCharge"], &json!("0")));
    assert_eq!(quote["rates"]["llmIn"], "10000");
    assert_eq!(quote["developer"], world.developer.address().to_string());
    assert!(quote.get("refusal").is_none(), "{quote}");

    // What is quoted is what is taken.
    let run = gateway.accepted(&world.body()).await;
    let run = gateway.ended(&run, "failed").await;
    assert_eq!(run["receipt"]["refund"], quote["escrow"]);

    ask["user"] = json!(world.user.address());
    let quote = document(gateway.post("/quote", &ask).await, 200).await;
    assert!(quote.get("refusal").is_none(), "{quote}");
    world.set_policy(Policy { per_run_cap: PRICE - 1, ..Policy::default() }).await;
    let quote = document(gateway.post("/quote", &ask).await, 200).await;
    assert_eq!(quote["refusal"]["code"], "PREFLIGHT_PER_RUN_CAP_EXCEEDED");
    assert_eq!(quote["maxCharge"], PRICE.to_string());

    for (change, pointer) in [
        (json!({ "budgets": {} }), "/budgets"),
        (json!({ "budgets": { "llmIn": -1 } }), "/budgets/llmIn"),
        (json!({ "rateVersion": 7 }), "/rateVersion"),
        (json!({ "user": "G" }), "/user"),
        (json!({ "budget": 1 }), "/budget"),
        (json!({ "agentId": null }), "/agentId"),
    ] {
        let mut wrong = ask.clone();
        wrong.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let problem = document(gateway.post("/quote", &wrong).await, 400).await;
        assert_eq!(problem["issues"][0]["pointer"], pointer, "{problem}");
    }
    ask["agentId"] = json!(4_000);
    assert_eq!(document(gateway.post("/quote", &ask).await, 404).await["code"], "NOT_FOUND");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_grants_are_shown_as_the_chain_has_them() {
    let world = World::new().await;
    let runner = world.start(&[]).await;
    let gateway = &runner.gateway;
    let list = document(gateway.get("/agents").await, 200).await;
    let agent = &list[0];
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(agent["agentId"], world.agent_id);
    assert_eq!(agent["listsThisRunner"], true);
    assert_eq!(agent["rates"]["httpCalls"], "10000000");
    assert_eq!(agent["manifestHash"], wire::Digest::of(b"module").to_string());
    let one = document(gateway.get(&format!("/agents/{}", world.agent_id)).await, 200).await;
    assert_eq!(
        (&one["developer"], &one["rateCards"][0]["version"]),
        (&agent["developer"], &json!(1))
    );
    assert!(one.get("verdict").is_none(), "there is no gate to ask");
    for path in ["/agents/4000", "/agents/x", "/agents/-1"] {
        assert_eq!(document(gateway.get(path).await, 404).await["code"], "NOT_FOUND", "{path}");
    }
    for path in ["/agents?limit=0", "/agents?cursor=x", "/agents?page=2"] {
        assert_eq!(document(gateway.get(path).await, 400).await["code"], "INVALID_REQUEST");
    }
    // A page that is full leads on, and the last one does not.
    assert!(gateway.get("/agents?limit=1").await.headers().get("link").is_none());

    let limits = GrantLimits { per_run_cap: 5, total_cap: 7, max_runner_fee: 0 };
    let (user, key) = (world.user.address(), world.runner.address());
    let call = world.vault.set_grant_limits(user, key, world.agent_id, limits).unwrap();
    world.submit(&world.user, call.into()).await;
    let grants = document(gateway.get(&format!("/grants/{user}")).await, 200).await;
    let grant = &grants[0];
    assert_eq!((&grant["runner"], &grant["isThisRunner"]), (&json!(key), &json!(true)));
    assert_eq!((&grant["used"], &grant["limits"]["totalCap"]), (&json!("0"), &json!("7")));
    assert!(grant["issuedAt"].as_str().unwrap().ends_with('Z') && grant.get("expiresAt").is_none());
    let none = document(gateway.get(&format!("/grants/{}", world.stranger())).await, 200).await;
    assert_eq!(none, json!([]));
    assert_eq!(document(gateway.get("/grants/me").await, 400).await["code"], "INVALID_REQUEST");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_see_what_concerns_all_users() {
    let world = World::new().await;
    let runner = start_with_login(&world, &[]).await;
    let user = log_in(&runner, &world.user).await;
    let operator = log_in(&runner, &Keypair::from_seed(&[52; 32])).await;
    let run = user.accepted(&world.body()).await;
    user.ended(&run, "failed").await;
    let check = format!("/operator/packs/{run}/check");
    for path in [
        "/operator/queue",
        "/operator/dead-letters",
        "/operator/packs",
        "/operator/verdicts",
        "/operator/reconciliation",
        check.as_str(),
    ] {
        assert_eq!(runner.gateway.get(path).await.status(), 401, "{path}");
        assert_eq!(document(user.get(path).await, 403).await["code"], "FORBIDDEN", "{path}");
    }
    let queue = document(operator.get("/operator/queue").await, 200).await;
    assert_eq!((&queue["summary"]["queued"], &queue["runs"]), (&json!(0), &json!([])));
    for path in ["/operator/dead-letters", "/operator/packs", "/operator/verdicts"] {
        assert!(document(operator.get(path).await, 200).await.is_array(), "{path}");
    }
    document(operator.get(&check).await, 404).await;
    document(operator.get("/operator/queue?limit=0").await, 400).await;
    document(operator.get("/operator/queue?cursor=1").await, 400).await;
    let compared = document(operator.get("/operator/reconciliation").await, 200).await;
    assert_eq!(compared["broken"], false, "{compared}");
    assert!(compared["compared"]["records"].as_u64().unwrap() > 0, "{compared}");

    // One user's balance and grants are no other's affair.
    let other = log_in(&runner, &Keypair::from_seed(&[53; 32])).await;
    document(other.get(&format!("/grants/{}", world.user.address())).await, 403).await;
    let mut ask = json!({ "agentId": world.agent_id, "budgets": { "llmIn": 1 } });
    document(other.post("/quote", &ask).await, 200).await;
    ask["user"] = json!(world.user.address());
    document(other.post("/quote", &ask).await, 403).await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_its_deadline_is_among_the_dead_letters() {
    let world = World::new().await;
    let runner = world.start(&[("RUNNER_FINALIZE_ON_ERROR", "false")]).await;
    let run = runner.gateway.accepted(&world.body()).await;
    runner.gateway.until(&run, |run| run["phase"] == "escrow_open").await;
    let letters = document(runner.gateway.get("/operator/dead-letters").await, 200).await;
    assert_eq!((&letters[0]["id"], &letters[0]["escrow"]), (&json!(run), &json!("open")));
    assert_eq!(letters[0]["errorCode"], "EXECUTOR_MISSING");
    let queue = document(runner.gateway.get("/operator/queue").await, 200).await;
    assert_eq!((&queue["summary"]["stuck"], &queue["runs"][0]["id"]), (&json!(1), &json!(run)));
    assert!(world.account().await.balance < DEPOSIT);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_much_is_told_when_to_come_back() {
    let world = World::new().await;
    let settings = [("RUNNER_RATE_LIMIT", "2"), ("RUNNER_ADDRESS_RATE_LIMIT", "100")];
    let runner = start_with_login(&world, &settings).await;
    let (one, other) =
        (log_in(&runner, &world.user).await, log_in(&runner, &Keypair::from_seed(&[53; 32])).await);
    let mut refused = None;
    for _ in 0..40 {
        let answer = one.get("/runs").await;
        let number =
            |name: &str| -> u64 { answer.headers()[name].to_str().unwrap().parse().unwrap() };
        assert_eq!(number("ratelimit-limit"), 20);
        assert!(number("ratelimit-remaining") < 20 && number("ratelimit-reset") <= 10);
        if answer.status() != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the limit was never reached");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait));
    assert_eq!(refused.headers()["ratelimit-remaining"], "0");
    assert_eq!(document(refused, 429).await["code"], "RATE_LIMITED");
    // Others, and probes, are not concerned.
    assert_eq!(other.get("/runs").await.status(), 200);
    assert_eq!(one.get("/live").await.status(), 200);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_a_limit_whoever_calls_from_there() {
    let world = World::new().await;
    let runner = world.start(&[("RUNNER_ADDRESS_RATE_LIMIT", "1")]).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(runner.gateway.get("/summary").await.status().as_u16());
    }
    assert!(answers.contains(&200) && answers.contains(&429), "{answers:?}");
    assert_eq!(runner.gateway.get("/health").await.status(), 200);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_served_with_a_policy_and_nothing_beside_it() {
    let world = World::new().await;
    let outer = tempfile::tempdir().unwrap();
    std::fs::write(outer.path().join("secret.txt"), "secret").unwrap();
    let folder = outer.path().join("console");
    std::fs::create_dir_all(folder.join("assets")).unwrap();
    std::fs::write(folder.join("index.html"), "<!doctype html><title>Lumio</title>").unwrap();
    std::fs::write(folder.join("assets/app-1.js"), "console.log(1);\n".repeat(200)).unwrap();
    let shown = folder.display().to_string();
    let settings = [
        ("RUNNER_CONSOLE_DIR", shown.as_str()),
        ("RUNNER_CONSOLE_CONNECT", "wss://relay.example"),
        ("RUNNER_BROWSER_RPC_URL", "https://node.example/rpc"),
    ];
    let runner = start_with_login(&world, &settings).await;
    let gateway = &runner.gateway;
    for path in ["/", "/app", "/app/", "/app/runs/7", "/index.html", "/?v=1"] {
        let page = gateway.get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(page.headers()["cache-control"], "no-cache");
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        let connect = "connect-src 'self' wss://relay.example https://node.example;";
        assert!(policy.starts_with("default-src 'none'") && policy.contains(connect), "{policy}");
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"));
        assert!(page.text().await.unwrap().contains("<title>Lumio</title>"));
    }

    let client = reqwest::Client::new();
    let url = format!("{}/assets/app-1.js", gateway.url);
    let asset = client.get(&url).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(asset.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(asset.headers()["content-encoding"], "gzip");
    let tag = asset.headers()["etag"].clone();
    assert!(asset.bytes().await.unwrap().len() < 200);
    let plain = client.get(&url).send().await.unwrap();
    assert!(plain.headers().get("content-encoding").is_none() && plain.headers()["etag"] != tag);
    let request = client.get(&url).header("accept-encoding", "gzip").header("if-none-match", &tag);
    let known = request.send().await.unwrap();
    assert_eq!((known.status(), known.headers()["etag"].clone()), (304.try_into().unwrap(), tag));

    // A library would tidy these paths up before they are sent.
    for path in [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "//secret.txt",
        "/assets/%00",
        "/assets/",
        "/assets",
    ] {
        let answer = crate::hostile::raw_get(gateway, path).await;
        assert!(!answer.starts_with("HTTP/1.1 200") && !answer.contains("secret\n"), "{answer}");
    }
    let refused = gateway.post("/", &json!({})).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["allow"]),
        (405, &"GET,HEAD".parse().unwrap())
    );
    assert_eq!(document(refused, 405).await["code"], "METHOD_NOT_ALLOWED");

    let config = document(gateway.get("/config.json").await, 200).await;
    let expected = json!({
        "networkPassphrase": stellar::STANDALONE,
        "rpcUrl": "https://node.example/rpc",
        "contractId": world.vault.0,
        "agentRegistryId": world.registry.0,
        "token": stellar::local::token_id().unwrap(),
        "runner": world.runner.address(),
        "runnerFee": "0",
        "apiBase": "",
        "auth": "login",
        "version": chassis::version(),
    });
    assert_eq!(config, expected);
    runner.stop().await;

    // The program itself may read little of the machine, and this folder.
    let port = crate::crashing::free_port().await;
    let settings = [("RUNNER_PORT", port.as_str()), ("RUNNER_CONSOLE_DIR", shown.as_str())];
    let _process = crate::crashing::spawn(&world, &settings);
    let confined = Gateway::at(format!("http://localhost:{port}"));
    confined.up().await;
    assert_eq!(confined.get("/").await.status(), 200);

    // Without a console there is no page, and its configuration is there for one of another host.
    let runner = world.start(&[]).await;
    document(runner.gateway.get("/").await, 404).await;
    let config = document(runner.gateway.get("/config.json").await, 200).await;
    assert_eq!(
        (&config["auth"], &config["rpcUrl"]),
        (&json!("none"), &json!(world.localnet.url()))
    );
    runner.stop().await;
}
