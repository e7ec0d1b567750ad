//! Many runs in one call (V9, V18).

use stellar_xdr::ScVal;
use wire::Digest;

use super::calls::{Finalize, Open, Vault};
use super::terms::{Head, meters_to};
use crate::{Address, ChainError, Invocation, scval};

/// Most runs that one call opens; what limits it is the size of events.
pub const MOST_OPENS: usize = 17;
/// Most runs that one call settles.
pub const MOST_SETTLEMENTS: usize = 25;

impl Vault {
    /// Opens runs in order, each under the head beside it. Answers a vector with 0 for each that is
    /// open now, else its error's number. The items' own `caller`, `valid_until` and highest charge
    /// do not count: the batch states the first two once, and its heads the prices.
    ///
    /// # Errors
    ///
    /// When a value does not fit its XDR form, or the vault's bounds (V19).
    pub fn open_runs(
        &self,
        caller: Address,
        valid_until: u64,
        runs: &[(Head, Open)],
    ) -> Result<Invocation, ChainError> {
        let mut heads = Heads::default();
        let mut items = Vec::with_capacity(runs.len());
        for (head, open) in runs {
            items.push(scval::vec(vec![
                ScVal::U32(heads.place(head)),
                open.user.to_val(),
                meters_to(&open.budgets)?,
                scval::bytes(open.terms.nonce.as_bytes())?,
                ScVal::U64(narrow("the fee", open.terms.runner_fee)?),
                ScVal::U64(open.terms.deadline),
                scval::bytes(open.terms.request_hash.as_bytes())?,
            ])?);
        }
        self.batch("open_runs", caller, valid_until, &heads, items)
    }

    /// Settles runs in order. Answers a vector with 0 for each that is settled so, else its error's
    /// number; a wrong signature of an attester fails the whole call, so verify each first. The
    /// items' own `runner` and `valid_until` do not count: the batch states them once.
    ///
    /// # Errors
    ///
    /// As [`Vault::open_runs`].
    pub fn finalize_runs(
        &self,
        runner: Address,
        valid_until: u64,
        settlements: &[Finalize],
    ) -> Result<Invocation, ChainError> {
        let mut heads = Heads::default();
        let mut items = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            let terms = &settlement.terms;
            let (attester, signature) = settlement.attestation_vals()?;
            items.push(scval::vec(vec![
                ScVal::U32(heads.place(&terms.head())),
                scval::bytes(settlement.run_id.as_bytes())?,
                meters_to(&terms.budgets)?,
                ScVal::U64(terms.opened_at),
                scval::bytes(terms.request_hash.as_bytes())?,
                meters_to(&settlement.usage)?,
                scval::bytes(settlement.output_hash.as_bytes())?,
                attester,
                signature,
            ])?);
        }
        self.batch("finalize_runs", runner, valid_until, &heads, items)
    }

    /// A batch's signer authorises SHA-256 of the XDR of everything in it, computed here.
    fn batch(
        &self,
        function: &'static str,
        caller: Address,
        valid_until: u64,
        heads: &Heads,
        items: Vec<ScVal>,
    ) -> Result<Invocation, ChainError> {
        let heads = heads.0.iter().map(Head::to_val).collect::<Result<_, _>>()?;
        // The contract digests the arguments that it was called with, so they are digested as
        // passed.
        let args =
            vec![caller.to_val(), ScVal::U64(valid_until), scval::vec(heads)?, scval::vec(items)?];
        let digest = Digest::of(&scval::to_xdr(&scval::vec(args.clone())?)?);
        let mut call = self.call(function, args);
        call.authorizes = Some(vec![scval::bytes(digest.as_bytes())?]);
        Ok(call)
    }
}

/// The heads of a batch, each once.
#[derive(Default)]
struct Heads(Vec<Head>);

impl Heads {
    fn place(&mut self, head: &Head) -> u32 {
        // A batch has 25 items at most: a search is cheaper than an index.
        let at = self.0.iter().position(|known| known == head).unwrap_or_else(|| {
            self.0.push(head.clone());
            self.0.len() - 1
        });
        // Not reached within a batch's limits; the vault refuses an index that names no head.
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

fn narrow(what: &str, amount: i128) -> Result<u64, ChainError> {
    u64::try_from(amount)
        .map_err(|_| ChainError::invalid(format!("{what} is {amount}, expected 0 to 2^63 - 1")))
}
