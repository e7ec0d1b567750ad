//! Attested settlement (V16): whoever holds the runner's key takes neither charge nor fee from an
//! escrow for which no attester of the run has signed exactly this usage.

use ed25519_dalek::VerifyingKey;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sha2::{Digest, Sha256};

use super::batch::{OpenRun, Settlement, openings, settlements};
use super::*;

const FEE: i128 = 500;
const NOTHING: UsageBreakdown =
    UsageBreakdown { llm_in: 0, llm_out: 0, http_calls: 0, runtime_ms: 0 };

type Run = (BytesN<32>, RunTerms);

/// What an attester signs, made from the interface page and not from the contract's code.
pub(super) fn message(run: &BytesN<32>, terms: &RunTerms, usage: &UsageBreakdown) -> [u8; 32] {
    let UsageBreakdown { llm_in, llm_out, http_calls, runtime_ms } = *usage;
    let mut text = Sha256::new();
    text.update(b"lumio-settle-v1");
    text.update(run.to_array());
    text.update(terms.manifest_hash.to_array());
    text.update(terms.request_hash.to_array());
    for units in [llm_in, llm_out, http_calls, runtime_ms] {
        text.update((units as u64).to_be_bytes());
    }
    text.finalize().into()
}

impl Fixture {
    /// Ready, with a fee allowed.
    fn with_fee() -> Self {
        let f = Self::ready();
        let limits = GrantLimits { per_run_cap: 0, total_cap: 0, max_runner_fee: FEE };
        f.vault.set_grant_limits(&f.user, &f.runner, &f.agent, &limits);
        f
    }

    fn opened_with_fee(&self, nonce: u8) -> Run {
        let terms = OpenTerms { runner_fee: FEE, ..self.terms(nonce) };
        let pinned = RunTerms { runner_fee: FEE, ..self.pinned(&terms) };
        (self.try_open(&terms).unwrap(), pinned)
    }

    /// Whether a settlement with this signature got through; a refusal of the host is a no.
    fn passes(&self, run: &Run, usage: &UsageBreakdown, at: u32, signed: &BytesN<64>) -> bool {
        let (id, terms) = run;
        let (v, hash, signed) = (&self.vault, self.bytes(9), Some(signed.clone()));
        let answer =
            v.try_finalize_run(id, &self.runner, terms, usage, &hash, &at, &signed, &u64::MAX);
        matches!(answer, Ok(Ok(_)))
    }

    fn unsigned(&self, run: &Run, usage: &UsageBreakdown) -> Result<RunReceipt, VaultError> {
        let (id, terms) = run;
        let (v, hash) = (&self.vault, self.bytes(9));
        flat(v.try_finalize_run(id, &self.runner, terms, usage, &hash, &0, &None, &u64::MAX))
    }

    /// What developer and runner have been paid together.
    fn taken(&self) -> i128 {
        self.vault.developer_balance(&self.developer) + self.vault.runner_balance(&self.runner)
    }

    fn signed_by(&self, seed: u8, message: &[u8]) -> BytesN<64> {
        let signature = SigningKey::from_bytes(&[seed; 32]).sign(message);
        BytesN::from_array(&self.env, &signature.to_bytes())
    }
}

#[test]
fn without_a_signature_nothing_is_taken_and_the_fee_goes_back_too() {
    let f = Fixture::with_fee();
    let run = f.opened_with_fee(1);
    assert_eq!(f.unsigned(&run, &usage()), Err(VaultError::NotAttested));
    assert_eq!(f.unsigned(&run, &units(0, 0, 0, 1)), Err(VaultError::NotAttested));
    let receipt = f.unsigned(&run, &NOTHING).unwrap();
    assert_eq!((receipt.actual_charge, receipt.runner_fee), (0, 0));
    assert_eq!(receipt.refund, ESCROW + FEE);
    assert_eq!((f.taken(), f.vault.balance_of(&f.user)), (0, 100_000_000));
    // The same again is a repeat; with a signature it is another settlement.
    assert_eq!(f.unsigned(&run, &NOTHING), Ok(receipt));
    let again = f.finalize(&f.runner, &run, &NOTHING, 9, u64::MAX);
    assert_eq!(again, Err(VaultError::RunNotOpen));
}

#[test]
fn a_signature_over_zero_usage_takes_the_fee_alone() {
    let f = Fixture::with_fee();
    let receipt = f.settle_as(&f.runner, &f.opened_with_fee(1), &NOTHING).unwrap();
    assert_eq!((receipt.actual_charge, receipt.runner_fee), (0, FEE));
    assert_eq!(f.taken(), FEE);
}

#[test]
fn an_agent_without_attesters_is_charged_nothing() {
    let f = Fixture::with_fee();
    f.registry.set_attesters(&f.agent, &Vec::new(&f.env));
    let mut run = f.opened_with_fee(1);
    run.1.attesters = Vec::new(&f.env);
    assert_eq!(f.settle(&run), Err(VaultError::NotAttested));
    assert_eq!(f.unsigned(&run, &usage()), Err(VaultError::NotAttested));
    assert_eq!(f.unsigned(&run, &NOTHING).unwrap().refund, ESCROW + FEE);
}

#[test]
fn a_place_at_which_no_key_is_pinned_is_answered_with_a_code() {
    let f = Fixture::with_fee();
    let run = f.opened_with_fee(1);
    let (v, hash, signed) = (&f.vault, f.bytes(9), Some(f.attest(&run, &usage())));
    for at in [1, 4, u32::MAX] {
        let (id, terms) = &run;
        let answer =
            v.try_finalize_run(id, &f.runner, terms, &usage(), &hash, &at, &signed, &u64::MAX);
        assert_eq!(flat(answer), Err(VaultError::NotAttested));
    }
}

/// Each of these fails in the host, and with it the whole call; the escrow stays as it is.
#[test]
fn a_signature_that_is_not_for_exactly_this_settlement_takes_nothing() {
    let f = Fixture::with_fee();
    let (run, other) = (f.opened_with_fee(1), f.opened_with_fee(2));
    let (id, terms) = &run;
    let good = f.attest(&run, &usage());

    let foreign_key = f.signed_by(6, &message(id, terms, &usage()));
    let runners_own = f.signed_by(7, &message(id, terms, &usage()));
    let of_other_run = f.attest(&other, &usage());
    let other_module = RunTerms { manifest_hash: f.bytes(1), ..terms.clone() };
    let other_request = RunTerms { request_hash: f.bytes(1), ..terms.clone() };
    let of_module = f.signed_by(5, &message(id, &other_module, &usage()));
    let of_request = f.signed_by(5, &message(id, &other_request, &usage()));
    let of_statement = f.signed_by(5, b"another text that the same key signs");
    for signed in
        [&foreign_key, &runners_own, &of_other_run, &of_module, &of_request, &of_statement]
    {
        assert!(!f.passes(&run, &usage(), 0, signed));
    }
    // A usage one unit higher or lower than the signed one, in every meter.
    for used in [
        units(81, 40, 1, 500),
        units(80, 41, 1, 500),
        units(80, 40, 0, 500),
        units(80, 40, 1, 499),
        units(40, 80, 1, 500),
    ] {
        assert!(!f.passes(&run, &used, 0, &good), "{used:?}");
    }
    assert_eq!(f.taken(), 0);
    assert!(f.passes(&run, &usage(), 0, &good));
    assert_eq!(f.taken(), CHARGE + FEE);
}

/// s + l instead of s verifies where malleability is not refused; the host refuses it.
#[test]
fn a_malleated_signature_is_refused() {
    let f = Fixture::with_fee();
    let run = f.opened_with_fee(1);
    let mut bytes = f.attest(&run, &usage()).to_array();
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, add) in bytes[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert!(!f.passes(&run, &usage(), 0, &BytesN::from_array(&f.env, &bytes)));
    assert!(!f.passes(&run, &usage(), 0, &BytesN::from_array(&f.env, &[0; 64])));
    assert_eq!(f.taken(), 0);
}

/// A key of small order would verify many messages; the host verifies strictly, so a developer who
/// names one only makes the agent's runs free.
#[test]
fn an_attester_of_small_order_verifies_nothing() {
    let f = Fixture::with_fee();
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(VerifyingKey::from_bytes(&identity).unwrap().is_weak());
    f.registry.set_attesters(&f.agent, &vec![&f.env, BytesN::from_array(&f.env, &identity)]);
    let mut run = f.opened_with_fee(1);
    run.1.attesters = vec![&f.env, BytesN::from_array(&f.env, &identity)];
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(!f.passes(&run, &usage(), 0, &BytesN::from_array(&f.env, &signature)));
    assert_eq!(f.taken(), 0);
}

/// One execution has one run id, so what it signed counts for that opening and for no other: not
/// for another nonce, nor for another deadline.
#[test]
fn an_execution_is_charged_under_one_nonce_and_deadline_only() {
    let f = Fixture::with_fee();
    let run = f.opened_with_fee(1);
    let signed = f.attest(&run, &usage());
    let later = OpenTerms { deadline: NOON + 2 * HOUR, runner_fee: FEE, ..f.terms(1) };
    let second = (f.try_open(&later).unwrap(), RunTerms { runner_fee: FEE, ..f.pinned(&later) });
    let third = f.opened_with_fee(2);
    assert!(f.passes(&run, &usage(), 0, &signed));
    assert!(!f.passes(&second, &usage(), 0, &signed));
    assert!(!f.passes(&third, &usage(), 0, &signed));
    assert_eq!(f.taken(), CHARGE + FEE);
}

#[test]
fn a_repeat_is_answered_before_any_signature_is_looked_at() {
    let f = Fixture::with_fee();
    let run = f.opened_with_fee(1);
    let receipt = f.settle(&run).unwrap();
    let (v, hash, other) = (&f.vault, f.bytes(9), Some(f.signed_by(6, b"no")));
    let again =
        v.try_finalize_run(&run.0, &f.runner, &run.1, &usage(), &hash, &3, &other, &u64::MAX);
    assert_eq!(flat(again), Ok(receipt));
    assert_eq!(f.taken(), CHARGE + FEE);
}

#[test]
fn a_wrong_signature_in_a_batch_leaves_no_item_settled() {
    let f = Fixture::with_fee();
    let (one, two) = (f.opened_with_fee(1), f.opened_with_fee(2));
    let good = batch::settlement(&f, one.clone());
    let bad = Settlement { signature: good.signature.clone(), ..batch::settlement(&f, two) };
    let (heads, items) = settlements(&f, &[good.clone(), bad]);
    assert!(f.vault.try_finalize_runs(&f.runner, &u64::MAX, &heads, &items).is_err());
    assert_eq!((f.taken(), f.vault.account(&f.user).receipts), (0, 0));
    let (heads, items) = settlements(&f, &[good]);
    assert_eq!(f.vault.finalize_runs(&f.runner, &u64::MAX, &heads, &items), vec![&f.env, 0]);
}

/// What somebody does who has stolen the runner's key, and has seen one genuine execution settle.
#[derive(Clone, Debug)]
enum Theft {
    Open { other_agent: bool, request: u8, nonce: u8, in_batch: bool },
    Settle { run: usize, usage: [u8; 4], signature: Stolen, at: u32, in_batch: bool },
    Void { run: usize },
    Claim { amount: i128 },
    Reclaim { run: usize },
    Pass { seconds: u64 },
}

/// Where the thief takes a signature from.
#[derive(Clone, Copy, Debug)]
enum Stolen {
    None,
    /// That of the genuine settlement.
    Replayed,
    /// Made with a key of the thief's own.
    Own,
    Noise(u8),
}

fn theft() -> impl Strategy<Value = Theft> {
    let run = || 0usize..8;
    let signature = prop_oneof![
        Just(Stolen::None),
        Just(Stolen::Replayed),
        Just(Stolen::Own),
        any::<u8>().prop_map(Stolen::Noise),
    ];
    prop_oneof![
        4 => (any::<bool>(), 41u8..44, 10u8..40, any::<bool>()).prop_map(
            |(other_agent, request, nonce, in_batch)| Theft::Open {
                other_agent, request, nonce, in_batch,
            }
        ),
        8 => (run(), any::<[u8; 4]>(), signature, 0u32..3, any::<bool>()).prop_map(
            |(run, usage, signature, at, in_batch)| Theft::Settle {
                run, usage, signature, at, in_batch,
            }
        ),
        1 => run().prop_map(|run| Theft::Void { run }),
        1 => (1i128..2_000).prop_map(|amount| Theft::Claim { amount }),
        1 => run().prop_map(|run| Theft::Reclaim { run }),
        1 => (0u64..1_500).prop_map(|seconds| Theft::Pass { seconds }),
    ]
}

/// A fixture in which one run was settled genuinely and two are open, and the other agent.
struct Scene {
    f: Fixture,
    other: u32,
    runs: std::vec::Vec<Run>,
    genuine: BytesN<64>,
}

impl Scene {
    fn new() -> Self {
        let f = Fixture::with_fee();
        let listed = vec![&f.env, f.runner.clone()];
        let other = f.registry.register_agent(&f.developer, &None, &listed, &card(&f.env, 9_000));
        f.registry.set_attesters(&other, &vec![&f.env, attester(&f.env)]);
        let limits = GrantLimits { per_run_cap: 0, total_cap: 0, max_runner_fee: FEE };
        f.vault.set_grant_limits(&f.user, &f.runner, &other, &limits);
        f.vault.grant_runner(&f.user, &f.runner, &other, &None);
        let runs = std::vec![f.opened_with_fee(1), f.opened_with_fee(2), f.opened_with_fee(3)];
        let genuine = f.attest(&runs[0], &usage());
        f.settle(&runs[0]).unwrap();
        f.vault.claim_developer(&f.developer, &CHARGE);
        f.vault.claim_runner(&f.runner, &FEE);
        Self { f, other, runs, genuine }
    }

    fn commit(&mut self, theft: &Theft) {
        let f = &self.f;
        match *theft {
            Theft::Open { other_agent, request, nonce, in_batch } => {
                let agent = if other_agent { self.other } else { f.agent };
                if let Some(run) = self.open(agent, request, nonce, in_batch) {
                    self.runs.push(run);
                }
            }
            Theft::Settle { run, usage: share, signature, at, in_batch } => {
                let run = self.runs[run % self.runs.len()].clone();
                // Half of the attempts state the genuine settlement's own usage.
                let used = match share {
                    [0..128, ..] => usage(),
                    [_, a, b, c] => units(i128::from(a) / 3, i128::from(b) / 6, 1, c.into()),
                };
                self.settle(run, used, self.signature(signature), at, in_batch);
            }
            Theft::Void { run } => {
                let run = &self.runs[run % self.runs.len()].0;
                let _ = f.vault.try_void_run(run, &f.runner, &1, &u64::MAX);
            }
            Theft::Claim { amount } => {
                assert!(f.vault.try_claim_runner(&f.runner, &amount).is_err());
            }
            Theft::Reclaim { run } => {
                let _ = f.vault.try_reclaim_run(&self.runs[run % self.runs.len()].0);
            }
            Theft::Pass { seconds } => f.at(f.env.ledger().timestamp() + seconds),
        }
    }

    fn open(&self, agent: u32, request: u8, nonce: u8, in_batch: bool) -> Option<Run> {
        let f = &self.f;
        let request_hash = f.bytes(request);
        let terms = OpenTerms { request_hash, runner_fee: FEE, ..f.terms(nonce) };
        let mut pinned = RunTerms { agent_id: agent, runner_fee: FEE, ..f.pinned(&terms) };
        if agent == self.other {
            pinned.rates.llm_in = 9_000;
            pinned.max_charge = ESCROW - 100_000;
        }
        if in_batch {
            let run = OpenRun {
                agent_id: agent,
                request_hash: terms.request_hash.clone(),
                runner_fee: FEE,
                ..batch::open_run(f, nonce)
            };
            let (heads, items) = openings(f, &[run]);
            let codes = f.vault.open_runs(&f.runner, &u64::MAX, &heads, &items);
            if codes.get_unchecked(0) != 0 {
                return None;
            }
        } else {
            let (v, user, runner) = (&f.vault, &f.user, &f.runner);
            flat(v.try_open_run(user, runner, &agent, &1, &budgets(), &terms)).ok()?;
        }
        let id = || crate::digest::run_id(&f.env, &f.user, &f.runner, &terms.nonce, terms.deadline);
        Some((f.env.as_contract(&f.vault.address, id), pinned))
    }

    fn signature(&self, from: Stolen) -> Option<BytesN<64>> {
        match from {
            Stolen::None => None,
            Stolen::Replayed => Some(self.genuine.clone()),
            Stolen::Own => Some(self.f.signed_by(7, b"lumio-settle-v1")),
            Stolen::Noise(byte) => Some(BytesN::from_array(&self.f.env, &[byte; 64])),
        }
    }

    fn settle(
        &self,
        run: Run,
        used: UsageBreakdown,
        signature: Option<BytesN<64>>,
        at: u32,
        in_batch: bool,
    ) {
        let (f, hash) = (&self.f, self.f.bytes(9));
        let (v, runner, until) = (&f.vault, &f.runner, u64::MAX);
        if in_batch {
            let (run_id, terms) = run;
            let settlement = Settlement {
                run_id,
                terms,
                usage: used,
                output_hash: hash,
                attester: at,
                signature,
            };
            let (heads, items) = settlements(f, &[settlement]);
            let _ = v.try_finalize_runs(runner, &until, &heads, &items);
        } else {
            let (id, terms) = &run;
            let _ = v.try_finalize_run(id, runner, terms, &used, &hash, &at, &signature, &until);
        }
    }
}

#[test]
fn a_stolen_runner_key_takes_no_stroop_from_an_escrow_whose_signature_it_lacks() {
    let cases = wished("LUMIO_VAULT_THEFTS").unwrap_or(48);
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases: u32::try_from(cases).unwrap(),
            failure_persistence: None,
            ..Config::default()
        },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let thefts = proptest::collection::vec(theft(), 1..24);
    runner
        .run(&thefts, |thefts| {
            let mut scene = Scene::new();
            for theft in &thefts {
                scene.commit(theft);
                prop_assert_eq!(scene.f.taken(), 0, "after {:?}", theft);
            }
            // What the thief opened and left open comes back when its day is past.
            scene.f.at(NOON + 3 * DAY);
            let balance = scene.f.vault.balance_of(&scene.f.user);
            prop_assert_eq!(balance, 100_000_000 - CHARGE - FEE);
            Ok(())
        })
        .unwrap();
}
