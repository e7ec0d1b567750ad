//! What a run is opened with, and what is fixed from then on (V5).

use serde::{Deserialize, Serialize};
use stellar_xdr::ScVal;
use wire::{Digest, Nonce, Rates, Usage};

use crate::scval::{self, Reader};
use crate::{Address, ChainError};

/// Most keys that an agent may name, and so a run's terms may hold (V12).
const MOST_ATTESTERS: usize = 4;

/// What the opener states beside user, agent and budgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTerms {
    /// The attempt's nonce, [`crate::ids::nonce`].
    pub nonce: Nonce,
    /// The most that rates × budgets may be, in stroops.
    pub max_charge: i128,
    /// The opener's flat fee, in stroops.
    pub runner_fee: i128,
    /// Settle before it, reclaim from it on. Unix seconds.
    pub deadline: u64,
    /// [`crate::ids::request_hash`].
    pub request_hash: Digest,
    /// After this ledger time the call fails. Unix seconds.
    pub valid_until: u64,
}

/// Everything that was fixed when a run opened. The opened event carries it; the record only its
/// hash. In JSON amounts are decimal strings and keys hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTerms {
    /// Who pays.
    pub user: Address,
    /// The runner that opened the run.
    pub opened_by: Address,
    /// Which agent runs.
    pub agent_id: u32,
    /// Which rate card holds.
    pub rate_version: u32,
    /// Its prices, in stroops a unit.
    pub rates: Rates,
    /// The most units that can be charged.
    pub budgets: Usage,
    /// rates × budgets, in stroops.
    #[serde(with = "wire::usage::decimal")]
    pub max_charge: i128,
    /// The opener's flat fee, in stroops.
    #[serde(with = "wire::usage::decimal")]
    pub runner_fee: i128,
    /// Settle before it, reclaim from it on. Unix seconds.
    pub deadline: u64,
    /// Ledger time of the opening, Unix seconds.
    pub opened_at: u64,
    /// Who is paid the charge.
    pub developer: Address,
    /// Digest of the module's tree.
    pub manifest_hash: Digest,
    /// What was asked for.
    pub request_hash: Digest,
    /// Ed25519 keys whose statements and signatures count.
    #[serde(with = "hex_keys")]
    pub attesters: Vec<[u8; 32]>,
}

/// An agent under one rate card: what runs of a batch have in common (V18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Which agent runs.
    pub agent_id: u32,
    /// Which rate card holds.
    pub rate_version: u32,
    /// Its prices, in stroops a unit.
    pub rates: Rates,
    /// Who is paid the charge.
    pub developer: Address,
    /// Digest of the module's tree.
    pub manifest_hash: Digest,
    /// Ed25519 keys whose statements and signatures count.
    pub attesters: Vec<[u8; 32]>,
}

impl Head {
    pub(super) fn to_val(&self) -> Result<ScVal, ChainError> {
        let price = |rate: i128| {
            u64::try_from(rate).map(ScVal::U64).map_err(|_| {
                ChainError::invalid(format!("a rate is {rate}, expected 0 to 2^63 - 1"))
            })
        };
        let Rates { llm_in, llm_out, http_calls, runtime_ms } = self.rates;
        let prices = [llm_in, llm_out, http_calls, runtime_ms].map(price);
        let keys = self.attesters.iter().map(|key| scval::bytes(key)).collect::<Result<_, _>>()?;
        scval::vec(vec![
            ScVal::U32(self.agent_id),
            ScVal::U32(self.rate_version),
            scval::vec(prices.into_iter().collect::<Result<_, _>>()?)?,
            self.developer.to_val(),
            scval::bytes(self.manifest_hash.as_bytes())?,
            scval::vec(keys)?,
        ])
    }

    fn from_val(head: &Reader<'_>) -> Result<Self, ChainError> {
        let prices = head.item(2)?;
        let price = |at: usize| Ok::<_, ChainError>(i128::from(prices.item(at)?.u64()?));
        let key = |item: Reader<'_>| item.digest().map(|key| *key.as_bytes());
        Ok(Self {
            agent_id: head.item(0)?.u32()?,
            rate_version: head.item(1)?.u32()?,
            rates: Rates {
                llm_in: price(0)?,
                llm_out: price(1)?,
                http_calls: price(2)?,
                runtime_ms: price(3)?,
            },
            developer: head.item(3)?.address()?,
            manifest_hash: head.item(4)?.digest()?,
            attesters: head.item(5)?.items()?.into_iter().map(key).collect::<Result<_, _>>()?,
        })
    }
}

impl OpenTerms {
    pub(super) fn to_val(&self) -> Result<ScVal, ChainError> {
        scval::map([
            ("nonce", scval::bytes(self.nonce.as_bytes())?),
            ("max_charge", scval::i128(self.max_charge)),
            ("runner_fee", scval::i128(self.runner_fee)),
            ("deadline", ScVal::U64(self.deadline)),
            ("request_hash", scval::bytes(self.request_hash.as_bytes())?),
            ("valid_until", ScVal::U64(self.valid_until)),
        ])
    }
}

impl RunTerms {
    /// The value that `finalize_run` takes.
    ///
    /// # Errors
    ///
    /// When there are more attesters than an agent may name.
    pub fn to_val(&self) -> Result<ScVal, ChainError> {
        if self.attesters.len() > MOST_ATTESTERS {
            return Err(ChainError::invalid(format!(
                "{} attesters, but an agent names at most {MOST_ATTESTERS}",
                self.attesters.len()
            )));
        }
        let attesters =
            self.attesters.iter().map(|key| scval::bytes(key)).collect::<Result<_, _>>()?;
        scval::map([
            ("user", self.user.to_val()),
            ("opened_by", self.opened_by.to_val()),
            ("agent_id", ScVal::U32(self.agent_id)),
            ("rate_version", ScVal::U32(self.rate_version)),
            ("rates", rates_to(&self.rates)?),
            ("budgets", usage_to(&self.budgets)?),
            ("max_charge", scval::i128(self.max_charge)),
            ("runner_fee", scval::i128(self.runner_fee)),
            ("deadline", ScVal::U64(self.deadline)),
            ("opened_at", ScVal::U64(self.opened_at)),
            ("developer", self.developer.to_val()),
            ("manifest_hash", scval::bytes(self.manifest_hash.as_bytes())?),
            ("request_hash", scval::bytes(self.request_hash.as_bytes())?),
            ("attesters", scval::vec(attesters)?),
        ])
    }

    /// Reads the terms from a value with these fields; further ones do not matter.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`] naming the field.
    pub fn from_val(terms: &Reader<'_>) -> Result<Self, ChainError> {
        let key = |item: Reader<'_>| item.digest().map(|key| *key.as_bytes());
        Ok(Self {
            user: terms.field("user")?.address()?,
            opened_by: terms.field("opened_by")?.address()?,
            agent_id: terms.field("agent_id")?.u32()?,
            rate_version: terms.field("rate_version")?.u32()?,
            rates: rates_from(&terms.field("rates")?)?,
            budgets: usage_from(&terms.field("budgets")?)?,
            max_charge: terms.field("max_charge")?.i128()?,
            runner_fee: terms.field("runner_fee")?.i128()?,
            deadline: terms.field("deadline")?.u64()?,
            opened_at: terms.field("opened_at")?.u64()?,
            developer: terms.field("developer")?.address()?,
            manifest_hash: terms.field("manifest_hash")?.digest()?,
            request_hash: terms.field("request_hash")?.digest()?,
            attesters: terms
                .field("attesters")?
                .items()?
                .into_iter()
                .map(key)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The digest that the run's record holds: SHA-256 of the XDR of a vector, the data of the
    /// opened event after the run's id.
    ///
    /// # Errors
    ///
    /// As [`RunTerms::to_val`], and when a price does not fit the vault's bounds (V19).
    pub fn hash(&self) -> Result<Digest, ChainError> {
        Ok(Digest::of(&scval::to_xdr(&self.to_data()?)?))
    }

    /// The opened event's data after the run's id, as a vector.
    pub(super) fn to_data(&self) -> Result<ScVal, ChainError> {
        scval::vec(vec![
            self.user.to_val(),
            self.opened_by.to_val(),
            self.head().to_val()?,
            meters_to(&self.budgets)?,
            scval::i128(self.max_charge),
            scval::i128(self.runner_fee),
            ScVal::U64(self.deadline),
            ScVal::U64(self.opened_at),
            scval::bytes(self.request_hash.as_bytes())?,
        ])
    }

    /// What a batch states once for all runs of this agent under this rate card.
    pub fn head(&self) -> Head {
        Head {
            agent_id: self.agent_id,
            rate_version: self.rate_version,
            rates: self.rates,
            developer: self.developer,
            manifest_hash: self.manifest_hash,
            attesters: self.attesters.clone(),
        }
    }

    /// Reads the terms from the elements of a vector from `at` on.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`].
    pub(super) fn from_data(data: &Reader<'_>, at: usize) -> Result<Self, ChainError> {
        let Head { agent_id, rate_version, rates, developer, manifest_hash, attesters } =
            Head::from_val(&data.item(at + 2)?)?;
        Ok(Self {
            user: data.item(at)?.address()?,
            opened_by: data.item(at + 1)?.address()?,
            agent_id,
            rate_version,
            rates,
            budgets: meters_from(&data.item(at + 3)?)?,
            max_charge: data.item(at + 4)?.i128()?,
            runner_fee: data.item(at + 5)?.i128()?,
            deadline: data.item(at + 6)?.u64()?,
            opened_at: data.item(at + 7)?.u64()?,
            developer,
            manifest_hash,
            request_hash: data.item(at + 8)?.digest()?,
            attesters,
        })
    }

    /// The terms as XDR bytes, for the process that stores them until the run is settled.
    ///
    /// # Errors
    ///
    /// As [`RunTerms::to_val`].
    pub fn to_xdr(&self) -> Result<Vec<u8>, ChainError> {
        scval::to_xdr(&self.to_val()?)
    }

    /// Reads what [`RunTerms::to_xdr`] made.
    ///
    /// # Errors
    ///
    /// [`ChainError::Decode`].
    pub fn from_xdr(bytes: &[u8]) -> Result<Self, ChainError> {
        let value: ScVal = scval::from_xdr("run terms", bytes)?;
        Self::from_val(&Reader::new("run terms", &value))
    }
}

/// Prices as the contracts take them.
///
/// # Errors
///
/// Never in practice: the names are fixed.
pub fn rates_to(rates: &Rates) -> Result<ScVal, ChainError> {
    scval::map([
        ("llm_in", scval::i128(rates.llm_in)),
        ("llm_out", scval::i128(rates.llm_out)),
        ("http_calls", scval::i128(rates.http_calls)),
        ("runtime_ms", scval::i128(rates.runtime_ms)),
    ])
}

/// Reads prices.
///
/// # Errors
///
/// [`ChainError::Decode`] naming the field.
pub fn rates_from(rates: &Reader<'_>) -> Result<Rates, ChainError> {
    Ok(Rates {
        llm_in: rates.field("llm_in")?.i128()?,
        llm_out: rates.field("llm_out")?.i128()?,
        http_calls: rates.field("http_calls")?.i128()?,
        runtime_ms: rates.field("runtime_ms")?.i128()?,
    })
}

/// Meters as the vault takes them.
///
/// # Errors
///
/// Never in practice: the names are fixed.
pub fn usage_to(usage: &Usage) -> Result<ScVal, ChainError> {
    scval::map([
        ("llm_in", scval::i128(usage.llm_in.into())),
        ("llm_out", scval::i128(usage.llm_out.into())),
        ("http_calls", scval::i128(usage.http_calls.into())),
        ("runtime_ms", scval::i128(usage.runtime_ms.into())),
    ])
}

/// Reads meters.
///
/// # Errors
///
/// [`ChainError::Decode`] naming the field, also when a meter is negative or passes 64 bits.
pub fn usage_from(usage: &Reader<'_>) -> Result<Usage, ChainError> {
    let meter = |name: &str| -> Result<u64, ChainError> {
        let units = usage.field(name)?.i128()?;
        u64::try_from(units).map_err(|_| {
            ChainError::decode(format!("meter {name}"), format!("{units} is out of range"))
        })
    };
    Ok(Usage {
        llm_in: meter("llm_in")?,
        llm_out: meter("llm_out")?,
        http_calls: meter("http_calls")?,
        runtime_ms: meter("runtime_ms")?,
    })
}

/// Meters as batches and events carry them: a vector of four numbers.
///
/// # Errors
///
/// Never in practice: four elements fit.
pub fn meters_to(usage: &Usage) -> Result<ScVal, ChainError> {
    let Usage { llm_in, llm_out, http_calls, runtime_ms } = *usage;
    scval::vec([llm_in, llm_out, http_calls, runtime_ms].map(ScVal::U64).to_vec())
}

/// Reads meters from a vector of four numbers.
///
/// # Errors
///
/// [`ChainError::Decode`].
pub fn meters_from(meters: &Reader<'_>) -> Result<Usage, ChainError> {
    Ok(Usage {
        llm_in: meters.item(0)?.u64()?,
        llm_out: meters.item(1)?.u64()?,
        http_calls: meters.item(2)?.u64()?,
        runtime_ms: meters.item(3)?.u64()?,
    })
}

/// The digest by which the vault's record knows a settlement: SHA-256 of the XDR of settler, usage
/// and whether an attester's signature was given. With it a usage is proven from the record alone.
///
/// # Errors
///
/// Never in practice: all three have an XDR form.
pub fn settlement_hash(
    settler: &Address,
    usage: &Usage,
    is_attested: bool,
) -> Result<Digest, ChainError> {
    let parts = vec![settler.to_val(), meters_to(usage)?, ScVal::Bool(is_attested)];
    Ok(Digest::of(&scval::to_xdr(&scval::vec(parts)?)?))
}

/// Keys as hex digits in JSON.
mod hex_keys {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use wire::PublicKey;

    pub(super) fn serialize<S: Serializer>(
        keys: &[[u8; 32]],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let keys: Vec<_> = keys.iter().copied().map(PublicKey::from).collect();
        keys.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<[u8; 32]>, D::Error> {
        let keys = Vec::<PublicKey>::deserialize(deserializer)?;
        Ok(keys.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        pub(crate) fn any_terms()(
            keys: [[u8; 32]; 5],
            attesters in proptest::collection::vec(any::<[u8; 32]>(), 0..=4),
            rates: [i128; 4],
            meters: [u64; 4],
            numbers: (u32, u32, i128, i128, u64, u64),
        ) -> RunTerms {
            RunTerms {
                user: Address::Account(keys[0]),
                opened_by: Address::Account(keys[1]),
                agent_id: numbers.0,
                rate_version: numbers.1,
                rates: Rates {
                    llm_in: rates[0],
                    llm_out: rates[1],
                    http_calls: rates[2],
                    runtime_ms: rates[3],
                },
                budgets: Usage {
                    llm_in: meters[0],
                    llm_out: meters[1],
                    http_calls: meters[2],
                    runtime_ms: meters[3],
                },
                max_charge: numbers.2,
                runner_fee: numbers.3,
                deadline: numbers.4,
                opened_at: numbers.5,
                developer: Address::Contract(keys[2]),
                manifest_hash: Digest::from(keys[3]),
                request_hash: Digest::from(keys[4]),
                attesters,
            }
        }
    }

    proptest! {
        #[test]
        fn terms_come_back_through_xdr_and_json(terms in any_terms()) {
            prop_assert_eq!(&RunTerms::from_xdr(&terms.to_xdr().unwrap()).unwrap(), &terms);
            let json = serde_json::to_string(&terms).unwrap();
            prop_assert_eq!(serde_json::from_str::<RunTerms>(&json).unwrap(), terms);
        }
    }

    #[test]
    fn a_negative_meter_is_no_usage() {
        let value = scval::map([
            ("llm_in", scval::i128(-1)),
            ("llm_out", scval::i128(0)),
            ("http_calls", scval::i128(0)),
            ("runtime_ms", scval::i128(0)),
        ]);
        let error = usage_from(&Reader::new("usage", &value.unwrap())).unwrap_err().to_string();
        assert_eq!(error, "cannot read meter llm_in: -1 is out of range");
    }
}
