//! The one way out of a guarded module (E1–E7).
//!
//! A module that declares services speaks plain HTTP to a proxy on this machine; the guard lets it
//! reach nothing else. The proxy holds TLS and credentials, counts calls and tokens by the
//! services' own records, refuses what could pass a budget before it leaves, and keeps evidence of
//! every call.
//!
//! It promises:
//!
//! - No credential reaches the module: what it sends in a credential's place is dropped, and what a
//!   service echoes is removed from its answer; neither the content nor the timing of an answer
//!   reveals a part of it ([`secret`], [`scrub`]).
//! - Nothing leaves that could pass the budget; what is charged never passes it ([`meter`]).
//! - Tokens are what the service reported. What is not certain is not charged, and said
//!   ([`record`]).
//! - What is unknown is refused: endpoints, members, parameters of a query, encodings ([`bound`],
//!   [`route`]).
//!
//! Reading order: [`route`] (what may be asked of whom), [`bound`] and [`record`] (what a request
//! may use, and what an answer says it used), [`meter`], [`proxy`] (the server), [`admit`] (the
//! checks before a request is sent), [`call`] (one request from its head to the end of its
//! answer), [`evidence`], [`replay`] (recorded answers).

pub mod route;
mod body;
pub mod bound;
pub mod record;
mod sse;
mod decode;
mod text;
pub mod secret;
mod reading;
mod scrub;
pub mod meter;
pub mod evidence;
pub mod replay;
mod refusal;
mod headers;
mod admit;
pub mod call;
pub mod proxy;

pub use meter::Meter;
pub use proxy::{Engine, Plan, Proxy, Report, Source};
pub use route::{Allowance, Limits, Route};
pub use secret::Credential;
