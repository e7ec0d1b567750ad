//! The crash matrix: every edge of a run that is settled, voided or reclaimed, and of a payment to
//! a channel beside a run, meets every fault; what can go together also in a batch. Beside that,
//! three runners on one database are killed at random while clients hang up on every route.
//!
//! The edges of a fee bump are not here: they need others who fill every ledger. The tests of the
//! runner (`bumping.rs`) kill it at each of them.
//!
//! The processes, Postgres, NATS, guard and seal are real. After each case the run must have ended
//! in exactly one way, Postgres, vault, node, balances, stream and executions must agree, and the
//! money must add up by events and balances that are read from the node here.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::time::Instant;

pub use lane::CaseResult;
pub use payment::PaymentEnd;
pub use random::RandomResult;

mod check;
mod clients;
mod lane;
mod payment;
mod random;
mod report;

/// How long a claim outlives its process in these stacks: what `Stack::runner_variables` sets.
pub const LEASE: Duration = Duration::from_secs(2);
/// How long a transaction can land after it was signed.
pub const TRANSACTION_LIFE: Duration = Duration::from_secs(60);
/// How many runs make a batch.
const TOGETHER: usize = 3;

/// What becomes of the runs of a case, if nothing goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They are executed and settled.
    Settled,
    /// Their user calls them off once they are opened, so that they are voided.
    CalledOff,
    /// Their runner is away until the deadline has passed, so that their escrow is reclaimed.
    Overdue,
    /// They are executed and settled while an operator pays lumens to a channel.
    Payment,
}

impl Way {
    /// How many runs are asked for at one time: alone, and in a batch where that is another case.
    const fn runs(self) -> &'static [usize] {
        match self {
            Self::Settled | Self::CalledOff => &[1, TOGETHER],
            Self::Overdue | Self::Payment => &[1],
        }
    }

    /// Whether no run may be settled on it.
    const fn gives_back(self) -> bool {
        matches!(self, Self::CalledOff | Self::Overdue)
    }
}

/// When the fault comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// As soon as the request for the run was answered.
    Accepted,
    /// At this crash point of the runner.
    Point(&'static str),
    /// As soon as the gateway shows the end of the run; its last event may be on its way.
    Ended,
}

/// Every edge in the order a run passes them, with its way and its name in the table.
pub const EDGES: [(Way, At, &str); 34] = [
    (Way::Settled, At::Accepted, "admission committed"),
    (Way::Settled, At::Point("open.before_persist"), "opening signed, not stored"),
    (Way::Settled, At::Point("open.after_persist"), "opening stored"),
    (Way::Settled, At::Point("open.after_send"), "opening sent"),
    (Way::Settled, At::Point("open.after_land"), "opening confirmed, not stored"),
    (Way::Settled, At::Point("open.after_result"), "opening's result stored"),
    (Way::Settled, At::Point("execute.before"), "execution ordered"),
    (Way::Settled, At::Point("execute.during"), "executing"),
    (Way::Settled, At::Point("execute.after_answer"), "statement received"),
    (Way::Settled, At::Point("execute.after_persist"), "statement stored"),
    (Way::Settled, At::Point("seal.before"), "seal ordered"),
    (Way::Settled, At::Point("seal.after_answer"), "seal received"),
    (Way::Settled, At::Point("seal.after_persist"), "sealed, settlement frozen"),
    (Way::Settled, At::Point("finalize.before_persist"), "settlement signed, not stored"),
    (Way::Settled, At::Point("finalize.after_persist"), "settlement stored"),
    (Way::Settled, At::Point("finalize.after_send"), "settlement sent"),
    (Way::Settled, At::Point("finalize.after_land"), "settlement confirmed, not stored"),
    (Way::Settled, At::Point("finalize.after_result"), "settlement's result stored"),
    (Way::Settled, At::Ended, "receipt stored, event on its way"),
    (Way::CalledOff, At::Point("void.before_persist"), "void signed, not stored"),
    (Way::CalledOff, At::Point("void.after_persist"), "void stored"),
    (Way::CalledOff, At::Point("void.after_send"), "void sent"),
    (Way::CalledOff, At::Point("void.after_land"), "void confirmed, not stored"),
    (Way::CalledOff, At::Point("void.after_result"), "void's result stored"),
    (Way::Overdue, At::Point("reclaim.before_persist"), "reclaim signed, not stored"),
    (Way::Overdue, At::Point("reclaim.after_persist"), "reclaim stored"),
    (Way::Overdue, At::Point("reclaim.after_send"), "reclaim sent"),
    (Way::Overdue, At::Point("reclaim.after_land"), "reclaim confirmed, not stored"),
    (Way::Overdue, At::Point("reclaim.after_result"), "reclaim's result stored"),
    (Way::Payment, At::Point("channel.before_persist"), "payment signed, not stored"),
    (Way::Payment, At::Point("channel.after_persist"), "payment stored"),
    (Way::Payment, At::Point("channel.after_send"), "payment sent"),
    (Way::Payment, At::Point("channel.after_land"), "payment confirmed, not stored"),
    (Way::Payment, At::Point("channel.after_result"), "payment's result stored"),
];

/// What goes wrong at an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The runner is killed (SIGKILL) and started again.
    Kill,
    /// The next two transactions reach the node, and its answers get lost.
    LostResponse,
    /// Postgres is killed, is away for a second, and starts again.
    Postgres,
    /// The same with NATS.
    Nats,
    /// One request is not carried out and one is, and neither is answered.
    Timeout,
    /// The node shows the chain as it was eight ledgers ago, for two seconds.
    Lagging,
    /// The node has forgotten every ledger until now.
    Pruned,
    /// Events come twice and lists backwards, and the client asks for the same run again.
    Duplicates,
    /// No ledger closes for two seconds.
    Stalled,
}

impl Fault {
    /// Every fault, in the order of the table's columns.
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::LostResponse,
        Self::Postgres,
        Self::Nats,
        Self::Timeout,
        Self::Lagging,
        Self::Pruned,
        Self::Duplicates,
        Self::Stalled,
    ];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::LostResponse => "lost response",
            Self::Postgres => "Postgres restart",
            Self::Nats => "NATS restart",
            Self::Timeout => "RPC timeout",
            Self::Lagging => "lagging node",
            Self::Pruned => "pruned node",
            Self::Duplicates => "duplicate delivery",
            Self::Stalled => "ledger stall",
        }
    }
}

/// One field of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// A row of [`EDGES`].
    pub edge: usize,
    /// What goes wrong there.
    pub fault: Fault,
    /// How many runs are asked for at one time.
    pub runs: usize,
}

impl Case {
    /// Every case, in the order of the edges.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (edge, (way, _, _)) in EDGES.iter().enumerate() {
            for fault in Fault::ALL {
                all.extend(way.runs().iter().map(|runs| Self { edge, fault, runs: *runs }));
            }
        }
        all
    }

    /// What becomes of its runs, if nothing goes wrong.
    pub const fn way(&self) -> Way {
        EDGES[self.edge].0
    }

    /// Edge, fault and number of runs, such as `settlement sent x pruned node, 3 runs`.
    pub fn name(&self) -> String {
        let runs = if self.runs == 1 { "1 run".to_owned() } else { format!("{} runs", self.runs) };
        format!("{} x {}, {runs}", EDGES[self.edge].2, self.fault.name())
    }
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decides the order of the cases and everything that is random.
    pub seed: u64,
    /// How many cases, of all; none: every one.
    pub cases: Option<usize>,
    /// Exactly these cases, in this order; none: what the seed chooses.
    pub named: Vec<Case>,
    /// How long the random part lasts; zero leaves it out.
    pub random: Duration,
    /// How many stacks work on cases at one time.
    pub lanes: usize,
    /// No further case is begun after this long.
    pub within: Option<Duration>,
}

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    /// What was asked for.
    pub options: Options,
    /// Every case that was tried.
    pub cases: Vec<CaseResult>,
    /// How many were left when the time was over, or when no stack started any more.
    pub not_tried: usize,
    /// The random part.
    pub random: Option<RandomResult>,
    /// How long all of it took.
    pub took: Duration,
}

impl Outcome {
    /// Everything that is not as it must be, a line each.
    pub fn broken(&self) -> Vec<String> {
        let cases = self.cases.iter().flat_map(|case| {
            case.broken.iter().map(move |text| format!("{}: {text}", case.case.name()))
        });
        let random = self
            .random
            .iter()
            .flat_map(|random| random.broken.iter().map(|text| format!("random part: {text}")));
        let is_cut = self.not_tried > 0 && self.options.within.is_none();
        let cut = is_cut.then(|| format!("{} cases were not tried", self.not_tried));
        cases.chain(random).chain(cut).collect()
    }
}

/// Runs the matrix, saying on standard output how far it is.
pub async fn run(options: Options) -> Outcome {
    let begun = Instant::now();
    println!("seed {}", options.seed);
    let queue = Mutex::new(chosen(&options));
    let total = queue.lock().map_or(0, |queue| queue.len());
    let done = Mutex::new(Vec::with_capacity(total));
    let until = options.within.and_then(|within| begun.checked_add(within));
    let lanes = (0..options.lanes.min(total)).map(|_| lane::work(&queue, &done, total, until));
    let random = async {
        if options.random.is_zero() {
            return None;
        }
        // The cases go on, whatever happens here.
        let random = random::run(options.seed, options.random).await;
        Some(random.unwrap_or_else(|error| RandomResult {
            broken: vec![format!("it could not be carried through: {error:#}")],
            ..RandomResult::default()
        }))
    };
    let (_, random) = futures::future::join(futures::future::join_all(lanes), random).await;
    let mut cases = done.into_inner().unwrap_or_default();
    cases.sort_by_key(|result: &CaseResult| (result.case.runs, result.case.edge));
    let not_tried = queue.lock().map_or(0, |queue| queue.len());
    Outcome { options, cases, not_tried, random, took: begun.elapsed() }
}

/// The cases that were named, or those that the seed chooses, in its order.
fn chosen(options: &Options) -> VecDeque<Case> {
    if !options.named.is_empty() {
        return options.named.clone().into();
    }
    let mut cases = Case::all();
    cases.shuffle(&mut StdRng::seed_from_u64(options.seed));
    let Some(most) = options.cases.filter(|most| *most < cases.len()) else { return cases.into() };
    // Of a few, one is of a run that is not only settled.
    let further = cases.iter().position(|case| case.way() != Way::Settled);
    if let (Some(last), Some(further)) = (most.checked_sub(1), further)
        && further > last
    {
        cases.swap(last, further);
    }
    cases.truncate(most);
    cases.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_cases_are_those_of_the_seed_and_not_all_of_settled_runs() {
        for seed in 0..100 {
            let few = |cases| {
                let (random, within) = (Duration::ZERO, None);
                let named = Vec::new();
                chosen(&Options { seed, cases: Some(cases), named, random, lanes: 1, within })
            };
            let cases = few(5);
            assert_eq!(cases.len(), 5, "seed {seed}");
            assert_eq!(cases, few(5), "seed {seed}");
            assert!(cases.iter().any(|case| case.way() != Way::Settled), "seed {seed}: {cases:?}");
            assert!(few(0).is_empty());
        }
    }
}
