//! Admission: the checks a request must pass before it is sent to the service.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;
use wire::egress::UpstreamKind;

use crate::body::Body;
use crate::bound::{self, Bound, RequestError};
use crate::headers;
use crate::meter::{Asked, Lowered, Refused, Reservation};
use crate::proxy::Shared;
use crate::refusal::Refusal;
use crate::replay::identity;
use crate::route::{Endpoint, Limits, Route};
use crate::text::quoted;

/// A request that may be sent.
pub(crate) struct AdmittedRequest {
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
    /// The proxy added `include_usage`, so the usage event must not be passed to the module.
    pub(crate) hide_usage_event: bool,
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

    /// The refusal of a request that this limit is too low for. Only the run's own budget is
    /// reported as `budget_exhausted`, because the user pays for an exhausted budget (R10).
    fn refusal(self, why: &str) -> Refusal {
        match self {
            Self::Module => Refusal::invalid(why),
            Self::Budget => Refusal::budget(format!("the run's budget: {why}")),
            Self::Operator => Refusal::limit(format!("the operator's limit: {why}")),
        }
    }
}

/// A request, what is reserved for it, and its permit among those under way.
pub(crate) type Admitted = (AdmittedRequest, Reservation, OwnedSemaphorePermit);

/// Makes every check before a request is sent. `path` is below the service's address, and `shown`
/// has the query as well.
pub(crate) async fn admit(
    shared: &Shared,
    (index, path): (usize, &str),
    shown: &str,
    head: &request::Parts,
    body: Incoming,
) -> Result<Admitted, Refusal> {
    let route = &shared.routes[index];
    let (endpoint, url, headers) = check_head(route, path, head)?;

    // Requests above the operator's limit of concurrent ones wait here, before their bodies are
    // read: no more bodies are in memory than requests may be under way.
    let permit = Arc::clone(&shared.places[index]).acquire_owned().await;
    let permit = permit.map_err(|_| Refusal::limit("the proxy has ended"))?;
    let bytes = read(body, &route.limits).await?;

    let mut request = AdmittedRequest {
        route: index,
        endpoint,
        method: head.method.clone(),
        path: shown.to_owned(),
        url,
        headers,
        identity: identity(&bytes),
        body: bytes,
        hide_usage_event: false,
        limited_by: LimitedBy::Module,
    };
    let bounded = bounded(route, endpoint, &request.body)?;
    let Some((mut parsed, bound)) = bounded else {
        let asked = Asked { llm_in: 0, llm_out: 0, writes: false };
        let reservation = reserve(shared, index, asked).await?;
        return Ok((request, reservation, permit));
    };
    let asked = Asked {
        llm_in: bound.input,
        llm_out: bound.output.unwrap_or(route.limits.output_tokens),
        writes: bound.writes,
    };
    let reservation = reserve(shared, index, asked).await?;
    request.limited_by = LimitedBy::of(&bound, &reservation);
    match bound::limit(endpoint, &mut parsed, &bound, reservation.llm_out) {
        Ok(hide) => request.hide_usage_event = hide,
        Err(why) => {
            shared.meter.release(reservation);
            return Err(request.limited_by.refusal(&why));
        }
    }
    request.body = parsed.to_bytes().into();
    Ok((request, reservation, permit))
}

/// What a request's head says: the endpoint, the address, and the headers that leave.
fn check_head(
    route: &Route,
    path: &str,
    head: &request::Parts,
) -> Result<(Endpoint, Url, HeaderMap), Refusal> {
    if head.method == Method::CONNECT || headers::asks_for_another_protocol(&head.headers) {
        return Err(Refusal::forbidden("CONNECT and protocol upgrades are not allowed"));
    }
    let endpoint = route.endpoint(&head.method, path).map_err(Refusal::forbidden)?;
    endpoint.check_query(head.uri.query()).map_err(Refusal::forbidden)?;
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
    if !endpoint.names_a_model() {
        return Ok(None);
    }
    let body = Body::parse(bytes).map_err(|error| {
        Refusal::invalid(format!("the body must be one unambiguous JSON object: {error}"))
    })?;
    check_models(route, &body)?;
    if !endpoint.is_metered() {
        bound::check_members(&body)?;
        return Ok(None);
    }
    let bound = bound::bound(endpoint, &body, &route.limits.allowance)?;
    Ok(Some((body, bound)))
}

/// Refuses a request that names no model, or any that the module does not declare.
fn check_models(route: &Route, body: &Body) -> Result<(), Refusal> {
    if !body.get("model").is_some_and(Value::is_string) {
        return Err(Refusal::invalid("the request names no \"model\""));
    }
    if route.models.is_empty() {
        return Ok(());
    }
    let is_declared = |model: &Value| {
        let name = model.as_str();
        model.is_null() || name.is_some_and(|name| route.models.iter().any(|one| one == name))
    };
    let Some(other) = bound::models(body).into_iter().find(|model| !is_declared(model)) else {
        return Ok(());
    };
    let other = other.as_str().map_or_else(|| quoted(&other.to_string()), quoted);
    let allowed = route.models.join(", ");
    Err(Refusal::forbidden(format!(
        "the model {other} is not one that the module declares: {allowed}"
    )))
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Invalid(why) => Self::invalid(why),
            RequestError::Unbounded(why) | RequestError::NotAllowed(why) => Self::forbidden(why),
        }
    }
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
