//! A ledger in memory that runs calls as the network does, with real signatures, and says what each
//! costs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context as _, Result, anyhow, ensure};
use soroban_env_host::e2e_invoke::{
    InvokeHostFunctionRecordingModeResult as Recorded, LedgerEntryChange,
    RecordingInvocationAuthMode, extract_rent_changes, invoke_host_function_in_recording_mode,
};
use soroban_env_host::fees::{
    TransactionResources, compute_rent_fee, compute_transaction_resource_fee,
};
use soroban_env_host::storage::{EntryWithLiveUntil, SnapshotSource};
use soroban_env_host::xdr::{
    AccountEntry, AccountEntryExt, ContractDataDurability, LedgerEntry, LedgerEntryData,
    LedgerEntryExt, LedgerKey, LedgerKeyAccount, ScVal, SequenceNumber, SorobanAuthorizationEntry,
    String32, Thresholds,
};
use soroban_env_host::{HostError, LedgerInfo};
use stellar::{Address, Call, Keypair, Network};
use stellar_xdr::{Limits, ReadXdr as _, WriteXdr as _};

use crate::envelope;
use crate::settings::Settings;

/// What the network asks of every transaction for being included, in stroops, when there is no
/// rush.
const INCLUSION: i64 = 100;
/// Where the ledger's numbers begin: late enough that lives can lie before it.
const FIRST_LEDGER: u32 = 60_000_000;
/// Protocol 30.
const PROTOCOL: u32 = 30;

/// What one transaction used and costs. Fees in stroops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Instructions of the host.
    pub instructions: u32,
    /// Entries named, code and instances included.
    pub entries_read: u32,
    /// Bytes of those that exist, without code, which the network keeps in memory.
    pub bytes_read: u32,
    /// Entries that may be written.
    pub entries_written: u32,
    /// Bytes written.
    pub bytes_written: u32,
    /// Bytes of events and return value.
    pub event_bytes: u32,
    /// Bytes of the signed envelope.
    pub transaction_bytes: u32,
    /// Everything but rent: resources, events, inclusion.
    pub fee: i64,
    /// Rent.
    pub rent: i64,
    /// Rent if run records were persistent entries, which the network makes live 120 days at least.
    pub rent_persistent: i64,
    /// Largest entry that was written, in bytes.
    pub largest_entry: u32,
    /// Instructions that the client declares, with its margin.
    pub declared_instructions: u32,
    /// Bytes written that the client declares, with its margin.
    pub declared_bytes_written: u32,
}

struct Stored {
    entry: Rc<LedgerEntry>,
    live_until: Option<u32>,
}

/// The ledger.
pub struct Ledger {
    /// The network's settings.
    pub settings: Settings,
    /// The network that signatures bind to.
    pub network: Network,
    entries: Rc<RefCell<BTreeMap<LedgerKey, Stored>>>,
    keys: Vec<Keypair>,
    sequence: u32,
    time: u64,
    /// Counts transactions: each draws its nonces from a seed of its own.
    transactions: u64,
}

struct LedgerSource {
    entries: Rc<RefCell<BTreeMap<LedgerKey, Stored>>>,
    sequence: u32,
}

impl SnapshotSource for LedgerSource {
    fn get(&self, key: &Rc<LedgerKey>) -> Result<Option<EntryWithLiveUntil>, HostError> {
        let entries = self.entries.borrow();
        let found = entries.get(key.as_ref()).filter(|stored| {
            let dead = stored.live_until.is_some_and(|last| last < self.sequence);
            !(dead && is_temporary(key))
        });
        Ok(found.map(|stored| (stored.entry.clone(), stored.live_until)))
    }
}

impl Ledger {
    /// An empty ledger at `time`, Unix seconds.
    ///
    /// # Errors
    ///
    /// When the settings cannot be read.
    pub fn new(time: u64) -> Result<Self> {
        Ok(Self {
            settings: Settings::mainnet()?,
            network: Network::new("Public Global Stellar Network ; September 2015"),
            entries: Rc::default(),
            keys: Vec::new(),
            sequence: FIRST_LEDGER,
            time,
            transactions: 0,
        })
    }

    /// Ledger time, Unix seconds.
    pub const fn time(&self) -> u64 {
        self.time
    }

    /// Lets time go by, in ledgers of five seconds.
    pub fn pass(&mut self, seconds: u64) {
        self.time += seconds;
        self.sequence += u32::try_from(seconds / 5).unwrap_or(u32::MAX);
    }

    /// A funded account whose key signs what is asked of it.
    ///
    /// # Errors
    ///
    /// Never in practice: an account has an id.
    pub fn account(&mut self, name: &str) -> Result<Address> {
        let key = Keypair::from_seed(wire::Digest::of(name.as_bytes()).as_bytes());
        let address = key.address();
        let account = AccountEntry {
            account_id: address.account_id()?,
            balance: 1_000_000_000_000,
            seq_num: SequenceNumber(1),
            num_sub_entries: 0,
            inflation_dest: None,
            flags: 0,
            home_domain: String32::default(),
            thresholds: Thresholds([1, 0, 0, 0]),
            signers: Vec::new().try_into()?,
            ext: AccountEntryExt::V0,
        };
        let entry = LedgerEntry {
            last_modified_ledger_seq: self.sequence,
            data: LedgerEntryData::Account(account),
            ext: LedgerEntryExt::V0,
        };
        let key_of = LedgerKey::Account(LedgerKeyAccount { account_id: address.account_id()? });
        let stored = Stored { entry: Rc::new(entry), live_until: None };
        self.entries.borrow_mut().insert(key_of, stored);
        self.keys.push(key);
        Ok(address)
    }

    /// Runs the call as a transaction of `source`, keeps what it did, and says what it answered and
    /// cost.
    ///
    /// # Errors
    ///
    /// When the call fails, or passes a limit of the network.
    pub fn apply(&mut self, source: Address, call: &Call) -> Result<(ScVal, Cost)> {
        self.transactions += 1;
        let recording = RecordingInvocationAuthMode::recording(true, true);
        let recorded = self.invoke(source, call, recording)?;
        let auth = self.signed(&recorded.auth)?;
        let enforcing = RecordingInvocationAuthMode::Enforcing(auth.clone());
        let mut done = self.invoke(source, call, enforcing)?;
        let value = done.invoke_result.clone();
        let value = value.map_err(|error| anyhow!("{}: {error:?}", call.name()))?;
        let cost = self.cost(source, call, auth, &mut done)?;
        self.keep(&done.ledger_changes)?;
        self.check(call, &cost)?;
        Ok((value, cost))
    }

    fn invoke(
        &self,
        source: Address,
        call: &Call,
        auth: RecordingInvocationAuthMode,
    ) -> Result<Recorded> {
        let mut info = LedgerInfo {
            protocol_version: PROTOCOL,
            sequence_number: self.sequence,
            timestamp: self.time,
            network_id: *self.network.id().as_bytes(),
            base_reserve: 5_000_000,
            ..LedgerInfo::default()
        };
        self.settings.network.fill_config_fields_in_ledger_info(&mut info);
        let snapshot = LedgerSource { entries: self.entries.clone(), sequence: self.sequence };
        let done = invoke_host_function_in_recording_mode(
            &self.settings.budget()?,
            false,
            &call.to_xdr()?,
            &source.account_id()?,
            auth,
            info,
            Rc::new(snapshot),
            *wire::Digest::of(&self.transactions.to_be_bytes()).as_bytes(),
            &mut Vec::new(),
        )
        .map_err(|error| anyhow!("{}: {error:?}", call.name()))?;
        match &done.invoke_result {
            Ok(_) => Ok(done),
            Err(error) => Err(anyhow!("{}: {error:?}", call.name())),
        }
    }

    fn signed(
        &self,
        asked: &[SorobanAuthorizationEntry],
    ) -> Result<Vec<SorobanAuthorizationEntry>> {
        let until = self.sequence + stellar::tx::AUTH_LEDGERS;
        let sign = |entry| envelope::sign(&self.keys, &self.network, entry, until);
        asked.iter().map(sign).collect()
    }

    fn cost(
        &self,
        source: Address,
        call: &Call,
        auth: Vec<SorobanAuthorizationEntry>,
        done: &mut Recorded,
    ) -> Result<Cost> {
        let resources = &done.resources;
        let footprint = &resources.footprint;
        let named = || footprint.read_only.iter().chain(footprint.read_write.iter());
        let on_disk = named().filter(|key| !has_lifetime(key)).count();
        let transaction_bytes = envelope::size(source, call, auth, resources)?;
        let used = TransactionResources {
            instructions: resources.instructions,
            disk_read_entries: u32::try_from(on_disk)?,
            write_entries: u32::try_from(footprint.read_write.len())?,
            disk_read_bytes: resources.disk_read_bytes,
            write_bytes: resources.write_bytes,
            contract_events_size_bytes: done.contract_events_and_return_value_size,
            transaction_size_bytes: transaction_bytes,
        };
        let declared = stellar::tx::declared(resources);
        let fees = &self.settings.network.fee_configuration;
        let (fixed, events) = compute_transaction_resource_fee(&used, fees);
        let written =
            done.ledger_changes.iter().filter_map(|change| change.encoded_new_value.as_ref());
        let largest = written.map(Vec::len).max().unwrap_or(0);
        let mut cost = Cost {
            instructions: used.instructions,
            entries_read: u32::try_from(named().count())?,
            bytes_read: self.bytes_of(named()),
            entries_written: used.write_entries,
            bytes_written: used.write_bytes,
            event_bytes: used.contract_events_size_bytes,
            transaction_bytes,
            fee: fixed + events + INCLUSION,
            rent: self.rent(&done.ledger_changes),
            rent_persistent: 0,
            largest_entry: u32::try_from(largest)?,
            declared_instructions: declared.instructions,
            declared_bytes_written: declared.write_bytes,
        };
        let kept: Vec<_> =
            done.ledger_changes.iter().map(|change| change.ttl_change.clone()).collect();
        self.make_runs_persistent(&mut done.ledger_changes)?;
        cost.rent_persistent = self.rent(&done.ledger_changes);
        for (change, ttl_change) in done.ledger_changes.iter_mut().zip(kept) {
            change.ttl_change = ttl_change;
        }
        Ok(cost)
    }

    fn rent(&self, changes: &[LedgerEntryChange]) -> i64 {
        let prices = &self.settings.network.rent_fee_configuration;
        compute_rent_fee(&extract_rent_changes(changes), prices, self.sequence)
    }

    /// The same changes with run records as persistent entries: a new one lives as long as the
    /// network makes any persistent entry live, an old one has what is left of that (it was opened
    /// in this same ledger).
    fn make_runs_persistent(&self, changes: &mut [LedgerEntryChange]) -> Result<()> {
        let last = self.sequence + self.settings.network.min_persistent_entry_ttl - 1;
        for change in changes {
            let key = LedgerKey::from_xdr(&change.encoded_key, Limits::none())?;
            let Some(ttl) = &mut change.ttl_change else { continue };
            if !is_run(&key) {
                continue;
            }
            ttl.durability = ContractDataDurability::Persistent;
            if ttl.old_live_until_ledger != 0 {
                ttl.old_live_until_ledger = last;
            }
            ttl.new_live_until_ledger = last;
        }
        Ok(())
    }

    fn bytes_of<'a>(&self, keys: impl Iterator<Item = &'a LedgerKey>) -> u32 {
        let entries = self.entries.borrow();
        let data = keys.filter(|key| !matches!(key, LedgerKey::ContractCode(_)));
        let sizes = data.filter_map(|key| entries.get(key)?.entry.to_xdr(Limits::none()).ok());
        sizes.map(|bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX)).sum()
    }

    fn keep(&mut self, changes: &[LedgerEntryChange]) -> Result<()> {
        let mut entries = self.entries.borrow_mut();
        for change in changes {
            let key = LedgerKey::from_xdr(&change.encoded_key, Limits::none())?;
            let live_until = change.ttl_change.as_ref().map(|ttl| ttl.new_live_until_ledger);
            match (&change.encoded_new_value, change.read_only) {
                (Some(value), false) => {
                    let entry = LedgerEntry::from_xdr(value, Limits::none())?;
                    entries.insert(key, Stored { entry: Rc::new(entry), live_until });
                }
                (None, false) => {
                    entries.remove(&key);
                }
                (_, true) => {
                    if let Some(stored) = entries.get_mut(&key) {
                        stored.live_until = live_until;
                    }
                }
            }
        }
        Ok(())
    }

    fn check(&self, call: &Call, cost: &Cost) -> Result<()> {
        let limits = &self.settings.limits;
        let mut checks = vec![
            ("instructions", cost.instructions, limits.instructions),
            ("entries named", cost.entries_read, limits.footprint_entries),
            ("entries written", cost.entries_written, limits.write_entries),
            ("bytes of events", cost.event_bytes, limits.event_bytes),
            ("bytes of the transaction", cost.transaction_bytes, limits.transaction_bytes),
        ];
        if matches!(call, Call::Invoke(_)) {
            checks.push(("bytes written", cost.bytes_written, limits.write_bytes));
            checks.push(("bytes of an entry", cost.largest_entry, limits.entry_bytes));
        }
        for (what, used, limit) in checks {
            ensure!(used <= limit, "{}: {used} {what}, the network takes {limit}", call.name());
        }
        Ok(())
    }

    /// The entry of a contract under this key, as XDR bytes.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn entry_bytes(&self, key: &LedgerKey) -> Result<Vec<u8>> {
        let entries = self.entries.borrow();
        let stored = entries.get(key).context("no such entry")?;
        let LedgerEntryData::ContractData(data) = &stored.entry.data else {
            return Err(anyhow!("no data of a contract"));
        };
        Ok(data.val.to_xdr(Limits::none())?)
    }
}

fn has_lifetime(key: &LedgerKey) -> bool {
    matches!(key, LedgerKey::ContractData(_) | LedgerKey::ContractCode(_))
}

fn is_temporary(key: &LedgerKey) -> bool {
    matches!(
        key,
        LedgerKey::ContractData(data) if data.durability == ContractDataDurability::Temporary
    )
}

/// The key of a run's record: its id, temporary.
fn is_run(key: &LedgerKey) -> bool {
    let LedgerKey::ContractData(data) = key else { return false };
    is_temporary(key) && matches!(data.key, ScVal::Bytes(_))
}
