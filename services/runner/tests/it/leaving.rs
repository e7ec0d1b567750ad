//! Clients that hang up while they log in, refresh and log out.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::fixture::Fixture;
use crate::hostile::{JSON, request};
use crate::login::{challenge_for, log_in_at, sign, start};

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_during_a_login_leave_no_transaction_open() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[("RUNNER_ADDRESS_RATE_LIMIT", "1000000")]).await;
    let gateway = &running.gateway;
    let account = fixture.user.address().to_string();
    for turn in 0..40_u64 {
        let session = log_in_at(gateway, &fixture.user).await;
        let bearer = format!("Authorization: Bearer {}\r\n", session["token"].as_str().unwrap());
        let signed = sign(&challenge_for(gateway, &account).await, &fixture.user);
        let answer = json!({ "transaction": signed }).to_string();
        let refresh = json!({ "refresh_token": session["refresh_token"] }).to_string();
        let everywhere = json!({ "everywhere": turn % 2 == 0 }).to_string();
        let with_token = format!("{JSON}{bearer}");
        for route in [
            request("GET", &format!("/auth?account={account}"), "", ""),
            request("POST", "/auth", JSON, &answer),
            request("GET", "/auth/session", &bearer, ""),
            request("GET", "/runs", &bearer, ""),
            request("POST", "/auth/refresh", JSON, &refresh),
            request("POST", "/auth/logout", &with_token, &everywhere),
        ] {
            let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
            stream.write_all(route.as_bytes()).await.unwrap();
            // From at once to about when it answers.
            tokio::time::sleep(Duration::from_micros(turn * 131 % 5_000)).await;
            // A reset, not an orderly end: what was sent is not waited for.
            stream.set_zero_linger().unwrap();
            drop(stream);
        }
    }

    fixture.db.has_no_open_transaction().await;
    let session = log_in_at(gateway, &fixture.user).await;
    let mine = gateway.as_user(session["token"].as_str().unwrap());
    assert_eq!(mine.get("/auth/session").await.status(), 200);
    running.stop().await;
}
