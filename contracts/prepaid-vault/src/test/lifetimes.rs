//! How long entries live: what is used stays, what slept is restored and not taken for absent, and
//! a run's record may end at any point of its life without moving a stroop (V3, V15).

use soroban_sdk::testutils::storage::{Instance as _, Persistent as _, Temporary as _};
use soroban_sdk::{IntoVal, Symbol, Val};

use super::*;

const ALL: i128 = 100_000_000;
/// A day in ledgers at five seconds each.
const LEDGERS: u32 = 17_280;

/// A fixture in which a new persistent entry lives a month, with a fee and limits in use.
fn fixture() -> Fixture {
    let f = Fixture::new();
    f.env.ledger().with_mut(|ledger| ledger.min_persistent_entry_ttl = 30 * LEDGERS);
    let limits = GrantLimits { per_run_cap: 0, total_cap: 0, max_runner_fee: 1 };
    f.vault.set_grant_limits(&f.user, &f.runner, &f.agent, &limits);
    f.prepared()
}

fn opened(f: &Fixture, nonce: u8) -> (BytesN<32>, RunTerms) {
    let terms = OpenTerms { runner_fee: 1, ..f.terms(nonce) };
    (f.try_open(&terms).unwrap(), RunTerms { runner_fee: 1, ..f.pinned(&terms) })
}

fn key<T: IntoVal<Env, Val>>(f: &Fixture, parts: T) -> Val {
    parts.into_val(&f.env)
}

/// Ledgers that an entry of the vault, or of the registry, has left.
fn left(f: &Fixture, of: &Address, key: Val) -> u32 {
    f.env.as_contract(of, || f.env.storage().persistent().get_ttl(&key))
}

#[test]
fn a_run_extends_every_entry_it_uses_by_a_day_to_a_week() {
    let f = fixture();
    f.settle(&opened(&f, 1)).unwrap();
    let name = |name: &str| Symbol::new(&f.env, name);
    let (user, runner, developer) = (f.user.clone(), f.runner.clone(), f.developer.clone());
    let vault = [
        key(&f, crate::digest::grant(&f.env, &user, &runner, f.agent)),
        key(&f, user),
        key(&f, (1u32, developer)),
        key(&f, (2u32, runner)),
    ];
    let registry = [key(&f, (name("Agent"), f.agent)), key(&f, (name("RateCard"), f.agent, 1u32))];
    let all = || {
        let of = |address: &Address, keys: &[Val]| {
            keys.iter().map(|key| left(&f, address, *key)).collect::<std::vec::Vec<_>>()
        };
        [of(&f.vault.address, &vault), of(&f.registry.address, &registry)].concat()
    };
    f.pass_ledgers(20 * LEDGERS);
    let before = all();
    f.settle(&opened(&f, 2)).unwrap();
    for (at, (before, after)) in before.iter().zip(all()).enumerate() {
        let step = after - before;
        assert!((LEDGERS..=14 * LEDGERS).contains(&step), "entry {at}: {before} to {after}");
    }
    let settled = all();
    f.settle(&opened(&f, 3)).unwrap();
    f.settle(&opened(&f, 4)).unwrap();
    f.settle(&opened(&f, 5)).unwrap();
    assert!(all().iter().zip(&settled).all(|(now, then)| now >= then));
    assert!(all().iter().all(|left| *left <= 120 * LEDGERS), "never more than the long life");
}

#[test]
fn the_contracts_themselves_cost_a_call_nothing_until_they_run_down_and_then_a_day() {
    let f = fixture();
    let instance = |of: &Address| f.env.as_contract(of, || f.env.storage().instance().get_ttl());
    let both = || [instance(&f.vault.address), instance(&f.registry.address)];
    let open = |nonces: core::ops::RangeInclusive<u8>| {
        let runs: std::vec::Vec<_> = nonces.map(|nonce| batch::open_run(&f, nonce)).collect();
        let (heads, items) = batch::openings(&f, &runs);
        f.vault.open_runs(&f.runner, &NOON, &heads, &items);
    };
    f.pass_ledgers(60 * LEDGERS);
    let before = both();
    open(1..=2);
    f.vault.deposit(&f.user, &1);
    assert_eq!(both(), before, "two months are left");
    f.pass_ledgers(40 * LEDGERS);
    let before = both();
    open(3..=6);
    assert_eq!(both(), before.map(|left| left + LEDGERS), "twenty days are left");
    f.vault.pause_opens();
    assert_eq!(instance(&f.vault.address), 120 * LEDGERS, "the admin pays for months");
}

#[test]
fn what_slept_for_a_year_is_restored_and_is_what_it_was() {
    let f = fixture();
    f.settle(&opened(&f, 1)).unwrap();
    let limits = GrantLimits { per_run_cap: ESCROW, total_cap: 0, max_runner_fee: 1 };
    f.vault.set_grant_limits(&f.user, &f.runner, &f.agent, &limits);
    let before = f.vault.account(&f.user);
    f.pass_ledgers(365 * LEDGERS);
    f.at(NOON + 365 * DAY);
    let over = OpenTerms { runner_fee: 1, ..f.terms(2) };
    assert_eq!(f.try_open(&over), Err(VaultError::GrantRunCapExceeded), "limits still hold");
    f.open(2);
    assert!(f.env.cost_estimate().resources().disk_read_entries > 0, "nothing was restored");
    let after = f.vault.account(&f.user);
    assert_eq!((after.balance, after.due_today), (before.balance - ESCROW, ESCROW));
    assert_eq!((after.receipts, after.receipts_hash), (before.receipts, before.receipts_hash));
    f.vault.claim_developer(&f.developer, &CHARGE);
    f.vault.claim_runner(&f.runner, &1);
    assert_eq!((f.vault.surplus(), f.vault.deficit()), (0, 0));
}

#[test]
fn a_sleeping_grant_is_no_reason_to_forget_that_it_is_revoked() {
    let f = fixture();
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    f.pass_ledgers(365 * LEDGERS);
    f.at(NOON + 365 * DAY);
    assert_eq!(f.try_open(&f.terms(1)), Err(VaultError::UnauthorizedRunner));
    assert!(f.vault.list_runner_grants(&f.user).is_empty());
}

#[test]
fn a_record_lives_twice_the_time_to_its_deadline_and_six_hours_at_a_ledger_a_second() {
    let f = Fixture::ready();
    for far in [600, HOUR, DAY] {
        let now = f.env.ledger().timestamp();
        let terms = OpenTerms { deadline: now + far, ..f.terms(1) };
        let run = f.try_open(&terms).unwrap();
        let seconds = 2 * far + 6 * HOUR;
        f.at(now + seconds);
        f.pass_ledgers(u32::try_from(seconds).unwrap());
        assert!(f.vault.try_get_run(&run).is_ok(), "deadline {far} away");
        f.pass_ledgers(1);
        assert!(f.vault.try_get_run(&run).is_err(), "deadline {far} away");
        let again = OpenTerms { valid_until: u64::MAX, ..terms };
        let late = Err(VaultError::DeadlineOutOfRange);
        assert_eq!(f.try_open(&again), late, "an id whose record ended can't be opened again");
    }
}

#[test]
fn a_settlement_void_or_reclaim_does_not_lengthen_a_records_life() {
    let f = Fixture::ready();
    let (settled, voided, reclaimed) = (f.opened(1), f.open(2), f.open(3));
    let left = |run: &BytesN<32>| {
        let key = key(&f, run.clone());
        f.env.as_contract(&f.vault.address, || f.env.storage().temporary().get_ttl(&key))
    };
    let before = left(&voided);
    f.settle(&settled).unwrap();
    f.vault.void_run(&voided, &f.runner, &0, &u64::MAX);
    f.at(NOON + HOUR);
    f.vault.reclaim_run(&reclaimed);
    for run in [&settled.0, &voided, &reclaimed] {
        assert_eq!(left(run), before);
    }
}

/// The state of a run when its record ends before its time.
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
fn lost_at(point: Point) -> (Fixture, (BytesN<32>, RunTerms)) {
    let f = Fixture::ready();
    let run = f.opened(1);
    match point {
        Point::Open => {}
        Point::PastDeadline => f.at(NOON + HOUR),
        Point::PastDueDay => f.at(NOON + DAY),
        Point::Settled => drop(f.settle(&run).unwrap()),
        Point::Voided => f.vault.void_run(&run.0, &f.runner, &0, &u64::MAX),
        Point::Reclaimed => {
            f.at(NOON + HOUR);
            f.vault.reclaim_run(&run.0);
        }
    }
    let key = key(&f, run.0.clone());
    f.env.as_contract(&f.vault.address, || f.env.storage().temporary().remove(&key));
    (f, run)
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
        let (f, run) = lost_at(point);
        let unknown = Err(VaultError::RunNotFound);
        assert_eq!(f.settle(&run).map(|_| ()), unknown, "{point:?}");
        let void = f.vault.try_void_run(&run.0, &f.runner, &0, &u64::MAX);
        assert_eq!(flat(void), unknown, "{point:?}");
        assert_eq!(flat(f.vault.try_reclaim_run(&run.0)), unknown, "{point:?}");
        assert_eq!(flat(f.vault.try_cancel_run(&f.user, &run.0)), unknown, "{point:?}");
        f.at(NOON + 2 * DAY);
        let charged = if point == Point::Settled { CHARGE } else { 0 };
        assert_eq!(f.vault.balance_of(&f.user), ALL - charged, "{point:?}");
        assert_eq!(f.vault.developer_balance(&f.developer), charged, "{point:?}");
        f.vault.withdraw(&f.user, &(ALL - charged));
        assert_eq!(f.owed(), charged, "{point:?}");
    }
}

/// The network keeps a record beyond its run's deadline; were it lost before all the same, the same
/// open would be a new run with an escrow of its own, and both would come back.
#[test]
fn an_open_repeated_after_its_record_was_lost_early_is_another_run() {
    for point in [Point::Open, Point::Settled, Point::Voided] {
        let (f, run) = lost_at(point);
        let charged = if point == Point::Settled { CHARGE } else { 0 };
        assert_eq!(f.try_open(&f.terms(1)), Ok(run.0.clone()), "{point:?}");
        f.settle(&run).unwrap();
        f.at(NOON + 2 * DAY);
        assert_eq!(f.vault.balance_of(&f.user), ALL - charged - CHARGE, "{point:?}");
        assert_eq!(f.vault.developer_balance(&f.developer), charged + CHARGE, "{point:?}");
        assert_eq!(f.vault.deficit(), 0, "{point:?}");
    }
    for point in [Point::PastDeadline, Point::PastDueDay, Point::Reclaimed] {
        let (f, run) = lost_at(point);
        let late = OpenTerms { deadline: run.1.deadline, valid_until: u64::MAX, ..f.terms(1) };
        assert_eq!(f.try_open(&late), Err(VaultError::DeadlineOutOfRange), "{point:?}");
    }
}

#[test]
fn a_receipt_is_proven_after_its_record_is_gone() {
    let (f, _) = lost_at(Point::Settled);
    let account = f.vault.account(&f.user);
    assert_eq!(account.receipts, 1);
    assert_ne!(account.receipts_hash, f.bytes(0));
}
