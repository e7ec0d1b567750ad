//! What is measured: every call once, and whole runs in batches.

use anyhow::Result;
use stellar::registry::RateCard;
use stellar::vault::{MOST_OPENS, MOST_SETTLEMENTS, Open};
use stellar::{Address, Invocation};
use wire::{Digest, Rates};

use crate::ledger::{Cost, Ledger};
use crate::world::{Deal, World};

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
    let mut plain = World::busy(MOST_SETTLEMENTS, Deal::Plain)?;
    let mut world = World::busy(MOST_SETTLEMENTS, Deal::WithFee)?;
    let runs = vec![
        ("one user", batches(&mut plain, false)?),
        ("different users", batches(&mut plain, true)?),
        ("different users, with limits and fee", batches(&mut world, true)?),
    ];
    let user = world.users[0];
    let open = world.open(user);
    world.apply(world.source, world.vault.open_run(&open)?)?;
    let run = world.run_id(&open)?;
    let opened = world.record_bytes(&run)?;
    let settle = world.settle(&open)?;
    world.apply(world.source, world.vault.finalize_run(&settle)?)?;
    let record = (opened, world.record_bytes(&run)?);
    let calls = calls(&mut world)?;
    Ok(Costs { calls, runs, record, ledger: world.ledger })
}

fn batches(world: &mut World, of_many: bool) -> Result<Vec<Batch>> {
    let sizes = [(1, 1), (5, 5), (10, 10), (MOST_OPENS, MOST_SETTLEMENTS)];
    sizes.iter().map(|(opens, settlements)| batch(world, *opens, *settlements, of_many)).collect()
}

/// Opens and settles in batches of these sizes.
fn batch(world: &mut World, opens: usize, settlements: usize, of_many: bool) -> Result<Batch> {
    let user = |world: &World, index: usize| world.users[if of_many { index } else { 0 }];
    let until = world.ledger.time() + 60;
    let new = |world: &mut World, users: std::ops::Range<usize>| -> Vec<Open> {
        users.map(|index| world.open(user(world, index))).collect()
    };
    let runs = new(world, 0..opens);
    let head = world.head();
    let under_head: Vec<_> = runs.iter().map(|run| (head.clone(), run.clone())).collect();
    let open = world.apply_batch(world.vault.open_runs(world.runner, until, &under_head)?)?;
    // More may be settled than opened at once: the rest was opened before.
    let others = new(world, opens..settlements.max(opens));
    for other in &others {
        world.apply(world.source, world.vault.open_run(other)?)?;
    }
    let all = runs.iter().chain(&others).take(settlements);
    let items = all.map(|open| world.settle(open)).collect::<Result<Vec<_>>>()?;
    let settle = world.apply_batch(world.vault.finalize_runs(world.runner, until, &items)?)?;
    Ok(Batch { opens, settlements, open, settle })
}

fn calls(world: &mut World) -> Result<Vec<(&'static str, Cost)>> {
    let mut calls = std::mem::take(&mut world.setup);
    let (user, source, runner, developer) =
        (world.users[0], world.source, world.runner, world.developer);
    let mut call = |world: &mut World, name, source: Address, call: Invocation| -> Result<()> {
        calls.push((name, world.apply(source, call)?.1));
        Ok(())
    };
    let vault = world.vault;
    let token = stellar::ids::native_token_id(&world.ledger.network)?;
    call(world, "deposit, a later one", user, vault.deposit(user, 10_000_000, token)?)?;
    call(world, "withdraw", user, vault.withdraw(user, 10_000_000))?;
    let open = world.open(user);
    call(world, "open_run", source, vault.open_run(&open)?)?;
    call(world, "open_run, repeated", source, vault.open_run(&open)?)?;
    let settle = world.settle(&open)?;
    call(world, "finalize_run", source, vault.finalize_run(&settle)?)?;
    call(world, "finalize_run, repeated", source, vault.finalize_run(&settle)?)?;
    let open = world.open(user);
    world.apply(source, vault.open_run(&open)?)?;
    let (run, until) = (world.run_id(&open)?, open.terms.valid_until);
    call(world, "void_run", source, vault.void_run(&run, runner, 1, until)?)?;
    let open = world.open(user);
    world.apply(source, vault.open_run(&open)?)?;
    world.ledger.pass(3_600);
    call(world, "reclaim_run", user, vault.reclaim_run(&world.run_id(&open)?)?)?;
    let open = world.open(user);
    world.apply(source, vault.open_run(&open)?)?;
    world.ledger.pass(86_400);
    call(world, "sweep", user, vault.sweep(user))?;
    let open = world.open(user);
    call(world, "open_run, the first in a day", source, vault.open_run(&open)?)?;
    let settle = world.settle(&open)?;
    call(world, "finalize_run, the first in a day", source, vault.finalize_run(&settle)?)?;
    call(world, "claim_developer", developer, vault.claim_developer(developer, 1_000))?;
    call(world, "claim_runner", runner, vault.claim_runner(runner, 1_000))?;
    call(world, "revoke_runner", user, vault.revoke_runner(user, runner, 1))?;
    let card = RateCard { rates: Rates::default(), manifest_hash: Digest::of(b"next") };
    let registry = world.registry;
    call(world, "add_runner", developer, registry.add_runner(1, world.admin))?;
    call(world, "remove_runner", developer, registry.remove_runner(1, world.admin))?;
    call(
        world,
        "publish_rate_card, a later one",
        developer,
        registry.publish_rate_card(1, &card)?,
    )?;
    call(world, "pause_opens", world.admin, vault.pause_opens())?;
    Ok(calls)
}
