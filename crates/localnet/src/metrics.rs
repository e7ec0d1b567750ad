//! What an invocation used, as stellar-core reports it in diagnostic events (`core_metrics`).

use soroban_env_host::xdr::{DiagnosticEvent, Error, LedgerKey, ScVal};

use crate::validate::diagnostic;
use crate::xdr;

/// What an invocation used; sizes in bytes.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) success: bool,
    pub(crate) ledger_read_bytes: u64,
    pub(crate) ledger_write_bytes: u64,
    /// Events and return value together.
    pub(crate) emitted_bytes: u64,
    pub(crate) instructions: u64,
    pub(crate) memory: u64,
    pub(crate) invoke_nanoseconds: u64,
    read_entries: u64,
    write_entries: u64,
    read_key_bytes: u64,
    write_key_bytes: u64,
    read_data_bytes: u64,
    write_data_bytes: u64,
    read_code_bytes: u64,
    write_code_bytes: u64,
    events: u64,
    largest_key: u64,
    largest_data: u64,
    largest_code: u64,
    largest_event: u64,
}

impl Metrics {
    /// Counts an entry that was read from disk, which live contract entries are not.
    pub(crate) fn read_from_disk(&mut self, key: &LedgerKey, size: u32) -> Result<(), Error> {
        let (key_size, size) = (u64::from(xdr::size(key)?), u64::from(size));
        self.read_entries += 1;
        self.read_key_bytes += key_size;
        self.ledger_read_bytes += size;
        self.largest_key = self.largest_key.max(key_size);
        if is_code(key) {
            self.read_code_bytes += size;
            self.largest_code = self.largest_code.max(size);
        } else {
            self.read_data_bytes += size;
            self.largest_data = self.largest_data.max(size);
        }
        Ok(())
    }

    /// Counts an entry that was written.
    pub(crate) fn write(&mut self, key: &LedgerKey, size: usize) -> Result<(), Error> {
        let key_size = u64::from(xdr::size(key)?);
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        self.write_entries += 1;
        self.write_key_bytes += key_size;
        self.ledger_write_bytes += size;
        self.largest_key = self.largest_key.max(key_size);
        if is_code(key) {
            self.write_code_bytes += size;
            self.largest_code = self.largest_code.max(size);
        } else {
            self.write_data_bytes += size;
            self.largest_data = self.largest_data.max(size);
        }
        Ok(())
    }

    /// Counts an event.
    pub(crate) fn emit(&mut self, size: usize) {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        self.events += 1;
        self.emitted_bytes += size;
        self.largest_event = self.largest_event.max(size);
    }

    /// The diagnostic events, in stellar-core's order.
    pub(crate) fn events(&self) -> Vec<DiagnosticEvent> {
        let values = [
            ("read_entry", self.read_entries),
            ("write_entry", self.write_entries),
            ("ledger_read_byte", self.ledger_read_bytes),
            ("ledger_write_byte", self.ledger_write_bytes),
            ("read_key_byte", self.read_key_bytes),
            ("write_key_byte", self.write_key_bytes),
            ("read_data_byte", self.read_data_bytes),
            ("write_data_byte", self.write_data_bytes),
            ("read_code_byte", self.read_code_bytes),
            ("write_code_byte", self.write_code_bytes),
            ("emit_event", self.events),
            ("emit_event_byte", self.emitted_bytes),
            ("cpu_insn", self.instructions),
            ("mem_byte", self.memory),
            ("invoke_time_nsecs", self.invoke_nanoseconds),
            ("max_rw_key_byte", self.largest_key),
            ("max_rw_data_byte", self.largest_data),
            ("max_rw_code_byte", self.largest_code),
            ("max_emit_event_byte", self.largest_event),
        ];
        let event = |(name, value)| {
            diagnostic(vec!["core_metrics", name], Vec::new(), ScVal::U64(value), self.success)
        };
        values.into_iter().map(event).collect()
    }
}

fn is_code(key: &LedgerKey) -> bool {
    matches!(key, LedgerKey::ContractCode(_))
}
