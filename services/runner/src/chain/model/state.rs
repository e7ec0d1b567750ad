//! What is stored, what the network has, and which requests are under way.

use crate::chain::decide::{Found, Signed};

/// The first ledger after the long outage. Those before it are counted from 0.
pub(super) const AFTER_OUTAGE: u8 = 100;

/// A ledger's sequence. No record lives from one side of the outage to the other.
pub(super) const fn number(ledger: u8) -> u32 {
    if ledger < AFTER_OUTAGE { 10 + ledger as u32 } else { 100_000 + ledger as u32 }
}

/// When a ledger closed, at one a second.
pub(super) const fn close_time(ledger: u8) -> u64 {
    1_000 + number(ledger) as u64
}

/// The ledger that a node that is behind still takes for the newest.
pub(super) const fn before(ledger: u8) -> Option<u8> {
    if ledger == 0 || ledger == AFTER_OUTAGE { None } else { Some(ledger - 1) }
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Open,
    Finalize,
    Void,
    Reclaim,
}

/// How far a run's call is. A withdrawn call ends its run in the same step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Call {
    Wanted,
    Signed,
    Done,
    Refused,
    /// An operator has to look.
    Unknown,
    /// The run is over.
    Ended(RunEnd),
}

/// How a run is stored as ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum RunEnd {
    NeverOpened,
    Settled,
    GivenBack,
}

/// What the vault did with a run's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Escrow {
    Absent,
    Open,
    Finalized,
    Voided,
    Reclaimed,
}

/// A run with the one call that it has at a time, and the truth about it on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Run {
    pub kind: Kind,
    pub call: Call,
    /// It is signed with no other call.
    pub alone: bool,
    /// The last ledger in which it can be settled; 0 while nothing is opened.
    pub deadline: u8,
    pub escrow: Escrow,
    /// The escrow changed in the newest ledger: a node that is behind shows what was before.
    pub fresh: bool,
    /// The record has reached the end of its life, so that no node shows it.
    pub gone: bool,
    /// How often an opening took money.
    pub opened: u8,
}

/// A request that was counted, and of which it is not known whether it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Request {
    First,
    Later,
    Bump,
}

/// What a transaction that landed did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Outcome {
    /// These of its calls; the vault refused the others.
    Did([bool; 2]),
    /// Nothing, by an error of the vault or of the network.
    Failed { by_vault: bool },
}

/// Where a transaction truly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Nowhere,
    /// As itself, inside its fee bump, or both.
    Queued {
        itself: bool,
        bump: bool,
    },
    Landed {
        at: u8,
        by_bump: bool,
        outcome: Outcome,
    },
    /// Another program used its sequence number.
    Displaced,
    /// No ledger may take it any more.
    Late,
}

/// A signed transaction, stored before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Transaction {
    pub kind: Kind,
    pub calls: [bool; 2],
    pub signed_at: u8,
    /// The last ledger that may take it.
    pub valid_until: u8,
    /// None, one, or more.
    pub sends: u8,
    pub bumped: bool,
    /// The request of the process that holds the channel, and that of the other one.
    pub requests: [Option<Request>; 2],
    pub place: Place,
}

/// A source account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Channel {
    /// The transaction that has not ended, as far as is stored.
    pub live: Option<Transaction>,
    /// One that is stored as ended and can land anyway. No right rule makes one.
    pub left: Option<Transaction>,
}

/// What may still happen on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Budget {
    pub signings: u8,
    /// Lost leases, fee bumps, and sequence numbers used by another program.
    pub troubles: u8,
}

/// Everything at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct State {
    pub ledger: u8,
    /// The high-water mark is the newest ledger; otherwise it is the one before.
    pub seen: bool,
    pub runs: [Run; 2],
    pub channels: [Channel; 2],
    pub budget: Budget,
}

/// The history that a node has, from its oldest ledger to its newest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub oldest: u8,
    pub latest: u8,
}

impl Run {
    /// A run whose call of this kind is wanted.
    pub(super) const fn new(kind: Kind, deadline: u8) -> Self {
        let is_open = !matches!(kind, Kind::Open);
        Self {
            kind,
            call: Call::Wanted,
            alone: false,
            deadline,
            escrow: if is_open { Escrow::Open } else { Escrow::Absent },
            fresh: false,
            gone: false,
            opened: is_open as u8,
        }
    }

    pub(super) const fn wants(self, kind: Kind) -> Self {
        Self { kind, call: Call::Wanted, alone: false, ..self }
    }

    pub(super) const fn ended(self, how: RunEnd) -> Self {
        Self { kind: Kind::Open, call: Call::Ended(how), alone: false, deadline: 0, ..self }
    }

    /// How the vault closed it, as its events prove also when the record is gone.
    pub(super) const fn closed(self) -> Option<RunEnd> {
        match self.escrow {
            Escrow::Absent | Escrow::Open => None,
            Escrow::Finalized => Some(RunEnd::Settled),
            Escrow::Voided | Escrow::Reclaimed => Some(RunEnd::GivenBack),
        }
    }

    /// Nothing can be settled in time any more.
    pub(super) const fn past_deadline(self) -> Self {
        match self.closed() {
            Some(how) => self.ended(how),
            None => self.wants(Kind::Reclaim),
        }
    }

    /// What the vault's record says in the newest ledger, or in the one before.
    pub(super) const fn record(self, is_behind: bool) -> Escrow {
        if self.gone {
            Escrow::Absent
        } else if is_behind && self.fresh {
            match self.escrow {
                Escrow::Absent | Escrow::Open => Escrow::Absent,
                Escrow::Finalized | Escrow::Voided | Escrow::Reclaimed => Escrow::Open,
            }
        } else {
            self.escrow
        }
    }

    /// Whether this record has what the run's call does.
    pub(super) const fn is_shown_by(self, record: Escrow) -> bool {
        match self.kind {
            Kind::Open => !matches!(record, Escrow::Absent),
            Kind::Finalize => matches!(record, Escrow::Finalized),
            Kind::Void => matches!(record, Escrow::Voided),
            Kind::Reclaim => matches!(record, Escrow::Reclaimed),
        }
    }
}

impl Transaction {
    pub(super) const fn signed(&self) -> Signed {
        Signed { max_time: close_time(self.valid_until), ledger: number(self.signed_at) }
    }

    /// A ledger may still take it, if it gets there.
    pub(super) const fn is_in_the_air(&self) -> bool {
        matches!(self.place, Place::Nowhere | Place::Queued { .. })
    }

    /// A ledger will take it, unless something else happens.
    pub(super) const fn can_land(&self) -> bool {
        match self.place {
            Place::Nowhere => self.requests[0].is_some() || self.requests[1].is_some(),
            Place::Queued { .. } => true,
            Place::Landed { .. } | Place::Displaced | Place::Late => false,
        }
    }

    /// What a node says of the transaction's own hash, or of that of its fee bump.
    pub(super) fn found(&self, node: Node, bump: bool) -> Found {
        match self.place {
            Place::Landed { at, by_bump, outcome }
                if by_bump == bump && (node.oldest..=node.latest).contains(&at) =>
            {
                match outcome {
                    Outcome::Did(_) => Found::Success,
                    Outcome::Failed { .. } => Found::Failed,
                }
            }
            _ => Found::NotFound,
        }
    }

    /// A request of it has reached the queue.
    pub(super) fn arrive(&mut self, request: Request) {
        let (mut itself, mut bump) = match self.place {
            Place::Nowhere => (false, false),
            Place::Queued { itself, bump } => (itself, bump),
            Place::Landed { .. } | Place::Displaced | Place::Late => return,
        };
        match request {
            Request::First | Request::Later => itself = true,
            Request::Bump => bump = true,
        }
        self.place = Place::Queued { itself, bump };
    }

    /// Forgets what cannot make a difference any more.
    fn tidy(mut self, ledger: u8) -> Self {
        if self.is_in_the_air() && close_time(ledger) >= close_time(self.valid_until) {
            self.place = Place::Late;
        }
        if !self.is_in_the_air() {
            self.requests = [None; 2];
            self.sends = 2;
        }
        if matches!(self.place, Place::Displaced | Place::Late) {
            self.bumped = false;
        }
        self
    }

    fn swap_runs(mut self) -> Self {
        self.calls.swap(0, 1);
        if let Place::Landed { outcome: Outcome::Did(done), .. } = &mut self.place {
            done.swap(0, 1);
        }
        self
    }
}

impl State {
    /// All transactions, those that are wrongly stored as ended included.
    pub(super) fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.channels.iter().flat_map(|channel| [&channel.live, &channel.left]).flatten()
    }

    /// The one of all states that differ in nothing but numbers of runs and channels.
    pub(super) fn tidy(mut self) -> Self {
        for channel in &mut self.channels {
            channel.live = channel.live.map(|live| live.tidy(self.ledger));
            channel.left = channel.left.map(|left| left.tidy(self.ledger));
            channel.left = channel.left.filter(Transaction::can_land);
        }
        let mut other = self;
        other.runs.swap(0, 1);
        for channel in &mut other.channels {
            channel.live = channel.live.map(Transaction::swap_runs);
            channel.left = channel.left.map(Transaction::swap_runs);
        }
        self.channels.sort_unstable();
        other.channels.sort_unstable();
        self.min(other)
    }
}
