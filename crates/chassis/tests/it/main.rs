//! What the chassis promises to services, against a real Postgres, NATS and gRPC transport.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod bus;
mod echo;
mod env_files;
mod fixture;
mod grpc;
mod grpc_limits;
mod http;
mod health;
mod outbox;
mod postgres;
mod postgres_errors;
mod service;
mod trace;
