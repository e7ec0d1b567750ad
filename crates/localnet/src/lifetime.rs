//! `ExtendFootprintTtl` and `RestoreFootprint`.

use soroban_env_host::e2e_invoke::entry_size_for_rent;
use soroban_env_host::fees::{LedgerEntryRentChange, compute_rent_fee};
use soroban_env_host::xdr::{
    ExtendFootprintTtlOp, ExtendFootprintTtlResult, LedgerKey, RestoreFootprintResult, ScError,
    ScErrorCode, ScVal,
};

use crate::error::Internal;
use crate::invoke::{
    Effects, Environment, READ_TOO_MUCH, RENT_UNPAID, WROTE_TOO_MUCH, restored_until,
};
use crate::state::{Lookup, Overlay, Stored, is_persistent};
use crate::validate::error_event;
use crate::xdr;

/// More than is allowed, in stellar-core's words.
struct Excess {
    text: &'static str,
    used: u64,
    allowed: u64,
}

/// Extends the time to live of the live entries in the footprint; archived ones are passed over.
pub(crate) fn extend(
    op: &ExtendFootprintTtlOp,
    environment: &Environment<'_>,
    overlay: &mut Overlay<'_>,
) -> Result<(ExtendFootprintTtlResult, Effects), Internal> {
    let sequence = environment.context.sequence;
    let live_until = sequence.saturating_add(op.extend_to);
    let mut rent = Vec::new();
    let mut extended = Vec::new();
    for key in environment.data.resources.footprint.read_only.iter() {
        let Some(stored) = overlay.get(key) else { continue };
        let Some(before) = stored.live_until else { continue };
        if before < sequence || before >= live_until {
            continue;
        }
        let size = rent_size(&stored, environment)?;
        rent.push(rent_change(key, (size, before), (size, live_until)));
        extended.push(key);
    }

    // All or nothing: the whole rent is covered before the first entry is extended.
    let effects = match charge(&rent, environment) {
        Ok(effects) => effects,
        Err(unpaid) => {
            return Ok((ExtendFootprintTtlResult::InsufficientRefundableFee, unpaid.explained()));
        }
    };
    for key in extended {
        overlay.put_live_until(key, live_until);
    }
    Ok((ExtendFootprintTtlResult::Success, effects))
}

/// Brings archived entries back to life; live ones are passed over.
pub(crate) fn restore(
    environment: &Environment<'_>,
    overlay: &mut Overlay<'_>,
) -> Result<(RestoreFootprintResult, Effects), Internal> {
    let resources = &environment.data.resources;
    let live_until = restored_until(environment.context)?;
    let (mut rent, mut restored, mut bytes) = (Vec::new(), Vec::new(), 0_u32);
    for key in resources.footprint.read_write.iter() {
        let Some(stored) = overlay.get(key) else { continue };
        if stored.live_until.is_none_or(|ledger| ledger >= environment.context.sequence) {
            continue;
        }
        bytes = bytes.saturating_add(xdr::size(&stored.entry)?);

        // Restoring reads from disk and writes back, so that both declared amounts have to cover
        // it. stellar-core names the sum up to the entry that passes one of them.
        for (text, declared) in
            [(READ_TOO_MUCH, resources.disk_read_bytes), (WROTE_TOO_MUCH, resources.write_bytes)]
        {
            if bytes > declared {
                let excess = Excess { text, used: bytes.into(), allowed: declared.into() };
                return Ok((RestoreFootprintResult::ResourceLimitExceeded, excess.explained()));
            }
        }
        let size = rent_size(&stored, environment)?;

        // From no size and no life, so that the whole new life is charged.
        rent.push(rent_change(key, (0, 0), (size, live_until)));
        restored.push(stored);
    }

    // All or nothing: the whole rent is covered before the first entry is restored.
    let effects = match charge(&rent, environment) {
        Ok(effects) => effects,
        Err(unpaid) => {
            return Ok((RestoreFootprintResult::InsufficientRefundableFee, unpaid.explained()));
        }
    };
    for stored in restored {
        overlay.restore(stored.entry.clone(), live_until);
    }
    Ok((RestoreFootprintResult::Success, effects))
}

fn rent_size(stored: &Stored, environment: &Environment<'_>) -> Result<u32, Internal> {
    // On a budget of its own: measuring is no work of the transaction.
    let budget = environment.context.settings.unlimited_budget()?;
    Ok(entry_size_for_rent(&budget, &stored.entry, xdr::size(&stored.entry)?)?)
}

/// A rent change from and to (size in bytes, last live ledger).
fn rent_change(key: &LedgerKey, before: (u32, u32), after: (u32, u32)) -> LedgerEntryRentChange {
    LedgerEntryRentChange {
        is_persistent: is_persistent(key),
        is_code_entry: matches!(key, LedgerKey::ContractCode(_)),
        old_size_bytes: before.0,
        new_size_bytes: after.0,
        old_live_until_ledger: before.1,
        new_live_until_ledger: after.1,
    }
}

/// The rent as effects, if it is not more than the transaction set aside.
fn charge(
    rent: &[LedgerEntryRentChange],
    environment: &Environment<'_>,
) -> Result<Effects, Excess> {
    let context = environment.context;
    let fees = &context.settings.network.rent_fee_configuration;
    let rent_fee = compute_rent_fee(rent, fees, context.sequence);
    if rent_fee > environment.max_refundable {
        let unsigned = |fee: i64| u64::try_from(fee).unwrap_or(0);
        let (used, allowed) = (unsigned(rent_fee), unsigned(environment.max_refundable));
        return Err(Excess { text: RENT_UNPAID, used, allowed });
    }
    Ok(Effects { rent_fee, refundable_fee: rent_fee, ..Effects::default() })
}

impl Excess {
    /// What a refused operation leaves behind: the event that explains why.
    fn explained(self) -> Effects {
        let error = ScError::Budget(ScErrorCode::ExceededLimit);
        let values = vec![ScVal::U64(self.used), ScVal::U64(self.allowed)];
        let diagnostics = vec![error_event(error, self.text, values)];
        Effects { diagnostics, ..Effects::default() }
    }
}
