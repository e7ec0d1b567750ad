//! Cases that pass, and cases that pass with a warning under the lenient profile.

use serde_json::{Value, json};
use wire::digest::Digest;

use super::Case;
use super::fixture::{Sealing, StoreFixture, fingerprint, sha256};

fn strip_digests(fixture: &mut StoreFixture) {
    for locator in fixture.view["locators"].as_array_mut().unwrap() {
        locator.as_object_mut().unwrap().remove("content_digest");
    }
}

fn tree_digest(files: &[(&str, &[u8])]) -> Value {
    let file = |(path, content): &(&str, &[u8])| seal::tree::File {
        path: (*path).to_owned(),
        executable: false,
        length: content.len() as u64,
        sha256: Digest::of(content),
    };
    let tree = seal::Tree::new(files.iter().map(file).collect(), &seal::Limits::PACK).unwrap();
    json!({"algo": "sha256-tree-v1", "hex": tree.digest()})
}

pub const GOOD: &[Case] = &[
    ("a_whole_pack_under_gates_of_every_method", |_| ()),
    ("a_pack_of_the_first_version_with_an_output_that_needs_no_gate", |fixture| {
        fixture.unpinned();
        fixture.only_free();
        fixture.sealing = Sealing::V0;
    }),
    ("a_folder_that_the_inventory_names_the_files_of", |fixture| {
        fixture.locator(0)["path"] = json!(format!("run-5/data/free/f={}/more", fingerprint()));
        fixture.locator(0)["content_digest"] = sha256(b"ac");
    }),
    ("a_folder_with_a_tree_digest", |fixture| {
        fixture.locator(0)["path"] = json!(format!("run-5/data/free/f={}/more", fingerprint()));
        fixture.locator(0)["content_digest"] = tree_digest(&[("a.txt", b"a"), ("b/c.txt", b"c")]);
    }),
    ("parts_with_a_tree_digest", |fixture| {
        fixture.locator(1)["content_digest"] =
            tree_digest(&[("part-0.txt", b"p0"), ("part-1.txt", b"p1")]);
    }),
    ("an_optional_output_left_out", |fixture| {
        fixture.view["intended_outputs"] = json!(["free", "spare"]);
    }),
    ("paths_under_the_name_of_the_root_as_configured", |fixture| {
        fixture.only_free();
        let path = fixture.locator(0)["path"].as_str().unwrap().to_owned();
        fixture.locator(0)["path"] = json!(format!("store/{path}"));
    }),
    ("the_root_itself_is_the_pack", |fixture| {
        fixture.pack = String::new();
        fixture.only_free();
        fixture.locator(0)["path"] = json!(format!("data/free/f={}/one.txt", fingerprint()));
    }),
    ("a_pack_by_its_id_under_an_environment", |fixture| {
        fixture.pack = format!("prod/packs/{}", "ab".repeat(32));
        fixture.only_free();
        let path = format!("{}/data/free/f={}/one.txt", fixture.pack, fingerprint());
        fixture.locator(0)["path"] = json!(path);
    }),
    ("receipts_that_name_where_the_evidence_is", |fixture| {
        let root = format!("run-5/data/a/f={}", fingerprint());
        fixture.view["gate_receipts"][0]["artifacts"] = json!({
            "validation_bundle_root": format!("{root}/"),
            "passed_flag_path": format!("{root}/_passed.flag"),
            "index_path": format!("{root}/index.json"),
        });
    }),
    ("an_instance_receipt_that_is_stored", |fixture| {
        let mut stored = fixture.view["instance_receipts"][0].clone();
        stored["produced_at_utc"] = json!("2026-01-28T00:00:00Z");
        fixture.view["instance_receipts"][0]["artifacts"] =
            json!({"receipt_path": "sr/instance_receipt.json"});
        fixture.after(move |case| {
            super::fixture::write(
                &case.join("store/sr/instance_receipt.json"),
                stored.to_string().as_bytes(),
            );
        });
    }),
    ("a_bundle_hash_over_an_empty_list_of_instance_receipts", |fixture| {
        fixture.only_free();
        fixture.view["instance_receipts"] = json!([]);
        fixture.unpinned();
        let hashed = seal::facts::RunFactsView::parse(fixture.view.to_string().as_bytes()).unwrap();
        fixture.view["bundle_hash"] = json!(hashed.computed_bundle_hash().unwrap());
        fixture.view.as_object_mut().unwrap().remove("instance_receipts");
        fixture.hashes = false;
    }),
    ("receipts_that_are_young_enough", |fixture| fixture.dated("2026-01-28T00:00:00Z")),
    ("a_lenient_profile_with_nothing_to_allow", StoreFixture::lenient),
];

pub const WARN: &[Case] = &[
    (
        "PACK_NOT_SEALED+PACK_MANIFEST_MISSING+GATE_BUNDLE_UNLISTED__an_engine_run_never_packed",
        |fixture| {
            fixture.lenient();
            fixture.sealing = Sealing::Not;
        },
    ),
    ("PACK_NOT_SEALED__a_packer_that_died_before_the_seal", |fixture| {
        fixture.lenient();
        fixture.after(|case| std::fs::remove_file(case.join("store/run-5/_SEALED.json")).unwrap());
    }),
    ("PACK_MANIFEST_MISSING__a_seal_without_its_manifest", |fixture| {
        fixture.lenient();
        fixture.only_free();
        fixture.after(|case| {
            std::fs::remove_file(case.join("store/run-5/_oracle_pack_manifest.json")).unwrap();
        });
    }),
    ("GATE_BUNDLE_UNLISTED__a_pack_of_the_first_version", |fixture| {
        fixture.lenient();
        fixture.sealing = Sealing::V0;
    }),
    ("DIGEST_MISSING__allowed_by_its_flag", |fixture| {
        fixture.lenient();
        fixture.only_free();
        strip_digests(fixture);
        fixture.arguments.push("--allow-missing-digest".to_owned());
    }),
    ("DIGEST_NOT_VERIFIED__presence_only", |fixture| {
        fixture.lenient();
        fixture.arguments.extend(["--depth", "presence"].map(str::to_owned));
    }),
];
