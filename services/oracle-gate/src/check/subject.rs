//! What a check works on, and what has to be measured for it.

use std::collections::BTreeMap;

use seal::facts::RunFactsView;
use time::OffsetDateTime;

use super::locators;
use super::measured::Plan;
use super::packs::Pack;
use super::rules::Rules;
use crate::objects::Objects;

/// What a check works on: a view, what it names, and by which rules.
pub(crate) struct Subject<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) rules: &'a Rules,
    pub(crate) view: &'a RunFactsView,
    pub(crate) now: OffsetDateTime,
    pub(crate) outputs: Vec<locators::LocatedOutput<'a>>,
    pub(crate) packs: Vec<Pack>,
}

/// What has to be measured, by the number of the pack that it lies in.
#[derive(Default)]
pub(crate) struct Plans(BTreeMap<Option<usize>, Plan>);

impl Plans {
    pub(crate) fn of(&mut self, pack: Option<usize>) -> &mut Plan {
        self.0.entry(pack).or_default()
    }

    pub(crate) fn into_each(self) -> impl Iterator<Item = (Option<usize>, Plan)> {
        self.0.into_iter()
    }
}

impl Subject<'_> {
    /// The pack that an output lies in, with its number.
    pub(crate) fn pack_of(
        &self,
        output: &locators::LocatedOutput<'_>,
    ) -> (Option<usize>, Option<&Pack>) {
        let root = output.path.pack_root();
        let at = self.packs.iter().position(|pack| pack.root == root);
        (at, at.map(|at| &self.packs[at]))
    }

    /// Whether the catalogue says that an output is a folder.
    pub(crate) fn is_a_folder(&self, output: &locators::LocatedOutput<'_>) -> bool {
        let entry = self.rules.catalogue.output(&output.locator.output_id);
        let template = entry.and_then(|entry| entry.path_template.as_ref());
        template.is_some_and(|template| template.is_folder())
    }
}
