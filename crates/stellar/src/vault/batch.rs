//! Many runs in one call (V9).

use stellar_xdr::ScVal;

use super::calls::{Finalize, Open, Vault};
use super::terms::usage_to;
use crate::{Address, ChainError, Invocation, scval};

/// Most runs that one call opens; what limits it is the size of events.
pub const MOST_OPENS: usize = 11;
/// Most runs that one call settles.
pub const MOST_SETTLEMENTS: usize = 16;

impl Vault {
    /// Opens runs in order. Answers a vector with 0 for each that is open now, else its error's number. The
    /// items' own `caller` and `valid_until` do not count: the batch states them once.
    ///
    /// # Errors
    ///
    /// Only when a value does not fit its XDR form.
    pub fn open_runs(
        &self,
        caller: Address,
        valid_until: u64,
        runs: &[Open],
    ) -> Result<Invocation, ChainError> {
        let runs = scval::vec(runs.iter().map(open_run).collect::<Result<_, _>>()?)?;
        Ok(self.call("open_runs", vec![caller.to_val(), ScVal::U64(valid_until), runs]))
    }

    /// Settles runs in order. Answers a vector with 0 for each that is settled so, else its error's number. The
    /// items' own `runner` and `valid_until` do not count: the batch states them once.
    ///
    /// # Errors
    ///
    /// Only when a value does not fit its XDR form.
    pub fn finalize_runs(
        &self,
        runner: Address,
        valid_until: u64,
        settlements: &[Finalize],
    ) -> Result<Invocation, ChainError> {
        let items = scval::vec(settlements.iter().map(settlement).collect::<Result<_, _>>()?)?;
        Ok(self.call("finalize_runs", vec![runner.to_val(), ScVal::U64(valid_until), items]))
    }
}

fn open_run(open: &Open) -> Result<ScVal, ChainError> {
    scval::map([
        ("user", open.user.to_val()),
        ("agent_id", ScVal::U32(open.agent_id)),
        ("rate_version", ScVal::U32(open.rate_version)),
        ("budgets", usage_to(&open.budgets)?),
        ("nonce", scval::bytes(open.terms.nonce.as_bytes())?),
        ("max_charge", scval::i128(open.terms.max_charge)),
        ("runner_fee", scval::i128(open.terms.runner_fee)),
        ("deadline", ScVal::U64(open.terms.deadline)),
        ("request_hash", scval::bytes(open.terms.request_hash.as_bytes())?),
    ])
}

fn settlement(finalize: &Finalize) -> Result<ScVal, ChainError> {
    scval::map([
        ("run_id", scval::bytes(finalize.run_id.as_bytes())?),
        ("terms", finalize.terms.to_val()?),
        ("usage", usage_to(&finalize.usage)?),
        ("output_hash", scval::bytes(finalize.output_hash.as_bytes())?),
    ])
}
