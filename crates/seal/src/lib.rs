//! What a sealed pack is, byte by byte, and how anybody checks one.
//!
//! The crate promises three things: the same files always give the same digest ([`tree`]), a pack's
//! manifest and seal name exactly the files that were sealed ([`manifest`], [`marker`]), and
//! [`verify`] finds every change made afterwards and names the link it broke. [`facts`] is the join
//! document that leads a reader to a pack. Read the modules in the order below.
//!
//! It reads files of the local disk and nothing else: no clock, no network, no randomness.

pub mod json;
pub mod path;
pub mod tree;
pub mod content;
pub mod run_key;
pub mod facts;
pub mod shards;
pub mod manifest;
pub mod marker;
pub mod records;
pub mod schemas;
pub mod verify;

pub use manifest::{Manifest, ManifestV0, ManifestV1, ManifestV2, WorldKey, pack_id};
pub use marker::{SealMarker, SealStatus, SealV0, SealV1, StoreProbe};
pub use records::Lifecycle;
pub use run_key::RunKey;
pub use shards::{Sharding, Shards, ShardsError};
pub use tree::{Limits, Tree, TreeError};

/// Name of the manifest inside a pack.
pub const MANIFEST_FILE: &str = "_oracle_pack_manifest.json";
/// Name of the seal inside a pack. It is always written last.
pub const SEAL_FILE: &str = "_SEALED.json";
/// Name of the signed execution statement inside a pack (O13).
pub const EXECUTION_FILE: &str = "_execution.dsse";
/// Name of the signed shipping statement inside a pack.
pub const SHIPPING_FILE: &str = "_shipping.dsse";
/// Folder of a pack that holds the run's outputs.
pub const OUTPUTS_DIR: &str = "outputs";
/// Name of the document beside a stored module tree that lists its files.
pub const TREE_FILE: &str = "_tree.json";
/// Most bytes a manifest or tree document may have: 65,536 entries with paths fit.
pub const MAX_DOCUMENT_BYTES: u64 = 64 << 20;
