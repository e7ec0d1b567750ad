//! From one start of a program to a verdict on a module.

pub mod finding;
pub mod oracle;
pub mod judge;
pub mod attempt;
