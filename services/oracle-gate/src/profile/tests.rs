use proptest::prelude::*;

use super::*;

fn load(yaml: &str) -> Result<Profile, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let set = |name: &str| match name {
        "SET" => Some("/srv/x".to_owned()),
        "EMPTY" => Some(String::new()),
        "YES" => Some("true".to_owned()),
        "URL" => Some("https://s3.example".to_owned()),
        _ => None,
    };
    Profile::load(file.path().to_str().unwrap(), None, set).map_err(|error| error.to_string())
}

fn wired(wiring: &str) -> Result<Profile, String> {
    load(&format!("profile_id: x\nwiring: {{{wiring}}}"))
}

#[test]
fn the_shipped_profiles_load_and_only_local_is_lenient() {
    for id in ["local", "dev", "prod"] {
        let profile = Profile::load(id, Some("/srv/x".to_owned()), |_| None).unwrap();
        assert_eq!((profile.id.as_str(), profile.lenient), (id, id == "local"));
        assert_eq!(profile.least_evidence == Evidence::SizeOnly, id == "local");
        assert_eq!(profile.object_store, S3Settings::default());
        assert!(!profile.trust_store_checksums && profile.require_gate_pass);
        assert_eq!(profile.max_receipt_age, None);
        assert!(profile.catalogue.output("lumio.run.output").is_some());
    }
    let local = Profile::load("local", None, |_| None).unwrap();
    assert_eq!(local.oracle_root, "runs/local_full_run-5");
    for id in ["dev", "prod"] {
        let error = Profile::load(id, None, |_| None).unwrap_err().to_string();
        assert!(error.contains("ORACLE_GATE_ROOT") && error.contains("not set"), "{error}");
    }
}

#[test]
fn variables_are_whole_values_and_must_be_set() {
    let root = |text: &str| wired(&format!("oracle_root: \"{text}\""));
    assert_eq!(root("${SET}").unwrap().oracle_root, "/srv/x");
    assert_eq!(root("${UNSET:-runs/x}").unwrap().oracle_root, "runs/x");
    assert_eq!(root("${EMPTY:-runs/x}").unwrap().oracle_root, "runs/x");
    assert_eq!(root("s3://bucket/x").unwrap().oracle_root, "s3://bucket/x");
    for (text, expected) in
        [("${UNSET}", "UNSET"), ("${EMPTY}", "EMPTY"), ("a/${SET}", "whole value")]
    {
        let error = root(text).unwrap_err();
        assert!(error.contains(expected) && error.contains("oracle_root"), "{error}");
    }
}

#[test]
fn the_digest_of_a_policy_is_of_what_it_says() {
    let digest = |policy: &str| {
        load(&format!("profile_id: x\n{policy}\nwiring: {{oracle_root: /srv/x}}"))
            .unwrap()
            .policy_digest
    };
    let policy = digest("policy: {require_pack_ref: true}");
    assert_eq!(digest("# Strict\npolicy:\n  require_pack_ref: true # views pin it"), policy);
    let aged = "policy: {require_pack_ref: true, max_receipt_age_seconds: 5}";
    for other in ["", "policy: {}", "policy: {require_pack_ref: false}", aged] {
        assert_ne!(digest(other), policy, "{other}");
    }
}

/// Only the last of two variables, or half of a nested one, would be left.
#[test]
fn two_variables_in_one_value_are_refused() {
    for text in
        ["${SET}/${UNSET:-x}", "${SET}${SET}", "${UNSET:-${SET}}", "${}", "${:-x}", "${A B:-x}"]
    {
        let error = wired(&format!("oracle_root: \"{text}\"")).unwrap_err();
        assert!(error.contains("one variable"), "{text}: {error}");
    }
}

proptest! {
    /// A value is what it says, or what one variable says, or its fallback; nothing is left of a
    /// variable that was not replaced.
    #[test]
    fn an_expansion_is_one_value_or_an_error(text in "(\\$\\{|\\}|\\$|\\{|:-|SET|UNSET|EMPTY|/|x){0,7}") {
        let variable = |name: &str| match name {
            "SET" => Some("/srv/x".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        if let Ok(value) = expand("x", "oracle_root", &text, &variable) {
            let fallback = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            let fallback = fallback.and_then(|inside| inside.split_once(":-")).map(|(_, text)| text);
            prop_assert!(!value.contains("${"), "{} gives {}", text, value);
            prop_assert!(
                value == text || value == "/srv/x" || Some(value.as_str()) == fallback,
                "{} gives {}", text, value
            );
        }
    }
}

#[test]
fn endpoint_region_and_path_style_are_wiring_and_come_from_the_environment() {
    let profile = wired(
        "oracle_root: \"s3://bucket/x\", object_store: {endpoint: \"${URL}\", \
         region: \"${UNSET:-}\", path_style: \"${YES}\", allow_http: false}",
    );
    let wiring = profile.unwrap().object_store;
    assert_eq!(wiring.endpoint.as_deref(), Some("https://s3.example"));
    assert_eq!((wiring.region, wiring.path_style, wiring.allow_http), (None, Some(true), false));
    let missing = wired("oracle_root: x, object_store: {region: \"${UNSET}\"}").unwrap_err();
    assert!(missing.contains("UNSET") && missing.contains("object_store.region"), "{missing}");
    assert!(wired("oracle_root: x, object_store: {endpont: x}").unwrap_err().contains("endpont"));
    assert!(wired("oracle_root: x, object_store: {path_style: \"${SET}\"}").is_err());
}

#[test]
fn leniency_elsewhere_and_misspelt_rules_are_errors() {
    for (id, policy) in [
        ("dev", "lenient: true"),
        ("prod", "lenient: true"),
        ("staging", "lenient: true"),
        ("prod", "require_gate_pass: false"),
        ("dev", "least_evidence: size_only"),
        ("dev", "least_evidence: hearsay"),
        ("dev", "max_receipt_age_seconds: 0"),
        ("dev", "max_receipt_age_seconds: -1"),
        ("dev", "max_receipt_age_seconds: 4294967296"),
        ("dev", "max_receipt_age_seconds: 30d"),
        ("local", "lenint: true"),
    ] {
        let yaml = format!("profile_id: {id}\npolicy: {{{policy}}}\nwiring: {{oracle_root: x}}");
        assert!(load(&yaml).is_err(), "{id} with {policy} passed");
    }
    for id in ["production", "staging", "dev_local"] {
        let profile = load(&format!("profile_id: {id}\nwiring: {{oracle_root: x}}")).unwrap();
        assert!(!profile.lenient && profile.least_evidence == Evidence::HashedBytes, "{id}");
    }
}

#[test]
fn a_secret_is_refused_and_no_error_repeats_a_value() {
    for wiring in [
        "oracle_root: x, object_store: {secret_access_key: hunter2}",
        "oracle_root: x, object_store: {endpoint: \"https://me:hunter2@s3.example\"}",
        "oracle_root: x, security: {keys: [{hmac_secret: hunter2}]}",
        "oracle_root: x, event_bus: {api_token: hunter2}",
        "oracle_root: \"s3://hunter2@bucket/x\"",
        "oracle_root: x, object_store: {password: [hunter2]}",
        "oracle_root: x, object_store: {path_style: hunter2}",
        "oracle_root: x, engine_catalogue_path: {hunter2: 1}",
        "oracle_root: x, object_store: hunter2",
    ] {
        let error = wired(wiring).map(|_| ()).expect_err(wiring);
        assert!(!error.contains("hunter2"), "{error}");
    }
    let elsewhere = wired("oracle_root: x, security: {hmac_secret: \"${HMAC}\", token_seconds: 5}");
    assert!(elsewhere.is_ok(), "a variable in place of a secret is no secret");
}

/// The table in the contract names what the reader knows: serde lists it in its refusal.
#[test]
fn every_member_of_a_profile_stands_in_the_contract() {
    let contract = include_str!("../../../../docs/oracle-store/README.md");
    for (yaml, prefix) in [
        ("profile_id: x\npolicy: {?: 1}\nwiring: {oracle_root: x}", "policy."),
        ("profile_id: x\nwiring: {oracle_root: x, object_store: {?: 1}}", "."),
    ] {
        let error = load(&yaml.replace('?', "unheard_of")).unwrap_err();
        let (_, known) = error.split_once("expected one of").unwrap();
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert!(known.len() > 5, "{error}");
        for name in known {
            assert!(contract.contains(&format!("{prefix}{name}`")), "{prefix}{name}");
        }
    }
}
