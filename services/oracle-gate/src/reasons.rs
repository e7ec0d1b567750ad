//! The closed table of reasons (C2, O6): whatever oracle-gate finds wrong has its code here.
//!
//! Version 1. The order of the variants is the order in which reasons are reported. The guide in
//! `docs/oracle-store/reasons.md` is made from this table and held equal by a test.

use serde::{Serialize, Serializer};

/// Version of the table: a code is never given another meaning within one version.
pub const VERSION: u32 = 1;

/// Whether a reason stops a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
    /// Nothing is known about the subject; it is refused all the same.
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
    ($($(#[$flag:ident])* $name:ident $code:literal $class:ident: $meaning:literal => $action:literal;)*) => {
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

/// The operator's guide: the whole table as Markdown.
pub fn guide() -> String {
    let mut text = String::from(concat!(
        "# Reasons\n\nMade from the table in `services/oracle-gate/src/reasons/table.rs` by ",
        "`oracle-gate reasons`; do not edit.\n\nReasons are reported all, in this order. ",
        "`invalid` exits 1: the subject is bad. `unverifiable` exits 2: nothing is known about ",
        "it, and it is refused all the same. `usage` exits 3. What must not be read stays where ",
        "it is and is not read: that is the quarantine.\n\n",
        "| code | class | lenient profile | repeat | meaning | action |\n",
        "|---|---|---|---|---|---|\n",
    ));
    for reason in ALL {
        let row = reason.row();
        let lenient = if row.lenient { "warning" } else { "error" };
        let repeat = if row.retryable { "retryable" } else { "terminal" };
        let class = row.class.as_str();
        text += &format!(
            "| `{}` | {class} | {lenient} | {repeat} | {} | {} |\n",
            row.code, row.meaning, row.action
        );
    }
    text
}
