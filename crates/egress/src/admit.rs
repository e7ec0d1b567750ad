//! What has to hold before a request leaves.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;
use wire::egress::UpstreamKind;

use crate::body::Body;
use crate::bound::{self, Bound, Unfit};
use crate::headers;
use crate::meter::{Asked, Lowered, Refused, Reservation};
use crate::proxy::Shared;
use crate::refusal::Refusal;
use crate::replay::identity;
use crate::route::{Endpoint, Limits, Route};
use crate::text::quoted;

/// A request that may leave.
pub(crate) struct Asking {
    pub(crate) route: usize,
    pub(crate) endpoint: Endpoint,
    pub(crate) method: Method,
    /// Below the service's address, with the query.
    pub(crate) path: String,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Of the body as the module sent it.
    pub(crate) identity: wire::Digest,
    /// The record of a stream was not asked for by the module.
    pub(crate) hides: bool,
    /// Whose limit is written into the request.
    pub(crate) limited_by: LimitedBy,
}

/// Where the limit of what a request writes comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitedBy {
    /// The module stated it.
    Module,
    /// The run's budget left no more.
    Budget,
    /// The operator's limit left no more, or is the one for requests that state none.
    Operator,
}

impl LimitedBy {
    fn of(bound: &Bound, reservation: &Reservation) -> Self {
        match (reservation.lowered, bound.output) {
            (Lowered::ByBudget, _) => Self::Budget,
            (Lowered::No, Some(_)) => Self::Module,
            (Lowered::ByLimit, _) | (Lowered::No, None) => Self::Operator,
        }
    }

    /// What stands against a request that such a limit is too low for. Only the run's own budget is
    /// named so: who used a budget up pays for it (R10).
    fn refusal(self, why: &str) -> Refusal {
        match self {
            Self::Module => Refusal::invalid(why),
            Self::Budget => Refusal::budget(format!("the run's budget: {why}")),
            Self::Operator => Refusal::limit(format!("the operator's limit: {why}")),
        }
    }
}

/// A request, what is reserved for it, and its place among those under way.
pub(crate) type Leaving = (Asking, Reservation, OwnedSemaphorePermit);

/// Everything that has to hold before a request leaves. `path` is below the service's address, and
/// `shown` has the query as well.
pub(crate) async fn admit(
    shared: &Shared,
    (index, path): (usize, &str),
    shown: &str,
    head: &request::Parts,
    body: Incoming,
) -> Result<Leaving, Refusal> {
    let route = &shared.routes[index];
    let (endpoint, url, headers) = check_head(route, path, head)?;

    // More than the operator allows at once wait for their turn. They wait before their bodies are
    // read, so that no more of these are in memory than may be under way.
    let turn = Arc::clone(&shared.places[index]).acquire_owned().await;
    let turn = turn.map_err(|_| Refusal::limit("the proxy has ended"))?;
    let bytes = read(body, &route.limits).await?;

    let mut asking = Asking {
        route: index,
        endpoint,
        method: head.method.clone(),
        path: shown.to_owned(),
        url,
        headers,
        identity: identity(&bytes),
        body: bytes,
        hides: false,
        limited_by: LimitedBy::Module,
    };
    let bounded = bounded(route, endpoint, &asking.body)?;
    let Some((mut parsed, bound)) = bounded else {
        let asked = Asked { llm_in: 0, llm_out: 0, writes: false };
        let reservation = reserve(shared, index, asked).await?;
        return Ok((asking, reservation, turn));
    };
    let asked = Asked {
        llm_in: bound.input,
        llm_out: bound.output.unwrap_or(route.limits.output_tokens),
        writes: bound.writes,
    };
    let reservation = reserve(shared, index, asked).await?;
    asking.limited_by = LimitedBy::of(&bound, &reservation);
    match bound::limit(endpoint, &mut parsed, &bound, reservation.llm_out) {
        Ok(hides) => asking.hides = hides,
        Err(why) => {
            shared.meter.release(reservation);
            return Err(asking.limited_by.refusal(&why));
        }
    }
    asking.body = parsed.to_bytes().into();
    Ok((asking, reservation, turn))
}

/// What a request's head says: the endpoint, the address, and the headers that leave.
fn check_head(
    route: &Route,
    path: &str,
    head: &request::Parts,
) -> Result<(Endpoint, Url, HeaderMap), Refusal> {
    if head.method == Method::CONNECT || headers::asks_for_another_protocol(&head.headers) {
        return Err(Refusal::forbidden("tunnels and other protocols do not leave"));
    }
    let endpoint = route.endpoint(&head.method, path).map_err(Refusal::forbidden)?;
    let url = route.target(path, head.uri.query()).map_err(Refusal::forbidden)?;
    let mut headers = headers::leaving(&head.headers, route);
    if route.kind != UpstreamKind::Http && head.method == Method::POST {
        headers::as_json(&mut headers)?;
    }
    Ok((endpoint, url, headers))
}

/// The request as it is understood, and its bound; nothing where no token is counted.
fn bounded(
    route: &Route,
    endpoint: Endpoint,
    bytes: &[u8],
) -> Result<Option<(Body, Bound)>, Refusal> {
    if !endpoint.is_metered() {
        return Ok(None);
    }
    let body = Body::parse(bytes).map_err(|error| {
        Refusal::invalid(format!("the request cannot be read in one way: {error}"))
    })?;
    let model = body.get("model").and_then(serde_json::Value::as_str);
    let Some(model) = model else {
        return Err(Refusal::invalid("the request names no \"model\""));
    };
    if !route.models.is_empty() && !route.models.iter().any(|allowed| allowed == model) {
        let (model, allowed) = (quoted(model), route.models.join(", "));
        return Err(Refusal::forbidden(format!(
            "the model {model} is not one that the module declares: {allowed}"
        )));
    }
    let bound = bound::bound(endpoint, &body, &route.limits.allowance);
    let bound = bound.map_err(|unfit| match unfit {
        Unfit::Invalid(why) => Refusal::invalid(why),
        Unfit::Unbounded(why) => Refusal::forbidden(why),
    })?;
    Ok(Some((body, bound)))
}

async fn reserve(shared: &Shared, route: usize, asked: Asked) -> Result<Reservation, Refusal> {
    shared.meter.reserve(route, asked).await.map_err(|refused| match refused {
        Refused::Budget(why) => Refusal::budget(why),
        Refused::Limit(why) => Refusal::limit(why),
    })
}

async fn read(body: Incoming, limits: &Limits) -> Result<Bytes, Refusal> {
    let limited = Limited::new(body, limits.request_bytes);
    let read = tokio::time::timeout(limits.total, limited.collect()).await;
    match read.map_err(|_| Refusal::unfinished())? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let text = format!("a request has at most {} bytes", limits.request_bytes);
            Err(Refusal::too_large(text))
        }
        Err(error) => Err(Refusal::invalid(format!("the request broke off: {error}"))),
    }
}
