//! Contract values: building them, and reading them without trusting them.
//!
//! Maps are sorted by key, as the host demands. Reading is bounded in depth and length, and every
//! shape that was not expected is an error that names the field.

mod reader;

use stellar_xdr::{
    Limits, ReadXdr, ScBytes, ScMap, ScMapEntry, ScString, ScSymbol, ScVal, ScVec, WriteXdr,
};

pub use reader::Reader;

use crate::ChainError;

/// Deepest nesting that is read or written.
const DEPTH: u32 = 200;
/// Most bytes of one XDR value that are read or written: a transaction's meta is the largest.
const BYTES: usize = 16 * 1024 * 1024;

/// Whether `value` is the symbol `name`.
pub(crate) fn is_symbol(value: &ScVal, name: &str) -> bool {
    matches!(value, ScVal::Symbol(symbol) if symbol.as_slice() == name.as_bytes())
}

/// The limits for every XDR value here.
pub fn limits() -> Limits {
    Limits { depth: DEPTH, len: BYTES }
}

/// `value` as XDR bytes.
///
/// # Errors
///
/// When it passes the limits.
pub fn to_xdr(value: &impl WriteXdr) -> Result<Vec<u8>, ChainError> {
    value.to_xdr(limits()).map_err(|_| ChainError::encode("a value"))
}

/// Reads a value from exactly these XDR bytes.
///
/// # Errors
///
/// When they are not one value of that type, with nothing after it, or pass the limits. `what`
/// names it.
pub fn from_xdr<T: ReadXdr>(what: &str, bytes: &[u8]) -> Result<T, ChainError> {
    T::from_xdr(bytes, limits()).map_err(|error| ChainError::decode(what, error))
}

/// Reads a value from base64 XDR, as the RPC sends it.
///
/// # Errors
///
/// As [`from_xdr`].
pub fn from_base64<T: ReadXdr>(what: &str, text: &str) -> Result<T, ChainError> {
    T::from_xdr_base64(text, limits()).map_err(|error| ChainError::decode(what, error))
}

/// A symbol: at most 32 of `a-zA-Z0-9_`.
///
/// # Errors
///
/// When it is longer.
pub fn symbol(text: &str) -> Result<ScVal, ChainError> {
    Ok(ScVal::Symbol(sc_symbol(text)?))
}

pub(crate) fn sc_symbol(text: &str) -> Result<ScSymbol, ChainError> {
    text.try_into().map(ScSymbol).map_err(|_| ChainError::encode("a symbol"))
}

/// Text.
///
/// # Errors
///
/// When it passes the limits.
pub fn string(text: &str) -> Result<ScVal, ChainError> {
    text.try_into()
        .map(|text| ScVal::String(ScString(text)))
        .map_err(|_| ChainError::encode("a string"))
}

/// Bytes.
///
/// # Errors
///
/// When there are too many.
pub fn bytes(value: &[u8]) -> Result<ScVal, ChainError> {
    value
        .to_vec()
        .try_into()
        .map(|bytes| ScVal::Bytes(ScBytes(bytes)))
        .map_err(|_| ChainError::encode("bytes"))
}

/// A signed 128-bit number, as every amount is.
pub fn i128(value: i128) -> ScVal {
    value.into()
}

/// A vector.
///
/// # Errors
///
/// When it is too long.
pub fn vec(values: Vec<ScVal>) -> Result<ScVal, ChainError> {
    values
        .try_into()
        .map(|values| ScVal::Vec(Some(ScVec(values))))
        .map_err(|_| ChainError::encode("a vector"))
}

/// `None` is void, as `Option` is in a contract.
pub fn option(value: Option<ScVal>) -> ScVal {
    value.unwrap_or(ScVal::Void)
}

/// A struct with named fields: a map with symbol keys, sorted.
///
/// # Errors
///
/// When a name is too long or appears twice.
pub fn map<const N: usize>(fields: [(&str, ScVal); N]) -> Result<ScVal, ChainError> {
    let mut entries = Vec::with_capacity(N);
    for (name, val) in fields {
        entries.push(ScMapEntry { key: symbol(name)?, val });
    }
    // The host refuses a map whose keys are not in its order.
    ScMap::sorted_from_entries(entries.into_iter())
        .map(|map| ScVal::Map(Some(map)))
        .map_err(|_| ChainError::encode("a map"))
}

/// An enum's variant: a vector of its name and its payload.
///
/// # Errors
///
/// When the name is too long.
pub fn variant(name: &str, payload: Vec<ScVal>) -> Result<ScVal, ChainError> {
    let mut values = vec![symbol(name)?];
    values.extend(payload);
    vec(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_map_is_sorted_and_its_fields_are_found() {
        let value = map([("user", i128(2)), ("amount", i128(1)), ("a", ScVal::Void)]).unwrap();
        let ScVal::Map(Some(entries)) = &value else { panic!("{value:?}") };
        assert!(entries.windows(2).all(|pair| pair[0].key < pair[1].key));

        let reader = Reader::new("receipt", &value);
        assert_eq!(reader.field("user").unwrap().i128().unwrap(), 2);
        assert!(reader.field("a").unwrap().optional().is_none());
        let missing = reader.field("b").unwrap_err().to_string();
        assert_eq!(missing, "cannot read receipt.b: the field is missing");
        let wrong = reader.field("a").unwrap().u64().unwrap_err().to_string();
        assert_eq!(wrong, "cannot read receipt.a: expected a u64, found Void");
    }

    #[test]
    fn a_name_that_appears_twice_is_refused() {
        assert!(map([("a", ScVal::Void), ("a", ScVal::Void)]).is_err());
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut xdr = to_xdr(&i128(5)).unwrap();
        xdr.push(0);
        assert!(from_xdr::<ScVal>("amount", &xdr).is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back_through_xdr(wide: i128, long: u64, short: u32) {
            let value = vec(vec![i128(wide), ScVal::U64(long), ScVal::U32(short)]).unwrap();
            let again: ScVal = from_xdr("numbers", &to_xdr(&value).unwrap()).unwrap();
            let reader = Reader::new("numbers", &again);
            prop_assert_eq!(reader.item(0).unwrap().i128().unwrap(), wide);
            prop_assert_eq!(reader.item(1).unwrap().u64().unwrap(), long);
            prop_assert_eq!(reader.item(2).unwrap().u32().unwrap(), short);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_xdr::<ScVal>("noise", &bytes);
        }
    }
}
