//! Who may call what, and what goes along with a call.

use std::net::SocketAddr;

use chassis::grpc::{self, Caller, Client, Server, Tokens};
use chassis::service::listen;
use chassis::{Health, Secret, Service, telemetry};
use tonic::codegen::BoxStream;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use wire::Problem;
use wire::pb::module::v1::module_gate_client::ModuleGateClient;
use wire::pb::module::v1::module_gate_server::{ModuleGate, ModuleGateServer};
use wire::pb::module::v1::{
    ExecuteEvent, ExecuteRequest, GetExecutionRequest, GetExecutionResponse, GetVerdictRequest,
    GetVerdictResponse, ShipEvent, ShipRequest,
};

use crate::fixture::SOON;

pub const TOKEN: &str = "0123456789abcdef";

/// Answers who called, in which trace.
struct Echo;

#[tonic::async_trait]
impl ModuleGate for Echo {
    type ExecuteStream = BoxStream<ExecuteEvent>;
    type ShipStream = BoxStream<ShipEvent>;

    async fn get_verdict(
        &self,
        request: Request<GetVerdictRequest>,
    ) -> Result<Response<GetVerdictResponse>, Status> {
        let Caller(name) = request.extensions().get().unwrap();
        let statement = format!("{name} {}", telemetry::traceparent()).into_bytes();
        Ok(Response::new(GetVerdictResponse { statement }))
    }

    async fn execute(
        &self,
        _: Request<ExecuteRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        Err(Problem::NotFound.status("not here"))
    }

    async fn get_execution(
        &self,
        _: Request<GetExecutionRequest>,
    ) -> Result<Response<GetExecutionResponse>, Status> {
        Err(Problem::NotFound.status("not here"))
    }

    async fn ship(&self, _: Request<ShipRequest>) -> Result<Response<Self::ShipStream>, Status> {
        Err(Problem::NotFound.status("not here"))
    }
}

/// A server that answers as [`Echo`], for as long as `service` runs.
pub async fn serve(service: &Service, health: &Health) -> SocketAddr {
    let listener = listen(testkit::ANY_PORT, "PORT").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tokens = Tokens::parse(&format!("tester:{TOKEN}")).unwrap();
    let server = Server::new(&tokens, health).add_service(ModuleGateServer::new(Echo));
    service.spawn("grpc", server.serve(listener, service.stop()));
    address
}

pub fn client(address: SocketAddr, token: Option<&str>) -> ModuleGateClient<Client> {
    let token = token.map(Secret::from);
    ModuleGateClient::new(grpc::client(&format!("http://{address}"), token.as_ref()).unwrap())
}

/// What [`Echo`] answered: the caller and the traceparent.
pub async fn ask(address: SocketAddr, token: Option<&str>) -> Result<(String, String), Status> {
    let question = GetVerdictRequest { manifest_hash: String::new() };
    let answer = client(address, token).get_verdict(question).await?.into_inner().statement;
    let answer = String::from_utf8(answer).unwrap();
    let (name, trace) = answer.split_once(' ').unwrap();
    Ok((name.to_owned(), trace.to_owned()))
}

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
        client.clone().check(question).await.map(|it| it.into_inner().status())
    };

    let name = "lumio.module.v1.ModuleGate";
    testkit::eventually(SOON, async || {
        status(name).await.is_ok_and(|it| it == ServingStatus::NotServing)
    })
    .await;
    health.set("store", Ok(()));
    testkit::eventually(SOON, async || {
        let all = [status("").await, status(name).await];
        all.into_iter().all(|it| it.is_ok_and(|it| it == ServingStatus::Serving))
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_lets_go_of_its_port() {
    let service = Service::default();
    let address = serve(&service, &Health::new()).await;
    ask(address, Some(TOKEN)).await.unwrap();
    service.finish(SOON).await.unwrap();
    listen(address, "PORT").await.unwrap();
}

#[tokio::test]
async fn a_client_refuses_an_address_it_cannot_call() {
    for url in ["localhost:4100", "https://host:4100", "nats://host"] {
        assert!(grpc::client(url, None).is_err(), "{url}");
    }
}
