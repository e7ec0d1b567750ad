//! How many requests a caller may make: each account and each address has a bucket that fills again
//! at a steady rate (GCRA). Requests that make the runner ask the network or a gate cost more.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use stellar::Address;

use crate::auth::Caller;
use crate::error::Error;

/// A bucket holds what its owner gets in this time.
const BURST_SECS: u32 = 10;
/// What a request costs that makes the runner ask the network or a gate.
const DEAR: u32 = 10;
/// Buckets that are full are forgotten after so many requests.
const SWEEP_EVERY: u64 = 4_096;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Routes that make the runner ask the network or a gate.
const DEAR_ROUTES: [&str; 10] = [
    "/agents",
    "/agents/{id}",
    "/grants/{user}",
    "/quote",
    "/inputs",
    "/operator/packs/{id}/check",
    "/operator/reconciliation",
    "/auth",
    "/sep45",
    "/runs/{id}/bundle",
];

/// What the operator allows, in requests a second. 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of one account.
    pub account: u32,
    /// Of one address, whichever caller uses it.
    pub address: u32,
    /// How many proxies are in front of the gateway, each of which adds the address that it saw
    /// to `X-Forwarded-For`.
    pub proxies: usize,
}

/// Both limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of accounts.
    pub account: Option<Arc<Buckets<Address>>>,
    /// Of addresses.
    pub address: Option<Arc<Buckets<IpAddr>>>,
    proxies: usize,
}

/// A bucket for each key.
pub struct Buckets<K: Clone + std::hash::Hash + Eq> {
    limiter: RateLimiter<K, HashMapStateStore<K>, DefaultClock, StateInformationMiddleware>,
    burst: u32,
    rate: u32,
    requests: AtomicU64,
}

/// Where a request comes from, for limits by address: the address whose requests are
/// limited. It has none where there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

/// What a request left in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// What the bucket holds when it is full.
    pub burst: u32,
    /// What it holds now.
    pub remaining: u32,
    /// When it is full again, in seconds.
    pub reset_secs: u64,
}

impl Limits {
    /// Limits of these rates.
    pub fn new(rates: Rates) -> Self {
        Self {
            account: Buckets::new(rates.account).map(Arc::new),
            address: Buckets::new(rates.address).map(Arc::new),
            proxies: rates.proxies,
        }
    }
}

impl<K: Clone + std::hash::Hash + Eq> Buckets<K> {
    /// Buckets that fill at this rate; none for 0.
    fn new(rate: u32) -> Option<Self> {
        let burst = rate.saturating_mul(BURST_SECS);
        let quota = Quota::per_second(NonZeroU32::new(rate)?);
        let quota = quota.allow_burst(NonZeroU32::new(burst)?);
        let limiter = RateLimiter::hashmap(quota).with_middleware();
        Some(Self { limiter, burst, rate, requests: AtomicU64::new(0) })
    }

    /// Takes `cost` out of the bucket of `key`.
    ///
    /// # Errors
    ///
    /// The seconds until there is enough in it.
    pub fn take(&self, key: &K, cost: u32) -> Result<Left, u64> {
        // Every now and then, by the request that comes: no task is needed, and the table stays as
        // small as the number of callers of the last seconds.
        if self.requests.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        // A bucket smaller than the cost would never be enough.
        let cost = NonZeroU32::new(cost.clamp(1, self.burst)).unwrap_or(NonZeroU32::MIN);
        match self.limiter.check_key_n(key, cost) {
            Ok(Ok(state)) => {
                let remaining = state.remaining_burst_capacity();
                let missing = u64::from(self.burst.saturating_sub(remaining));
                let reset_secs = missing.div_ceil(u64::from(self.rate));
                Ok(Left { burst: self.burst, remaining, reset_secs })
            }
            Ok(Err(until)) => {
                let wait: Duration = until.wait_time_from(DefaultClock::default().now());
                Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
            }
            // Cannot be: the cost is at most what the bucket holds.
            Err(_) => Err(1),
        }
    }
}

impl<K: Clone + std::hash::Hash + Eq> std::fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buckets({} a second)", self.rate)
    }
}

/// Lets a request through if its account has something left. It runs after the login's guard.
pub async fn by_account(limits: State<Limits>, request: Request, next: Next) -> Response {
    let Some(buckets) = &limits.account else { return next.run(request).await };
    let caller = request.extensions().get::<Caller>();
    let Some((account, _)) = caller.and_then(Caller::account) else {
        return next.run(request).await;
    };
    let taken = buckets.take(&account, cost(&request));
    answer(taken, "this account", buckets.burst, request, next).await
}

/// Lets a request through if its address has something left, with its [`ClientAddress`]. It runs
/// before the login's guard.
pub async fn by_address(limits: State<Limits>, mut request: Request, next: Next) -> Response {
    // Without an address there is no connection either: a call inside of this process.
    let Some(address) = address(&request, limits.proxies) else { return next.run(request).await };
    request.extensions_mut().insert(ClientAddress(Some(address)));
    let Some(buckets) = &limits.address else { return next.run(request).await };
    let taken = buckets.take(&address, cost(&request));
    answer(taken, "this address", buckets.burst, request, next).await
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self(None)))
    }
}

async fn answer(
    taken: Result<Left, u64>,
    whose: &'static str,
    burst: u32,
    request: Request,
    next: Next,
) -> Response {
    let (left, mut answer) = match taken {
        Ok(left) => (left, next.run(request).await),
        Err(retry_after_secs) => {
            let left = Left { burst, remaining: 0, reset_secs: retry_after_secs };
            (left, Error::TooManyRequests { whose, retry_after_secs }.into_response())
        }
    };
    // The account's limit is the one that a caller plans by; it was set already where there is one.
    let headers = answer.headers_mut();
    if !headers.contains_key(LIMIT) {
        headers.insert(LIMIT, HeaderValue::from(left.burst));
        headers.insert(REMAINING, HeaderValue::from(left.remaining));
        headers.insert(RESET, HeaderValue::from(left.reset_secs));
    }
    answer
}

fn cost(request: &Request) -> u32 {
    let route = request.extensions().get::<MatchedPath>();
    if route.is_some_and(|route| DEAR_ROUTES.contains(&route.as_str())) { DEAR } else { 1 }
}

/// Who calls: the other end of the connection, or whom the outermost of the known proxies saw.
fn address(request: &Request, proxies: usize) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>()?.0.ip();
    let seen = proxies.checked_sub(1).and_then(|before| {
        let values = request.headers().get_all("x-forwarded-for").iter();
        let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        let all = values.join(",");
        // From the right: what is further left may be anybody's invention.
        all.rsplit(',').nth(before)?.trim().parse().ok()
    });
    Some(whole_network(seen.unwrap_or(peer)))
}

/// A household has 2^64 addresses of IPv6, so that they count as one.
fn whole_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_bucket_holds_ten_seconds_and_says_when_there_is_more() {
        let buckets = Buckets::new(2).unwrap();
        let first = buckets.take(&"a", 1).unwrap();
        assert_eq!((first.burst, first.remaining), (20, 19));
        assert!(buckets.take(&"a", 19).is_ok());
        let wait = buckets.take(&"a", 1).unwrap_err();
        assert!((1..=10).contains(&wait), "{wait}");
        assert!(buckets.take(&"b", 1).is_ok(), "another caller has a bucket of its own");
        assert!(Buckets::<u8>::new(0).is_none(), "no limit");
    }

    #[test]
    fn the_routes_that_cost_more_are_there() {
        let parts = [
            crate::gateway::behind_login().into_openapi(),
            crate::gateway::login::open().into_openapi(),
        ];
        for route in DEAR_ROUTES {
            assert!(parts.iter().any(|part| part.paths.paths.contains_key(route)), "{route}");
        }
    }

    fn seen(peer: &str, forwarded: &[&str], proxies: usize) -> String {
        let mut request = Request::new(Body::empty());
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        for value in forwarded {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().append("x-forwarded-for", value);
        }
        address(&request, proxies).unwrap().to_string()
    }

    #[test]
    fn only_what_known_proxies_saw_counts() {
        assert_eq!(seen("192.0.2.1:80", &["198.51.100.9"], 0), "192.0.2.1");
        assert_eq!(seen("192.0.2.1:80", &["203.0.113.5, 198.51.100.9"], 1), "198.51.100.9");
        assert_eq!(seen("192.0.2.1:80", &["203.0.113.5", "198.51.100.9"], 2), "203.0.113.5");
        assert_eq!(seen("192.0.2.1:80", &["nonsense"], 1), "192.0.2.1");
        assert_eq!(seen("[2001:db8::1:2:3:4]:80", &[], 0), "2001:db8::");
        assert_eq!(seen("[::ffff:192.0.2.7]:80", &[], 0), "192.0.2.7");
    }
}
