//! When wanted calls are signed, and how long they wait before for others to share a transaction
//! with (R17). Pure.

use std::time::Duration;

/// How long before the next ledger closes calls are signed that would miss it otherwise: longer
/// than it takes to simulate, to sign, to store and to send.
const LEAD: Duration = Duration::from_millis(200);

/// What is known of wanted calls of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Gathered {
    /// How many there are.
    pub count: usize,
    /// For how long the oldest has been wanted.
    pub waited: Duration,
    /// Whether runs are worked on, or are about to be, that may want a call of this kind soon.
    pub may_grow: bool,
    /// How long until the next ledger is expected to close, if that is known.
    pub until_close: Option<Duration>,
}

impl Gathered {
    /// How long they wait for others: `None` if they are signed now. `most` go together, and
    /// `longest` is how long a call waits at most.
    ///
    /// Nothing is gained by a wait that no other call can end, and one that reaches over a close
    /// costs a whole ledger.
    pub fn wait(&self, most: usize, longest: Duration) -> Option<Duration> {
        if self.count >= most || !self.may_grow {
            return None;
        }
        let left = longest.saturating_sub(self.waited);
        let left = self.until_close.map_or(left, |close| left.min(close.saturating_sub(LEAD)));
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(1);

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const WAITING: Gathered =
        Gathered { count: 1, waited: ms(300), may_grow: true, until_close: None };

    #[test]
    fn calls_wait_for_others_until_they_are_enough_old_enough_or_alone() {
        assert_eq!(WAITING.wait(17, LONGEST), Some(ms(700)));
        assert_eq!(Gathered { count: 16, ..WAITING }.wait(17, LONGEST), Some(ms(700)));
        assert_eq!(Gathered { count: 17, ..WAITING }.wait(17, LONGEST), None);
        assert_eq!(Gathered { waited: LONGEST, ..WAITING }.wait(17, LONGEST), None);
        assert_eq!(Gathered { waited: ms(9_000), ..WAITING }.wait(17, LONGEST), None);
        assert_eq!(Gathered { may_grow: false, ..WAITING }.wait(17, LONGEST), None);
        // Where every call is a transaction of its own.
        assert_eq!(WAITING.wait(1, LONGEST), None);
        assert_eq!(WAITING.wait(17, Duration::ZERO), None);
    }

    #[test]
    fn no_wait_makes_calls_miss_the_next_ledger() {
        let near = |close| Gathered { until_close: Some(ms(close)), ..WAITING };
        assert_eq!(near(5_000).wait(17, LONGEST), Some(ms(700)));
        assert_eq!(near(900).wait(17, LONGEST), Some(ms(700)));
        assert_eq!(near(899).wait(17, LONGEST), Some(ms(699)));
        assert_eq!(near(201).wait(17, LONGEST), Some(ms(1)));
        assert_eq!(near(200).wait(17, LONGEST), None);
        assert_eq!(near(0).wait(17, LONGEST), None);
    }

    prop_compose! {
        fn gathered()(
            count in 1_usize..30, waited in 0_u64..1_500, may_grow in any::<bool>(),
            close in proptest::option::of(0_u64..6_000),
        ) -> Gathered {
            Gathered { count, waited: ms(waited), may_grow, until_close: close.map(ms) }
        }
    }

    proptest! {
        #[test]
        fn a_wait_has_an_end_and_is_never_longer_than_it_may_be(
            gathered in gathered(), most in 1_usize..30,
        ) {
            let Some(wait) = gathered.wait(most, LONGEST) else { return Ok(()) };
            prop_assert!(gathered.may_grow && gathered.count < most);
            prop_assert!(gathered.waited + wait <= LONGEST);
            prop_assert!(gathered.until_close.is_none_or(|close| wait + LEAD <= close));
            // Nothing came meanwhile.
            let until_close = gathered.until_close.map(|close| close - wait);
            let later = Gathered { waited: gathered.waited + wait, until_close, ..gathered };
            prop_assert_eq!(later.wait(most, LONGEST), None);
        }

        #[test]
        fn what_nothing_can_join_is_signed_at_once(gathered in gathered(), most in 1_usize..30) {
            prop_assert_eq!(Gathered { may_grow: false, ..gathered }.wait(most, LONGEST), None);
        }
    }
}
