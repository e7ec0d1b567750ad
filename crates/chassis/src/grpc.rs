//! gRPC as every service here speaks it: a bearer token, a trace, health and reflection.

use std::time::Duration;

use anyhow::anyhow;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::config::Secret;
use crate::telemetry;
use crate::trace::Outgoing;

pub use limits::Limits;
pub use server::{LIVE, Server};
pub use tokens::{Auth, Caller, Tokens, TokensError};

mod idle;
mod limits;
mod server;
mod tokens;

/// How long a connection may take. Calls have no limit here: a stream of progress may last.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an open connection is asked whether it still lives, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A channel that sends a token and the current trace with every call: what a generated client
/// takes.
pub type Client = Outgoing<InterceptedService<Channel, Credentials>>;

/// Puts the token and the current trace on a call.
#[derive(Debug, Clone)]
pub struct Credentials {
    authorization: Option<MetadataValue<Ascii>>,
}

/// A client of the service at `url`. It connects at the first call and again whenever it must, so
/// the service may be away now.
///
/// # Errors
///
/// When `url` is not `http://host:port` or `token` holds what a header cannot. The text does not
/// repeat the URL, which may hold a password (R9). Encrypted transport between services is the
/// deployment's (a mesh or a private network).
pub fn client(url: &str, token: Option<&Secret>) -> anyhow::Result<Client> {
    let endpoint = Endpoint::from_shared(url.to_owned()).ok();
    let endpoint = endpoint.filter(|endpoint| endpoint.uri().scheme_str() == Some("http"));
    let endpoint = endpoint.ok_or_else(|| anyhow!("expected http://host:port"))?;
    let authorization =
        token.map(authorization).transpose().map_err(|expected| anyhow!(expected))?;
    let uri = endpoint.uri().clone();
    let channel = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .tcp_nodelay(true)
        .connect_lazy();
    Ok(Outgoing::new(InterceptedService::new(channel, Credentials { authorization }), &uri))
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(authorization) = &self.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        if let Ok(traceparent) = telemetry::traceparent().parse() {
            metadata.insert("traceparent", traceparent);
        }
        Ok(request)
    }
}

/// Whether a call can carry this token; for settings, so that a mistake is named by the right one.
///
/// # Errors
///
/// What was expected.
pub fn check_token(token: &Secret) -> Result<(), &'static str> {
    authorization(token).map(drop)
}

/// Marked sensitive, so that no debug output shows it (R9).
fn authorization(token: &Secret) -> Result<MetadataValue<Ascii>, &'static str> {
    const EXPECTED: &str = "expected a token of visible ASCII characters";
    // The library would also take bytes beyond ASCII, which have no meaning in a header.
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(EXPECTED);
    }
    let header = format!("Bearer {}", token.expose()).parse::<MetadataValue<Ascii>>();
    let mut header = header.map_err(|_| EXPECTED)?;
    header.set_sensitive(true);
    Ok(header)
}
