//! Module trees are kept under their digest and under no other.

use std::fs;

use bytes::Bytes;
use oracle_gate::modules::{Incoming, find, put};
use seal::tree::File;
use seal::{Limits, Tree, verify};
use wire::Problem;
use wire::digest::Digest;

use crate::fixture::Fixture;

fn incoming(path: &str, content: &'static str, executable: bool) -> Incoming {
    Incoming { path: path.to_owned(), executable, content: Bytes::from_static(content.as_bytes()) }
}

fn files() -> Vec<Incoming> {
    vec![incoming("bin/run", "#!/bin/sh\n", true), incoming("module.json", "{}", false)]
}

fn tree(files: &[Incoming]) -> Tree {
    let file = |file: &Incoming| File {
        path: file.path.clone(),
        executable: file.executable,
        length: file.content.len() as u64,
        sha256: Digest::of(&file.content),
    };
    Tree::new(files.iter().map(file).collect(), &Limits::MODULE).unwrap()
}

#[tokio::test]
async fn a_module_is_stored_once_and_found_whole() {
    let fixture = Fixture::new();
    let (objects, tree) = (fixture.objects(), tree(&files()));

    assert!(put(&objects, tree.digest(), files()).await.unwrap());
    assert!(!put(&objects, tree.digest(), files()).await.unwrap());

    assert_eq!(find(&objects, tree.digest()).await.unwrap(), Some(tree.clone()));
    let folder = fixture.path(&format!("modules/{}", tree.digest()));
    assert_eq!(verify::module(&folder, tree.digest()).unwrap(), []);
    assert_eq!(find(&objects, Digest::of(b"other")).await.unwrap(), None);
}

#[tokio::test]
async fn files_of_another_digest_are_refused_and_nothing_is_kept() {
    let fixture = Fixture::new();
    let (objects, digest) = (fixture.objects(), tree(&files()).digest());
    for changed in [
        vec![incoming("bin/run", "#!/bin/sh\n", false), incoming("module.json", "{}", false)],
        vec![incoming("bin/run", "#!/bin/sh\n", true)],
    ] {
        let error = put(&objects, digest, changed).await.unwrap_err();
        assert_eq!(error.problem(), Problem::DigestMismatch);
    }
    for path in ["../escape", "/etc/passwd", "a\\b"] {
        let error = put(&objects, digest, vec![incoming(path, "x", false)]).await.unwrap_err();
        assert_eq!(error.problem(), Problem::InvalidRequest);
    }
    assert!(!fixture.path("modules").exists());
}

#[tokio::test]
async fn an_upload_that_was_cut_off_is_completed_by_the_next() {
    let fixture = Fixture::new();
    let (objects, tree) = (fixture.objects(), tree(&files()));
    fixture.write(&format!("modules/{}/tree/bin/run", tree.digest()), "#!/bin/sh\n");
    assert_eq!(find(&objects, tree.digest()).await.unwrap(), None);
    assert!(put(&objects, tree.digest(), files()).await.unwrap());
    assert_eq!(find(&objects, tree.digest()).await.unwrap(), Some(tree));
}

#[tokio::test]
async fn a_stored_module_that_was_changed_is_not_taken_for_the_one_asked_for() {
    let fixture = Fixture::new();
    let (objects, tree) = (fixture.objects(), tree(&files()));
    put(&objects, tree.digest(), files()).await.unwrap();
    let document = fixture.path(&format!("modules/{}/_tree.json", tree.digest()));
    let text = fs::read_to_string(&document).unwrap();
    fs::write(&document, text.replace("\"length\":2", "\"length\":3")).unwrap();
    let error = find(&objects, tree.digest()).await.unwrap_err();
    assert_eq!(error.problem(), Problem::DigestMismatch);
}
