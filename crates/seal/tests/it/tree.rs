use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;
use seal::tree::File;
use seal::{Limits, Tree, TreeError};
use wire::digest::{Digest, Hasher};

fn file(path: &str, content: &[u8], executable: bool) -> File {
    let length = content.len() as u64;
    File { path: path.to_owned(), executable, length, sha256: Digest::of(content) }
}

fn tree(files: Vec<File>) -> Result<Tree, TreeError> {
    Tree::new(files, &Limits::MODULE)
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn the_digest_is_the_hash_of_the_documented_bytes() {
    let mut by_hand = Hasher::new();
    by_hand.update(b"lumio-tree-v1\0");
    for (path, executable, content) in [("B/x", 1_u8, "hello"), ("a", 0, "")] {
        by_hand.update((path.len() as u32).to_be_bytes());
        by_hand.update(path);
        by_hand.update([executable]);
        by_hand.update((content.len() as u64).to_be_bytes());
        by_hand.update(Digest::of(content.as_bytes()).as_bytes());
    }
    let made = tree(vec![file("a", b"", false), file("B/x", b"hello", true)]).unwrap();
    assert_eq!(made.digest(), by_hand.finish());
}

#[test]
fn a_folder_and_its_inventory_give_one_digest() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bin/run", b"#!/bin/sh\n");
    write(dir.path(), "module.json", b"{}");
    fs::create_dir(dir.path().join("empty")).unwrap();
    let script = dir.path().join("bin/run");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();

    let read = Tree::from_dir(dir.path(), &Limits::MODULE).unwrap();
    let listed =
        tree(vec![file("module.json", b"{}", false), file("bin/run", b"#!/bin/sh\n", true)]);
    assert_eq!(read, listed.unwrap());
    assert_eq!(Tree::parse(&read.to_bytes().unwrap(), &Limits::MODULE).unwrap(), read);

    fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
    assert_ne!(Tree::from_dir(dir.path(), &Limits::MODULE).unwrap().digest(), read.digest());
}

#[test]
fn links_are_refused_wherever_they_point() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", b"a");
    symlink("a", dir.path().join("inside")).unwrap();
    let refused = Tree::from_dir(dir.path(), &Limits::MODULE).unwrap_err();
    assert!(matches!(refused, TreeError::NotRegular(path) if path == "inside"));
}

#[test]
fn what_two_disks_would_read_differently_is_refused() {
    for (a, b) in [
        ("a", "a"),
        ("Read.me", "read.ME"),
        ("d", "d/x"),
        ("D/x", "d/y"),
        ("D", "d/x"),
        ("Straße", "STRASSE"),
        ("é/a", "e\u{301}/b"),
        ("ſ", "S"),
    ] {
        let refused = tree(vec![file(a, b"1", false), file(b, b"2", false)]);
        assert!(matches!(refused, Err(TreeError::Clash(..))), "{a} beside {b} passed");
    }
    for path in ["../a", "/a", "a\\b", "a\0", "", "a//b"] {
        let refused = tree(vec![file(path, b"1", false)]);
        assert!(matches!(refused, Err(TreeError::Path(_))), "{path:?} passed");
    }
}

#[test]
fn sizes_are_bounded() {
    assert!(matches!(tree(vec![]), Err(TreeError::Empty)));
    let many = |n: usize| (0..n).map(|i| file(&format!("f{i}"), b"", false)).collect::<Vec<_>>();
    assert!(tree(many(4_096)).is_ok());
    assert!(matches!(tree(many(4_097)), Err(TreeError::TooLarge(_))));
    let mut large = file("a", b"", false);
    large.length = (64 << 20) + 1;
    assert!(matches!(tree(vec![large.clone()]), Err(TreeError::TooLarge(_))));
    let mut huge = file("b", b"", false);
    huge.length = u64::MAX;
    assert!(matches!(tree(vec![large, huge]), Err(TreeError::TooLarge(_))));
}

#[test]
fn a_document_cannot_claim_another_digest() {
    let made = tree(vec![file("a", b"1", false)]).unwrap();
    let text = String::from_utf8(made.to_bytes().unwrap()).unwrap();
    let claimed = text.replace(&made.digest().to_string(), &Digest::of(b"other").to_string());
    assert!(Tree::parse(claimed.as_bytes(), &Limits::MODULE).is_err());
    let renamed = text.replace("sha256-tree-v1", "sha256-tree-v2");
    assert!(Tree::parse(renamed.as_bytes(), &Limits::MODULE).is_err());
}

prop_compose! {
    fn any_files()(
        contents in prop::collection::btree_map("[a-d]{1,3}(/[e-h]{1,3}){0,2}", (any::<Vec<u8>>(), any::<bool>()), 1..6)
    ) -> Vec<(String, Vec<u8>, bool)> {
        contents.into_iter().map(|(path, (content, executable))| (path, content, executable)).collect()
    }
}

fn made(files: &[(String, Vec<u8>, bool)]) -> Option<Tree> {
    tree(files.iter().map(|(path, content, mode)| file(path, content, *mode)).collect()).ok()
}

proptest! {
    #[test]
    fn order_does_not_matter_and_every_change_does(
        files in any_files(), turn in any::<usize>(), at in any::<prop::sample::Index>(), kind in 0..4,
    ) {
        let Some(before) = made(&files) else { return Ok(()) };
        let mut turned = files.clone();
        turned.rotate_left(turn % files.len());
        prop_assert_eq!(made(&turned).unwrap().digest(), before.digest());

        let mut changed = files.clone();
        let one = at.index(changed.len());
        match kind {
            0 => changed[one].1.push(0),
            1 => changed[one].2 = !changed[one].2,
            2 => changed[one].0.push('z'),
            _ => changed.push(("zz".to_owned(), vec![], false)),
        }
        if let Some(after) = made(&changed) {
            prop_assert_ne!(after.digest(), before.digest());
        }
    }

    #[test]
    fn accepted_paths_stay_below_their_root(path in "[a./\\\\# 1%~-]{0,12}") {
        if seal::path::check(&path).is_ok() {
            let joined = Path::new("/srv").join(&path);
            prop_assert!(joined.starts_with("/srv"));
            prop_assert!(joined.components().all(|c| c.as_os_str() != ".."));
            prop_assert_eq!(joined.to_str().unwrap(), format!("/srv/{path}"));
        }
    }
}
