//! The log of decisions about a pack: one order, one way, holds before tombstones, and no bytes but
//! its own.

use proptest::prelude::*;
use proptest::sample::Index;
use seal::SealStatus;
use seal::records::{
    Decision, Forbidden, Lifecycle, Log, Record, Survives, TombstoneReason, Version, count,
    is_record, is_unfinished, is_unfinished_record, unfinished_name,
};
use time::OffsetDateTime;
use wire::digest::Digest;

fn tombstone() -> Decision {
    Decision::Tombstone {
        reason: TombstoneReason::ErasureRequest,
        replacement: Some(Digest::of(b"other")),
        survives: Survives::Digests,
        manifest_digest: Digest::of(b"manifest"),
        note: Some("ticket 7".to_owned()),
    }
}

fn next(log: &Log, decision: Decision) -> Record {
    Record {
        version: Version::V1,
        number: log.next_number(),
        previous: log.last(),
        oracle_pack_id: Digest::of(b"pack"),
        seal_digest: Digest::of(b"seal"),
        authority: "data owner".to_owned(),
        recorded_at_utc: OffsetDateTime::UNIX_EPOCH,
        decision,
    }
}

fn decision(kind: u8, hold: u32) -> Decision {
    match kind {
        0 => Decision::Hold { matter: "case 7".to_owned() },
        1 => Decision::Release { hold },
        2 => Decision::Archived { location: "cold/1".to_owned() },
        _ => tombstone(),
    }
}

#[test]
fn a_record_comes_back_from_its_bytes_and_from_no_others() {
    let record = next(&Log::default(), tombstone());
    let bytes = record.to_bytes().unwrap();
    assert_eq!(Record::parse(&bytes).unwrap(), record);
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [
        ("ERASURE_REQUEST", "BECAUSE"),
        ("\"v1\"", "\"v2\""),
        ("digests", "some"),
        ("\"tombstone\"", "\"other\""),
        ("data owner", ""),
        ("\"number\":1", "\"number\":0"),
        ("\"number\":1", "\"number\":1001"),
        ("{", "{ "),
        ("\"version\"", "\"more\":1,\"version\""),
        ("\"reason\"", "\"more\":1,\"reason\""),
    ] {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text);
        assert!(Record::parse(edited.as_bytes()).is_err(), "{to} passed");
    }
}

#[test]
fn only_the_spelling_of_a_record_is_one() {
    for name in ["_records/1.json", "_records/1000.json"] {
        assert!(is_record(name), "{name}");
    }
    for name in [
        "_records/0.json",
        "_records/01.json",
        "_records/+1.json",
        "_records/1001.json",
        "_records/1.json.bak",
        "_records/x/1.json",
        "x/_records/1.json",
        "_records",
    ] {
        assert!(!is_record(name), "{name}");
    }
}

#[test]
fn a_file_that_is_being_written_is_known_by_its_whole_name() {
    let name = unfinished_name([0x0f; 16]);
    assert_eq!(name, format!(".oracle-gate-{}.part", "0f".repeat(16)));
    assert!(is_unfinished(&name) && is_unfinished_record(&format!("_records/{name}")));
    for other in [
        "report.csv#2024".to_owned(),
        ".oracle-gate-.part".to_owned(),
        ".oracle-gate-0f.part".to_owned(),
        "a.part".to_owned(),
        name.replace("0f", "0F"),
        format!("x{name}"),
        format!("{name}.part"),
    ] {
        assert!(!is_unfinished(&other), "{other}");
    }
    for path in [name.clone(), format!("x/_records/{name}"), format!("_records/x/{name}")] {
        assert!(!is_unfinished_record(&path), "{path}");
    }
}

#[test]
fn a_log_has_as_many_records_as_its_highest_number_says_and_no_other_file() {
    for (names, expected) in [
        (&[][..], Some(0)),
        (&["1.json"], Some(1)),
        (&["2.json", "1.json"], Some(2)),
        // What is missing is found by a reader of all three.
        (&["3.json"], Some(3)),
        (&["1.json", "01.json"], None),
        (&["1.json", "notes.txt"], None),
        (&["1.json", "1.json/x"], None),
        (&["1001.json"], None),
        (&[""], None),
    ] {
        assert_eq!(count(names.iter().copied()).ok(), expected, "{names:?}");
    }
}

#[test]
fn a_record_follows_the_one_before_it() {
    let mut log = Log::default();
    let hold = next(&log, decision(0, 0));
    log.add(&hold.to_bytes().unwrap()).unwrap();
    let good = next(&log, decision(1, 1));
    let with = |change: fn(&mut Record)| {
        let mut record = good.clone();
        change(&mut record);
        log.clone().add(&record.to_bytes().unwrap())
    };
    assert!(with(|_| ()).is_ok());
    assert!(with(|record| record.number = 1).is_err());
    assert!(with(|record| record.number = 3).is_err());
    assert!(with(|record| record.previous = None).is_err());
    assert!(with(|record| record.previous = Some(Digest::of(b"x"))).is_err());
    assert!(with(|record| record.seal_digest = Digest::of(b"x")).is_err());
    assert!(with(|record| record.oracle_pack_id = Digest::of(b"x")).is_err());
    assert!(with(|record| record.decision = Decision::Release { hold: 2 }).is_err());
    assert!(with(|record| record.decision = tombstone()).is_err(), "a hold is not released");
}

proptest! {
    /// However decisions come: the life of a pack goes one way and ends with a tombstone, and there
    /// is no tombstone while a hold is not released.
    #[test]
    fn a_life_goes_one_way_and_holds_block_tombstones(
        steps in prop::collection::vec((0..4_u8, 0..6_u32), 0..24),
        status in prop::sample::select(vec![SealStatus::Ok, SealStatus::Failed]),
    ) {
        let mut log = Log::default();
        let mut state = log.lifecycle(Some(status));
        let mut held = std::collections::BTreeSet::new();
        for (kind, hold) in steps {
            let decision = decision(kind, hold);
            let allowed = log.allows(&decision);
            let record = next(&log, decision.clone());
            let added = log.add(&record.to_bytes().unwrap());
            prop_assert_eq!(allowed.is_ok(), added.is_ok());
            if let Err(forbidden) = allowed {
                match forbidden {
                    Forbidden::Tombstoned(_) => prop_assert_eq!(state, Lifecycle::Tombstoned),
                    Forbidden::Held(number) => prop_assert!(held.contains(&number)),
                    Forbidden::NotHeld(number) => prop_assert!(!held.contains(&number)),
                    Forbidden::Archived(_) => prop_assert_eq!(state, Lifecycle::Archived),
                    Forbidden::Full => prop_assert!(false),
                }
                continue;
            }
            prop_assert!(state != Lifecycle::Tombstoned, "something came after a tombstone");
            match decision {
                Decision::Hold { .. } => drop(held.insert(record.number)),
                Decision::Release { hold } => prop_assert!(held.remove(&hold)),
                Decision::Archived { .. } => prop_assert!(state < Lifecycle::Archived),
                Decision::Tombstone { .. } => prop_assert!(held.is_empty()),
            }
            let now = log.lifecycle(Some(status));
            prop_assert!(now >= state, "{state} became {now}");
            state = now;
            prop_assert_eq!(log.holds().into_keys().collect::<Vec<_>>(),
                held.iter().copied().collect::<Vec<_>>());
        }
    }

    /// A tombstone outranks whatever else is there, whichever status the seal has or lacks.
    #[test]
    fn a_tombstone_outranks_everything(
        before in prop::collection::vec(2..3_u8, 0..2),
        seal in prop::option::of(prop::sample::select(vec![SealStatus::Ok, SealStatus::Failed])),
    ) {
        let mut log = Log::default();
        for kind in before.into_iter().chain([3]) {
            let record = next(&log, decision(kind, 0));
            drop(log.add(&record.to_bytes().unwrap()));
        }
        prop_assert_eq!(log.lifecycle(seal), Lifecycle::Tombstoned);
    }

    /// Whatever happens to a record's bytes: it is refused, or it is the record.
    #[test]
    fn damaged_records_are_refused(edits in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4)) {
        let record = next(&Log::default(), tombstone());
        let mut bytes = record.to_bytes().unwrap();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(read) = Record::parse(&bytes) {
            prop_assert_eq!(read.to_bytes().unwrap(), bytes);
        }
    }
}
