//! Cases that must not pass: the view, its paths, the pack, the bytes.

use std::fs;
use std::os::unix::fs::symlink;

use seal::SealStatus;
use serde_json::json;
use wire::digest::Digest;

use super::Case;
use super::fixture::{Sealing, StoreFixture, fingerprint, sha256};

const SEAL: &str = "store/run-5/_SEALED.json";
const MANIFEST: &str = "store/run-5/_oracle_pack_manifest.json";

fn path(fixture: &mut StoreFixture, path: &str) {
    fixture.locator(0)["path"] = json!(path);
}

fn view_text(fixture: &mut StoreFixture, text: &'static str) {
    fixture.after(move |case| fs::write(case.join("view.json"), text).unwrap());
}

fn first_output() -> String {
    format!("store/run-5/data/free/f={}/one.txt", fingerprint())
}

fn in_free(name: &str) -> String {
    format!("run-5/data/free/f={}/{name}", fingerprint())
}

pub const VIEW: &[Case] = &[
    ("RUN_FACTS_UNREADABLE__no_json", |fixture| view_text(fixture, "{")),
    ("RUN_FACTS_UNREADABLE__a_member_that_stands_twice", |fixture| {
        view_text(fixture, r#"{"run_id":"a","run_id":"b"}"#);
    }),
    ("RUN_FACTS_UNREADABLE__not_there", |fixture| {
        fixture.after(|case| fs::remove_file(case.join("view.json")).unwrap());
    }),
    ("RUN_FACTS_INVALID__another_document", |fixture| view_text(fixture, "[]")),
    ("RUN_FACTS_INVALID__an_unknown_member", |fixture| fixture.view["extra"] = json!(1)),
    ("RUN_FACTS_INVALID__a_null", |fixture| fixture.locator(0)["seed"] = json!(null)),
    ("RUN_FACTS_INVALID__a_locator_without_identity", |fixture| {
        fixture.locator(0).as_object_mut().unwrap().remove("run_id");
    }),
    ("RUN_FACTS_INVALID__a_status_in_lower_case", |fixture| {
        fixture.view["gate_receipts"][0]["status"] = json!("pass");
    }),
    ("RUN_FACTS_INVALID__a_status_with_a_blank", |fixture| {
        fixture.view["gate_receipts"][0]["status"] = json!("PASS ");
    }),
    ("RUN_FACTS_INVALID__a_digest_in_upper_case", |fixture| {
        fixture.locator(0)["content_digest"]["hex"] = json!("A".repeat(64));
    }),
    ("RUN_FACTS_INVALID__a_weak_algorithm", |fixture| {
        fixture.locator(0)["content_digest"]["algo"] = json!("md5");
    }),
    ("RUN_PINS_MISMATCH+PACK_PINS_MISMATCH__two_run_ids", |fixture| {
        fixture.view["run_id"] = json!("cd".repeat(16));
    }),
    ("RUN_PINS_MISMATCH__a_locator_of_another_seed", |fixture| {
        fixture.locator(0)["seed"] = json!(43)
    }),
    ("BUNDLE_HASH_MISMATCH__edited_after_it_was_made", |fixture| fixture.hashes = false),
    ("LOCATORS_EMPTY__no_locators", |fixture| {
        fixture.only_free();
        fixture.view["locators"] = json!([]);
    }),
    ("INTENDED_OUTPUT_MISSING__asked_for_and_not_there", |fixture| {
        fixture.view["intended_outputs"] = json!(["wanted"]);
    }),
    ("OUTPUT_UNKNOWN__not_in_the_catalogue", |fixture| {
        fixture.locator(0)["output_id"] = json!("nonesuch");
    }),
    ("OUTPUT_UNKNOWN__asked_for_and_not_in_the_catalogue", |fixture| {
        fixture.view["intended_outputs"] = json!(["nonesuch"]);
    }),
];

pub const PATHS: &[Case] = &[
    ("LOCATOR_OUTSIDE_ROOT__upwards", |fixture| path(fixture, "../secret")),
    ("LOCATOR_OUTSIDE_ROOT__upwards_in_the_middle", |fixture| path(fixture, "run-5/../../secret")),
    ("LOCATOR_OUTSIDE_ROOT__absolute", |fixture| path(fixture, "/etc/passwd")),
    ("LOCATOR_OUTSIDE_ROOT__a_root_of_a_longer_name", |fixture| path(fixture, "/store0/x")),
    ("LOCATOR_OUTSIDE_ROOT__another_bucket", |fixture| path(fixture, "s3://bucket/run-5/data/x")),
    ("LOCATOR_OUTSIDE_ROOT__a_file_url", |fixture| path(fixture, "file:///etc/passwd")),
    ("NAME_REFUSED__a_wildcard_in_a_folder", |fixture| path(fixture, "run-*/data/x")),
    ("NAME_REFUSED__two_wildcards", |fixture| path(fixture, "run-5/data/*-*")),
    ("NAME_REFUSED__a_class_as_wildcard", |fixture| path(fixture, "run-5/data/part-[0-9]")),
    ("NAME_REFUSED__backslashes", |fixture| path(fixture, "run-5\\data\\x")),
    ("NAME_REFUSED__a_line_break", |fixture| path(fixture, "run-5/data/x\n")),
    ("NAME_REFUSED__an_empty_part", |fixture| path(fixture, "run-5//data/x")),
    ("LOCATOR_DUPLICATE__one_path_twice", |fixture| {
        let first = fixture.locator(0).clone();
        fixture.view["locators"].as_array_mut().unwrap().push(first);
    }),
    ("LOCATOR_TEMPLATE_MISMATCH__a_gated_output_named_as_a_free_one", |fixture| {
        path(fixture, &format!("run-5/data/parts/f={}/part-0.txt", fingerprint()));
        fixture.locator(0)["content_digest"] = sha256(b"p0");
    }),
    ("LOCATOR_TEMPLATE_MISMATCH__an_output_of_another_seed", |fixture| {
        fixture.put("data/proven/seed=43/one.txt", "proof");
        for at in ["/locators/2", "/instance_receipts/0/target_ref"] {
            fixture.view.pointer_mut(at).unwrap()["path"] =
                json!("run-5/data/proven/seed=43/one.txt");
        }
    }),
    ("LINK_REFUSED__an_output_behind_a_link", |fixture| {
        fixture.after(|case| {
            fs::rename(case.join(first_output()), case.join("secret")).unwrap();
            symlink(case.join("secret"), case.join(first_output())).unwrap();
        });
    }),
    ("LINK_REFUSED__a_link_that_stays_inside_the_store", |fixture| {
        fixture.after(|case| {
            fs::rename(case.join(first_output()), case.join("store/copy")).unwrap();
            symlink("../../../../copy", case.join(first_output())).unwrap();
        });
    }),
    ("LINK_REFUSED__a_folder_behind_a_link", |fixture| {
        fixture.after(|case| {
            fs::rename(case.join("store/run-5/data"), case.join("data")).unwrap();
            symlink(case.join("data"), case.join("store/run-5/data")).unwrap();
        });
    }),
    ("LINK_REFUSED__a_part_that_is_a_link_to_nothing", |fixture| {
        fixture.after(|case| {
            let part = format!("store/run-5/data/parts/f={}/part-2.txt", fingerprint());
            symlink("missing", case.join(part)).unwrap();
        });
    }),
    ("NAME_REFUSED__a_part_with_a_name_that_means_two_things", |fixture| {
        fixture.after(|case| {
            let part = format!("store/run-5/data/parts/f={}/part-2\\.txt", fingerprint());
            fs::write(case.join(part), "p2").unwrap();
        });
    }),
];

pub const PACK: &[Case] = &[
    ("PACK_NOT_SEALED__no_seal", |fixture| {
        fixture.unpinned();
        fixture.after(|case| fs::remove_file(case.join(SEAL)).unwrap());
    }),
    ("PACK_NOT_SEALED__no_seal_and_strict_asked_for", |fixture| {
        fixture.lenient();
        fixture.arguments.push("--strict-seal".to_owned());
        fixture.after(|case| fs::remove_file(case.join(SEAL)).unwrap());
    }),
    ("PACK_NOT_SEALED+PACK_MANIFEST_MISSING__an_output_in_no_pack", |fixture| {
        fixture.unpinned();
        fixture.only_free();
        fixture.catalogue =
            fixture.catalogue.replace("data/free/f={manifest_fingerprint}/**", "**");
        path(fixture, "elsewhere/x");
        fixture.locator(0)["content_digest"] = sha256(b"x");
        fixture.after(|case| super::fixture::write(&case.join("store/elsewhere/x"), b"x"));
    }),
    ("SEAL_INVALID+PACK_REF_MISMATCH__garbage", |fixture| {
        fixture.after(|case| fs::write(case.join(SEAL), "sealed!").unwrap());
    }),
    ("SEAL_INVALID+PACK_REF_MISMATCH__empty_after_a_crash", |fixture| {
        fixture.after(|case| fs::write(case.join(SEAL), "").unwrap());
    }),
    ("SEAL_INVALID+PACK_REF_MISMATCH__an_unknown_status", |fixture| {
        fixture.edit("_SEALED.json", "SEALED_OK", "SEALED_FINE");
    }),
    ("SEAL_INVALID+PACK_REF_MISMATCH__an_unknown_version", |fixture| {
        fixture.edit("_SEALED.json", r#""version":"v1""#, r#""version":"v2""#);
    }),
    ("PACK_SEALED_FAILED__kept_for_looking", |fixture| {
        fixture.sealing = Sealing::V1(SealStatus::Failed);
    }),
    ("PACK_MANIFEST_MISSING+PACK_REF_MISMATCH__gone", |fixture| {
        fixture.only_free();
        fixture.after(|case| fs::remove_file(case.join(MANIFEST)).unwrap());
    }),
    ("PACK_MANIFEST_INVALID+SEAL_MANIFEST_MISMATCH+PACK_REF_MISMATCH__unparsable", |fixture| {
        fixture.only_free();
        fixture.after(|case| fs::write(case.join(MANIFEST), "{").unwrap());
    }),
    ("SEAL_MANIFEST_MISMATCH__a_manifest_edited_where_no_digest_looks", |fixture| {
        fixture.edit("_oracle_pack_manifest.json", "1970-01-01", "1971-01-01");
    }),
    ("SEAL_MANIFEST_MISMATCH+PACK_ID_MISMATCH__a_manifest_of_another_release", |fixture| {
        fixture.edit("_oracle_pack_manifest.json", "engine-1", "engine-2");
    }),
    ("PACK_ID_MISMATCH__an_id_that_does_not_follow", |fixture| {
        fixture.claimed_id = Some(Digest::of(b"mine"));
    }),
    ("PACK_ID_MISMATCH__an_old_id_that_does_not_follow", |fixture| {
        fixture.unpinned();
        fixture.only_free();
        fixture.sealing = Sealing::V0;
        fixture.claimed_id = Some(Digest::of(b"mine"));
    }),
    ("PACK_PINS_MISMATCH__a_view_of_another_world", |fixture| {
        fixture.only_free();
        fixture.view["pins"]["seed"] = json!(43);
    }),
    ("PACK_REF_MISSING__a_view_that_pins_no_seal", |fixture| fixture.pins_seal = false),
    ("PACK_REF_MISMATCH__sealed_again", |fixture| {
        fixture.edit("_SEALED.json", "0123456789abcdef", "fedcba9876543210");
    }),
    ("PACK_FILE_CHANGED+DIGEST_MISMATCH__one_byte_of_an_output", |fixture| {
        fixture.after(|case| fs::write(case.join(first_output()), "onE").unwrap());
    }),
    ("PACK_FILE_CHANGED+DIGEST_MISMATCH__a_truncated_output", |fixture| {
        fixture.after(|case| fs::write(case.join(first_output()), "on").unwrap());
    }),
    ("PACK_FILE_CHANGED__a_file_that_no_locator_names", |fixture| {
        fixture.edit(&in_free("more/a.txt")["run-5/".len()..], "a", "b");
    }),
    ("PACK_FILE_MISSING+LOCATOR_MISSING__an_output_that_is_gone", |fixture| {
        fixture.after(|case| fs::remove_file(case.join(first_output())).unwrap());
    }),
    ("PACK_FILE_MISSING+DIGEST_MISMATCH__a_part_that_is_gone", |fixture| {
        fixture.after(|case| {
            let part = format!("store/run-5/data/parts/f={}/part-1.txt", fingerprint());
            fs::remove_file(case.join(part)).unwrap();
        });
    }),
    ("OBJECT_TOO_LARGE__a_seal_larger_than_any", |fixture| {
        fixture.after(|case| fs::File::create(case.join(SEAL)).unwrap().set_len(65 << 20).unwrap());
    }),
];

pub const BYTES: &[Case] = &[
    ("LOCATOR_NOT_IN_PACK__an_output_added_after_the_seal", |fixture| {
        path(fixture, &in_free("late.txt"));
        fixture.locator(0)["content_digest"] = sha256(b"late");
        fixture
            .after(|case| fs::write(case.join("store").join(in_free("late.txt")), "late").unwrap());
    }),
    ("LOCATOR_NOT_IN_PACK+DIGEST_MISMATCH__a_part_added_after_the_seal", |fixture| {
        fixture.after(|case| {
            let part = format!("store/run-5/data/parts/f={}/part-2.txt", fingerprint());
            fs::write(case.join(part), "p2").unwrap();
        });
    }),
    ("LOCATOR_MISSING__never_written", |fixture| path(fixture, &in_free("never.txt"))),
    ("LOCATOR_MISSING__an_empty_folder", |fixture| {
        path(fixture, &in_free("empty"));
        fixture.after(|case| fs::create_dir(case.join("store").join(in_free("empty"))).unwrap());
    }),
    ("FOLDER_UNLISTED__a_folder_without_an_inventory", |fixture| {
        fixture.unpinned();
        fixture.only_free();
        fixture.sealing = Sealing::V0;
        path(fixture, &in_free("more"));
    }),
    ("PART_SET_EMPTY__a_wildcard_that_matches_nothing", |fixture| path(fixture, &in_free("x-*"))),
    ("PART_SET_EMPTY__a_wildcard_that_matches_a_folder_only", |fixture| {
        path(fixture, &in_free("mor*"));
    }),
    ("DIGEST_MISSING__no_digest", |fixture| {
        fixture.locator(0).as_object_mut().unwrap().remove("content_digest");
    }),
    ("DIGEST_MISSING__no_digest_and_lenient_without_the_flag", |fixture| {
        fixture.lenient();
        fixture.locator(0).as_object_mut().unwrap().remove("content_digest");
    }),
    ("DIGEST_MISMATCH__sixty_four_zeros", |fixture| {
        fixture.locator(0)["content_digest"]["hex"] = json!("0".repeat(64));
    }),
    ("DIGEST_MISMATCH__parts_in_another_order", |fixture| {
        fixture.locator(1)["content_digest"] = sha256(b"p1p0");
    }),
    ("DIGEST_MISMATCH__a_digest_by_another_rule", |fixture| {
        fixture.locator(1)["content_digest"]["algo"] = json!("sha256-tree-v1");
    }),
    ("DIGEST_MISMATCH__nothing_is_lenient_about_bytes", |fixture| {
        fixture.lenient();
        fixture.locator(0)["content_digest"] = sha256(b"two");
    }),
];
