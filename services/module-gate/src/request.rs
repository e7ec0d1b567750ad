//! What `Execute` asks for, checked once at the edge.

use std::str::FromStr;

use serde_json::json;
use wire::digest::Digest;
use wire::id::{AttemptKey, PublicKey, VaultRunId};
use wire::pb::module::v1::ExecuteRequest;
use wire::statement::MAX_SEED;
use wire::usage::Usage;

use crate::error::Error;

/// Largest input, in bytes (R12).
pub const MAX_INPUT_BYTES: usize = 8 << 20;
const MAX_TEXT: usize = 256;
/// An agent names fewer.
const MAX_ATTESTERS: usize = 64;
/// No vault deadline lies further away.
const MAX_WALL_MS: u64 = 24 * 60 * 60 * 1_000;

/// A request that can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which attempt of which run.
    pub key: AttemptKey,
    /// The attempt's id in the vault: what its settlement may be signed for. Absent where a module
    /// is tried by hand, which is not paid for; `Execute` always has one.
    pub vault_run_id: Option<VaultRunId>,
    /// The agent whose module it is, as far as the runner has named it: what its operator allows it
    /// depends on it. It is in no statement.
    pub agent: Option<u32>,
    /// Who pays.
    pub user: String,
    /// The workflow the run is of.
    pub workflow_id: String,
    /// The module.
    pub module: Digest,
    /// Canonical JSON.
    pub input: Vec<u8>,
    /// Its sha256.
    pub input_digest: Digest,
    /// At most 2^53 − 1.
    pub seed: u64,
    /// What may be used at most.
    pub budgets: Usage,
    /// The operator's wall limit, in milliseconds.
    pub wall_limit_ms: u64,
    /// Unix seconds after which a result is worthless.
    pub deadline_unix: u64,
    /// The keys whose signature counts for the caller: the attesters that the vault pinned. Empty
    /// if any does. They are in no statement.
    pub attesters: Vec<PublicKey>,
}

impl Request {
    /// What makes two requests the same (R11): all that the statement repeats. How long the caller
    /// would wait is not part of it, so a caller that was restarted with other limits can attach.
    ///
    /// # Errors
    /// Never; the serializer's own otherwise.
    pub fn digest(&self) -> Result<Digest, Error> {
        let Usage { llm_in, llm_out, http_calls, runtime_ms } = self.budgets;
        // As texts: canonical JSON has no whole numbers above 2^53.
        let budgets = [llm_in, llm_out, http_calls, runtime_ms].map(|units| units.to_string());
        let same = json!({
            "run_id": self.key.run, "attempt": self.key.attempt, "vault_run_id": self.vault_run_id,
            "user": self.user, "workflow_id": self.workflow_id,
            "module": self.module, "input": self.input_digest, "seed": self.seed.to_string(),
            "budgets": budgets,
        });
        wire::json::digest(&same).map_err(Error::host("hash the request"))
    }
}

impl TryFrom<ExecuteRequest> for Request {
    type Error = Error;

    fn try_from(raw: ExecuteRequest) -> Result<Self, Error> {
        let input_digest = digest("input_digest", &raw.input_digest)?;
        let request = Self {
            key: key(&raw.run_id, raw.attempt)?,
            vault_run_id: Some(
                raw.vault_run_id
                    .parse()
                    .map_err(|error| Error::Invalid(format!("vault_run_id: {error}")))?,
            ),
            agent: (raw.agent_id != 0).then_some(raw.agent_id),
            user: text("user", raw.user)?,
            workflow_id: text("workflow_id", raw.workflow_id)?,
            module: digest("manifest_hash", &raw.manifest_hash)?,
            input_digest,
            seed: raw.seed,
            budgets: raw.budgets.map_or_else(Usage::default, Usage::from),
            wall_limit_ms: raw.wall_limit_ms,
            deadline_unix: raw.deadline_unix,
            attesters: attesters(&raw.attesters)?,
            input: raw.input,
        };
        if request.seed > MAX_SEED {
            return Err(Error::Invalid(format!("seed {} is above 2^53 - 1", request.seed)));
        }
        if request.wall_limit_ms == 0 || request.wall_limit_ms > MAX_WALL_MS {
            return Err(Error::Invalid(format!("wall_limit_ms must be from 1 to {MAX_WALL_MS}")));
        }
        check_input(&request)?;
        Ok(request)
    }
}

/// Reads the name of an attempt.
///
/// # Errors
/// [`Error::Invalid`].
pub fn key(run: &str, attempt: u32) -> Result<AttemptKey, Error> {
    let run = run.parse().map_err(|error| Error::Invalid(format!("run_id: {error}")))?;
    if attempt == 0 || i32::try_from(attempt).is_err() {
        return Err(Error::Invalid("attempt counts from 1".to_owned()));
    }
    Ok(AttemptKey { run, attempt })
}

/// Reads a digest from the field `name`.
///
/// # Errors
/// [`Error::Invalid`].
pub fn digest(name: &str, text: &str) -> Result<Digest, Error> {
    hex(name, text)
}

fn hex<T: FromStr>(name: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Invalid(format!("{name} must be 64 lower-case hex digits")))
}

/// Reads the keys whose signature counts for the caller.
///
/// # Errors
/// [`Error::Invalid`].
pub fn attesters(keys: &[String]) -> Result<Vec<PublicKey>, Error> {
    if keys.len() > MAX_ATTESTERS {
        return Err(Error::Invalid(format!("attesters: at most {MAX_ATTESTERS} keys are taken")));
    }
    keys.iter().map(|key| hex("attesters", key)).collect()
}

/// Reads the id of a module, which names a folder.
///
/// # Errors
/// [`Error::Invalid`].
pub fn module_id(id: String) -> Result<String, Error> {
    let id = text("modules/id", id)?;
    let fits = id.starts_with(|letter: char| letter.is_ascii_lowercase())
        && id.chars().all(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_.-".contains(letter)
        });
    if fits {
        Ok(id)
    } else {
        Err(Error::Invalid(format!("modules/id: {id:?} does not match ^[a-z][a-z0-9_.-]+$")))
    }
}

fn text(name: &str, text: String) -> Result<String, Error> {
    let fine =
        !text.is_empty() && text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
    if fine {
        Ok(text)
    } else {
        Err(Error::Invalid(format!("{name} must have 1 to {MAX_TEXT} printable characters")))
    }
}

fn check_input(request: &Request) -> Result<(), Error> {
    if request.input.len() > MAX_INPUT_BYTES {
        return Err(Error::Invalid(format!("input is larger than {MAX_INPUT_BYTES} bytes")));
    }
    let found = Digest::of(&request.input);
    if found != request.input_digest {
        return Err(Error::DigestMismatch {
            what: "input".to_owned(),
            detail: format!("it is {found}"),
        });
    }
    let text = std::str::from_utf8(&request.input)
        .map_err(|error| Error::Invalid(format!("input is not UTF-8: {error}")))?;
    // As text: a tree of values may take a hundred times the memory.
    let canonical = wire::json::exact::canonical(text).map_err(|flaw| {
        Error::Invalid(format!("input is no JSON: {} {}", flaw.pointer(), flaw.message))
    })?;
    if canonical.text != text || !canonical.rounded.is_empty() {
        return Err(Error::Invalid("input is not canonical JSON (RFC 8785)".to_owned()));
    }
    Ok(())
}
