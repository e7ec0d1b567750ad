//! No single lie makes a false sentence proven: every field of what a gateway, a bundle or a node
//! says is changed in every way that fits its type, one at a time.

use std::fs;

use serde_json::{Value, json};
use stellar::vault::Lifecycle;
use wire::{Digest, VaultRunId};

use super::fixture::{Fixture, OPENED};
use crate::verify::facts::ChainFacts;
use crate::verify::link::Proof;

/// The honest story with the most to lie about: two attempts, a fee, another receipt of the
/// account.
fn honest() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.terms.runner_fee = 7_000;
    fixture.execution.attempt = 2;
    fixture.reopen();
    fixture.facts.receipts = None;
    fixture.facts.account = None;
    let run_id = VaultRunId::from([8; 32]);
    let other = stellar::vault::SettledRun { run_id, ..fixture.receipt() };
    fixture.add_receipt(&other);
    fixture.add_attempt(1, OPENED + 3_600, Some(3_000));
    fixture.settle_next();
    fixture.asked.input = Some(Digest::of(b"{}"));
    fixture.asked.seed = Some(42);
    fixture.asked.workflow = Some("profile".to_owned());
    fixture
}

/// Paths to every value in a document.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// What can be said instead of a value.
fn lies(value: &Value) -> Vec<Value> {
    let mut lies = vec![Value::Null];
    match value {
        Value::Number(number) => {
            let number = number.as_u64().unwrap_or_default();
            lies.extend(
                [0, number.wrapping_add(1), number / 2, number.saturating_sub(1)].map(Value::from),
            );
        }
        Value::String(text) => {
            lies.extend([json!(""), json!("\u{1b}[2Jproven"), json!("0".repeat(64))]);
            if let Ok(number) = text.parse::<i128>() {
                lies.extend([number + 1, number - 1, -number, 0].map(|n| json!(n.to_string())));
            }

            // The last character is changed within its alphabet.
            let mut other = text.clone();
            if let Some(last) = other.pop() {
                other.push(if last == '1' { '2' } else { '1' });
                lies.push(json!(other));
            }
        }
        Value::Array(items) => {
            for index in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(index);
                lies.push(json!(fewer));
                let mut twice = items.clone();
                twice.push(items[index].clone());
                lies.push(json!(twice));
            }
        }
        Value::Object(members) => {
            for name in members.keys() {
                let mut fewer = members.clone();
                fewer.remove(name);
                lies.push(json!(fewer));
            }
        }
        Value::Bool(flag) => lies.push(json!(!flag)),
        Value::Null => lies.extend([json!(1), json!("1"), json!({})]),
    }
    lies
}

/// Each place with each lie that can stand there.
fn all_lies<'a>(
    document: &'a Value,
    places: &'a [String],
) -> impl Iterator<Item = (&'a str, Value)> + 'a {
    places.iter().flat_map(|place| {
        let lies = lies(document.pointer(place).unwrap()).into_iter();
        lies.map(move |lie| (place.as_str(), lie))
    })
}

/// Whatever was changed: what is said to be proven is what is true.
fn tells_no_lie(what: &str, honest: &Proof, changed: &Proof) {
    if changed.exit_code() != 0 {
        return;
    }
    assert_eq!(changed.conclusion.proven, honest.conclusion.proven, "{what}");
    assert_eq!(changed.sum, honest.sum, "{what}");
}

/// A story with what is true of it. The facts may hold too little to prove that.
struct Story {
    name: &'static str,
    fixture: Fixture,
    truth: Proof,
}

impl Story {
    /// `forget` takes away what the node does not know any more.
    fn new(name: &'static str, mut fixture: Fixture, forget: fn(&mut Fixture)) -> Self {
        let truth = fixture.judge();
        assert_eq!(truth.exit_code(), 0, "{name}: {:#?}", truth.links);
        forget(&mut fixture);
        Self { name, fixture, truth }
    }
}

fn stories() -> Vec<Story> {
    let keep: fn(&mut Fixture) = |_| {};
    let forget_settlement: fn(&mut Fixture) = Fixture::forget_settlement;
    let substitute = stellar::Address::Account([6; 32]);
    let mut substituted = Fixture::new();
    substituted.terms.runner_fee = 7_000;
    substituted.reopen();
    substituted.settler = substitute;
    substituted.settle();
    substituted.shown().runners = vec![substitute, stellar::Address::Account([8; 32])];

    let mut voided = Fixture::new();
    for part in ["pack", "module", "facts"] {
        fs::remove_dir_all(voided.path(part)).unwrap();
    }
    voided.add_attempt(2, OPENED + 3_600, None);
    voided.execution.attempt = 2;
    voided.shown().record.as_mut().unwrap().lifecycle = Lifecycle::Voided(1);
    voided.write_run();
    vec![
        Story::new("two attempts, a fee and a stranger's receipt", honest(), keep),
        Story::new("its event and receipt are gone", honest(), forget_settlement),
        Story::new("a substitute whose event is gone", substituted, forget_settlement),
        Story::new("a voided attempt after a charged one", voided, keep),
        // The node's own words about its range are compared with each other where they are read.
        Story::new("the first attempt is out of the node's range", honest(), |fixture| {
            fixture.facts.oldest_time = OPENED + 30;
            fixture.facts.attempts.remove(0);
            let list = fixture.facts.receipts.as_mut().unwrap();
            let kept = list.receipts.split_off(list.receipts.len() - 1);
            list.before = list.receipts.last().unwrap().hash;
            list.receipts = kept;
        }),
    ]
}

/// Every how-manyth mutation of the stories after the first is tried: all with `LUMIO_LONG=1`.
fn step(story: usize) -> usize {
    if story == 0 || std::env::var_os("LUMIO_LONG").is_some() { 1 } else { 4 }
}

/// What a node says about its clock and its range: three answers, which are compared when they are
/// read.
const CLOCK: [&str; 3] = ["/ledger_time", "/oldest_ledger", "/oldest_time"];

#[test]
fn no_single_lie_of_a_gateway_makes_a_false_sentence_proven() {
    for (story, Story { name, fixture, truth }) in stories().into_iter().enumerate() {
        let text = fs::read(fixture.path("run.json")).unwrap();
        let document: Value = serde_json::from_slice(&text).unwrap();
        let mut found = Vec::new();
        places(&document, "", &mut found);
        assert!(found.len() > 50, "{name}: {found:?}");
        for (place, lie) in all_lies(&document, &found).step_by(step(story)) {
            let mut changed = document.clone();
            *changed.pointer_mut(place).unwrap() = lie.clone();
            fs::write(fixture.path("run.json"), changed.to_string()).unwrap();
            if let Ok(proof) = fixture.try_judge() {
                tells_no_lie(&format!("{name}: {place}: {lie}"), &truth, &proof);
            }
        }
    }
}

#[test]
fn no_single_lie_of_a_node_makes_a_false_sentence_proven() {
    for (story, Story { name, mut fixture, truth }) in stories().into_iter().enumerate() {
        let is_whole = fixture.judge().exit_code() == 0;
        let document = serde_json::to_value(&fixture.facts).unwrap();
        let mut found = Vec::new();
        places(&document, "", &mut found);
        assert!(found.len() > 70, "{name}: {found:?}");
        found.retain(|place| is_whole || !CLOCK.contains(&place.as_str()));
        for (place, lie) in all_lies(&document, &found).step_by(step(story)) {
            let mut changed = document.clone();
            *changed.pointer_mut(place).unwrap() = lie.clone();
            let Ok(facts) = ChainFacts::parse(changed.to_string().as_bytes()) else { continue };
            fixture.facts = facts;
            if let Ok(proof) = fixture.try_judge() {
                tells_no_lie(&format!("{name}: {place}: {lie}"), &truth, &proof);
            }
        }
    }
}

#[test]
fn no_single_changed_byte_of_a_bundle_is_proven() {
    let fixture = honest();
    let truth = fixture.judge();
    for name in [
        "pack/_execution.dsse",
        "pack/_shipping.dsse",
        "pack/_oracle_pack_manifest.json",
        "pack/outputs/report.json",
        "module/tree/index.js",
        "module/_tree.json",
        "facts/run_facts_view.json",
    ] {
        let path = fixture.path(name);
        let bytes = fs::read(&path).unwrap();
        let step = (bytes.len() / 40).max(1);
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            if let Ok(proof) = fixture.try_judge() {
                // A hint such as a key id may change; what is proven may not.
                tells_no_lie(&format!("{name} at {at}"), &truth, &proof);
            }
        }
        fs::remove_file(&path).unwrap();
        assert_ne!(fixture.try_judge().map_or(1, |proof| proof.exit_code()), 0, "{name} is gone");
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(fixture.judge().exit_code(), 0);
}
