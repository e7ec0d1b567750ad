//! How a gate's evidence is verified, as its gate map declares it. There is no universal rule.

use serde::Deserialize;

use super::template::Template;

/// A way of verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// `dsse_statement_v1`: a signed statement in the pack.
    Statement {
        /// The type of its predicate.
        predicate_type: String,
        /// Its file, relative to the pack's root.
        file: String,
    },
    /// A flag that carries the digest of a bundle of files.
    Bundle(Bundle),
    /// One that is not known here. It fails (O1); the text says which.
    Unknown(String),
}

/// A flag and the bundle that it vouches for, all relative to the pack's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What is hashed.
    pub law: Law,
    /// Name of the digest in the flag and, for [`Law::MemberDigests`], in the index.
    pub digest_field: String,
    /// Names of files that are not hashed.
    pub exclude: Vec<String>,
    /// The flag.
    pub flag: Template,
    /// The bundle's folder.
    pub root: Template,
    /// The index; [`Law::Files`] has none.
    pub index: Option<Template>,
}

/// What the digest of a bundle is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// `sha256_bundle_digest`: the bytes of all files of the bundle, ordered by relative path.
    Files,
    /// `sha256_index_json_ascii_lex_raw_bytes`: the bytes of the members that the index names.
    IndexedBytes {
        /// Ordered by the bytes of their paths; otherwise in the order of the index.
        sorted: bool,
        /// Paths start at the pack's root; otherwise at the bundle's.
        from_pack: bool,
    },
    /// `sha256_member_digest_concat`: the digests that the index states for its members, as text.
    MemberDigests {
        /// Paths start at the pack's root; otherwise at the bundle's.
        from_pack: bool,
    },
}

/// The fields of a gate that say how it is verified.
#[derive(Deserialize)]
pub(super) struct Declared {
    verification_method: Fields,
    #[serde(default)]
    passed_flag_path_template: Option<String>,
    #[serde(default)]
    bundle_root_template: Option<String>,
    #[serde(default)]
    index_path_template: Option<String>,
}

#[derive(Deserialize)]
struct Fields {
    kind: String,
    predicate_type: Option<String>,
    statement: Option<String>,
    digest_field: Option<String>,
    ordering: Option<String>,
    path_base: Option<String>,
    #[serde(default)]
    exclude_filenames: Vec<String>,
}

impl Declared {
    /// The method, or what is missing for one of a known kind.
    pub(super) fn method(self) -> Result<Method, String> {
        let fields = &self.verification_method;
        let kind = fields.kind.as_str();
        let unknown =
            |what: &str, value: &str| Ok(Method::Unknown(format!("{kind} with {what} {value}")));
        let from_pack = match fields.path_base.as_deref() {
            None | Some("bundle_root") => false,
            Some("run_root") => true,
            Some(other) => return unknown("path_base", other),
        };
        let ordering = fields.ordering.as_deref();
        let law = match (kind, ordering) {
            ("dsse_statement_v1", None) => return statement(fields),
            ("sha256_bundle_digest", None | Some("ascii_lex")) if !from_pack => Law::Files,
            ("sha256_index_json_ascii_lex_raw_bytes", None | Some("ascii_lex")) => {
                Law::IndexedBytes { sorted: true, from_pack }
            }
            ("sha256_index_json_ascii_lex_raw_bytes", Some("index_order")) => {
                Law::IndexedBytes { sorted: false, from_pack }
            }
            ("sha256_member_digest_concat", None | Some("members_array_order")) => {
                Law::MemberDigests { from_pack }
            }
            // What is not known exactly fails whole (O1): another order would be another digest.
            (_, Some(ordering)) => return unknown("ordering", ordering),
            _ => return Ok(Method::Unknown(kind.to_owned())),
        };
        self.bundle(law).map(Method::Bundle)
    }

    fn bundle(self, law: Law) -> Result<Bundle, String> {
        let template = |name: &str, text: Option<String>| {
            let text = text.ok_or_else(|| format!("{name} is missing"))?;
            let template = Template::parse(&text).map_err(|wrong| format!("{name}: {wrong}"))?;
            // A pack could otherwise choose by its content where its own evidence lies.
            if !template.is_decided_by_pins() {
                return Err(format!("{name}: {text:?} names more than a run's pins"));
            }
            Ok(template)
        };
        let fields = self.verification_method;
        let index = match law {
            Law::Files => None,
            _ => Some(template("index_path_template", self.index_path_template)?),
        };
        Ok(Bundle {
            law,
            digest_field: fields.digest_field.ok_or("digest_field is missing")?,
            exclude: fields.exclude_filenames,
            flag: template("passed_flag_path_template", self.passed_flag_path_template)?,
            root: template("bundle_root_template", self.bundle_root_template)?,
            index,
        })
    }
}

fn statement(fields: &Fields) -> Result<Method, String> {
    let file = fields.statement.clone().ok_or("statement is missing")?;
    seal::path::check(&file).map_err(|error| error.to_string())?;
    let predicate_type = fields.predicate_type.clone().ok_or("predicate_type is missing")?;
    Ok(Method::Statement { predicate_type, file })
}
