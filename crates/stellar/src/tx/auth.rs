//! Signing authorisation entries: for what was asked, and nothing else.

use ed25519_dalek::{Signature, VerifyingKey};
use rand::TryRngCore as _;
use stellar_xdr::{
    ContractDataDurability, Hash, HashIdPreimage, HashIdPreimageSorobanAuthorization,
    HashIdPreimageSorobanAuthorizationWithAddress, LedgerFootprint, LedgerKey,
    LedgerKeyContractData, ScNonceKey, ScVal, SorobanAddressCredentials, SorobanAuthorizationEntry,
    SorobanAuthorizedFunction, SorobanAuthorizedInvocation, SorobanCredentials,
};
use wire::Digest;

use super::PrepareRequest;
use crate::{Address, ChainError, Invocation, Keypair, Network, Signer, scval};

/// Gives each of the node's proposals a nonce that was drawn here, in the footprint too.
///
/// A node may hand out the same nonce to everybody who simulates in one ledger, and a nonce counts
/// once: of two transactions with it, one would fail. 64 random bits do not meet each other.
pub(super) fn draw_nonces(
    proposals: &mut [SorobanAuthorizationEntry],
    footprint: &mut LedgerFootprint,
) -> Result<(), ChainError> {
    let mut keys = footprint.read_write.to_vec();
    for entry in proposals {
        let credentials = match &mut entry.credentials {
            SorobanCredentials::Address(credentials)
            | SorobanCredentials::AddressV2(credentials) => credentials,
            // The source's entry is protected by the sequence number, and `sign` refuses delegates.
            SorobanCredentials::SourceAccount | SorobanCredentials::AddressWithDelegates(_) => {
                continue;
            }
        };
        let mut drawn = [0; 8];
        rand::rngs::OsRng.try_fill_bytes(&mut drawn).map_err(|error| {
            ChainError::invalid(format!("the system gave no randomness for a nonce: {error}"))
        })?;
        let nonce = i64::from_be_bytes(drawn);

        let (old, new) = (nonce_key(credentials, credentials.nonce), nonce_key(credentials, nonce));
        // Without its key in the footprint the host could not note the nonce: the transaction would
        // fail.
        let place = keys.iter_mut().find(|key| **key == old).ok_or_else(|| {
            ChainError::decode("simulation", "the footprint lacks the nonce of an authorisation")
        })?;
        *place = new;
        credentials.nonce = nonce;
    }
    // The protocol demands no order of the keys, and each of them once: a drawn nonce is new.
    footprint.read_write =
        keys.try_into().map_err(|_| ChainError::encode("the footprint of the transaction"))?;
    Ok(())
}

/// Where the host notes that an address has used a nonce.
fn nonce_key(credentials: &SorobanAddressCredentials, nonce: i64) -> LedgerKey {
    LedgerKey::ContractData(LedgerKeyContractData {
        contract: credentials.address.clone(),
        key: ScVal::LedgerKeyNonce(ScNonceKey { nonce }),
        durability: ContractDataDurability::Temporary,
    })
}

/// Signs each of the node's proposals, valid up to and including ledger `until`.
pub(super) async fn sign_all(
    request: &PrepareRequest<'_>,
    proposals: &[SorobanAuthorizationEntry],
    until: u32,
) -> Result<Vec<SorobanAuthorizationEntry>, ChainError> {
    let mut signed = Vec::with_capacity(proposals.len());
    for entry in proposals {
        signed.push(sign(request, entry, until).await?);
    }
    Ok(signed)
}

async fn sign(
    request: &PrepareRequest<'_>,
    entry: &SorobanAuthorizationEntry,
    until: u32,
) -> Result<SorobanAuthorizationEntry, ChainError> {
    // Before the kind is looked at: the source's signature also authorises entries that carry none.
    require_asked(request, &entry.root_invocation)?;
    let old = match &entry.credentials {
        // The source's signature on the transaction covers this entry.
        SorobanCredentials::SourceAccount => return Ok(entry.clone()),
        SorobanCredentials::Address(old) | SorobanCredentials::AddressV2(old) => old,
        SorobanCredentials::AddressWithDelegates(_) => {
            return Err(ChainError::invalid(format!(
                "{}: delegated signatures are not supported",
                request.call.name()
            )));
        }
    };
    let signer = signer(request, old)?;
    let unsigned = Unsigned::new(request.network, entry, until)?;
    let given = signer.signature(unsigned.payload.as_bytes()).await?;
    unsigned.signed(&signer.address(), &given)
}

/// Signs an entry of which the caller has checked what it authorises, valid up to and including
/// ledger `until`. The entry is the signer's own account's, or that of a contract account which
/// takes signatures in the form of a classic account's: a vector of maps of `public_key` and
/// `signature`.
///
/// # Errors
///
/// When the entry asks for no signature of one address, or has no XDR form.
pub fn sign_entry(
    network: &Network,
    signer: &Keypair,
    entry: &SorobanAuthorizationEntry,
    until: u32,
) -> Result<SorobanAuthorizationEntry, ChainError> {
    let unsigned = Unsigned::new(network, entry, until)?;
    let given = signer.sign(unsigned.payload.as_bytes());
    unsigned.signed(&signer.address(), &given)
}

/// An entry whose signature is still missing.
struct Unsigned<'a> {
    entry: &'a SorobanAuthorizationEntry,
    credentials: SorobanAddressCredentials,
    binds_address: bool,
    /// What has to be signed.
    payload: Digest,
}

impl<'a> Unsigned<'a> {
    fn new(
        network: &Network,
        entry: &'a SorobanAuthorizationEntry,
        until: u32,
    ) -> Result<Self, ChainError> {
        let (old, binds_address) = match &entry.credentials {
            SorobanCredentials::Address(old) => (old, false),
            SorobanCredentials::AddressV2(old) => (old, true),
            SorobanCredentials::SourceAccount | SorobanCredentials::AddressWithDelegates(_) => {
                let text = "the entry asks for no signature of one address; nothing was signed";
                return Err(ChainError::invalid(text));
            }
        };
        let credentials = SorobanAddressCredentials {
            address: old.address.clone(),
            nonce: old.nonce,
            signature_expiration_ledger: until,
            signature: ScVal::Void,
        };
        // The last ledger is part of what is signed, so it is set before the payload is computed.
        let payload = payload(network, &credentials, &entry.root_invocation, binds_address)?;
        Ok(Self { entry, credentials, binds_address, payload })
    }

    fn signed(
        mut self,
        signer: &Address,
        given: &[u8; 64],
    ) -> Result<SorobanAuthorizationEntry, ChainError> {
        self.credentials.signature = signature(signer, given)?;
        let credentials = match self.binds_address {
            true => SorobanCredentials::AddressV2(self.credentials),
            false => SorobanCredentials::Address(self.credentials),
        };
        let root_invocation = self.entry.root_invocation.clone();
        Ok(SorobanAuthorizationEntry { credentials, root_invocation })
    }
}

/// Signs an entry that the caller made itself, in the form that every released client reads
/// (`SOROBAN_CREDENTIALS_ADDRESS`). The credentials name the signer's own account.
///
/// # Errors
///
/// When the entry has no XDR form.
pub fn sign_own(
    network: &Network,
    signer: &Keypair,
    mut credentials: SorobanAddressCredentials,
    invocation: &SorobanAuthorizedInvocation,
) -> Result<SorobanAuthorizationEntry, ChainError> {
    let payload = payload(network, &credentials, invocation, false)?;
    credentials.signature = signature(&signer.address(), &signer.sign(payload.as_bytes()))?;
    Ok(SorobanAuthorizationEntry {
        credentials: SorobanCredentials::Address(credentials),
        root_invocation: invocation.clone(),
    })
}

/// Whether `credentials` carry exactly one valid signature of the account that has this key.
///
/// # Errors
///
/// When the entry has no XDR form.
pub fn is_signed_by(
    network: &Network,
    account: &Address,
    credentials: &SorobanAddressCredentials,
    invocation: &SorobanAuthorizedInvocation,
) -> Result<bool, ChainError> {
    let payload = payload(network, credentials, invocation, false)?;
    let Some(signed) = signature_bytes(account, &credentials.signature) else { return Ok(false) };
    // Strict, since the lax rule accepts keys under which one signature fits many messages.
    let Ok(key) = VerifyingKey::from_bytes(account.as_bytes()) else { return Ok(false) };
    Ok(key.verify_strict(payload.as_bytes(), &Signature::from_bytes(&signed)).is_ok())
}

/// The one signature in the form that [`signature`] writes, if it names this account's key.
fn signature_bytes(account: &Address, value: &ScVal) -> Option<[u8; 64]> {
    let ScVal::Vec(Some(signatures)) = value else { return None };
    // More than one would be an account with several signers, whose weights only the ledger knows.
    let [ScVal::Map(Some(fields))] = signatures.as_slice() else { return None };
    let field = |name: &str| {
        fields.iter().find_map(|entry| match (&entry.key, &entry.val) {
            (ScVal::Symbol(key), ScVal::Bytes(bytes)) if key.as_slice() == name.as_bytes() => {
                Some(bytes.as_slice())
            }
            _ => None,
        })
    };
    if field("public_key")? != account.as_bytes() {
        return None;
    }
    field("signature")?.try_into().ok()
}

/// A node that lies must not get a signature for another call, other arguments or further
/// transfers.
fn require_asked(
    request: &PrepareRequest<'_>,
    proposed: &SorobanAuthorizedInvocation,
) -> Result<(), ChainError> {
    let covered = |inner: &SorobanAuthorizedInvocation| -> Result<bool, ChainError> {
        for allowed in request.call.covers() {
            if is_exactly(inner, allowed)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    // `None` for a call that needs no signature: whatever a node proposes for it is refused.
    let mut as_asked = request.call.authorized()?.as_ref() == Some(&proposed.function);
    for inner in proposed.sub_invocations.iter() {
        as_asked = as_asked && covered(inner)?;
    }
    if as_asked {
        return Ok(());
    }
    let name = request.call.name();
    Err(ChainError::invalid(format!(
        "{name}: the RPC proposes to sign something else than was asked for; nothing was signed"
    )))
}

fn is_exactly(
    proposed: &SorobanAuthorizedInvocation,
    allowed: &Invocation,
) -> Result<bool, ChainError> {
    let function = SorobanAuthorizedFunction::ContractFn(allowed.to_xdr()?);
    // Covered calls are leaves: what they would call in turn was not asked for.
    Ok(proposed.function == function && proposed.sub_invocations.is_empty())
}

fn signer<'a>(
    request: &PrepareRequest<'a>,
    credentials: &SorobanAddressCredentials,
) -> Result<&'a dyn Signer, ChainError> {
    let expected = Address::try_from(&credentials.address)?;
    // The source last: a contract may ask it for an entry of its own, beside the transaction's.
    let mut keys = request.signers.iter().copied().chain([request.source]);
    keys.find(|key| key.address() == expected).ok_or_else(|| {
        ChainError::invalid(format!(
            "{}: the signature of {expected} is needed, but its key was not given",
            request.call.name()
        ))
    })
}

fn payload(
    network: &Network,
    credentials: &SorobanAddressCredentials,
    invocation: &SorobanAuthorizedInvocation,
    binds_address: bool,
) -> Result<Digest, ChainError> {
    let network_id = Hash(*network.id().as_bytes());
    let (nonce, invocation) = (credentials.nonce, invocation.clone());
    let until = credentials.signature_expiration_ledger;
    // The older form leaves the address out of what is signed: of two accounts with one key, the
    // signature for one fits the other.
    let preimage = if binds_address {
        HashIdPreimage::SorobanAuthorizationWithAddress(
            HashIdPreimageSorobanAuthorizationWithAddress {
                network_id,
                nonce,
                signature_expiration_ledger: until,
                address: credentials.address.clone(),
                invocation,
            },
        )
    } else {
        HashIdPreimage::SorobanAuthorization(HashIdPreimageSorobanAuthorization {
            network_id,
            nonce,
            signature_expiration_ledger: until,
            invocation,
        })
    };
    Ok(Digest::of(&scval::to_xdr(&preimage)?))
}

/// The form in which an account's signature is given to the host.
fn signature(signer: &Address, given: &[u8; 64]) -> Result<ScVal, ChainError> {
    let one = scval::map([
        ("public_key", scval::bytes(signer.as_bytes())?),
        ("signature", scval::bytes(given)?),
    ])?;
    scval::vec(vec![one])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, ContractKind};

    fn invocation(function: &'static str, amount: i128) -> Invocation {
        Invocation::new(
            ContractKind::Vault,
            Address::Contract([1; 32]),
            function,
            vec![scval::i128(amount)],
        )
    }

    fn authorized(root: &Invocation, inner: &[Invocation]) -> SorobanAuthorizedInvocation {
        let inner: Vec<_> = inner.iter().map(|call| authorized(call, &[])).collect();
        SorobanAuthorizedInvocation {
            function: SorobanAuthorizedFunction::ContractFn(root.to_xdr().unwrap()),
            sub_invocations: inner.try_into().unwrap(),
        }
    }

    fn proposal(
        user: &Keypair,
        root_invocation: SorobanAuthorizedInvocation,
    ) -> SorobanAuthorizationEntry {
        let credentials = SorobanCredentials::AddressV2(SorobanAddressCredentials {
            address: user.address().to_sc(),
            nonce: 5,
            signature_expiration_ledger: 0,
            signature: ScVal::Void,
        });
        SorobanAuthorizationEntry { credentials, root_invocation }
    }

    /// Whether `user` signs `root` covering `inner` when a deposit of 5 was asked for.
    async fn signs(
        signers: &[&dyn Signer],
        user: &Keypair,
        root: &Invocation,
        inner: &[Invocation],
    ) -> Result<(), ChainError> {
        let mut asked = invocation("deposit", 5);
        asked.covers = vec![invocation("transfer", 5)];
        signs_as(&asked, signers, user, authorized(root, inner)).await
    }

    fn request<'a>(
        network: &'a Network,
        source: &'a Keypair,
        call: &'a Call,
        signers: &'a [&'a dyn Signer],
    ) -> PrepareRequest<'a> {
        PrepareRequest {
            network,
            source,
            call,
            signers,
            max_time_unix: 0,
            auth_valid_ledgers: 10,
            fee_ceiling: 0,
        }
    }

    /// Whether `user` signs this proposal when `asked` was asked for.
    async fn signs_as(
        asked: &Invocation,
        signers: &[&dyn Signer],
        user: &Keypair,
        proposed: SorobanAuthorizedInvocation,
    ) -> Result<(), ChainError> {
        let (network, source) = (Network::standalone(), Keypair::from_seed(&[9; 32]));
        let call = Call::from(asked.clone());
        let request = request(&network, &source, &call, signers);
        let signed = sign_all(&request, &[proposal(user, proposed)], 77).await?;
        let SorobanCredentials::AddressV2(credentials) = &signed[0].credentials else {
            panic!("{signed:?}")
        };
        assert_eq!(credentials.signature_expiration_ledger, 77);
        assert_ne!(credentials.signature, ScVal::Void);
        Ok(())
    }

    #[tokio::test]
    async fn only_what_was_asked_for_is_signed() {
        let user = Keypair::from_seed(&[7; 32]);
        let (deposit, transfer) = (invocation("deposit", 5), invocation("transfer", 5));
        let other = invocation("transfer", 6);
        let further = [transfer.clone(), invocation("approve", 1)];
        for (root, inner, is_signed) in [
            (&deposit, std::slice::from_ref(&transfer), true),
            (&deposit, &[], true),
            (&invocation("deposit", 6), &[], false),
            (&transfer, &[], false),
            (&deposit, &[other], false),
            (&deposit, &further, false),
        ] {
            let signed = signs(&[&user], &user, root, inner).await;
            assert_eq!(signed.is_ok(), is_signed, "{root:?} {inner:?}");
        }
    }

    /// A batch's signer authorises one digest. A node that proposes another digest, the plain
    /// arguments, or a call beside it gets nothing signed (V18).
    #[tokio::test]
    async fn of_a_batch_only_the_digest_that_was_computed_here_is_signed() {
        let user = Keypair::from_seed(&[7; 32]);
        let vault = crate::vault::Vault(Address::Contract([1; 32]));
        let run = crate::vault::tests::open(user.address());
        let asked = vault.open_runs(user.address(), 60, std::slice::from_ref(&run)).unwrap();
        let other = vault.open_runs(user.address(), 61, &[run]).unwrap();
        let transfer = invocation("transfer", 5);

        for (args, inner, is_signed) in [
            (&asked, [].as_slice(), true),
            (&other, &[], false),
            // A call beside it.
            (&asked, std::slice::from_ref(&transfer), false),
        ] {
            let mut root = authorized(args, inner);
            root.function = SorobanAuthorizedFunction::ContractFn(args.authorized().unwrap());
            let signed = signs_as(&asked, &[&user], &user, root).await;
            assert_eq!(signed.is_ok(), is_signed, "{args:?} {inner:?}");
        }
        assert!(
            signs_as(&asked, &[&user], &user, authorized(&asked, &[])).await.is_err(),
            "the arguments instead of their digest"
        );

        // The same of an entry that the source's own signature would cover.
        let (network, source) = (Network::standalone(), Keypair::from_seed(&[9; 32]));
        let call = Call::from(asked);
        let request = request(&network, &source, &call, &[]);
        let mut root = authorized(&other, &[]);
        root.function = SorobanAuthorizedFunction::ContractFn(other.authorized().unwrap());
        let entry = SorobanAuthorizationEntry {
            credentials: SorobanCredentials::SourceAccount,
            root_invocation: root,
        };
        assert!(sign_all(&request, &[entry], 77).await.is_err(), "the source's own entry");
    }

    #[test]
    fn a_nonce_is_drawn_here_and_is_in_the_footprint() {
        let user = Keypair::from_seed(&[7; 32]);
        let mut proposals = [proposal(&user, authorized(&invocation("deposit", 5), &[]))];
        let SorobanCredentials::AddressV2(old) = &proposals[0].credentials else {
            panic!("{proposals:?}")
        };
        let old = nonce_key(old, 5);
        let mut footprint = LedgerFootprint {
            read_only: vec![].try_into().unwrap(),
            read_write: vec![old.clone()].try_into().unwrap(),
        };
        draw_nonces(&mut proposals, &mut footprint).unwrap();
        let SorobanCredentials::AddressV2(new) = &proposals[0].credentials else {
            panic!("{proposals:?}")
        };
        assert_ne!(new.nonce, 5);
        assert_eq!(footprint.read_write.to_vec(), [nonce_key(new, new.nonce)]);

        footprint.read_write = vec![old].try_into().unwrap();
        assert!(draw_nonces(&mut proposals, &mut footprint).is_err(), "a nonce without its key");
    }

    #[tokio::test]
    async fn a_missing_key_is_named() {
        let user = Keypair::from_seed(&[7; 32]);
        let signed = signs(&[], &user, &invocation("deposit", 5), &[]).await;
        let error = signed.unwrap_err().to_string();
        assert!(error.contains(&user.address().to_string()), "{error}");
    }
}
