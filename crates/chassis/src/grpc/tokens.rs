//! Who may call: named bearer tokens, compared in constant time.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use tonic::service::Interceptor;
use tonic::{Request, Status};
use wire::Problem;

use crate::config::Secret;

/// A shorter token could be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// The callers a server knows. Rotating a token is having two of one name for a while.
#[derive(Clone)]
pub struct Tokens(Arc<Vec<(String, Secret)>>);

/// The name under which a caller is known; in the extensions of every request that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub String);

/// Refuses every request without a known token.
#[derive(Debug, Clone)]
pub struct Auth(Tokens);

/// Why a list of tokens cannot be used. Never repeats one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// There is no token, so no caller would be let in.
    #[error("expected at least one name:token")]
    Empty,
    /// An entry is not `name:token`.
    #[error("expected name:token entries between commas")]
    Malformed,
    /// A token is too short to be one.
    #[error("expected tokens of at least {MIN_TOKEN_BYTES} characters")]
    Short,
}

impl Tokens {
    /// Reads `name:token,name:token`.
    ///
    /// # Errors
    ///
    /// See [`TokensError`].
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let tokens: Vec<_> = entries.map(entry).collect::<Result<_, _>>()?;
        if tokens.is_empty() { Err(TokensError::Empty) } else { Ok(Self(Arc::new(tokens))) }
    }

    /// The interceptor that asks for one of these.
    pub fn auth(&self) -> Auth {
        Auth(self.clone())
    }

    /// Whose token this is. Compares with every token, so that the time taken reveals nothing.
    pub fn caller(&self, token: &str) -> Option<Caller> {
        self.0.iter().fold(None, |found, (name, known)| {
            // The length of a token may show in the time; its text does not.
            let equal = bool::from(known.expose().as_bytes().ct_eq(token.as_bytes()));
            if equal { Some(Caller(name.clone())) } else { found }
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Interceptor for Auth {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        match token.and_then(|token| self.0.caller(token)) {
            Some(caller) => {
                request.extensions_mut().insert(caller);
                Ok(request)
            }
            None => Err(Problem::Unauthenticated.status("a known bearer token is needed")),
        }
    }
}

fn entry(text: &str) -> Result<(String, Secret), TokensError> {
    let (name, token) = text.split_once(':').ok_or(TokensError::Malformed)?;
    if name.trim().is_empty() || token.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(TokensError::Malformed);
    }
    if token.len() < MIN_TOKEN_BYTES {
        return Err(TokensError::Short);
    }
    Ok((name.trim().to_owned(), Secret::from(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef";
    const TWO: &str = "fedcba9876543210";

    #[test]
    fn a_token_names_its_caller_and_two_may_name_one() {
        let tokens = Tokens::parse(&format!("runner:{ONE}, runner:{TWO}")).unwrap();
        let runner = Some(Caller("runner".to_owned()));
        assert_eq!([ONE, TWO].map(|token| tokens.caller(token)), [runner.clone(), runner]);
        assert_eq!(tokens.caller(&ONE[1..]), None);
        assert_eq!(tokens.caller(""), None);
    }

    #[test]
    fn a_list_that_lets_nobody_or_anybody_in_is_refused() {
        assert_eq!(Tokens::parse(" , ").unwrap_err(), TokensError::Empty);
        assert_eq!(Tokens::parse("secret-without-name").unwrap_err(), TokensError::Malformed);
        assert_eq!(Tokens::parse("runner:short").unwrap_err(), TokensError::Short);
        assert!(!format!("{:?}", Tokens::parse(&format!("a:{ONE}"))).contains(ONE));
    }
}
