//! The routes by which callers log in, refresh and log out, and `stellar.toml`, which leads to
//! them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::Instrument as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::Problem;

use crate::auth::caller::{Caller, Role, guard};
use crate::auth::session::Session;
use crate::auth::{Access, Login, Proof, invalid, sep10, sep45, session};
use crate::error::{Error, Result};
use crate::gateway::create_request::body_members;
use crate::gateway::limits::{self, Limits};
use crate::gateway::rules::{self, FORM, Hosts};
use crate::gateway::{cors, method_not_allowed, read_query, unread_body};

/// The most bytes of a request: a list of authorisation entries, with room.
pub const MAX_BODY_BYTES: usize = 96 * 1024;

type Shared = State<Arc<Login>>;

/// All routes of the login; none when callers do not log in.
pub fn routes(access: &Access, hosts: Option<Arc<Hosts>>, limits: Limits) -> Router {
    let Access::Login(login) = access else { return Router::new() };
    let (behind_guard, _) = behind_guard().split_for_parts();
    let behind_guard = behind_guard.layer(middleware::from_fn_with_state(access.clone(), guard));
    let (open, _) = open().split_for_parts();
    open.merge(behind_guard)
        .route_layer(middleware::from_fn(rules::apply_query))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(hosts, rules::apply))
        .layer(middleware::from_fn_with_state(limits, limits::by_address))
        // SEP-1, SEP-10 and SEP-45 demand that pages of every origin may ask. These routes take no
        // cookie, so another origin gains nothing by asking. A page has to be able to read every
        // refusal, so that this layer goes outside of those that refuse.
        .layer(cors(HeaderValue::from_static("*")))
        .with_state(login.clone())
}

/// Routes by which callers log in.
pub fn open() -> OpenApiRouter<Arc<Login>> {
    OpenApiRouter::new()
        .routes(routes!(stellar_toml))
        .routes(routes!(sep10_challenge, sep10_answer))
        .routes(routes!(sep45_challenge, sep45_answer))
        .routes(routes!(refresh))
}

/// Routes for callers that have logged in.
pub fn behind_guard() -> OpenApiRouter<Arc<Login>> {
    OpenApiRouter::new().routes(routes!(log_out)).routes(routes!(who_am_i))
}

/// A challenge of SEP-10.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TransactionChallenge {
    /// The transaction to sign, as XDR in base64.
    transaction: String,
    /// Which network it is for.
    network_passphrase: String,
}

/// A challenge of SEP-45.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct EntriesChallenge {
    /// The authorisation entries to sign, as XDR in base64.
    authorization_entries: String,
    /// Which network they are for.
    network_passphrase: String,
}

/// A signed challenge of SEP-10.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "described, never made: a form says the same")]
struct SignedTransaction {
    /// The signed transaction, as XDR in base64.
    transaction: String,
}

/// A signed challenge of SEP-45.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "described, never made: a form says the same")]
struct SignedEntries {
    /// The signed authorisation entries, as XDR in base64.
    authorization_entries: String,
}

/// What a session is refreshed with.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "described, never made: a form says the same")]
struct RefreshRequest {
    /// The newest refresh token of the session.
    refresh_token: String,
}

/// Which sessions end.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "described, never made: a form says the same")]
struct LogoutRequest {
    /// Every session of the same subject, not this one alone.
    everywhere: bool,
}

/// Who calls.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct WhoAmI {
    /// The account on the network.
    account: String,
    /// `user` or `operator`.
    #[schema(value_type = String)]
    role: Role,
}

/// What a challenge is asked with. `client_domain` is not supported, and ignored as SEP-10 and
/// SEP-45 say.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ChallengeQuery {
    /// Who logs in: G…, M… or, for SEP-45, C….
    #[param(required = true)]
    account: Option<String>,
    /// A number that tells the users of one account apart; SEP-10 alone.
    memo: Option<String>,
    /// The domain that the login is for, if it is named.
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
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Tokens {
    /// What `Authorization: Bearer` carries.
    token: String,
    /// When it ends, in Unix seconds.
    expires_at: u64,
    /// What the next tokens are asked with; good once.
    refresh_token: String,
    /// When the session can no longer be refreshed, in Unix seconds.
    session_expires_at: u64,
}

/// Leads to the login (SEP-1).
#[utoipa::path(get, path = "/.well-known/stellar.toml", tag = "login",
    responses((status = 200, content_type = "text/plain", body = String,
        description = "SEP-1.")),
)]
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

/// Gives a challenge for an account (SEP-10).
#[utoipa::path(get, path = "/auth", tag = "login",
    params(ChallengeQuery),
    responses((status = 200, body = TransactionChallenge, description = "To be signed.")),
)]
async fn sep10_challenge(
    State(login): Shared,
    query: Result<Query<ChallengeQuery>, QueryRejection>,
) -> Result<Json<TransactionChallenge>> {
    let query = read_query(query)?;
    let client = sep10::Client::read(query.account(&login)?, query.memo.as_deref())?;
    let transaction = sep10::challenge(&login, client)?;
    let network_passphrase = login.network.passphrase().to_owned();
    Ok(Json(TransactionChallenge { transaction, network_passphrase }))
}

/// Takes the signed challenge of an account (SEP-10).
#[utoipa::path(post, path = "/auth", tag = "login",
    request_body = SignedTransaction,
    responses((status = 200, body = Tokens, description = "The session's tokens.")),
)]
async fn sep10_answer(
    State(login): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let text = member(&headers, &read(body)?, "transaction")?;
    let proof = sep10::verify(&login, &text).await?;
    begin(login, proof).await
}

/// Gives a challenge for a contract account (SEP-45).
#[utoipa::path(get, path = "/sep45", tag = "login",
    params(ChallengeQuery),
    responses((status = 200, body = EntriesChallenge, description = "To be signed.")),
)]
async fn sep45_challenge(
    State(login): Shared,
    query: Result<Query<ChallengeQuery>, QueryRejection>,
) -> Result<Json<EntriesChallenge>> {
    let query = read_query(query)?;
    let entries = sep45::challenge(&login, query.account(&login)?).await?;
    let network_passphrase = login.network.passphrase().to_owned();
    Ok(Json(EntriesChallenge { authorization_entries: entries, network_passphrase }))
}

/// Takes the signed challenge of a contract account (SEP-45).
#[utoipa::path(post, path = "/sep45", tag = "login",
    request_body = SignedEntries,
    responses((status = 200, body = Tokens, description = "The session's tokens.")),
)]
async fn sep45_answer(
    State(login): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let text = member(&headers, &read(body)?, "authorization_entries")?;
    let proof = sep45::verify(&login, &text).await?;
    begin(login, proof).await
}

/// Exchanges a refresh token for the next tokens.
#[utoipa::path(post, path = "/auth/refresh", tag = "login",
    request_body = RefreshRequest,
    responses((status = 200, body = Tokens, description = "The session's tokens.")),
)]
async fn refresh(
    State(login): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let text = member(&headers, &read(body)?, "refresh_token")?;
    let claims = login.tokens.read_refresh(&text)?;
    // In a task of its own: a client that hangs up must not leave a transaction open in the pool.
    let db = login.db.clone();
    let rotating = async move { session::rotate(&db, claims.sid, claims.number).await };
    let rotated = tokio::spawn(rotating.in_current_span());
    tokens(&login, &rotated.await.map_err(broken)??)
}

/// Ends this session, or every one of its subject.
#[utoipa::path(post, path = "/auth/logout", tag = "login",
    request_body = Option<LogoutRequest>,
    responses((status = 204, description = "They have ended.")),
)]
async fn log_out(
    State(login): Shared,
    caller: Caller,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode> {
    let Some(id) = caller.session() else { return Ok(StatusCode::NO_CONTENT) };
    let body = read(body)?;
    let everywhere = match body.is_empty() {
        true => false,
        false => match body_members(&body)?.get("everywhere").copied() {
            Some("true") => true,
            Some("false") => false,
            _ => return Err(invalid("everywhere: expected true or false")),
        },
    };
    if everywhere {
        let subject = session::subject(&login.db, id).await?;
        session::revoke_all(&login.db, &subject).await?;
    } else {
        session::revoke(&login.db, id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Says who calls.
#[utoipa::path(get, path = "/auth/session", tag = "login",
    responses((status = 200, body = WhoAmI, description = "The caller.")),
)]
async fn who_am_i(caller: Caller) -> Result<Json<WhoAmI>> {
    let (account, role) = caller
        .account()
        .ok_or_else(|| Error::refused(Problem::Unauthenticated, "this request carries no login"))?;
    Ok(Json(WhoAmI { account: account.to_string(), role }))
}

async fn begin(login: Arc<Login>, proof: Proof) -> Result<Response> {
    let shared = login.clone();
    let beginning = async move { session::begin(&shared, &proof).await };
    let begun = tokio::spawn(beginning.in_current_span());
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
    body.map_err(|rejection| unread_body(rejection, MAX_BODY_BYTES))
}

/// One text of a body that is JSON or a form; SEP-10 and SEP-45 demand both.
fn member(headers: &HeaderMap, body: &Bytes, name: &str) -> Result<String> {
    let found = if kind(headers) == FORM {
        let mut named = url::form_urlencoded::parse(body).filter(|(key, _)| key == name);
        let found = named.next().map(|(_, value)| value.into_owned());
        if named.next().is_some() {
            return Err(invalid(format!("{name}: appears twice")));
        }
        found
    } else {
        let text = body_members(body)?.get(name).copied();
        text.and_then(|text| serde_json::from_str(text).ok())
    };
    found.ok_or_else(|| invalid(format!("{name}: expected a text")))
}

fn kind(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

fn broken(error: tokio::task::JoinError) -> Error {
    Error::Broken(format!("a login's task ended early: {error}"))
}
