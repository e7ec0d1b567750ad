//! Whether a live bucket is set up as the documents of [`crate::policy`] say.

use serde::Deserialize;
use serde_json::Value;

use crate::objects::{Objects, StoreError};
use crate::policy::{self, Bucket};
use crate::retention::{Class, Demand};

/// One point of a bucket's setup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub found: Found,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is as it should be.
    Good,
    /// It is not; what is missing.
    Weak(String),
    /// The store did not say; why.
    Unknown(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Versioning {
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ObjectLock {
    rule: Option<LockRule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LockRule {
    default_retention: Retention,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Retention {
    mode: String,
    days: Option<u64>,
    years: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Lifecycle {
    #[serde(rename = "Rule")]
    rules: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rule {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Status")]
    status: String,
    #[serde(rename = "Prefix")]
    prefix: Option<String>,
    #[serde(rename = "Filter")]
    filter: Option<Filter>,
    #[serde(rename = "Expiration")]
    expiration: Option<Ignored>,
    #[serde(rename = "NoncurrentVersionExpiration")]
    noncurrent: Option<Ignored>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Filter {
    prefix: Option<String>,
    and: Option<Box<Filter>>,
}

#[derive(Debug, Default, Deserialize)]
struct Ignored {}

/// Looks at the bucket's versions, policy, lifecycle and default retention. `None` for a folder.
pub async fn look(objects: &Objects, bucket: &Bucket, class: Option<&Class>) -> Option<Vec<Point>> {
    objects.root().is_none().then_some(())?;
    let versioning = read(objects, "versioning", |body| {
        let read: Versioning = quick_xml::de::from_reader(body.unwrap_or_default()).ok()?;
        Some(if read.status == "Enabled" {
            Found::Good
        } else {
            Found::Weak("versions are not kept: a deletion would leave no trace".to_owned())
        })
    });
    let policy = read(objects, "policy", |body| {
        let live = match body {
            Some(body) => serde_json::from_slice(body).ok()?,
            None => Value::Null,
        };
        Some(missing_statements(&policy::bucket_policy(bucket), &live))
    });
    let lifecycle = read(objects, "lifecycle", |body| {
        let Some(body) = body else { return Some(Found::Good) };
        let read: Lifecycle = quick_xml::de::from_reader(body).ok()?;
        Some(reaching_rules(bucket, &read))
    });
    let lock = read(objects, "object-lock", |body| {
        let lock = match body {
            Some(body) => quick_xml::de::from_reader::<_, ObjectLock>(body).ok()?,
            None => ObjectLock::default(),
        };
        Some(default_retention(class, &lock))
    });
    Some(vec![
        Point { name: "versions", found: versioning.await },
        Point { name: "policy", found: policy.await },
        Point { name: "lifecycle", found: lifecycle.await },
        Point { name: "default retention", found: lock.await },
    ])
}

/// Asks for one part of the bucket's setup and judges it; `None` is what is not set.
async fn read(
    objects: &Objects,
    part: &str,
    judge: impl FnOnce(Option<&[u8]>) -> Option<Found>,
) -> Found {
    let answer = objects.bucket_setting(part).await;
    let judged = match &answer {
        Ok(body) => judge(body.as_deref()),
        Err(error @ StoreError::Denied { .. }) => {
            return Found::Unknown(format!(
                "{error}; it needs the rights of the account that sets it up"
            ));
        }
        Err(error) => return Found::Unknown(error.to_string()),
    };
    judged.unwrap_or_else(|| Found::Unknown("the store's answer cannot be read".to_owned()))
}

/// Statements of ours that the live policy does not have, whatever they are called there.
fn missing_statements(ours: &Value, live: &Value) -> Found {
    let plain = |statement: &Value| {
        let mut statement = statement.clone();
        if let Some(members) = statement.as_object_mut() {
            members.remove("Sid");
            // One name may be written without a list, and a list in any order.
            for member in ["Action", "Resource"] {
                if let Some(value) = members.get_mut(member) {
                    let mut texts: Vec<String> = match &*value {
                        Value::String(text) => vec![text.clone()],
                        Value::Array(all) => {
                            all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                        }
                        _ => Vec::new(),
                    };
                    texts.sort();
                    *value = texts.into();
                }
            }
        }
        statement
    };
    let statements = |document: &Value| {
        let all = document.get("Statement").and_then(Value::as_array);
        all.map(|all| all.iter().map(plain).collect::<Vec<_>>()).unwrap_or_default()
    };
    let live = statements(live);
    let named = ours.get("Statement").and_then(Value::as_array).into_iter().flatten();
    let missing: Vec<&str> = named
        .filter(|statement| !live.contains(&plain(statement)))
        .filter_map(|statement| statement["Sid"].as_str())
        .collect();
    if missing.is_empty() {
        return Found::Good;
    }
    Found::Weak(format!("the bucket's policy lacks {}", missing.join(", ")))
}

/// Rules that would remove what is to be kept.
fn reaching_rules(bucket: &Bucket, lifecycle: &Lifecycle) -> Found {
    let reaches = |rule: &&Rule| {
        let filter = rule.filter.as_ref();
        let nested = filter.and_then(|filter| filter.and.as_ref()?.prefix.as_deref());
        let prefix = filter.and_then(|filter| filter.prefix.as_deref()).or(nested);
        // A rule without a prefix reaches everything.
        let prefix = prefix.or(rule.prefix.as_deref()).unwrap_or_default();
        let kept = bucket.kept_prefixes();
        rule.status == "Enabled"
            && (rule.expiration.is_some() || rule.noncurrent.is_some())
            // A rule reaches a folder if one of the two lies in the other.
            && kept.iter().any(|kept| kept.starts_with(prefix) || prefix.starts_with(&**kept))
    };
    let reaching: Vec<&str> =
        lifecycle.rules.iter().filter(reaches).map(|rule| &*rule.id).collect();
    if reaching.is_empty() {
        return Found::Good;
    }
    Found::Weak(format!("lifecycle rules remove what is to be kept: {}", reaching.join(", ")))
}

fn default_retention(class: Option<&Class>, lock: &ObjectLock) -> Found {
    let Some(class) = class.filter(|class| class.lock != Demand::None) else {
        return Found::Good;
    };
    let (name, days) = (&class.name, class.days);
    let Some(rule) = &lock.rule else {
        return Found::Weak(format!(
            "there is no default retention; class {name} demands {days} days"
        ));
    };
    let retention = &rule.default_retention;
    // A year counts as 365 days: never more than it has, so that too short is never long enough.
    let found = retention.days.unwrap_or(0).max(retention.years.unwrap_or(0).saturating_mul(365));
    if class.lock == Demand::Compliance && retention.mode != "COMPLIANCE" {
        return Found::Weak(format!("its mode is not compliance, which class {name} demands"));
    }
    if found < u64::from(days) {
        return Found::Weak(format!("it is {found} days; class {name} demands {days}"));
    }
    Found::Good
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> Bucket {
        Bucket {
            name: "acme".to_owned(),
            prefix: "prod".to_owned(),
            pack_roots: vec!["packs".to_owned()],
            engine_roots: vec!["staging".to_owned()],
        }
    }

    #[test]
    fn a_rule_that_reaches_what_is_kept_is_named() {
        let rule = |prefix: &str, removes: &str| {
            let text = format!(
                "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status>\
                 <Filter><Prefix>{prefix}</Prefix></Filter>{removes}</Rule></LifecycleConfiguration>"
            );
            let read: Lifecycle = quick_xml::de::from_str(&text).unwrap();
            reaching_rules(&bucket(), &read)
        };
        let expires = "<Expiration><Days>1</Days></Expiration>";
        for prefix in ["", "prod", "prod/packs/", "prod/packs/ab", "prod/sr/"] {
            assert!(matches!(rule(prefix, expires), Found::Weak(_)), "{prefix}");
            assert_eq!(rule(prefix, "<Transition><Days>1</Days></Transition>"), Found::Good);
        }
        for prefix in ["prod/_probe/", "prod/staging/", "other/"] {
            assert_eq!(rule(prefix, expires), Found::Good, "{prefix}");
        }
    }

    #[test]
    fn a_policy_that_lacks_a_refusal_is_weak_whatever_it_calls_the_others() {
        let ours = policy::bucket_policy(&bucket());
        assert_eq!(missing_statements(&ours, &ours), Found::Good);
        let mut renamed = ours.clone();
        renamed["Statement"][0]["Sid"] = "other".into();
        assert_eq!(missing_statements(&ours, &renamed), Found::Good);
        renamed["Statement"][0]["Effect"] = "Allow".into();
        let Found::Weak(text) = missing_statements(&ours, &renamed) else { panic!("passed") };
        assert!(text.contains("CreateOnly"), "{text}");
        assert!(matches!(missing_statements(&ours, &Value::Null), Found::Weak(_)));
    }
}
