//! No parser panics, whatever it is given, and none takes a document for another.

use proptest::prelude::*;
use proptest::sample::Index;
use seal::facts::RunFactsView;
use seal::{Limits, Manifest, SealMarker, Tree};

use crate::facts::view;

/// Gives `bytes` to every parser; answers how many took them.
fn taken(bytes: &[u8]) -> usize {
    usize::from(RunFactsView::parse(bytes).is_ok())
        + usize::from(Manifest::parse(bytes).is_ok())
        + usize::from(SealMarker::parse(bytes).is_ok())
        + usize::from(Tree::parse(bytes, &Limits::PACK).is_ok())
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_document(bytes in any::<Vec<u8>>()) {
        prop_assert_eq!(taken(&bytes), 0);
    }

    #[test]
    fn json_like_text_is_no_document(text in r#"[\[\]{}:,"a0.eE+\-1 tfrualsn\\\u{e9}]{0,64}"#) {
        prop_assert_eq!(taken(text.as_bytes()), 0);
    }

    /// What is still a view after bytes were cut out, doubled or overwritten keeps all its rules:
    /// it comes back the same from its own bytes.
    #[test]
    fn a_damaged_view_is_refused_or_is_a_view(
        edits in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = view().to_string().into_bytes();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        prop_assert!(taken(&bytes) <= 1);
        if let Ok(view) = RunFactsView::parse(&bytes)
            && let Ok(again) = view.to_bytes()
        {
            prop_assert_eq!(RunFactsView::parse(&again), Ok(view));
        }
    }
}
