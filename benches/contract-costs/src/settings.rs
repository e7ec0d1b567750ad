//! The network's configuration entries from `mainnet.json`, in the form that fees are computed
//! with.

use std::rc::Rc;

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;
use serde_json::Value;
use soroban_env_host::HostError;
use soroban_env_host::budget::Budget;
use soroban_env_host::storage::{EntryWithLiveUntil, SnapshotSource};
use soroban_env_host::xdr::{
    ConfigSettingContractBandwidthV0, ConfigSettingContractComputeV0,
    ConfigSettingContractEventsV0, ConfigSettingContractHistoricalDataV0,
    ConfigSettingContractLedgerCostExtV0, ConfigSettingContractLedgerCostV0, ConfigSettingEntry,
    ContractCostParamEntry, ContractCostParams, ExtensionPoint, LedgerEntry, LedgerEntryData,
    LedgerEntryExt, LedgerKey, StateArchivalSettings,
};
use soroban_simulation::NetworkConfig;

const MAINNET: &str = include_str!("../mainnet.json");

/// Limits and prices of the public network, and where they were read.
pub struct Settings {
    /// Fees, lifetimes and the cost model.
    pub network: NetworkConfig,
    /// Limits of one transaction.
    pub limits: Limits,
    /// The day they were read, such as `2026-07-29`.
    pub read_on: String,
    /// Where they were read.
    pub source: String,
}

/// Limits of one transaction.
pub struct Limits {
    /// Instructions.
    pub instructions: u32,
    /// Entries written.
    pub write_entries: u32,
    /// Bytes written.
    pub write_bytes: u32,
    /// Entries named.
    pub footprint_entries: u32,
    /// Bytes of the envelope.
    pub transaction_bytes: u32,
    /// Bytes of events and return value.
    pub event_bytes: u32,
    /// Bytes of one entry.
    pub entry_bytes: u32,
    /// Limits of one ledger.
    pub ledger: LedgerLimits,
}

/// Limits of all Soroban transactions of one ledger together. Instructions hold for each cluster of
/// transactions that share entries; clusters run side by side.
pub struct LedgerLimits {
    /// Instructions of one cluster.
    pub instructions: u64,
    /// Entries written.
    pub write_entries: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Bytes of envelopes.
    pub transaction_bytes: u64,
}

#[derive(Deserialize)]
struct File {
    read_on: String,
    source: String,
    updated_entry: Vec<serde_json::Map<String, Value>>,
}

struct Entries(Vec<ConfigSettingEntry>);

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// When an entry or a field is missing.
    pub fn mainnet() -> Result<Self> {
        let file: File = serde_json::from_str(MAINNET).context("mainnet.json")?;
        let get = |name: &str| {
            let found = file.updated_entry.iter().find_map(|entry| entry.get(name));
            found.ok_or_else(|| anyhow!("mainnet.json has no {name}"))
        };
        let entries = Entries(entries(&get)?);
        let network = NetworkConfig::load_from_snapshot(&entries)?;
        let limits = limits(&get)?;
        Ok(Self { network, limits, read_on: file.read_on, source: file.source })
    }

    /// A budget of one transaction.
    ///
    /// # Errors
    ///
    /// Only when the file's cost model does not fit the host's.
    pub fn budget(&self) -> Result<Budget> {
        let memory = u64::from(self.network.tx_memory_limit);
        Ok(Budget::try_from_configs(
            u64::from(self.limits.instructions),
            memory,
            self.network.cpu_cost_params.clone(),
            self.network.memory_cost_params.clone(),
        )?)
    }
}

impl SnapshotSource for Entries {
    fn get(&self, key: &Rc<LedgerKey>) -> Result<Option<EntryWithLiveUntil>, HostError> {
        let LedgerKey::ConfigSetting(wanted) = key.as_ref() else { return Ok(None) };
        let found = self.0.iter().find(|entry| entry.discriminant() == wanted.config_setting_id);
        Ok(found.map(|setting| {
            let data = LedgerEntryData::ConfigSetting(setting.clone());
            let entry = LedgerEntry { last_modified_ledger_seq: 1, data, ext: LedgerEntryExt::V0 };
            (Rc::new(entry), None)
        }))
    }
}

type Get<'a> = dyn Fn(&str) -> Result<&'a Value> + 'a;

/// A number, which 64-bit ones are as text.
fn number<T: TryFrom<i64>>(of: &Value, name: &str) -> Result<T> {
    let value = &of[name];
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| anyhow!("mainnet.json: {name} is no number that fits"))
}

fn limits(get: &Get<'_>) -> Result<Limits> {
    let cost = get("contract_ledger_cost_v0")?;
    Ok(Limits {
        instructions: number(get("contract_compute_v0")?, "tx_max_instructions")?,
        write_entries: number(cost, "tx_max_write_ledger_entries")?,
        write_bytes: number(cost, "tx_max_write_bytes")?,
        footprint_entries: number(get("contract_ledger_cost_ext_v0")?, "tx_max_footprint_entries")?,
        transaction_bytes: number(get("contract_bandwidth_v0")?, "tx_max_size_bytes")?,
        event_bytes: number(get("contract_events_v0")?, "tx_max_contract_events_size_bytes")?,
        ledger: ledger_limits(get)?,
        entry_bytes: get("contract_data_entry_size_bytes")?
            .as_u64()
            .and_then(|bytes| u32::try_from(bytes).ok())
            .ok_or_else(|| anyhow!("mainnet.json: contract_data_entry_size_bytes"))?,
    })
}

fn ledger_limits(get: &Get<'_>) -> Result<LedgerLimits> {
    let cost = get("contract_ledger_cost_v0")?;
    Ok(LedgerLimits {
        instructions: number(get("contract_compute_v0")?, "ledger_max_instructions")?,
        write_entries: number(cost, "ledger_max_write_ledger_entries")?,
        write_bytes: number(cost, "ledger_max_write_bytes")?,
        transaction_bytes: number(get("contract_bandwidth_v0")?, "ledger_max_txs_size_bytes")?,
    })
}

fn entries(get: &Get<'_>) -> Result<Vec<ConfigSettingEntry>> {
    let compute = get("contract_compute_v0")?;
    let extra = get("contract_ledger_cost_ext_v0")?;
    let events = get("contract_events_v0")?;
    let bandwidth = get("contract_bandwidth_v0")?;
    let sizes = get("live_soroban_state_size_window")?.as_array().context("window")?;
    let size = |size: &Value| size.as_str().and_then(|size| size.parse::<u64>().ok());
    let sizes: Vec<u64> = sizes.iter().filter_map(size).collect();
    Ok(vec![
        ConfigSettingEntry::ContractComputeV0(ConfigSettingContractComputeV0 {
            ledger_max_instructions: number(compute, "ledger_max_instructions")?,
            tx_max_instructions: number(compute, "tx_max_instructions")?,
            fee_rate_per_instructions_increment: number(
                compute,
                "fee_rate_per_instructions_increment",
            )?,
            tx_memory_limit: number(compute, "tx_memory_limit")?,
        }),
        ConfigSettingEntry::ContractLedgerCostV0(ledger_cost(get("contract_ledger_cost_v0")?)?),
        ConfigSettingEntry::ContractLedgerCostExtV0(ConfigSettingContractLedgerCostExtV0 {
            tx_max_footprint_entries: number(extra, "tx_max_footprint_entries")?,
            fee_write1_kb: number(extra, "fee_write1_kb")?,
        }),
        ConfigSettingEntry::ContractHistoricalDataV0(ConfigSettingContractHistoricalDataV0 {
            fee_historical1_kb: number(get("contract_historical_data_v0")?, "fee_historical1_kb")?,
        }),
        ConfigSettingEntry::ContractEventsV0(ConfigSettingContractEventsV0 {
            tx_max_contract_events_size_bytes: number(events, "tx_max_contract_events_size_bytes")?,
            fee_contract_events1_kb: number(events, "fee_contract_events1_kb")?,
        }),
        ConfigSettingEntry::ContractBandwidthV0(ConfigSettingContractBandwidthV0 {
            ledger_max_txs_size_bytes: number(bandwidth, "ledger_max_txs_size_bytes")?,
            tx_max_size_bytes: number(bandwidth, "tx_max_size_bytes")?,
            fee_tx_size1_kb: number(bandwidth, "fee_tx_size1_kb")?,
        }),
        ConfigSettingEntry::StateArchival(archival(get("state_archival")?)?),
        ConfigSettingEntry::ContractCostParamsCpuInstructions(costs(get(
            "contract_cost_params_cpu_instructions",
        )?)?),
        ConfigSettingEntry::ContractCostParamsMemoryBytes(costs(get(
            "contract_cost_params_memory_bytes",
        )?)?),
        ConfigSettingEntry::LiveSorobanStateSizeWindow(sizes.try_into()?),
    ])
}

fn ledger_cost(cost: &Value) -> Result<ConfigSettingContractLedgerCostV0> {
    Ok(ConfigSettingContractLedgerCostV0 {
        ledger_max_disk_read_entries: number(cost, "ledger_max_disk_read_entries")?,
        ledger_max_disk_read_bytes: number(cost, "ledger_max_disk_read_bytes")?,
        ledger_max_write_ledger_entries: number(cost, "ledger_max_write_ledger_entries")?,
        ledger_max_write_bytes: number(cost, "ledger_max_write_bytes")?,
        tx_max_disk_read_entries: number(cost, "tx_max_disk_read_entries")?,
        tx_max_disk_read_bytes: number(cost, "tx_max_disk_read_bytes")?,
        tx_max_write_ledger_entries: number(cost, "tx_max_write_ledger_entries")?,
        tx_max_write_bytes: number(cost, "tx_max_write_bytes")?,
        fee_disk_read_ledger_entry: number(cost, "fee_disk_read_ledger_entry")?,
        fee_write_ledger_entry: number(cost, "fee_write_ledger_entry")?,
        fee_disk_read1_kb: number(cost, "fee_disk_read1_kb")?,
        soroban_state_target_size_bytes: number(cost, "soroban_state_target_size_bytes")?,
        rent_fee1_kb_soroban_state_size_low: number(cost, "rent_fee1_kb_soroban_state_size_low")?,
        rent_fee1_kb_soroban_state_size_high: number(cost, "rent_fee1_kb_soroban_state_size_high")?,
        soroban_state_rent_fee_growth_factor: number(cost, "soroban_state_rent_fee_growth_factor")?,
    })
}

fn archival(state: &Value) -> Result<StateArchivalSettings> {
    Ok(StateArchivalSettings {
        max_entry_ttl: number(state, "max_entry_ttl")?,
        min_temporary_ttl: number(state, "min_temporary_ttl")?,
        min_persistent_ttl: number(state, "min_persistent_ttl")?,
        persistent_rent_rate_denominator: number(state, "persistent_rent_rate_denominator")?,
        temp_rent_rate_denominator: number(state, "temp_rent_rate_denominator")?,
        max_entries_to_archive: number(state, "max_entries_to_archive")?,
        live_soroban_state_size_window_sample_size: number(
            state,
            "live_soroban_state_size_window_sample_size",
        )?,
        live_soroban_state_size_window_sample_period: number(
            state,
            "live_soroban_state_size_window_sample_period",
        )?,
        eviction_scan_size: number(state, "eviction_scan_size")?,
        starting_eviction_scan_level: number(state, "starting_eviction_scan_level")?,
    })
}

fn costs(list: &Value) -> Result<ContractCostParams> {
    let entry = |entry: &Value| {
        Ok(ContractCostParamEntry {
            ext: ExtensionPoint::V0,
            const_term: number(entry, "const_term")?,
            linear_term: number(entry, "linear_term")?,
        })
    };
    let list = list.as_array().context("cost parameters")?;
    let entries = list.iter().map(entry).collect::<Result<Vec<_>>>()?;
    Ok(ContractCostParams(entries.try_into()?))
}
