//! From an event of the vault or the registry to what it says. The data are vectors in the order of
//! the contract's fields (V18).

use stellar::rpc::Event;
use stellar::scval::Reader;
use stellar::vault::{RunFinalized, RunOpened, rates_from};
use stellar::{Address, ChainError};
use wire::PublicKey;
use wire::event::{Fact, Finalized, Opened};

/// What an event says; `None` for one that this release does not know (V19).
///
/// # Errors
///
/// [`ChainError::Decode`] for an event that has a known name and another form.
pub fn fact(event: &Event, vault: &Address) -> Result<Option<Fact>, ChainError> {
    let names = (topic(event, 0)?, topic(event, 1)?);
    let data = Data { event, reader: Reader::new("event data", &event.data) };
    let fact = match (names.0.as_str(), names.1.as_str()) {
        ("admin", name) => return administration(name, &data),
        _ if event.contract == *vault => return vault_fact(&names, event, &data),
        ("agent", "registered") => Fact::AgentRegistered {
            agent_id: data.agent()?,
            developer: data.address(0)?,
            metadata_uri: data.optional_text(1)?,
            runners: data.addresses(2)?,
        },
        ("agent", "metadata") => {
            Fact::AgentMetadata { agent_id: data.agent()?, metadata_uri: data.optional_text(0)? }
        }
        ("agent", "runner_added") => {
            Fact::AgentRunnerAdded { agent_id: data.agent()?, runner: data.address(0)? }
        }
        ("agent", "runner_removed") => {
            Fact::AgentRunnerRemoved { agent_id: data.agent()?, runner: data.address(0)? }
        }
        ("agent", "attesters") => {
            Fact::AgentAttesters { agent_id: data.agent()?, attesters: data.keys(0)? }
        }
        ("rates", "published") => Fact::RatesPublished {
            agent_id: data.agent()?,
            version: data.item(0)?.u32()?,
            rates: rates_from(&data.item(1)?)?,
            manifest_hash: data.item(2)?.digest()?,
        },
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

fn vault_fact(
    names: &(String, String),
    event: &Event,
    data: &Data<'_>,
) -> Result<Option<Fact>, ChainError> {
    let fact = match (names.0.as_str(), names.1.as_str()) {
        ("account", name) => return account(name, data),
        ("runner", name) => return grant(name, data),
        ("run", "opened") => Fact::RunOpened(Box::new(opened(&RunOpened::from_event(event)?))),
        ("run", "finalized") => {
            Fact::RunFinalized(Box::new(finalized(&RunFinalized::from_event(event)?)))
        }
        ("run", "voided") => Fact::RunVoided {
            user: data.subject()?,
            run_id: data.item(0)?.run_id()?,
            runner: data.address(1)?,
            reason: data.item(2)?.u32()?,
            refund: data.item(3)?.i128()?,
            voided_at: data.item(4)?.u64()?,
        },
        ("run", "reclaimed") => Fact::RunReclaimed {
            user: data.subject()?,
            run_id: data.item(0)?.run_id()?,
            refund: data.item(1)?.i128()?,
            reclaimed_at: data.item(2)?.u64()?,
        },
        ("payee", "claimed") => Fact::PayeeClaimed {
            payee: data.subject()?,
            role: data.item(0)?.symbol()?,
            amount: data.item(1)?.i128()?,
            balance: data.item(2)?.i128()?,
        },
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

fn account(name: &str, data: &Data<'_>) -> Result<Option<Fact>, ChainError> {
    let user = data.subject()?;
    let fact = match name {
        "deposited" => Fact::AccountDeposited {
            user,
            amount: data.item(0)?.i128()?,
            balance: data.item(1)?.i128()?,
        },
        "withdrawn" => Fact::AccountWithdrawn {
            user,
            amount: data.item(0)?.i128()?,
            balance: data.item(1)?.i128()?,
        },
        "policy" => Fact::AccountPolicy {
            user,
            per_run_cap: data.item(0)?.i128()?,
            daily_cap: data.item(1)?.i128()?,
            paused: data.item(2)?.bool()?,
        },
        "swept" => Fact::AccountSwept {
            user,
            amount: data.item(0)?.i128()?,
            balance: data.item(1)?.i128()?,
            day: data.item(2)?.u32()?,
        },
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

/// Events of grants. The older two have the user among their data, the newer ones as a topic.
fn grant(name: &str, data: &Data<'_>) -> Result<Option<Fact>, ChainError> {
    let fact = match name {
        "granted" => Fact::RunnerGranted {
            user: data.address(0)?,
            runner: data.address(1)?,
            agent_id: data.item(2)?.u32()?,
            issued_at: data.item(3)?.u64()?,
            expires_at: data.item(4)?.optional().map(|at| at.u64()).transpose()?,
            serial: data.item(5)?.u32()?,
        },
        "revoked" => Fact::RunnerRevoked {
            user: data.address(0)?,
            runner: data.address(1)?,
            agent_id: data.item(2)?.u32()?,
            revoked_at: data.item(3)?.u64()?,
        },
        "expired" => Fact::RunnerExpired {
            user: data.subject()?,
            runner: data.address(0)?,
            agent_id: data.item(1)?.u32()?,
            expires_at: data.item(2)?.u64()?,
        },
        "limits" => Fact::RunnerLimits {
            user: data.subject()?,
            runner: data.address(0)?,
            agent_id: data.item(1)?.u32()?,
            per_run_cap: data.item(2)?.i128()?,
            total_cap: data.item(3)?.i128()?,
            max_runner_fee: data.item(4)?.i128()?,
        },
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

/// What both contracts say of their administration.
fn administration(name: &str, data: &Data<'_>) -> Result<Option<Fact>, ChainError> {
    let fact = match name {
        "proposed" => Fact::AdminProposed { admin: data.address(0)?, proposed: data.address(1)? },
        "accepted" => Fact::AdminAccepted { previous: data.address(0)?, admin: data.address(1)? },
        "upgrade_scheduled" => Fact::AdminUpgradeScheduled {
            wasm_hash: data.item(0)?.digest()?,
            ready_at: data.item(1)?.u64()?,
            lapses_at: data.item(2)?.u64()?,
        },
        "upgrade_cancelled" => Fact::AdminUpgradeCancelled { wasm_hash: data.item(0)?.digest()? },
        "upgraded" => Fact::AdminUpgraded { wasm_hash: data.item(0)?.digest()? },
        "migrated" => Fact::AdminMigrated { from: data.item(0)?.u32()?, to: data.item(1)?.u32()? },
        "opens_paused" => Fact::AdminOpensPaused { admin: data.address(0)? },
        "opens_resumed" => Fact::AdminOpensResumed { admin: data.address(0)? },
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

fn opened(event: &RunOpened) -> Opened {
    let terms = &event.terms;
    Opened {
        run_id: event.run_id,
        user: terms.user.to_string(),
        opened_by: terms.opened_by.to_string(),
        agent_id: terms.agent_id,
        rate_version: terms.rate_version,
        rates: terms.rates,
        developer: terms.developer.to_string(),
        manifest_hash: terms.manifest_hash,
        attesters: terms.attesters.iter().map(|key| PublicKey::from(*key)).collect(),
        budgets: terms.budgets,
        max_charge: terms.max_charge,
        runner_fee: terms.runner_fee,
        deadline: terms.deadline,
        opened_at: terms.opened_at,
        request_hash: terms.request_hash,
    }
}

fn finalized(event: &RunFinalized) -> Finalized {
    Finalized {
        run_id: event.run_id,
        user: event.user.to_string(),
        runner: event.runner.to_string(),
        actual_charge: event.actual_charge,
        runner_fee: event.runner_fee,
        refund: event.refund,
        usage: event.usage,
        output_hash: event.output_hash,
        finalized_at: event.finalized_at,
        receipt_number: event.receipt_number,
        receipts_hash: event.receipts_hash,
    }
}

fn topic(event: &Event, at: usize) -> Result<String, ChainError> {
    // An event with fewer topics is not ours.
    match event.topics.get(at) {
        Some(topic) => Reader::new("event topic", topic).symbol(),
        None => Ok(String::new()),
    }
}

/// An event that is being read.
struct Data<'a> {
    event: &'a Event,
    reader: Reader<'a>,
}

impl<'a> Data<'a> {
    fn item(&self, at: usize) -> Result<Reader<'a>, ChainError> {
        self.reader.item(at)
    }

    fn address(&self, at: usize) -> Result<String, ChainError> {
        Ok(self.item(at)?.address()?.to_string())
    }

    fn addresses(&self, at: usize) -> Result<Vec<String>, ChainError> {
        let items = self.item(at)?.items()?;
        items.iter().map(|item| Ok(item.address()?.to_string())).collect()
    }

    fn keys(&self, at: usize) -> Result<Vec<PublicKey>, ChainError> {
        let items = self.item(at)?.items()?;
        items.iter().map(|item| Ok(PublicKey::from(*item.digest()?.as_bytes()))).collect()
    }

    fn optional_text(&self, at: usize) -> Result<Option<String>, ChainError> {
        // U+0000 is allowed on chain; Postgres cannot store it.
        let text = self.item(at)?.optional().map(|text| text.string()).transpose()?;
        Ok(text.map(|text| text.replace('\0', "\u{fffd}")))
    }

    /// The third topic as the account that the event is about.
    fn subject(&self) -> Result<String, ChainError> {
        Ok(self.third()?.address()?.to_string())
    }

    /// The third topic as an agent's id.
    fn agent(&self) -> Result<u32, ChainError> {
        self.third()?.u32()
    }

    fn third(&self) -> Result<Reader<'a>, ChainError> {
        let topic = self.event.topics.get(2);
        let topic = topic.ok_or_else(missing_topic)?;
        Ok(Reader::new("event topic", topic))
    }
}

fn missing_topic() -> ChainError {
    ChainError::Decode { what: "event topic".to_owned(), why: "it is missing".to_owned() }
}
