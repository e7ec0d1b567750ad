//! Who calls, and what that caller may do. Handlers ask; nothing is answered without asking.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use stellar::Address;
use tonic::metadata::MetadataMap;
use uuid::Uuid;
use wire::Problem;
use wire::view::RunPriority;

use crate::auth::{Access, Login, session};
use crate::error::{Error, Result};
use crate::model::run::Run;

/// In gRPC metadata: the access token of the user on whose behalf a service calls.
pub const USER_TOKEN: &str = "lumio-user-token";

/// What a caller is to this runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees and starts runs of one account.
    User,
    /// Sees every run and may cancel it. Spends no money but their own.
    Operator,
}

/// Marks a request for the methods of a route (`OPTIONS`), which needs no login.
#[derive(Debug, Clone, Copy)]
pub struct AsksMethods;

/// One caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Callers do not log in (`RUNNER_AUTH=none`).
    Anyone,
    /// A service of the operator's, by a token of `RUNNER_GRPC_TOKENS`.
    Service,
    /// An account that has logged in.
    Account { account: Address, part: Option<String>, role: Role, session: Uuid },
}

/// Which runs a list is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only runs of this account.
    pub user: Option<String>,
    /// Of these, only runs that this part of the account asked for.
    pub subject: Option<String>,
}

impl Caller {
    /// The caller of an HTTP request.
    ///
    /// # Errors
    ///
    /// [`Problem::Unauthenticated`], and [`Error::Database`]: what cannot be looked up is not
    /// accepted.
    async fn of_http(access: &Access, headers: &HeaderMap) -> Result<Self> {
        let Access::Login(login) = access else { return Ok(Self(Kind::Anyone)) };
        Self::of_token(login, bearer(headers)?).await
    }

    /// The caller of a gRPC request, whose service token the server has checked.
    ///
    /// # Errors
    ///
    /// As for HTTP, when the service names a user.
    pub async fn of_grpc(access: &Access, metadata: &MetadataMap) -> Result<Self> {
        let Access::Login(login) = access else { return Ok(Self(Kind::Anyone)) };
        match metadata.get(USER_TOKEN) {
            None => Ok(Self(Kind::Service)),
            Some(token) => Self::of_token(login, token.to_str().unwrap_or_default()).await,
        }
    }

    async fn of_token(login: &Login, token: &str) -> Result<Self> {
        let claims = login.tokens.read_access(token)?;
        // The session is looked up each time, so that a revoked one ends at once.
        let account = session::account(&login.db, claims.sid).await?;
        let address = account
            .parse::<Address>()
            .map_err(|_| Error::Broken("a session's account is no address".to_owned()))?;
        // A custodian's users share one account and are told apart by `M…` or a memo: each sees its
        // own runs, and none of them operates the runner.
        let part = Some(claims.sub).filter(|subject| *subject != account);
        let role = if part.is_some() { Role::User } else { login.role(&address) };
        Ok(Self(Kind::Account { account: address, part, role, session: claims.sid }))
    }

    /// Refuses a caller who may not see the run. Whether such a run exists stays unsaid.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`].
    pub fn may_see(&self, run: &Run) -> Result<()> {
        match &self.0 {
            Kind::Anyone | Kind::Service | Kind::Account { role: Role::Operator, .. } => Ok(()),
            Kind::Account { account, part, .. }
                if *account == run.request.user && (part.is_none() || *part == run.subject) =>
            {
                Ok(())
            }
            Kind::Account { .. } => Err(Error::refused(Problem::NotFound, "Run not found")),
        }
    }

    /// Refuses a caller who may not spend `owner`'s money: only the account itself may (R4).
    ///
    /// # Errors
    ///
    /// [`Problem::Forbidden`].
    pub fn may_spend(&self, owner: Address) -> Result<()> {
        match &self.0 {
            Kind::Anyone => Ok(()),
            Kind::Account { account, .. } if *account == owner => Ok(()),
            Kind::Account { account, .. } => Err(forbidden(format!(
                "the token is {account}'s, and only the account that pays for a run may start it"
            ))),
            Kind::Service => Err(forbidden(format!(
                "a service starts a run on behalf of its user: send the user's token as \
                 {USER_TOKEN}"
            ))),
        }
    }

    /// Whether the caller may give a run this priority. Only operators may put a run before others'.
    ///
    /// # Errors
    ///
    /// [`Problem::Forbidden`].
    pub fn may_ask(&self, priority: Option<RunPriority>) -> Result<()> {
        if priority == Some(RunPriority::High) && !self.sees_all() {
            return Err(forbidden(
                "priority: only an operator may ask for `high`; send `low`, `normal` or nothing",
            ));
        }
        Ok(())
    }

    /// The account that a list is narrowed to, when the caller asked for `asked`.
    ///
    /// # Errors
    ///
    /// [`Problem::Forbidden`] for another account than the caller's own.
    pub fn list_of(&self, asked: Option<&str>) -> Result<Scope> {
        match &self.0 {
            Kind::Account { account, part, role: Role::User, .. } => match asked {
                Some(other) if other != account.to_string() => Err(forbidden(format!(
                    "the token is {account}'s, and lists no runs of another account"
                ))),
                Some(_) | None => {
                    Ok(Scope { user: Some(account.to_string()), subject: part.clone() })
                }
            },
            Kind::Anyone | Kind::Service | Kind::Account { role: Role::Operator, .. } => {
                Ok(Scope { user: asked.map(str::to_owned), subject: None })
            }
        }
    }

    /// Whether the session that a long answer began with still lasts. What cannot be looked up
    /// does not.
    pub async fn is_still_known(&self, access: &Access) -> bool {
        match (&self.0, access) {
            (Kind::Account { session, .. }, Access::Login(login)) => {
                session::account(&login.db, *session).await.is_ok()
            }
            _ => true,
        }
    }

    /// The part of an account that calls, if it is not the account itself.
    pub fn part_of_account(&self) -> Option<&str> {
        match &self.0 {
            Kind::Account { part, .. } => part.as_deref(),
            Kind::Anyone | Kind::Service => None,
        }
    }

    /// Whose an input is that this caller stores: no other caller may name it. Empty where callers do
    /// not log in.
    ///
    /// # Errors
    ///
    /// [`Problem::Forbidden`] for a service that does not call on behalf of a user.
    pub fn owner_of_inputs(&self) -> Result<String> {
        match &self.0 {
            Kind::Account { account, part, .. } => {
                Ok(part.clone().unwrap_or_else(|| account.to_string()))
            }
            Kind::Anyone => Ok(String::new()),
            Kind::Service => Err(forbidden(format!(
                "an input is a user's: send the user's token as {USER_TOKEN}"
            ))),
        }
    }

    /// Whether what concerns all users is shown.
    pub const fn sees_all(&self) -> bool {
        !matches!(self.0, Kind::Account { role: Role::User, .. })
    }

    /// The session, for callers that have one.
    pub const fn session(&self) -> Option<Uuid> {
        match &self.0 {
            Kind::Account { session, .. } => Some(*session),
            Kind::Anyone | Kind::Service => None,
        }
    }

    /// Account and role, for callers that have logged in.
    pub const fn account(&self) -> Option<(Address, Role)> {
        match &self.0 {
            Kind::Account { account, role, .. } => Some((*account, *role)),
            Kind::Anyone | Kind::Service => None,
        }
    }
}

/// Lets a request through with its [`Caller`], or answers why not. Every route behind it has one.
pub async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    // No route has the method of such a request: only the names of its methods are answered.
    if request.extensions().get::<AsksMethods>().is_some() {
        return next.run(request).await;
    }
    match Caller::of_http(&access, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => challenge(error.into_response()),
    }
}

/// RFC 6750: a refusal says which kind of proof is expected.
fn challenge(mut answer: Response) -> Response {
    if answer.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"lumio-runner\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    answer
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        // A route outside of the guard gets no caller, and so answers no request.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Error::Broken(format!("{} is not behind the login's guard", parts.uri.path()))
        })
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str> {
    let missing = || {
        let text = "this needs a login: send Authorization: Bearer TOKEN (see \
                    /.well-known/stellar.toml, or run: lumio login)";
        Error::refused(Problem::Unauthenticated, text)
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        let text = "two Authorization headers were sent; send one";
        return Err(Error::refused(Problem::Unauthenticated, text));
    }
    let text = value.to_str().unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(missing()) }
}

fn forbidden(text: impl Into<String>) -> Error {
    Error::refused(Problem::Forbidden, text)
}
