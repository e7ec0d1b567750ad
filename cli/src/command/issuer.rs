//! Whether an issued asset can be trusted with other people's deposits (V1).
//!
//! Two places on the ledger decide that, and neither says what the other does: the issuer's account
//! has the powers over every later holder of the asset, and a contract's own balance keeps what it
//! was given on the day it was made. A third says who uses those powers: the administrator of the
//! asset's contract.

use stellar::rpc::Entries;
use stellar::scval::{self, Reader};
use stellar::{Address, ChainError, Network, ids, state, token};
use stellar_xdr::{
    AccountEntry, AccountId, AlphaNum4, AlphaNum12, Asset, AssetCode4, AssetCode12,
    ContractIdPreimage, Hash, HashIdPreimage, HashIdPreimageContractId, LedgerEntryData, LedgerKey,
    LedgerKeyAccount, ScVal,
};
use wire::Digest;

use crate::context::Context;
use crate::error::{CliError, Result};

/// No account can hold the asset before it is authorized to.
const REQUIRED: u32 = 0x1;
/// The issuer can freeze holders.
const REVOCABLE: u32 = 0x2;
/// The issuer can never change its flags again, nor be merged away.
const IMMUTABLE: u32 = 0x4;
/// The issuer can take holdings back.
const CLAWBACK: u32 = 0x8;

/// What the contract of an asset keeps for a contract that holds it.
#[derive(Debug)]
struct Holding {
    amount: i128,
    is_authorized: bool,
    has_clawback: bool,
}

/// Control over the vault's holding of an asset, read at one ledger.
struct AssetControl {
    /// `None` when the account is merged away.
    issuer: Option<AccountEntry>,
    /// Who may print the asset, and freeze and claw back what contracts hold; `None` for the
    /// issuer.
    other_admin: Option<Address>,
    /// `None` until the vault first holds something, or is authorized to.
    holding: Option<Holding>,
}

/// What could be done to the holdings of `vault`, which need not exist yet, by those who rule over
/// the token `contract`; also why the vault could not take deposits. `None` if nothing.
pub(super) async fn risk(
    context: &Context,
    contract: Address,
    vault: Address,
) -> Result<Option<String>> {
    // The native asset has neither an issuer nor an administrator.
    if contract == ids::native_token_id(&context.network)? {
        return Ok(None);
    }
    if state::instance(&context.rpc, &contract).await?.is_none() {
        return Err(CliError::bad(format!(
            "--token: there is no contract {contract} on this network; expected native, or the \
             contract of a token that is deployed here"
        )));
    }
    let name = match token::name(&context.rpc, contract).await {
        Ok(name) => name,
        // The contract answered, and not as every token does (SEP-41): no node is to blame.
        Err(error @ (ChainError::Contract { .. } | ChainError::Simulation { .. })) => {
            return Err(CliError::bad(format!(
                "--token: the contract {contract} is no token: it does not say its name, as \
                 SEP-41 asks ({error})"
            )));
        }
        Err(error) => return Err(error.into()),
    };
    let unknown = || {
        Some(format!(
            "{contract} is not the network's own contract of an issued asset, so nothing is known \
                of its rules"
        ))
    };
    let Some((code, issuer)) = name.split_once(':') else { return Ok(unknown()) };
    let Ok(issuer @ Address::Account(_)) = issuer.parse::<Address>() else { return Ok(unknown()) };

    // Any contract can claim a name; the network's own one has the asset's id.
    if asset_contract(&context.network, code, issuer)? != Some(contract) {
        return Ok(unknown());
    }
    let control = AssetControl::read(context, contract, issuer, vault).await?;
    Ok(control.judge(contract, issuer, vault))
}

impl AssetControl {
    /// Reads all of it in one call, so that it is of one ledger: an issuer that gives up a power
    /// between two readings would otherwise be seen without it, and the balance that was made
    /// before would not be seen at all.
    async fn read(
        context: &Context,
        contract: Address,
        issuer: Address,
        vault: Address,
    ) -> Result<Self> {
        let account = LedgerKey::Account(LedgerKeyAccount { account_id: issuer.account_id()? });
        let instance = state::data_key(&contract, ScVal::LedgerKeyContractInstance, true);
        let balance = scval::variant("Balance", vec![vault.to_val()])?;
        let balance = state::data_key(&contract, balance, true);
        let keys = [account, instance, balance];
        let found = context.rpc.entries(&keys).await?;
        let [account, instance, balance] = &keys;

        let issuer_entry = match found.get(account).map(|entry| &entry.data) {
            None => None,
            Some(LedgerEntryData::Account(account)) => Some(account.clone()),
            Some(_) => {
                return Err(CliError::Unknown(format!("the issuer {issuer} cannot be read")));
            }
        };
        let admin = administrator(&found, contract, instance)?;
        Ok(Self {
            issuer: issuer_entry,
            other_admin: (admin != issuer).then_some(admin),
            holding: Holding::read(&found, balance)?,
        })
    }

    fn judge(&self, contract: Address, issuer: Address, vault: Address) -> Option<String> {
        let mut reasons = match &self.issuer {
            Some(account) => self.powers(account),
            // The holder of the key can create the account again, with any flags.
            None => vec![format!(
                "the issuer {issuer} is merged away; the holder of its key can create it again \
                    with any powers"
            )],
        };
        if let Some(admin) = self.other_admin {
            reasons.push(format!(
                "its contract {contract} is administered by {admin}, which is not its issuer and \
                    can print it"
            ));
        }
        if let Some(holding) = &self.holding {
            reasons.extend(holding.faults(vault));
        }
        (!reasons.is_empty()).then(|| reasons.join(", "))
    }

    /// What the state of the issuer's account allows.
    fn powers(&self, account: &AccountEntry) -> Vec<String> {
        let has = |flag| account.flags & flag != 0;

        // With the master key's weight at 0 and no signer, no key can sign for it again.
        let is_locked = account.thresholds.0[0] == 0 && account.signers.is_empty();
        let mut reasons = Vec::new();
        if has(CLAWBACK) {
            reasons.push("its issuer can claw back");
        }
        if has(REVOCABLE) {
            reasons.push("its issuer can freeze");
        }
        if !has(IMMUTABLE) && !is_locked {
            reasons
                .push("its issuer is neither locked nor immutable and can take such powers later");
        }
        if has(REQUIRED) {
            // Those who are authorized are so only until they give their trustline up.
            reasons.push(if is_locked && self.other_admin.is_none() {
                "its holders must be authorized, which its locked issuer can no longer do"
            } else {
                "its holders must be authorized, so that deposits and payments can be refused"
            });
            if self.holding.is_none() {
                reasons.push("the vault is not authorized, so that every deposit fails");
            }
        }
        reasons.into_iter().map(str::to_owned).collect()
    }
}

impl Holding {
    fn read(found: &Entries, key: &LedgerKey) -> Result<Option<Self>> {
        const WHAT: &str = "the token's balance of the vault";
        let Some(entry) = found.get(key) else { return Ok(None) };
        let value = Reader::new(WHAT, state::data_value(WHAT, entry)?);
        Ok(Some(Self {
            amount: value.field("amount")?.i128()?,
            is_authorized: value.field("authorized")?.bool()?,
            has_clawback: value.field("clawback")?.bool()?,
        }))
    }

    /// What is wrong with it, whatever the issuer can do today: anybody who holds the asset can
    /// make the balance of a vault before the vault, whose id can be computed, and the balance
    /// keeps the rules of that day.
    fn faults(&self, vault: Address) -> Vec<String> {
        let mut faults = Vec::new();
        if self.has_clawback {
            faults.push(format!(
                "the balance of the vault {vault} can be clawed back, because it was made while \
                    the issuer had that power"
            ));
        }
        if !self.is_authorized {
            faults.push(format!(
                "the balance of the vault {vault} is frozen, so that every deposit and withdrawal \
                    fails"
            ));
        }
        // An account holds at most this much.
        if self.amount > i128::MAX - i128::from(i64::MAX) {
            faults.push(format!(
                "the balance of the vault {vault} has no room for deposits: it is {}",
                self.amount
            ));
        }
        faults
    }
}

/// Who administers the contract of an asset.
fn administrator(found: &Entries, contract: Address, key: &LedgerKey) -> Result<Address> {
    const WHAT: &str = "the token's administrator";
    let unreadable = || {
        CliError::Unknown(format!(
            "the token's contract {contract} does not say who administers it; try again"
        ))
    };
    let entry = found.get(key).ok_or_else(unreadable)?;
    let ScVal::ContractInstance(instance) = state::data_value(WHAT, entry)? else {
        return Err(unreadable());
    };
    let name = scval::variant("Admin", Vec::new())?;
    let storage = instance.storage.as_ref().ok_or_else(unreadable)?;
    let admin = storage.iter().find(|field| field.key == name).ok_or_else(unreadable)?;
    Ok(Reader::new(WHAT, &admin.val).address()?)
}

fn asset_contract(network: &Network, code: &str, issuer: Address) -> Result<Option<Address>> {
    let issuer: AccountId = issuer.account_id()?;
    let bytes = code.as_bytes();
    let asset = match bytes.len() {
        1..=4 => {
            Asset::CreditAlphanum4(AlphaNum4 { asset_code: AssetCode4(padded(bytes)), issuer })
        }
        5..=12 => {
            Asset::CreditAlphanum12(AlphaNum12 { asset_code: AssetCode12(padded(bytes)), issuer })
        }
        _ => return Ok(None),
    };
    let preimage = HashIdPreimage::ContractId(HashIdPreimageContractId {
        network_id: Hash(*network.id().as_bytes()),
        contract_id_preimage: ContractIdPreimage::Asset(asset),
    });
    let xdr = scval::to_xdr(&preimage).map_err(|error: ChainError| CliError::from(error))?;
    Ok(Some(Address::Contract(*Digest::of(&xdr).as_bytes())))
}

fn padded<const N: usize>(code: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    padded[..code.len()].copy_from_slice(code);
    padded
}

#[cfg(test)]
mod tests {
    use stellar_xdr::Thresholds;

    use super::*;

    const TOKEN: Address = Address::Contract([1; 32]);
    const ISSUER: Address = Address::Account([2; 32]);
    const VAULT: Address = Address::Contract([3; 32]);

    fn control(flags: u32, master_weight: u8) -> AssetControl {
        let issuer = AccountEntry {
            flags,
            thresholds: Thresholds([master_weight, 0, 0, 0]),
            ..AccountEntry::default()
        };
        AssetControl { issuer: Some(issuer), other_admin: None, holding: None }
    }

    fn holding(is_authorized: bool, has_clawback: bool) -> Holding {
        Holding { amount: 1, is_authorized, has_clawback }
    }

    fn judge(control: &AssetControl) -> Option<String> {
        control.judge(TOKEN, ISSUER, VAULT)
    }

    fn assert_says(control: &AssetControl, expected: &str) {
        let said = judge(control).unwrap_or_default();
        assert!(said.contains(expected), "expected {expected:?}, found {said:?}");
    }

    #[test]
    fn only_an_issuer_that_can_do_nothing_is_taken() {
        assert_eq!(judge(&control(0, 0)), None);
        // Minting does not reduce the vault's balance.
        assert_eq!(judge(&control(IMMUTABLE, 1)), None);
        assert_says(&control(0, 1), "neither locked nor immutable");
        assert_says(&control(CLAWBACK | IMMUTABLE, 1), "claw back");
        assert_says(&control(REVOCABLE, 0), "freeze");
        assert_says(&AssetControl { issuer: None, ..control(0, 0) }, "merged away");
    }

    #[test]
    fn holders_that_must_be_authorized_can_be_refused() {
        for control in [control(REQUIRED, 0), control(REQUIRED | IMMUTABLE, 1)] {
            assert_says(&control, "must be authorized");
            assert_says(&control, "every deposit fails");
        }
        assert_says(&control(REQUIRED, 0), "can no longer do");
        let admin = Some(Address::Account([9; 32]));
        let administered = AssetControl { other_admin: admin, ..control(REQUIRED, 0) };
        assert_says(&administered, "can be refused");

        let holding = Some(holding(true, false));
        let authorized = AssetControl { holding, ..control(REQUIRED | IMMUTABLE, 1) };
        assert_says(&authorized, "can be refused");
        assert!(!judge(&authorized).unwrap().contains("every deposit fails"));
    }

    #[test]
    fn an_administrator_that_is_not_the_issuer_is_named() {
        let admin = Address::Contract([9; 32]);
        let administered = AssetControl { other_admin: Some(admin), ..control(0, 0) };
        assert_says(&administered, &format!("is administered by {admin}"));
    }

    #[test]
    fn the_balance_of_the_vault_keeps_what_it_was_made_with() {
        let with = |holding| AssetControl { holding: Some(holding), ..control(IMMUTABLE, 0) };
        assert_eq!(judge(&with(holding(true, false))), None);
        assert_says(&with(holding(true, true)), "can be clawed back");
        assert_says(&with(holding(false, false)), "is frozen");

        let room = i128::from(i64::MAX);
        let full = Holding { amount: i128::MAX - room, ..holding(true, false) };
        assert_eq!(judge(&with(full)), None);
        let full = Holding { amount: i128::MAX - room + 1, ..holding(true, false) };
        assert_says(&with(full), "no room");
    }

    #[test]
    fn an_asset_has_the_id_that_every_tool_says() {
        // Circle's USDC on the public network.
        let network = Network::new("Public Global Stellar Network ; September 2015");
        let circle = "GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN".parse().unwrap();
        let id = asset_contract(&network, "USDC", circle).unwrap().unwrap();
        assert_eq!(id.to_string(), "CCW67TSZV3SSS2HXMBQ5JFGCKJNXKZM7UQUWUZPUTHXSTZLEO7SJMI75");
    }
}
