//! Bearer tokens: JSON Web Tokens (RFC 7519), signed with HMAC-SHA-256 by a key of their own.
//!
//! A refresh token carries its session and a number. The session's row holds the number that is
//! next, so one refresh token is good once, and a stolen old one gives the theft away (RFC 9700,
//! 4.14.2).

use std::fmt;

use chassis::config::Secret;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::Problem;
use zeroize::Zeroizing;

use crate::auth::caller::Role;
use crate::error::{Error, Result};

/// The longest token that is looked at.
const LONGEST: usize = 4_096;
/// Who tokens are for: an access token is not accepted as a refresh token, nor the other way round.
const ACCESS: &str = "lumio-runner";
const REFRESH: &str = "lumio-runner-refresh";

/// The keys of tokens.
pub struct TokenKeys {
    signing: EncodingKey,
    reading: Vec<DecodingKey>,
    issuer: String,
    /// How long an access token is good, in seconds.
    pub lifetime_secs: u64,
}

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The gateway's address.
    pub iss: String,
    /// [`ACCESS`].
    pub aud: String,
    /// Who logged in.
    pub sub: String,
    /// When it was made, in Unix seconds.
    pub iat: u64,
    /// When it ends, in Unix seconds.
    pub exp: u64,
    /// The challenge that was answered, as SEP-10 recommends.
    pub jti: String,
    /// The session, which can be revoked.
    pub sid: Uuid,
    /// For display. What a caller may do follows from the settings at the time of the call.
    pub role: Role,
    /// The domain that the login is for.
    pub home_domain: String,
}

/// What a refresh token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// The gateway's address.
    pub iss: String,
    /// [`REFRESH`].
    pub aud: String,
    /// When the session ends, in Unix seconds.
    pub exp: u64,
    /// The session.
    pub sid: Uuid,
    /// Which of the session's refresh tokens this is.
    pub number: i64,
}

impl TokenKeys {
    /// Keys of `secrets`, in hex digits; the first signs.
    ///
    /// # Errors
    ///
    /// When there is no key, or one is invalid.
    pub fn new(secrets: &[Secret], issuer: &str, lifetime_secs: u64) -> anyhow::Result<Self> {
        let mut signing = None;
        let mut reading = Vec::with_capacity(secrets.len());
        for secret in secrets {
            let key = Zeroizing::new(hex::decode(secret.expose())?);
            reading.push(DecodingKey::from_secret(&key)?);
            if signing.is_none() {
                signing = Some(EncodingKey::from_secret(&key)?);
            }
        }
        let signing = signing.ok_or_else(|| anyhow::anyhow!("there is no key for tokens"))?;
        Ok(Self { signing, reading, issuer: issuer.to_owned(), lifetime_secs })
    }

    /// An access token of a session.
    ///
    /// # Errors
    ///
    /// Never in practice: the claims always have a JSON form.
    pub fn access(
        &self,
        (session, subject, role): (Uuid, &str, Role),
        challenge: &str,
        home_domain: &str,
    ) -> Result<(String, u64)> {
        let now = super::now();
        let exp = now.saturating_add(self.lifetime_secs);
        let claims = Access {
            iss: self.issuer.clone(),
            aud: ACCESS.to_owned(),
            sub: subject.to_owned(),
            iat: now,
            exp,
            jti: challenge.to_owned(),
            sid: session,
            role,
            home_domain: home_domain.to_owned(),
        };
        Ok((self.sign(&claims)?, exp))
    }

    /// The refresh token of a session that has this number.
    ///
    /// # Errors
    ///
    /// As [`TokenKeys::access`].
    pub fn refresh(&self, session: Uuid, number: i64, exp: u64) -> Result<String> {
        let (iss, aud) = (self.issuer.clone(), REFRESH.to_owned());
        self.sign(&Refresh { iss, aud, exp, sid: session, number })
    }

    /// Reads an access token.
    ///
    /// # Errors
    ///
    /// [`Problem::Unauthenticated`]: not ours, or no longer good.
    pub fn read_access(&self, token: &str) -> Result<Access> {
        self.read(token, ACCESS)
    }

    /// Reads a refresh token.
    ///
    /// # Errors
    ///
    /// As [`TokenKeys::read_access`].
    pub fn read_refresh(&self, token: &str) -> Result<Refresh> {
        self.read(token, REFRESH)
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.signing)
            .map_err(|error| Error::Broken(format!("a token could not be made: {error}")))
    }

    fn read<T: DeserializeOwned + Clone>(&self, token: &str, audience: &str) -> Result<T> {
        use jsonwebtoken::errors::ErrorKind;
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = 0;
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);

        let mut expired = false;
        if token.len() <= LONGEST {
            for key in &self.reading {
                match jsonwebtoken::decode::<T>(token, key, &rules) {
                    Ok(read) => return Ok(read.claims),
                    Err(error) => {
                        expired |= matches!(error.kind(), ErrorKind::ExpiredSignature);
                    }
                }
            }
        }
        let text = match expired {
            true => "the token has expired; refresh it (POST /auth/refresh) or log in again",
            false => "the token is not one of this gateway; log in again",
        };
        Err(Error::refused(Problem::Unauthenticated, text))
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKeys({} keys)", self.reading.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[u8], lifetime: u64) -> TokenKeys {
        let secrets: Vec<_> =
            secrets.iter().map(|byte| Secret::new(hex::encode([*byte; 32]))).collect();
        TokenKeys::new(&secrets, "http://localhost:4000", lifetime).unwrap()
    }

    #[test]
    fn a_token_is_read_by_its_own_key_and_by_a_replaced_one() {
        let session = Uuid::from_u128(7);
        let old = keys(&[1], 60);
        let (token, _) = old.access((session, "G", Role::User), "c", "d").unwrap();
        assert_eq!(old.read_access(&token).unwrap().sid, session);
        assert!(keys(&[2, 1], 60).read_access(&token).is_ok());
        assert!(keys(&[2], 60).read_access(&token).is_err());
    }

    #[test]
    fn the_two_kinds_of_token_are_not_exchanged_and_none_outlives_its_time() {
        let keys = keys(&[1], 0);
        let session = Uuid::from_u128(7);
        let refresh = keys.refresh(session, 1, super::super::now() + 60).unwrap();
        assert_eq!(keys.read_refresh(&refresh).unwrap().number, 1);
        assert!(keys.read_access(&refresh).is_err());
        let past = keys.refresh(session, 1, super::super::now() - 1).unwrap();
        let error = keys.read_refresh(&past).unwrap_err().to_string();
        assert!(error.contains("expired"), "{error}");
    }

    #[test]
    fn a_token_without_a_signature_is_refused() {
        let keys = keys(&[1], 60);
        let (token, _) = keys.access((Uuid::nil(), "G", Role::User), "c", "d").unwrap();
        let body = token.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"}
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
        for bad in [none.as_str(), "", "a.b.c", &"x".repeat(10_000)] {
            assert!(keys.read_access(bad).is_err(), "{bad:.40}");
        }
    }
}
