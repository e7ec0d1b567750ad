//! `lumio deploy`: the contracts that are built in, with the checksums that the repository states.

use serde_json::json;
use stellar::vault::{Config, Vault};
use stellar::{Address, Call, ContractKind, Creation, Keypair, ids, local, state};
use stellar_xdr::ContractExecutable;
use wire::Digest;

use super::issuer;
use crate::context::Context;
use crate::contracts::{Contract, DEPLOY_FEE, PASSKEY_ACCOUNT, WEB_AUTH};
use crate::error::{CliError, Result};
use crate::output::Report;

/// Put registry, vault, the login's contract and the code of passkey accounts on a network; what
/// exists already stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lumio deploy\n  lumio deploy --as ops --rpc-url https://… \
        --network-passphrase 'Test SDF Network ; September 2015'\n  \
                        lumio deploy --as ops --token C…\n\nOn the local network the deployer's \
                            key is public and built in: its ids never move and need no \
                                configuration.")]
pub struct Deploy {
    /// Whose key deploys, pays and becomes administrator [default on the local network: the local
    /// deployer]
    #[arg(long = "as", value_name = "NAME")]
    signer: Option<String>,
    /// The token that the vault holds: native, or the contract of an issued asset
    #[arg(long, default_value = "native", value_name = "C…")]
    token: String,
    /// Take an issued asset although holdings could be frozen or clawed back, deposits refused, or
    /// its contract is administered by another than its issuer (docs/operations/contracts.md, V1);
    /// the risk is printed
    #[arg(long)]
    force: bool,
}

/// A contract and what was done about it.
struct Placed {
    id: Address,
    existed: bool,
}

pub(super) async fn run(context: &Context, command: Deploy) -> Result<Report> {
    context.connect().await?;
    let key = deployer(context, command.signer.as_deref())?;
    let address = key.address();
    if context.rpc.account(&address).await?.is_none() {
        context.steps.say(format!("funding the deployer {address}"));
        context.rpc.fund(&address).await?;
    }
    let token = token(context, &key, &command).await?;
    let vault = creation(&key, Contract::Vault, token)?;
    let vault_id = ids::contract_id(&context.network, &vault.deployer, &vault.salt)?;
    // The token can hold things against the vault before there is one, and this may be a repetition
    // for one that there is.
    accept(context, token, vault_id, command.force, "the token is not taken").await?;
    let registry = creation(&key, Contract::Registry, token)?;
    let registry = place(context, &key, "registry", Contract::Registry.wasm(), registry).await?;
    let args = vec![address.to_val(), registry.id.to_val(), token.to_val()];
    let vault = Creation { args, ..vault };
    let vault = place(context, &key, "vault", Contract::Vault.wasm(), vault).await?;
    check(context, &Vault(vault.id), registry.id, token).await?;
    // What changed while the contracts were put in place is seen before anybody deposits.
    let refusal = format!("the vault {} is in place, but it must not take deposits", vault.id);
    let risk = accept(context, token, vault.id, command.force, &refusal).await?;
    let login = Creation {
        deployer: address,
        salt: local::web_auth_salt(),
        code: Digest::of(WEB_AUTH),
        args: Vec::new(),
        kind: ContractKind::Other,
    };
    let login = place(context, &key, "web authentication contract", WEB_AUTH, login).await?;
    let passkeys = Digest::of(PASSKEY_ACCOUNT);
    upload(context, &key, "passkey account", PASSKEY_ACCOUNT).await?;
    let json = json!({
        "deployer": address,
        "token": token,
        "registry": registry.id,
        "registryExisted": registry.existed,
        "vault": vault.id,
        "vaultExisted": vault.existed,
        "webAuth": login.id,
        "webAuthExisted": login.existed,
        "passkeyWasmHash": passkeys,
        "risk": risk,
    });
    let mut text = format!(
        "registry {}\nvault    {}\ntoken    {token}\nlogin    {}\n\
         passkeys {passkeys} (code)",
        registry.id, vault.id, login.id
    );
    if let Some(risk) = &risk {
        text.push_str(&format!("\nRISK     {risk}"));
    }
    Ok(Report::new(text, json))
}

fn deployer(context: &Context, signer: Option<&str>) -> Result<Keypair> {
    match signer {
        Some(name) => context.keys.load(name),
        None if context.network.is_standalone() => Ok(local::deployer()),
        None => Err(CliError::usage(
            "say whose key deploys: --as NAME; only the local network has a built-in deployer",
        )),
    }
}

/// A vault's salt names its token, so that one deployer can have a vault for each; that of the
/// native asset is the one that local configuration expects.
fn creation(key: &Keypair, contract: Contract, token: Address) -> Result<Creation> {
    let is_native = token == local::token_id()?;
    let (salt, kind) = match contract {
        Contract::Vault if is_native => (local::vault_salt(), ContractKind::Vault),
        Contract::Vault => (
            Digest::of(&[local::vault_salt().as_bytes(), token.as_bytes().as_slice()].concat()),
            ContractKind::Vault,
        ),
        Contract::Registry => (local::registry_salt(), ContractKind::Registry),
    };
    let (deployer, code) = (key.address(), Digest::of(contract.wasm()));
    Ok(Creation { deployer, salt, code, args: vec![deployer.to_val()], kind })
}

/// Uploads the code and creates the contract, each unless it exists.
async fn place(
    context: &Context,
    key: &Keypair,
    name: &str,
    code: &[u8],
    creation: Creation,
) -> Result<Placed> {
    // An id follows from deployer and salt, so that a second deployment finds the first.
    let id = ids::contract_id(&context.network, &creation.deployer, &creation.salt)?;
    if let Some(instance) = state::instance(&context.rpc, &id).await? {
        let same = matches!(
            &instance.executable,
            ContractExecutable::Wasm(hash) if hash.0 == *creation.code.as_bytes()
        );
        if !same {
            return Err(CliError::bad(format!(
                "the {name} {id} exists with other code than this release's; use the release that \
                    it was deployed with, or deploy --as another key"
            )));
        }
        context.steps.say(format!("the {name} exists: {id}"));
        return Ok(Placed { id, existed: true });
    }
    upload(context, key, name, code).await?;
    context.steps.say(format!("creating the {name} {id}"));
    context.submit_within(key, Call::Create(creation), DEPLOY_FEE).await?;
    Ok(Placed { id, existed: false })
}

/// Uploads the code unless the network has it.
async fn upload(context: &Context, key: &Keypair, name: &str, code: &[u8]) -> Result<()> {
    let hash = Digest::of(code);
    if state::has_code(&context.rpc, &hash).await? {
        context.steps.say(format!("the code of the {name} exists: {hash}"));
        return Ok(());
    }
    context.steps.say(format!("uploading the code of the {name} ({} bytes)", code.len()));
    context.submit_within(key, Call::Upload(code.to_vec()), DEPLOY_FEE).await?;
    Ok(())
}

/// A vault that existed may have been set up for another registry or token.
async fn check(context: &Context, vault: &Vault, registry: Address, token: Address) -> Result<()> {
    let config: Option<Config> = vault.read_config(&context.rpc).await?;
    match config {
        Some(config) if config.registry == registry && config.token == token => Ok(()),
        Some(config) => Err(CliError::bad(format!(
            "the vault {} is set up with registry {} and token {}, expected {registry} and {token}",
            vault.0, config.registry, config.token
        ))),
        None => Err(CliError::Unknown(format!(
            "the vault {} was created, but is not on the ledger yet; try again",
            vault.0
        ))),
    }
}

/// The risk of `token` for the holdings of `vault`, which has to be accepted by force; otherwise it
/// ends the command, with `refusal` before it.
async fn accept(
    context: &Context,
    token: Address,
    vault: Address,
    force: bool,
    refusal: &str,
) -> Result<Option<String>> {
    match issuer::risk(context, token, vault).await? {
        Some(risk) if !force => {
            Err(CliError::bad(format!("{refusal}: {risk}; use --force to accept this risk")))
        }
        accepted => Ok(accepted),
    }
}

/// The token's contract, created for the native asset if need be.
async fn token(context: &Context, key: &Keypair, command: &Deploy) -> Result<Address> {
    let native = ids::native_token_id(&context.network)?;
    if command.token == "native" || command.token == native.to_string() {
        if state::instance(&context.rpc, &native).await?.is_none() {
            context.steps.say(format!("creating the native token's contract {native}"));
            context.submit_within(key, Call::CreateNativeToken, DEPLOY_FEE).await?;
        }
        return Ok(native);
    }
    let given: Address = command.token.parse().map_err(|_| {
        CliError::usage(format!("--token: '{}' is neither native nor a contract id", command.token))
    })?;
    if !matches!(given, Address::Contract(_)) {
        return Err(CliError::usage(format!(
            "--token: {given} is an account; expected native, or the contract (C…) of a token"
        )));
    }
    Ok(given)
}
