//! Where a module's programs run: private folders, the guard's rules for them, what they leave.

pub mod surroundings;
pub mod conditions;
pub mod memory;
pub mod node;
pub mod cleanup;
pub mod workspace;
pub mod processors;
pub mod outputs;
pub mod outlet;
pub mod repository;
mod run;

pub use self::run::{Job, LIMITS, Sandbox, fault};
pub(crate) use self::run::{PROGRAMS, SYSTEM_PATH, is_node, look_up};
