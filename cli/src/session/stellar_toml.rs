//! What a gateway's `stellar.toml` says of the login (SEP-1).

use stellar::Address;

use crate::error::{CliError, Result};

/// The document, read as far as every login needs it.
#[derive(Debug)]
pub(super) struct StellarToml {
    /// The network that the gateway is on.
    pub(super) network_passphrase: String,
    /// The account whose key signs challenges.
    pub(super) signing_key: Address,
    table: toml::Table,
}

impl StellarToml {
    /// # Errors
    ///
    /// [`CliError::Bad`] naming what is wrong or missing.
    pub(super) fn read(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().map_err(|error| unusable(&format!("{error}")))?;
        let network_passphrase = required(&table, "NETWORK_PASSPHRASE")?;
        let signing_key = match required(&table, "SIGNING_KEY")?.parse() {
            Ok(key @ Address::Account(_)) => key,
            _ => return Err(unusable("its SIGNING_KEY is no account")),
        };
        Ok(Self { network_passphrase, signing_key, table })
    }

    /// Where accounts log in (SEP-10).
    ///
    /// # Errors
    ///
    /// [`CliError::Bad`] when there is no such toml.
    pub(super) fn endpoint(&self) -> Result<String> {
        required(&self.table, "WEB_AUTH_ENDPOINT")
    }

    /// Where contract accounts log in, and the contract whose call they authorise (SEP-45).
    ///
    /// # Errors
    ///
    /// [`CliError::Usage`] when the gateway offers no such login, [`CliError::Bad`] when what it says
    /// of it cannot be used.
    pub(super) fn for_contracts(&self) -> Result<(String, Address)> {
        const ENDPOINT: &str = "WEB_AUTH_FOR_CONTRACTS_ENDPOINT";
        const CONTRACT: &str = "WEB_AUTH_CONTRACT_ID";
        if [ENDPOINT, CONTRACT].iter().all(|name| !self.table.contains_key(*name)) {
            return Err(CliError::usage(format!(
                "this gateway has no login for contract accounts: its stellar.toml has no \
                 {ENDPOINT}; its operator sets RUNNER_WEB_AUTH_CONTRACT_ID. Nothing was signed"
            )));
        }
        let endpoint = required(&self.table, ENDPOINT)?;
        match required(&self.table, CONTRACT)?.parse() {
            Ok(contract @ Address::Contract(_)) => Ok((endpoint, contract)),
            _ => Err(unusable(&format!("its {CONTRACT} is no contract"))),
        }
    }
}

fn required(table: &toml::Table, name: &str) -> Result<String> {
    let value = table.get(name).and_then(toml::Value::as_str);
    value.map(str::to_owned).ok_or_else(|| unusable(&format!("it has no {name}")))
}

fn unusable(why: &str) -> CliError {
    CliError::bad(format!("the gateway's stellar.toml cannot be used: {why}; nothing was signed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "GDRW375MAYR46ODGF2WGANQC2RRZL7O246DYHHCGWTV2RE7IHE2QUQLD";

    fn whole() -> String {
        let contract = Address::Contract([7; 32]);
        format!(
            "NETWORK_PASSPHRASE=\"n\"\nSIGNING_KEY=\"{ACCOUNT}\"\n\
             WEB_AUTH_ENDPOINT=\"http://h/auth\"\n\
             WEB_AUTH_FOR_CONTRACTS_ENDPOINT=\"http://h/sep45\"\n\
             WEB_AUTH_CONTRACT_ID=\"{contract}\"\n"
        )
    }

    fn reads(text: &str) -> Result<()> {
        let toml = StellarToml::read(text)?;
        toml.endpoint()?;
        toml.for_contracts().map(|_| ())
    }

    #[test]
    fn a_stellar_toml_without_its_members_is_refused_by_name() {
        reads(&whole()).unwrap();
        for name in [
            "NETWORK_PASSPHRASE",
            "SIGNING_KEY",
            "WEB_AUTH_ENDPOINT",
            "WEB_AUTH_FOR_CONTRACTS_ENDPOINT",
            "WEB_AUTH_CONTRACT_ID",
        ] {
            let error = reads(&whole().replace(name, "OTHER")).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(StellarToml::read("not toml").is_err());
        let account = whole().replace(&Address::Contract([7; 32]).to_string(), ACCOUNT);
        assert!(reads(&account).unwrap_err().to_string().contains("is no contract"));
    }

    #[test]
    fn a_gateway_without_contract_accounts_says_which_setting_is_missing() {
        let text = whole().replace("WEB_AUTH_FOR", "OTHER_FOR").replace("AUTH_CONTRACT", "OTHER");
        let error = reads(&text).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("RUNNER_WEB_AUTH_CONTRACT_ID"), "{error}");
    }
}
