//! From one start of a program to a verdict on a module.

pub mod finding;
pub mod checks;
pub mod effects;
pub mod capture;
pub mod divergence;
pub mod inputs;
pub mod oracle;
pub mod judge;
pub mod attempt;
