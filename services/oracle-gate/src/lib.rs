//! oracle-gate keeps module trees, seals what runs leave behind, and checks what is claimed of it.
//!
//! It is the only process that writes packs, seals and facts views, and it takes nothing on trust:
//! what it seals is what a signed statement names, byte for byte (O13); what it lets pass is what
//! it has recomputed itself (O2). It promises:
//!
//! 1. one seal for one attempt of a run, whatever crashes between ([`runs`], [`sealing`]);
//! 2. a pack is unsealed or sealed, never half, and never changed afterwards ([`sealing`],
//!    [`probe`]);
//! 3. a check that cannot know says so and does not pass ([`mod@check`], [`reasons`]);
//! 4. nothing named by a document leads outside the store ([`locator`], [`objects`]).
//!
//! Reading order: [`reasons`], [`objects`], [`locator`], [`profile`], [`catalogue`]; then
//! [`mod@check`]; then [`sealing`], [`runs`], [`modules`], [`bundle`]; then [`governance`],
//! [`mod@audit`], [`collect`], [`policy`]; last [`grpc`] and [`store`].

pub mod reasons;
pub mod objects;
pub mod probe;
pub mod locator;
pub mod catalogue;
pub mod profile;
pub mod check;
pub mod sealing;
pub mod retention;
pub mod governance;
pub mod audit;
pub mod collect;
pub mod policy;
pub mod posture;
pub mod modules;
pub mod inputs;
pub mod runs;
pub mod bundle;
pub mod store;
pub mod error;
pub mod config;
pub mod grpc;
pub mod crash;
pub mod cli;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use chassis::grpc::Server;
use chassis::{Bus, Health, Service};
use seal::StoreProbe;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::{OnceCell, Semaphore};
use wire::pb::oracle::v1::oracle_gate_server::OracleGateServer;

use crate::check::Rules;
use crate::config::Config;
use crate::error::Error;
use crate::objects::{Meter, Objects};

/// Packs, and apart from them uploads, in memory at once: each may hold up to 256 MiB.
const SLOTS: usize = 2;
/// Largest gRPC message taken: two statements, a plan and a record.
const MAX_MESSAGE_BYTES: usize = 12 << 20;

/// What every call works with.
#[derive(Clone)]
pub struct Gate {
    /// Intents, results, events.
    pub db: PgPool,
    /// The store.
    pub objects: Objects,
    /// What is shared with module-gate: module trees, and outputs staged for sealing. The store
    /// itself where that is a folder.
    pub exchange: Objects,
    /// By what views are judged; always strict.
    pub rules: Rules,
    /// Revision of the gate policy.
    pub policy_rev: String,
    bus_prefix: String,
    probe: Arc<OnceCell<StoreProbe>>,
    pub(crate) seal_slots: Arc<Semaphore>,
    pub(crate) upload_slots: Arc<Semaphore>,
}

impl Gate {
    /// A gate over a migrated database and a store.
    pub fn new(db: PgPool, objects: Objects, config: &Config) -> Self {
        Self {
            db,
            exchange: objects.clone(),
            objects,
            rules: Rules::strict(&config.profile, config.keys.clone()),
            policy_rev: config.profile.policy_rev.clone(),
            bus_prefix: config.nats_prefix.clone(),
            probe: Arc::default(),
            seal_slots: Arc::new(Semaphore::new(SLOTS)),
            upload_slots: Arc::new(Semaphore::new(SLOTS)),
        }
    }

    /// The same gate with modules and staged outputs in another location than the store.
    #[must_use]
    pub fn with_exchange(self, exchange: Objects) -> Self {
        Self { exchange, ..self }
    }

    /// The same gate for one call that reports what is read and written for it.
    #[must_use]
    pub fn metered(&self) -> (Self, Arc<Meter>) {
        let meter = Arc::<Meter>::default();
        let (objects, exchange) = (self.objects.metered(&meter), self.exchange.metered(&meter));
        (Self { objects, exchange, ..self.clone() }, meter)
    }

    /// Prefix of the subjects of its events.
    pub fn bus_prefix(&self) -> &str {
        &self.bus_prefix
    }

    /// What the store proved of itself, once in the life of the process (O10).
    ///
    /// # Errors
    /// When the store fails under the probe; the next call probes again.
    pub async fn probe(&self, now: OffsetDateTime) -> Result<StoreProbe, Error> {
        let scratch = hex::encode(rand::random::<[u8; 16]>());
        let probed =
            self.probe.get_or_try_init(|| probe::run(&self.objects, &scratch, now)).await?;
        Ok(probed.clone())
    }
}

/// Starts the service; it runs in `service` until that is stopped. Answers its address.
///
/// # Errors
/// When a setting turns out not to work; the text names it.
pub async fn start(service: &Service, config: Config) -> anyhow::Result<SocketAddr> {
    // The port first, so that a second instance ends before it touches store and database.
    let bound = chassis::service::bind(config.bind, config::BIND)?;
    let address = bound.address();
    let missing = || "an s3:// root needs credentials".to_owned();
    let objects =
        Objects::open(&config.location, || config.credentials.clone().ok_or_else(missing))
            .with_context(|| format!("{}: cannot use {}", config::ROOT, config.location))?;
    let db = chassis::postgres::connect(config.database_url.expose()).await?;
    store::migrate(&db).await.context("DATABASE_URL: cannot bring the schema up to date")?;
    let bus = Bus::connect(config.nats_url.expose(), &config.nats_prefix).await?;

    let health = Health::new();
    health.watch_postgres(service, &db);
    health.watch_nats(service, &bus);
    let stream = bus.clone().provide(wire::event::Family::Seal, service.stop());
    service.spawn("stream", stream);
    service.spawn("relay", chassis::outbox::relay(db.clone(), bus, service.stop()));

    let mut gate = Gate::new(db, objects, &config);
    if let Some(folder) = &config.exchange {
        let exchange = Objects::local(folder).with_context(|| config::EXCHANGE)?;
        gate = gate.with_exchange(exchange);
    }
    let gate = Arc::new(gate);
    // Before any call is taken, so that no call's own intent is among them.
    let open = store::unsettled(&gate.db).await.context("cannot look for open seals")?;
    let (settling, stop) = (Arc::clone(&gate), service.stop());
    service.spawn("open seals", async move {
        tokio::select! {
            settled = runs::settle(&settling, open) => {
                if let Err(error) = settled {
                    tracing::warn!("cannot look for open seals: {error}");
                }
            }
            () = stop.cancelled() => {}
        }
        Ok(())
    });
    let calls =
        OracleGateServer::new(grpc::Calls::new(gate)).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let server = Server::new(&config.tokens, &health).add_service(calls);
    service.spawn("grpc", server.serve(bound.listen()?, service.stop()));
    tracing::info!("oracle-gate listens on {address}");
    Ok(address)
}
