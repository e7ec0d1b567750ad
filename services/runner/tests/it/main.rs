//! What the runner promises, against a real network, a real database and a real bus.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod fixture;
mod archiving;
mod settling;
mod silence;
mod refusing;
mod gateway;
mod starting;
mod login;
mod crashing;
mod draining;
mod giving_back;
mod batching;
mod bumping;
mod channels;
mod claiming;
mod carrying;
mod measuring;
mod counting;
mod hostile;
mod retention;
mod subscribing;
mod lacking;
mod nodes;
mod secrets;
mod streaming;
mod substitutes;
mod sight;
mod offering;
mod documented;
mod external_signer;
mod reconciling;
mod dead_letters;
mod queueing;
mod accepting;
mod restoring;
mod answering;
mod rotating;
mod bounding;
mod bearing;
mod ruling;
mod leaving;
mod promises;
mod sql_metadata;
mod traced;
