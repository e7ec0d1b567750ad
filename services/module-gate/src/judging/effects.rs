//! What a module did, in the form of gate events and summaries.

use std::collections::{BTreeMap, BTreeSet};

use guard::{Category, Charge};
use serde::Serialize;

use crate::judging::finding::{Attributed, Observations, name};

/// Most examples of each kind.
const MAX_SAMPLES: usize = 5;

/// What was declared, what was seen, and examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SideEffectSummary {
    /// What the manifest declares.
    pub declared: Vec<String>,
    /// Categories that were seen.
    pub observed_operations: Vec<String>,
    /// Categories that were seen and are not declared.
    pub undeclared_operations: Vec<String>,
    /// Writes.
    pub fs_write: WriteSummary,
    /// Programs that were started.
    pub processes: ProcessSummary,
}

/// Writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WriteSummary {
    /// How many, exactly.
    pub count: u64,
    /// Whether one was aimed outside the module.
    pub outside_module_root: bool,
    /// Examples.
    pub sample_paths: Vec<SamplePath>,
    /// Examples outside.
    pub outside_samples: Vec<String>,
}

/// A path that was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SamplePath {
    /// Relative to the module where it lies in it.
    pub path: String,
    /// Whether it does.
    pub inside_module_root: bool,
}

/// Programs that were started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessSummary {
    /// How many, exactly.
    pub total: u64,
    /// By category.
    pub categories: BTreeMap<String, CategorySummary>,
}

/// Programs of one category.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CategorySummary {
    /// How many, exactly.
    pub count: u64,
    /// Examples.
    pub sample_commands: Vec<String>,
}

impl SideEffectSummary {
    /// Sums up what was observed of a module that declares `declared`.
    pub fn new(declared: &[String], observations: &Observations) -> Self {
        let count = |category: Category| observations.counts().get(&category).copied().unwrap_or(0);
        let of = |category: Category| {
            observations.attributed().iter().filter(move |one| one.effect.category == category)
        };
        let is_outside = |one: &&Attributed| one.effect.charge == Charge::Outside;

        // From the counts, since the report keeps only so many effects.
        let observed: Vec<Category> = observations
            .counts()
            .iter()
            .filter(|(_, seen)| **seen > 0)
            .map(|(kind, _)| *kind)
            .collect();
        let undeclared: BTreeSet<String> = observations
            .attributed()
            .iter()
            .filter(|one| one.effect.charge == Charge::Undeclared)
            .map(|one| name(one.effect.category))
            .collect();

        // Sets, so that the same effects give the same summary in whatever order they came.
        let paths: BTreeSet<SamplePath> = of(Category::FsWrite)
            .map(|one| SamplePath {
                path: one.effect.target.clone(),
                inside_module_root: one.inside_module_root,
            })
            .collect();
        let outside: BTreeSet<String> =
            of(Category::FsWrite).filter(is_outside).map(|one| one.effect.target.clone()).collect();

        let mut categories = BTreeMap::new();
        for category in [Category::ProcessGit, Category::ProcessShell] {
            if count(category) > 0 {
                let commands: BTreeSet<String> =
                    of(category).map(|one| one.effect.target.clone()).collect();
                let sample_commands = commands.into_iter().take(MAX_SAMPLES).collect();
                let summary = CategorySummary { count: count(category), sample_commands };
                categories.insert(name(category), summary);
            }
        }
        Self {
            declared: declared.to_vec(),
            observed_operations: observed.into_iter().map(name).collect(),
            undeclared_operations: undeclared.into_iter().collect(),
            fs_write: WriteSummary {
                count: count(Category::FsWrite),
                outside_module_root: !outside.is_empty(),
                sample_paths: paths.into_iter().take(MAX_SAMPLES).collect(),
                outside_samples: outside.into_iter().take(MAX_SAMPLES).collect(),
            },
            processes: ProcessSummary {
                total: count(Category::ProcessGit) + count(Category::ProcessShell),
                categories,
            },
        }
    }
}
