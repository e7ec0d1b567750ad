//! What an attempt can be varied in, beside being repeated (M8).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::module::document::nearest;
use crate::module::spec::Case;

/// One thing of its surroundings that a deterministic program does not depend on. Ordered by how
/// often it is the cause, which is the order in which a difference is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variation {
    /// The date and the time of day. Only where the program is JavaScript: its own and its workers'
    /// `Date`. In a context of `node:vm` a replaced `Date` would become a member of the program's
    /// own object, and programs that it starts have the host's clock.
    Time,
    /// `TZ`, chosen so that the local date is another one too.
    Timezone,
    /// `LANG` in place of `LANG` and `LC_ALL`.
    Locale,
    /// Where the module, its input and its outputs lie.
    Path,
    /// Where `HOME` and `TMPDIR` lie.
    Home,
    /// The order in which the module's folders list their entries. Needs a file system in memory,
    /// which may be smaller than what a run leaves in other folders.
    DirectoryOrder,
    /// How many processors the program may use. Needs more than one.
    Processors,
    /// The order of the environment's variables, and one variable more.
    Environment,
    /// The user and group id. Needs root.
    User,
    /// The host's name. Needs root.
    Hostname,
    /// The mask for modes of new files.
    Umask,
    /// Whether the addresses of program and stack are random.
    Addresses,
    /// When the module's files were changed last.
    FileTimes,
}

impl Variation {
    /// All of them, in the order in which a cause is searched.
    pub const ALL: [Self; 13] = [
        Self::Time,
        Self::Timezone,
        Self::Locale,
        Self::Path,
        Self::Home,
        Self::DirectoryOrder,
        Self::Processors,
        Self::Environment,
        Self::User,
        Self::Hostname,
        Self::Umask,
        Self::Addresses,
        Self::FileTimes,
    ];

    /// The name in specs, options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Timezone => "timezone",
            Self::Locale => "locale",
            Self::Path => "path",
            Self::Home => "home",
            Self::DirectoryOrder => "directory_order",
            Self::Processors => "processors",
            Self::Environment => "environment",
            Self::User => "user",
            Self::Hostname => "hostname",
            Self::Umask => "umask",
            Self::Addresses => "addresses",
            Self::FileTimes => "file_times",
        }
    }

    /// The variables by which a spec pins it.
    const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Timezone => &["TZ"],
            Self::Locale => &["LANG", "LC_ALL", "LANGUAGE"],
            Self::Home => &["HOME", "TMPDIR"],
            Self::Time => &["SOURCE_DATE_EPOCH", "FAKETIME"],
            _ => &[],
        }
    }
}

impl fmt::Display for Variation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Which variations a case is run with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variations(BTreeSet<Variation>);

impl Variations {
    /// Every one.
    pub fn all() -> Self {
        Self(Variation::ALL.into())
    }

    /// None: attempts are only repeated, which is the document's literal behaviour.
    pub fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What of these a case leaves open.
    pub fn unpinned(&self, case: &Case) -> Vec<Variation> {
        let pinned = |variation: &Variation| {
            case.pins.contains(variation)
                || variation.variables().iter().any(|name| case.env.contains_key(*name))
        };
        self.0.iter().copied().filter(|variation| !pinned(variation)).collect()
    }
}

impl fmt::Display for Variations {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|variation| variation.name()).collect();
        match names.len() {
            0 => out.write_str("none"),
            count if count == Variation::ALL.len() => out.write_str("all"),
            _ => out.write_str(&names.join(",")),
        }
    }
}

impl FromStr for Variations {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::all()),
            "none" => return Ok(Self::none()),
            _ => {}
        }
        let named = |name: &str| {
            let name = name.trim();
            Variation::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
                let names = Variation::ALL.map(Variation::name);
                let near = nearest(name, &names)
                    .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                format!(
                    "unknown variation {name:?}{near}: expected none, all, or a list of {}",
                    names.join(", ")
                )
            })
        };
        text.split(',').map(named).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_names_is_read_and_a_wrong_one_is_helped_with() {
        let some: Variations = "timezone, path".parse().unwrap();
        assert_eq!(some.to_string(), "timezone,path");
        assert_eq!("all".parse::<Variations>().unwrap(), Variations::all());
        assert!("none".parse::<Variations>().unwrap().is_empty());
        let error = "time_zone".parse::<Variations>().unwrap_err();
        assert!(error.contains("did you mean \"timezone\"?"), "{error}");
    }
}
