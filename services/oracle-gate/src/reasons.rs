//! The closed table of reasons (C2, O6): whatever oracle-gate finds wrong has its code here.
//!
//! Version 1. The order of the variants is the order in which reasons are reported. The guide in
//! `docs/oracle-store/reasons.md` is made from this table and held equal by a test.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// Version of the table: a code is never given another meaning within one version.
pub const VERSION: u32 = 1;

/// Whether a reason stops a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// It does not.
    Warn,
    /// It does.
    Error,
}

/// What is known once the reason is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The subject is bad.
    Invalid,
    /// Nothing is known about the subject; it is refused anyway.
    Unverifiable,
    /// The call or its configuration is wrong.
    Usage,
}

impl Class {
    /// The exit code of C1.
    pub const fn exit(self) -> u8 {
        match self {
            Self::Invalid => 1,
            Self::Unverifiable => 2,
            Self::Usage => 3,
        }
    }

    /// Its name in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unverifiable => "unverifiable",
            Self::Usage => "usage",
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The code.
    pub code: &'static str,
    /// What is known.
    pub class: Class,
    /// Whether a lenient profile turns it into a warning (O5).
    pub lenient: bool,
    /// Whether the same call may answer differently without anybody repairing the subject.
    pub retryable: bool,
    /// What it means.
    pub meaning: &'static str,
    /// What the operator does.
    pub action: &'static str,
}

macro_rules! reasons {
    ($(
        $(#[$flag:ident])*
        $name:ident $code:literal $class:ident: $meaning:literal => $action:literal;
    )*) => {
        /// A reason, in reporting order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        /// Every reason, in order.
        pub const ALL: &[Reason] = &[$(Reason::$name,)*];

        impl Reason {
            /// Its row.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        code: $code,
                        class: Class::$class,
                        lenient: false $(|| reasons!(@lenient $flag))*,
                        retryable: false $(|| reasons!(@retryable $flag))*,
                        meaning: $meaning,
                        action: $action,
                    },)*
                }
            }
        }
    };
    (@lenient lenient) => { true };
    (@lenient $other:ident) => { false };
    (@retryable retryable) => { true };
    (@retryable $other:ident) => { false };
}

mod table;

pub use table::{ALL, Reason};

impl Reason {
    /// Its code.
    pub const fn code(self) -> &'static str {
        self.row().code
    }

    /// Its severity under a strict or a lenient profile.
    pub const fn severity(self, lenient: bool) -> Severity {
        if lenient && self.row().lenient { Severity::Warn } else { Severity::Error }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        let reason = ALL.iter().find(|reason| reason.code() == code).copied();
        reason.ok_or_else(|| serde::de::Error::custom(format!("{code} is no reason")))
    }
}

/// The whole table for programs, with its version.
pub fn table() -> Value {
    let rows = ALL.iter().map(|reason| {
        let row = reason.row();
        json!({
            "code": row.code,
            "severity": reason.severity(false),
            "severity_lenient": reason.severity(true),
            "class": row.class,
            "exit_code": row.class.exit(),
            "retryable": row.retryable,
            "meaning": row.meaning,
            "action": row.action,
        })
    });
    json!({ "version": VERSION, "reasons": rows.collect::<Vec<_>>() })
}

/// The operator's guide: the whole table as Markdown.
pub fn guide() -> String {
    let mut text = String::from(HEAD);
    for reason in ALL {
        let row = reason.row();
        let named = |severity| if severity == Severity::Warn { "warning" } else { "error" };
        let (strict, lenient) = (named(reason.severity(false)), named(reason.severity(true)));
        let repeat = if row.retryable { "retryable" } else { "terminal" };
        let (class, exit) = (row.class.as_str(), row.class.exit());
        text += &format!(
            "| `{}` | {strict} | {lenient} | {class} | {exit} | {repeat} | {} | {} |\n",
            row.code, row.meaning, row.action
        );
    }
    text
}

const HEAD: &str = "\
# Reasons

Made from the table in `services/oracle-gate/src/reasons/table.rs` by `oracle-gate reasons`; do
not edit. `oracle-gate reasons --output json` prints the same for programs.

All reasons that are found are reported, in the order of this table. How the words are meant:

- **class** says what is known. `invalid`: the subject is bad. `unverifiable`: nothing is known
  about it, and it is refused anyway. `usage`: the call or its configuration is wrong.
- **exit** is the code a command ends with: 1, 2 or 3. If several reasons are found, the smallest
  counts: what is known to be bad stays bad, whatever else could not be determined.
- **strict** and **lenient** are the severities under a strict profile (`dev`, `prod`, and any
  that does not say otherwise) and under `local`. A warning alone exits 0, or 1 with
  `--fail-on-warn`.
- **repeat**. `retryable`: repeat the same call, after 1 s, then twice as long each time, up to 60
  s; after ten times look at the store. `terminal`: repeating changes nothing before an operator
  acts.
- **Quarantine** is the answer to whatever must not be read: leave it where it is, do not read it,
  do not edit, move or delete it. For a Lumio run, oracle-gate writes the run's status as
  `QUARANTINED` with the codes, and no reader goes on. What is wrong is corrected by a new pack
  under a new attempt; the old one stays as evidence.

| code | strict | lenient | class | exit | repeat | meaning | action |
|---|---|---|---|---|---|---|---|
";
