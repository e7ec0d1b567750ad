//! What must hold after every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use stellar::scval::Reader;
use stellar::vault::{RunFinalized, Vault};
use stellar::{Address, Rpc};
use tokio::time::Instant;
use wire::VaultRunId;
use wire::event::{CloudEvent, Family};

use crate::stack::Stack;

/// How long the last events may take to be in the stream.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the node says about the money of one user.
pub(super) struct Ledger {
    rpc: Rpc,
    vault: Vault,
    user: Address,
    /// What the user had in the vault at first, stroops.
    deposit: i128,
}

/// The money, as the node has it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Money {
    pub settled: usize,
    pub charged: i128,
}

impl Ledger {
    pub(super) async fn new(rpc: Rpc, user: Address) -> anyhow::Result<Self> {
        let vault = Vault(stellar::local::vault_id()?);
        let deposit = vault.account_now(&rpc, user).await?.balance;
        Ok(Self { rpc, vault, user, deposit })
    }

    /// The vault's events and the user's account add up, and are those of `runs`. A node that does
    /// not answer is asked again: what is compared here is not how fast a busy machine is.
    async fn adds_up(&self, runs: &[Value], broken: &mut Vec<String>) -> anyhow::Result<Money> {
        for _ in 0..2 {
            let mut found = Vec::new();
            if let Ok(money) = self.compare(runs, &mut found).await {
                broken.extend(found);
                return Ok(money);
            }
        }
        self.compare(runs, broken).await
    }

    async fn compare(&self, runs: &[Value], broken: &mut Vec<String>) -> anyhow::Result<Money> {
        let oldest = self.rpc.clock().await?.oldest_ledger;
        let mut seen: BTreeMap<VaultRunId, [u32; 2]> = BTreeMap::new();
        let (mut money, mut finalized) = (Money::default(), BTreeSet::new());
        for name in ["opened", "finalized", "voided", "reclaimed"] {
            for event in self.rpc.events(&self.vault.0, oldest, &["run", name]).await? {
                let id = Reader::new("run event", &event.data).item(0)?.run_id()?;
                seen.entry(id).or_default()[usize::from(name != "opened")] += 1;
                if name == "finalized" {
                    let event = RunFinalized::from_event(&event)?;
                    money.charged += event.actual_charge + event.runner_fee;
                    finalized.insert(id.to_string());
                }
            }
        }
        money.settled = finalized.len();
        let in_hands = runs.iter().filter(|run| run["phase"] == "operator").count();
        for (id, [opened, closed]) in &seen {
            let is_open = (*opened, *closed) == (1, 0) && in_hands > 0;
            if (*opened, *closed) != (1, 1) && !is_open {
                broken.push(format!("{id} was opened {opened} times and closed {closed} times"));
            }
        }
        // Every receipt that a user is shown is one of the vault, and the other way round.
        let attempts = runs.iter().flat_map(|run| run["attempts"].as_array().into_iter().flatten());
        let receipts = attempts.map(|attempt| &attempt["receipt"]["runId"]);
        let shown: BTreeSet<String> =
            receipts.filter_map(Value::as_str).map(str::to_owned).collect();
        if in_hands == 0 && shown != finalized {
            let unsettled: Vec<_> = shown.difference(&finalized).collect();
            let unshown: Vec<_> = finalized.difference(&shown).collect();
            broken.push(format!(
                "receipts without a settlement: {unsettled:?}; settlements without one: {unshown:?}"
            ));
        }
        let account = self.vault.account_now(&self.rpc, self.user).await?;
        let held = account.due_today + account.due_tomorrow;
        if account.balance + held != self.deposit - money.charged {
            broken.push(format!(
                "{} stroops were deposited and {} charged, and {} and {held} in escrow are left",
                self.deposit, money.charged, account.balance
            ));
        }
        if held != 0 && in_hands == 0 {
            broken.push(format!("{held} stroops are in escrow, and every run has ended"));
        }
        Ok(money)
    }
}

/// The money of these runs, which are all of the stack, and everything that is not as it must be.
pub(super) async fn all(
    stack: &Stack,
    ledger: &Ledger,
    runs: &[Value],
) -> anyhow::Result<(Money, Vec<String>)> {
    let mut broken = Vec::new();
    events(stack, runs, &mut broken).await;
    let money = ledger.adds_up(runs, &mut broken).await?;
    if let Err(error) = stack.account().await {
        broken.push(format!("{error:#}"));
    }
    Ok((money, broken))
}

/// Each run's events are complete and in order, once the last of them have arrived.
async fn events(stack: &Stack, runs: &[Value], broken: &mut Vec<String>) {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        let found = match stack.bus.stored(Family::Run).await {
            Ok(events) => out_of_order(&events, runs),
            Err(error) => vec![format!("the stream cannot be read: {error:#}")],
        };
        if found.is_empty() {
            return;
        }
        if Instant::now() > give_up_at {
            broken.extend(found);
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn out_of_order(events: &[CloudEvent], runs: &[Value]) -> Vec<String> {
    let (mut ids, mut stories) = (BTreeSet::new(), BTreeMap::<&str, Vec<&CloudEvent>>::new());
    // A message may be there twice; its id says so, and the first counts.
    for event in events.iter().filter(|event| ids.insert(event.id.as_str())) {
        stories.entry(event.subject.as_str()).or_default().push(event);
    }
    let mut wrong = Vec::new();
    for run in runs {
        let id = run["id"].as_str().unwrap_or_default();
        let story = stories.get(id).map(Vec::as_slice).unwrap_or_default();
        let words: Vec<_> = story.iter().map(|event| name(event)).collect();
        let numbered = story.iter().zip(1_u64..).all(|(event, number)| {
            event.sequence.parse::<u64>().is_ok_and(|sequence| sequence == number)
        });
        let places: Vec<_> =
            story.iter().map(|event| (event.data["attempt"].as_u64(), rank(name(event)))).collect();
        let ordered = places.windows(2).all(|pair| pair[0] < pair[1]);
        let last = words.last().copied().unwrap_or_default();
        let ended = run["phase"] == "operator" || run["status"] == last;
        if !(numbered && ordered && ended) {
            wrong.push(format!("run {id} is {}, and its events are {words:?}", run["status"]));
        }
    }
    wrong
}

/// `finalized` of `dev.lumio.run.finalized.v1`.
fn name(event: &CloudEvent) -> &str {
    event.r#type.trim_end_matches(".v1").rsplit('.').next().unwrap_or_default()
}

/// Where an event has its place in an attempt.
fn rank(name: &str) -> usize {
    let order = ["queued", "opening", "running", "finalizing"];
    order.iter().position(|known| *known == name).unwrap_or(order.len())
}
