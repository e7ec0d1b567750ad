//! How long packs are kept: classes of a profile, and whether a store's lock is as long.

use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::objects::{Lock, LockMode};

/// Most days that a class may have: a hundred years.
const MAX_DAYS: u32 = 36_525;

/// What a profile says of retention.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    classes: Vec<Class>,
    default: Option<usize>,
    /// Folders of packs and their classes, the longest first.
    rules: Vec<(String, usize)>,
    /// How old a staging folder of a sealed attempt has to be before it is collected.
    pub staging_days: Option<u32>,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// How long a pack is kept, counted from its seal.
    pub days: u32,
    /// The lock that the store has to keep for as long.
    pub lock: Demand,
}

/// The lock that a class demands, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// None.
    #[default]
    None,
    /// Object Lock in governance mode, or stronger.
    Governance,
    /// Object Lock in compliance mode.
    Compliance,
}

/// The member `retention` of a profile's policy.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    classes: std::collections::BTreeMap<String, ClassPart>,
    default_class: Option<String>,
    #[serde(default)]
    pack_roots: std::collections::BTreeMap<String, String>,
    staging_days: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassPart {
    days: u32,
    #[serde(default)]
    lock: Demand,
}

impl Retention {
    /// Reads a profile's member.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(crate) fn read(part: Part) -> Result<Self, String> {
        let mut classes = Vec::new();
        for (name, ClassPart { days, lock }) in part.classes {
            if !(1..=MAX_DAYS).contains(&days) {
                return Err(format!("retention class {name} needs 1 to {MAX_DAYS} days"));
            }
            classes.push(Class { name, days, lock });
        }
        let class = |name: &String| {
            classes
                .iter()
                .position(|class| class.name == *name)
                .ok_or_else(|| format!("there is no retention class {name}"))
        };
        let default = part.default_class.as_ref().map(class).transpose()?;
        let mut rules = Vec::new();
        for (root, name) in &part.pack_roots {
            let root = root.trim_end_matches('/');
            seal::path::check(root)
                .map_err(|error| format!("retention.pack_roots: {root:?}: {}", error.reason))?;
            rules.push((root.to_owned(), class(name)?));
        }
        // The most exact rule counts.
        rules.sort_by_key(|(root, _)| std::cmp::Reverse(root.len()));
        if part.staging_days == Some(0) {
            return Err("retention.staging_days needs at least 1 day".to_owned());
        }
        Ok(Self { classes, default, rules, staging_days: part.staging_days })
    }

    /// The class of the pack in a folder; `None` if the profile names none.
    pub fn class_of(&self, pack_root: &str) -> Option<&Class> {
        let lies_in = |root: &str| {
            let rest = pack_root.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let rule = self.rules.iter().find(|(root, _)| lies_in(root)).map(|(_, class)| *class);
        rule.or(self.default).map(|class| &self.classes[class])
    }

    /// Every class.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The class of packs of which no rule says another.
    pub fn default_class(&self) -> Option<&Class> {
        self.default.map(|class| &self.classes[class])
    }
}

impl Class {
    /// When the retention of a pack that was sealed then is over.
    pub fn kept_until(&self, sealed_at: OffsetDateTime) -> OffsetDateTime {
        // A time past the end of the calendar never comes.
        sealed_at
            .checked_add(Duration::days(self.days.into()))
            .unwrap_or(time::macros::datetime!(9999-12-31 23:59:59 UTC))
    }

    /// In what a lock falls short of the class; `None` if it does not. A legal hold of the store
    /// keeps an object without a time, and it can be lifted at any time, so it never counts as
    /// retention.
    pub fn falls_short(&self, lock: Option<&Lock>, due: OffsetDateTime) -> Option<String> {
        let name = &self.name;
        let Some(lock) = lock else {
            return Some(format!("it has no lock; class {name} demands one until {due}"));
        };
        if self.lock == Demand::Compliance && lock.mode == LockMode::Governance {
            return Some(format!(
                "its lock is in governance mode; class {name} demands compliance"
            ));
        }
        (lock.until < due)
            .then(|| format!("its lock ends {}; class {name} demands one until {due}", lock.until))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(days: u32, lock: Demand) -> Class {
        Class { name: "c".to_owned(), days, lock }
    }

    proptest! {
        /// A lock that passes lasts at least as long as the class, in at least its mode; and a
        /// class that demands more never passes where one that demands less does not.
        #[test]
        fn a_lock_that_passes_is_as_long_and_as_strong(
            days in 1..MAX_DAYS, lock_days in 0..MAX_DAYS, more in 0..1000_u32,
            compliance in any::<bool>(), demands_compliance in any::<bool>(),
        ) {
            let sealed = OffsetDateTime::UNIX_EPOCH;
            let mode = if compliance { LockMode::Compliance } else { LockMode::Governance };
            let lock = Lock { mode, until: sealed + Duration::days(lock_days.into()) };
            let demand = if demands_compliance { Demand::Compliance } else { Demand::Governance };
            let weak = class(days, demand);
            let due = weak.kept_until(sealed);
            let passes = weak.falls_short(Some(&lock), due).is_none();
            prop_assert_eq!(passes, lock_days >= days && (compliance || !demands_compliance));
            let strong = class(days + more, Demand::Compliance);
            let due = strong.kept_until(sealed);
            prop_assert!(passes || strong.falls_short(Some(&lock), due).is_some());
            prop_assert!(weak.falls_short(None, due).is_some());
        }
    }

    #[test]
    fn the_most_exact_rule_names_the_class() {
        let part: Part = serde_yaml_ng::from_str(
            "{classes: {a: {days: 1}, b: {days: 2, lock: governance}, c: {days: 3}}, \
              default_class: a, pack_roots: {packs: b, packs/x/: c}}",
        )
        .unwrap();
        let retention = Retention::read(part).unwrap();
        let name = |root| retention.class_of(root).unwrap().name.clone();
        assert_eq!((name("packs/x"), name("packs/x/y")), ("c".to_owned(), "c".to_owned()));
        assert_eq!((name("packs/xy"), name("packs")), ("b".to_owned(), "b".to_owned()));
        assert_eq!((name("packsx"), name("")), ("a".to_owned(), "a".to_owned()));
        assert_eq!(Retention::default().class_of("packs"), None);
        assert!(class(MAX_DAYS, Demand::None).kept_until(OffsetDateTime::UNIX_EPOCH).year() > 2060);
    }

    #[test]
    fn a_misspelt_or_missing_class_is_an_error() {
        for text in [
            "{classes: {}, default_class: a}",
            "{classes: {a: {days: 0}}}",
            "{classes: {a: {days: 40000}}}",
            "{classes: {a: {days: 1}}, pack_roots: {packs: b}}",
            "{classes: {a: {days: 1}}, pack_roots: {../x: a}}",
            "{classes: {}, staging_days: 0}",
        ] {
            let part: Part = serde_yaml_ng::from_str(text).unwrap();
            assert!(Retention::read(part).is_err(), "{text}");
        }
        for text in ["{}", "{classes: {a: {days: 1, lock: strong}}}", "{classes: {}, staging: 1}"] {
            assert!(serde_yaml_ng::from_str::<Part>(text).is_err(), "{text}");
        }
    }
}
