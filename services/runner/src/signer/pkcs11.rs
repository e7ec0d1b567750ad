//! Keys that a PKCS #11 token keeps: a hardware security module, a smart card, SoftHSM.
//!
//! The library is third-party C code that may block for as long as it likes, and whose state is
//! the process's: it is initialised once, and a login holds for every session. So one thread has
//! it, and does one thing after the other; a caller waits for a bounded time and never on a
//! thread of the runtime.
//!
//! A token that was away is seen by a library that is initialised anew, and by no other. What fails
//! is therefore tried once more from the beginning: a signature is made again at no cost, since
//! nothing of the first one was stored. A PIN that was refused is not offered again, because tokens
//! lock themselves after a few.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use chassis::config::Secret;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use ed25519_dalek::{Signature, VerifyingKey};
use stellar::{Address, ChainError, Signer};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The library.
pub const MODULE: &str = "RUNNER_PKCS11_MODULE";
/// The token's label.
pub const TOKEN: &str = "RUNNER_PKCS11_TOKEN";
/// The user's PIN.
pub const PIN: &str = "RUNNER_PKCS11_PIN";

/// A token, and how it is reached.
#[derive(Debug)]
pub struct Token {
    /// The library of its maker.
    pub module: PathBuf,
    /// Its label.
    pub label: String,
    /// The PIN of its user.
    pub pin: Secret,
    /// How long it may take to answer.
    pub patience: Duration,
}

/// A key in a token.
pub struct TokenKey {
    account: Address,
    label: String,
    setting: &'static str,
    token: Arc<Token>,
}

/// A key that was found in a token.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FoundKey {
    /// Its account.
    pub account: String,
    /// Its label.
    pub label: String,
}

/// What a token is asked for.
enum Ask {
    /// Whether it has the key of this label.
    Look(String),
    /// A signature by the key of this label.
    Sign(String, Vec<u8>),
    /// Its Ed25519 public keys.
    List,
}

/// What a token says.
enum Said {
    Nothing,
    Signature(Vec<u8>),
    Keys(Vec<FoundKey>),
}

/// Why it says nothing.
#[derive(Debug)]
enum TokenError {
    /// It may be there when it is asked again from the beginning.
    Lost(String),
    /// It is not, whenever it is asked.
    Final(String),
}

/// A question on its way to the thread that has the library.
struct Order {
    token: Arc<Token>,
    ask: Ask,
    answer: oneshot::Sender<Result<Said, String>>,
}

impl Token {
    /// Loads the library.
    ///
    /// # Errors
    ///
    /// When it is invalid; the text begins with the setting.
    pub fn load(&self) -> anyhow::Result<()> {
        library(&self.module).map(drop)
    }

    /// The Ed25519 keys that it has a public half of.
    ///
    /// # Errors
    ///
    /// Why it does not say; the text begins with the setting.
    pub async fn keys(self: &Arc<Self>) -> Result<Vec<FoundKey>, String> {
        match self.ask(Ask::List).await? {
            Said::Keys(keys) => Ok(keys),
            Said::Nothing | Said::Signature(_) => Err("another answer than was asked for".into()),
        }
    }

    async fn ask(self: &Arc<Self>, ask: Ask) -> Result<Said, String> {
        let orders = library(&self.module).map_err(|error| format!("{error:#}"))?;
        let (answer, answered) = oneshot::channel();
        let gone = || format!("{MODULE}: the thread that has the library has ended; restart");
        orders.send(Order { token: self.clone(), ask, answer }).map_err(|_| gone())?;
        let within = self.patience;
        match timeout(within, answered).await {
            Ok(Ok(said)) => said,
            Ok(Err(_)) => Err(gone()),
            Err(_) => {
                Err(format!("{TOKEN}: the token did not answer within {} ms", within.as_millis()))
            }
        }
    }
}

impl TokenKey {
    /// The key that `label` names in the token, of the account that it is stated to be.
    pub fn new(token: &Arc<Token>, label: String, account: Address, setting: &'static str) -> Self {
        Self { account, label, setting, token: token.clone() }
    }

    /// The setting that names it.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// Whether the token is there, accepts the PIN and has the key. Nothing is signed.
    ///
    /// # Errors
    ///
    /// What is away or wrong; the text begins with the setting.
    pub async fn check(&self) -> Result<(), String> {
        self.token.ask(Ask::Look(self.label.clone())).await.map(drop)
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let ask = Ask::Sign(self.label.clone(), message.to_vec());
        let Said::Signature(given) = self.token.ask(ask).await? else {
            return Err("another answer than was asked for".to_owned());
        };
        let given = <[u8; 64]>::try_from(given.as_slice()).ok().filter(|given| {
            let key = VerifyingKey::from_bytes(self.account.as_bytes());
            let given = Signature::from_bytes(given);
            key.is_ok_and(|key| key.verify_strict(message, &given).is_ok())
        });
        // The label may name another key than the account's, and a device may fail. What is sent is
        // stored first, so that a wrong signature would be sent again and again.
        given.ok_or_else(|| {
            format!(
                "{}: the key `{}` of the token made a signature that is not one of {}; \
                 `runner signer-keys` names the accounts of its keys",
                self.setting, self.label, self.account
            )
        })
    }
}

#[async_trait]
impl Signer for TokenKey {
    fn address(&self) -> Address {
        self.account
    }

    async fn signature(&self, message: &[u8]) -> Result<[u8; 64], ChainError> {
        self.sign(message).await.map_err(|reason| {
            let account = self.account.to_string();
            ChainError::Signer { account, reason }
        })
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({} in {})", self.account, self.token.label)
    }
}

/// The libraries of this process, each with the thread that has it.
static LIBRARIES: LazyLock<Mutex<BTreeMap<PathBuf, Sender<Order>>>> = LazyLock::new(Mutex::default);

/// The way to a library, which is loaded if it is not yet.
fn library(module: &Path) -> anyhow::Result<Sender<Order>> {
    // The map is whole whatever a holder did when it panicked.
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(orders) = libraries.get(module) {
        return Ok(orders.clone());
    }
    let loaded = Pkcs11::new(module).with_context(|| {
        format!("{MODULE}: {} cannot be loaded as a PKCS #11 library", module.display())
    })?;
    let (orders, received) = mpsc::channel();
    let owner = LibraryThread { library: loaded, is_initialised: false, open: BTreeMap::new() };
    let thread = std::thread::Builder::new().name("pkcs11".to_owned());
    let spawned = thread.spawn(move || owner.serve(&received));
    spawned.with_context(|| format!("{MODULE}: there is no thread for it"))?;
    libraries.insert(module.to_owned(), orders.clone());
    Ok(orders)
}

/// The thread that has a library.
struct LibraryThread {
    library: Pkcs11,
    is_initialised: bool,
    /// By the token's label.
    open: BTreeMap<String, Login>,
}

/// What became of a login to a token.
enum Login {
    /// Its session, and the keys that were found by their labels.
    Open(Session, BTreeMap<String, ObjectHandle>),
    /// The PIN was refused.
    Refused(String),
}

impl LibraryThread {
    /// Answers until there is no sender left.
    fn serve(mut self, orders: &Receiver<Order>) {
        for Order { token, ask, answer } in orders {
            // The caller may have given up while the library was busy.
            if answer.is_closed() {
                continue;
            }
            let said = match self.ask(&token, &ask) {
                Err(TokenError::Lost(first)) => {
                    tracing::debug!("the PKCS #11 library begins anew: {first}");
                    self.end();
                    self.ask(&token, &ask)
                }
                said => said,
            };
            let said = said.map_err(|failure| match failure {
                TokenError::Lost(text) | TokenError::Final(text) => text,
            });
            // The caller may have given up waiting.
            let _ = answer.send(said);
        }
    }

    fn ask(&mut self, token: &Token, ask: &Ask) -> Result<Said, TokenError> {
        self.begin()?;
        let login = match self.open.remove(&token.label) {
            Some(login) => login,
            None => self.log_in(token)?,
        };
        let login = self.open.entry(token.label.clone()).or_insert(login);
        let (session, keys) = match login {
            Login::Open(session, keys) => (session, keys),
            Login::Refused(words) => return Err(TokenError::Final(words.clone())),
        };
        match ask {
            Ask::Look(label) => find(session, token, label).map(|_| Said::Nothing),
            Ask::Sign(label, message) => {
                let key = match keys.get(label) {
                    Some(key) => *key,
                    None => find(session, token, label)?,
                };
                keys.insert(label.clone(), key);
                let scheme = EddsaParams::new(EddsaSignatureScheme::Ed25519);
                let signed = session.sign(&Mechanism::Eddsa(scheme), key, message);
                signed
                    .map(Said::Signature)
                    .map_err(|error| unreachable(token, "did not sign", &error))
            }
            Ask::List => list(session)
                .map(Said::Keys)
                .map_err(|error| unreachable(token, "did not list its keys", &error)),
        }
    }

    /// Initialises the library, if it is not.
    fn begin(&mut self) -> Result<(), TokenError> {
        if self.is_initialised {
            return Ok(());
        }
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match self.library.initialize(arguments) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => {
                return Err(TokenError::Lost(format!(
                    "{MODULE}: the library does not begin: {error}"
                )));
            }
        }
        self.is_initialised = true;
        Ok(())
    }

    /// Ends all sessions and what the library knows. Refused PINs stay.
    fn end(&mut self) {
        self.open.retain(|_, login| matches!(login, Login::Refused(_)));
        if let Err(error) = self.library.clone().finalize() {
            tracing::debug!("the PKCS #11 library did not end: {error}");
        }
        self.is_initialised = false;
    }

    fn log_in(&self, token: &Token) -> Result<Login, TokenError> {
        let unknown = |error: Error| unreachable(token, "cannot be reached", &error);
        let slots = self.library.get_slots_with_token().map_err(unknown)?;
        let is_it = |slot: &_| {
            let info = self.library.get_token_info(*slot);
            info.is_ok_and(|info| {
                info.token_initialized() && info.label().trim_end() == token.label
            })
        };
        let slot = slots.into_iter().find(is_it).ok_or_else(|| {
            TokenError::Lost(format!("{TOKEN}: there is no token with the label `{}`", token.label))
        })?;
        let session = self.library.open_ro_session(slot).map_err(unknown)?;
        let pin = AuthPin::from(token.pin.expose().to_owned());
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                Ok(Login::Open(session, BTreeMap::new()))
            }
            Err(Error::Pkcs11(
                error @ (RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked),
                _,
            )) => Ok(Login::Refused(format!(
                "{PIN}: the token `{}` refuses the PIN ({error}); it is not offered again, so that \
                 the token does not lock itself: correct it and restart",
                token.label
            ))),
            Err(error) => Err(unknown(error)),
        }
    }
}

/// Most tokens say what is wrong, and all of it may pass.
fn unreachable(token: &Token, what: &str, error: &Error) -> TokenError {
    TokenError::Lost(format!("{TOKEN}: the token `{}` {what}: {error}", token.label))
}

/// The one private key of this label.
fn find(session: &Session, token: &Token, label: &str) -> Result<ObjectHandle, TokenError> {
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC_EDWARDS),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let found = session.find_objects(&template);
    let found = found.map_err(|error| unreachable(token, "did not search its keys", &error))?;
    match found.as_slice() {
        [key] => Ok(*key),
        // A token that went away may show an empty one in its place.
        [] => Err(TokenError::Lost(format!(
            "{TOKEN}: the token `{}` has no Ed25519 private key with the label `{label}`",
            token.label
        ))),
        _ => Err(TokenError::Final(format!(
            "{TOKEN}: the token `{}` has several Ed25519 private keys with the label `{label}`; \
             give each a label of its own",
            token.label
        ))),
    }
}

fn list(session: &Session) -> Result<Vec<FoundKey>, Error> {
    let template =
        [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(KeyType::EC_EDWARDS)];
    let mut keys = Vec::new();
    for key in session.find_objects(&template)? {
        let attributes = [AttributeType::Label, AttributeType::EcPoint];
        let (mut label, mut account) = (String::new(), None);
        for attribute in session.get_attributes(key, &attributes)? {
            match attribute {
                Attribute::Label(text) => label = String::from_utf8_lossy(&text).into_owned(),
                Attribute::EcPoint(point) => account = account_of(&point),
                _ => {}
            }
        }
        if let Some(account) = account {
            keys.push(FoundKey { account: account.to_string(), label });
        }
    }
    keys.sort_by(|one, other| one.label.cmp(&other.label));
    Ok(keys)
}

/// The account of a public key: its 32 bytes, or a DER octet string of them, as PKCS #11 before 3.0
/// had them. Other lengths are of other curves.
fn account_of(point: &[u8]) -> Option<Address> {
    let key = match point {
        [0x04, 0x20, key @ ..] if key.len() == 32 => key,
        key => key,
    };
    key.try_into().ok().map(Address::Account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_in_both_forms_and_no_other() {
        let key = [7; 32];
        let octets = [[0x04, 0x20].as_slice(), &key].concat();
        assert_eq!(account_of(&key), Some(Address::Account(key)));
        assert_eq!(account_of(&octets), Some(Address::Account(key)));
        assert_eq!(account_of(&[7; 57]), None);
        // A key that begins like the other form.
        let mut key = [7; 32];
        key[..2].copy_from_slice(&[0x04, 0x20]);
        assert_eq!(account_of(&key), Some(Address::Account(key)));
    }

    #[tokio::test]
    async fn what_is_no_library_is_named_by_its_setting() {
        let token = Arc::new(Token {
            module: "/missing/libpkcs11.so".into(),
            label: "lumio".into(),
            pin: Secret::from("secret-pin"),
            patience: Duration::from_secs(1),
        });
        let error = format!("{:#}", token.load().unwrap_err());
        assert!(error.starts_with(MODULE) && error.contains("/missing"), "{error}");
        let account = Address::Account([7; 32]);
        let key = TokenKey::new(&token, "runner".into(), account, "RUNNER_PKCS11_KEY");
        let error = key.signature(b"message").await.unwrap_err();
        assert!(matches!(error, ChainError::Signer { .. }) && error.is_unknown(), "{error}");
        assert!(!format!("{token:?} {key:?} {error}").contains("secret-pin"));
    }
}
