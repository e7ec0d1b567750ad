//! `lumio login`, `lumio logout` and `lumio whoami`.

use serde_json::json;
use stellar::Address;

use crate::context::Context;
use crate::error::{CliError, Result};
use crate::gateway::{Gateway, required, text};
use crate::output::Report;
use crate::session::{Claim, Session};
use crate::{session, times};

/// Prove an account to the runner's gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lumio login --as alice
  lumio login --as alice --gateway-url https://runner.example
  lumio login --contract CA… --as alice

The key signs the gateway's challenge (SEP-10), a transaction that can never be applied. With
--contract the login is a contract account's (SEP-45): the key signs its authorisation of a call that
is only simulated, in the form of a classic account's signature (public_key, signature), which the
account's own code (__check_auth) has to accept. An account of passkeys or of another form logs in
with its own wallet.

The login is kept for its owner only and refreshed by itself; `lumio logout` ends it.")]
pub struct Login {
    /// Whose key signs
    #[arg(long = "as", value_name = "NAME")]
    signer: String,
    /// The contract account that logs in, for which the key signs [default: the key's own account]
    #[arg(long, value_name = "C…", value_parser = crate::parse::contract)]
    contract: Option<Address>,
    /// The domain that the gateway logs in to [default: that of its address]
    #[arg(long, value_name = "DOMAIN")]
    home_domain: Option<String>,
}

/// End a login.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lumio logout\n  lumio logout --as alice --everywhere\n  \
                  lumio logout --as CA…\n\n\
                  --everywhere also ends the account's logins on other machines.")]
pub struct Logout {
    /// Whose login ends: name of a key, or address [default: the newest]
    #[arg(long = "as", value_name = "NAME")]
    account: Option<String>,
    /// End every login of the account
    #[arg(long)]
    everywhere: bool,
}

/// Who is logged in.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lumio whoami\n  curl -H \"Authorization: Bearer $(lumio whoami \
        --token)\" http://localhost:4000/runs"
)]
pub struct WhoAmI {
    /// Print the bearer token instead: anyone who sees it may act as you until it ends
    #[arg(long)]
    token: bool,
}

pub(super) async fn log_in(context: &Context, command: &Login) -> Result<Report> {
    let key = context.keys.load(&command.signer)?;
    let claim = match command.contract {
        Some(account) => Claim::Contract(account, &key),
        None => Claim::Account(&key),
    };
    let session = session::log_in(context, &claim, command.home_domain.as_deref()).await?;
    let (account, now) = (claim.account(), times::now());
    let text = format!(
        "{account} is logged in at {}\n  until  {}",
        crate::context::without_credentials(context.gateway_url()),
        times::show(session.session_expires_at, now)
    );
    let json = json!({
        "account": account,
        "gateway": crate::context::without_credentials(context.gateway_url()),
        "tokenExpiresAt": session.expires_at,
        "sessionExpiresAt": session.session_expires_at,
    });
    Ok(Report::new(text, json))
}

pub(super) async fn log_out(context: &Context, command: &Logout) -> Result<Report> {
    let account = match &command.account {
        Some(account) => context.keys.resolve(account)?.to_string(),
        None => session::logins(context)?.current.ok_or_else(not_logged_in)?,
    };
    let gateway = Gateway::new(context)?.as_account(&account);
    let body = json!({ "everywhere": command.everywhere });
    match gateway.post("/auth/logout", &body, None).await {
        // A login that has ended already is one that need not be ended.
        Ok(_) | Err(CliError::Usage(_)) => {}
        Err(failure) => return Err(failure),
    }

    // Forgotten last: until the gateway has answered, the login can still be ended there.
    session::forget(context, &account)?;
    Ok(Report::new(format!("{account} is logged out"), json!({ "account": account })))
}

pub(super) async fn who_am_i(context: &Context, command: &WhoAmI) -> Result<Report> {
    let (account, token) = session::bearer(context, None).await?.ok_or_else(not_logged_in)?;
    if command.token {
        return Ok(Report::new(token.clone(), json!({ "account": account, "token": token })));
    }
    let answer = Gateway::new(context)?.as_account(&account).get("/auth/session").await?;
    required(&answer, "role")?;
    // Read after the answer, for which the login may have been refreshed.
    let logins = session::logins(context)?;
    Ok(identity(&account, &text(&answer, "role"), logins.sessions.get(&account), times::now()))
}

fn identity(account: &str, role: &str, session: Option<&Session>, now: u64) -> Report {
    let mut json = json!({ "account": account, "role": role });
    let mut shown = format!("{account} ({role})");
    if let Some(session) = session {
        shown.push_str(&format!("\n  until  {}", times::show(session.session_expires_at, now)));
        json["tokenExpiresAt"] = session.expires_at.into();
        json["sessionExpiresAt"] = session.session_expires_at.into();
    }
    Report::new(shown, json)
}

fn not_logged_in() -> CliError {
    let command = session::how_to(None);
    CliError::usage(format!("no account is logged in at this gateway; run: {command}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_logged_in_is_shown_with_the_end_of_the_login() {
        let session = Session {
            token: "hunter2".to_owned(),
            expires_at: 1_799_997_000,
            refresh_token: "hunter2".to_owned(),
            session_expires_at: 1_800_000_000,
        };
        let shown = identity("GABC", "user", Some(&session), 1_799_996_400);
        assert_eq!(shown.text, "GABC (user)\n  until  2027-01-15 08:00:00 UTC (in 1 h)");
        assert_eq!(shown.json["sessionExpiresAt"], 1_800_000_000_u64);
        assert!(!shown.json.to_string().contains("hunter2"), "{}", shown.json);
        assert_eq!(identity("GABC", "user", None, 0).text, "GABC (user)");
    }
}
