//! The links of the chain of proof, and what each showed.

use serde::Serialize;
use serde_json::json;
use stellar::amount::Unit;
use wire::egress::Call;

use super::judge::{AttemptProof, Outcome, Sum};
use crate::calls;
use crate::escape::escape;
use crate::output::Report;

/// A link, in the order of printing: from the money to the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// The run's id on chain belongs to this run, in the verifier's own vault.
    Vault,
    /// The terms are those that the vault recorded.
    Terms,
    /// The prices are those that the developer published.
    Rates,
    /// The charge is prices times metered usage, and the rest went back.
    Charge,
    /// These are all attempts of the run, and what each was charged.
    Attempts,
    /// The gateway's receipt says what the vault did.
    Receipt,
    /// The usage that was charged is the one in the signed statement.
    Usage,
    /// The list of calls adds up to the usage; only where the module declares services.
    Calls,
    /// The statement is about this run, signed by a key that the agent accepted on chain.
    Statement,
    /// Input, seed and workflow are those that the user asked for.
    Request,
    /// The execution lies between the attempt's opening and its settlement.
    Times,
    /// The output hash on chain is the digest of the seal.
    Seal,
    /// The seal names the manifest, and the manifest this run.
    Manifest,
    /// Every file is as it was sealed, none is missing, none was added.
    Files,
    /// The module's tree has the digest that the rate card pins.
    Module,
    /// The gates passed exactly this module and this run.
    Gates,
    /// The account's running hash over its receipts holds this one.
    Account,
    /// The module, executed again here, leaves the same outputs.
    Rerun,
}

/// What a link showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It holds.
    Ok,
    /// It does not: somebody changed something.
    Broken,
    /// It could not be looked at, and the proof lacks it.
    Unknown,
    /// It does not apply or may be missing; the detail says why.
    Skipped,
}

/// A link with what it showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Which.
    pub link: Name,
    /// What it showed.
    pub state: LinkState,
    /// For the person who reads it.
    pub detail: String,
}

/// All links of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// In the order of [`Name`].
    pub links: Vec<Link>,
    /// Every attempt of the run, as the chain has them.
    pub attempts: Vec<AttemptProof>,
    /// What they came to together.
    pub sum: Sum,
    /// What the shown attempt asked of services, where the list of it holds.
    pub calls: Vec<Call>,
    /// The tombstone of the shown attempt's pack, if one is known.
    pub tombstone: Option<Tombstone>,
    /// What follows.
    pub conclusion: Conclusion,
    /// How amounts are shown.
    pub unit: Unit,
}

/// A decision that a pack must not be read any more. It changes nothing that the chain holds, and
/// says nothing about whether the files are those that were sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tombstone {
    /// Where it is said.
    pub source: TombstoneSource,
    /// Why, by whom, on which day, and which pack replaces this one.
    pub says: String,
}

/// Where a tombstone is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TombstoneSource {
    /// The gateway says so in place of the files.
    Gateway,
    /// A record beside the seal in the bundle's pack.
    Record,
}

impl Tombstone {
    /// For the person who reads the report.
    pub fn sentence(&self) -> String {
        let Self { source, says } = self;
        match source {
            TombstoneSource::Gateway => format!(
                "tombstone: the gateway says that the pack must not be read any more: {says}"
            ),
            TombstoneSource::Record => format!(
                "tombstone: a record in the pack says that it must not be read any more: {says}"
            ),
        }
    }
}

/// What the links prove together. Its parts are printed only as far as the links hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conclusion {
    /// What is proven if every link holds.
    pub proven: Vec<String>,
    /// What the run cost, if the links that say so hold, whatever the others showed.
    pub cost: Option<String>,
    /// What the run cost at least, if it is not known whether that is all.
    pub at_least: Option<String>,
    /// On whose word or key it rests.
    pub rests_on: Vec<String>,
    /// What was not looked at.
    pub not_looked_at: Vec<String>,
}

/// So many calls are printed; the JSON has all.
const MOST_SHOWN: usize = 20;

/// The version of the JSON that a proof is printed as; `spec/verify.schema.json` describes it.
pub const SCHEMA: &str = "lumio-verify-v2";

impl Link {
    /// It holds.
    pub fn ok(link: Name, detail: impl Into<String>) -> Self {
        Self { link, state: LinkState::Ok, detail: detail.into() }
    }

    /// It is broken.
    pub fn broken(link: Name, detail: impl Into<String>) -> Self {
        Self { link, state: LinkState::Broken, detail: detail.into() }
    }

    /// It could not be looked at.
    pub fn unknown(link: Name, detail: impl Into<String>) -> Self {
        Self { link, state: LinkState::Unknown, detail: detail.into() }
    }

    /// It does not apply or may be missing.
    pub fn skipped(link: Name, detail: impl Into<String>) -> Self {
        Self { link, state: LinkState::Skipped, detail: detail.into() }
    }

    /// It holds unless the first of these says what is wrong.
    pub fn unless(
        link: Name,
        detail: impl Into<String>,
        wrong: impl IntoIterator<Item = String>,
    ) -> Self {
        let wrong: Vec<_> = wrong.into_iter().collect();
        if wrong.is_empty() { Self::ok(link, detail) } else { Self::broken(link, wrong.join("; ")) }
    }
}

impl Name {
    /// As it is printed and spelled in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Terms => "terms",
            Self::Rates => "rates",
            Self::Charge => "charge",
            Self::Attempts => "attempts",
            Self::Receipt => "receipt",
            Self::Usage => "usage",
            Self::Calls => "calls",
            Self::Statement => "statement",
            Self::Request => "request",
            Self::Times => "times",
            Self::Seal => "seal",
            Self::Manifest => "manifest",
            Self::Files => "files",
            Self::Module => "module",
            Self::Gates => "gates",
            Self::Account => "account",
            Self::Rerun => "rerun",
        }
    }
}

impl Proof {
    /// C1: 0 proven, 1 a link is broken, 2 none is broken but one could not be looked at.
    pub fn exit_code(&self) -> u8 {
        let any = |state| self.links.iter().any(|link| link.state == state);

        // Broken before unknown: what is wrong stays wrong, whatever the rest would show.
        if any(LinkState::Broken) {
            1
        } else if any(LinkState::Unknown) {
            2
        } else {
            0
        }
    }

    /// Adds a link that is only judged when it is asked for.
    pub fn add(&mut self, link: Link) {
        self.links.push(link);
    }

    /// What this one link showed.
    pub fn state(&self, name: Name) -> Option<LinkState> {
        self.links.iter().find(|link| link.link == name).map(|link| link.state)
    }

    /// The names of all broken links.
    pub fn broken(&self) -> Vec<Name> {
        self.links
            .iter()
            .filter(|link| link.state == LinkState::Broken)
            .map(|link| link.link)
            .collect()
    }

    /// All links, each with ok or BROKEN, then the attempts, then the conclusion.
    pub fn report(&self) -> Report {
        let mut lines: Vec<_> = self.links.iter().map(line).collect();

        // One attempt that is proven is in the conclusion already.
        if self.attempts.len() > 1 || self.exit_code() != 0 {
            lines.push(String::new());
            lines.extend(self.attempts.iter().map(|attempt| attempt_line(attempt, &self.unit)));
        }
        if !self.calls.is_empty() {
            lines.push(String::new());
            lines.push(calls::table_of(&self.calls, MOST_SHOWN));
        }

        let verdict = self.verdict();
        lines.push(String::new());
        lines.extend(verdict.iter().map(|line| escape(line)));

        // Its sentences hold only together, so that none is given while a link is open or broken.
        let is_proven = self.exit_code() == 0;
        let proven = if is_proven { self.conclusion.proven.clone() } else { Vec::new() };
        let json = json!({
            "schema": SCHEMA,
            "proven": is_proven,
            "broken": self.broken().iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            "links": self.links,
            "attempts": self.attempts,
            "sum": self.sum,
            "calls": self.calls,
            "tombstone": self.tombstone,
            "conclusion": verdict,
            "provenSentences": proven,
            "restsOn": self.conclusion.rests_on,
            "notLookedAt": self.conclusion.not_looked_at,
        });
        Report { exit_code: self.exit_code(), ..Report::new(lines.join("\n"), json) }
    }

    fn verdict(&self) -> Vec<String> {
        let of = |state| {
            let links = self.links.iter().filter(|link| link.state == state);
            links.map(|link| link.link.as_str()).collect::<Vec<_>>().join(", ")
        };
        let with = |kind: &str, lines: &[String]| {
            lines.iter().map(|line| format!("{kind}: {line}")).collect::<Vec<_>>()
        };
        let Conclusion { proven, cost, at_least, rests_on, not_looked_at } = &self.conclusion;
        let mut lines = match self.exit_code() {
            0 => [
                with("proven", proven),
                with("rests on", rests_on),
                with("not looked at", not_looked_at),
            ]
            .concat(),
            1 => vec![format!("NOT PROVEN: broken: {}", of(LinkState::Broken))],
            _ => {
                let first = format!(
                    "COULD NOT TELL: {} could not be looked at, nothing seen is broken; see the \
                     details for when to try again",
                    of(LinkState::Unknown)
                );
                let cost = at_least.as_ref().or(cost.as_ref()).map(|cost| format!("cost: {cost}"));
                std::iter::once(first).chain(cost).collect()
            }
        };

        // Whatever the links showed: that the files must not be read any more has to be known.
        lines.extend(self.tombstone.as_ref().map(Tombstone::sentence));
        lines
    }
}

/// An attempt by what the chain says of it alone: no other source contributes to this line.
fn attempt_line(attempt: &AttemptProof, unit: &Unit) -> String {
    let show = |stroops| unit.show(stroops);
    let came_to = match attempt.outcome {
        Outcome::Settled { charge: 0, fee: 0 } => "settled, nothing charged".to_owned(),
        Outcome::Settled { charge, fee: 0 } => format!("settled, {} charged", show(charge)),
        Outcome::Settled { charge, fee } => {
            format!("settled, {} charged and {} as fee", show(charge), show(fee))
        }
        Outcome::FeeUnknown { charge, highest_fee } => {
            format!("settled, {} charged and at most {} as fee", show(charge), show(highest_fee))
        }
        Outcome::Voided => "given up by its runner, the escrow went back".to_owned(),
        Outcome::Reclaimed => "reclaimed after its deadline, the escrow went back".to_owned(),
        Outcome::Open => "open, its escrow may still be charged".to_owned(),
        Outcome::Overdue => "past its deadline, its escrow has not been returned yet".to_owned(),
        Outcome::NotCharged => "its record has ended, nothing was charged".to_owned(),
        Outcome::Unknown => "not known any more".to_owned(),
    };
    format!("attempt {:<4} {came_to}  (run {})", attempt.attempt, attempt.run_id)
}

fn line(link: &Link) -> String {
    let state = match link.state {
        LinkState::Ok => "ok",
        LinkState::Broken => "BROKEN",
        LinkState::Unknown => "?",
        LinkState::Skipped => "-",
    };

    // A detail may quote what a gateway or a bundle says: it gets one line, and no control over it.
    format!("{:<10} {state:<7} {}", link.link.as_str(), escape(&link.detail))
}
