//! The committed Wasm under malformed calls: wrong types, wrong counts, extreme numbers, unusual
//! addresses, structs with fields missing, added or renamed, long lists. Whatever comes, the answer
//! is a success, a code of the contract that was called, or the host's own refusal; never another
//! contract's code, never a change under an error, never a panic of the host. A call whose values
//! are of the right types never even traps.
//!
//! What is called, and with what types, is read from the Wasm's interface section, so that a new
//! function is tried without a line here. `LUMIO_FUZZ_CALLS` asks for more calls, `LUMIO_FUZZ_SEED`
//! for other ones.

mod spec;
mod value;

use std::string::String as Text;
use std::vec::Vec as List;

use soroban_sdk::testutils::Address as _;
use soroban_sdk::xdr::{LedgerEntryData, ScErrorType, ScVal};
use soroban_sdk::{Error, IntoVal, Symbol, TryFromVal, Val};

use super::*;
pub(super) use spec::Spec;
use value::Maker;

/// Calls of an ordinary run, of each contract.
const CALLS: u64 = 4_000;
/// Calls of one fixture; what a call costs the test grows with what its fixture has stored.
const PART: u64 = 250;

/// How calls ended: with success, a code, a refusal of the host.
type Tally = [u32; 3];

#[test]
fn no_call_of_the_vault_answers_anything_but_success_its_own_code_or_a_refusal() {
    in_parts(|seed, calls| {
        let f = Fixture::built(true).prepared();
        let (run, settled, terms) = (f.opened(1), f.opened(2), f.terms(3));
        f.settle(&settled).unwrap();
        let limits = GrantLimits { per_run_cap: 0, total_cap: 0, max_runner_fee: 5 };
        let policy = PolicyInput { per_run_cap: 0, daily_cap: 0, paused: false };
        let env = &f.env;
        let (heads, opening) = batch::openings(&f, &[batch::open_run(&f, 4)]);
        let (_, settlement) = batch::settlements(&f, &[batch::settlement(&f, run.clone())]);
        let examples = [
            ("RunTerms", run.1.into_val(env)),
            ("OpenTerms", terms.into_val(env)),
            ("Head", heads.get_unchecked(0).into_val(env)),
            ("OpenItem", opening.get_unchecked(0).into_val(env)),
            ("SettleItem", settlement.get_unchecked(0).into_val(env)),
            ("Meters", Meters(1, 1, 1, 1).into_val(env)),
            ("GrantLimits", limits.into_val(env)),
            ("PolicyInput", policy.into_val(env)),
            ("UsageBreakdown", usage().into_val(env)),
            ("UsageMeterRates", rates().into_val(env)),
            ("BytesN", run.0.into_val(env)),
            ("BytesN", settled.0.into_val(env)),
        ];
        let tally = fuzz(&f, (&f.vault.address, wasm::VAULT, 37), &examples, seed, calls);
        assert_eq!(f.vault.deficit(), 0);
        tally
    });
}

#[test]
fn no_call_of_the_registry_answers_anything_but_success_its_own_code_or_a_refusal() {
    in_parts(|seed, calls| {
        let f = Fixture::built(true).prepared();
        let examples = [
            ("RateCardInput", card(&f.env, 5).into_val(&f.env)),
            ("UsageMeterRates", rates().into_val(&f.env)),
            ("BytesN", f.bytes(1).into_val(&f.env)),
        ];
        fuzz(&f, (&f.registry.address, wasm::REGISTRY, 13), &examples, seed, calls)
    });
}

/// Makes as many fixtures as the calls need, each from a seed of its own.
fn in_parts(part: impl Fn(u64, u64) -> Tally) {
    let calls = wished("LUMIO_FUZZ_CALLS").unwrap_or(CALLS);
    let seed = wished("LUMIO_FUZZ_SEED").unwrap_or(1);
    let mut tally = [0; 3];
    for at in 0..calls.div_ceil(PART) {
        for (sum, count) in tally.iter_mut().zip(part((seed << 32) | at, PART)) {
            *sum += count;
        }
    }
    // All three must happen, or this tries less than it says.
    assert!(tally.iter().all(|count| *count > 20), "{tally:?}");
}

/// Calls a contract of which address, Wasm and number of codes are given.
fn fuzz(
    f: &Fixture,
    (id, wasm, codes): (&Address, &[u8], u32),
    examples: &[(&str, Val)],
    seed: u64,
    calls: u64,
) -> Tally {
    let spec = Spec::of(wasm);
    let stranger = Address::generate(&f.env);
    let people = [&f.user, &f.runner, &f.developer, &f.admin, &stranger];
    let contracts = [&f.vault.address, &f.registry.address, &f.token.address];
    let addresses = people.into_iter().chain(contracts);
    let addresses: List<ScVal> = addresses.map(|address| plain(f, address.to_val())).collect();
    let examples = examples.iter().map(|(name, value)| (*name, plain(f, *value))).collect();
    let mut maker = Maker::new(&spec, addresses, examples, seed, f.agent);
    let mut tally = [0; 3];
    for _ in 0..calls {
        let call = maker.call();
        let arguments = call.arguments.iter().map(|value| Val::try_from_val(&f.env, value));
        // What the host can't even take as a value never reaches a contract.
        let Ok(arguments) = arguments.collect::<Result<List<Val>, _>>() else { continue };
        let before = data(f);
        let name = Symbol::new(&f.env, &call.function);
        let arguments = Vec::from_slice(&f.env, &arguments);
        let answer = f.env.try_invoke_contract::<Val, Error>(id, &name, arguments);
        let Err(refused) = answer else {
            tally[0] += 1;
            continue;
        };
        let error = refused.unwrap_or_else(|_| panic!("{call:?}: neither a code nor a refusal"));
        let of_contract = error.is_type(ScErrorType::Contract);
        assert!(!of_contract || (1..=codes).contains(&error.get_code()), "{call:?}: {error:?}");
        let trapped = error.is_type(ScErrorType::WasmVm);
        assert!(!(trapped && call.well_formed), "{call:?}: {error:?}");
        assert!(before == data(f), "{call:?}: a change under {error:?}");
        tally[if of_contract { 1 } else { 2 }] += 1;
    }
    tally
}

fn plain(f: &Fixture, value: Val) -> ScVal {
    ScVal::try_from_val(&f.env, &value).unwrap()
}

/// Everything contracts have stored.
fn data(f: &Fixture) -> List<LedgerEntryData> {
    let entries = f.env.to_ledger_snapshot().ledger_entries;
    let data = entries.into_iter().map(|(_, (entry, _))| entry.data);
    data.filter(|data| matches!(data, LedgerEntryData::ContractData(_))).collect()
}
