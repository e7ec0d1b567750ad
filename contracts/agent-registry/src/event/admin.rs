//! What the registry tells of its administration (V2).

use soroban_sdk::{Address, BytesN, contractevent};

/// Somebody may take administration over by accepting.
#[contractevent(topics = ["admin", "proposed"], data_format = "map", sparse = false)]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminProposed {
    /// Who administers.
    pub admin: Address,
    /// Who may accept; the admin himself if an earlier proposal was taken back.
    pub proposed: Address,
}

/// Administration changed hands.
#[contractevent(topics = ["admin", "accepted"], data_format = "map", sparse = false)]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminAccepted {
    /// Who administered.
    pub previous: Address,
    /// Who administers now.
    pub admin: Address,
}

/// New code waits for its time.
#[contractevent(topics = ["admin", "upgrade_scheduled"], data_format = "map", sparse = false)]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeScheduled {
    /// sha256 of the new Wasm.
    pub wasm_hash: BytesN<32>,
    /// From when it may be put in place.
    pub ready_at: u64,
}

/// New code waits no longer.
#[contractevent(topics = ["admin", "upgrade_cancelled"], data_format = "map", sparse = false)]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeCancelled {
    /// sha256 of the Wasm that won't come.
    pub wasm_hash: BytesN<32>,
}

/// New code is in place.
#[contractevent(topics = ["admin", "upgraded"], data_format = "map", sparse = false)]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upgraded {
    /// sha256 of the new Wasm.
    pub wasm_hash: BytesN<32>,
}

/// The data stand in the form the code expects.
#[contractevent(topics = ["admin", "migrated"], data_format = "map", sparse = false)]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Migrated {
    /// The form before.
    pub from: u32,
    /// The form now.
    pub to: u32,
}
