//! 32 bytes with a meaning: one macro, so that every kind has the one spelling (64 lower-case hex
//! digits) and no kind is taken for another.

/// The text or the bytes are not what a value of 32 bytes is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0} as 64 lower-case hex digits")]
pub struct InvalidBytes32(pub(crate) &'static str);

/// Reads 64 lower-case hex digits. Upper case is refused: two texts of one value would compare as
/// different.
pub(crate) fn parse(text: &str, what: &'static str) -> Result<[u8; 32], InvalidBytes32> {
    if text.len() != 64 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(InvalidBytes32(what));
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidBytes32(what))?;
    Ok(bytes)
}

/// Defines a value of 32 bytes: `bytes32! { /// Documentation. pub struct Name: "what it is"; }`.
macro_rules! bytes32 {
    ($($(#[$meta:meta])* pub struct $name:ident: $what:literal;)*) => {$(
        $(#[$meta])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(into = "String", try_from = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// The raw 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl From<$name> for [u8; 32] {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = $crate::InvalidBytes32;

            /// Takes exactly 32 raw bytes, as a database column or an XDR value holds them.
            fn try_from(bytes: &[u8]) -> Result<Self, $crate::InvalidBytes32> {
                <[u8; 32]>::try_from(bytes).map(Self).map_err(|_| $crate::InvalidBytes32($what))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::InvalidBytes32;

            fn try_from(text: String) -> Result<Self, $crate::InvalidBytes32> {
                text.parse()
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::InvalidBytes32;

            fn from_str(text: &str) -> Result<Self, $crate::InvalidBytes32> {
                $crate::bytes32::parse(text, $what).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some("^[0-9a-f]{64}$"))
                    .description(Some(concat!($what, ": 32 bytes as lower-case hex digits")))
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}

        #[cfg(feature = "sqlx")]
        impl sqlx::Type<sqlx::Postgres> for $name {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <[u8] as sqlx::Type<sqlx::Postgres>>::type_info()
            }
        }

        #[cfg(feature = "sqlx")]
        impl<'q> sqlx::Encode<'q, sqlx::Postgres> for $name {
            fn encode_by_ref(
                &self,
                buffer: &mut sqlx::postgres::PgArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                <&[u8] as sqlx::Encode<'_, sqlx::Postgres>>::encode(&self.0[..], buffer)
            }
        }

        #[cfg(feature = "sqlx")]
        impl<'r> sqlx::Decode<'r, sqlx::Postgres> for $name {
            fn decode(
                value: sqlx::postgres::PgValueRef<'r>,
            ) -> Result<Self, sqlx::error::BoxDynError> {
                // Measured again: a column may lack the constraint on its length.
                let bytes = <&[u8] as sqlx::Decode<'r, sqlx::Postgres>>::decode(value)?;
                Ok(Self::try_from(bytes)?)
            }
        }
    )*};
}

pub(crate) use bytes32;
