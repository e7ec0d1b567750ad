//! From wanted calls to a signed transaction that is neither stored nor sent.

use stellar::scval::Reader;
use stellar::tx::{self, PrepareRequest};
use stellar::{Call, ChainError, ContractError, ContractKind};
use stellar_xdr::ScVal;

use crate::chain::call::{SignedCall, WantedCall};
use crate::chain::calls::may_share;
use crate::chain::client::ChainClient;
use crate::chain::fees::Exceeded;
use crate::chain::outcomes::{self, Follow, Shortage};
use crate::chain::store::ChannelLease;
use crate::chain::transaction::{Kind, Transaction, TransactionState};
use crate::crash;
use crate::error::Result;

/// A transaction with its calls, signed in memory.
#[derive(Debug)]
pub struct Batch {
    /// The transaction.
    pub transaction: Transaction,
    /// Its calls, in their order.
    pub members: Vec<SignedCall>,
}

/// When calls are signed, and until when they may land.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The deadline of openings, Unix seconds of ledger time.
    pub deadline: u64,
    /// The transaction's last moment.
    pub max_time: u64,
}

/// Why nothing was signed.
#[derive(Debug)]
pub enum NotSigned {
    /// The vault refuses the calls at these places. The others may be signed without them.
    Refused(Vec<(usize, ContractError)>),
    /// One of several calls may be the reason: each goes in smaller company.
    Split(String),
    /// These may not go together with others.
    Alone(Vec<usize>),
    /// A ceiling of what runs or days may cost stops these runs; the others may be signed.
    Ceiling(Exceeded),
    /// Something is lacking.
    Wait(Shortage, String),
    /// A defect: a person has to look.
    Operator(String),
}

impl ChainClient {
    /// Signs a transaction that carries these calls, all of one kind.
    ///
    /// # Errors
    ///
    /// When a kept value cannot be used. That the network or the vault does not let them be signed
    /// is no error.
    pub async fn prepare(
        &self,
        channel: &ChannelLease,
        kind: Kind,
        calls: &[WantedCall],
        times: Times,
    ) -> Result<Result<Batch, NotSigned>> {
        if calls.len() > 1 {
            let alone: Vec<usize> = places(calls, |call| !may_share(call));
            if !alone.is_empty() {
                return Ok(Err(NotSigned::Alone(alone)));
            }
        }
        let members = self.to_sign(calls, times.deadline)?;
        let call = Call::from(self.invocation(calls, &members, times.max_time)?);
        let source = self.channel_key(channel)?;
        let request = PrepareRequest {
            network: &self.network,
            source: source.signer(),
            call: &call,
            signers: &[self.runner.signer()],
            max_time_unix: times.max_time,
            auth_valid_ledgers: tx::AUTH_LEDGERS,
            // Above it nothing is signed, so nothing has to be proven afterwards.
            fee_ceiling: self.fees.transaction,
        };
        let prepared = match tx::prepare(&self.rpc, &request).await {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(not_signed(kind, calls.len(), &error))),
        };
        // What the vault would refuse now is left out: it would only take room and money.
        if let Some(refused) = refused(calls.len(), &prepared.simulated) {
            return Ok(Err(NotSigned::Refused(refused)));
        }
        self.crash_point(kind, "before_persist");
        let transaction = Transaction {
            id: 0,
            hash: prepared.hash,
            kind,
            source: channel.account.clone(),
            sequence: prepared.sequence,
            max_time: prepared.max_time,
            signed_ledger: prepared.ledger,
            envelope: prepared.envelope,
            max_fee: prepared.fee,
            state: TransactionState::Prepared,
            last_answer: None,
            contract_error: None,
            landed: None,
        };
        Ok(Ok(Batch { transaction, members }))
    }

    /// Dies at the crash point of this kind and place, if it is armed.
    pub(crate) fn crash_point(&self, kind: Kind, place: &str) {
        crash::point(&format!("{kind}.{place}"));
    }
}

fn places(calls: &[WantedCall], holds: impl Fn(&WantedCall) -> bool) -> Vec<usize> {
    let found = calls.iter().enumerate().filter(|(_, call)| holds(call));
    found.map(|(place, _)| place).collect()
}

/// The places of a batch that the simulation refuses, with the errors; `None` if there are none.
fn refused(together: usize, simulated: &ScVal) -> Option<Vec<(usize, ContractError)>> {
    if together < 2 {
        return None;
    }
    let codes = codes(simulated)?;
    let errors = codes.into_iter().enumerate().filter(|(_, code)| *code != 0);
    let refused: Vec<_> = errors
        .map(|(place, code)| (place, ContractError::new(ContractKind::Vault, code)))
        .collect();
    (!refused.is_empty()).then_some(refused)
}

/// What a batch answers: a code for each call, 0 if it is done.
pub(super) fn codes(value: &ScVal) -> Option<Vec<u32>> {
    let items = Reader::new("codes of a batch", value).items().ok()?;
    items.into_iter().map(|item| item.u32().ok()).collect()
}

/// What follows from a transaction that could not be prepared; nothing was signed.
fn not_signed(kind: Kind, together: usize, error: &ChainError) -> NotSigned {
    let words = error.to_string();
    let follow = outcomes::preparation(kind, error);
    // What the network or the operator lacks is lacking for each of them; everything else, the fee
    // of a large transaction too, may be one call's doing.
    let common = matches!(error, ChainError::Rpc(_) | ChainError::Decode { .. })
        || matches!(error, ChainError::Invalid(_) | ChainError::Signer { .. });
    if together > 1 && !common {
        return NotSigned::Split(words);
    }
    match (follow, error.contract()) {
        (Follow::Wait(shortage), _) => NotSigned::Wait(shortage, words),
        (_, Some(error)) => NotSigned::Refused(vec![(0, error.clone())]),
        // The other answers are only ever a contract's; without one, nothing is known.
        (_, None) => NotSigned::Operator(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_split_for_what_one_call_may_cause_and_waits_for_what_all_lack() {
        let fee = ChainError::FeeCeiling { function: "f".into(), needed: 2, ceiling: 1 };
        assert!(matches!(not_signed(Kind::Open, 2, &fee), NotSigned::Split(_)));
        assert!(matches!(not_signed(Kind::Open, 1, &fee), NotSigned::Wait(Shortage::Fee, _)));
        let host = ChainError::Simulation { function: "f".into(), reason: "r".into() };
        assert!(matches!(not_signed(Kind::Finalize, 2, &host), NotSigned::Split(_)));
        let money = ChainError::Invalid("the account does not exist".into());
        assert!(matches!(not_signed(Kind::Open, 9, &money), NotSigned::Wait(Shortage::Money, _)));
        let away = ChainError::Signer { account: "G".into(), reason: "away".into() };
        let waits = not_signed(Kind::Finalize, 9, &away);
        assert!(matches!(waits, NotSigned::Wait(Shortage::Signer, _)));
    }
}
