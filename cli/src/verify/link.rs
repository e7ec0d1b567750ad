//! The links of the chain of proof, and what each showed.

use serde::Serialize;
use serde_json::json;

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
    /// The gateway's receipt says what the vault did.
    Receipt,
    /// The usage that was charged is the one in the signed statement.
    Usage,
    /// The statement is about this run, signed by a key that the agent accepted on chain.
    Statement,
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
}

/// What a link showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
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
    pub state: State,
    /// For the person who reads it.
    pub detail: String,
}

/// All links of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// In the order of [`Name`].
    pub links: Vec<Link>,
    /// What the links prove together, and what rests on trust.
    pub conclusion: Vec<String>,
}

impl Link {
    /// It holds.
    pub fn ok(link: Name, detail: impl Into<String>) -> Self {
        Self { link, state: State::Ok, detail: detail.into() }
    }

    /// It is broken.
    pub fn broken(link: Name, detail: impl Into<String>) -> Self {
        Self { link, state: State::Broken, detail: detail.into() }
    }

    /// It could not be looked at.
    pub fn unknown(link: Name, detail: impl Into<String>) -> Self {
        Self { link, state: State::Unknown, detail: detail.into() }
    }

    /// It does not apply or may be missing.
    pub fn skipped(link: Name, detail: impl Into<String>) -> Self {
        Self { link, state: State::Skipped, detail: detail.into() }
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
            Self::Receipt => "receipt",
            Self::Usage => "usage",
            Self::Statement => "statement",
            Self::Seal => "seal",
            Self::Manifest => "manifest",
            Self::Files => "files",
            Self::Module => "module",
            Self::Gates => "gates",
            Self::Account => "account",
        }
    }
}

impl Proof {
    /// C1: 0 proven, 1 a link is broken, 2 none is broken but one could not be looked at.
    pub fn exit_code(&self) -> u8 {
        let any = |state| self.links.iter().any(|link| link.state == state);
        if any(State::Broken) {
            1
        } else if any(State::Unknown) {
            2
        } else {
            0
        }
    }

    /// What this one link showed.
    pub fn state(&self, name: Name) -> Option<State> {
        self.links.iter().find(|link| link.link == name).map(|link| link.state)
    }

    /// The names of all broken links.
    pub fn broken(&self) -> Vec<Name> {
        self.links.iter().filter(|link| link.state == State::Broken).map(|link| link.link).collect()
    }

    /// All links, each with ok or BROKEN, then the conclusion.
    pub fn report(&self) -> Report {
        let mut lines: Vec<_> = self.links.iter().map(line).collect();
        lines.push(String::new());
        lines.extend(self.verdict().iter().map(|line| escape(line)));
        let json = json!({
            "proven": self.exit_code() == 0,
            "broken": self.broken().iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            "links": self.links,
            "conclusion": self.verdict(),
        });
        Report { exit_code: self.exit_code(), ..Report::new(lines.join("\n"), json) }
    }

    fn verdict(&self) -> Vec<String> {
        let of = |state| {
            let links = self.links.iter().filter(|link| link.state == state);
            links.map(|link| link.link.as_str()).collect::<Vec<_>>().join(", ")
        };
        match self.exit_code() {
            0 => self.conclusion.clone(),
            1 => vec![format!("NOT PROVEN: broken: {}", of(State::Broken))],
            _ => vec![format!(
                "COULD NOT TELL: {} could not be looked at, nothing seen is broken; see the \
                    details for when to try again",
                of(State::Unknown)
            )],
        }
    }
}

fn line(link: &Link) -> String {
    let state = match link.state {
        State::Ok => "ok",
        State::Broken => "BROKEN",
        State::Unknown => "?",
        State::Skipped => "-",
    };
    // A detail may quote what a gateway or a bundle says: it gets one line, and no control over it.
    format!("{:<10} {state:<7} {}", link.link.as_str(), escape(&link.detail))
}
