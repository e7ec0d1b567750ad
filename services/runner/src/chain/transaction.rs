//! A signed transaction as it is kept, from before its first send until it has ended.

use std::fmt;
use std::str::FromStr;

use wire::TxHash;

use crate::chain::decide::Signed;

/// What a transaction does. All calls of one transaction are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `open_run`.
    Open,
    /// `finalize_run`.
    Finalize,
    /// `void_run`.
    Void,
    /// `reclaim_run`.
    Reclaim,
    /// No call: lumens move between a channel and the account that pays for it.
    Channel,
}

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
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
    /// It can never land, and never did.
    Expired,
    /// It can never land any more; whether it did, the node has forgotten.
    Forgotten,
    /// It was refused before the queue, for good.
    Rejected,
}

/// A transaction.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Its number; 0 until it is stored.
    pub id: i64,
    /// Its hash.
    pub hash: TxHash,
    /// What its calls do.
    pub kind: Kind,
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
    /// Most stroops that it can cost; 0 for what an older release signed.
    pub max_fee: u64,
    /// How far it is.
    pub state: TransactionState,
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
    /// Stroops that it was charged.
    pub fee_charged: Option<i64>,
}

/// A name in the database that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a known transaction state or kind")]
pub struct UnknownName(pub(super) String);

impl Transaction {
    /// What a decision needs of it.
    pub const fn signed(&self) -> Signed {
        Signed { max_time: self.max_time, ledger: self.signed_ledger }
    }

    /// Whether it may still land, as far as is proven.
    pub const fn is_live(&self) -> bool {
        matches!(
            self.state,
            TransactionState::Prepared | TransactionState::Sent | TransactionState::Unknown
        )
    }
}

impl Kind {
    /// Every kind, the most urgent first: what ends an escrow goes before what begins one.
    pub const ALL: [Self; 5] =
        [Self::Finalize, Self::Void, Self::Reclaim, Self::Open, Self::Channel];

    /// How many calls of this kind one transaction can carry (V9).
    pub const fn most_together(self) -> usize {
        match self {
            Self::Open => stellar::vault::MOST_OPENS,
            Self::Finalize => stellar::vault::MOST_SETTLEMENTS,
            Self::Void | Self::Reclaim | Self::Channel => 1,
        }
    }

    /// The name in the database, in crash points and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Finalize => "finalize",
            Self::Void => "void",
            Self::Reclaim => "reclaim",
            Self::Channel => "channel",
        }
    }
}

impl TransactionState {
    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Sent => "sent",
            Self::Unknown => "unknown",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Forgotten => "forgotten",
            Self::Rejected => "rejected",
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl FromStr for TransactionState {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let all = [
            Self::Prepared,
            Self::Sent,
            Self::Unknown,
            Self::Succeeded,
            Self::Failed,
            Self::Expired,
            Self::Forgotten,
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
