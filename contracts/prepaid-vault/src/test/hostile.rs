//! A token and a registry that lie, refuse, trap, answer nonsense or call back: the vault answers
//! with codes of its own, and nothing changes.

mod registry;
mod token;

pub(super) use token::{HostileToken, HostileTokenClient, Mood};
