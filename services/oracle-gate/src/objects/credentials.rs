//! By what requests to an S3-compatible service are signed: from the environment, or from files
//! that it names, and from no other source (R9).
//!
//! The variables are the usual ones of S3 clients. Of others that such clients read, such as
//! `AWS_CONDITIONAL_PUT` or `AWS_ENDPOINT_URL`, none is looked at: they could switch off what
//! sealing depends on, or lead to another service than the profile names.

use std::path::Path;

use chassis::Secret;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

/// Credentials of one kind.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A pair of keys, for a session with a token.
    Keys {
        /// `AWS_ACCESS_KEY_ID`.
        id: Secret,
        /// `AWS_SECRET_ACCESS_KEY`.
        secret: Secret,
        /// `AWS_SESSION_TOKEN`.
        token: Option<Secret>,
    },
    /// A role that a token in a file may take: `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`.
    WebIdentity {
        /// The file, read again whenever the session ends.
        token_file: String,
        /// The role.
        role: String,
    },
    /// What the container's own agent hands out.
    Container {
        /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`, or the full one.
        uri: String,
        /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, with a full URI.
        token_file: Option<String>,
    },
}

impl Credentials {
    /// Reads them; `variable` answers the environment.
    ///
    /// # Errors
    /// What is missing, by its name.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        // A pair is taken before a file, and half a pair is an error: falling back to the next
        // source would sign with credentials that the operator did not mean.
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(&variable);
        match keys {
            [Some(id), Some(secret)] => {
                let token = variable("AWS_SESSION_TOKEN").map(Secret::new);
                return Ok(Self::Keys { id: Secret::new(id), secret: Secret::new(secret), token });
            }
            [Some(_), None] => return Err("AWS_SECRET_ACCESS_KEY is not set".to_owned()),
            [None, Some(_)] => return Err("AWS_ACCESS_KEY_ID is not set".to_owned()),
            [None, None] => {}
        }
        if let Some(file) = variable("AWS_SHARED_CREDENTIALS_FILE") {
            let profile = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
            return shared_file(&file, &profile)
                .map_err(|wrong| format!("AWS_SHARED_CREDENTIALS_FILE: {wrong}"));
        }
        if let Some(token_file) = variable("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let role = variable("AWS_ROLE_ARN").ok_or("AWS_ROLE_ARN is not set")?;
            return Ok(Self::WebIdentity { token_file, role });
        }
        if let Some(uri) = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return Ok(Self::Container { uri, token_file: None });
        }
        if let Some(uri) = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let token_file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
                // A full URI leads anywhere, so the token that goes there has to be named with it.
                .ok_or("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is not set")?;
            return Ok(Self::Container { uri, token_file: Some(token_file) });
        }
        let text = "an s3:// root needs credentials: set AWS_ACCESS_KEY_ID and \
            AWS_SECRET_ACCESS_KEY, AWS_SHARED_CREDENTIALS_FILE, AWS_WEB_IDENTITY_TOKEN_FILE and \
            AWS_ROLE_ARN, or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
        Err(text.to_owned())
    }

    pub(super) fn apply(&self, builder: AmazonS3Builder) -> AmazonS3Builder {
        use AmazonS3ConfigKey::{
            ContainerAuthorizationTokenFile, ContainerCredentialsFullUri,
            ContainerCredentialsRelativeUri, RoleArn, WebIdentityTokenFile,
        };
        match self {
            Self::Keys { id, secret, token } => {
                let builder =
                    builder.with_access_key_id(id.expose()).with_secret_access_key(secret.expose());
                match token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
            Self::WebIdentity { token_file, role } => {
                builder.with_config(WebIdentityTokenFile, token_file).with_config(RoleArn, role)
            }
            Self::Container { uri, token_file: None } => {
                builder.with_config(ContainerCredentialsRelativeUri, uri)
            }
            Self::Container { uri, token_file: Some(file) } => builder
                .with_config(ContainerCredentialsFullUri, uri)
                .with_config(ContainerAuthorizationTokenFile, file),
        }
    }
}

/// One section of the file that S3 clients share.
fn shared_file(file: &str, profile: &str) -> Result<Credentials, String> {
    let text = chassis::files::read_to_string(Path::new(file))
        .map_err(|error| format!("cannot read it: {error}"))?;
    // Nothing of the file gets into an error: a line that is not understood may hold a key.
    let (mut here, mut found) = (false, [None, None, None]);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = section.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| here) {
            let location = match name.trim() {
                "aws_access_key_id" => 0,
                "aws_secret_access_key" => 1,
                "aws_session_token" => 2,
                // Region, output format and the like are other programs' settings.
                _ => continue,
            };
            found[location] = Some(value.trim().to_owned());
        }
    }
    match found {
        [Some(id), Some(secret), token] => Ok(Credentials::Keys {
            id: Secret::new(id),
            secret: Secret::new(secret),
            token: token.map(Secret::new),
        }),
        _ => Err(format!("it has no pair of keys under [{profile}]")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Keys of another section are never taken, and no error repeats the text of the file.
        #[test]
        fn of_a_shared_file_only_its_section_counts(
            sections in prop::collection::vec(("packer|other|", "\\PC{0,8}", 0..4_u8), 0..4),
        ) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let text = sections.iter().map(|(name, noise, keys)| {
                let id = format!("aws_access_key_id ={name}-hunter");
                let id = if keys & 1 == 1 { id.as_str() } else { "" };
                let secret = if keys & 2 == 2 { "aws_secret_access_key = hunter" } else { "" };
                format!("[{name}]\n{noise}\n{id}\n{secret}\n")
            });
            std::fs::write(file.path(), text.collect::<String>()).unwrap();
            match shared_file(file.path().to_str().unwrap(), "packer") {
                Ok(Credentials::Keys { id, .. }) => prop_assert_eq!(id.expose(), "packer-hunter"),
                Ok(other) => prop_assert!(false, "{:?}", other),
                Err(text) => prop_assert!(!text.contains("hunter"), "{}", text),
            }
        }
    }

    fn read(variables: &[(&str, &str)]) -> Result<Credentials, String> {
        let set: BTreeMap<_, _> = variables.iter().copied().collect();
        Credentials::read(|name| set.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn no_secret_is_printed() {
        let keys = [("AWS_ACCESS_KEY_ID", "hunter1"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
        let session = [&keys[..], &[("AWS_SESSION_TOKEN", "hunter3")]].concat();
        for variables in [&keys[..], &session[..]] {
            let text = format!("{:?}", read(variables).unwrap());
            assert!(!text.contains("hunter"), "{text}");
        }
    }

    #[test]
    fn half_a_pair_and_nothing_are_named() {
        assert!(read(&[]).unwrap_err().contains("AWS_ACCESS_KEY_ID"));
        let id = [("AWS_ACCESS_KEY_ID", "hunter1")];
        assert_eq!(read(&id).unwrap_err(), "AWS_SECRET_ACCESS_KEY is not set");
        let role = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token")];
        assert_eq!(read(&role).unwrap_err(), "AWS_ROLE_ARN is not set");
    }

    #[test]
    fn a_shared_file_is_read_by_its_section() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[default]\naws_access_key_id = one\n[packer]\naws_access_key_id=two\n\
            aws_secret_access_key = hunter2\n";
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        let packer = [("AWS_SHARED_CREDENTIALS_FILE", path), ("AWS_PROFILE", "packer")];
        let Credentials::Keys { id, .. } = read(&packer).unwrap() else { panic!("not a pair") };
        assert_eq!(id.expose(), "two");
        assert!(read(&packer[..1]).unwrap_err().contains("[default]"));
    }
}
