//! How often what happens, and with what numbers.

use proptest::prelude::*;

use super::super::reference_model::{AGENTS, PEOPLE, Signature};
use super::super::units;
use super::step::{Asked, Call, Stated, Step};
use crate::UsageBreakdown;

pub(super) fn call() -> impl Strategy<Value = Call> {
    (step(), prop::bool::weighted(0.95)).prop_map(|(step, signed)| Call { step, signed })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => money(),
        10 => rights(),
        40 => opens(),
        44 => ends(),
        8 => registry(),
        3 => administration(),
        7 => seconds().prop_map(|seconds| Step::Pass { seconds }),
        2 => (run(), any::<bool>()).prop_map(|(run, before)| Step::PassToDeadline { run, before }),
        1 => run().prop_map(|run| Step::Lose { run }),
    ]
}

fn money() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (person(), amount()).prop_map(|(user, amount)| Step::Deposit { user, amount }),
        2 => (person(), amount()).prop_map(|(user, amount)| Step::Withdraw { user, amount }),
        1 => (0..AGENTS, amount())
            .prop_map(|(developer, amount)| Step::ClaimDeveloper { developer, amount }),
        1 => (person(), -1i128..60)
            .prop_map(|(runner, amount)| Step::ClaimRunner { runner, amount }),
        1 => person().prop_map(|user| Step::Sweep { user }),
        1 => (1i128..100).prop_map(|amount| Step::Donate { amount }),
    ]
}

fn rights() -> impl Strategy<Value = Step> {
    let between = || (pair(), agent()).prop_map(|((user, runner), agent)| (user, runner, agent));
    let expiry = prop_oneof![2 => Just(None), 2 => (0u64..100_000).prop_map(Some)];
    prop_oneof![
        4 => (between(), expiry).prop_map(|((user, runner, agent), expires_in)| Step::Grant {
            user, runner, agent, expires_in,
        }),
        2 => between().prop_map(|(user, runner, agent)| Step::Revoke { user, runner, agent }),
        2 => (between(), cap(), cap(), -1i128..40).prop_map(
            |((user, runner, agent), per_run, total, fee)| Step::SetLimits {
                user, runner, agent, per_run, total, fee,
            }
        ),
        2 => (person(), cap(), cap(), prop::bool::weighted(0.1)).prop_map(
            |(user, per_run, daily, paused)| Step::SetPolicy { user, per_run, daily, paused }
        ),
    ]
}

fn opens() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (asked(), late()).prop_map(|(asked, late)| Step::Open { asked, late }),
        2 => (run(), prop::bool::weighted(0.2))
            .prop_map(|(run, other_request)| Step::OpenAgain { run, other_request }),
        3 => (person(), prop::collection::vec(asked(), 0..5), any::<bool>(), late()).prop_map(
            |(runner, asked, twice, late)| Step::OpenBatch { runner, asked, twice, late }
        ),
    ]
}

fn ends() -> impl Strategy<Value = Step> {
    let by = || prop::option::weighted(0.2, person());
    prop_oneof![
        8 => (run(), stated(), late())
            .prop_map(|(run, stated, late)| Step::Settle { run, stated, late }),
        2 => run().prop_map(|run| Step::SettleAgain { run }),
        3 => (person(), prop::collection::vec((run(), stated()), 0..5), late()).prop_map(
            |(runner, stated, late)| Step::SettleBatch { runner, stated, late }
        ),
        2 => (run(), by(), 0u32..2, late())
            .prop_map(|(run, by, reason, late)| Step::Void { run, by, reason, late }),
        2 => run().prop_map(|run| Step::Reclaim { run }),
        1 => (run(), by()).prop_map(|(run, by)| Step::Cancel { run, by }),
    ]
}

fn registry() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..AGENTS, person()).prop_map(|(agent, runner)| Step::List { agent, runner }),
        2 => (0..AGENTS, 0..PEOPLE - 1).prop_map(|(agent, runner)| Step::Delist { agent, runner }),
        1 => (0..AGENTS, 0i128..30).prop_map(|(agent, price)| Step::Publish { agent, price }),
    ]
}

fn administration() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::bool::weighted(0.15).prop_map(|paused| Step::PauseOpens { paused }),
        1 => person().prop_map(|who| Step::ProposeAdmin { who }),
        1 => Just(Step::AcceptAdmin),
        1 => (0u8..2).prop_map(|code| Step::Schedule { code }),
        1 => Just(Step::CancelUpgrade),
        1 => (0u8..2).prop_map(|code| Step::Upgrade { code }),
        1 => Just(Step::Migrate),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let back = prop_oneof![6 => Just(0u32), 2 => Just(1u32), 1 => 0u32..4];
    let slack = prop_oneof![1 => Just(-1i128), 9 => 0i128..3];
    let fee = prop_oneof![10 => Just(0i128), 20 => 0i128..=21, 1 => Just(-1i128)];
    let far = prop_oneof![25 => 600u64..=86_400, 1 => 0u64..600, 1 => 86_401u64..100_000];
    (pair(), agent(), back, budgets(), slack, fee, far).prop_map(
        |((user, runner), agent, back, budgets, slack, fee, deadline_in)| Asked {
            user,
            runner,
            agent,
            back,
            budgets,
            slack,
            fee,
            deadline_in,
        },
    )
}

fn stated() -> impl Strategy<Value = Stated> {
    let share = prop_oneof![12 => 0i128..=100, 1 => Just(101i128), 1 => Just(-1i128)];
    let by = prop::option::weighted(0.25, person());
    let signature = prop_oneof![
        24 => Just(Signature::Good),
        3 => Just(Signature::None),
        1 => Just(Signature::NoSuchKey),
        1 => Just(Signature::OtherUsage),
        1 => Just(Signature::OtherKey),
    ];
    (by, share, 0u8..2, prop::bool::weighted(0.95), signature).prop_map(
        |(by, share, hash, honest, signature)| Stated { by, share, hash, honest, signature },
    )
}

fn budgets() -> impl Strategy<Value = UsageBreakdown> {
    let meter = |most: i128| prop_oneof![1 => Just(0i128), 3 => 0..=most];
    prop_oneof![
        30 => (meter(200), meter(100), meter(3), meter(1000))
            .prop_map(|(llm_in, llm_out, calls, ms)| units(llm_in, llm_out, calls, ms)),
        1 => Just(units(0, 0, 0, 0)),
        1 => Just(units(0, 0, 0, -1)),
        1 => Just(units(i128::MAX, 1, 0, 0)),
    ]
}

/// A user and a runner; mostly of those who are granted from the start.
fn pair() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![4 => (0..PEOPLE - 1, 0..PEOPLE - 1), 1 => (person(), person())]
}

fn person() -> impl Strategy<Value = usize> {
    0..PEOPLE
}

fn agent() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 0..AGENTS, 1 => Just(AGENTS)]
}

fn run() -> impl Strategy<Value = usize> {
    0usize..10
}

fn amount() -> impl Strategy<Value = i128> {
    prop_oneof![20 => 1i128..30_000, 1 => -1i128..=0, 1 => Just(i128::MAX), 1 => Just(2_000_000_000)]
}

fn cap() -> impl Strategy<Value = i128> {
    prop_oneof![4 => Just(0i128), 6 => 1_000i128..20_000, 1 => Just(-1i128)]
}

fn late() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.03)
}

fn seconds() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0u64..20_000, 3 => 0u64..100_000, 1 => 0u64..400_000]
}
