//! The identity of a pack, derived from what it holds and by whose rules it was made (O4).
//!
//! Version `v1` is sha256 over the ASCII bytes `lumio-pack-v1` and one zero byte, then nine fields,
//! each as its length in bytes (u32 big-endian) followed by its bytes, in this order: manifest
//! fingerprint (32), parameter hash (32), scenario id (UTF-8), seed (u64 big-endian, 8), run id
//! (16), attempt (u32 big-endian, 4), engine release (UTF-8), catalogue digest (32), gate-map
//! digest (32).
//!
//! Version `v0` is sha256 over the text `fingerprint|parameter|scenario|seed|release|catalogue|gate
//! map`. A scenario or release with a bar in it can give another pack's id; it is only read.

use wire::digest::{Digest, Hasher};

use super::{ManifestV0, ManifestV1};

const DOMAIN: &[u8] = b"lumio-pack-v1\0";

/// The framed id of what `manifest` describes. Its own `oracle_pack_id` is not looked at.
pub fn v1(manifest: &ManifestV1) -> Digest {
    let world = &manifest.world_key;
    let fields: [&[u8]; 9] = [
        world.manifest_fingerprint.as_bytes(),
        world.parameter_hash.as_bytes(),
        world.scenario_id.as_bytes(),
        &world.seed.to_be_bytes(),
        manifest.run_id.as_bytes(),
        &manifest.attempt.to_be_bytes(),
        manifest.engine_release.as_bytes(),
        manifest.catalogue_digest.as_bytes(),
        manifest.gate_map_digest.as_bytes(),
    ];
    let mut hasher = Hasher::new();
    hasher.update(DOMAIN);
    for field in fields {
        // Texts longer than u32 cannot occur: a manifest has at most 64 MiB.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        hasher.update(length.to_be_bytes());
        hasher.update(field);
    }
    hasher.finish()
}

/// The pipe-joined id of an old manifest.
pub fn v0(manifest: &ManifestV0) -> Digest {
    let world = &manifest.world_key;
    let text = format!(
        "{}|{}|{}|{}|{}|{}|{}",
        world.manifest_fingerprint,
        world.parameter_hash,
        world.scenario_id,
        world.seed,
        manifest.engine_release,
        manifest.catalogue_digest,
        manifest.gate_map_digest,
    );
    Digest::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use wire::digest::{Digest, Hasher};

    use crate::manifest::tests::{v0_example, v1_example};

    #[test]
    fn the_known_v0_id_comes_out() {
        let expected = "a4e85cec545c98c3938f9be9cde4f8a6ce50f9fbc9737312972738f29fcfa88f";
        assert_eq!(super::v0(&v0_example()).to_string(), expected);
    }

    #[test]
    fn v1_is_the_hash_of_the_framed_fields() {
        let mut by_hand = Hasher::new();
        by_hand.update(b"lumio-pack-v1\0");
        for (length, bytes) in [
            (32_u32, vec![0xcc; 32]),
            (32, vec![0x11; 32]),
            (11, b"baseline_v1".to_vec()),
            (8, vec![0, 0, 0, 0, 0, 0, 0, 42]),
            (16, vec![0xab; 16]),
            (4, vec![0, 0, 0, 1]),
            (11, b"engine-test".to_vec()),
            (32, vec![0xdd; 32]),
            (32, vec![0xee; 32]),
        ] {
            by_hand.update(length.to_be_bytes());
            by_hand.update(bytes);
        }
        assert_eq!(super::v1(&v1_example()), by_hand.finish());
    }

    #[test]
    fn a_bar_moved_between_fields_changes_the_v1_id_but_not_the_v0_one() {
        let (mut a, mut b) = (v0_example(), v0_example());
        (a.world_key.scenario_id, a.world_key.seed, a.engine_release) =
            ("a|7".to_owned(), 7, "e".to_owned());
        (b.world_key.scenario_id, b.world_key.seed, b.engine_release) =
            ("a".to_owned(), 7, "7|e".to_owned());
        assert_eq!(super::v0(&a), super::v0(&b));

        let (mut c, mut d) = (v1_example(), v1_example());
        (c.world_key, c.engine_release) = (a.world_key, a.engine_release);
        (d.world_key, d.engine_release) = (b.world_key, b.engine_release);
        assert_ne!(super::v1(&c), super::v1(&d));
    }

    #[test]
    fn every_field_counts() {
        let base = v1_example();
        let changes: [fn(&mut crate::ManifestV1); 5] = [
            |m| m.attempt += 1,
            |m| m.run_id = "0".repeat(32).parse().unwrap(),
            |m| m.world_key.seed += 1,
            |m| m.catalogue_digest = Digest::of(b"x"),
            |m| m.gate_map_digest = Digest::of(b"x"),
        ];
        for change in changes {
            let mut other = base.clone();
            change(&mut other);
            assert_ne!(super::v1(&base), super::v1(&other));
        }
    }
}
