//! The runner: takes a run from the queue to a receipt on chain, exactly once, however often it
//! dies.
//!
//! It holds the chain signing key, the state of runs in Postgres and the HTTP gateway. It never
//! holds untrusted code, write access to the store, or the attestation key: usage comes signed from
//! module-gate, the output hash from oracle-gate, and everything it claims can be checked without
//! it.
//!
//! What it promises: one open, one execution that counts, one seal, one settlement and one receipt
//! for an attempt; nothing new is signed before the old can no longer land; what only a person can
//! decide goes to a person. Reading order: [`model::state`], [`runs::steps`], [`chain::decide`],
//! [`runs::sending`], [`chain::follow`], then the ways in ([`gateway`], [`grpc`]) and [`start`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chassis::service::{Bound, ListenSettings, bind};
use chassis::{Bus, Health, Service, outbox, postgres};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use stellar::Rpc;
use stellar::registry::Registry;
use stellar::vault::Vault;
use tokio::sync::{Mutex, OnceCell};
use wire::event::Family;
use wire::pb::runner::v1::runner_server::RunnerServer;

use crate::auth::Access;
use crate::chain::channels::DerivedKeys;
use crate::chain::client::ChainClient;
use crate::chain::pulse::Pulse;
use crate::chain::shortages::Shortages;
use crate::chain::store::calls;
use crate::config::{Addresses, Config, Role};
use crate::event_reader::EventReader;
use crate::gates::Gates;
use crate::gateway::accept::Acceptor;
use crate::gateway::answers::Answers;
use crate::gateway::commands::RunCommands;
use crate::gateway::console::Console;
use crate::gateway::intake::Intake;
use crate::gateway::limits::Limits;
use crate::gateway::market::Market;
use crate::gateway::operator::Reconciliation;
use crate::gateway::rules::Hosts;
use crate::gateway::streams::Streams;
use crate::gateway::summary::About;
use crate::gateway::{Gateway, Reach};
use crate::grpc::{Counted, Grpc};
use crate::model::state::Lane;
use crate::probes::ProbeTargets;
use crate::runs::sending;
use crate::runs::signal::{LastPoll, WorkSignal};
use crate::runs::steps::RunDriver;
use crate::runs::worker::{Leases, keep_alive, work};
use crate::sight::Followed;
use crate::signer::ChainKeys;

pub mod auth;
pub mod config;
pub mod crash;
pub mod error;
pub mod model;
pub mod signer;
pub mod rows;
pub mod view;
pub mod wakeups;
pub mod chain;
pub mod gates;
pub mod input_check;
pub mod sight;
pub mod runs;
pub mod event_reader;
pub mod gateway;
pub mod grpc;
pub mod metrics;
pub mod probes;
pub mod startup;
pub mod operations;
pub mod cli;

/// The schema, oldest first.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// Connections to Postgres for the requests of clients; two of them accept runs.
const GATEWAY_CONNECTIONS: u32 = 9;

/// The longest pause between two looks for a new ledger.
const SIGHT_POLL: Duration = Duration::from_secs(1);

/// A runner that has started.
#[derive(Debug, Clone)]
pub struct Started {
    /// Where the gateway listens.
    pub http: SocketAddr,
    /// Where gRPC listens, if it does.
    pub grpc: Option<SocketAddr>,
}

/// Starts every task of the runner on `service`.
///
/// # Errors
///
/// When a setting is wrong or something it names is not there; one line that begins with the
/// setting.
pub async fn start(service: &Service, mut config: Config) -> anyhow::Result<Started> {
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    if let Some(point) = &config.crash_at {
        crash::arm(point);
    }
    // The ports first, so that a second instance ends before it touches the database. A client that
    // waits for them to open finds a database that is migrated.
    let settings = |port| ListenSettings { host: "RUNNER_BIND", port };
    let http = bind(config.http, settings("RUNNER_PORT"))?;
    let grpc = match config.grpc.take().filter(|_| config.role != Role::Engine) {
        Some((address, tokens)) => Some((bind(address, settings("RUNNER_GRPC_PORT"))?, tokens)),
        None => None,
    };
    // Two pools: requests of clients never wait for the engine's connections, nor the engine for
    // theirs.
    let db = postgres::connect(&config.database_url).await?;
    let requests_db = postgres::connect_at_most(&config.database_url, GATEWAY_CONNECTIONS).await?;
    postgres::explain(service, &requests_db);
    // Every process migrates: whichever comes first, under a lock.
    let migrated = postgres::migrate(&db, &MIGRATIONS).await;
    migrated.context("DATABASE_URL: cannot bring the schema up to date")?;
    let bus = Bus::connect(&config.nats_url, &config.policy.nats_prefix).await?;
    let gates = config.gates.as_ref().map(connect).transpose()?;
    let started =
        Started { http: http.address(), grpc: grpc.as_ref().map(|(bound, _)| bound.address()) };
    let intake = Intake::new(config.max_queue, config.policy.deadline_secs);
    let (work_signal, last_poll, health) =
        (WorkSignal::default(), LastPoll::default(), Health::new());
    let console = config.console_dir.as_deref().map(|folder| {
        let connect = config.console_connect.iter().cloned().chain(browser_origin(&config));
        Console::read(folder, &connect.collect::<Vec<_>>()).context("RUNNER_CONSOLE_DIR")
    });
    let console = console.transpose()?;
    // It ends with the last way by which requests come in, so that what was handed over is answered.
    let (acceptor, accepting) = Acceptor::new(requests_db.clone(), work_signal.clone());
    service.spawn("intake", accepting.serve());
    let gateway = Arc::new(Gateway {
        commands: RunCommands {
            db: requests_db.clone(),
            work_signal: work_signal.clone(),
            intake: intake.clone(),
            acceptor,
            nats_prefix: config.policy.nats_prefix.clone(),
        },
        health: health.clone(),
        access: access(&mut config, &requests_db, started.http)?,
        gates: gates.clone(),
        about: about(&config, &last_poll),
        streams: Streams::new(service.stop()),
        answers: Answers::default(),
        market: market(&config, gates.clone())?,
        reconciliation: Reconciliation::new(bus.clone()),
        browser_rpc_url: config.browser_rpc_url.clone(),
        passkey_wasm_hash: config.passkey_wasm_hash,
        followed: Followed::new(&config.network, config.vault, config.registry, config.runner),
    });
    let limits = Limits::new(config.rates);
    let (role, poll) = (config.role, config.poll);
    let lanes = [(Lane::Chain, config.workers), (Lane::Gates, config.executions)];
    let cors = config.cors_origin.clone();
    let watched_rpc = rpc(&config)?;
    // On any other address a proxy decides by which names it is called.
    let public_host = config.public_host.clone();
    let hosts = config.http.ip().is_loopback().then(|| Arc::new(Hosts::loopback(public_host)));
    let shortages = Shortages::default();
    let watched = ProbeTargets {
        db: db.clone(),
        rpc: Arc::new(watched_rpc),
        gates: gates.clone(),
        intake,
        shortages: (role != Role::Gateway).then(|| shortages.clone()),
        followed: Followed::new(&config.network, config.vault, config.registry, config.runner),
        channels: config.keys.as_ref().map(ChainKeys::channels).unwrap_or_default(),
        signers: config.keys.clone().filter(|keys| keys.token.is_some()),
        channel_least: config.channel_least,
    };
    let followed = watched.followed.clone();
    let sight_rpc = watched.rpc.clone();
    probes::spawn(service, &health, &bus, watched);
    for family in [Family::Run, Family::Chain] {
        service.spawn("stream", bus.clone().provide(family, service.stop()));
    }
    service.spawn("outbox", outbox::relay(db.clone(), bus, service.stop()));
    let others = work_signal.clone().wake_others(db.clone(), service.stop());
    service.spawn("wake-ups of others", others);

    if role != Role::Gateway {
        let signal = work_signal.clone();
        let wake = move || signal.notify_all();
        let heard = wakeups::listen(db.clone(), wake, service.stop());
        service.spawn("wake-ups", heard);
        let reader = EventReader {
            db: db.clone(),
            rpc: sight_rpc,
            followed,
            nats_prefix: config.policy.nats_prefix.clone(),
            // Nothing is known of a ledger before it is read: a slow poll would make it late.
            poll: poll.min(SIGHT_POLL),
        };
        service.spawn("event reader", reader.follow(service.stop()));
    }
    if let Some(driver) = run_driver(config, db, gates, shortages)?.map(Arc::new) {
        let is_known = startup::check(&driver.chain).await?;
        // Before its workers look for runs: other engines leave its runs to it from now on.
        let runner = driver.chain.runner.address().to_string();
        runs::store::serve_identity(&driver.db, &runner).await?;
        // What an operator has mended is tried at once after a start.
        calls::end_pauses(&driver.db).await?;
        for account in driver.chain.accounts() {
            let (driver, work_signal, stop) = (driver.clone(), work_signal.clone(), service.stop());
            service.spawn(format!("channel {account}"), async move {
                if !is_known {
                    startup::wait(&driver.chain, &stop).await?;
                }
                sending::serve(driver, account, work_signal, stop).await
            });
        }
        let (pulse, stop) = (driver.clone(), service.stop());
        service.spawn("pulse", async move {
            pulse.chain.keep_pulse(&stop).await;
            anyhow::Ok(())
        });
        let added = sending::serve_added(driver.clone(), work_signal.clone(), poll, service.stop());
        service.spawn("added channels", added);
        let recovering =
            sending::recover_abandoned(driver.clone(), work_signal.clone(), poll, service.stop());
        service.spawn("calls", recovering);
        let leases = Leases::default();
        let kept_alive = keep_alive(driver.clone(), leases.clone(), service.stop());
        service.spawn("claims", kept_alive);
        for (lane, workers) in lanes {
            let (driver, leases, work_signal) =
                (driver.clone(), leases.clone(), work_signal.clone());
            let (last_poll, stop) = (last_poll.clone(), service.stop());
            service.spawn(format!("workers of the {} lane", lane.name()), async move {
                if !is_known {
                    startup::wait(&driver.chain, &stop).await?;
                }
                work(driver, (lane, workers), leases, work_signal, last_poll, poll, stop).await
            });
        }
    }
    if role == Role::Engine {
        serve_http(service, http, health.router())?;
        return Ok(started);
    }
    let feed = gateway.streams.feed.clone();
    service.spawn("events", feed.run(requests_db, service.stop()));
    let reach = Reach { cors_origin: &cors, hosts, limits, console: console.as_ref() };
    let router = gateway::router(gateway.clone(), reach).context("RUNNER_CORS_ORIGIN")?;
    serve_http(service, http, router)?;
    if let Some((bound, tokens)) = grpc {
        let runner = RunnerServer::new(Grpc(gateway))
            .max_decoding_message_size(gateway::create_request::MAX_BODY_BYTES);
        let server = chassis::grpc::Server::new(&tokens, &health).add_service(Counted(runner));
        service.spawn("grpc", server.serve(bound.listen()?, service.stop()));
    }
    tracing::info!("the gateway listens on {}", started.http);
    Ok(started)
}

fn serve_http(service: &Service, bound: Bound, router: axum::Router) -> anyhow::Result<()> {
    let limits = chassis::http::Limits::default();
    service.spawn("http", chassis::http::serve(bound.listen()?, router, limits, service.stop()));
    Ok(())
}

/// Takes the login's settings out of the configuration. Without RUNNER_PUBLIC_URL, clients reach
/// the gateway where it listens.
fn access(config: &mut Config, db: &PgPool, http: SocketAddr) -> anyhow::Result<Access> {
    let mode = std::mem::replace(&mut config.auth, auth::Mode::None);
    let local_url = format!("http://localhost:{}", http.port());
    Access::new(mode, (&config.network, &config.rpc_url), db, &local_url)
}

fn connect(gates: &Addresses) -> anyhow::Result<Gates> {
    let module = chassis::grpc::client(&gates.module.0, Some(&gates.module.1));
    let oracle = chassis::grpc::client(&gates.oracle.0, Some(&gates.oracle.1));
    Ok(Gates::new(
        module.context("RUNNER_MODULE_GATE_URL")?,
        oracle.context("RUNNER_ORACLE_GATE_URL")?,
    ))
}

fn about(config: &Config, last_poll: &LastPoll) -> About {
    About {
        runner: config.runner.to_string(),
        contract_id: config.vault.to_string(),
        agent_registry_id: config.registry.to_string(),
        network_passphrase: config.network.passphrase().to_owned(),
        rpc_url: public_url(&config.rpc_url),
        poll_interval_ms: u64::try_from(config.poll.as_millis()).unwrap_or(u64::MAX),
        last_poll: last_poll.clone(),
    }
}

fn market(config: &Config, gates: Option<Gates>) -> anyhow::Result<Market> {
    Ok(Market {
        rpc: rpc(config)?,
        vault: Vault(config.vault),
        registry: Registry(config.registry),
        runner: config.runner,
        fee: config.policy.runner_fee,
        worth: config.policy.worth,
        attestation_keys: config.policy.attestation_keys.clone(),
        gates,
        token: OnceCell::new(),
        modules: std::sync::Mutex::default(),
    })
}

/// The origin of the node that pages of the console ask.
fn browser_origin(config: &Config) -> Option<String> {
    let url = url::Url::parse(config.browser_rpc_url.as_deref()?).ok()?;
    Some(url.origin().ascii_serialization())
}

/// The node's address as anybody may see it (R9). User, password, query and fragment may be
/// secrets, and so may any part of the path but the usual words.
pub(crate) fn public_url(url: &str) -> String {
    const USUAL: [&str; 12] = [
        "",
        "api",
        "futurenet",
        "json-rpc",
        "jsonrpc",
        "mainnet",
        "public",
        "rpc",
        "soroban",
        "soroban-rpc",
        "standalone",
        "testnet",
    ];
    let Ok(url) = url::Url::parse(url) else { return String::new() };
    let origin = url.origin().ascii_serialization();
    let segments = url.path().trim_matches('/').split('/');
    let path: String = segments
        .map(|segment| if USUAL.contains(&segment) { segment } else { "…" })
        .filter(|segment| !segment.is_empty())
        .map(|segment| format!("/{segment}"))
        .collect();
    origin + &path
}

/// The nodes, the first of which is asked as long as it gives usable answers.
fn rpc(config: &Config) -> anyhow::Result<Rpc> {
    let made = Rpc::with_fallbacks(&config.rpc_url, &config.rpc_fallbacks);
    made.context("RUNNER_RPC_URL, RUNNER_RPC_FALLBACK_URLS")
}

/// What works on runs; `None` for a gateway alone, which has no key to sign with.
fn run_driver(
    config: Config,
    db: PgPool,
    gates: Option<Gates>,
    shortages: Shortages,
) -> anyhow::Result<Option<RunDriver>> {
    let policy = config.policy.clone();
    let Some(chain) = chain_client(config, db.clone(), shortages)? else { return Ok(None) };
    Ok(Some(RunDriver { db, chain, gates, policy, looking: Mutex::default() }))
}

/// What speaks with the network; `None` for a gateway alone.
pub(crate) fn chain_client(
    config: Config,
    db: PgPool,
    shortages: Shortages,
) -> anyhow::Result<Option<ChainClient>> {
    let rpc = rpc(&config)?;
    let Some(ChainKeys { runner, sources, token }) = config.keys else { return Ok(None) };
    if let Some(token) = token {
        token.load()?;
    }
    Ok(Some(ChainClient {
        rpc,
        network: config.network,
        runner,
        sources,
        vault: config.vault,
        registry: config.registry,
        fees: config.fees,
        transaction_secs: config.transaction_secs,
        db,
        owner: chassis::clock::new_uuid().to_string(),
        shortages,
        pulse: Pulse::default(),
        derived: DerivedKeys::default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::public_url;

    #[test]
    fn the_public_address_of_the_node_holds_no_secret() {
        for (url, public) in [
            ("http://localhost:8000", "http://localhost:8000"),
            ("http://localhost:8000/", "http://localhost:8000"),
            ("http://localhost:8000/rpc", "http://localhost:8000/rpc"),
            ("https://u:p@node.example/soroban/rpc?apikey=k#f", "https://node.example/soroban/rpc"),
            ("https://node.example/v2/0123abc", "https://node.example/…/…"),
        ] {
            assert_eq!(public_url(url), public);
        }
    }
}
