//! What is measured: every call once, and whole runs in batches.

use anyhow::Result;
use stellar::registry::RateCard;
use stellar::vault::{MOST_OPENS, MOST_SETTLEMENTS, Open};
use stellar::{Address, Invocation};
use wire::{Digest, Rates};

use crate::fixture::{Deal, Fixture};
use crate::ledger::{Cost, Ledger};

/// Everything that was measured.
pub struct Costs {
    /// Each call by itself.
    pub calls: Vec<(&'static str, Cost)>,
    /// Whole runs by whose they are and what was agreed, each by batch.
    pub runs: Vec<(&'static str, Vec<Batch>)>,
    /// Bytes of a run's record: open, settled.
    pub record: (usize, usize),
    /// The ledger, for its settings.
    pub ledger: Ledger,
}

/// Runs that were opened in one transaction and settled in another.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Runs opened at once.
    pub opens: usize,
    /// Runs settled at once.
    pub settlements: usize,
    /// The opening transaction.
    pub open: Cost,
    /// The settling one.
    pub settle: Cost,
}

/// What one run of a batch costs, in stroops.
#[derive(Debug, Clone, Copy)]
pub struct PerRun {
    /// Everything but rent.
    pub fee: i64,
    /// Rent.
    pub rent: i64,
    /// Rent with persistent records.
    pub rent_persistent: i64,
}

impl Batch {
    /// The share of one run, rounded up.
    pub fn per_run(&self) -> PerRun {
        let share = |part: fn(&Cost) -> i64| {
            let of = |cost: &Cost, runs: usize| part(cost) as f64 / runs as f64;
            (of(&self.open, self.opens) + of(&self.settle, self.settlements)).ceil() as i64
        };
        PerRun {
            fee: share(|cost| cost.fee),
            rent: share(|cost| cost.rent),
            rent_persistent: share(|cost| cost.rent_persistent),
        }
    }
}

impl PerRun {
    /// With rent.
    pub const fn total(&self) -> i64 {
        self.fee + self.rent
    }

    /// With rent, if records were persistent.
    pub const fn total_persistent(&self) -> i64 {
        self.fee + self.rent_persistent
    }
}

/// Measures everything. The same every time: nothing depends on machine or clock.
///
/// # Errors
///
/// When a call fails or passes a limit of the network.
pub fn all() -> Result<Costs> {
    let mut plain = Fixture::busy(MOST_SETTLEMENTS, Deal::Plain)?;
    let mut fixture = Fixture::busy(MOST_SETTLEMENTS, Deal::WithFee)?;
    let runs = vec![
        ("one user", batches(&mut plain, false)?),
        ("different users", batches(&mut plain, true)?),
        ("different users, with limits and fee", batches(&mut fixture, true)?),
    ];
    let user = fixture.users[0];
    let open = fixture.open(user);
    fixture.apply(fixture.source, fixture.vault.open_run(&open)?)?;
    let run = fixture.run_id(&open)?;
    let opened = fixture.record_bytes(&run)?;
    let settle = fixture.settle(&open)?;
    fixture.apply(fixture.source, fixture.vault.finalize_run(&settle)?)?;
    let record = (opened, fixture.record_bytes(&run)?);
    let calls = calls(&mut fixture)?;
    Ok(Costs { calls, runs, record, ledger: fixture.ledger })
}

fn batches(fixture: &mut Fixture, of_many: bool) -> Result<Vec<Batch>> {
    let sizes = [(1, 1), (5, 5), (10, 10), (MOST_OPENS, MOST_SETTLEMENTS)];
    sizes.iter().map(|(opens, settlements)| batch(fixture, *opens, *settlements, of_many)).collect()
}

/// Opens and settles in batches of these sizes.
fn batch(fixture: &mut Fixture, opens: usize, settlements: usize, of_many: bool) -> Result<Batch> {
    let user = |fixture: &Fixture, index: usize| fixture.users[if of_many { index } else { 0 }];
    let until = fixture.ledger.time() + 60;
    let new = |fixture: &mut Fixture, users: std::ops::Range<usize>| -> Vec<Open> {
        users.map(|index| fixture.open(user(fixture, index))).collect()
    };
    let runs = new(fixture, 0..opens);
    let head = fixture.head();
    let under_head: Vec<_> = runs.iter().map(|run| (head.clone(), run.clone())).collect();
    let open =
        fixture.apply_batch(fixture.vault.open_runs(fixture.runner, until, &under_head)?)?;
    // More may be settled than opened at once: the rest was opened before.
    let others = new(fixture, opens..settlements.max(opens));
    for other in &others {
        fixture.apply(fixture.source, fixture.vault.open_run(other)?)?;
    }
    let all = runs.iter().chain(&others).take(settlements);
    let items = all.map(|open| fixture.settle(open)).collect::<Result<Vec<_>>>()?;
    let settle =
        fixture.apply_batch(fixture.vault.finalize_runs(fixture.runner, until, &items)?)?;
    Ok(Batch { opens, settlements, open, settle })
}

fn calls(fixture: &mut Fixture) -> Result<Vec<(&'static str, Cost)>> {
    let mut calls = std::mem::take(&mut fixture.setup);
    let (user, source, runner, developer) =
        (fixture.users[0], fixture.source, fixture.runner, fixture.developer);
    let mut call = |fixture: &mut Fixture, name, source: Address, call: Invocation| -> Result<()> {
        calls.push((name, fixture.apply(source, call)?.1));
        Ok(())
    };
    let vault = fixture.vault;
    let token = stellar::ids::native_token_id(&fixture.ledger.network)?;
    call(fixture, "deposit, a later one", user, vault.deposit(user, 10_000_000, token)?)?;
    call(fixture, "withdraw", user, vault.withdraw(user, 10_000_000))?;
    let open = fixture.open(user);
    call(fixture, "open_run", source, vault.open_run(&open)?)?;
    call(fixture, "open_run, repeated", source, vault.open_run(&open)?)?;
    let settle = fixture.settle(&open)?;
    call(fixture, "finalize_run", source, vault.finalize_run(&settle)?)?;
    call(fixture, "finalize_run, repeated", source, vault.finalize_run(&settle)?)?;
    let open = fixture.open(user);
    fixture.apply(source, vault.open_run(&open)?)?;
    let (run, until) = (fixture.run_id(&open)?, open.terms.valid_until);
    call(fixture, "void_run", source, vault.void_run(&run, runner, 1, until)?)?;
    let open = fixture.open(user);
    fixture.apply(source, vault.open_run(&open)?)?;
    fixture.ledger.pass(3_600);
    call(fixture, "reclaim_run", user, vault.reclaim_run(&fixture.run_id(&open)?)?)?;
    let open = fixture.open(user);
    fixture.apply(source, vault.open_run(&open)?)?;
    fixture.ledger.pass(86_400);
    call(fixture, "sweep", user, vault.sweep(user))?;
    let open = fixture.open(user);
    call(fixture, "open_run, the first in a day", source, vault.open_run(&open)?)?;
    let settle = fixture.settle(&open)?;
    call(fixture, "finalize_run, the first in a day", source, vault.finalize_run(&settle)?)?;
    call(fixture, "claim_developer", developer, vault.claim_developer(developer, 1_000))?;
    call(fixture, "claim_runner", runner, vault.claim_runner(runner, 1_000))?;
    call(fixture, "revoke_runner", user, vault.revoke_runner(user, runner, 1))?;
    let card = RateCard { rates: Rates::default(), manifest_hash: Digest::of(b"next") };
    let registry = fixture.registry;
    call(fixture, "add_runner", developer, registry.add_runner(1, fixture.admin))?;
    call(fixture, "remove_runner", developer, registry.remove_runner(1, fixture.admin))?;
    call(
        fixture,
        "publish_rate_card, a later one",
        developer,
        registry.publish_rate_card(1, &card)?,
    )?;
    call(fixture, "pause_opens", fixture.admin, vault.pause_opens())?;
    Ok(calls)
}
