//! A user's receipts, from the vault's events as they were followed: what was charged can be shown
//! after every node has forgotten it. This list need not be believed: its texts lead to the running
//! hash that the vault holds, or it is not the list.

use chassis::postgres::in_time;
use futures::TryStreamExt as _;
use serde::Deserialize;
use sqlx::PgPool;
use stellar::Address;
use stellar::rpc::SeenEvent;
use stellar::vault::{RunFinalized, RunOpened};
use time::OffsetDateTime;
use wire::receipts::{RECEIPTS_KIND, ReceiptText, ReceiptsDocument};
use wire::{Digest, Problem, TxHash};

use crate::error::{Error, Result};
use crate::gateway::answers::PAGE_BYTES;
use crate::gateway::summary::About;

/// Receipts in one answer at most.
const MOST: i64 = 1_000;
/// Bytes of a receipt beside its text, about: its number, its hash, their names.
const RECEIPT_BYTES: usize = 128;

/// Which receipts are asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReceiptsQuery {
    /// Those before the receipt with this number; the newest if absent.
    #[param(value_type = Option<i64>, minimum = 2)]
    pub before: Option<String>,
}

/// A settlement, with the opening of the same run if that was seen.
struct Row {
    tx_hash: Vec<u8>,
    ledger: i64,
    closed_at: OffsetDateTime,
    settled: String,
    opened: Option<String>,
}

impl ReceiptsQuery {
    /// The number before which receipts are asked for.
    ///
    /// # Errors
    ///
    /// [`Problem::InvalidRequest`].
    pub fn before(&self) -> Result<Option<i64>> {
        let number = self.before.as_deref().map(|text| {
            let number = text.parse().ok().filter(|number| *number >= 2);
            let expected = "before: expected the number of a receipt, from 2";
            number.ok_or_else(|| Error::refused(Problem::InvalidRequest, expected))
        });
        number.transpose()
    }
}

/// The newest receipts of `user` without a gap, at most a thousand and about [`PAGE_BYTES`]: those whose texts can be made
/// from events that were followed.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn list(
    db: &PgPool,
    about: &About,
    user: &str,
    until: Option<i64>,
) -> Result<ReceiptsDocument> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT f.tx_hash, f.ledger, f.closed_at, f.value AS settled, o.value AS "opened?"
         FROM contract_events f LEFT JOIN contract_events o
            ON o.run_id = f.run_id AND o.name = 'run_opened' AND o.contract = f.contract
         WHERE f.key = $1 AND f.contract = $2 AND f.name = 'run_finalized'
            AND ($3::bigint IS NULL OR (f.data->>'receipt_number')::numeric < $3)
         ORDER BY f.id DESC LIMIT $4"#,
        user,
        about.contract_id,
        until,
        // One more: only the hash before the first receipt makes its text one that can be checked.
        MOST + 1,
    );
    let mut rows = rows.fetch(in_time(db));
    let vault: Address =
        about.contract_id.parse().map_err(|_| Error::Broken("the vault's id".to_owned()))?;
    let mut receipts: Vec<ReceiptText> = Vec::new();
    // The hash before the receipts that are there; and whether it is known.
    let mut before = Digest::from([0; 32]);
    let mut is_known = true;
    let mut bytes = 0_usize;
    while let Some(row) = &rows.try_next().await? {
        // What cannot be read by this release ends the list, and so does a receipt that is missing.
        let Ok(settled) = RunFinalized::from_event(&event(row, vault, &row.settled)?) else {
            break;
        };
        let number = settled.receipt_number;
        if receipts.last().is_some_and(|next| next.number != number.saturating_add(1)) {
            break;
        }
        let enough =
            i64::try_from(receipts.len()).is_ok_and(|count| count >= MOST) || bytes >= PAGE_BYTES;
        let opened = match &row.opened {
            Some(value) if !enough => RunOpened::from_event(&event(row, vault, value)?).ok(),
            _ => None,
        };
        let Some(opened) = opened else {
            (before, is_known) = (settled.receipts_hash, true);
            break;
        };
        let text = settled.settled(&opened.terms).to_xdr()?;
        let receipt = ReceiptText {
            hash: settled.receipts_hash,
            ..ReceiptText::new(&Digest::from([0; 32]), number, &text)
        };
        bytes = bytes.saturating_add(receipt.text.len() + RECEIPT_BYTES);
        receipts.push(receipt);
        // The hash before the account's first receipt is all zeros.
        is_known = number == 1;
    }
    if !is_known {
        // The oldest of these cannot be checked, and its hash is what is before the others.
        before = receipts.pop().map_or(before, |receipt| receipt.hash);
    }
    receipts.reverse();
    Ok(ReceiptsDocument {
        kind: RECEIPTS_KIND.to_owned(),
        network: about.network_passphrase.clone(),
        vault: about.contract_id.clone(),
        user: user.to_owned(),
        before,
        receipts,
    })
}

/// The event as it was followed, with one of its data.
fn event(row: &Row, contract: Address, value: &str) -> Result<stellar::rpc::Event> {
    let broken = |error: String| Error::Broken(format!("a stored event: {error}"));
    let transaction = TxHash::try_from(row.tx_hash.as_slice());
    let seen = SeenEvent {
        id: String::new(),
        contract,
        ledger: crate::rows::number(row.ledger, "ledger")?,
        closed_at: row.closed_at,
        transaction: transaction.map_err(|error| broken(error.to_string()))?,
        topics: Vec::new(),
        value: value.to_owned(),
    };
    seen.decode().map_err(|error| broken(error.to_string()))
}
