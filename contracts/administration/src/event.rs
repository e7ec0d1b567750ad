//! Events of administration (V10). Data are vectors in the order of the fields (V18).

use soroban_sdk::{Address, BytesN, contractevent};

/// An address may take administration over by accepting.
#[contractevent(topics = ["admin", "proposed"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminProposed {
    /// Who administers.
    pub admin: Address,
    /// Who may accept; the admin's own address if an earlier proposal was taken back.
    pub proposed: Address,
}

/// Administration changed hands.
#[contractevent(topics = ["admin", "accepted"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminAccepted {
    /// Who administered.
    pub previous: Address,
    /// Who administers now.
    pub admin: Address,
}

/// New code was announced.
#[contractevent(topics = ["admin", "upgrade_scheduled"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeScheduled {
    /// sha256 of the new Wasm.
    pub wasm_hash: BytesN<32>,
    /// From when it may be put in place.
    pub ready_at: u64,
    /// From when it may not be put in place any more.
    pub lapses_at: u64,
}

/// Announced code was withdrawn.
#[contractevent(topics = ["admin", "upgrade_cancelled"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeCancelled {
    /// sha256 of the Wasm that will not come.
    pub wasm_hash: BytesN<32>,
}

/// New code is in place.
#[contractevent(topics = ["admin", "upgraded"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upgraded {
    /// sha256 of the new Wasm.
    pub wasm_hash: BytesN<32>,
}

/// The data have the form that the code expects.
#[contractevent(topics = ["admin", "migrated"], data_format = "vec")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Migrated {
    /// The form before.
    pub from: u32,
    /// The form now.
    pub to: u32,
}
