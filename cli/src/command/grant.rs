//! `lumio grant`.

use clap::Subcommand;
use serde_json::{Value, json};
use stellar::amount::{Amount, Unit};
use stellar::vault::{Grant as Granted, GrantLimits};
use stellar::{Address, Keypair};

use crate::context::Context;
use crate::error::Result;
use crate::output::{Report, table};
use crate::times;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Let a runner open runs of an agent for you
    #[command(
        after_help = "Examples:\n  lumio grant add --as alice --runner G… --agent 1 --expires-in \
            30d\n  \
                            lumio grant add --as alice --runner G… --agent 1 --total-cap 20 \
                                --max-runner-fee 0.01"
    )]
    Add {
        /// Whose key signs
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// The runner: name of a key, or address
        #[arg(long)]
        runner: String,
        /// The agent's number
        #[arg(long)]
        agent: u32,
        /// How long it holds, such as 12h or 30d, counted from ledger time
        #[arg(long, value_name = "SPAN", value_parser = crate::parse::seconds,
            conflicts_with = "expires_at")]
        expires_in: Option<u64>,
        /// Until when it holds, Unix seconds
        #[arg(long, value_name = "SECONDS")]
        expires_at: Option<u64>,
        /// Limits, set before the grant
        #[command(flatten)]
        limits: Limits,
    },
    /// Say how much a runner may spend and charge; what is not named stays as it is
    #[command(after_help = "Examples:\n  lumio grant limits --as alice --runner G… --agent 1 \
            --per-run-cap 2 --total-cap 50\n  \
                            lumio grant limits --as alice --runner G… --agent 1 --max-runner-fee \
                                0.01\n\n\
                            Limits count from the next run on, may be set before the grant, and \
                                stay when it is revoked.\n\
                            Without any, your policy's caps hold and the runner may charge no fee.")]
    Limits {
        /// Whose key signs
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// The runner: name of a key, or address
        #[arg(long)]
        runner: String,
        /// The agent's number
        #[arg(long)]
        agent: u32,
        /// The limits
        #[command(flatten)]
        limits: Limits,
    },
    /// End that at once for new runs
    #[command(after_help = "Example:\n  lumio grant revoke --as alice --runner G… --agent 1")]
    Revoke {
        /// Whose key signs
        #[arg(long = "as", value_name = "NAME")]
        signer: String,
        /// The runner: name of a key, or address
        #[arg(long)]
        runner: String,
        /// The agent's number
        #[arg(long)]
        agent: u32,
    },
    /// All live grants of an account
    #[command(after_help = "Example:\n  lumio grant list alice")]
    List {
        /// Name of a key, or address
        account: String,
    },
}

/// What a runner is allowed for an agent.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Limits {
    /// Most that one run may escrow, its fee included; 0 is no cap
    #[arg(long, value_name = "AMOUNT", value_parser = crate::parse::amount)]
    per_run_cap: Option<Amount>,
    /// Most that all runs under one grant may come to; 0 is no cap
    #[arg(long, value_name = "AMOUNT", value_parser = crate::parse::amount)]
    total_cap: Option<Amount>,
    /// Highest flat fee that the runner may charge for a run; 0 is no fee
    #[arg(long, value_name = "AMOUNT", value_parser = crate::parse::amount)]
    max_runner_fee: Option<Amount>,
}

pub(super) async fn run(context: &Context, command: Grant) -> Result<Report> {
    context.connect().await?;
    let vault = context.vault()?;
    match command {
        Grant::Add { signer, runner, agent, expires_in, expires_at, limits } => {
            let key = context.keys.load(&signer)?;
            let runner = context.keys.resolve(&runner)?;

            // Ledger time: the clock of this machine may be another.
            let expires_at = match expires_in {
                Some(span) => Some(context.rpc.clock().await?.latest_close.saturating_add(span)),
                None => expires_at,
            };

            // Limits first: between the two transactions the runner has either nothing or its
            // limits.
            set_limits(context, &key, runner, agent, limits).await?;
            context
                .submit(&key, vault.grant_runner(key.address(), runner, agent, expires_at))
                .await?;
            list(context, key.address()).await
        }
        Grant::Limits { signer, runner, agent, limits } => {
            let key = context.keys.load(&signer)?;
            let runner = context.keys.resolve(&runner)?;
            set_limits(context, &key, runner, agent, limits).await?;
            let limits = vault.limits_now(&context.rpc, key.address(), runner, agent).await?;
            let unit = context.shown_unit().await;
            let text = format!("agent {agent} to {runner}: {}", describe(limits, &unit));
            let json = json!({
                "user": key.address(),
                "runner": runner,
                "agentId": agent,
                "limits": json_of(limits),
            });
            Ok(Report::new(text, json))
        }
        Grant::Revoke { signer, runner, agent } => {
            let key = context.keys.load(&signer)?;
            let runner = context.keys.resolve(&runner)?;
            context.submit(&key, vault.revoke_runner(key.address(), runner, agent)).await?;
            list(context, key.address()).await
        }
        Grant::List { account } => list(context, context.keys.resolve(&account)?).await,
    }
}

/// Updates only the limits given; sends no transaction if none are given.
async fn set_limits(
    context: &Context,
    key: &Keypair,
    runner: Address,
    agent: u32,
    named: Limits,
) -> Result<()> {
    let Limits { per_run_cap, total_cap, max_runner_fee } = named;
    if [&per_run_cap, &total_cap, &max_runner_fee].iter().all(|named| named.is_none()) {
        return Ok(());
    }
    let (vault, user) = (context.vault()?, key.address());

    // Where no limits are set yet all are zero: no caps and no fee.
    let now = vault.limits_now(&context.rpc, user, runner, agent).await?.unwrap_or_default();
    let limits = GrantLimits {
        per_run_cap: context.stroops_or(per_run_cap.as_ref(), now.per_run_cap).await?,
        total_cap: context.stroops_or(total_cap.as_ref(), now.total_cap).await?,
        max_runner_fee: context.stroops_or(max_runner_fee.as_ref(), now.max_runner_fee).await?,
    };
    context.submit(key, vault.set_grant_limits(user, runner, agent, limits)?).await?;
    Ok(())
}

async fn list(context: &Context, user: Address) -> Result<Report> {
    let vault = context.vault()?;
    let grants = vault.grants_now(&context.rpc, user).await?;
    let now = context.rpc.clock().await?.latest_close;
    let unit = context.shown_unit().await;
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for grant in &grants {
        let limits = vault.limits_now(&context.rpc, user, grant.runner, grant.agent_id).await?;
        rows.push(row(grant, limits, now, &unit));
        json.push(json!({
            "runner": grant.runner,
            "agentId": grant.agent_id,
            "issuedAt": grant.issued_at,
            "expiresAt": grant.expires_at,
            "serial": grant.serial,
            "used": grant.used.to_string(),
            "limits": json_of(limits),
        }));
    }
    Ok(Report::new(shown(user, &rows), json!({ "user": user, "grants": json })))
}

fn shown(user: Address, rows: &[[String; 5]]) -> String {
    let first = format!("{user} grants {} of at most 32", rows.len());
    if rows.is_empty() {
        return first;
    }
    format!("{first}\n{}", table(["AGENT", "RUNNER", "UNTIL", "USED", "LIMITS"], rows))
}

fn row(grant: &Granted, limits: Option<GrantLimits>, now: u64, unit: &Unit) -> [String; 5] {
    let until = grant.expires_at.map(|at| times::show(at, now));
    [
        grant.agent_id.to_string(),
        grant.runner.to_string(),
        until.unwrap_or_else(|| "without an end".to_owned()),
        unit.show(grant.used),
        describe(limits, unit),
    ]
}

fn describe(limits: Option<GrantLimits>, unit: &Unit) -> String {
    let Some(limits) = limits else { return "no limits of its own, no runner fee".to_owned() };
    let cap = |what: &str, cap: i128| match cap {
        0 => format!("no cap {what}"),
        cap => format!("at most {} {what}", unit.show(cap)),
    };
    let fee = match limits.max_runner_fee {
        0 => "no runner fee".to_owned(),
        fee => format!("runner fee up to {}", unit.show(fee)),
    };
    format!("{}, {}, {fee}", cap("a run", limits.per_run_cap), cap("in all", limits.total_cap))
}

fn json_of(limits: Option<GrantLimits>) -> Value {
    limits.map_or(Value::Null, |limits| {
        json!({
            "perRunCap": limits.per_run_cap.to_string(),
            "totalCap": limits.total_cap.to_string(),
            "maxRunnerFee": limits.max_runner_fee.to_string(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_stand_under_their_headings() {
        let (account, lumens) = (Keypair::from_seed(&[7; 32]).address(), Unit::lumens());
        assert_eq!(shown(account, &[]), format!("{account} grants 0 of at most 32"));
        let limits = GrantLimits { per_run_cap: 10_000_000, total_cap: 0, max_runner_fee: 0 };
        let grant = Granted {
            runner: account,
            agent_id: 7,
            issued_at: 1,
            expires_at: Some(1_800_000_000),
            serial: 1,
            used: 0,
        };
        let text = shown(account, &[row(&grant, Some(limits), 1_799_996_400, &lumens)]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("AGENT  RUNNER") && lines[1].ends_with("LIMITS"), "{text}");
        assert!(lines[2].starts_with("7      G"), "{text}");
        assert!(lines[2].contains("2027-01-15 08:00:00 UTC (in 1 h)"), "{text}");
        assert!(lines[2].contains("at most 1 XLM (10000000 stroops) a run"), "{text}");
        let endless = Granted { expires_at: None, ..grant };
        assert_eq!(row(&endless, None, 0, &lumens)[2], "without an end");
    }
}
