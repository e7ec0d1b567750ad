//! A gRPC service that answers who called, and in which trace.

use std::net::SocketAddr;

use chassis::grpc::{self, Caller, Client, Server, Tokens};
use chassis::service::listen;
use chassis::{Health, Secret, Service, telemetry};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use wire::Problem;
use wire::pb::module::v1::module_gate_client::ModuleGateClient;
use wire::pb::module::v1::module_gate_server::{ModuleGate, ModuleGateServer};
use wire::pb::module::v1::{
    ExecuteEvent, ExecuteRequest, GetExecutionRequest, GetExecutionResponse, GetInputSchemaRequest,
    GetInputSchemaResponse, GetVerdictRequest, GetVerdictResponse, JudgeEvent, RunOraclesRequest,
    RunShippingGateRequest, ShipEvent, ShipRequest,
};

pub const TOKEN: &str = "0123456789abcdef";

/// Answers who called, in which trace.
struct Echo;

#[tonic::async_trait]
impl ModuleGate for Echo {
    type ExecuteStream = BoxStream<ExecuteEvent>;
    type ShipStream = BoxStream<ShipEvent>;
    type RunOraclesStream = BoxStream<JudgeEvent>;
    type RunShippingGateStream = BoxStream<JudgeEvent>;

    async fn get_verdict(
        &self,
        request: Request<GetVerdictRequest>,
    ) -> Result<Response<GetVerdictResponse>, Status> {
        let Caller(name) = request.extensions().get().unwrap();
        let statement = format!("{name} {}", telemetry::traceparent()).into_bytes();
        Ok(Response::new(GetVerdictResponse { statement, ..Default::default() }))
    }

    async fn get_input_schema(
        &self,
        _: Request<GetInputSchemaRequest>,
    ) -> Result<Response<GetInputSchemaResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
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

    async fn run_oracles(
        &self,
        _: Request<RunOraclesRequest>,
    ) -> Result<Response<Self::RunOraclesStream>, Status> {
        Err(Problem::NotFound.status("not here"))
    }

    async fn run_shipping_gate(
        &self,
        _: Request<RunShippingGateRequest>,
    ) -> Result<Response<Self::RunShippingGateStream>, Status> {
        Err(Problem::NotFound.status("not here"))
    }

    async fn ship(&self, _: Request<ShipRequest>) -> Result<Response<Self::ShipStream>, Status> {
        Err(Problem::NotFound.status("not here"))
    }
}

/// A server that answers as [`Echo`], for as long as `service` runs.
pub async fn serve(service: &Service, health: &Health) -> SocketAddr {
    let listener = listen(testkit::ANY_PORT, "PORT").unwrap();
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
    let question = GetVerdictRequest::default();
    let answer = client(address, token).get_verdict(question).await?.into_inner().statement;
    let answer = String::from_utf8(answer).unwrap();
    let (name, trace) = answer.split_once(' ').unwrap();
    Ok((name.to_owned(), trace.to_owned()))
}
