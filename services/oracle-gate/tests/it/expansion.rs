//! The one listing that a check may do, and the parsers of what operators write.

use std::collections::BTreeSet;
use std::fs;

use oracle_gate::catalogue::{Catalogue, GateMap};
use oracle_gate::locator::Contained;
use oracle_gate::objects::Objects;
use oracle_gate::profile::Profile;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::conformance::fixture::{CATALOGUE, GATES};

fn expand(objects: &Objects, path: &str) -> Vec<String> {
    let contained = Contained::parse(path, objects.names()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let expansion = runtime.block_on(contained.expand(objects)).unwrap();
    expansion.files.into_iter().map(|(path, _)| path).collect()
}

/// `text` damaged in a few places.
fn damaged(text: &str, edits: Vec<(Index, char, bool)>) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, char, insert) in edits {
        let at = at.index(chars.len());
        if insert { chars.insert(at, char) } else { chars[at] = char }
    }
    chars.into_iter().collect()
}

fn edits() -> impl Strategy<Value = Vec<(Index, char, bool)>> {
    prop::collection::vec((any::<Index>(), any::<char>(), any::<bool>()), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_expansion_is_every_matching_file_of_its_folder_in_order_and_nothing_else(
        names in prop::collection::btree_set("[a-c.*]{1,4}", 0..8),
        (head, tail) in ("[a-c.]{0,2}", "[a-c.]{0,2}"),
    ) {
        let names: BTreeSet<String> =
            names.into_iter().filter(|name| name != "." && name != "..").collect();
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("data");
        fs::create_dir_all(folder.join(format!("{head}-deep-{tail}"))).unwrap();
        fs::write(folder.join(format!("{head}-deep-{tail}/{head}x{tail}")), "deep").unwrap();
        fs::write(dir.path().join(format!("{head}x{tail}")), "above").unwrap();
        names.iter().for_each(|name| fs::write(folder.join(name), "").unwrap());
        let matches = |name: &&String| {
            name.len() >= head.len() + tail.len() && name.starts_with(&head) && name.ends_with(&tail)
        };
        let expected: Vec<String> =
            names.iter().filter(matches).map(|name| format!("data/{name}")).collect();
        let objects = Objects::local(dir.path()).unwrap();
        prop_assert_eq!(expand(&objects, &format!("data/{head}*{tail}")), expected);
    }

    /// Whatever is contained, is read below the root or not at all, also where links lead out.
    #[test]
    fn nothing_outside_the_root_is_ever_read(
        path in "((/|\\.\\./|\\./|in/|out/|s3://|root/|\\*)){0,5}(secret|x|part-\\*)?",
    ) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("in")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(dir.path(), root.join("out")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), root.join("in/secret")).unwrap();
        let objects = Objects::local(&root).unwrap();
        if let Ok(contained) = Contained::parse(&path, objects.names()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let read = runtime.block_on(objects.read(contained.as_str(), 1 << 10));
            prop_assert!(!matches!(&read, Ok(Some(bytes)) if &bytes[..] == b"secret"), "{}", path);
        }
    }

    #[test]
    fn damaged_catalogues_and_gate_maps_are_read_or_refused(edits in edits()) {
        drop(Catalogue::parse(damaged(CATALOGUE, edits.clone()).as_bytes()));
        drop(GateMap::parse(damaged(GATES, edits).as_bytes()));
    }

    #[test]
    fn arbitrary_bytes_are_no_configuration(bytes in any::<Vec<u8>>()) {
        prop_assert!(Catalogue::parse(&bytes).is_err() && GateMap::parse(&bytes).is_err());
    }

    /// A damaged profile never becomes lenient by the damage.
    #[test]
    fn damaged_profiles_are_strict_or_refused(edits in edits()) {
        let strict = "profile_id: dev\npolicy: {require_pack_ref: true}\nwiring: {oracle_root: x}\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), damaged(strict, edits)).unwrap();
        if let Ok(profile) = Profile::load(file.path().to_str().unwrap(), None, |_| None) {
            prop_assert!(!profile.lenient && profile.require_gate_pass);
        }
    }
}
