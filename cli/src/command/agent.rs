//! `lumio agent`.

use clap::Subcommand;
use serde_json::json;
use stellar::Address;
use stellar::registry::RateCard;
use stellar::scval::Reader;
use wire::{Digest, Rates};

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::escape::escape;
use crate::output::Report;
use crate::parse::Prices;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Register an agent with its first prices and module
    #[command(
        after_help = "Example:\n  lumio agent register --as dev --runner runner --module-digest \
            5f0c… \\\n      \
                            --rates runtime_ms=100stroops --attester 9a31… --uri \
                                https://example.org/agent.json"
    )]
    Register {
        /// The developer's key
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// Who may run it: name of a key, or address; may be given several times
        #[arg(long = "runner", required = true)]
        runners: Vec<String>,
        /// Digest of the module's tree
        #[arg(long, value_parser = crate::parse::digest)]
        module_digest: Digest,
        /// Prices per unit
        #[arg(long, value_parser = crate::parse::prices)]
        rates: Prices,
        /// Public key whose execution statements count; may be given several times
        #[arg(long = "attester", value_name = "HEX", value_parser = crate::parse::attester)]
        attesters: Vec<[u8; 32]>,
        /// Address of a description
        #[arg(long)]
        uri: Option<String>,
    },
    /// An agent and its newest rate card
    #[command(after_help = "Example:\n  lumio agent show 1")]
    Show {
        /// The agent's number
        agent: u32,
    },
    /// Publish new prices and module
    #[command(
        after_help = "Example:\n  lumio agent publish-rate 1 --as dev --module-digest 5f0c… \
            --rates runtime_ms=120stroops"
    )]
    PublishRate {
        /// The agent's number
        agent: u32,
        /// The developer's key
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// Digest of the module's tree
        #[arg(long, value_parser = crate::parse::digest)]
        module_digest: Digest,
        /// Prices per unit
        #[arg(long, value_parser = crate::parse::prices)]
        rates: Prices,
    },
    /// List a runner
    #[command(after_help = "Example:\n  lumio agent add-runner 1 --as dev --runner G…")]
    AddRunner(Listing),
    /// Delist a runner, at once
    #[command(after_help = "Example:\n  lumio agent remove-runner 1 --as dev --runner G…")]
    RemoveRunner(Listing),
    /// Name the keys whose execution statements count, in place of those before
    #[command(after_help = "Example:\n  lumio agent set-attesters 1 --as dev 9a31… 77fe…")]
    SetAttesters {
        /// The agent's number
        agent: u32,
        /// The developer's key
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// Public keys in hex; none accepts no statement at all
        #[arg(value_name = "HEX", value_parser = crate::parse::attester)]
        attesters: Vec<[u8; 32]>,
    },
}

/// A runner to be listed or delisted.
#[derive(Debug, clap::Args)]
pub struct Listing {
    /// The agent's number
    agent: u32,
    /// The developer's key
    #[arg(long = "as", value_name = "NAME")]
    signer: String,
    /// The runner: name of a key, or address
    #[arg(long)]
    runner: String,
}

pub(super) async fn run(context: &Context, command: Agent) -> Result<Report> {
    context.connect().await?;
    let registry = context.registry()?;
    match command {
        Agent::Register { signer, runners, module_digest, rates, attesters, uri } => {
            let runners = runners
                .iter()
                .map(|runner| context.keys.resolve(runner))
                .collect::<Result<Vec<_>>>()?;
            let rates = context.rates(&rates).await?;
            let card = RateCard { rates, manifest_hash: module_digest };
            let agent =
                register(context, &signer, &runners, uri.as_deref(), &card, &attesters).await?;
            show(context, agent).await
        }
        Agent::Show { agent } => show(context, agent).await,
        Agent::PublishRate { agent, signer, module_digest, rates } => {
            let rates = context.rates(&rates).await?;
            let card = RateCard { rates, manifest_hash: module_digest };
            publish(context, &signer, agent, &card).await?;
            show(context, agent).await
        }
        Agent::AddRunner(Listing { agent, signer, runner }) => {
            let call = registry.add_runner(agent, context.keys.resolve(&runner)?);
            context.submit(&context.keys.load(&signer)?, call).await?;
            show(context, agent).await
        }
        Agent::RemoveRunner(Listing { agent, signer, runner }) => {
            let call = registry.remove_runner(agent, context.keys.resolve(&runner)?);
            context.submit(&context.keys.load(&signer)?, call).await?;
            show(context, agent).await
        }
        Agent::SetAttesters { agent, signer, attesters } => {
            let call = registry.set_attesters(agent, &attesters)?;
            context.submit(&context.keys.load(&signer)?, call).await?;
            show(context, agent).await
        }
    }
}

/// Registers an agent and names its attesters. Answers its number.
pub(super) async fn register(
    context: &Context,
    signer: &str,
    runners: &[Address],
    uri: Option<&str>,
    card: &RateCard,
    attesters: &[[u8; 32]],
) -> Result<u32> {
    let (registry, key) = (context.registry()?, context.keys.load(signer)?);
    let call = registry.register_agent(key.address(), uri, runners, card)?;
    let agent = number("agent id", &context.submit(&key, call).await?)?;

    // A second transaction: if it fails the agent exists anyway, and `set-attesters` goes on
    // from there.
    if !attesters.is_empty() {
        context.submit(&key, registry.set_attesters(agent, attesters)?).await?;
    }
    Ok(agent)
}

/// Publishes a rate card. Answers its version.
pub(super) async fn publish(
    context: &Context,
    signer: &str,
    agent: u32,
    card: &RateCard,
) -> Result<u32> {
    let key = context.keys.load(signer)?;
    let call = context.registry()?.publish_rate_card(agent, card)?;
    number("rate version", &context.submit(&key, call).await?)
}

/// The number that a transaction answered. It was applied, so that a value which cannot be read is
/// no failure of it: the command must not suggest to send it again.
fn number(what: &str, applied: &stellar::rpc::Applied) -> Result<u32> {
    let missing =
        || CliError::Unknown(format!("the transaction was applied, but its {what} cannot be read"));
    Ok(Reader::new(what, applied.value.as_ref().ok_or_else(missing)?).u32()?)
}

async fn show(context: &Context, id: u32) -> Result<Report> {
    let registry = context.registry()?;
    let agent = registry.read_agent(&context.rpc, id).await?;
    let agent = agent
        .ok_or_else(|| CliError::bad(format!("the registry {} knows no agent {id}", registry.0)))?;

    // Cards are entries of their own, which the network archives one by one.
    let version = agent.latest_rate_version;
    let card = registry.read_rate_card(&context.rpc, id, version).await?;
    let card = card.ok_or_else(|| {
        CliError::Unknown(format!(
            "agent {id} has no readable rate card {version}; it may be archived"
        ))
    })?;

    let keys: Vec<_> = agent.attesters.iter().map(hex::encode).collect();
    let unit = context.shown_unit().await;
    let price = |name: &str, rate: i128| format!("    {name:<11} {}", unit.show(rate));
    let mut lines = vec![
        format!("agent {id}"),
        format!("  developer  {}", agent.developer),
        // The developer's own text: it gets one line, and no control over the terminal.
        format!(
            "  described  {}",
            agent.metadata_uri.as_deref().map_or_else(|| "-".to_owned(), escape)
        ),
        format!("  module     {}", card.manifest_hash),
        format!("  prices     version {version}, per unit:"),
    ];

    // By every field's name, so that a new price cannot be forgotten here.
    let Rates { llm_in, llm_out, http_calls, runtime_ms } = card.rates;
    lines.extend(
        [
            ("llm_in", llm_in),
            ("llm_out", llm_out),
            ("http_calls", http_calls),
            ("runtime_ms", runtime_ms),
        ]
        .map(|(name, rate)| price(name, rate)),
    );
    lines.extend(agent.runners.iter().map(|runner| format!("  runner     {runner}")));
    lines.extend(keys.iter().map(|key| format!("  attester   {key}")));
    let json = json!({
        "agentId": id,
        "developer": agent.developer,
        "metadataUri": agent.metadata_uri,
        "runners": agent.runners,
        "attesters": keys,
        "rateVersion": version,
        "rates": card.rates,
        "manifestHash": card.manifest_hash,
    });
    Ok(Report::new(lines.join("\n"), json))
}
