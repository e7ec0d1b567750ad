//! JSON Schemas (2020-12) of the store's documents, closed at every level.
//!
//! They say the form. What no schema can say, such as that an inventory has its digest, is for the
//! types that read the documents. A document's next version gets a schema of its own.

/// The facts view.
pub const RUN_FACTS_VIEW: &str = include_str!("../schemas/run_facts_view.v1.json");
/// A locator in a view.
pub const LOCATOR: &str = include_str!("../schemas/engine_output_locator.v1.json");
/// A gate receipt in a view.
pub const GATE_RECEIPT: &str = include_str!("../schemas/gate_receipt.v1.json");
/// An instance receipt in a view.
pub const INSTANCE_RECEIPT: &str = include_str!("../schemas/instance_receipt.v1.json");
/// A manifest with shards of very large files.
pub const MANIFEST_V2: &str = include_str!("../schemas/oracle_pack_manifest.v2.json");
/// A manifest without.
pub const MANIFEST_V1: &str = include_str!("../schemas/oracle_pack_manifest.v1.json");
/// A manifest of the first version.
pub const MANIFEST_V0: &str = include_str!("../schemas/oracle_pack_manifest.v0.json");
/// A seal as it is written.
pub const SEAL_V1: &str = include_str!("../schemas/sealed.v1.json");
/// A seal of the first version.
pub const SEAL_V0: &str = include_str!("../schemas/sealed.v0.json");
/// A record about a sealed pack.
pub const RECORD: &str = include_str!("../schemas/pack_record.v1.json");

/// Every schema, by the name of its file.
pub const ALL: [(&str, &str); 10] = [
    ("run_facts_view.v1.json", RUN_FACTS_VIEW),
    ("engine_output_locator.v1.json", LOCATOR),
    ("gate_receipt.v1.json", GATE_RECEIPT),
    ("instance_receipt.v1.json", INSTANCE_RECEIPT),
    ("oracle_pack_manifest.v2.json", MANIFEST_V2),
    ("oracle_pack_manifest.v1.json", MANIFEST_V1),
    ("oracle_pack_manifest.v0.json", MANIFEST_V0),
    ("sealed.v1.json", SEAL_V1),
    ("sealed.v0.json", SEAL_V0),
    ("pack_record.v1.json", RECORD),
];
