//! What is asked of the chain: a contract call, an upload or a creation.

use stellar_xdr::{
    ContractExecutable, ContractId, ContractIdPreimage, ContractIdPreimageFromAddress,
    CreateContractArgs, CreateContractArgsV2, Hash, HostFunction, InvokeContractArgs, ScAddress,
    ScVal, SorobanAuthorizedFunction, Uint256,
};
use wire::Digest;

use crate::{Address, ChainError, ContractKind, scval};

/// A call of a contract's function.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// Which of the contracts this is, so that its error codes get their names.
    pub kind: ContractKind,
    /// The contract.
    pub contract: Address,
    /// Its function.
    pub function: &'static str,
    /// The arguments in order.
    pub args: Vec<ScVal>,
    /// What the signer authorises instead of the arguments themselves, where the function asks for
    /// that: batches ask for a digest (V18). Always computed here, never taken from a node.
    pub authorizes: Option<Vec<ScVal>>,
    /// The further calls that a signature of this one covers, such as the token transfer of a
    /// deposit. Nothing beyond these is ever signed, whatever the RPC proposes.
    pub covers: Vec<Invocation>,
}

/// What a transaction asks of the host.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Call a function.
    Invoke(Invocation),
    /// Store a contract's code.
    Upload(Vec<u8>),
    /// Create a contract from stored code and run its constructor.
    Create(Creation),
    /// Create the contract of the native asset.
    CreateNativeToken,
}

/// A contract to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct Creation {
    /// Who creates it, and signs.
    pub deployer: Address,
    /// With the deployer and the network, this makes the id.
    pub salt: Digest,
    /// SHA-256 of the code.
    pub code: Digest,
    /// The constructor's arguments.
    pub args: Vec<ScVal>,
    /// Whose error codes the constructor speaks.
    pub kind: ContractKind,
}

impl Invocation {
    pub(crate) fn new(
        kind: ContractKind,
        contract: Address,
        function: &'static str,
        args: Vec<ScVal>,
    ) -> Self {
        Self { kind, contract, function, args, authorizes: None, covers: Vec::new() }
    }

    /// The XDR form.
    ///
    /// # Errors
    ///
    /// When the contract is an account, or there are too many arguments.
    pub fn to_xdr(&self) -> Result<InvokeContractArgs, ChainError> {
        self.with_args(&self.args)
    }

    /// What a signature of this call covers: the function with what it asks its signer to
    /// authorise.
    ///
    /// # Errors
    ///
    /// As [`Invocation::to_xdr`].
    pub fn authorized(&self) -> Result<InvokeContractArgs, ChainError> {
        self.with_args(self.authorizes.as_ref().unwrap_or(&self.args))
    }

    fn with_args(&self, args: &[ScVal]) -> Result<InvokeContractArgs, ChainError> {
        let Address::Contract(id) = self.contract else {
            return Err(ChainError::invalid(format!(
                "{} is an account, not a contract",
                self.contract
            )));
        };
        Ok(InvokeContractArgs {
            contract_address: ScAddress::Contract(ContractId(Hash(id))),
            function_name: scval::sc_symbol(self.function)?,
            args: args.to_vec().try_into().map_err(|_| ChainError::encode("the argument list"))?,
        })
    }
}

impl Call {
    /// What errors and logs call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Invoke(invocation) => invocation.function,
            Self::Upload(_) => "upload",
            Self::Create(_) => "create",
            Self::CreateNativeToken => "create the native token",
        }
    }

    /// Whose error codes come back.
    pub const fn kind(&self) -> ContractKind {
        match self {
            Self::Invoke(invocation) => invocation.kind,
            Self::Create(creation) => creation.kind,
            Self::Upload(_) | Self::CreateNativeToken => ContractKind::Other,
        }
    }

    /// The XDR form.
    ///
    /// # Errors
    ///
    /// When something passes its limit.
    pub fn to_xdr(&self) -> Result<HostFunction, ChainError> {
        Ok(match self {
            Self::Invoke(invocation) => HostFunction::InvokeContract(invocation.to_xdr()?),
            Self::Upload(code) => HostFunction::UploadContractWasm(
                code.clone().try_into().map_err(|_| ChainError::encode("the code"))?,
            ),
            // The form with arguments for a constructor (CAP-58).
            Self::Create(creation) => HostFunction::CreateContractV2(creation.to_xdr()?),
            // The asset's contract has no deployer and no constructor: anybody may create it, once.
            Self::CreateNativeToken => HostFunction::CreateContract(CreateContractArgs {
                contract_id_preimage: ContractIdPreimage::Asset(stellar_xdr::Asset::Native),
                executable: ContractExecutable::StellarAsset,
            }),
        })
    }

    /// What a signature of this call authorises at its root; `None` where nothing needs one.
    ///
    /// # Errors
    ///
    /// As [`Call::to_xdr`].
    pub fn authorized(&self) -> Result<Option<SorobanAuthorizedFunction>, ChainError> {
        Ok(match self {
            Self::Invoke(invocation) => {
                Some(SorobanAuthorizedFunction::ContractFn(invocation.authorized()?))
            }
            Self::Create(creation) => {
                Some(SorobanAuthorizedFunction::CreateContractV2HostFn(creation.to_xdr()?))
            }
            // Anybody may store code, or create the native asset's contract.
            Self::Upload(_) | Self::CreateNativeToken => None,
        })
    }

    /// The further calls that a signature may cover.
    pub fn covers(&self) -> &[Invocation] {
        match self {
            Self::Invoke(invocation) => &invocation.covers,
            Self::Upload(_) | Self::Create(_) | Self::CreateNativeToken => &[],
        }
    }
}

impl From<Invocation> for Call {
    fn from(invocation: Invocation) -> Self {
        Self::Invoke(invocation)
    }
}

impl Creation {
    fn to_xdr(&self) -> Result<CreateContractArgsV2, ChainError> {
        Ok(CreateContractArgsV2 {
            contract_id_preimage: ContractIdPreimage::Address(ContractIdPreimageFromAddress {
                address: self.deployer.to_sc(),
                salt: Uint256(*self.salt.as_bytes()),
            }),
            executable: ContractExecutable::Wasm(Hash(*self.code.as_bytes())),
            constructor_args: self
                .args
                .clone()
                .try_into()
                .map_err(|_| ChainError::encode("the argument list"))?,
        })
    }
}
