//! Documents for a store in a bucket: who may do what, how long it is kept, what is cleaned up.
//!
//! Role documents are identity policies of AWS IAM; they name actions and resources one by one, and
//! no role may remove or overwrite what is sealed. The bucket's own policy refuses the same to
//! everybody, so that a role that was given too much still cannot.
//!
//! Creates carry `If-None-Match: *`, which the condition key `s3:if-none-match` shows (Amazon S3,
//! "Enforce conditional writes on Amazon S3 buckets"); parts of an upload in parts are no creation
//! of an object, so they carry no condition and are exempt by `s3:ObjectCreationOperation`.

use serde_json::{Value, json};
use strum::{Display, EnumIter, EnumString};

use crate::retention::{Class, Demand};

/// The version of the policy language.
const VERSION: &str = "2012-10-17";
/// Days after which what an interrupted probe left is removed.
const PROBE_DAYS: u32 = 1;
/// Days after which an upload in parts that never ended is removed.
const UPLOAD_DAYS: u32 = 7;

/// Who works with a store (the requirements' names).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumIter, EnumString, clap::ValueEnum,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Role {
    /// Scenario runner: reads what it has published.
    Sr,
    /// Stream producer: reads what a checked view names.
    Wsp,
    /// Ingestion gate: reads what a checked view names.
    Ig,
    /// Audit of decisions: reads packs, views, plans and records, and earlier versions of them.
    Dla,
    /// Case management: reads as the audit does.
    Cm,
    /// An engine: creates files in its own folders, and nothing that closes a pack.
    Engine,
    /// oracle-gate: creates packs, seals and views.
    Packer,
    /// The account that decides about sealed packs: creates records, sets legal holds of the store.
    Custodian,
    /// `oracle-gate audit`: reads everything, versions and locks too.
    Auditor,
}

/// The bucket that the documents are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Everything of the store lies below it; empty: the whole bucket.
    pub prefix: String,
    /// Folders that packs lie in, below the prefix.
    pub pack_roots: Vec<String>,
    /// Folders that engines write to, below the prefix.
    pub engine_roots: Vec<String>,
}

impl Bucket {
    fn arn(&self) -> String {
        format!("arn:aws:s3:::{}", self.name)
    }

    fn key(&self, path: &str) -> String {
        if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) }
    }

    fn objects(&self, path: &str) -> String {
        format!("{}/{}", self.arn(), self.key(path))
    }

    /// The same folder with every file below it, for each of them.
    fn below(&self, folders: &[String]) -> Vec<String> {
        folders.iter().map(|folder| self.objects(&format!("{folder}/*"))).collect()
    }

    /// The listing of the store's own keys: without it an absent object cannot be distinguished
    /// from a denied one, and `part-*` cannot be expanded. That of their versions shows that a record
    /// about a pack, such as its tombstone, was deleted.
    fn lists(&self) -> Value {
        let mut statement = json!({
            "Sid": "List",
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
            "Resource": [self.arn()],
        });
        if !self.prefix.is_empty() {
            let prefixes = [self.key("*")];
            statement["Condition"] = json!({ "StringLike": { "s3:prefix": prefixes } });
        }
        statement
    }

    /// What the keys of everything that is kept begin with.
    pub(crate) fn kept_prefixes(&self) -> Vec<String> {
        let folders = self.pack_roots.iter().map(String::as_str).chain(["sr", "modules"]);
        folders.map(|folder| self.key(&format!("{folder}/"))).collect()
    }

    /// Whatever must not be changed once it is there.
    fn kept(&self) -> Vec<String> {
        let mut kept = self.below(&self.pack_roots);
        kept.extend(["sr/*", "modules/*"].map(|path| self.objects(path)));
        kept
    }

    /// Records about packs, which are the custodian's.
    fn records(&self, roots: &[String]) -> Vec<String> {
        let paths = roots
            .iter()
            .flat_map(|root| [format!("{root}/*/_records/*"), format!("{root}/_records/*")]);
        paths.map(|path| self.objects(&path)).collect()
    }

    /// Files that close a pack or decide about it, in any folder of packs or engines.
    fn markers(&self) -> Vec<String> {
        let roots = self.pack_roots.iter().chain(&self.engine_roots);
        let names = [seal::SEAL_FILE, seal::MANIFEST_FILE, "_records/*"];
        let mut markers: Vec<String> = roots
            .flat_map(|root| {
                let nested = names.map(|name| self.objects(&format!("{root}/*/{name}")));
                let direct = names.map(|name| self.objects(&format!("{root}/{name}")));
                nested.into_iter().chain(direct)
            })
            .collect();
        markers.sort();
        markers.dedup();
        markers
    }
}

fn document(statements: Vec<Value>) -> Value {
    json!({ "Version": VERSION, "Statement": statements })
}

fn allow(sid: &str, actions: &[&str], resources: Vec<String>) -> Value {
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn deny(sid: &str, actions: &[&str], resources: Vec<String>) -> Value {
    json!({ "Sid": sid, "Effect": "Deny", "Action": actions, "Resource": resources })
}

/// Only where nothing is there yet.
fn create(sid: &str, resources: Vec<String>) -> Value {
    let mut statement = allow(sid, &["s3:PutObject"], resources);
    statement["Condition"] = json!({ "Null": { "s3:if-none-match": "false" } });
    statement
}

/// What no role of a store may do, whatever else is attached to it.
fn never(bucket: &Bucket, writes: bool) -> Value {
    let mut actions = vec![
        "s3:BypassGovernanceRetention",
        "s3:DeleteBucketPolicy",
        "s3:DeleteObjectVersion",
        "s3:PutBucketObjectLockConfiguration",
        "s3:PutBucketPolicy",
        "s3:PutBucketVersioning",
        "s3:PutLifecycleConfiguration",
        "s3:PutObjectRetention",
    ];
    if !writes {
        actions.extend(["s3:DeleteObject", "s3:PutObject", "s3:PutObjectLegalHold"]);
    }
    let resources = vec![bucket.arn(), format!("{}/*", bucket.arn())];
    deny("Never", &actions, resources)
}

/// The identity policy of a role.
pub fn role(role: Role, bucket: &Bucket) -> Value {
    let packs = bucket.below(&bucket.pack_roots);
    let with = |paths: &[&str]| {
        let paths = paths.iter().map(|path| bucket.objects(path));
        packs.iter().cloned().chain(paths).collect::<Vec<_>>()
    };
    let views = ["sr/run_facts_view/*", "sr/run_status/*"];
    let list = bucket.lists();
    match role {
        Role::Wsp | Role::Ig => document(vec![
            allow("Read", &["s3:GetObject"], with(&views)),
            list,
            never(bucket, false),
        ]),
        Role::Sr => document(vec![
            allow("Read", &["s3:GetObject"], with(&["sr/*"])),
            list,
            never(bucket, false),
        ]),
        Role::Dla | Role::Cm => document(vec![
            allow("Read", &["s3:GetObject", "s3:GetObjectVersion"], with(&["sr/*"])),
            list,
            never(bucket, false),
        ]),
        Role::Auditor => {
            let actions = [
                "s3:GetObject",
                "s3:GetObjectLegalHold",
                "s3:GetObjectRetention",
                "s3:GetObjectVersion",
            ];
            document(vec![
                allow("Read", &actions, vec![bucket.objects("*")]),
                list,
                never(bucket, false),
            ])
        }
        Role::Engine => document(vec![
            create("Create", bucket.below(&bucket.engine_roots)),
            allow("ReadOwn", &["s3:GetObject"], bucket.below(&bucket.engine_roots)),
            deny("ClosesNothing", &["s3:PutObject"], bucket.markers()),
            deny("DeletesNothing", &["s3:DeleteObject"], vec![format!("{}/*", bucket.arn())]),
            never(bucket, true),
        ]),
        Role::Packer => {
            let probe = vec![bucket.objects("_probe/*")];
            let mut creates = with(&["sr/*", "modules/*"]);
            // Engines' packs are closed where they lie.
            creates.extend(bucket.below(&bucket.engine_roots));
            creates.sort();
            creates.dedup();
            document(vec![
                create("Create", creates),
                allow("Read", &["s3:GetObject"], vec![bucket.objects("*")]),
                list,
                // The probe tries what must be refused, so its writes carry no condition.
                allow("Probe", &["s3:DeleteObject", "s3:PutObject"], probe),
                // A tombstone is as strong as a deletion, so the account that seals does not decide
                // about it.
                deny("DecidesNothing", &["s3:PutObject"], {
                    let mut records = bucket.records(&bucket.pack_roots);
                    records.extend(bucket.records(&bucket.engine_roots));
                    records
                }),
                never(bucket, true),
            ])
        }
        Role::Custodian => {
            let records = bucket.records(&bucket.pack_roots);
            let locks = ["s3:GetObjectLegalHold", "s3:GetObjectRetention", "s3:PutObjectLegalHold"];
            document(vec![
                create("Record", records),
                allow("Read", &["s3:GetObject"], packs.clone()),
                allow("LegalHold", &locks, packs),
                list,
                deny("DeletesNothing", &["s3:DeleteObject"], vec![format!("{}/*", bucket.arn())]),
                never(bucket, true),
            ])
        }
    }
}

/// The policy of the bucket: the same refusals for everybody, whatever a role was given.
pub fn bucket_policy(bucket: &Bucket) -> Value {
    let everybody = |mut statement: Value| {
        statement["Principal"] = json!("*");
        statement
    };
    let mut writes = deny("CreateOnly", &["s3:PutObject"], bucket.kept());
    writes["Condition"] = json!({
        "Null": { "s3:if-none-match": "true" },
        "Bool": { "s3:ObjectCreationOperation": "true" },
    });
    let removes = ["s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectVersion"];
    let mut plain = deny("TlsOnly", &["s3:*"], vec![bucket.arn(), format!("{}/*", bucket.arn())]);
    plain["Condition"] = json!({ "Bool": { "aws:SecureTransport": "false" } });
    document(vec![
        everybody(writes),
        everybody(deny("NeverRemoved", &removes, bucket.kept())),
        everybody(plain),
    ])
}

/// The lifecycle of the bucket: only what no reader may read is ever cleaned up.
pub fn lifecycle(bucket: &Bucket, staging_days: Option<u32>) -> Value {
    let rule = |id: &str, folder: &str, days: u32| {
        json!({
            "ID": id,
            "Status": "Enabled",
            "Filter": { "Prefix": bucket.key(folder) },
            "Expiration": { "Days": days },
            "NoncurrentVersionExpiration": { "NoncurrentDays": days },
        })
    };
    let mut rules = vec![rule("probe", "_probe/", PROBE_DAYS)];
    if let Some(days) = staging_days {
        rules.push(rule("staging", "staging/", days));
    }
    rules.push(json!({
        "ID": "unfinished-uploads",
        "Status": "Enabled",
        "Filter": { "Prefix": bucket.key("") },
        "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": UPLOAD_DAYS },
    }));
    json!({ "Rules": rules })
}

/// The default retention of the bucket: what the class demands. `None` if it demands no lock.
pub fn object_lock(class: &Class) -> Option<Value> {
    let mode = match class.lock {
        Demand::None => return None,
        Demand::Governance => "GOVERNANCE",
        Demand::Compliance => "COMPLIANCE",
    };
    Some(json!({
        "ObjectLockEnabled": "Enabled",
        "Rule": { "DefaultRetention": { "Mode": mode, "Days": class.days } },
    }))
}
