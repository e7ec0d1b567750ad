//! `lumio module`: the way of a module into the store, past the gate, and onto the chain.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use seal::{Limits, Tree};
use serde_json::json;
use stellar::registry::RateCard;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use wire::Digest;
use wire::dsse::Envelope;
use wire::pb::module::v1::module_gate_client::ModuleGateClient;
use wire::pb::module::v1::{Finished, ShipRequest, ship_event};
use wire::pb::oracle::v1::oracle_gate_client::OracleGateClient;
use wire::pb::oracle::v1::put_module_request::Item;
use wire::pb::oracle::v1::{ModuleFile, ModuleHeader, PutModuleRequest};
use wire::statement::{ShippingStatement, Verdict};

use super::agent;
use crate::context::{Context, require_http, require_token};
use crate::error::{CliError, Result};
use crate::files;
use crate::output::Report;
use crate::parse::Prices;

/// Where the address of oracle-gate is set.
const ORACLE_GATE_URL: &str = "LUMIO_ORACLE_GATE_URL";
/// Where the address of module-gate is set.
const MODULE_GATE_URL: &str = "LUMIO_MODULE_GATE_URL";

/// Where the token of oracle-gate is set.
const ORACLE_GATE_TOKEN: &str = "LUMIO_ORACLE_GATE_TOKEN";
/// Where the token of module-gate is set.
const MODULE_GATE_TOKEN: &str = "LUMIO_MODULE_GATE_TOKEN";

/// Bytes of a file that go in one message.
const PIECE: usize = 256 * 1024;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Module {
    /// The digest of a module's tree: what a rate card pins
    #[command(after_help = "Example:\n  lumio module digest examples/modules/csv-profile")]
    Digest {
        /// The module's folder
        dir: PathBuf,
    },
    /// Store a module by its digest, have it gated, and publish its prices on chain
    #[command(
        after_help = "Examples:\n  lumio module publish examples/modules/csv-profile --as dev \
            --runner runner --rates runtime_ms=100stroops\n  \
                            lumio module publish . --as dev --agent 1 --rates runtime_ms=120stroops"
    )]
    Publish(Box<Publish>),
}

/// What is published.
#[derive(Debug, clap::Args)]
pub struct Publish {
    /// The module's folder
    dir: PathBuf,
    /// The developer's key
    #[arg(long = "as", value_name = "NAME")]
    signer: String,
    /// The agent whose next rate card it becomes; without it a new agent is registered
    #[arg(long)]
    agent: Option<u32>,
    /// Who may run the new agent: name of a key, or address; may be given several times
    #[arg(long = "runner", required_unless_present = "agent", conflicts_with = "agent")]
    runners: Vec<String>,
    /// Prices per unit
    #[arg(long, value_parser = crate::parse::prices)]
    rates: Prices,
    /// Address of the new agent's description
    #[arg(long, conflicts_with = "agent")]
    uri: Option<String>,
    /// Key whose statements count for the new agent [default: the one that signed the shipping
    /// verdict]
    #[arg(long = "attester", value_name = "HEX", value_parser = crate::parse::attester,
        conflicts_with = "agent")]
    attesters: Vec<[u8; 32]>,
    /// The oracle-gate
    #[arg(
        long,
        env = ORACLE_GATE_URL,
        default_value = "http://localhost:4100",
        value_name = "URL"
    )]
    oracle_gate_url: String,
    /// Its token
    #[arg(long, env = ORACLE_GATE_TOKEN, hide_env_values = true, value_name = "TOKEN")]
    oracle_gate_token: Option<String>,
    /// Have the module judged again although its PASS is kept
    #[arg(long)]
    judge_again: bool,
    /// The module-gate
    #[arg(
        long,
        env = MODULE_GATE_URL,
        default_value = "http://localhost:4200",
        value_name = "URL"
    )]
    module_gate_url: String,
    /// Its token
    #[arg(long, env = MODULE_GATE_TOKEN, hide_env_values = true, value_name = "TOKEN")]
    module_gate_token: Option<String>,
}

impl Publish {
    /// Whether the gates can be asked with these settings.
    fn check(&self) -> Result<()> {
        require_http(&format!("--oracle-gate-url ({ORACLE_GATE_URL})"), &self.oracle_gate_url)?;
        require_http(&format!("--module-gate-url ({MODULE_GATE_URL})"), &self.module_gate_url)?;
        let tokens = [
            (format!("--oracle-gate-token ({ORACLE_GATE_TOKEN})"), &self.oracle_gate_token),
            (format!("--module-gate-token ({MODULE_GATE_TOKEN})"), &self.module_gate_token),
        ];
        for (setting, token) in tokens {
            require_token(&setting, token.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}

pub(super) async fn run(context: &Context, command: Module) -> Result<Report> {
    match command {
        Module::Digest { dir } => {
            let tree = tree(&dir)?;
            let json = json!({
                "digest": tree.digest(),
                "files": tree.files().len(),
                "bytes": tree.bytes(),
            });
            Ok(Report::new(tree.digest().to_string(), json))
        }
        Module::Publish(publish) => self::publish(context, &publish).await,
    }
}

async fn publish(context: &Context, command: &Publish) -> Result<Report> {
    // What can be found wrong without a gate is, before anything is sent.
    command.check()?;
    context.connect().await?;
    let runners = command
        .runners
        .iter()
        .map(|runner| context.keys.resolve(runner))
        .collect::<Result<Vec<_>>>()?;
    let rates = context.rates(&command.rates).await?;
    let tree = tree(&command.dir)?;
    let digest = tree.digest();
    context.steps.say(format!(
        "module     {digest} ({} files, {} bytes)",
        tree.files().len(),
        tree.bytes()
    ));

    let stored = store(command, &tree).await?;
    context.steps.say(if stored {
        "stored     by oracle-gate"
    } else {
        "stored     it was there already"
    });

    let signer = ship(context, command, digest).await?;
    context.steps.say(format!("gated      PASS, signed by {}", hex::encode(signer)));

    // Last, since the chain keeps what it is given: a card never names a module that did not pass.
    let card = RateCard { rates, manifest_hash: digest };
    let (id, version) = match command.agent {
        Some(id) => {
            warn_of_unaccepted(context, id, signer).await?;
            (id, agent::publish(context, &command.signer, id, &card).await?)
        }
        None => {
            let attesters =
                if command.attesters.is_empty() { vec![signer] } else { command.attesters.clone() };
            let (by, uri) = (&command.signer, command.uri.as_deref());
            let id = agent::register(context, by, &runners, uri, &card, &attesters).await?;
            (id, 1)
        }
    };

    let json = json!({
        "agentId": id,
        "rateVersion": version,
        "moduleDigest": digest,
        "attester": hex::encode(signer),
    });
    Ok(Report::new(format!("published  agent {id}, rate card {version}"), json))
}

/// Warns if the agent does not accept the key of the verdict: a run whose statement is signed by
/// that key could never be settled. No error, since the key can be named afterwards.
async fn warn_of_unaccepted(context: &Context, agent: u32, signer: [u8; 32]) -> Result<()> {
    let found = context.registry()?.read_agent(&context.rpc, agent).await?;
    let found =
        found.ok_or_else(|| CliError::bad(format!("the registry knows no agent {agent}")))?;
    if !found.attesters.contains(&signer) {
        let key = hex::encode(signer);
        context.steps.say(format!(
            "NOTE       agent {agent} does not accept statements by {key}; name it with: lumio \
                agent set-attesters"
        ));
    }
    Ok(())
}

fn tree(dir: &Path) -> Result<Tree> {
    let failed = |text: String| CliError::usage(format!("{}: {text}", dir.display()));
    let kind = dir.symlink_metadata().map_err(|error| failed(error.to_string()))?.file_type();
    if !kind.is_dir() {
        let found = if kind.is_file() { "a file" } else { files::describe(kind) };
        return Err(failed(format!("expected the folder of a module, found {found}")));
    }
    Tree::from_dir(dir, &Limits::MODULE)
        .map_err(|error| CliError::bad(format!("{}: {error}", dir.display())))
}

/// Sends the tree to oracle-gate. Answers whether it was new there.
async fn store(command: &Publish, tree: &Tree) -> Result<bool> {
    // A few pieces ahead of the network, so that a module is never in memory as a whole.
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let client = channel(&command.oracle_gate_url, ORACLE_GATE_URL).await?;
    let mut client = OracleGateClient::new(client);
    let request = authorised(ReceiverStream::new(receiver), command.oracle_gate_token.as_deref())?;

    // Both at once: the channel is bounded, so that neither ends without the other.
    let reading = send_tree(&command.dir, tree, sender);
    let (answer, read) = tokio::join!(client.put_module(request), reading);

    // A file that cannot be read explains the answer, so that its error comes first.
    read?;
    let answer = answer?.into_inner();

    if answer.digest != tree.digest().to_string() {
        return Err(CliError::bad(format!(
            "oracle-gate stored {} instead of {}",
            answer.digest,
            tree.digest()
        )));
    }
    Ok(answer.stored)
}

async fn send_tree(
    dir: &Path,
    tree: &Tree,
    sender: tokio::sync::mpsc::Sender<PutModuleRequest>,
) -> Result<()> {
    // A closed receiver means that the call has ended, and its answer says why.
    macro_rules! send {
        ($item:expr) => {
            if sender.send(PutModuleRequest { item: Some($item) }).await.is_err() {
                return Ok(());
            }
        };
    }
    send!(Item::Header(ModuleHeader { digest: tree.digest().to_string() }));
    for file in tree.files() {
        send!(Item::File(ModuleFile {
            path: file.path.clone(),
            executable: file.executable,
            length: file.length,
            sha256: file.sha256.to_string(),
        }));

        let unreadable =
            |error: std::io::Error| CliError::unknown(&format!("cannot read {}", file.path), error);
        let mut content = File::open(dir.join(&file.path)).map_err(unreadable)?;
        loop {
            let mut piece = vec![0; PIECE];
            let length = content.read(&mut piece).map_err(unreadable)?;
            if length == 0 {
                break;
            }
            piece.truncate(length);
            send!(Item::Data(piece));
        }
    }
    Ok(())
}

/// Has the module judged. Answers the key that signed a PASS.
async fn ship(context: &Context, command: &Publish, digest: Digest) -> Result<[u8; 32]> {
    let client = channel(&command.module_gate_url, MODULE_GATE_URL).await?;
    let request = ShipRequest { manifest_hash: digest.to_string(), fresh: command.judge_again };
    let request = authorised(request, command.module_gate_token.as_deref())?;
    let mut events = ModuleGateClient::new(client).ship(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        match event.event {
            Some(ship_event::Event::Progress(progress)) => {
                context.steps.say(format!("gating     {} {}", progress.phase, progress.message))
            }
            Some(ship_event::Event::Finished(Finished { statement })) => {
                return judge(&statement, digest);
            }
            // An event that this version does not know.
            None => {}
        }
    }
    Err(CliError::Unknown("module-gate ended without a verdict; try again".to_owned()))
}

/// Reads a verdict. Answers the key that signed it if it is a PASS about `digest`.
///
/// The signer is taken from the envelope itself and checked against it: the developer decides by
/// publishing whether to accept that key.
fn judge(envelope: &[u8], digest: Digest) -> Result<[u8; 32]> {
    let unreadable =
        |error: String| CliError::Unknown(format!("module-gate's verdict cannot be read: {error}"));
    let named = Envelope::parse(envelope).map_err(|error| unreadable(error.to_string()))?;
    let keys: Vec<_> = named
        .signatures
        .iter()
        .filter_map(|signature| wire::dsse::parse_key(&signature.keyid))
        .collect();
    let (statement, signer) =
        ShippingStatement::open(envelope, &keys).map_err(|error| unreadable(error.to_string()))?;

    // A gate that judged another tree said nothing about this one.
    let found = statement.into_predicate();
    if found.module_digest != digest {
        return Err(CliError::bad(format!(
            "module-gate judged {} instead of {digest}",
            found.module_digest
        )));
    }

    let code = found.code.map(|code| code.as_str()).unwrap_or_default();
    let reason = found.reason.unwrap_or_default();
    match found.verdict {
        Verdict::Pass => Ok(signer.to_bytes()),
        Verdict::Fail => Err(CliError::Bad(format!("the module may not ship: {code} {reason}"))),
        Verdict::Inconclusive => {
            Err(CliError::Unknown(format!("module-gate reached no verdict: {code} {reason}")))
        }
    }
}

async fn channel(url: &str, variable: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|error| CliError::usage(format!("{variable}: '{url}': {error}")))?;
    endpoint.connect().await.map_err(|error| {
        let (url, causes) = (crate::context::without_credentials(url), wire::causes(&error));
        CliError::Unknown(format!(
            "cannot reach {url} (set by {variable}): {causes}; start it, or correct its address"
        ))
    })
}

fn authorised<T>(message: T, token: Option<&str>) -> Result<Request<T>> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| CliError::usage("the gate's token holds what a header cannot"))?;
        request.metadata_mut().insert("authorization", value);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gate_that_is_away_is_named_with_its_setting_and_each_cause_once() {
        for variable in [ORACLE_GATE_URL, MODULE_GATE_URL] {
            let away = channel("http://user:hunter2@127.0.0.1:1", variable).await;
            let error = away.unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:1") && error.contains(variable), "{error}");
            assert_eq!(error.to_lowercase().matches("connection refused").count(), 1, "{error}");
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
    }
}
