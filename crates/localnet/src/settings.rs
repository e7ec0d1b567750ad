//! The network's settings: configuration entries of the ledger, with the values of the public
//! network.

use std::sync::Arc;

use soroban_env_host::LedgerInfo;
use soroban_env_host::budget::Budget;
use soroban_env_host::xdr::{
    ConfigSettingContractBandwidthV0, ConfigSettingContractComputeV0,
    ConfigSettingContractEventsV0, ConfigSettingContractExecutionLanesV0,
    ConfigSettingContractHistoricalDataV0, ConfigSettingContractLedgerCostExtV0,
    ConfigSettingContractLedgerCostV0, ConfigSettingContractParallelComputeV0, ConfigSettingEntry,
    ConfigSettingScpTiming, EvictionIterator, FreezeBypassTxs, FrozenLedgerKeys, LedgerEntryData,
    StateArchivalSettings,
};
use soroban_simulation::NetworkConfig;

use crate::costs::cost_params;
use crate::error::Internal;
use crate::state::{LedgerSource, LedgerState, Overlay, wrap};
use crate::xdr::vecm;

/// The protocol version this network runs.
pub const PROTOCOL_VERSION: u32 = 30;

/// Lowest fee per operation in stroops; also the lowest inclusion fee of a Soroban transaction.
pub const BASE_FEE: u32 = 100;

/// The reserve one ledger subentry needs, in stroops.
pub const BASE_RESERVE: u32 = 5_000_000;

/// How long contract entries live, in ledgers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// A temporary entry when it is written first.
    pub min_temporary: u32,
    /// A persistent entry when it is written first or restored.
    pub min_persistent: u32,
    /// The most any entry can be extended to.
    pub max: u32,
}

/// Whose limits and fees the network has.
///
/// The values are those of August 2026: for the public network of the last upgrades that passed
/// (SLP-4 and SLP-5 of stellar-protocol, prices as its ledger stated them), for the test network
/// of `soroban-settings/testnet_settings_upgrade.json` in stellar-core a9b86132. All of them are
/// readable as configuration entries of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// The public network.
    #[default]
    PublicNetwork,
    /// The test network: about a quarter of the prices, shorter lives, entries of 64 KiB.
    TestNetwork,
    /// The public network's prices without limits that tests would run into: ledgers take
    /// whatever waits, and a transaction may use ten times as much.
    Unlimited,
}

/// What the configuration entries say, in the form the rules need it.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Fees, time to live, cost model.
    pub(crate) network: NetworkConfig,
    /// Limits of one transaction.
    pub(crate) limits: Limits,
}

/// Limits of one Soroban transaction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) instructions: u32,
    pub(crate) disk_read_entries: u32,
    pub(crate) disk_read_bytes: u32,
    pub(crate) write_entries: u32,
    pub(crate) write_bytes: u32,
    pub(crate) footprint_entries: u32,
    pub(crate) tx_bytes: u32,
    pub(crate) event_bytes: u32,
    pub(crate) contract_bytes: u32,
    pub(crate) key_bytes: u32,
    pub(crate) entry_bytes: u32,
    /// Limits of all Soroban transactions of a ledger together.
    pub(crate) ledger: LedgerLimits,
}

/// Limits of all Soroban transactions of one ledger together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LedgerLimits {
    pub(crate) transactions: u32,
    /// Of each cluster.
    pub(crate) instructions: u64,
    pub(crate) clusters: u32,
    pub(crate) disk_read_entries: u32,
    pub(crate) disk_read_bytes: u32,
    pub(crate) write_entries: u32,
    pub(crate) write_bytes: u32,
    pub(crate) tx_bytes: u32,
}

/// The values in which profiles differ.
struct Values {
    /// How many times the public network's limits a transaction has.
    transaction_factor: u32,
    /// The limits of a ledger; `None`: none that could be reached.
    ledger: Option<LedgerLimits>,
    fee_instructions: i64,
    fee_disk_read_entry: i64,
    fee_write_entry: i64,
    fee_disk_read_kb: i64,
    fee_historical_kb: i64,
    fee_events_kb: i64,
    fee_tx_kb: i64,
    fee_write_kb: i64,
    entry_bytes: u32,
    target_state_bytes: i64,
}

impl Profile {
    /// Most classic operations of a ledger.
    pub(crate) fn max_classic_operations(self) -> u32 {
        match self {
            Self::PublicNetwork | Self::TestNetwork => 1_000,
            Self::Unlimited => u32::MAX,
        }
    }

    /// How long contract entries live.
    pub(crate) fn lifetimes(self) -> Lifetimes {
        match self {
            Self::PublicNetwork | Self::Unlimited => Lifetimes::default(),
            Self::TestNetwork => Lifetimes::test_network(),
        }
    }

    fn values(self) -> Values {
        let ledger = LedgerLimits {
            transactions: 2_000,
            instructions: 580_000_000,
            clusters: 2,
            disk_read_entries: 1_000,
            disk_read_bytes: 400_000,
            write_entries: 1_000,
            write_bytes: 286_720,
            tx_bytes: 266_240,
        };
        let public = Values {
            transaction_factor: 1,
            ledger: Some(ledger),
            fee_instructions: 25,
            fee_disk_read_entry: 6_250,
            fee_write_entry: 10_000,
            fee_disk_read_kb: 1_786,
            fee_historical_kb: 16_235,
            fee_events_kb: 10_000,
            fee_tx_kb: 1_624,
            fee_write_kb: 3_500,
            entry_bytes: 131_072,
            target_state_bytes: 3_000_000_000,
        };
        match self {
            Self::PublicNetwork => public,
            Self::TestNetwork => Values {
                fee_instructions: 7,
                fee_disk_read_entry: 1_563,
                fee_write_entry: 2_500,
                fee_disk_read_kb: 447,
                fee_historical_kb: 4_059,
                fee_events_kb: 5_000,
                fee_tx_kb: 406,
                fee_write_kb: 875,
                entry_bytes: 65_536,
                target_state_bytes: 4_000_000_000,
                ..public
            },
            Self::Unlimited => Values { transaction_factor: 10, ledger: None, ..public },
        }
    }
}

impl Values {
    fn ledger(&self) -> LedgerLimits {
        self.ledger.unwrap_or(LedgerLimits {
            transactions: u32::MAX,
            // Above any sum of transactions, and within the 63 bits that the entry has.
            instructions: u64::from(u32::MAX) * 1_000_000,
            clusters: 2,
            disk_read_entries: u32::MAX,
            disk_read_bytes: u32::MAX,
            write_entries: u32::MAX,
            write_bytes: u32::MAX,
            tx_bytes: u32::MAX,
        })
    }
}

impl Default for Lifetimes {
    /// The public network's: one day, 120 days and 180 days at five seconds a ledger.
    fn default() -> Self {
        Self { min_temporary: 17_280, min_persistent: 2_073_600, max: 3_110_400 }
    }
}

impl Lifetimes {
    /// The test network's: one hour, a week and 180 days at five seconds a ledger.
    #[must_use]
    pub fn test_network() -> Self {
        Self { min_temporary: 720, min_persistent: 120_960, max: 3_110_400 }
    }
}

impl Settings {
    /// Reads the settings from the ledger.
    pub(crate) fn load(state: &Arc<LedgerState>) -> Result<Self, Internal> {
        let network = NetworkConfig::load_from_snapshot(&LedgerSource(state.clone()))
            .map_err(|error| Internal::Other(format!("configuration entries: {error:#}")))?;
        let mut limits = Limits::default();
        for stored in state.iter() {
            if let LedgerEntryData::ConfigSetting(setting) = &stored.entry.data {
                limits.read(setting);
            }
        }
        Ok(Self { network, limits })
    }

    /// What the host learns of the ledger a transaction runs in.
    pub(crate) fn ledger_info(
        &self,
        sequence: u32,
        timestamp: u64,
        network_id: [u8; 32],
    ) -> LedgerInfo {
        let mut info = LedgerInfo {
            protocol_version: PROTOCOL_VERSION,
            sequence_number: sequence,
            timestamp,
            network_id,
            base_reserve: BASE_RESERVE,
            ..LedgerInfo::default()
        };
        self.network.fill_config_fields_in_ledger_info(&mut info);
        info
    }

    /// A budget for a transaction that declared `instructions`.
    pub(crate) fn budget(&self, instructions: u32) -> Result<Budget, Internal> {
        self.limited_budget(u64::from(instructions), u64::from(self.network.tx_memory_limit))
    }

    /// A budget for work that no transaction pays for.
    pub(crate) fn unlimited_budget(&self) -> Result<Budget, Internal> {
        self.limited_budget(u64::MAX, u64::MAX)
    }

    fn limited_budget(&self, instructions: u64, memory: u64) -> Result<Budget, Internal> {
        Ok(Budget::try_from_configs(
            instructions,
            memory,
            self.network.cpu_cost_params.clone(),
            self.network.memory_cost_params.clone(),
        )?)
    }
}

impl Limits {
    fn read(&mut self, setting: &ConfigSettingEntry) {
        match setting {
            ConfigSettingEntry::ContractMaxSizeBytes(bytes) => self.contract_bytes = *bytes,
            ConfigSettingEntry::ContractDataKeySizeBytes(bytes) => self.key_bytes = *bytes,
            ConfigSettingEntry::ContractDataEntrySizeBytes(bytes) => self.entry_bytes = *bytes,
            ConfigSettingEntry::ContractComputeV0(compute) => {
                self.instructions = u32::try_from(compute.tx_max_instructions).unwrap_or(u32::MAX);
                self.ledger.instructions =
                    u64::try_from(compute.ledger_max_instructions).unwrap_or(u64::MAX);
            }
            ConfigSettingEntry::ContractLedgerCostV0(cost) => {
                self.disk_read_entries = cost.tx_max_disk_read_entries;
                self.disk_read_bytes = cost.tx_max_disk_read_bytes;
                self.write_entries = cost.tx_max_write_ledger_entries;
                self.write_bytes = cost.tx_max_write_bytes;
                self.ledger.disk_read_entries = cost.ledger_max_disk_read_entries;
                self.ledger.disk_read_bytes = cost.ledger_max_disk_read_bytes;
                self.ledger.write_entries = cost.ledger_max_write_ledger_entries;
                self.ledger.write_bytes = cost.ledger_max_write_bytes;
            }
            ConfigSettingEntry::ContractLedgerCostExtV0(cost) => {
                self.footprint_entries = cost.tx_max_footprint_entries;
            }
            ConfigSettingEntry::ContractBandwidthV0(bandwidth) => {
                self.tx_bytes = bandwidth.tx_max_size_bytes;
                self.ledger.tx_bytes = bandwidth.ledger_max_txs_size_bytes;
            }
            ConfigSettingEntry::ContractEventsV0(events) => {
                self.event_bytes = events.tx_max_contract_events_size_bytes;
            }
            ConfigSettingEntry::ContractExecutionLanes(lanes) => {
                self.ledger.transactions = lanes.ledger_max_tx_count;
            }
            ConfigSettingEntry::ContractParallelComputeV0(parallel) => {
                self.ledger.clusters = parallel.ledger_max_dependent_tx_clusters;
            }
            _ => {}
        }
    }
}

/// Writes the configuration entries of the first ledger.
pub(crate) fn write_settings(
    overlay: &mut Overlay<'_>,
    lifetimes: Lifetimes,
    profile: Profile,
) -> Result<(), Internal> {
    let values = profile.values();
    let (cpu, memory) = cost_params()?;
    let mut entries = vec![
        ConfigSettingEntry::ContractMaxSizeBytes(131_072),
        ConfigSettingEntry::ContractDataKeySizeBytes(250),
        ConfigSettingEntry::ContractDataEntrySizeBytes(values.entry_bytes),
        ConfigSettingEntry::ContractCostParamsCpuInstructions(cpu),
        ConfigSettingEntry::ContractCostParamsMemoryBytes(memory),
        ConfigSettingEntry::StateArchival(archival(lifetimes)),
        // The state of a local network is small, so that rent stays at the rate of an empty one.
        ConfigSettingEntry::LiveSorobanStateSizeWindow(vecm(vec![0; 30])?),
        ConfigSettingEntry::EvictionIterator(EvictionIterator {
            bucket_list_level: 7,
            is_curr_bucket: true,
            bucket_file_offset: 0,
        }),
        ConfigSettingEntry::FrozenLedgerKeys(FrozenLedgerKeys { keys: vecm(Vec::new())? }),
        ConfigSettingEntry::FreezeBypassTxs(FreezeBypassTxs { tx_hashes: vecm(Vec::new())? }),
    ];
    entries.extend(resources(&values));
    entries.extend(fees_and_lanes(&values));
    for setting in entries {
        overlay.put(wrap(LedgerEntryData::ConfigSetting(setting)), None);
    }
    Ok(())
}

fn archival(lifetimes: Lifetimes) -> StateArchivalSettings {
    StateArchivalSettings {
        max_entry_ttl: lifetimes.max,
        min_temporary_ttl: lifetimes.min_temporary,
        min_persistent_ttl: lifetimes.min_persistent,
        persistent_rent_rate_denominator: 1_215,
        temp_rent_rate_denominator: 2_430,
        max_entries_to_archive: 1_000,
        live_soroban_state_size_window_sample_size: 30,
        live_soroban_state_size_window_sample_period: 64,
        eviction_scan_size: 500_000,
        starting_eviction_scan_level: 7,
    }
}

fn resources(values: &Values) -> [ConfigSettingEntry; 3] {
    let (factor, ledger) = (values.transaction_factor, values.ledger());
    [
        ConfigSettingEntry::ContractComputeV0(ConfigSettingContractComputeV0 {
            ledger_max_instructions: i64::try_from(ledger.instructions).unwrap_or(i64::MAX),
            tx_max_instructions: 400_000_000 * i64::from(factor),
            fee_rate_per_instructions_increment: values.fee_instructions,
            tx_memory_limit: 41_943_040 * factor,
        }),
        ConfigSettingEntry::ContractLedgerCostV0(ConfigSettingContractLedgerCostV0 {
            ledger_max_disk_read_entries: ledger.disk_read_entries,
            ledger_max_disk_read_bytes: ledger.disk_read_bytes,
            ledger_max_write_ledger_entries: ledger.write_entries,
            ledger_max_write_bytes: ledger.write_bytes,
            tx_max_disk_read_entries: 200 * factor,
            tx_max_disk_read_bytes: 200_000 * factor,
            tx_max_write_ledger_entries: 200 * factor,
            tx_max_write_bytes: 132_096 * factor,
            fee_disk_read_ledger_entry: values.fee_disk_read_entry,
            fee_write_ledger_entry: values.fee_write_entry,
            fee_disk_read1_kb: values.fee_disk_read_kb,
            soroban_state_target_size_bytes: values.target_state_bytes,
            rent_fee1_kb_soroban_state_size_low: -17_000,
            rent_fee1_kb_soroban_state_size_high: 10_000,
            soroban_state_rent_fee_growth_factor: 5_000,
        }),
        ConfigSettingEntry::ContractLedgerCostExtV0(ConfigSettingContractLedgerCostExtV0 {
            tx_max_footprint_entries: 400 * factor,
            fee_write1_kb: values.fee_write_kb,
        }),
    ]
}

fn fees_and_lanes(values: &Values) -> [ConfigSettingEntry; 6] {
    let (factor, ledger) = (values.transaction_factor, values.ledger());
    [
        ConfigSettingEntry::ContractHistoricalDataV0(ConfigSettingContractHistoricalDataV0 {
            fee_historical1_kb: values.fee_historical_kb,
        }),
        ConfigSettingEntry::ContractEventsV0(ConfigSettingContractEventsV0 {
            tx_max_contract_events_size_bytes: 16_384 * factor,
            fee_contract_events1_kb: values.fee_events_kb,
        }),
        ConfigSettingEntry::ContractBandwidthV0(ConfigSettingContractBandwidthV0 {
            ledger_max_txs_size_bytes: ledger.tx_bytes,
            tx_max_size_bytes: 132_096 * factor,
            fee_tx_size1_kb: values.fee_tx_kb,
        }),
        ConfigSettingEntry::ContractExecutionLanes(ConfigSettingContractExecutionLanesV0 {
            ledger_max_tx_count: ledger.transactions,
        }),
        ConfigSettingEntry::ContractParallelComputeV0(ConfigSettingContractParallelComputeV0 {
            ledger_max_dependent_tx_clusters: ledger.clusters,
        }),
        ConfigSettingEntry::ScpTiming(ConfigSettingScpTiming {
            ledger_target_close_time_milliseconds: 5_000,
            nomination_timeout_initial_milliseconds: 1_000,
            nomination_timeout_increment_milliseconds: 1_000,
            ballot_timeout_initial_milliseconds: 1_000,
            ballot_timeout_increment_milliseconds: 1_000,
        }),
    ]
}
