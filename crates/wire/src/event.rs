//! Facts on the bus: CloudEvents 1.0 in structured JSON, on JetStream.
//!
//! An event says what happened and names bytes by digest; it carries no blob. Each family has one
//! publisher and one stream, and each event one type of data. A field is never removed or renamed:
//! that would be `v2`, beside `v1` for as long as a stream holds any. `tests/frozen.rs` holds the
//! text of every event.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use chain::{ChainData, Fact, Finalized, Opened};
pub use gate::{GateData, GateEvent, JudgementData, JudgementEvent};
pub use run::{Failure, Receipt, RunData, RunEvent, RunStatus};
pub use seal::{SealData, SealEvent, SealStatus};

mod chain;
mod gate;
mod run;
mod seal;

/// The prefix of subjects and streams when the deployment chooses none.
pub const DEFAULT_PREFIX: &str = "lumio";

/// Who publishes what: each family has one publisher and one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// What becomes of runs; published by the runner.
    Run,
    /// What was sealed and checked; published by oracle-gate.
    Seal,
    /// What was executed and judged; published by module-gate.
    Gate,
    /// What the vault and the registry said; published by the runner.
    Chain,
}

/// One fact in its envelope (CloudEvents 1.0, JSON format).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// `<key>:<seq>`; also the `Nats-Msg-Id`, so that a repeat is harmless.
    pub id: String,
    /// Who published it, such as `/lumio/runner`.
    pub source: String,
    /// `dev.lumio.<family>.<event>.v1`.
    pub r#type: String,
    /// The entity it is about: the key of its subject on the bus.
    pub subject: String,
    /// Which fact about the entity it is, from 1, as 20 digits (CloudEvents sequence extension: the
    /// order of the texts is that of the events).
    #[serde(default)]
    pub sequence: String,
    /// When it became true.
    #[serde(with = "crate::view::milliseconds")]
    pub time: OffsetDateTime,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// W3C Trace Context of the work that made it true (CloudEvents distributed tracing extension).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What the event says.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub data: serde_json::Value,
}

/// The data of a family: [`RunData`], [`SealData`], [`GateData`] and [`JudgementData`],
/// [`ChainData`].
pub trait Data: Serialize + DeserializeOwned {
    /// The family it belongs to.
    const FAMILY: Family;
    /// The names of the family's events.
    type Name: Copy + Into<&'static str>;

    /// The entity the event is about; the last token of its subject.
    fn key(&self) -> String;

    /// The subject of event `name` about this entity: where [`CloudEvent::new`] of it is published.
    fn subject(&self, prefix: &str, name: Self::Name) -> String {
        subject(prefix, Self::FAMILY, name.into(), &self.key())
    }
}

/// `<prefix>.<family>.v1.<event>.<key>`. What a token cannot hold becomes `_`, so that no key can
/// reach another subject.
pub fn subject(prefix: &str, family: Family, event: &str, key: &str) -> String {
    // Dots, `*`, `>` and blanks have a meaning in NATS subjects.
    let plain = |character: char| match character {
        letter if letter.is_ascii_alphanumeric() || letter == '-' => letter,
        _ => '_',
    };
    let key: String = key.chars().map(plain).collect();
    format!("{prefix}.{}.v1.{event}.{key}", family.token())
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 4] = [Self::Run, Self::Seal, Self::Gate, Self::Chain];

    /// Its token in subjects and types.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Seal => "seal",
            Self::Gate => "gate",
            Self::Chain => "chain",
        }
    }

    /// The `source` of its events: the service that publishes them.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Run | Self::Chain => "/lumio/runner",
            Self::Seal => "/lumio/oracle-gate",
            Self::Gate => "/lumio/module-gate",
        }
    }

    /// The stream that keeps them, such as `LUMIO_RUN`.
    pub fn stream(self, prefix: &str) -> String {
        // Names of streams may hold neither dots nor blanks.
        let plain = |character: char| match character {
            letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
            _ => '_',
        };
        let prefix: String = prefix.chars().map(plain).collect();
        format!("{prefix}_{}", self.token().to_ascii_uppercase())
    }

    /// Every subject of the family: `<prefix>.<family>.>`.
    pub fn filter(self, prefix: &str) -> String {
        format!("{prefix}.{}.>", self.token())
    }
}

impl CloudEvent {
    /// Event `name` about `data`'s entity, as its `seq`-th fact (from 1, counted by the publisher
    /// in the transaction that makes it true).
    ///
    /// # Errors
    ///
    /// When `data` has no JSON form.
    pub fn new<D: Data>(
        name: D::Name,
        data: &D,
        seq: u64,
        time: OffsetDateTime,
        traceparent: Option<String>,
    ) -> Result<Self, serde_json::Error> {
        let key = data.key();
        Ok(Self {
            specversion: "1.0".to_owned(),
            // Derived and not drawn: publishing once more gives the same id, which the server
            // recognises.
            id: format!("{key}:{seq}"),
            // Twenty digits hold every `u64`, so texts sort as the numbers do.
            sequence: format!("{seq:020}"),
            source: D::FAMILY.source().to_owned(),
            r#type: format!("dev.lumio.{}.{}.v1", D::FAMILY.token(), name.into()),
            subject: key,
            // As it is written, so that an event that is read back is equal.
            time: time.truncate_to_millisecond(),
            datacontenttype: "application/json".to_owned(),
            traceparent,
            data: serde_json::to_value(data)?,
        })
    }

    /// The data, as that of family `D`.
    ///
    /// # Errors
    ///
    /// When the event is of another family, or its data is not that of this version.
    pub fn read<D: Data>(&self) -> Result<D, serde_json::Error> {
        use serde::de::Error;
        let family = format!("dev.lumio.{}.", D::FAMILY.token());
        if !self.r#type.starts_with(&family) || !self.r#type.ends_with(".v1") {
            let text = format!("`{}` is not an event `{family}*.v1`", self.r#type);
            return Err(serde_json::Error::custom(text));
        }
        D::deserialize(&self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_reach_another_subject() {
        let subject = subject("lumio", Family::Seal, "sealed", "a.b.> *");
        assert_eq!(subject, "lumio.seal.v1.sealed.a_b____");
    }

    #[test]
    fn streams_are_named_after_the_prefix() {
        assert_eq!(Family::Run.stream("lumio"), "LUMIO_RUN");
        assert_eq!(Family::Gate.stream("test-7"), "TEST_7_GATE");
        assert_eq!(Family::Seal.filter("lumio"), "lumio.seal.>");
    }
}
