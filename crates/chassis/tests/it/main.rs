//! What the chassis promises to services, against a real Postgres, NATS and gRPC transport.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod bus;
mod echo;
mod fixture;
mod grpc;
mod http;
mod health;
mod outbox;
mod postgres;
mod service;
mod trace;
