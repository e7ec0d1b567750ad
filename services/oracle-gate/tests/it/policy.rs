//! The policies that are handed out: well-formed, and evaluated against what each role must and
//! must not do, by the rules of AWS IAM ("Policy evaluation logic"): a Deny anywhere decides, then
//! an Allow.

use std::collections::BTreeSet;
use std::process::Command;

use oracle_gate::policy::{Bucket, Role, bucket_policy, lifecycle, role};
use serde_json::Value;
use strum::IntoEnumIterator;

const BUCKET: &str = "arn:aws:s3:::acme";

/// Every action that a document of ours may name.
const ACTIONS: [&str; 18] = [
    "s3:*",
    "s3:BypassGovernanceRetention",
    "s3:DeleteBucketPolicy",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:GetObject",
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectVersion",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutLifecycleConfiguration",
    "s3:PutObject",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
];

/// An operation: its name, the action, the key (none: the bucket), and how it is sent.
struct Operation {
    name: &'static str,
    action: &'static str,
    key: Option<&'static str>,
    /// Whether the request carries `If-None-Match`.
    creates: bool,
    tls: bool,
}

const fn of(name: &'static str, action: &'static str, key: &'static str) -> Operation {
    Operation { name, action, key: Some(key), creates: false, tls: true }
}

const fn creating(name: &'static str, key: &'static str) -> Operation {
    Operation { name, action: "s3:PutObject", key: Some(key), creates: true, tls: true }
}

const fn of_bucket(name: &'static str, action: &'static str) -> Operation {
    Operation { name, action, key: None, creates: false, tls: true }
}

const OPERATIONS: [Operation; 33] = [
    of("read output", "s3:GetObject", "prod/packs/a1/outputs/x"),
    of("read seal", "s3:GetObject", "prod/packs/a1/_SEALED.json"),
    of("read view", "s3:GetObject", "prod/sr/run_facts_view/r.1.json"),
    of("read plan", "s3:GetObject", "prod/sr/run_plan/r.1.json"),
    of("read module", "s3:GetObject", "prod/modules/m/tree/x"),
    of("read engine", "s3:GetObject", "prod/run-5/data/x"),
    of("read other", "s3:GetObject", "elsewhere/x"),
    of("read version", "s3:GetObjectVersion", "prod/packs/a1/_SEALED.json"),
    of("read lock", "s3:GetObjectRetention", "prod/packs/a1/_SEALED.json"),
    of_bucket("list", "s3:ListBucket"),
    of_bucket("list versions", "s3:ListBucketVersions"),
    creating("create output", "prod/packs/a1/outputs/x"),
    creating("create seal", "prod/packs/a1/_SEALED.json"),
    creating("create record", "prod/packs/a1/_records/1.json"),
    creating("create view", "prod/sr/run_facts_view/r.1.json"),
    creating("create module", "prod/modules/m/tree/x"),
    creating("create engine file", "prod/run-5/data/x"),
    creating("close engine pack", "prod/run-5/_SEALED.json"),
    creating("close nested engine pack", "prod/run-5/sub/_SEALED.json"),
    creating("create other", "elsewhere/x"),
    of("overwrite output", "s3:PutObject", "prod/packs/a1/outputs/x"),
    of("overwrite seal", "s3:PutObject", "prod/packs/a1/_SEALED.json"),
    of("overwrite engine file", "s3:PutObject", "prod/run-5/data/x"),
    of("probe", "s3:PutObject", "prod/_probe/a/1"),
    of("delete probe", "s3:DeleteObject", "prod/_probe/a/1"),
    of("delete output", "s3:DeleteObject", "prod/packs/a1/outputs/x"),
    of("delete engine file", "s3:DeleteObject", "prod/run-5/data/x"),
    of("delete version", "s3:DeleteObjectVersion", "prod/packs/a1/_SEALED.json"),
    of("bypass", "s3:BypassGovernanceRetention", "prod/packs/a1/_SEALED.json"),
    of("legal hold", "s3:PutObjectLegalHold", "prod/packs/a1/_SEALED.json"),
    of("retention", "s3:PutObjectRetention", "prod/packs/a1/_SEALED.json"),
    of_bucket("lifecycle", "s3:PutLifecycleConfiguration"),
    of_bucket("policy", "s3:PutBucketPolicy"),
];

/// What each role may do; nothing else.
fn may(role: Role) -> &'static [&'static str] {
    match role {
        Role::Wsp | Role::Ig => &["read output", "read seal", "read view", "list", "list versions"],
        Role::Sr => {
            &["read output", "read seal", "read view", "read plan", "list", "list versions"]
        }
        Role::Dla | Role::Cm => &[
            "read output",
            "read seal",
            "read view",
            "read plan",
            "read version",
            "list",
            "list versions",
        ],
        Role::Auditor => &[
            "read output",
            "read seal",
            "read view",
            "read plan",
            "read module",
            "read engine",
            "read version",
            "read lock",
            "list",
            "list versions",
        ],
        Role::Engine => &["read engine", "create engine file"],
        Role::Packer => &[
            "read output",
            "read seal",
            "read view",
            "read plan",
            "read module",
            "read engine",
            "list",
            "list versions",
            "create output",
            "create seal",
            "create view",
            "create module",
            "create engine file",
            "close engine pack",
            "close nested engine pack",
            "probe",
            "delete probe",
        ],
        Role::Custodian => &[
            "read output",
            "read seal",
            "read lock",
            "list",
            "list versions",
            "create record",
            "legal hold",
        ],
    }
}

fn bucket() -> Bucket {
    Bucket {
        name: "acme".to_owned(),
        prefix: "prod".to_owned(),
        pack_roots: vec!["packs".to_owned()],
        engine_roots: vec!["run-5".to_owned()],
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(all) => all.iter().map(|text| text.as_str().unwrap()).collect(),
        _ => panic!("neither a text nor texts: {value}"),
    }
}

/// `*` is any text, also with slashes.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => {
            let Some(left) = text.strip_prefix(head) else { return false };
            (0..=left.len()).any(|at| left.is_char_boundary(at) && like(rest, &left[at..]))
        }
    }
}

/// The value of a condition key in a request; `None` if the request has none.
fn context(operation: &Operation, key: &str) -> Option<String> {
    match key {
        "s3:if-none-match" => operation.creates.then(|| "*".to_owned()),
        "s3:ObjectCreationOperation" => Some((operation.action == "s3:PutObject").to_string()),
        "s3:prefix" => operation.key.is_none().then(|| "prod/packs/".to_owned()),
        "aws:SecureTransport" => Some(operation.tls.to_string()),
        _ => panic!("a condition key that is not known: {key}"),
    }
}

fn holds(operation: &Operation, conditions: Option<&Value>) -> bool {
    let Some(Value::Object(conditions)) = conditions else { return true };
    conditions.iter().all(|(operator, keys)| {
        keys.as_object().unwrap().iter().all(|(key, expected)| {
            let found = context(operation, key);
            let expected = texts(expected);
            match operator.as_str() {
                "Null" => expected.contains(&&*found.is_none().to_string()),
                "Bool" => found.is_some_and(|found| expected.contains(&&*found)),
                "StringLike" => {
                    found.is_some_and(|found| expected.iter().any(|text| like(text, &found)))
                }
                _ => panic!("an operator that is not known: {operator}"),
            }
        })
    })
}

fn applies(operation: &Operation, statement: &Value) -> bool {
    let resource = operation.key.map_or_else(|| BUCKET.to_owned(), |key| format!("{BUCKET}/{key}"));
    texts(&statement["Action"]).iter().any(|action| like(action, operation.action))
        && texts(&statement["Resource"]).iter().any(|pattern| like(pattern, &resource))
        && holds(operation, statement.get("Condition"))
}

fn allows(operation: &Operation, identity: &Value, resource: &Value) -> bool {
    let statements = |document: &Value| document["Statement"].as_array().unwrap().clone();
    let all: Vec<Value> = statements(identity).into_iter().chain(statements(resource)).collect();
    let effect = |effect: &str| {
        all.iter().any(|statement| statement["Effect"] == effect && applies(operation, statement))
    };
    !effect("Deny") && effect("Allow")
}

#[test]
fn each_role_may_do_what_it_must_and_nothing_else() {
    let (bucket, policy) = (bucket(), bucket_policy(&bucket()));
    for one in Role::iter() {
        let identity = role(one, &bucket);
        for operation in &OPERATIONS {
            let expected = may(one).contains(&operation.name);
            let found = allows(operation, &identity, &policy);
            assert_eq!(found, expected, "{one}: {}", operation.name);
            let plain = Operation { tls: false, ..*operation };
            assert!(!allows(&plain, &identity, &policy), "{one}: {} without TLS", operation.name);
        }
    }
}

/// A role that was given everything by mistake still changes nothing that is sealed.
#[test]
fn the_buckets_policy_refuses_what_a_role_was_given_too_much() {
    let everything = serde_json::json!({ "Statement": [
        { "Effect": "Allow", "Action": "s3:*", "Resource": "*" },
    ]});
    let policy = bucket_policy(&bucket());
    for operation in &OPERATIONS {
        let refused =
            ["overwrite output", "overwrite seal", "delete output", "delete version", "bypass"];
        let expected = !refused.contains(&operation.name);
        assert_eq!(allows(operation, &everything, &policy), expected, "{}", operation.name);
    }
}

#[test]
fn the_documents_are_well_formed() {
    let bucket = bucket();
    let whole = Bucket { prefix: String::new(), ..bucket.clone() };
    for bucket in [&bucket, &whole] {
        let roles = Role::iter().map(|one| (role(one, bucket), false));
        for (document, of_bucket) in roles.chain([(bucket_policy(bucket), true)]) {
            assert_eq!(document["Version"], "2012-10-17");
            // The size limit of a managed policy, which is the smaller of the two kinds'.
            assert!(document.to_string().len() <= 6144, "{document}");
            let mut sids = BTreeSet::new();
            for statement in document["Statement"].as_array().unwrap() {
                let sid = statement["Sid"].as_str().unwrap();
                assert!(sids.insert(sid.to_owned()), "{sid} twice");
                assert!(sid.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{sid}");
                assert_eq!(statement.get("Principal").is_some(), of_bucket, "{statement}");
                let allow = statement["Effect"] == "Allow";
                assert!(allow || statement["Effect"] == "Deny");
                for action in texts(&statement["Action"]) {
                    assert!(ACTIONS.contains(&action), "{action}");
                    assert!(!(allow && action.contains('*')), "{statement}");
                }
                for resource in texts(&statement["Resource"]) {
                    assert!(resource == BUCKET || resource.starts_with("arn:aws:s3:::acme/"));
                    assert!(!resource.contains("//"), "{resource}");
                }
            }
        }
    }
}

/// Only what no reader may read is ever cleaned up.
#[test]
fn no_lifecycle_rule_reaches_a_pack() {
    let rules = lifecycle(&bucket(), Some(30));
    for rule in rules["Rules"].as_array().unwrap() {
        let prefix = rule["Filter"]["Prefix"].as_str().unwrap();
        let removes = rule.get("Expiration").is_some()
            || rule.get("NoncurrentVersionExpiration").is_some()
            || rule.get("Transition").is_some();
        for kept in ["prod/packs/a", "prod/sr/a", "prod/modules/a", "prod/run-5/a"] {
            assert!(!removes || !kept.starts_with(prefix), "{rule}");
        }
    }
}

#[test]
fn the_command_prints_the_documents_of_its_profiles_bucket() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_oracle-gate"))
            .args(["policy", "--profile", "prod"])
            .args(arguments)
            .env_clear()
            .env("ORACLE_GATE_ROOT", "s3://acme/prod")
            .env("ORACLE_GATE_S3_REGION", "eu-central-1")
            .output()
            .unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).ok())
    };
    let (exit, printed) =
        run(&["--document", "role", "--role", "engine", "--engine-root", "run-5"]);
    assert_eq!((exit, printed.unwrap()), (Some(0), role(Role::Engine, &bucket())));
    let (exit, lock) = run(&["--document", "object-lock"]);
    let retention = &lock.unwrap()["Rule"]["DefaultRetention"];
    assert_eq!((exit, retention["Days"].as_u64()), (Some(0), Some(2555)));
    for wrong in [
        &["--document", "role"][..],
        &["--document", "bucket", "--pack-root", "../x"],
        &["--document", "bucket", "--pack-root", "a*"],
        &["--document", "other"],
    ] {
        assert_eq!(run(wrong).0, Some(3), "{wrong:?}");
    }
}
