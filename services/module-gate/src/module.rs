//! The documents a module brings, and the store that modules come from.

pub mod document;
pub mod upstream;
pub mod manifest;
pub mod variation;
pub mod spec;
pub mod compose;
pub mod tree;
