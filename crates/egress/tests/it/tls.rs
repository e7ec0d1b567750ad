//! TLS and HTTP/2 towards a service, against a server on rustls with certificates of a test's own
//! authority.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use egress::{Plan, Source};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Certificate;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use wire::egress::{CallOutcome, UpstreamKind};

use crate::fixture::{Fixture, KEY, PLENTY, completion, fetch, route};

/// A service behind TLS.
struct Service {
    address: SocketAddr,
    /// The version of each request, and the credential that came with it.
    arrived: Arc<Mutex<Vec<(Version, String)>>>,
}

/// Who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn certificate(&self) -> Certificate {
        Certificate::from_pem(self.0.pem().as_bytes()).unwrap()
    }

    /// Serves as `name`, until the year `until`.
    async fn serve(&self, name: &str, until: i32, protocols: &[&str]) -> Service {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arc::<Mutex<Vec<_>>>::default();
        let seen = Arc::clone(&arrived);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    // A client that does not trust it hangs up.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let key = request.headers().get("authorization");
                        let key = key.map(|key| key.to_str().unwrap().to_owned());
                        seen.lock().unwrap().push((request.version(), key.unwrap_or_default()));
                        let body = completion(19, 10).to_string();
                        let answer = Response::builder().header("content-type", "application/json");
                        let answer = answer.body(Full::new(Bytes::from(body))).unwrap();
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Service { address, arrived }
    }
}

/// A proxy that trusts `authority` alone.
fn fixture(service: &Service, authority: Option<&Authority>) -> Fixture {
    let url = format!("https://localhost:{}/v1", service.address.port());
    let route = route(UpstreamKind::OpenAi, &url);
    let authorities: Vec<_> = authority.iter().map(|one| one.certificate()).collect();
    let client = egress::proxy::client(&route, &authorities).unwrap();
    let source = Source::Live(vec![client]);
    Fixture::plan(Plan { routes: vec![route], budgets: PLENTY, source, records: false, open: true })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_reached_by_the_protocol_that_it_offers() {
    let authority = Authority::new();
    for (protocols, version) in
        [(&["h2", "http/1.1"][..], Version::HTTP_2), (&["http/1.1"][..], Version::HTTP_11)]
    {
        let service = authority.serve("localhost", 2090, protocols).await;
        let fixture = fixture(&service, Some(&authority));
        // Twice, so that the second goes by the connection of the first.
        for _ in 0..2 {
            let (status, _) = fixture.chat(json!({})).await.unwrap();
            assert_eq!(status, 200);
        }
        let (report, calls) = fixture.finish().await;
        assert_eq!((report.usage.llm_in, report.usage.http_calls), (38, 2));
        assert!(calls.iter().all(|call| call.outcome == CallOutcome::Complete));
        let arrived = service.arrived.lock().unwrap().clone();
        assert_eq!(arrived, vec![(version, format!("Bearer {KEY}")); 2]);
    }
}

/// Nothing is sent, so nothing is charged and no credential leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_prove_its_name_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let protocols = &["h2", "http/1.1"][..];
    for (what, name, until, trusted) in [
        ("another authority", "localhost", 2090, Some(&other)),
        ("no authority that the system knows", "localhost", 2090, None),
        ("another name", "elsewhere.example", 2090, Some(&authority)),
        ("an expired certificate", "localhost", 2021, Some(&authority)),
    ] {
        let service = authority.serve(name, until, protocols).await;
        let fixture = fixture(&service, trusted);
        let (status, text) = fixture.chat(json!({})).await.unwrap();
        assert!(status == 502 && text.contains("upstream_failed"), "{what}: {text}");
        assert!(text.contains("certificate"), "{what}: {text}");
        let (report, calls) = fixture.finish().await;
        assert_eq!(report.usage.http_calls, 0, "{what}");
        assert_eq!(calls[0].outcome, CallOutcome::Refused, "{what}");
        assert!(service.arrived.lock().unwrap().is_empty(), "{what}");
    }
}

/// Plain HTTP on a port that speaks TLS is no answer, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_never_left_out() {
    let authority = Authority::new();
    let service = testkit::upstream(|_| testkit::upstream::answer("200 OK", "text/plain", "x"));
    let url = format!("https://localhost:{}/v1", service.address.port());
    let route = route(UpstreamKind::OpenAi, &url);
    let client = egress::proxy::client(&route, &[authority.certificate()]).unwrap();
    let source = Source::Live(vec![client]);
    let plan = Plan { routes: vec![route], budgets: PLENTY, source, records: false, open: true };
    let fixture = Fixture::plan(plan);
    let (status, _) = fetch(fixture.get("/models")).await.unwrap();
    assert_eq!(status, 502);
    fixture.finish().await;
    assert!(service.arrived().iter().all(|request| request.header("authorization").is_none()));
}
