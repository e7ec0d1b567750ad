//! The web authentication contract of SEP-45, by which contract accounts log in to a runner's
//! gateway.
//!
//! It is only ever simulated. It holds no state and no administrator: whoever deploys it gains
//! nothing.
#![no_std]
#![expect(missing_docs, reason = "the contract macros make public items of their own")]

use soroban_sdk::{Address, Env, Map, String, Symbol, contract, contracterror, contractimpl};

/// Why a login's arguments cannot be used.
#[contracterror]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Error {
    /// `account` or `web_auth_domain_account` is missing.
    MissingArgument = 1,
}

/// The contract.
#[contract]
pub struct WebAuth;

#[contractimpl]
impl WebAuth {
    /// Asks the account, the server and, where one is named, the client's domain for their
    /// authorization of exactly these arguments. Everything else in `args` is bound by those
    /// authorizations and read by nobody here.
    ///
    /// Signed by: `args.account`, `args.web_auth_domain_account`, and `args.client_domain_account`
    /// where it is present. Emits no event.
    pub fn web_auth_verify(env: Env, args: Map<Symbol, String>) -> Result<(), Error> {
        require_auth(&env, &args, "account")?;
        require_auth(&env, &args, "web_auth_domain_account")?;
        match require_auth(&env, &args, "client_domain_account") {
            // A client's domain is optional in SEP-45.
            Ok(()) | Err(Error::MissingArgument) => Ok(()),
        }
    }
}

fn require_auth(env: &Env, args: &Map<Symbol, String>, name: &str) -> Result<(), Error> {
    let text = args.get(Symbol::new(env, name)).ok_or(Error::MissingArgument)?;
    Address::from_string(&text).require_auth();
    Ok(())
}

#[cfg(test)]
mod tests {
    use soroban_sdk::testutils::Address as _;

    use super::*;

    fn args(env: &Env, named: &[(&str, &Address)]) -> Map<Symbol, String> {
        let mut args = Map::new(env);
        for (name, address) in named {
            args.set(Symbol::new(env, name), address.to_string());
        }
        args.set(Symbol::new(env, "nonce"), String::from_str(env, "7"));
        args
    }

    #[test]
    fn it_asks_everybody_who_is_named_and_nobody_else() {
        let env = Env::default();
        env.mock_all_auths();
        let contract = WebAuthClient::new(&env, &env.register(WebAuth, ()));
        let [account, server, domain] = [(); 3].map(|()| Address::generate(&env));

        contract.web_auth_verify(&args(
            &env,
            &[("account", &account), ("web_auth_domain_account", &server)],
        ));
        let asked: std::vec::Vec<_> = env.auths().into_iter().map(|(who, _)| who).collect();
        assert!(asked.len() == 2 && asked.contains(&account) && asked.contains(&server));

        contract.web_auth_verify(&args(
            &env,
            &[
                ("account", &account),
                ("web_auth_domain_account", &server),
                ("client_domain_account", &domain),
            ],
        ));
        assert_eq!(env.auths().len(), 3);
    }

    #[test]
    fn without_an_account_or_a_server_nobody_is_logged_in() {
        let env = Env::default();
        env.mock_all_auths();
        let contract = WebAuthClient::new(&env, &env.register(WebAuth, ()));
        let somebody = Address::generate(&env);
        for name in ["account", "web_auth_domain_account"] {
            let refused = contract.try_web_auth_verify(&args(&env, &[(name, &somebody)]));
            assert_eq!(refused.unwrap_err().unwrap(), Error::MissingArgument);
        }
    }

    extern crate std;
}
