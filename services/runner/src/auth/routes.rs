//! The routes by which callers log in, refresh and log out, and `stellar.toml`, which leads to
//! them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_http::cors::{Any, CorsLayer};
use wire::Problem;

use crate::auth::caller::{Caller, guard};
use crate::auth::session::Session;
use crate::auth::{Access, Login, Proof, invalid, sep10, sep45, session};
use crate::error::{Error, Result};

/// The most bytes of a request: a list of authorisation entries, with room.
const MAX_BODY_BYTES: usize = 96 * 1024;

type Shared = State<Arc<Login>>;

/// All routes of the login; none when callers do not log in.
pub fn routes(access: &Access) -> Router {
    let Access::Login(login) = access else { return Router::new() };
    let behind_guard = Router::new()
        .route("/auth/logout", post(log_out))
        .route("/auth/session", get(who_am_i))
        .layer(middleware::from_fn_with_state(access.clone(), guard));
    // SEP-1, SEP-10 and SEP-45 demand that pages of every origin may ask. These routes take no
    // cookie, so another origin gains nothing by asking.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .max_age(std::time::Duration::from_secs(3_600));
    Router::new()
        .route("/.well-known/stellar.toml", get(stellar_toml))
        .route("/auth", get(sep10_challenge).post(sep10_answer))
        .route("/sep45", get(sep45_challenge).post(sep45_answer))
        .route("/auth/refresh", post(refresh))
        .merge(behind_guard)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(cors)
        .with_state(login.clone())
}

/// What a challenge is asked with. `client_domain` is not supported, and ignored as SEP-10 and
/// SEP-45 say.
#[derive(Debug, Deserialize)]
struct ChallengeQuery {
    account: Option<String>,
    memo: Option<String>,
    home_domain: Option<String>,
}

impl ChallengeQuery {
    fn account(&self, login: &Login) -> Result<&str> {
        if let Some(other) = self.home_domain.as_deref().filter(|text| *text != login.home_domain) {
            return Err(invalid(format!(
                "home_domain: this gateway logs in to {}, not to {other}",
                login.home_domain
            )));
        }
        self.account.as_deref().ok_or_else(|| invalid("account: is required"))
    }
}

/// A session's tokens. `token` is the name that SEP-10 and SEP-45 fix; the rest is beside it.
#[derive(Debug, Serialize)]
struct Tokens {
    token: String,
    expires_at: u64,
    refresh_token: String,
    session_expires_at: u64,
}

async fn stellar_toml(State(login): Shared) -> Response {
    // JSON's quoting of these texts is TOML's as well.
    let quoted = |text: &str| Value::from(text).to_string();
    let mut lines = vec![
        format!("NETWORK_PASSPHRASE={}", quoted(login.network.passphrase())),
        format!("SIGNING_KEY={}", quoted(&login.signer.address().to_string())),
        format!("WEB_AUTH_ENDPOINT={}", quoted(&format!("{}/auth", login.public_url))),
    ];
    if let Some(contract) = login.contract {
        let endpoint = quoted(&format!("{}/sep45", login.public_url));
        lines.push(format!("WEB_AUTH_FOR_CONTRACTS_ENDPOINT={endpoint}"));
        lines.push(format!("WEB_AUTH_CONTRACT_ID={}", quoted(&contract.0.to_string())));
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (kind, format!("{}\n", lines.join("\n"))).into_response()
}

async fn sep10_challenge(
    State(login): Shared,
    Query(query): Query<ChallengeQuery>,
) -> Result<Json<Value>> {
    let client = sep10::Client::read(query.account(&login)?, query.memo.as_deref())?;
    let transaction = sep10::challenge(&login, client)?;
    let network_passphrase = login.network.passphrase();
    Ok(Json(json!({ "transaction": transaction, "network_passphrase": network_passphrase })))
}

async fn sep10_answer(
    State(login): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let text = member(&headers, &read(body)?, "transaction")?;
    let proof = sep10::verify(&login, &text).await?;
    begin(login, proof).await
}

async fn sep45_challenge(
    State(login): Shared,
    Query(query): Query<ChallengeQuery>,
) -> Result<Json<Value>> {
    let entries = sep45::challenge(&login, query.account(&login)?).await?;
    let network_passphrase = login.network.passphrase();
    Ok(Json(json!({
        "authorization_entries": entries,
        "network_passphrase": network_passphrase,
    })))
}

async fn sep45_answer(
    State(login): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let text = member(&headers, &read(body)?, "authorization_entries")?;
    let proof = sep45::verify(&login, &text).await?;
    begin(login, proof).await
}

async fn refresh(
    State(login): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let text = member(&headers, &read(body)?, "refresh_token")?;
    let claims = login.tokens.read_refresh(&text)?;
    // In a task of its own: a client that hangs up must not leave a transaction open in the pool.
    let db = login.db.clone();
    let rotated =
        tokio::spawn(async move { session::rotate(&db, claims.sid, claims.number).await });
    tokens(&login, &rotated.await.map_err(broken)??)
}

async fn log_out(
    State(login): Shared,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode> {
    let Some(id) = caller.session() else { return Ok(StatusCode::NO_CONTENT) };
    let body = read(body)?;
    let everywhere = match body.is_empty() {
        true => false,
        false => document(&headers, &body)?
            .get("everywhere")
            .and_then(Value::as_bool)
            .ok_or_else(|| invalid("everywhere: expected true or false"))?,
    };
    if everywhere {
        let subject = session::subject(&login.db, id).await?;
        session::revoke_all(&login.db, &subject).await?;
    } else {
        session::revoke(&login.db, id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn who_am_i(caller: Caller) -> Result<Json<Value>> {
    let (account, role) = caller
        .account()
        .ok_or_else(|| Error::refused(Problem::Unauthenticated, "this request carries no login"))?;
    Ok(Json(json!({ "account": account, "role": role })))
}

async fn begin(login: Arc<Login>, proof: Proof) -> Result<Response> {
    let shared = login.clone();
    let begun = tokio::spawn(async move { session::begin(&shared, &proof).await });
    // The session is whole before the tokens leave.
    let session = begun.await.map_err(broken)??;
    tracing::info!("{} has logged in", session.subject);
    tokens(&login, &session)
}

fn tokens(login: &Login, session: &Session) -> Result<Response> {
    let account = session.account.parse();
    let account =
        account.map_err(|_| Error::Broken("a session's account is no address".to_owned()))?;
    let ends = u64::try_from(session.expires_at.unix_timestamp()).unwrap_or_default();
    let bearer = (session.id, session.subject.as_str(), login.role(&account));
    let challenge = session.challenge.to_string();
    let (token, expires_at) = login.tokens.access(bearer, &challenge, &login.home_domain)?;
    let refresh_token = login.tokens.refresh(session.id, session.number, ends)?;
    let body = Tokens { token, expires_at, refresh_token, session_expires_at: ends };
    // RFC 6749, 5.1: no cache keeps a token.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

fn read(body: Result<Bytes, BytesRejection>) -> Result<Bytes> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::refused(
            Problem::PayloadTooLarge,
            format!("the request has more than {MAX_BODY_BYTES} bytes"),
        ),
        _ => invalid("the request's body cannot be read"),
    })
}

/// One text of a body that is JSON or a form; SEP-10 and SEP-45 demand both.
fn member(headers: &HeaderMap, body: &Bytes, name: &str) -> Result<String> {
    let form = kind(headers) == "application/x-www-form-urlencoded";
    let found = if form {
        url::form_urlencoded::parse(body)
            .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    } else {
        document(headers, body)?.get(name).and_then(Value::as_str).map(str::to_owned)
    };
    found.ok_or_else(|| invalid(format!("{name}: expected a text")))
}

fn document(headers: &HeaderMap, body: &Bytes) -> Result<Value> {
    if kind(headers) != "application/json" {
        return Err(invalid(
            "expected Content-Type application/json or application/x-www-form-urlencoded",
        ));
    }
    serde_json::from_slice(body).map_err(|error| invalid(format!("the body is not JSON: {error}")))
}

fn kind(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

fn broken(error: tokio::task::JoinError) -> Error {
    Error::Broken(format!("a login's task ended early: {error}"))
}
