//! A signed transaction as it is kept, from before its first send until it has ended.

use std::fmt;
use std::str::FromStr;

use wire::{Digest, RunId};

use crate::chain::decide::Signed;

/// What a transaction is for. At most one of a kind is in the air for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `open_run`.
    Open,
    /// `finalize_run`.
    Finalize,
    /// `void_run`.
    Void,
    /// `reclaim_run`.
    Reclaim,
}

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Stored, not sent.
    Prepared,
    /// A send has begun.
    Sent,
    /// A send was answered, or not; nothing is proven.
    Unknown,
    /// It landed and did what it says.
    Succeeded,
    /// It landed and did nothing.
    Failed,
    /// It can never land.
    Expired,
    /// It was refused before the queue, for good.
    Rejected,
}

/// A transaction.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Its hash.
    pub hash: Digest,
    /// The run it is for.
    pub run: RunId,
    /// The attempt it is for.
    pub attempt: u32,
    /// What it does.
    pub kind: Kind,
    /// The run's id in the vault that it was signed for; absent in what older releases stored.
    pub vault_run_id: Option<Digest>,
    /// Its source account.
    pub source: String,
    /// Its sequence number.
    pub sequence: i64,
    /// Unix seconds of ledger time after which it can't land.
    pub max_time: u64,
    /// Newest ledger known when it was signed.
    pub signed_ledger: u32,
    /// The signed envelope (XDR).
    pub envelope: Vec<u8>,
    /// How far it is.
    pub state: State,
    /// The last thing a node said about it.
    pub last_answer: Option<String>,
    /// The number of the vault's error by which it did nothing.
    pub contract_error: Option<u32>,
    /// Where and when it landed.
    pub landed: Option<Landed>,
}

/// A transaction that is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// Its return value (ScVal XDR), if it succeeded.
    pub result: Option<Vec<u8>>,
    /// The ledger.
    pub ledger: u32,
    /// When that ledger closed, Unix seconds.
    pub closed_at: u64,
}

/// A name in the database that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a known transaction state or kind")]
pub struct UnknownName(String);

impl Transaction {
    /// What a decision needs of it.
    pub const fn signed(&self) -> Signed {
        Signed { max_time: self.max_time, ledger: self.signed_ledger }
    }
}

impl Kind {
    /// The name in the database, in crash points and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Finalize => "finalize",
            Self::Void => "void",
            Self::Reclaim => "reclaim",
        }
    }
}

impl State {
    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Sent => "sent",
            Self::Unknown => "unknown",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let all = [Self::Open, Self::Finalize, Self::Void, Self::Reclaim];
        let found = all.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl FromStr for State {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let all = [
            Self::Prepared,
            Self::Sent,
            Self::Unknown,
            Self::Succeeded,
            Self::Failed,
            Self::Expired,
            Self::Rejected,
        ];
        let found = all.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
