//! `runner channels`.

use std::process::ExitCode;
use std::time::Duration;

use chassis::{postgres, print_line};
use clap::Subcommand;
use serde_json::json;
use stellar::Address;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{OutputFormat, print_json, print_list, refused, table};
use crate::chain::calls::address;
use crate::chain::client::ChainClient;
use crate::chain::store::channels::{self, Channel, Order};
use crate::chain::store::release_channel;
use crate::config::Config;
use crate::signer::Key;

const EXAMPLES: &str = "\
The accounts of RUNNER_SOURCE_SECRET are channels, and the first of them pays for those that are added
here; their keys follow from its key, so that none has to be kept. A running engine serves an added
channel within seconds. Amounts are in stroops: 10,000,000 are one XLM.
Exit codes: 0 done, 1 it cannot be done (and why), 2 nothing is known or it is not done yet, 3 usage.

Examples:
  runner channels list --output json
  runner channels add --count 3 --stroops 200000000
  runner channels top-up GABC… --stroops 500000000
  runner channels drain GABC…      everything goes back to the account that paid for it";

/// Between two looks at an order.
const EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ChannelsArgs {
    #[command(subcommand)]
    command: ChannelsCommand,
}

#[derive(Debug, Subcommand)]
enum ChannelsCommand {
    /// List the channels: account, state, use, balance, who pays.
    #[command(after_help = EXAMPLES)]
    List {
        /// `text` or `json`; both say the same.
        #[arg(long, default_value = "text")]
        output: OutputFormat,
    },
    /// Make channels, and fund them from the first account of RUNNER_SOURCE_SECRET.
    #[command(after_help = EXAMPLES)]
    Add {
        /// How many.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
        count: u32,
        /// What each begins with [default: twice RUNNER_CHANNEL_LEAST_STROOPS].
        #[arg(long, value_parser = clap::value_parser!(i64).range(10_000_000..))]
        stroops: Option<i64>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Pay lumens to a channel from the first account of RUNNER_SOURCE_SECRET.
    #[command(after_help = EXAMPLES)]
    TopUp {
        /// The channel's account.
        account: Address,
        /// How much.
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        stroops: i64,
        #[command(flatten)]
        wait: Wait,
    },
    /// Let an added channel take no more transactions, and merge its account into the one that
    /// paid for it.
    #[command(after_help = EXAMPLES)]
    Drain {
        /// The channel's account.
        account: Address,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, clap::Args)]
struct Wait {
    /// How many seconds to wait until it is done.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
    /// `text` or `json`; both say the same.
    #[arg(long, default_value = "text")]
    output: OutputFormat,
}

/// What the commands need.
struct ChannelContext {
    chain: ChainClient,
    least: i64,
}

/// Why a command did not do it.
struct CommandError {
    error: anyhow::Error,
    code: u8,
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self { error: error.context("nothing is known; try again"), code: 2 }
    }
}

impl From<crate::error::Error> for CommandError {
    fn from(error: crate::error::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<stellar::ChainError> for CommandError {
    fn from(error: stellar::ChainError) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<sqlx::Error> for CommandError {
    fn from(error: sqlx::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

fn cannot(text: String) -> CommandError {
    CommandError { error: anyhow::anyhow!(text), code: 1 }
}

pub(super) async fn run(arguments: ChannelsArgs) -> ExitCode {
    let config = match Config::load(None) {
        Ok(config) => config,
        Err(error) => return refused(&error.into(), 3),
    };
    let done = async {
        let context = ChannelContext::open(config).await?;
        match arguments.command {
            ChannelsCommand::List { output } => context.list(output).await,
            ChannelsCommand::Add { count, stroops, wait } => {
                context.add(count, stroops, &wait).await
            }
            ChannelsCommand::TopUp { account, stroops, wait } => {
                context.top_up(&account.to_string(), stroops, &wait).await
            }
            ChannelsCommand::Drain { account, wait } => {
                context.drain(&account.to_string(), &wait).await
            }
        }
    };
    match done.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError { error, code }) => refused(&error, code),
    }
}

impl ChannelContext {
    async fn open(config: Config) -> Result<Self, CommandError> {
        let db = postgres::connect(&config.database_url).await?;
        let least = config.channel_least;
        let opened = crate::chain_client(config, db, crate::Shortages::default())?;
        let Some(chain) = opened else {
            return Err(cannot("a gateway alone has no channels: ask an engine's host".into()));
        };
        chain.rpc.require_network(&chain.network).await?;
        // A runner that never ran has not made its channels known.
        for account in chain.accounts() {
            crate::chain::store::add_channel(&chain.db, &account).await?;
        }
        Ok(Self { chain, least })
    }

    async fn list(&self, output: OutputFormat) -> Result<(), CommandError> {
        let all = channels::list(&self.chain.db).await?;
        let addresses = all.iter().map(|channel| address(&channel.account));
        let addresses: Vec<Address> = addresses.collect::<Result<_, _>>()?;
        // A node that is behind has balances of the past (R13).
        self.chain.now().await?;
        let mut found = Vec::new();
        // A request takes 200 keys.
        for some in addresses.chunks(200) {
            found.extend(self.chain.rpc.accounts(some).await?);
        }
        let balances = found.iter().map(|state| state.as_ref().map(|state| state.balance));
        if output == OutputFormat::Json {
            let row = |(channel, balance): (&Channel, Option<i64>)| json!({ "channel": channel, "balanceStroops": balance.map(|held| held.to_string()) });
            let rows: Vec<_> = all.iter().zip(balances).map(row).collect();
            return print_list(&rows).map_err(|_| cannot("it cannot be printed".to_owned()));
        }
        let rows = all.iter().zip(balances);
        let rows: Vec<_> =
            rows.map(|(channel, balance)| row(channel, balance, self.least)).collect();
        print_line!("{}", table(["account", "state", "use", "stroops", "paid by"], &rows));
        Ok(())
    }

    async fn add(&self, count: u32, stroops: Option<i64>, wait: &Wait) -> Result<(), CommandError> {
        let payer = self.payer()?;
        let stroops = stroops.unwrap_or_else(|| self.least.saturating_mul(2).max(20_000_000));
        let db = &self.chain.db;
        let mut first = channels::next_number(&mut *db.acquire().await?, &payer).await?;
        let (orders, taken_over) = loop {
            // Before the transaction: a slow node must not keep others from the payer's row.
            let found = self.on_network(&payer, first, count).await?;
            let mut tx = postgres::begin(db).await?;
            let next = channels::lock_next_number(&mut tx, &payer).await?;
            if next != first {
                // Another command took these numbers meanwhile.
                postgres::rollback(tx).await?;
                first = next;
                continue;
            }
            let (mut orders, mut taken_over) = (Vec::new(), Vec::new());
            for (number, (account, exists)) in (first..).zip(found) {
                channels::add(&mut tx, &account, (&payer, number), exists).await?;
                if exists {
                    taken_over.push(account);
                    continue;
                }
                let order = Order {
                    id: 0,
                    kind: "create".into(),
                    source: payer.clone(),
                    destination: account.clone(),
                    stroops: Some(stroops),
                };
                orders.push((channels::order(&mut tx, &order).await?, account));
            }
            postgres::commit(tx).await?;
            break (orders, taken_over);
        };
        for account in taken_over {
            say(wait.output, &account, "was taken over: it is on the network already")?;
        }
        for (order, account) in orders {
            self.carried_out(order, &payer, (&account, "was made"), wait).await?;
        }
        Ok(())
    }

    /// The channels of these numbers, and whether the network has their accounts: a database that
    /// was restored from an older export does not know the channels that were added since, which
    /// are this payer's own, with their lumens. A node that is behind may not have them yet, so it
    /// is not believed (R13).
    async fn on_network(
        &self,
        payer: &str,
        first: u32,
        count: u32,
    ) -> Result<Vec<(String, bool)>, CommandError> {
        let mut addresses = Vec::new();
        for number in (first..).take(usize::try_from(count).unwrap_or_default()) {
            addresses.push(self.chain.derived_key(payer, number)?.address());
        }
        self.chain.now().await?;
        let found = self.chain.rpc.accounts(&addresses).await?;
        let named = addresses.iter().map(Address::to_string);
        Ok(named.zip(found.iter().map(Option::is_some)).collect())
    }

    async fn top_up(&self, account: &str, stroops: i64, wait: &Wait) -> Result<(), CommandError> {
        let payer = self.payer()?;
        let known = self.known(account).await?;
        if known.account == payer {
            let text = format!("{account} is the account that pays: pay to it from a wallet");
            return Err(cannot(text));
        }
        if known.state != "active" {
            return Err(cannot(format!("the channel {account} is {}", known.state)));
        }
        let order = Order {
            id: 0,
            kind: "pay".into(),
            source: payer.clone(),
            destination: account.to_owned(),
            stroops: Some(stroops),
        };
        let mut tx = postgres::begin(&self.chain.db).await?;
        let order = channels::order(&mut tx, &order).await?;
        postgres::commit(tx).await?;
        self.carried_out(order, &payer, (account, "was topped up"), wait).await
    }

    async fn drain(&self, account: &str, wait: &Wait) -> Result<(), CommandError> {
        let known = self.known(account).await?;
        let Some(payer) = known.payer.clone() else {
            let text = format!(
                "{account} is of RUNNER_SOURCE_SECRET: take it out there, and move what it has by \
                 a wallet"
            );
            return Err(cannot(text));
        };
        self.chain.adopt(&known).map_err(|error| cannot(error.to_string()))?;
        let order = match channels::open_order(&self.chain.db, "merge", account).await? {
            // The same command was given before.
            Some(order) => order,
            None if known.state == "drained" => {
                return say(wait.output, account, "is drained already");
            }
            None => {
                let order = Order {
                    id: 0,
                    kind: "merge".into(),
                    source: account.to_owned(),
                    destination: payer,
                    stroops: None,
                };
                let mut tx = postgres::begin(&self.chain.db).await?;
                if !channels::drain(&mut tx, account).await? {
                    return Err(cannot(format!("the channel {account} is {}", known.state)));
                }
                let order = channels::order(&mut tx, &order).await?;
                postgres::commit(tx).await?;
                order
            }
        };
        self.carried_out(order, account, (account, "was drained"), wait).await
    }

    /// Waits until an order is carried out by a running engine, or does it if none holds the
    /// channel.
    async fn carried_out(
        &self,
        order: i64,
        source: &str,
        (account, what): (&str, &str),
        wait: &Wait,
    ) -> Result<(), CommandError> {
        let give_up_at = Instant::now() + Duration::from_secs(wait.wait);
        let stop = CancellationToken::new();
        loop {
            let progress = channels::progress(&self.chain.db, order).await?;
            let words = progress.words.unwrap_or_default();
            match progress.state.as_str() {
                "done" => return say(wait.output, account, what),
                "failed" => return Err(cannot(format!("{account}: nothing was done: {words}"))),
                "unknown" => {
                    let text = format!("{account}: whether it was done is not known: {words}");
                    return Err(CommandError { error: anyhow::anyhow!(text), code: 2 });
                }
                _ => {}
            }
            let left = give_up_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = format!("{account}: it is not done yet; it goes on. {words}");
                return Err(CommandError { error: anyhow::anyhow!(text), code: 2 });
            }
            let owner = &self.chain.owner;
            // An order of another channel may have to be done first.
            let before = channels::done_before(&self.chain.db, order).await?;
            let source = before.as_deref().unwrap_or(source);
            if let Some(lease) = channels::lease(&self.chain.db, source, owner).await? {
                let worked = tokio::select! {
                    worked = self.chain.work_off(&lease) => worked,
                    () = self.chain.keep_pulse(&stop) => Ok(()),
                    () = self.chain.lease_lost(&lease, channels::COMMAND_LEASE_MS) => Ok(()),
                    // What is stored goes on with the next holder of the channel.
                    () = sleep(left) => Ok(()),
                };
                release_channel(&self.chain.db, &lease).await?;
                worked?;
            }
            sleep(EVERY).await;
        }
    }

    fn payer(&self) -> Result<String, CommandError> {
        let mut own = self.chain.sources.iter().filter_map(Key::local);
        let first = own.next().map(|key| key.address().to_string());
        first.ok_or_else(|| {
            let text = "RUNNER_SOURCE_SECRET names no account that could pay and that keys follow \
                        from; more keys of a token are named in RUNNER_PKCS11_SOURCE_KEYS";
            cannot(text.to_owned())
        })
    }

    async fn known(&self, account: &str) -> Result<Channel, CommandError> {
        let all = channels::list(&self.chain.db).await?;
        all.into_iter().find(|channel| channel.account == account).ok_or_else(|| {
            cannot(format!("{account} is no channel; `runner channels list` names them"))
        })
    }
}

fn row(channel: &Channel, balance: Option<i64>, least: i64) -> [String; 5] {
    let paid_by = channel.payer.as_deref().unwrap_or("RUNNER_SOURCE_SECRET");
    let held = match (channel.busy, channel.held) {
        (true, _) => "busy",
        (false, true) => "held",
        (false, false) => "free",
    };
    let balance = match balance {
        None => "no account".to_owned(),
        Some(balance) if balance < least => format!("{balance} LOW"),
        Some(balance) => balance.to_string(),
    };
    let (account, state) = (channel.account.clone(), channel.state.clone());
    [account, state, held.to_owned(), balance, paid_by.to_owned()]
}

fn say(output: OutputFormat, account: &str, what: &str) -> Result<(), CommandError> {
    if output == OutputFormat::Json {
        let value = json!({ "account": account, "outcome": what });
        return print_json(&value).map_err(|_| cannot("it cannot be printed".to_owned()));
    }
    print_line!("{account} {what}");
    Ok(())
}
