//! Decoding and encoding within stated limits: everything that arrives is hostile.

use sha2::{Digest, Sha256};
use soroban_env_host::xdr::{Error, Limits, ReadXdr, VecM, WriteXdr};

/// The largest piece of XDR taken from a caller, in decoded bytes.
pub(crate) const MAX_INPUT_BYTES: usize = 512 * 1024;

/// How deep XDR from a caller may nest.
const MAX_INPUT_DEPTH: u32 = 200;

/// What the network itself writes is larger than what it takes: transaction meta holds whole
/// entries.
const OUTPUT: Limits = Limits { depth: 1_000, len: 64 * 1024 * 1024 };

/// Decodes base64 XDR sent by a caller.
pub(crate) fn decode<T: ReadXdr>(text: &str) -> Result<T, Error> {
    let limits = Limits { depth: MAX_INPUT_DEPTH, len: MAX_INPUT_BYTES };
    T::from_xdr_base64(text, limits)
}

/// Decodes XDR this crate wrote itself.
pub(crate) fn decode_own<T: ReadXdr>(bytes: &[u8]) -> Result<T, Error> {
    T::from_xdr(bytes, OUTPUT)
}

/// Encodes to bytes.
pub(crate) fn bytes(value: &impl WriteXdr) -> Result<Vec<u8>, Error> {
    value.to_xdr(OUTPUT)
}

/// Encodes to base64.
pub(crate) fn base64(value: &impl WriteXdr) -> Result<String, Error> {
    value.to_xdr_base64(OUTPUT)
}

/// Length of the encoding in bytes, as fees and limits count it.
pub(crate) fn size(value: &impl WriteXdr) -> Result<u32, Error> {
    u32::try_from(bytes(value)?.len()).map_err(|_| Error::LengthExceedsMax)
}

/// SHA-256 of the encoding.
pub(crate) fn hash(value: &impl WriteXdr) -> Result<[u8; 32], Error> {
    Ok(sha256(&bytes(value)?))
}

/// SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A vector as XDR's bounded vector.
pub(crate) fn vecm<T, const MAX: u32>(values: Vec<T>) -> Result<VecM<T, MAX>, Error> {
    VecM::try_from(values)
}
