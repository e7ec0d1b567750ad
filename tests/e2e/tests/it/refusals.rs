//! A module that breaks its word is refused and costs nothing.

use e2e::{Stack, repository};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_breaks_its_word_is_refused_and_costs_nothing() {
    let stack = Stack::start().await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let before = stack.alice_balance().unwrap();
    let outside = stack.folder().join("stolen.txt");
    let secrets = stack.folder().join(".env.runner");
    std::fs::write(&secrets, "RUNNER_SECRET=S…").unwrap();

    let deeds = [
        (json!({ "deed": "write-outside", "path": outside }), "E_SIDEEFFECTS_FORBIDDEN"),
        (json!({ "deed": "write-inside" }), "E_SIDEEFFECTS_DECLARATION"),
        (json!({ "deed": "read-file", "path": secrets }), "E_SIDEEFFECTS_FORBIDDEN"),
    ];
    for (deed, code) in deeds {
        let id = stack.ask(agent, &deed).await.unwrap();
        let run = stack.ended(&id).await.unwrap();
        assert_eq!(run["status"], "failed", "{deed}: {run:#}\n{}", stack.logs());
        assert_eq!(run["errorCode"], code, "{deed}: {run:#}");
        assert!(
            run["error"].as_str().is_some_and(|text| !text.is_empty()),
            "{deed}: the reason is told"
        );
        assert_eq!(run["usage"]["runtimeMs"], 0, "{deed}: {run:#}");
        assert_eq!(run["receipt"]["actualCharge"], "0", "{deed}: {run:#}");
        assert_eq!(stack.alice_balance().unwrap(), before, "{deed}: the whole escrow came back");
    }
    assert!(!outside.exists(), "nothing was written outside");
}
