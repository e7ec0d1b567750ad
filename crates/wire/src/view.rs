//! A run as the gateway shows it over HTTP: what frontends, the command line and bundles read.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::egress::{UpstreamKind, UpstreamUse};
use crate::event::RunStatus;
use crate::{Digest, Nonce, RunId, TxHash, Usage, VaultRunId, json};

/// A run in JSON. Amounts are decimal strings of stroops; times are RFC 3339 in UTC. Readers ignore
/// members that they do not know; a member is never removed or given another meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    /// The run.
    pub id: RunId,
    /// Who pays (G… or C…).
    pub user: String,
    /// The agent's number in the registry.
    pub agent_id: u32,
    /// The rate card that holds, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_version: Option<u32>,
    /// The most units that it may use.
    pub budgets: Meters,
    /// The caller's name for what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// What the caller attached; never interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub metadata: Option<JsonText>,
    /// The caller's name for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its public status.
    pub status: RunStatus,
    /// What a worker does next; for operators, and open to new words.
    pub phase: String,
    /// The present attempt, from 1.
    pub attempt: u32,
    /// How often it was retried.
    pub retries: u32,
    /// The run's seed, at most 2^53 - 1 (R12).
    pub seed: u64,
    /// SHA-256 of the input's canonical JSON.
    pub input_digest: Digest,
    /// Digest of the module's tree, once pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_hash: Option<Digest>,
    /// Where the attempt's money is: `none`, `open`, `settled` or `returned`.
    pub escrow: EscrowView,
    /// The attempt's id in the vault, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<VaultRunId>,
    /// Settle before it, reclaim from it on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "milliseconds::option")]
    pub deadline: Option<OffsetDateTime>,
    /// What was metered, once settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Meters>,
    /// What the present attempt asked of named services, once it was executed; empty without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamView>,
    /// What the settlement commits to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hash: Option<Digest>,
    /// What the vault answered when it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptView>,
    /// Where the outputs are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackView>,
    /// Why it failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it failed, for programs: a [`crate::failure::FailureCode`] of the runner's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// What it waits for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// It does not start before; absent where none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "milliseconds::option")]
    pub start_at: Option<OffsetDateTime>,
    /// How urgent it is; absent where none was asked for, which is `normal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<RunPriority>,
    /// The transactions of the present attempt.
    pub transaction_hashes: TransactionHashes,
    /// The trace that it was asked for under.
    pub trace_id: String,
    /// When it was asked for.
    #[serde(with = "milliseconds")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "milliseconds")]
    pub updated_at: OffsetDateTime,
    /// Every attempt from the first to the present one. Only where one run is shown, not in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
}

/// One attempt of a run: what it cost and how it ended. A retry charges again, so that what a run
/// cost is the sum over all of these.
// The members that a run has as well are written out in both: `flatten` would read them by way of a
// tree, and that would not keep the text of a run's `metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How it ended, or that it goes on.
    pub outcome: AttemptOutcome,
    /// Where its money is.
    pub escrow: EscrowView,
    /// Its id in the vault, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<VaultRunId>,
    /// Settle before it, reclaim from it on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "milliseconds::option")]
    pub deadline: Option<OffsetDateTime>,
    /// What was metered, once settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Meters>,
    /// What it asked of named services, once it was executed; empty without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamView>,
    /// What the vault answered when it was settled, with the runner's fee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptView>,
    /// Where its outputs are; the gateway serves them under `?attempt=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackView>,
    /// Why it failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it failed, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The transactions that opened and closed it.
    pub transaction_hashes: TransactionHashes,
    /// When it began.
    #[serde(with = "milliseconds")]
    pub created_at: OffsetDateTime,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "milliseconds::option")]
    pub ended_at: Option<OffsetDateTime>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum AttemptOutcome {
    /// It goes on.
    Running,
    /// It delivered its outputs.
    Delivered,
    /// It failed.
    Failed,
    /// Its user cancelled it.
    Cancelled,
}

/// The four meters, named as frontends know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in Usage")]
pub struct Meters {
    pub llm_in: u64,
    pub llm_out: u64,
    pub http_calls: u64,
    pub runtime_ms: u64,
}

/// What one attempt asked of one named service, as module-gate signed it (E6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UpstreamView {
    /// The service, as the module's manifest names it.
    pub name: String,
    /// The form of its requests and answers: `openai`, `anthropic` or `http`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub kind: UpstreamKind,
    /// Requests that left: each is one of `httpCalls`.
    pub calls: u64,
    /// Requests that did not leave.
    pub refused: u64,
    /// Bytes of bodies that left.
    pub request_bytes: u64,
    /// Bytes of bodies that came, after decompression.
    pub response_bytes: u64,
    /// Tokens read that are charged.
    pub llm_in: u64,
    /// Tokens written that are charged.
    pub llm_out: u64,
    /// Tokens that the service reported above what is charged.
    pub unbilled: u64,
    /// Calls whose usage is not certain.
    pub inconclusive: u64,
    /// From each request to the end of its answer, all together, in milliseconds.
    pub wall_ms: u64,
}

impl From<&UpstreamUse> for UpstreamView {
    fn from(used: &UpstreamUse) -> Self {
        // Where the requests went is left out: it may be an address of the operator's own.
        Self {
            name: used.name.clone(),
            kind: used.kind,
            calls: used.calls,
            refused: used.refused,
            request_bytes: used.request_bytes,
            response_bytes: used.response_bytes,
            llm_in: used.llm_in,
            llm_out: used.llm_out,
            unbilled: used.unbilled,
            inconclusive: used.inconclusive,
            wall_ms: used.wall_ms,
        }
    }
}

/// How urgent a run is among those that wait. It is a head start and no more: whatever has waited
/// longer than the head start goes first.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum RunPriority {
    /// Gives way to the others.
    Low,
    /// In the order in which they came.
    #[default]
    Normal,
    /// Before the others; for operators.
    High,
}

/// Where the money of an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum EscrowView {
    /// Nothing was ever taken.
    None,
    /// The vault holds the highest possible charge.
    Open,
    /// The charge was paid and the rest returned.
    Settled,
    /// All of it went back.
    Returned,
}

/// What the settling transaction answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReceiptView {
    /// The attempt's id in the vault.
    pub run_id: VaultRunId,
    /// Stroops that the developer got.
    #[serde(with = "crate::usage::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub actual_charge: i128,
    /// Stroops that the settling runner got beside the charge, whatever the run came to.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::usage::decimal::option"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub runner_fee: Option<i128>,
    /// Stroops that went back to the user.
    #[serde(with = "crate::usage::decimal")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub refund: i128,
    /// Who got the charge.
    pub developer: String,
    /// What was settled with it.
    pub output_hash: Digest,
    /// Close time of the ledger that settled it. Absent where the runner proved the settlement by
    /// the vault's record alone, since it never read the event.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "milliseconds::option")]
    pub finalized_at: Option<OffsetDateTime>,
    /// The runner that settled it: the one that opened it, or another listed one in its place.
    /// Absent in receipts that were kept by former releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<String>,
}

/// Where the outputs are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PackView {
    /// The pack (O4).
    pub pack_id: String,
    /// SHA-256 of the seal's bytes.
    pub seal_digest: Digest,
    /// The facts view; empty for the pack of a failed run.
    pub facts_ref: String,
}

/// The files that an attempt delivered: what `GET /runs/:id/outputs` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OutputsView {
    /// The attempt.
    pub attempt: u32,
    /// Its files by path; none of an attempt that failed.
    pub outputs: Vec<OutputView>,
}

/// A file that an attempt delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OutputView {
    /// Relative, with `/` between segments.
    pub path: String,
    /// In bytes.
    pub length: u64,
    /// Of its content.
    pub sha256: Digest,
}

/// Hashes of the transactions that opened and closed the present attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransactionHashes {
    /// The opening one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<TxHash>,
    /// The one that settled it or gave the escrow back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalize: Option<TxHash>,
}

/// `run.json` of a bundle: the run as the gateway shows it, with what a verifier needs beside it.
///
/// `Terms` is what the vault pinned (`stellar::vault::RunTerms`), which this crate does not know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDocument<Terms> {
    /// The run.
    #[serde(flatten)]
    pub run: RunView,
    /// What was fixed when the attempt was opened; absent if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// The vault's contract id.
    pub vault_id: String,
    /// The attempt's nonce.
    pub nonce: Nonce,
    /// The run's input.
    pub input: JsonText,
}

/// What a [`RunDocument`] has beside the run. Read apart from it: a flattened reader would not keep
/// the text of `input` and `metadata`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Beside<Terms> {
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
    vault_id: String,
    nonce: Nonce,
    input: JsonText,
}

impl<Terms: Serialize + serde::de::DeserializeOwned> RunDocument<Terms> {
    /// Reads the document. Members that are not known are ignored; one that appears twice is
    /// refused.
    ///
    /// # Errors
    ///
    /// When it is not one.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        let run = json::read(text)?;
        let Beside { terms, vault_id, nonce, input } = json::read(text)?;
        Ok(Self { run, terms, vault_id, nonce, input })
    }
}

/// The text of one JSON value, kept as it was written: a reader that makes numbers of it may round
/// them.
#[derive(Clone)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// Keeps `text`.
    ///
    /// # Errors
    ///
    /// When it is not one JSON value.
    pub fn new(text: impl Into<String>) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text.into()).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

/// Times in RFC 3339, in UTC, always with milliseconds: for
/// `#[serde(with = "wire::view::milliseconds")]`.
pub mod milliseconds {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use time::format_description::BorrowedFormatItem;
    use time::format_description::well_known::Rfc3339;
    use time::macros::format_description;
    use time::{OffsetDateTime, UtcOffset};

    const FORMAT: &[BorrowedFormatItem<'_>] =
        // The `Z` is literal: `serialize` converts to UTC first.
        format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );

    /// Writes the time.
    ///
    /// # Errors
    ///
    /// When its year has no four digits.
    pub fn serialize<S: Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
        let text = at.to_offset(UtcOffset::UTC).format(FORMAT);
        serializer.serialize_str(&text.map_err(serde::ser::Error::custom)?)
    }

    /// Reads a time of any precision.
    ///
    /// # Errors
    ///
    /// When the text is not RFC 3339.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<OffsetDateTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        OffsetDateTime::parse(&text, &Rfc3339).map_err(D::Error::custom)
    }

    /// The same for a time that may be absent.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};
        use time::OffsetDateTime;

        // `with` is for a field; what is inside an `Option` needs a type of its own.
        #[derive(Serialize, Deserialize)]
        struct Time(#[serde(with = "super")] OffsetDateTime);

        /// Writes the time, if there is one.
        ///
        /// # Errors
        ///
        /// As [`super::serialize`].
        pub fn serialize<S: Serializer>(
            at: &Option<OffsetDateTime>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            at.map(Time).serialize(serializer)
        }

        /// Reads the time, if there is one.
        ///
        /// # Errors
        ///
        /// As [`super::deserialize`].
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<OffsetDateTime>, D::Error> {
            Ok(Option::<Time>::deserialize(deserializer)?.map(|time| time.0))
        }
    }
}

impl From<Usage> for Meters {
    fn from(usage: Usage) -> Self {
        let Usage { llm_in, llm_out, http_calls, runtime_ms } = usage;
        Self { llm_in, llm_out, http_calls, runtime_ms }
    }
}

impl From<Meters> for Usage {
    fn from(meters: Meters) -> Self {
        let Meters { llm_in, llm_out, http_calls, runtime_ms } = meters;
        Self { llm_in, llm_out, http_calls, runtime_ms }
    }
}
