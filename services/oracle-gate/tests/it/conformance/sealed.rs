//! How a case's pack is closed: as it is today, as the first packer did, or not at all.

use std::fs;
use std::path::Path;

use seal::facts::RunFactsView;
use seal::tree::File;
use seal::{
    Limits, MANIFEST_FILE, Manifest, ManifestV0, ManifestV1, SEAL_FILE, SealMarker, SealStatus,
    SealV0, SealV1, StoreProbe, Tree, pack_id,
};
use serde_json::json;
use wire::digest::Digest;

use super::fixture::{Sealing, StoreFixture, fingerprint};
use crate::fixture::NOW;

impl StoreFixture {
    pub(super) fn seal(&mut self, pack: &Path) {
        let (manifest, seal) = match self.sealing {
            Sealing::Not => return,
            Sealing::V0 => self.old(),
            Sealing::V1(status) => self.new_seal(status),
        };
        fs::write(pack.join(MANIFEST_FILE), manifest.to_bytes().unwrap()).unwrap();
        let bytes = seal.to_bytes().unwrap();
        fs::write(pack.join(SEAL_FILE), &bytes).unwrap();
        if self.pins_seal {
            self.view["oracle_pack_ref"] =
                json!({"oracle_pack_id": seal.pack_id(), "seal_digest": Digest::of(&bytes)});
        }
    }

    fn new_seal(&self, seal_status: SealStatus) -> (Manifest, SealMarker) {
        // The pack is of the run that was sealed, whatever the view says later.
        let facts = RunFactsView::parse(self.facts().to_string().as_bytes()).unwrap();
        let files = self.files.iter().map(|(path, content)| File {
            path: path.clone(),
            executable: false,
            length: content.len() as u64,
            sha256: Digest::of(content),
        });
        let mut manifest = ManifestV1 {
            oracle_pack_id: fingerprint(),
            world_key: facts.world_key(),
            run_id: facts.run_id,
            attempt: 1,
            engine_release: "engine-1".to_owned(),
            catalogue_digest: Digest::of(self.catalogue.as_bytes()),
            gate_map_digest: Digest::of(self.gates.as_bytes()),
            inventory: Tree::new(files.collect(), &Limits::PACK).unwrap(),
            created_at_utc: NOW,
        };
        manifest.oracle_pack_id = self.claimed_id.unwrap_or_else(|| pack_id::v1(&manifest));
        let manifest = Manifest::V1(manifest);
        let seal = SealMarker::V1(SealV1 {
            oracle_pack_id: manifest.pack_id(),
            seal_status,
            sealed_at_utc: NOW,
            manifest_digest: Digest::of(&manifest.to_bytes().unwrap()),
            nonce: "0123456789abcdef".repeat(2),
            store_probe: StoreProbe {
                second_create_refused: true,
                races: 20,
                writers: 16,
                races_with_one_winner: 20,
                wrong_checksum_refused: self.checksums,
                probed_at_utc: NOW,
            },
        });
        (manifest, seal)
    }

    fn old(&self) -> (Manifest, SealMarker) {
        let facts = RunFactsView::parse(self.facts().to_string().as_bytes()).unwrap();
        let mut manifest = ManifestV0 {
            oracle_pack_id: fingerprint(),
            world_key: facts.world_key(),
            engine_release: "engine-0".to_owned(),
            catalogue_digest: fingerprint(),
            gate_map_digest: fingerprint(),
            created_at_utc: "2026-01-28".to_owned(),
        };
        manifest.oracle_pack_id = self.claimed_id.unwrap_or_else(|| pack_id::v0(&manifest));
        let seal = SealMarker::V0(SealV0 {
            oracle_pack_id: manifest.oracle_pack_id,
            seal_status: SealStatus::Ok,
            sealed_at_utc: "2026-01-28".to_owned(),
        });
        (Manifest::V0(manifest), seal)
    }
}
