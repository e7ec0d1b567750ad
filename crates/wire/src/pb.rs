//! gRPC as generated from `/proto`. Checked in, so that a build needs no generator and a review
//! shows the change; `tests/pb_is_current.rs` regenerates it.
//!
//! Name these types only where a message comes in or goes out, and turn them into domain values
//! there.

/// Every file of `/proto`, encoded, for the reflection service of each server.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("pb/descriptors.bin");

/// Values that more than one service uses.
pub mod common {
    /// Version 1.
    pub mod v1 {
        include!("pb/lumio.common.v1.rs");
    }
}

/// What module-gate answers.
pub mod module {
    /// Version 1.
    #[expect(clippy::allow_attributes, missing_docs, reason = "generated")]
    pub mod v1 {
        include!("pb/lumio.module.v1.rs");
    }
}

/// What oracle-gate answers.
pub mod oracle {
    /// Most bytes of a file in one message of a bundle. The sender cuts files to it, and every
    /// process that passes a bundle on reckons its memory by it.
    pub const BUNDLE_PIECE_BYTES: usize = 256 * 1024;

    /// Version 1.
    #[expect(clippy::allow_attributes, missing_docs, reason = "generated")]
    pub mod v1 {
        include!("pb/lumio.oracle.v1.rs");
    }
}

/// What the runner answers.
pub mod runner {
    /// Version 1.
    #[expect(clippy::allow_attributes, missing_docs, reason = "generated")]
    pub mod v1 {
        include!("pb/lumio.runner.v1.rs");
    }
}

impl From<crate::Usage> for common::v1::Usage {
    fn from(usage: crate::Usage) -> Self {
        let crate::Usage { llm_in, llm_out, http_calls, runtime_ms } = usage;
        Self { llm_in, llm_out, http_calls, runtime_ms }
    }
}

impl From<common::v1::Usage> for crate::Usage {
    fn from(usage: common::v1::Usage) -> Self {
        let common::v1::Usage { llm_in, llm_out, http_calls, runtime_ms } = usage;
        Self { llm_in, llm_out, http_calls, runtime_ms }
    }
}
