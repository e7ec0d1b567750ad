//! The service and the local commands as their callers see them: real Postgres, NATS and Node, real
//! modules in the real guard.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod fixture;
mod sql_metadata;
mod egress;
mod execute;
mod refused;
mod refilling;
mod repository;
mod ordinary;
mod parity;
mod again;
mod attest;
mod restart;
mod ship;
mod command;
mod capture;
mod clients;
mod determinism;
mod defects;
mod edges;
mod gates;
mod processors;
mod interrupt;
mod leaving;
mod unread;
mod secrets;
mod judgements;
mod surroundings;
mod traced;
