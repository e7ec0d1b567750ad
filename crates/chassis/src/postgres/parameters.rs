//! What a database's address may hold behind its `?`.

use url::form_urlencoded;

/// What the driver (sqlx 0.9.0) reads, beside `options[…]`.
const READ: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
/// What other drivers read. A message repeats no other name: a password with an `&` or a `?` that
/// is not escaped looks like further parameters (R9).
const OF_OTHERS: [&str; 20] = [
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "connection_limit",
    "gssencmode",
    "keepalives",
    "keepalives_idle",
    "load_balance_hosts",
    "passfile",
    "pgbouncer",
    "pool_timeout",
    "require_auth",
    "schema",
    "service",
    "sslcrl",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Whether the driver reads every parameter of a database's address. It would pass over any other,
/// and log its value.
///
/// # Errors
///
/// Which ones it does not read; never a value.
pub fn check_parameters(url: &str) -> Result<(), String> {
    // A text that is not a URL is refused elsewhere.
    let Ok(url) = url::Url::parse(url) else { return Ok(()) };
    let pairs = url.query().unwrap_or_default().split('&').enumerate();
    let unknown: Vec<String> = pairs
        .filter_map(|(place, pair)| {
            let (name, _) = form_urlencoded::parse(pair.as_bytes()).next()?;
            if is_read(&name) {
                return None;
            }
            let number = place + 1;
            Some(match OF_OTHERS.iter().find(|known| **known == name.as_ref()) {
                Some(known) => format!("parameter {number} ({known})"),
                None => format!("parameter {number}"),
            })
        })
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(format!(
        "has parameters behind the ? that are not supported: {}; remove them, and write & within a \
         value as %26",
        unknown.join(", ")
    ))
}

fn is_read(name: &str) -> bool {
    let is_option = name.starts_with("options[") && name.ends_with(']');
    is_option || READ.contains(&name)
}
