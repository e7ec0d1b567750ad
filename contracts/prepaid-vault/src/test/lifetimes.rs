//! How long entries live: what is used stays, what slept is restored and not taken for absent, and
//! a run's record may end at any point of its life without moving a stroop (V3, V15).

use soroban_sdk::testutils::storage::{Instance as _, Persistent as _, Temporary as _};
use soroban_sdk::{IntoVal, Symbol, Val};

use super::*;

const ALL: i128 = 100_000_000;
/// A day in ledgers at five seconds each.
const LEDGERS: u32 = 17_280;

/// A world in which a new persistent entry lives a month, with a fee and limits in use.
fn world() -> World {
    let w = World::new();
    w.env.ledger().with_mut(|ledger| ledger.min_persistent_entry_ttl = 30 * LEDGERS);
    let limits = GrantLimits { per_run_cap: 0, total_cap: 0, max_runner_fee: 1 };
    w.vault.set_grant_limits(&w.user, &w.runner, &w.agent, &limits);
    w.prepared()
}

fn opened(w: &World, nonce: u8) -> (BytesN<32>, RunTerms) {
    let terms = OpenTerms { runner_fee: 1, ..w.terms(nonce) };
    (w.try_open(&terms).unwrap(), RunTerms { runner_fee: 1, ..w.pinned(&terms) })
}

fn key<T: IntoVal<Env, Val>>(w: &World, parts: T) -> Val {
    parts.into_val(&w.env)
}

/// Ledgers that an entry of the vault, or of the registry, has left.
fn left(w: &World, of: &Address, key: Val) -> u32 {
    w.env.as_contract(of, || w.env.storage().persistent().get_ttl(&key))
}

#[test]
fn a_run_extends_every_entry_it_uses_by_a_day_to_a_week() {
    let w = world();
    w.settle(&opened(&w, 1)).unwrap();
    let name = |name: &str| Symbol::new(&w.env, name);
    let (user, runner, developer) = (w.user.clone(), w.runner.clone(), w.developer.clone());
    let vault = [
        key(&w, crate::digest::grant(&w.env, &user, &runner, w.agent)),
        key(&w, user),
        key(&w, (1u32, developer)),
        key(&w, (2u32, runner)),
    ];
    let registry = [key(&w, (name("Agent"), w.agent)), key(&w, (name("RateCard"), w.agent, 1u32))];
    let all = || {
        let of = |address: &Address, keys: &[Val]| {
            keys.iter().map(|key| left(&w, address, *key)).collect::<std::vec::Vec<_>>()
        };
        [of(&w.vault.address, &vault), of(&w.registry.address, &registry)].concat()
    };
    w.pass_ledgers(20 * LEDGERS);
    let before = all();
    w.settle(&opened(&w, 2)).unwrap();
    for (at, (before, after)) in before.iter().zip(all()).enumerate() {
        let step = after - before;
        assert!((LEDGERS..=14 * LEDGERS).contains(&step), "entry {at}: {before} to {after}");
    }
    let settled = all();
    w.settle(&opened(&w, 3)).unwrap();
    w.settle(&opened(&w, 4)).unwrap();
    w.settle(&opened(&w, 5)).unwrap();
    assert!(all().iter().zip(&settled).all(|(now, then)| now >= then));
    assert!(all().iter().all(|left| *left <= 120 * LEDGERS), "never more than the long life");
}

#[test]
fn the_contracts_themselves_cost_a_call_nothing_until_they_run_down_and_then_a_day() {
    let w = world();
    let instance = |of: &Address| w.env.as_contract(of, || w.env.storage().instance().get_ttl());
    let both = || [instance(&w.vault.address), instance(&w.registry.address)];
    let open = |nonces: core::ops::RangeInclusive<u8>| {
        let runs: std::vec::Vec<_> = nonces.map(|nonce| batch::open_run(&w, nonce)).collect();
        let (heads, items) = batch::openings(&w, &runs);
        w.vault.open_runs(&w.runner, &NOON, &heads, &items);
    };
    w.pass_ledgers(60 * LEDGERS);
    let before = both();
    open(1..=2);
    w.vault.deposit(&w.user, &1);
    assert_eq!(both(), before, "two months are left");
    w.pass_ledgers(40 * LEDGERS);
    let before = both();
    open(3..=6);
    assert_eq!(both(), before.map(|left| left + LEDGERS), "twenty days are left");
    w.vault.pause_opens();
    assert_eq!(instance(&w.vault.address), 120 * LEDGERS, "the admin pays for months");
}

#[test]
fn what_slept_for_a_year_is_restored_and_is_what_it_was() {
    let w = world();
    w.settle(&opened(&w, 1)).unwrap();
    let limits = GrantLimits { per_run_cap: ESCROW, total_cap: 0, max_runner_fee: 1 };
    w.vault.set_grant_limits(&w.user, &w.runner, &w.agent, &limits);
    let before = w.vault.account(&w.user);
    w.pass_ledgers(365 * LEDGERS);
    w.at(NOON + 365 * DAY);
    let over = OpenTerms { runner_fee: 1, ..w.terms(2) };
    assert_eq!(w.try_open(&over), Err(VaultError::GrantRunCapExceeded), "limits still hold");
    w.open(2);
    assert!(w.env.cost_estimate().resources().disk_read_entries > 0, "nothing was restored");
    let after = w.vault.account(&w.user);
    assert_eq!((after.balance, after.due_today), (before.balance - ESCROW, ESCROW));
    assert_eq!((after.receipts, after.receipts_hash), (before.receipts, before.receipts_hash));
    w.vault.claim_developer(&w.developer, &CHARGE);
    w.vault.claim_runner(&w.runner, &1);
    assert_eq!((w.vault.surplus(), w.vault.deficit()), (0, 0));
}

#[test]
fn a_sleeping_grant_is_no_reason_to_forget_that_it_is_revoked() {
    let w = world();
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    w.pass_ledgers(365 * LEDGERS);
    w.at(NOON + 365 * DAY);
    assert_eq!(w.try_open(&w.terms(1)), Err(VaultError::UnauthorizedRunner));
    assert!(w.vault.list_runner_grants(&w.user).is_empty());
}

#[test]
fn a_record_lives_twice_the_time_to_its_deadline_and_six_hours_at_a_ledger_a_second() {
    let w = World::ready();
    for far in [600, HOUR, DAY] {
        let now = w.env.ledger().timestamp();
        let terms = OpenTerms { deadline: now + far, ..w.terms(1) };
        let run = w.try_open(&terms).unwrap();
        let seconds = 2 * far + 6 * HOUR;
        w.at(now + seconds);
        w.pass_ledgers(u32::try_from(seconds).unwrap());
        assert!(w.vault.try_get_run(&run).is_ok(), "deadline {far} away");
        w.pass_ledgers(1);
        assert!(w.vault.try_get_run(&run).is_err(), "deadline {far} away");
        let again = OpenTerms { valid_until: u64::MAX, ..terms };
        let late = Err(VaultError::DeadlineOutOfRange);
        assert_eq!(w.try_open(&again), late, "an id whose record ended can't be opened again");
    }
}

#[test]
fn a_settlement_void_or_reclaim_does_not_lengthen_a_records_life() {
    let w = World::ready();
    let (settled, voided, reclaimed) = (w.opened(1), w.open(2), w.open(3));
    let left = |run: &BytesN<32>| {
        let key = key(&w, run.clone());
        w.env.as_contract(&w.vault.address, || w.env.storage().temporary().get_ttl(&key))
    };
    let before = left(&voided);
    w.settle(&settled).unwrap();
    w.vault.void_run(&voided, &w.runner, &0, &u64::MAX);
    w.at(NOON + HOUR);
    w.vault.reclaim_run(&reclaimed);
    for run in [&settled.0, &voided, &reclaimed] {
        assert_eq!(left(run), before);
    }
}

/// Where a run stands when its record ends before its time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    Open,
    PastDeadline,
    PastDueDay,
    Settled,
    Voided,
    Reclaimed,
}

/// Brings a run to the point, and there its record is lost.
fn lost_at(point: Point) -> (World, (BytesN<32>, RunTerms)) {
    let w = World::ready();
    let run = w.opened(1);
    match point {
        Point::Open => {}
        Point::PastDeadline => w.at(NOON + HOUR),
        Point::PastDueDay => w.at(NOON + DAY),
        Point::Settled => drop(w.settle(&run).unwrap()),
        Point::Voided => w.vault.void_run(&run.0, &w.runner, &0, &u64::MAX),
        Point::Reclaimed => {
            w.at(NOON + HOUR);
            w.vault.reclaim_run(&run.0);
        }
    }
    let key = key(&w, run.0.clone());
    w.env.as_contract(&w.vault.address, || w.env.storage().temporary().remove(&key));
    (w, run)
}

const POINTS: [Point; 6] = [
    Point::Open,
    Point::PastDeadline,
    Point::PastDueDay,
    Point::Settled,
    Point::Voided,
    Point::Reclaimed,
];

#[test]
fn a_record_lost_at_any_point_costs_nobody_anything() {
    for point in POINTS {
        let (w, run) = lost_at(point);
        let unknown = Err(VaultError::RunNotFound);
        assert_eq!(w.settle(&run).map(|_| ()), unknown, "{point:?}");
        let void = w.vault.try_void_run(&run.0, &w.runner, &0, &u64::MAX);
        assert_eq!(flat(void), unknown, "{point:?}");
        assert_eq!(flat(w.vault.try_reclaim_run(&run.0)), unknown, "{point:?}");
        assert_eq!(flat(w.vault.try_cancel_run(&w.user, &run.0)), unknown, "{point:?}");
        w.at(NOON + 2 * DAY);
        let charged = if point == Point::Settled { CHARGE } else { 0 };
        assert_eq!(w.vault.balance_of(&w.user), ALL - charged, "{point:?}");
        assert_eq!(w.vault.developer_balance(&w.developer), charged, "{point:?}");
        w.vault.withdraw(&w.user, &(ALL - charged));
        assert_eq!(w.owed(), charged, "{point:?}");
    }
}

/// The network keeps a record beyond its run's deadline; were it lost before all the same, the same
/// open would be a new run with an escrow of its own, and both would come back.
#[test]
fn an_open_repeated_after_its_record_was_lost_early_is_another_run() {
    for point in [Point::Open, Point::Settled, Point::Voided] {
        let (w, run) = lost_at(point);
        let charged = if point == Point::Settled { CHARGE } else { 0 };
        assert_eq!(w.try_open(&w.terms(1)), Ok(run.0.clone()), "{point:?}");
        w.settle(&run).unwrap();
        w.at(NOON + 2 * DAY);
        assert_eq!(w.vault.balance_of(&w.user), ALL - charged - CHARGE, "{point:?}");
        assert_eq!(w.vault.developer_balance(&w.developer), charged + CHARGE, "{point:?}");
        assert_eq!(w.vault.deficit(), 0, "{point:?}");
    }
    for point in [Point::PastDeadline, Point::PastDueDay, Point::Reclaimed] {
        let (w, run) = lost_at(point);
        let late = OpenTerms { deadline: run.1.deadline, valid_until: u64::MAX, ..w.terms(1) };
        assert_eq!(w.try_open(&late), Err(VaultError::DeadlineOutOfRange), "{point:?}");
    }
}

#[test]
fn a_receipt_is_proven_after_its_record_is_gone() {
    let (w, _) = lost_at(Point::Settled);
    let account = w.vault.account(&w.user);
    assert_eq!(account.receipts, 1);
    assert_ne!(account.receipts_hash, w.bytes(0));
}
