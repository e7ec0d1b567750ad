//! Reading the facts from a node.

use std::collections::{BTreeMap, BTreeSet};

use stellar::rpc::{Clock, Event};
use stellar::vault::{Lifecycle, RunFinalized, RunOpened, SettledRun};
use stellar::{Address, ChainError, Rpc, RpcError};
use wire::receipts::{RECEIPTS_KIND, ReceiptText, ReceiptsDocument};
use wire::{Digest, RunId, VaultRunId};

use super::{
    AttemptFacts, ChainFacts, FACTS_KIND, FURTHER_ATTEMPTS, Origin, Own, Receipts, Settlement,
    settled,
};
use crate::error::Result;

/// How often a search begins again that lost the race against the node's retention.
const MOST_RACES: usize = 5;

/// What is worth looking at besides the vault's events. Hints come from a gateway: they can add an
/// attempt whose events are gone, and whose record then says whether it is one. They hide nothing.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// The attempt that the bundle is of.
    pub attempt: u32,
    /// Ids on chain that the gateway names, each with its attempt.
    pub run_ids: Vec<(u32, VaultRunId)>,
    /// Who is said to pay.
    pub user: Option<Address>,
}

/// Lists of an account's receipts from earlier readings.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// The one that the verifier keeps, or was given.
    pub own: Option<ReceiptsDocument>,
    /// The one that a gateway made of the events that it followed: it counts only where it leads to
    /// what the chain holds.
    pub stored: Option<ReceiptsDocument>,
}

/// The vault's events from one ledger on.
struct History {
    oldest_ledger: u32,
    /// When that one closed, or later.
    oldest_time: u64,
    /// When the newest ledger closed, or earlier.
    latest_time: u64,
    opened: Vec<RunOpened>,
    finalized: Vec<RunFinalized>,
}

/// Reads all there is to know about `run`. `lists` are lists of receipts from earlier readings.
///
/// # Errors
///
/// [`crate::error::CliError::Unknown`] when the RPC does not answer,
/// [`crate::error::CliError::Usage`] when it is on another network.
pub async fn gather(
    rpc: &Rpc,
    own: &Own,
    run: RunId,
    hints: &Hints,
    lists: impl Fn(&Address) -> Result<Lists>,
) -> Result<ChainFacts> {
    rpc.require_network(&own.network).await?;
    let config = own.vault.read_config(rpc).await?;
    let history = match config {
        Some(_) => history(rpc, own).await?,
        None => History::nothing(),
    };
    let clock = rpc.clock().await?;
    let mut facts = ChainFacts {
        kind: FACTS_KIND.to_owned(),
        run,
        network: own.network.passphrase().to_owned(),
        vault: own.vault.0,
        registry: config.map(|config| config.registry),
        ledger: clock.latest_ledger,
        // The earliest word counts: an attempt must not seem to be past its deadline before it is.
        ledger_time: clock.latest_close.min(history.latest_time),
        oldest_ledger: history.oldest_ledger,
        oldest_time: history.oldest_time,
        attempts: Vec::new(),
        account: None,
        receipts: None,
        unexplained: Vec::new(),
        unseen: None,
    };
    if facts.registry.is_none() {
        return Ok(facts);
    }

    // By the events first, since they rest on the chain alone; then what the gateway points at; then
    // what the receipts of the user, who is known only now, still hold.
    find_opened(own, &mut facts, &history, hints)?;
    add_hinted(rpc, own, &mut facts, hints).await?;
    let user = facts.attempts.iter().find_map(|attempt| attempt.origin().map(|origin| origin.user));
    if let Some(user) = user.or(hints.user) {
        let known = receipts_of(rpc, own, &user, &history, lists(&user)?).await?;
        facts.account = known.account;
        facts.receipts = known.list;
        facts.unexplained = known.unexplained;
        facts.unseen = known.unseen;
        add_archived(own, &mut facts)?;
    }

    for attempt in &mut facts.attempts {
        let finalized = history.finalized.iter().find(|event| event.run_id == attempt.run_id);
        attempt.finalized = finalized.cloned();

        // A hinted attempt brought its record along.
        if attempt.record.is_none() {
            let state = own.vault.read_run(rpc, &attempt.run_id).await?;
            attempt.record = state.record.map(|(record, _)| record);
        }
        if let Some(opened) = &attempt.opened {
            let terms = &opened.terms;
            attempt.rate_card =
                own.registry.read_rate_card(rpc, terms.agent_id, terms.rate_version).await?;
        }
    }
    add_settlers(rpc, own, &mut facts).await?;
    facts.attempts.sort_by_key(|attempt| (attempt.attempt, attempt.run_id));
    Ok(facts)
}

/// A user's receipts: how many the chain counts, and the list of those whose texts are known.
///
/// # Errors
///
/// As [`gather`].
pub async fn account_receipts(
    rpc: &Rpc,
    own: &Own,
    user: &Address,
    lists: Lists,
) -> Result<(Option<Receipts>, Option<ReceiptsDocument>)> {
    rpc.require_network(&own.network).await?;
    let history = history(rpc, own).await?;
    let known = receipts_of(rpc, own, user, &history, lists).await?;
    Ok((known.account, known.list))
}

impl History {
    const fn nothing() -> Self {
        Self {
            oldest_ledger: u32::MAX,
            oldest_time: u64::MAX,
            latest_time: u64::MAX,
            opened: Vec::new(),
            finalized: Vec::new(),
        }
    }
}

/// Reads the vault's events as far back as the node keeps them. The node forgets its oldest ledgers
/// while it is read: the search then begins again within the range that the node names.
async fn history(rpc: &Rpc, own: &Own) -> Result<History> {
    let mut named = 0;
    let mut races = 0;
    loop {
        let clock = rpc.clock().await?;
        let from = clock.oldest_ledger.max(named);
        match both(rpc, own, from, &clock).await {
            Ok(history) => return Ok(history),
            // No code says why a node refuses; that it names a range in its words is the only sign.
            // Where it names none, the clock is asked again, which may have moved on.
            Err(ChainError::Rpc(RpcError::Refused { message, .. })) if races < MOST_RACES => {
                races += 1;
                named = oldest_named(&message).unwrap_or(from).max(named);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Both kinds of events from the ledger `from` on, and how far back they reach by the word that
/// says least: the node's clock and both searches name its range, and one of them alone must not
/// make a search seem to reach back further than it did.
async fn both(
    rpc: &Rpc,
    own: &Own,
    from: u32,
    clock: &Clock,
) -> std::result::Result<History, ChainError> {
    let opened = rpc.readable_events(&own.vault.0, from, &["run", "opened"]).await?;
    let finalized = rpc.readable_events(&own.vault.0, from, &["run", "finalized"]).await?;
    let searches = [&opened, &finalized];

    let ledgers = searches.iter().filter_map(|search| search.oldest_ledger);
    let oldest_ledger = ledgers.fold(from, u32::max);

    // The close time of a later ledger than the clock's oldest is not known exactly, so the latest
    // possible one is taken for it.
    let by_clock =
        if oldest_ledger == clock.oldest_ledger { clock.oldest_close } else { clock.latest_close };
    let oldest_time =
        searches.iter().filter_map(|search| search.oldest_close).fold(by_clock, u64::max);
    let latest_time =
        searches.iter().filter_map(|search| search.latest_close).fold(clock.latest_close, u64::min);
    Ok(History {
        oldest_ledger,
        oldest_time,
        latest_time,
        opened: decoded(&opened.events, RunOpened::from_event),
        finalized: decoded(&finalized.events, RunFinalized::from_event),
    })
}

/// Events that cannot be read here are left out. They cannot hide a charge: a receipt without its
/// events leaves a gap before the account's running hash, which is reported.
fn decoded<T>(
    events: &[Event],
    read: impl Fn(&Event) -> std::result::Result<T, ChainError>,
) -> Vec<T> {
    events.iter().filter_map(|event| read(event).ok()).collect()
}

/// The first ledger of the range in a node's refusal, such as `… the ledger range: 100 - 200`.
fn oldest_named(message: &str) -> Option<u32> {
    let (_, range) = message.rsplit_once("range:")?;
    range.split(['-', '.', ' ']).find_map(|word| word.trim().parse().ok())
}

/// The attempts among all opened events: those whose id follows from the run and an attempt's
/// number, with each event's own user, opener and deadline.
fn find_opened(own: &Own, facts: &mut ChainFacts, history: &History, hints: &Hints) -> Result<()> {
    let mut last = hints.attempt.max(1);
    let mut checked = 0;

    // Each one that is found moves the end: a run of many attempts is followed to its last, as long
    // as each lies within FURTHER_ATTEMPTS of the one before.
    while checked < last.saturating_add(FURTHER_ATTEMPTS) {
        let numbers = checked + 1..=last.saturating_add(FURTHER_ATTEMPTS);
        checked = *numbers.end();
        for event in &history.opened {
            for number in numbers.clone() {
                if own.run_id(facts.run, number, &Origin::from(event))? == event.run_id {
                    let found = AttemptFacts {
                        opened: Some(event.clone()),
                        ..AttemptFacts::new(number, event.run_id)
                    };
                    add(facts, found);
                    last = last.max(number);
                }
            }
        }
    }
    Ok(())
}

/// Attempts whose events are gone, but whose record lives and says that they are the run's.
async fn add_hinted(rpc: &Rpc, own: &Own, facts: &mut ChainFacts, hints: &Hints) -> Result<()> {
    for (attempt, run_id) in &hints.run_ids {
        if facts.attempts.iter().any(|known| known.run_id == *run_id) {
            continue;
        }
        let record = own.vault.read_run(rpc, run_id).await?.record.map(|(record, _)| record);
        let Some(record) = record else { continue };

        // The hint's own check: an id of another run does not follow from this one's.
        if own.run_id(facts.run, *attempt, &Origin::from(&record))? == *run_id {
            add(
                facts,
                AttemptFacts { record: Some(record), ..AttemptFacts::new(*attempt, *run_id) },
            );
        }
    }
    Ok(())
}

/// Attempts that only the list of receipts still knows.
fn add_archived(own: &Own, facts: &mut ChainFacts) -> Result<()> {
    let most = facts.attempts.iter().map(|attempt| attempt.attempt).max().unwrap_or(1);
    for (_, receipt) in facts.settled() {
        for number in 1..=most.saturating_add(FURTHER_ATTEMPTS) {
            if own.run_id(facts.run, number, &Origin::from(&receipt))? == receipt.run_id {
                let opened = RunOpened { run_id: receipt.run_id, terms: receipt.terms.clone() };
                add(
                    facts,
                    AttemptFacts {
                        opened: Some(opened),
                        ..AttemptFacts::new(number, receipt.run_id)
                    },
                );
            }
        }
    }
    Ok(())
}

/// Who may have settled an attempt of which only the record is left: the record holds the settler
/// in a digest alone, and another listed runner of the agent may settle in the opener's place
/// (V14).
async fn add_settlers(rpc: &Rpc, own: &Own, facts: &mut ChainFacts) -> Result<()> {
    let listed: Vec<_> = facts.settled().into_iter().map(|(_, receipt)| receipt.run_id).collect();
    for attempt in &mut facts.attempts {
        let Some(record) = &attempt.record else { continue };
        let is_known = attempt.finalized.is_some() || listed.contains(&attempt.run_id);
        if is_known || !matches!(record.lifecycle, Lifecycle::Finalized { .. }) {
            continue;
        }
        let agent = own.registry.read_agent(rpc, record.agent_id).await?;
        attempt.runners = agent.map(|agent| agent.runners).unwrap_or_default();
    }
    Ok(())
}

/// Adds an attempt, or what was found of one that is there already: an event and a receipt may both
/// lead to it.
fn add(facts: &mut ChainFacts, found: AttemptFacts) {
    match facts.attempts.iter_mut().find(|known| known.run_id == found.run_id) {
        Some(known) => known.opened = known.opened.take().or(found.opened),
        None => facts.attempts.push(found),
    }
}

/// What is known of an account's receipts.
#[derive(Default)]
struct KnownReceipts {
    /// How many there are, and the running hash over them; nothing without an account.
    account: Option<Receipts>,
    /// As far back as their texts are known without a gap.
    list: Option<ReceiptsDocument>,
    /// Settlements whose text cannot be made because their opening is not known.
    unexplained: Vec<Settlement>,
    /// As [`ChainFacts::unseen`].
    unseen: Option<u64>,
}

async fn receipts_of(
    rpc: &Rpc,
    own: &Own,
    user: &Address,
    history: &History,
    lists: Lists,
) -> Result<KnownReceipts> {
    let account = own.vault.read_account(rpc, user).await?;
    let account =
        account.map(|account| Receipts { count: account.receipts, hash: account.receipts_hash });
    let Some(now) = account else { return Ok(KnownReceipts::default()) };

    let is_own = |list: &&ReceiptsDocument| own.owns(list, user);
    let kept: Vec<_> = lists.own.iter().filter(is_own).collect();
    if let Some(stored) = lists.stored.as_ref().filter(is_own) {
        // The verifier's own list counts where both have a receipt. A list from outside that does
        // not lead to the chain's hash is no fault of the account: what was known without it stays.
        let both: Vec<_> = std::iter::once(stored).chain(kept.iter().copied()).collect();
        let known = assemble(own, user, now, history, &both)?;
        let leads = |list: &ReceiptsDocument| {
            list.check().is_ok() && list.end() == Some((now.count, now.hash))
        };
        if known.list.as_ref().is_some_and(leads) {
            return Ok(known);
        }
    }
    assemble(own, user, now, history, &kept)
}

/// One list of these lists and of the events; where several have a receipt, the later list counts,
/// and an event before all.
fn assemble(
    own: &Own,
    user: &Address,
    now: Receipts,
    history: &History,
    lists: &[&ReceiptsDocument],
) -> Result<KnownReceipts> {
    let mut texts: BTreeMap<u64, ReceiptText> = BTreeMap::new();
    let mut hashes: BTreeMap<u64, Digest> = BTreeMap::from([(0, Digest::from([0; 32]))]);
    let mut known: Vec<(VaultRunId, SettledRun)> = Vec::new();
    for list in lists {
        let first = list.receipts.first().map_or(1, |receipt| receipt.number);
        hashes.insert(first.saturating_sub(1), list.before);
        for receipt in &list.receipts {
            hashes.insert(receipt.number, receipt.hash);
            texts.insert(receipt.number, receipt.clone());
            known.extend(settled(receipt).map(|(_, run)| (run.run_id, run)));
        }
    }
    let mut unexplained = Vec::new();
    let mut seen = BTreeSet::new();
    for event in history.finalized.iter().filter(|event| event.user == *user) {
        let opened = history.opened.iter().find(|opened| opened.run_id == event.run_id);
        let listed = known.iter().find(|(id, _)| *id == event.run_id).map(|(_, run)| run);
        let terms = opened.map(|opened| &opened.terms).or(listed.map(|run| &run.terms));
        hashes.insert(event.receipt_number, event.receipts_hash);
        seen.insert(event.receipt_number);
        match terms {
            Some(terms) => {
                let text = event.settled(terms).to_xdr()?;

                // The hash is the event's own: whether the text has it is for the judge.
                let receipt = ReceiptText {
                    hash: event.receipts_hash,
                    ..ReceiptText::new(&Digest::from([0; 32]), event.receipt_number, &text)
                };
                texts.insert(event.receipt_number, receipt);
            }
            None => unexplained.push(Settlement {
                number: event.receipt_number,
                finalized_at: event.finalized_at,
            }),
        }
    }
    let list = newest(own, user, now, &texts, &hashes);
    let unseen = unseen(now.count, &seen, &texts);
    Ok(KnownReceipts { account: Some(now), list: Some(list), unexplained, unseen })
}

/// The newest receipt after the first that the node has, up to the account's newest, that neither
/// an event nor a list knows.
fn unseen(count: u64, seen: &BTreeSet<u64>, texts: &BTreeMap<u64, ReceiptText>) -> Option<u64> {
    let first = *seen.first()?;
    // At most one more than there are events and texts is looked at.
    let is_known = |number: &u64| seen.contains(number) || texts.contains_key(number);
    (first..=count).rev().find(|number| !is_known(number))
}

/// The receipts up to the account's newest, back to the first gap. The hash before the first of
/// them must be known, or its text could not be checked.
fn newest(
    own: &Own,
    user: &Address,
    now: Receipts,
    texts: &BTreeMap<u64, ReceiptText>,
    hashes: &BTreeMap<u64, Digest>,
) -> ReceiptsDocument {
    let mut receipts = Vec::new();
    let mut before = now.hash;
    let mut number = now.count;
    while number > 0 {
        let (Some(receipt), Some(hash)) = (texts.get(&number), hashes.get(&(number - 1))) else {
            break;
        };
        receipts.push(receipt.clone());
        before = *hash;
        number -= 1;
    }
    receipts.reverse();
    ReceiptsDocument {
        kind: RECEIPTS_KIND.to_owned(),
        network: own.network.passphrase().to_owned(),
        vault: own.vault.0.to_string(),
        user: user.to_string(),
        before,
        receipts,
    }
}

#[cfg(test)]
mod tests {
    use stellar::Network;
    use stellar::registry::Registry;
    use stellar::vault::Vault;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A node that answers each call as `answer` says, until the test ends.
    async fn node(answer: fn(&str, &serde_json::Value) -> serde_json::Value) -> Rpc {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                let body = loop {
                    let mut piece = [0; 4096];
                    let count = stream.read(&mut piece).await.unwrap();
                    request.extend_from_slice(&piece[..count]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let head = head.to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1).unwrap();
                    let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
                    if body.len() >= length {
                        break body.to_owned();
                    }
                };
                let call: serde_json::Value = serde_json::from_str(&body).unwrap();
                let method = call["method"].as_str().unwrap();
                let mut text = answer(method, &call["params"]);
                text["jsonrpc"] = "2.0".into();
                text["id"] = 1.into();
                let text = text.to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let length = text.len();
                let whole = format!("{head}\r\ncontent-length: {length}\r\n\r\n{text}");
                stream.write_all(whole.as_bytes()).await.unwrap();
            }
        });
        Rpc::new(&url).unwrap()
    }

    fn own() -> Own {
        Own {
            network: Network::standalone(),
            vault: Vault(Address::Contract([1; 32])),
            registry: Registry(Address::Contract([2; 32])),
            unit: stellar::amount::Unit::default(),
        }
    }

    /// A clock that is behind: the node has forgotten ledgers since.
    fn clock() -> serde_json::Value {
        serde_json::json!({ "result": {
            "status": "NOT_FOUND", "latestLedger": 500, "latestLedgerCloseTime": "5000",
            "oldestLedger": 100, "oldestLedgerCloseTime": "1000",
        }})
    }

    #[tokio::test]
    async fn a_search_that_races_the_nodes_retention_goes_on_in_the_range_that_it_names() {
        let rpc = node(|method, params| match (method, params["startLedger"].as_u64()) {
            ("getEvents", Some(start)) if start < 103 => serde_json::json!({ "error": {
                "code": -32600, "message": "startLedger must be within the ledger range: 103 - 501",
            }}),
            ("getEvents", _) => {
                serde_json::json!({ "result": { "events": [], "latestLedger": 501 } })
            }
            _ => clock(),
        })
        .await;
        let history = history(&rpc, &own()).await.unwrap();
        assert_eq!(history.oldest_ledger, 103);
        assert_eq!(history.oldest_time, 5_000, "it never seems to reach back further than it did");
    }

    #[tokio::test]
    async fn one_lie_about_the_clock_does_not_widen_the_range_of_a_search() {
        // The clock's word for the oldest ledger is too early, and for the newest too late.
        let rpc = node(|method, _| match method {
            "getEvents" => serde_json::json!({ "result": {
                "events": [], "latestLedger": 500, "latestLedgerCloseTime": "5000",
                "oldestLedger": 100, "oldestLedgerCloseTime": "1000",
            }}),
            _ => serde_json::json!({ "result": {
                "status": "NOT_FOUND", "latestLedger": 500, "latestLedgerCloseTime": "9000",
                "oldestLedger": 1, "oldestLedgerCloseTime": "10",
            }}),
        })
        .await;
        let seen = history(&rpc, &own()).await.unwrap();
        assert_eq!((seen.oldest_ledger, seen.oldest_time, seen.latest_time), (100, 9_000, 5_000));

        // And the other way round: here the searches say too much.
        let rpc = node(|method, _| match method {
            "getEvents" => serde_json::json!({ "result": {
                "events": [], "latestLedger": 500, "latestLedgerCloseTime": "9000",
                "oldestLedger": 1, "oldestLedgerCloseTime": "10",
            }}),
            _ => clock(),
        })
        .await;
        let seen = history(&rpc, &own()).await.unwrap();
        assert_eq!((seen.oldest_ledger, seen.oldest_time, seen.latest_time), (100, 1_000, 5_000));
    }

    #[tokio::test]
    async fn one_strangers_event_that_does_not_decode_is_skipped() {
        let rpc = node(|method, _| match method {
            "getEvents" => serde_json::json!({ "result": { "latestLedger": 500, "events": [
                { "ledger": 300, "txHash": "no hash", "topic": ["AAAADwAAAANydW4A"], "value": "AA==" },
                { "ledger": 300, "txHash": "0".repeat(64), "topic": ["*"], "value": "AAAAAQ==" },
                { "ledger": 300, "txHash": "0".repeat(64), "topic": ["AAAADwAAAANydW4A"],
                  "value": "AAAAAQ==" },
            ]}}),
            _ => clock(),
        })
        .await;
        let history = history(&rpc, &own()).await.unwrap();
        assert!(history.opened.is_empty() && history.finalized.is_empty());
    }

    #[test]
    fn a_receipt_between_or_after_those_that_the_node_has_is_unseen() {
        let text = |number| (number, ReceiptText::new(&Digest::from([0; 32]), number, b"text"));
        let of = |count, seen: &[u64], texts: &[u64]| {
            let seen = seen.iter().copied().collect();
            unseen(count, &seen, &texts.iter().copied().map(text).collect())
        };
        assert_eq!(of(7, &[5, 6, 7], &[]), None, "the node may have forgotten the earlier ones");
        assert_eq!(of(7, &[5, 7], &[]), Some(6));
        assert_eq!(of(7, &[4, 6], &[5]), Some(7));
        assert_eq!(of(7, &[4, 6], &[5, 7]), None);
        assert_eq!(of(7, &[], &[1, 2]), None, "a list alone says nothing of the node");
        assert_eq!(of(u64::MAX, &[1], &[]), Some(u64::MAX));
    }

    #[test]
    fn the_range_that_a_node_names_is_read() {
        let refusal = "startLedger must be within the ledger range: 1105 - 2210";
        assert_eq!(oldest_named(refusal), Some(1105));
        assert_eq!(oldest_named("start is before the oldest ledger"), None);
    }
}
