//! `runner doctor`: everything that a runner needs, looked at once, with what to do about it. It only
//! reads.

use std::time::Duration;

use chassis::postgres::in_time;
use chassis::{Bus, postgres};
use serde::Serialize;
use sqlx::PgPool;
use stellar::vault::Vault;
use stellar::{Address, Rpc};
use tokio::time::{Instant, sleep, timeout};
use wire::event::Family;

use crate::chain::store;
use crate::config::Config;
use crate::operations::nodes::{self, NodeReport, NodeState};
use crate::operations::{intake, watch};
use crate::probes;
use crate::sight::{self, Followed};
use crate::signer::ChainKeys;

/// How long one thing may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How old a node's newest ledger may be, in seconds of the wall clock.
const FRESH_SECS: u64 = 60;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// As it should be.
    Ok,
    /// It works, and should be looked at.
    Warning,
    /// It does not answer, so nothing is known.
    Unknown,
    /// It is wrong.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub state: Condition,
    /// What was found, and what to do if it is not well.
    pub text: String,
}

/// What was found, and what is wrong with it.
type Found = Result<String, (Condition, String)>;

/// Looks at everything that the settings name.
pub async fn examine(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    let db = add(&mut checks, "postgres", database(config)).await;
    if let Some(db) = &db {
        add_text(&mut checks, "schema", schema(db)).await;
    }
    add_text(&mut checks, "nats", bus(config)).await;
    let nodes = add_nodes(&mut checks, config, db.as_ref()).await;
    let rpc = match nodes {
        Ok(rpc) => rpc,
        Err(error) => {
            // Without its cause, which repeats the address: that may hold a secret.
            let text = format!("{error}: one of them is no address");
            checks.push(Check { name: "node", state: Condition::Bad, text });
            None
        }
    };
    if let Some(rpc) = &rpc {
        add_text(&mut checks, "contracts", contracts(config, rpc)).await;
        add_text(&mut checks, "runner", runner_account(config, rpc)).await;
        add_text(&mut checks, "channels", channels(config, db.as_ref(), rpc)).await;
    }
    if let Some(keys) = config.keys.as_ref().filter(|keys| keys.token.is_some()) {
        add_text(&mut checks, "signer", signer(keys)).await;
    }
    add_text(&mut checks, "gates", gates(config)).await;
    if let Some(db) = &db {
        add_text(&mut checks, "events", events(config, db)).await;
        add_text(&mut checks, "intake", paused(db)).await;
        add_text(&mut checks, "queue", queue(db)).await;
        add_text(&mut checks, "outbox", outbox(db)).await;
    }
    checks
}

async fn add<T>(
    checks: &mut Vec<Check>,
    name: &'static str,
    asking: impl Future<Output = Result<(T, String), (Condition, String)>>,
) -> Option<T> {
    let late = || Err((Condition::Unknown, "it took too long to answer".to_owned()));
    match timeout(PATIENCE + PATIENCE, asking).await.unwrap_or_else(|_| late()) {
        Ok((value, text)) => {
            checks.push(Check { name, state: Condition::Ok, text });
            Some(value)
        }
        Err((state, text)) => {
            checks.push(Check { name, state, text });
            None
        }
    }
}

async fn add_text(
    checks: &mut Vec<Check>,
    name: &'static str,
    asking: impl Future<Output = Found>,
) {
    add(checks, name, async { asking.await.map(|text| ((), text)) }).await;
}

fn unknown(error: impl std::fmt::Display) -> (Condition, String) {
    (Condition::Unknown, error.to_string())
}

fn bad(text: impl Into<String>) -> (Condition, String) {
    (Condition::Bad, text.into())
}

async fn database(config: &Config) -> Result<(PgPool, String), (Condition, String)> {
    let db = postgres::connect_at_most(&config.database_url, 2).await;
    let db = db.map_err(|error| (Condition::Bad, format!("{error:#}")))?;
    let version = sqlx::query_scalar!(r#"SELECT current_setting('server_version') AS "version!""#);
    let version = version.fetch_one(in_time(&db)).await.map_err(unknown)?;
    Ok((db, format!("version {version} answers")))
}

/// Whether the tables are those of this release.
async fn schema(db: &PgPool) -> Found {
    let there =
        sqlx::query_scalar!(r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "there!""#);
    let there = there.fetch_one(in_time(db)).await.map_err(unknown)?;
    if !there {
        return Err(bad("there are no tables; run `runner migrate`"));
    }
    // The driver makes this table: no migration has it, by which the compiler could check this.
    let applied = "SELECT version FROM _sqlx_migrations WHERE success";
    let applied: Vec<i64> =
        sqlx::query_scalar(applied).fetch_all(in_time(db)).await.map_err(unknown)?;
    let ours: Vec<i64> = crate::MIGRATIONS.iter().map(|migration| migration.version).collect();
    let missing: Vec<_> = ours.iter().filter(|version| !applied.contains(version)).collect();
    if !missing.is_empty() {
        return Err(bad(format!("migrations {missing:?} are missing; run `runner migrate`")));
    }
    match applied.iter().filter(|version| !ours.contains(version)).count() {
        0 => Ok(format!("{} migrations, all applied", ours.len())),
        newer => Err((Condition::Warning, format!("{newer} migrations are of a newer release"))),
    }
}

async fn bus(config: &Config) -> Found {
    let bus = Bus::connect(&config.nats_url, &config.policy.nats_prefix).await;
    let bus = bus.map_err(|error| bad(format!("{error:#}")))?;
    let give_up_at = Instant::now() + PATIENCE;
    while let Err(error) = bus.probe() {
        if Instant::now() >= give_up_at {
            return Err((Condition::Unknown, format!("{error}; see NATS_URL and the server")));
        }
        sleep(Duration::from_millis(100)).await;
    }
    for family in [Family::Run, Family::Chain] {
        let made = bus.ensure_stream(family).await;
        made.map_err(|error| bad(format!("{}; see deploy/nats/nats.conf", wire::causes(&error))))?;
    }
    Ok("connected; its streams are there".to_owned())
}

/// Looks at every node, and adds what was found. The first that can be relied on has the turn for
/// what is asked next; without one nothing is.
async fn add_nodes(
    checks: &mut Vec<Check>,
    config: &Config,
    db: Option<&PgPool>,
) -> anyhow::Result<Option<Rpc>> {
    let rpc = crate::rpc(config)?;
    let network = *config.network.id();
    // A database without tables has seen nothing.
    let known = match db {
        Some(db) => (
            store::high_water(db, network).await.unwrap_or_default(),
            store::landmark(db, network).await.unwrap_or_default(),
        ),
        None => (None, None),
    };
    let found = nodes::look(&rpc, network, known, PATIENCE).await;
    let first = |state| found.iter().position(|node| node.state == state);
    let usable = first(NodeState::Answers).or(first(NodeState::Behind));
    let best = usable.map(|place| found[place].state);
    let by_wall_clock = !config.network.is_standalone();
    checks.extend(found.iter().map(|node| {
        let (state, text) = judged(node, best, by_wall_clock);
        Check { name: "node", state, text }
    }));
    Ok(usable.map(|place| {
        rpc.turn_to(place);
        rpc
    }))
}

/// How bad it is that a node is so, where the `best` one that can be used is in this state. Only a
/// network that is meant to live `by_wall_clock` can be late because of it.
fn judged(node: &NodeReport, best: Option<NodeState>, by_wall_clock: bool) -> (Condition, String) {
    let text = node.to_string();
    let now = u64::try_from(chassis::clock::now().unix_timestamp()).unwrap_or_default();
    let age = node.latest_close.map_or(0, |closed_at| now.saturating_sub(closed_at));
    match node.state {
        NodeState::Answers if age > FRESH_SECS && by_wall_clock => {
            let text = format!("{text}; its newest ledger is {age} s old: it is behind");
            (Condition::Bad, text)
        }
        NodeState::Answers => (Condition::Ok, text),
        // Another one does what it cannot.
        NodeState::Behind if best == Some(NodeState::Answers) => (Condition::Warning, text),
        NodeState::Away if best.is_some() => (Condition::Warning, text),
        NodeState::Away => (Condition::Unknown, text),
        NodeState::Behind | NodeState::OtherHistory | NodeState::OtherNetwork => {
            (Condition::Bad, text)
        }
    }
}

async fn contracts(config: &Config, rpc: &Rpc) -> Found {
    let found = Vault(config.vault).read_config(rpc).await;
    let found = found.map_err(|error| bad(format!("{} is no vault: {error}", config.vault)))?;
    let Some(found) = found else {
        return Err(bad(format!("RUNNER_CONTRACT_ID: there is no contract {}", config.vault)));
    };
    if found.registry != config.registry {
        return Err(bad(format!(
            "RUNNER_AGENT_REGISTRY_ID: is {}, and the vault's is {}",
            config.registry, found.registry
        )));
    }
    Ok(format!("the vault {} knows this registry", config.vault))
}

async fn runner_account(config: &Config, rpc: &Rpc) -> Found {
    let found = rpc.account(&config.runner).await.map_err(unknown)?;
    match found {
        Some(_) => Ok(format!("{} exists", config.runner)),
        None => Err(bad(format!("the account {} does not exist: fund it", config.runner))),
    }
}

async fn channels(config: &Config, db: Option<&PgPool>, rpc: &Rpc) -> Found {
    let accounts: Vec<Address> = config.keys.as_ref().map(ChainKeys::channels).unwrap_or_default();
    if accounts.is_empty() {
        return Ok("a gateway alone has none".to_owned());
    }
    watch::channels((db, rpc), &accounts, config.channel_least).await.map_err(bad)?;
    Ok(format!("{} accounts, each with {} stroops or more", accounts.len(), config.channel_least))
}

/// Whether the token is there, and has every key.
async fn signer(keys: &ChainKeys) -> Found {
    keys.check().await.map_err(unknown)?;
    Ok("the token is there and has every key that is named".to_owned())
}

async fn gates(config: &Config) -> Found {
    let Some(addresses) = &config.gates else {
        let text = "none are configured: runs are settled with zero usage";
        return Err((Condition::Warning, text.to_owned()));
    };
    let gates = crate::connect(addresses).map_err(|error| bad(format!("{error:#}")))?;
    probes::reach_gates(&gates).await.map_err(bad)?;
    Ok("both answer, and accept this service's tokens".to_owned())
}

async fn events(config: &Config, db: &PgPool) -> Found {
    let followed = Followed::new(&config.network, config.vault, config.registry, config.runner);
    let position = sight::store::position(db, &followed).await.map_err(unknown)?;
    position.check().map_err(|text| (Condition::Warning, text))?;
    Ok(format!("read to {} ledgers behind the newest that was seen", position.behind))
}

async fn paused(db: &PgPool) -> Found {
    let pauses = intake::list(db).await.map_err(unknown)?;
    let Some(first) = pauses.first() else { return Ok("new runs are accepted".to_owned()) };
    let whose = match &first.subject {
        None => "everybody's new runs".to_owned(),
        Some(subject) => format!("new runs of {} {subject}", first.scope),
    };
    let text = format!(
        "{} pauses, the first of {whose}: {}; see `runner intake list` and `runner intake resume`",
        pauses.len(),
        first.reason
    );
    Err((Condition::Warning, text))
}

async fn queue(db: &PgPool) -> Found {
    let waiting = watch::waiting(db).await.map_err(unknown)?;
    let total: u64 = waiting.by_status.values().sum();
    if waiting.unknown > 0 || waiting.overdue_escrows > 0 {
        return Err((
            Condition::Warning,
            format!(
                "{} runs wait for an operator and {} escrows are overdue: see `runner reconcile`",
                waiting.unknown, waiting.overdue_escrows
            ),
        ));
    }
    Ok(format!("{total} unfinished runs, none stuck"))
}

async fn outbox(db: &PgPool) -> Found {
    let waits = sqlx::query_scalar!(
        r#"SELECT count(*) AS "waits!" FROM outbox WHERE published_at IS NULL"#
    );
    let waits = waits.fetch_one(in_time(db)).await.map_err(unknown)?;
    if waits > 1_000 {
        let text = format!("{waits} events wait to be published: see NATS and the engine's log");
        return Err((Condition::Warning, text));
    }
    Ok(format!("{waits} events wait to be published"))
}
