//! Who may call what.

use chassis::service::listen;
use chassis::{Health, Service, grpc};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use wire::Problem;

use crate::echo::{TOKEN, ask, serve};
use crate::fixture::SOON;

#[tokio::test]
async fn a_caller_without_a_known_token_is_refused() {
    let service = Service::default();
    let address = serve(&service, &Health::new()).await;

    for token in [None, Some("fedcba9876543210"), Some("")] {
        let refusal = ask(address, token).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unauthenticated);
        assert_eq!(Problem::of(&refusal), Some(Problem::Unauthenticated));
    }
    assert_eq!(ask(address, Some(TOKEN)).await.unwrap().0, "tester");
}

#[tokio::test]
async fn health_is_open_and_follows_the_service() {
    let (service, health) = (Service::default(), Health::new());
    health.need("store");
    let address = serve(&service, &health).await;
    let client = HealthClient::new(grpc::client(&format!("http://{address}"), None).unwrap());
    let status = async |name: &str| {
        let question = HealthCheckRequest { service: name.to_owned() };
        client.clone().check(question).await.map(|answer| answer.into_inner().status())
    };

    let name = "lumio.module.v1.ModuleGate";
    testkit::eventually(async || {
        status(name).await.is_ok_and(|found| found == ServingStatus::NotServing)
    })
    .await;
    // Alive anyway: an orchestrator must not restart a service whose store is away.
    assert_eq!(status(grpc::LIVE).await.unwrap(), ServingStatus::Serving);
    health.set("store", Ok(()));
    testkit::eventually(async || {
        let all = [status("").await, status(name).await];
        all.into_iter().all(|status| status.is_ok_and(|found| found == ServingStatus::Serving))
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_lets_go_of_its_port() {
    let service = Service::default();
    let address = serve(&service, &Health::new()).await;
    ask(address, Some(TOKEN)).await.unwrap();
    service.finish(SOON).await.unwrap();
    listen(address, "PORT").unwrap();
}

#[tokio::test]
async fn a_client_refuses_an_address_it_cannot_call() {
    for url in ["localhost:4100", "https://host:4100", "nats://host", "http://gate:pa|ss@host:1"] {
        let refused = grpc::client(url, None).unwrap_err();
        assert!(!format!("{refused:#}").contains("pa|ss"), "{refused:#}");
    }
}
