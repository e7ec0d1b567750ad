use super::*;

fn key(seed: u8) -> Keypair {
    Keypair::from_seed(&[seed; 32])
}

fn least() -> Vec<(&'static str, String)> {
    vec![
        ("RUNNER_SECRET", key(1).secret().to_string()),
        ("RUNNER_SOURCE_SECRET", key(2).secret().to_string()),
        ("RUNNER_AUTH_SECRET", key(3).secret().to_string()),
        ("RUNNER_TOKEN_SECRET", "5a".repeat(32)),
        ("DATABASE_URL", "postgres://lumio@localhost/lumio".to_owned()),
        ("NATS_URL", "nats://localhost:4222".to_owned()),
    ]
}

fn read(more: &[(&'static str, &str)]) -> Result<Config, String> {
    let mut variables = least();
    variables.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Config::read(Env::from_map(variables)).map_err(|error| error.to_string())
}

#[test]
fn the_least_is_two_keys_a_database_and_a_bus() {
    let config = read(&[]).unwrap();
    assert_eq!(config.http.to_string(), "127.0.0.1:4000");
    assert_eq!(config.vault, stellar::local::vault_id().unwrap());
    assert_eq!(config.policy.margin_secs, 60);
    assert!(config.policy.finalize_on_error && config.gates.is_none() && config.grpc.is_none());
}

#[test]
fn browsers_may_call_from_one_origin_or_from_everywhere() {
    assert_eq!(read(&[]).unwrap().cors_origin, "*");
    for right in ["*", "https://app.example", "http://localhost:5173", "http://[::1]:1"] {
        assert_eq!(read(&[("RUNNER_CORS_ORIGIN", right)]).unwrap().cors_origin, right);
    }
    let list = "https://a.example,https://b.example";
    for wrong in [list, "foo", "null", "https://a.example/", "https://a.example:443", "ws://a"] {
        let error = read(&[("RUNNER_CORS_ORIGIN", wrong)]).unwrap_err();
        assert!(error.starts_with("RUNNER_CORS_ORIGIN: expected * or one origin"), "{error}");
    }
    for pattern in ["https://*", "https://*.example", "http://a*.example:1", "*.example", "**"] {
        let error = read(&[("RUNNER_CORS_ORIGIN", pattern)]).unwrap_err();
        assert!(error.starts_with("RUNNER_CORS_ORIGIN: expected * alone"), "{error}");
    }
    let error = read(&[("RUNNER_CONSOLE_CONNECT", "wss://*.example")]).unwrap_err();
    assert!(error.starts_with("RUNNER_CONSOLE_CONNECT: "), "{error}");
}

#[test]
fn two_listeners_at_one_port_are_refused() {
    let token = ("RUNNER_GRPC_TOKENS", "caller:0123456789abcdef");
    let error = read(&[("RUNNER_PORT", "4001"), token]).unwrap_err();
    assert_eq!(error, "RUNNER_GRPC_PORT: is the port of RUNNER_PORT, too; choose another");
    assert!(read(&[("RUNNER_PORT", "4001")]).is_ok(), "without callers gRPC does not listen");
    let engine = [("RUNNER_PORT", "4001"), ("RUNNER_ROLE", "engine"), token];
    assert!(read(&engine).is_ok());
    let error = read(&[("OTEL_EXPORTER_PROMETHEUS_PORT", "4000")]).unwrap_err();
    assert!(
        error.starts_with("OTEL_EXPORTER_PROMETHEUS_PORT: is the port of RUNNER_PORT"),
        "{error}"
    );
}

#[test]
fn a_token_that_no_call_can_carry_is_refused_by_its_own_name() {
    let gates = [
        ("RUNNER_MODULE_GATE_URL", "http://localhost:4200"),
        ("RUNNER_MODULE_GATE_TOKEN", "0123456789\nabcdef"),
        ("RUNNER_ORACLE_GATE_URL", "http://localhost:4100"),
        ("RUNNER_ORACLE_GATE_TOKEN", "0123456789abcdé"),
    ];
    let error = read(&gates).unwrap_err();
    let told = "expected a token of visible ASCII characters";
    let expected = format!("RUNNER_MODULE_GATE_TOKEN: {told}; RUNNER_ORACLE_GATE_TOKEN: {told}");
    assert_eq!(error, expected);
}

#[test]
fn a_mistake_is_reported_once() {
    for (name, value) in [("RUNNER_RPC_URL", "localhost:8000"), ("RUNNER_CONSOLE_CONNECT", "a,b")] {
        let error = read(&[(name, value)]).unwrap_err();
        assert_eq!(error.matches(name).count(), 1, "{error}");
    }
}

#[test]
fn every_mistake_is_reported_by_its_name_and_no_secret_with_it() {
    let error = read(&[
        ("RUNNER_SECRET", "SNOTASECRET"),
        ("RUNNER_FINALIZE_ON_ERROR", "off"),
        ("RUNNER_PORT", "4000000"),
        ("RUNNER_CONTRACT_ID", "GABC"),
        ("RUNNER_MODULE_GATE_URL", "http://localhost:4200"),
        ("RUNNER_CRASH_AT", "somewhere"),
        ("RUNNER_CONSOLE_DIR", "/dev/null"),
        ("RUNNER_LOG_LEVEL", "loud"),
        ("NATS_URL", ""),
        ("NATS_PREFIX", "a.b"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "0"),
    ]);
    let error = error.unwrap_err();
    let names = [
        "RUNNER_SECRET",
        "RUNNER_FINALIZE_ON_ERROR",
        "RUNNER_PORT",
        "RUNNER_CONTRACT_ID",
        "RUNNER_MODULE_GATE_TOKEN",
        "RUNNER_ORACLE_GATE_URL",
        "RUNNER_ORACLE_GATE_TOKEN",
        "RUNNER_CRASH_AT",
        "RUNNER_CONSOLE_DIR",
        "RUNNER_LOG_LEVEL",
        "NATS_URL",
        "NATS_PREFIX",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
    ];
    for name in names {
        assert!(error.contains(&format!("{name}: ")), "{name} is missing in {error}");
    }
    assert!(!error.contains("SNOTASECRET") && !error.contains('\n'), "{error}");
}

#[test]
fn what_is_not_set_is_only_said_not_to_be_set() {
    let none: [(&str, &str); 0] = [];
    let mistakes = Config::read(Env::from_map(none)).unwrap_err().0;
    let mut names: Vec<_> = mistakes.iter().map(|mistake| mistake.variable.as_str()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "{mistakes:?}");
    assert!(names.contains(&"RUNNER_AUTH_SECRET"), "{names:?}");
    for mistake in &mistakes {
        assert_eq!(mistake.problem, "is not set", "{}", mistake.variable);
    }
}

#[test]
fn what_everybody_is_shown_holds_no_password() {
    for url in ["https://user:secret@node.example", "https://user@node.example"] {
        let error = read(&[("RUNNER_BROWSER_RPC_URL", url)]).unwrap_err();
        assert!(error.contains("RUNNER_BROWSER_RPC_URL: ") && !error.contains("secret"), "{error}");
    }
    let config = read(&[("RUNNER_BROWSER_RPC_URL", "https://node.example/v1")]).unwrap();
    assert_eq!(config.browser_rpc_url.as_deref(), Some("https://node.example/v1"));
}

#[test]
fn finalize_on_error_can_be_switched_off() {
    for word in ["false", "0", "no"] {
        assert!(!read(&[("RUNNER_FINALIZE_ON_ERROR", word)]).unwrap().policy.finalize_on_error);
    }
}

#[test]
fn the_public_key_must_be_that_of_the_secret() {
    let (right, wrong) = (key(1).address().to_string(), key(3).address().to_string());
    assert!(read(&[("RUNNER_PUBLIC_KEY", &right)]).is_ok());
    assert!(read(&[("RUNNER_PUBLIC_KEY", &wrong)]).unwrap_err().starts_with("RUNNER_PUBLIC_KEY: "));
    let same = key(1).secret().to_string();
    let error = read(&[("RUNNER_SOURCE_SECRET", &same)]).unwrap_err();
    assert!(error.starts_with("RUNNER_SOURCE_SECRET: "), "{error}");
}

#[test]
fn without_proof_of_who_calls_only_the_local_network_on_loopback_is_served() {
    let error = read(&[("RUNNER_AUTH", "none"), ("RUNNER_BIND", "0.0.0.0")]).unwrap_err();
    assert!(error.starts_with("RUNNER_BIND: "), "{error}");
    let vouched = [
        ("RUNNER_AUTH", "none"),
        ("RUNNER_BIND", "0.0.0.0"),
        ("RUNNER_ALLOW_INSECURE_BIND", "yes"),
    ];
    assert!(read(&vouched).is_ok());
    assert!(read(&[("RUNNER_BIND", "0.0.0.0")]).is_ok(), "with a login any address is served");
    let public = "Public Global Stellar Network ; September 2015";
    let error =
        read(&[("RUNNER_AUTH", "none"), ("RUNNER_NETWORK_PASSPHRASE", public)]).unwrap_err();
    for name in ["RUNNER_AUTH", "RUNNER_CONTRACT_ID", "RUNNER_AGENT_REGISTRY_ID"] {
        assert!(error.contains(&format!("{name}: ")), "{name} is missing in {error}");
    }
    let error = read(&[("RUNNER_AUTH", "yes")]).unwrap_err();
    assert!(error.starts_with("RUNNER_AUTH: "), "{error}");
}

#[test]
fn the_logins_keys_are_keys_of_their_own() {
    let chain = key(1).secret().to_string();
    let seed = "01".repeat(32);
    let cases = [
        ("RUNNER_AUTH_SECRET", ""),
        ("RUNNER_AUTH_SECRET", chain.as_str()),
        ("RUNNER_TOKEN_SECRET", ""),
        ("RUNNER_TOKEN_SECRET", "short"),
        ("RUNNER_TOKEN_SECRET", seed.as_str()),
        ("RUNNER_OPERATORS", "GABC"),
        ("RUNNER_WEB_AUTH_CONTRACT_ID", "GABC"),
        ("RUNNER_PASSKEY_WASM_HASH", "abcdef"),
        ("RUNNER_PUBLIC_URL", "http://user:secret@host"),
        ("RUNNER_HOME_DOMAIN", "a b"),
    ];
    for (name, value) in cases {
        let error = read(&[(name, value)]).unwrap_err();
        assert!(error.starts_with(&format!("{name}: ")), "{name}={value}: {error}");
        assert!(value.len() < 5 || !error.contains(value), "{error}");
    }
}

#[test]
fn outside_of_the_local_network_tokens_travel_encrypted() {
    let public = "Public Global Stellar Network ; September 2015";
    let network = ("RUNNER_NETWORK_PASSPHRASE", public);
    let error = read(&[network]).unwrap_err();
    assert!(error.contains("RUNNER_PUBLIC_URL: is not set"), "{error}");
    let error = read(&[network, ("RUNNER_PUBLIC_URL", "http://runner.example")]).unwrap_err();
    assert!(error.contains("RUNNER_PUBLIC_URL: expected https://"), "{error}");
}

#[test]
fn a_gateway_alone_starts_without_the_chains_keys_and_refuses_to_hold_them() {
    let address = key(1).address().to_string();
    let none = [("RUNNER_SECRET", ""), ("RUNNER_SOURCE_SECRET", ""), ("RUNNER_ROLE", "gateway")];
    let config = read(&[none.as_slice(), &[("RUNNER_PUBLIC_KEY", &address)]].concat()).unwrap();
    assert!(config.keys.is_none());
    assert_eq!(config.runner.to_string(), address);
    let error = read(&none).unwrap_err();
    assert!(error.starts_with("RUNNER_PUBLIC_KEY: "), "{error}");
    let error = read(&[("RUNNER_ROLE", "gateway"), ("RUNNER_PUBLIC_KEY", &address)]).unwrap_err();
    assert!(error.starts_with("RUNNER_SECRET: "), "{error}");
    // An engine has no callers, so it needs no key for logins.
    let engine =
        [("RUNNER_ROLE", "engine"), ("RUNNER_AUTH_SECRET", ""), ("RUNNER_TOKEN_SECRET", "")];
    assert!(read(&engine).is_ok());
}

#[test]
fn a_deadline_must_leave_time_to_run() {
    let error = read(&[("RUNNER_DEADLINE_SECS", "660")]).unwrap_err();
    assert!(error.starts_with("RUNNER_DEADLINE_SECS: "), "{error}");
}

#[test]
fn the_old_state_file_is_accepted_with_a_notice() {
    assert_eq!(read(&[("RUNNER_STATE_PATH", "/var/state.json")]).unwrap().notices.len(), 1);
}

#[test]
fn keys_may_be_in_a_token_and_what_is_missing_or_contradicts_is_named() {
    let runner = key(7).address().to_string();
    let sources = format!("fees:1:{},more:{}", key(8).address(), key(9).address());
    let token = [
        ("RUNNER_SIGNER", "pkcs11"),
        ("RUNNER_SECRET", ""),
        ("RUNNER_SOURCE_SECRET", ""),
        ("RUNNER_PUBLIC_KEY", &runner),
        ("RUNNER_PKCS11_MODULE", "/usr/lib/softhsm/libsofthsm2.so"),
        ("RUNNER_PKCS11_TOKEN", "lumio"),
        ("RUNNER_PKCS11_PIN", "canary-pin"),
        ("RUNNER_PKCS11_KEY", "runner"),
        ("RUNNER_PKCS11_SOURCE_KEYS", &sources),
    ];
    let config = read(&token).unwrap();
    assert_eq!(config.runner, key(7).address());
    let keys = config.keys.as_ref().unwrap();
    assert_eq!(keys.channels(), [key(8).address(), key(9).address()]);
    assert_eq!(config.signer_module.as_deref(), Some(Path::new("/usr/lib/softhsm")));
    assert!(!format!("{config:?}").contains("canary-pin"));

    let secret = key(1).secret();
    for (change, name) in [
        (("RUNNER_PUBLIC_KEY", ""), "RUNNER_PUBLIC_KEY: "),
        (("RUNNER_PKCS11_MODULE", ""), "RUNNER_PKCS11_MODULE: "),
        (("RUNNER_PKCS11_TOKEN", ""), "RUNNER_PKCS11_TOKEN: "),
        (("RUNNER_PKCS11_PIN", ""), "RUNNER_PKCS11_PIN: "),
        (("RUNNER_PKCS11_KEY", ""), "RUNNER_PKCS11_KEY: "),
        (("RUNNER_PKCS11_SOURCE_KEYS", "fees"), "RUNNER_PKCS11_SOURCE_KEYS: expected LABEL:G…"),
        (("RUNNER_PKCS11_SOURCE_KEYS", ""), "RUNNER_SOURCE_SECRET: "),
        (("RUNNER_SECRET", secret.as_str()), "RUNNER_SECRET: is set beside RUNNER_SIGNER=pkcs11"),
        (("RUNNER_SIGNER", "kms"), "RUNNER_SIGNER: expected local or pkcs11"),
        (("RUNNER_SIGNER", "local"), "RUNNER_PKCS11_SOURCE_KEYS: needs RUNNER_SIGNER=pkcs11"),
        (("RUNNER_PKCS11_PIN_FILE", "/missing"), "RUNNER_PKCS11_PIN_FILE: is set beside"),
    ] {
        let mut changed = token.to_vec();
        changed.retain(|(name, _)| *name != change.0);
        changed.push(change);
        let error = read(&changed).unwrap_err();
        assert!(error.contains(name) && !error.contains("canary-pin"), "{name}: {error}");
    }
    let gateway = Config::read_as(
        Env::from_map(token.iter().copied().chain([
            ("DATABASE_URL", "postgres://lumio@localhost/lumio"),
            ("NATS_URL", "nats://localhost:4222"),
        ])),
        Some(Role::Gateway),
    );
    assert!(gateway.unwrap_err().to_string().contains("RUNNER_PKCS11_PIN: "));
}
