//! How each configured node is, for `/health`, the metrics and `runner doctor`.
//!
//! Every node is asked, whichever node's turn it is: one that is needed only when another fails is
//! found wanting before that.

use std::fmt;
use std::time::Duration;

use futures::future::join_all;
use stellar::rpc::Clock;
use stellar::{ChainError, Rpc, RpcError};
use tokio::time::timeout;
use wire::NetworkId;

use crate::chain::history::{self, Landmark};
use crate::chain::network::{LedgerMark, NodeStatus, compare};
use crate::metrics;

/// How far a node's newest ledger may be behind the newest that was seen, in seconds of ledger
/// time: nodes have a ledger at different moments.
const BEHIND_SECS: u64 = 30;

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It answers, and is not behind.
    Answers,
    /// Its newest ledger is older than what was seen.
    Behind,
    /// It has another history of the network (R13).
    OtherHistory,
    /// It is on another network, and is not asked for anything.
    OtherNetwork,
    /// It gives no answer that can be used.
    Away,
}

/// A node as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Its number: 1 is that of `RUNNER_RPC_URL`, those of `RUNNER_RPC_FALLBACK_URLS` follow.
    pub number: usize,
    /// Scheme, host and port of its address.
    pub origin: String,
    /// How it is.
    pub state: NodeState,
    /// When its newest ledger closed, Unix seconds, if it said so.
    pub latest_close: Option<u64>,
    /// What was found, in words.
    pub words: String,
}

/// What a node answered.
enum Answer {
    /// Its clock, and its protocol version.
    Found(Clock, u32),
    /// The passphrase of another network.
    OtherNetwork(String),
    /// It lacks what landed.
    OtherHistory(Landmark),
    /// Nothing that can be used, and why.
    Nothing(String),
}

impl NodeState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Answers, Self::Behind, Self::OtherHistory, Self::OtherNetwork, Self::Away];

    /// The name in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Behind => "behind",
            Self::OtherHistory => "other_history",
            Self::OtherNetwork => "other_network",
            Self::Away => "away",
        }
    }
}

impl fmt::Display for NodeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} ({}): {}", self.number, self.origin, self.words)
    }
}

/// Asks every node of `rpc`, all of them at one time and each for at most `patience`. `known` is
/// the newest ledger that was seen of the network before; with `landmark`, nodes are also asked for
/// what landed. A node on another network is put aside.
pub async fn look(
    rpc: &Rpc,
    network: NetworkId,
    (known, landmark): (Option<LedgerMark>, Option<Landmark>),
    patience: Duration,
) -> Vec<NodeReport> {
    rpc.expect_network(network);
    let places = 0..rpc.nodes();
    let answers = join_all(places.map(|place| ask(rpc, place, landmark, patience))).await;
    let newest = newest(known, &answers);
    let reports = answers.into_iter().enumerate().map(|(place, answer)| {
        let latest_close = match &answer {
            Answer::Found(clock, _) => Some(clock.latest_close),
            Answer::OtherNetwork(_) | Answer::OtherHistory(_) | Answer::Nothing(_) => None,
        };
        let (state, words) = judge(newest, answer);
        NodeReport { number: place + 1, origin: rpc.origin_at(place), state, latest_close, words }
    });
    reports.collect()
}

/// Records in the metrics how the nodes are.
pub fn record(reports: &[NodeReport]) {
    for report in reports {
        let states = NodeState::ALL.map(|state| (state.name(), report.state == state));
        metrics::record_node(report.number, &states);
    }
}

/// Whether every node is as it should be.
///
/// # Errors
///
/// All of them in words, if one is not: which of the others can be relied on is of interest then.
pub fn check(reports: &[NodeReport]) -> Result<(), String> {
    if reports.iter().all(|report| report.state == NodeState::Answers) {
        return Ok(());
    }
    Err(reports.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

async fn ask(rpc: &Rpc, place: usize, landmark: Option<Landmark>, patience: Duration) -> Answer {
    let asking = async {
        let node = rpc.network_at(place).await?;
        // It answers only for a node that is on the expected network.
        Ok::<_, ChainError>(match history::clock(rpc, place, landmark).await? {
            Ok(clock) => Answer::Found(clock, node.protocol),
            Err(landmark) => Answer::OtherHistory(landmark),
        })
    };
    match timeout(patience, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(ChainError::Rpc(RpcError::OtherNetwork { theirs, .. }))) => {
            Answer::OtherNetwork(theirs)
        }
        Ok(Err(error)) => Answer::Nothing(error.to_string()),
        Err(_) => Answer::Nothing("it took too long to answer".to_owned()),
    }
}

/// The newest ledger of the history that is known; without any, of the first node that answers.
fn newest(known: Option<LedgerMark>, answers: &[Answer]) -> Option<LedgerMark> {
    answers.iter().fold(known, |newest, answer| {
        let Answer::Found(clock, _) = answer else { return newest };
        let seen = LedgerMark::newest(clock);
        match newest {
            Some(newest) if compare(&newest, &seen) != NodeStatus::Current => Some(newest),
            _ => Some(seen),
        }
    })
}

/// How a node is that answered this, and what was found, in words.
fn judge(newest: Option<LedgerMark>, answer: Answer) -> (NodeState, String) {
    let (clock, protocol) = match answer {
        Answer::Found(clock, protocol) => (clock, protocol),
        Answer::OtherNetwork(theirs) => {
            let words = format!(
                "it is on the network {theirs:?}, and is not asked; correct its address, then \
                 start again"
            );
            return (NodeState::OtherNetwork, words);
        }
        Answer::OtherHistory(landmark) => {
            let words = format!("it has another history of the network: {}", landmark.words());
            return (NodeState::OtherHistory, words);
        }
        Answer::Nothing(why) => return (NodeState::Away, why),
    };
    let seen = LedgerMark::newest(&clock);
    let newest = newest.unwrap_or(seen);
    let behind_secs = newest.closed_at.saturating_sub(seen.closed_at);
    let kept = format!("keeps ledgers from {} on", clock.oldest_ledger);
    match compare(&newest, &seen) {
        NodeStatus::NetworkReset => {
            let words = format!(
                "it has another history of the network: its ledger {} closed at {}, known is {} \
                 at {}",
                seen.ledger, seen.closed_at, newest.ledger, newest.closed_at
            );
            (NodeState::OtherHistory, words)
        }
        NodeStatus::Behind if behind_secs > BEHIND_SECS => {
            let words = format!(
                "it is {behind_secs} s behind: its newest ledger is {}, {} was seen; {kept}",
                seen.ledger, newest.ledger
            );
            (NodeState::Behind, words)
        }
        NodeStatus::Current | NodeStatus::Behind => {
            let words = format!("ledger {}, protocol {protocol}, {kept}", seen.ledger);
            (NodeState::Answers, words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(latest_ledger: u32, latest_close: u64, oldest_ledger: u32) -> Answer {
        let clock = Clock { latest_ledger, latest_close, oldest_ledger, oldest_close: 0 };
        Answer::Found(clock, 27)
    }

    #[test]
    fn a_node_is_judged_by_the_newest_ledger_that_any_other_has() {
        let known = Some(LedgerMark { ledger: 90, closed_at: 900 });
        let cases = [
            (found(100, 1_000, 1), NodeState::Answers, "keeps ledgers from 1 on"),
            (found(100, 1_000, 95), NodeState::Answers, "keeps ledgers from 95 on"),
            (found(97, 970, 1), NodeState::Answers, "ledger 97"),
            (found(96, 969, 1), NodeState::Behind, "31 s behind"),
            (found(7, 1_060, 1), NodeState::OtherHistory, "another history"),
            (Answer::OtherNetwork("x\u{202e}".to_owned()), NodeState::OtherNetwork, "202e"),
            (
                Answer::OtherHistory(Landmark { hash: [7; 32].into(), ledger: 80 }),
                NodeState::OtherHistory,
                "is not in its ledger 80",
            ),
            (Answer::Nothing("no route".to_owned()), NodeState::Away, "no route"),
        ];
        let (answers, expected): (Vec<_>, Vec<_>) =
            cases.into_iter().map(|(answer, state, words)| (answer, (state, words))).unzip();
        let newest = newest(known, &answers);
        assert_eq!(newest, Some(LedgerMark { ledger: 100, closed_at: 1_000 }));
        for (answer, (expected, part)) in answers.into_iter().zip(expected) {
            let (state, words) = judge(newest, answer);
            assert_eq!(state, expected, "{words}");
            assert!(words.contains(part), "{words}");
        }
    }

    #[test]
    fn nodes_are_named_as_soon_as_one_of_them_is_not_well() {
        let report = |number, state, words: &str| NodeReport {
            number,
            origin: "http://localhost:8000".to_owned(),
            state,
            latest_close: None,
            words: words.to_owned(),
        };
        let well = report(1, NodeState::Answers, "ledger 7");
        assert_eq!(check(std::slice::from_ref(&well)), Ok(()));
        let named = check(&[well, report(2, NodeState::Away, "no route")]).unwrap_err();
        let expected =
            "node 1 (http://localhost:8000): ledger 7; node 2 (http://localhost:8000): no route";
        assert_eq!(named, expected);
    }
}
