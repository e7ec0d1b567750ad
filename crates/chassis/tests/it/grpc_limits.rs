//! No client holds the gRPC server up, whatever it sends or does not send.

use std::net::SocketAddr;
use std::time::Duration;

use chassis::grpc::{Limits, Server, Tokens};
use chassis::service::listen;
use chassis::{Health, Service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;

use crate::fixture::SOON;

const SHORT: Limits = Limits {
    connections: 1,
    preface: Duration::from_millis(300),
    request_pause: Duration::from_millis(300),
    idle: Duration::from_millis(300),
    open_call: Duration::from_millis(900),
};

/// A server of health alone.
async fn serve(service: &Service, limits: Limits) -> SocketAddr {
    let listener = listen(testkit::ANY_PORT, "PORT").unwrap();
    let address = listener.local_addr().unwrap();
    let tokens = Tokens::parse("tester:0123456789abcdef").unwrap();
    let server = Server::new(&tokens, &Health::new()).with_limits(limits);
    service.spawn("grpc", server.serve(listener, service.stop()));
    address
}

/// Asks for health with messages that come as `messages` does.
async fn check(
    address: SocketAddr,
    messages: impl futures::Stream<Item = HealthCheckRequest> + Send + 'static,
) -> Result<HealthCheckResponse, tonic::Status> {
    let channel = chassis::grpc::client(&format!("http://{address}"), None).unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let answer = client.client_streaming(Request::new(messages), path, codec).await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn a_connection_that_begins_no_http2_gives_its_place_back() {
    let service = Service::default();
    let address = serve(&service, Limits { idle: SOON, ..SHORT }).await;
    for said in ["", "PRI * HTTP/2.0", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(said.as_bytes()).await.unwrap();
        let asked = check(address, futures::stream::iter([HealthCheckRequest::default()]));
        timeout(SOON, asked).await.unwrap().unwrap();
        let mut rest = Vec::new();
        let _ = timeout(SOON, silent.read_to_end(&mut rest)).await.unwrap();
    }
    service.finish(SOON).await.unwrap();
}

#[tokio::test]
async fn a_call_whose_message_never_comes_is_ended() {
    let service = Service::default();
    let address = serve(&service, Limits { connections: 8, idle: SOON, ..SHORT }).await;
    let refused = timeout(SOON, check(address, futures::stream::pending())).await.unwrap();
    assert_eq!(refused.unwrap_err().code(), Code::DeadlineExceeded);
    service.finish(SOON).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_calls_nothing_gives_its_place_back() {
    let service = Service::default();
    let address = serve(&service, SHORT).await;
    let stream = TcpStream::connect(address).await.unwrap();
    // It speaks HTTP/2, answers every ping, and opens no stream.
    let (calls, connection) = h2::client::handshake(stream).await.unwrap();
    let asked = check(address, futures::stream::iter([HealthCheckRequest::default()]));
    let (ended, asked) = tokio::join!(timeout(SOON, connection), timeout(SOON, asked));
    ended.unwrap().unwrap();
    asked.unwrap().unwrap();
    drop(calls);
    service.finish(SOON).await.unwrap();
}

#[tokio::test]
async fn a_connection_with_an_open_call_keeps_its_place_and_one_that_needs_no_token_ends_in_time() {
    let service = Service::default();
    let address = serve(&service, SHORT).await;
    let channel = chassis::grpc::client(&format!("http://{address}"), None).unwrap();
    let mut client = HealthClient::new(channel);
    let mut watched = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    // Another connection waits for the only place.
    let asked = check(address, futures::stream::iter([HealthCheckRequest::default()]));
    let mut asked = std::pin::pin!(timeout(SOON, asked));
    let ended = tokio::select! {
        biased;
        ended = timeout(SOON, watched.message()) => ended.unwrap().unwrap_err(),
        answered = &mut asked => panic!("there was a second place: {answered:?}"),
    };
    assert!(ended.message().contains("call again"), "{ended:?}");
    assert_eq!(ended.code(), Code::Unavailable);
    // The first client is still there, and its connection is closed, as nothing calls.
    asked.await.unwrap().unwrap();
    drop(client);
    service.finish(SOON).await.unwrap();
}
