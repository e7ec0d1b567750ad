//! The commands that need no service: modules in folders, any command under the guard, the host.

pub mod output;
pub mod interrupt;
pub mod pattern;
pub mod report;
pub mod modules;
pub mod gates;
pub mod authors;
pub mod guarded;
pub mod doctor;
