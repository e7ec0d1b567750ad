//! The page that the command writes.

use std::fmt::Write as _;
use std::time::Duration;

use super::lane::{CaseResult, End};
use super::{
    Case, EDGES, Fault, LEASE, Outcome, PaymentEnd, RandomResult, TOGETHER, TRANSACTION_LIFE, Way,
};

/// One table of the page.
struct Table {
    way: Way,
    /// How many runs each of its cases has.
    runs: usize,
    heading: &'static str,
    /// What happens in its cases, where the introduction does not say it.
    text: &'static str,
}

/// Every table, in the order of the page.
const TABLES: [Table; 6] = [
    Table { way: Way::Settled, runs: 1, heading: "One run", text: "" },
    Table { way: Way::Settled, runs: TOGETHER, heading: "A batch of three runs", text: "" },
    Table { way: Way::CalledOff, runs: 1, heading: "A run that is called off", text: CALLED_OFF },
    Table {
        way: Way::CalledOff,
        runs: TOGETHER,
        heading: "Three runs that are called off",
        text: CALLED_OFF,
    },
    Table { way: Way::Overdue, runs: 1, heading: "A run past its deadline", text: OVERDUE },
    Table {
        way: Way::Payment,
        runs: 1,
        heading: "A payment to a channel beside a run",
        text: PAYMENT,
    },
];

impl Outcome {
    /// The page for `docs/operations/crash-matrix.md`; `commit` is what was tried.
    pub fn page(&self, commit: &str) -> String {
        let mut page = String::new();
        // Writing to a text does not fail.
        let _ = self.write(&mut page, commit);
        page
    }

    fn write(&self, page: &mut String, commit: &str) -> std::fmt::Result {
        let broken = self.broken();
        page.write_str(INTRODUCTION)?;
        writeln!(page, "\n| | |\n|---|---|")?;
        writeln!(page, "| commit | `{commit}` |")?;
        writeln!(page, "| seed | {} |", self.options.seed)?;
        let all = Case::all().len();
        writeln!(page, "| cases | {} of {all} |", self.cases.len())?;
        writeln!(page, "| took | {} min |", self.took.as_secs().div_ceil(60))?;
        writeln!(page, "| not as it must be | {} |", broken.len())?;
        writeln!(page, "\nAgain, with the same order of cases and the same random choices:\n")?;
        let minutes = self.options.random.as_secs() / 60;
        let seed = self.options.seed;
        let within = self.options.within.map(|within| within.as_secs() / 60);
        let within = within.map(|within| format!(" --within {within}")).unwrap_or_default();
        let command = format!("./dev crash-matrix --minutes {minutes} --seed {seed}{within}");
        writeln!(page, "```sh\n{command}\n```")?;
        for table in TABLES {
            write!(page, "\n## {}\n\n{}", table.heading, table.text)?;
            self.table(page, &table)?;
        }
        if let Some(random) = &self.random {
            random.write(page)?;
        }
        if !broken.is_empty() {
            writeln!(page, "\n## Not as it must be\n")?;
            for text in broken {
                writeln!(page, "- {}", text.lines().next().unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn table(&self, page: &mut String, table: &Table) -> std::fmt::Result {
        let faults = Fault::ALL.map(Fault::name).join(" | ");
        writeln!(page, "| edge | {faults} |\n|---|{}", "---|".repeat(Fault::ALL.len()))?;
        for (edge, (way, _, name)) in EDGES.iter().enumerate() {
            if *way != table.way {
                continue;
            }
            write!(page, "| {name} |")?;
            for fault in Fault::ALL {
                let found = self.cases.iter().find(|result| {
                    let case = result.case;
                    (case.edge, case.fault, case.runs) == (edge, fault, table.runs)
                });
                write!(page, " {} |", found.map(field).unwrap_or_default())?;
            }
            writeln!(page)?;
        }
        let has_batches = (table.way, table.runs) == (Way::Settled, TOGETHER);
        if has_batches { self.batches(page) } else { Ok(()) }
    }

    fn batches(&self, page: &mut String) -> std::fmt::Result {
        let is_batch = |case: &Case| case.way() == Way::Settled && case.runs > 1;
        let batches = self.cases.iter().filter(|result| is_batch(&result.case));
        let shared = batches.clone().filter(|result| result.shared).count();
        writeln!(
            page,
            "\nIn {shared} of these {} cases runs shared a transaction.",
            batches.count()
        )
    }
}

/// Such as `3 S, 2.4 s`, or `1 S, P, 2.4 s` beside a payment.
fn field(result: &CaseResult) -> String {
    if !result.broken.is_empty() {
        return "**broken**".to_owned();
    }
    let ends = [(End::Settled, "S"), (End::Returned, "R"), (End::Operator, "O")];
    let counts = ends.iter().filter_map(|(end, letter)| {
        let count = result.ends.iter().filter(|found| *found == end).count();
        (count > 0).then(|| format!("{count} {letter}"))
    });
    let payment = match result.payment {
        Some(PaymentEnd::Made) => ", P",
        Some(PaymentEnd::Operator) => ", O",
        None => "",
    };
    format!("{}{payment}, {}", counts.collect::<Vec<_>>().join(" "), seconds(result.took))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

impl RandomResult {
    fn write(&self, page: &mut String) -> std::fmt::Result {
        let [settled, returned, operator] = self.ends;
        writeln!(page, "\n## Three runners, killed at random\n\n| | |\n|---|---|")?;
        let rows = [
            ("lasted", seconds(self.lasted)),
            ("kills (SIGKILL)", self.kills.to_string()),
            ("stood still for longer than the lease, then went on", self.holds.to_string()),
            ("runs", self.runs.to_string()),
            ("of them answered to a client that repeats its key", self.answered.to_string()),
            ("repetitions of such a client", self.repeated.to_string()),
            (
                "settled, returned, in an operator's hands",
                format!("{settled}, {returned}, {operator}"),
            ),
            ("settlements in the vault", self.settled.to_string()),
            ("charged, stroops", self.charged.to_string()),
            ("from the last fault to the end of the last run", seconds(self.drained)),
            ("connections reset", self.resets.values().sum::<u64>().to_string()),
            ("calls of gRPC given up", self.given_up.values().sum::<u64>().to_string()),
        ];
        for (name, value) in rows {
            writeln!(page, "| {name} | {value} |")?;
        }
        writeln!(page, "\nConnections reset, by route:\n\n| route | resets |\n|---|---|")?;
        for (route, count) in &self.resets {
            writeln!(page, "| `{route}` | {count} |")?;
        }
        writeln!(page, "\nCalls given up, by method of gRPC:\n\n| method | calls |\n|---|---|")?;
        for (method, count) in &self.given_up {
            writeln!(page, "| `{method}` | {count} |")?;
        }
        Ok(())
    }
}

const INTRODUCTION: &str = "\
# The crash matrix

`./dev crash-matrix` wrote this page. Each field is one case: a paid run is brought to an edge, the runner is stopped
there, the fault comes, and the runner goes on or starts again. Node, Postgres, NATS, module-gate with its guard and
oracle-gate are real processes; the lease is two seconds and a ledger closes every 200 ms.

| letter | the run ended |
|---|---|
| S | settled: paid, with a receipt |
| R | returned: the whole escrow went back, or none was taken |
| O | in an operator's hands |
| P | of a payment to a channel: it was made; O in its place: an operator has to look at it |

The time is that from the end of the fault to the end of the last run, and of the payment. An empty field was not tried
(`--within`).

| fault | what it is |
|---|---|
| kill -9 | the runner is killed and started again |
| lost response | the next two transactions reach the node, and its answers get lost |
| Postgres restart | the server is killed, is away for a second, and starts again |
| NATS restart | the same |
| RPC timeout | one request is carried out and one is not, and neither is answered (the runner waits 15 s) |
| lagging node | for two seconds the node shows the chain as it was eight ledgers ago |
| pruned node | the node has forgotten every ledger until now |
| duplicate delivery | events come twice, lists come backwards, and the client sends its request again with the same key |
| ledger stall | no ledger closes for two seconds |

After each case, over all runs of its stack: each run has ended in exactly one of the three ways; the vault's events
open and close each run once; the receipts that the gateway shows are those of the vault; the user's balance is the
deposit less all charges and nothing stays in escrow; the stream holds every event of each run, numbered without a gap
and in order; `runner account` finds Postgres, events, records, transactions, balances, stream and executions in
agreement; a payment that was made has landed once, by what its channel has; no run that was called off or is past its
deadline was settled; no run took longer than a lease and a transaction's life.

Voids, reclaims and payments to channels have a transaction each: three runs that are called off together are voided one
after the other. Several runs past their deadline were left out, since the same would happen to them. The edges of a fee
bump were left out, since others would have to fill every ledger in each case: the runner's test
`a_restart_at_any_point_of_a_fee_bump_ends_in_one_receipt` kills it at each of them.
";

const CALLED_OFF: &str = "\
The user calls the runs off when they are opened and module-gate has not begun, so that the runner voids them.

";

const OVERDUE: &str = "\
The runner ends when the run was opened, and starts again when its deadline is past, so that it reclaims the escrow.

";

const PAYMENT: &str = "\
An operator orders a payment of the runner's source account to an added channel while a run is asked for; the edge is
one of the payment.

";

const _: () = assert!(LEASE.as_secs() == 2 && TRANSACTION_LIFE.as_secs() == 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Options;

    #[test]
    fn every_case_has_its_field() {
        let settled = |case: Case| CaseResult {
            case,
            ends: vec![End::Settled; case.runs],
            payment: (case.way() == Way::Payment).then_some(PaymentEnd::Made),
            took: Duration::from_millis(2_400),
            shared: case.runs > 1,
            broken: Vec::new(),
        };
        let outcome = Outcome {
            options: Options {
                seed: 1,
                cases: None,
                named: Vec::new(),
                random: Duration::ZERO,
                lanes: 1,
                within: None,
            },
            cases: Case::all().into_iter().map(settled).collect(),
            not_tried: 0,
            random: None,
            took: Duration::from_secs(60),
        };
        let page = outcome.page("abc");
        let fields = page.matches(" S, 2.4 s |").count() + page.matches(" S, P, 2.4 s |").count();
        assert_eq!(fields, Case::all().len(), "{page}");
        assert!(page.contains("\n| payment sent | 1 S, P, 2.4 s | 1 S, P, 2.4 s |"), "{page}");
        assert!(page.contains("\n| void sent | 3 S, 2.4 s |"), "{page}");
        assert!(page.contains("In 171 of these 171 cases"), "{page}");
        assert!(page.lines().all(|line| line.starts_with('|') || line.len() <= 120), "{page}");
        assert!(!page.contains("|  |") && !page.contains("\n\n\n"), "{page}");
    }
}
