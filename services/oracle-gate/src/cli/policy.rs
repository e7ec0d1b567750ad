//! `oracle-gate policy`: the documents by which a bucket and its roles are set up.

use clap::ValueEnum;

use super::{CommandError, UNKNOWN, block_on, escape, print, usage};
use crate::policy::{self, Bucket, Role};
use crate::posture::{self, Found, Point};
use crate::profile::Profile;
use crate::reasons::Reason;

/// Options of `policy`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Profile: local, dev, prod, or the path of a YAML file; its root has to be a bucket.
    #[arg(long)]
    profile: String,
    /// Which document.
    #[arg(long, value_enum, required_unless_present = "compare")]
    document: Option<Document>,
    /// The role, for `--document role`.
    #[arg(long, value_enum, required_if_eq("document", "role"))]
    role: Option<Role>,
    /// Compare the live bucket with the documents instead of printing one: its versions, policy,
    /// lifecycle and default retention.
    #[arg(long, conflicts_with_all = ["document", "role"])]
    compare: bool,
    /// A folder that packs lie in, below the root's prefix; may be repeated.
    #[arg(long = "pack-root", default_value = "packs")]
    pack_roots: Vec<String>,
    /// A folder that engines write to, below the root's prefix; may be repeated.
    #[arg(long = "engine-root", default_value = "staging")]
    engine_roots: Vec<String>,
}

const EXAMPLES: &str = "Examples:
  oracle-gate policy --profile prod --document bucket > bucket.json
  aws s3api put-bucket-policy --bucket BUCKET --policy file://bucket.json
  oracle-gate policy --profile prod --document role --role packer > packer.json
  oracle-gate policy --profile prod --document lifecycle > lifecycle.json
  oracle-gate policy --profile prod --document object-lock > lock.json
  oracle-gate policy --profile prod --compare

Exit codes: 0 printed, or the bucket is as the documents say; 1 it is not (BUCKET_POSTURE_WEAK);
2 the store does not say; 3 usage or configuration. Nothing is changed in the store.";

/// Which document is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Document {
    /// The bucket's policy: what is refused to everybody.
    Bucket,
    /// The identity policy of one role.
    Role,
    /// The bucket's lifecycle rules.
    Lifecycle,
    /// The bucket's default retention, from the profile's default class.
    ObjectLock,
}

/// Prints one document.
pub(super) fn run(args: &Args) -> Result<u8, CommandError> {
    let (profile, location) = super::profile(&args.profile)?;
    let Some(at) = location.bucket() else {
        return Err(usage(
            "policies are documents of a bucket, and the profile's root is a folder",
        ));
    };
    let bucket = Bucket {
        name: at.bucket.clone(),
        prefix: at.prefix.clone(),
        pack_roots: roots("--pack-root", &args.pack_roots)?,
        engine_roots: roots("--engine-root", &args.engine_roots)?,
    };
    let Some(document) = args.document else { return compare(args, &bucket) };
    let text = match document {
        Document::Bucket => policy::bucket_policy(&bucket),
        Document::Lifecycle => policy::lifecycle(&bucket, profile.retention.staging_days),
        Document::Role => {
            let role = args.role.ok_or_else(|| usage("--document role needs --role"))?;
            policy::role(role, &bucket)
        }
        Document::ObjectLock => lock(&profile)?,
    };
    print(&format!("{text:#}\n"))
}

/// Prints what of the live bucket is as the documents say.
fn compare(args: &Args, bucket: &Bucket) -> Result<u8, CommandError> {
    let (profile, objects) = super::store(&args.profile)?;
    let looked = posture::look(&objects, bucket, profile.retention.default_class());
    let points = block_on(looked)?.unwrap_or_default();
    let (mut text, mut weak, mut unknown) = (String::new(), false, false);
    for Point { name, found } in &points {
        text += &match found {
            Found::Good => format!("{name}: as it should be\n"),
            Found::Weak(what) => {
                weak = true;
                format!("{name}: {}: {}\n", Reason::BucketPostureWeak.code(), escape::line(what))
            }
            Found::Unknown(why) => {
                unknown = true;
                format!("{name}: not known: {}\n", escape::line(why))
            }
        };
    }
    print(&text)?;
    // What is known to be weak stays weak, whatever else the store did not say.
    Ok(if weak {
        1
    } else if unknown {
        UNKNOWN
    } else {
        0
    })
}

fn lock(profile: &Profile) -> Result<serde_json::Value, CommandError> {
    let class = profile.retention.default_class().ok_or_else(|| {
        usage("the profile names no default class: set policy.retention.default_class")
    })?;
    policy::object_lock(class).ok_or_else(|| {
        let name = &class.name;
        usage(format!("class {name} demands no lock: set its `lock` in policy.retention"))
    })
}

/// Folders as they are written in documents: no wildcard may widen what a role may do.
fn roots(option: &str, named: &[String]) -> Result<Vec<String>, CommandError> {
    let root = |text: &String| {
        let root = text.trim_end_matches('/');
        seal::path::check(root)
            .map_err(|error| usage(format!("{option} {text:?}: {}", error.reason)))?;
        if root.contains(['*', '?', '$']) {
            return Err(usage(format!("{option} {text:?}: it is one folder, not a pattern")));
        }
        Ok(root.to_owned())
    };
    named.iter().map(root).collect()
}
