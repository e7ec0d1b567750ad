//! Takes the compression off an answer, piece by piece and within a bound (E5).
//!
//! A few bytes can stand for gigabytes: so small pieces are decompressed, and the sum is looked at
//! after each.

use std::io::Write;

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::text::quoted;

/// Bytes decompressed at once: no more than about a thousand times as many come out.
const PIECE: usize = 1_024;

/// Why an answer cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// It is larger than the bound.
    TooLarge,
    /// It is not what it says.
    Broken,
}

/// Decompresses one answer.
#[derive(Debug)]
pub struct Decoder {
    form: Coding,
    /// Of bytes before and after.
    taken: usize,
    given: usize,
    limit: usize,
}

#[derive(Debug)]
enum Coding {
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    /// What some servers call `deflate`.
    Raw(Box<DeflateDecoder<Vec<u8>>>),
    /// `deflate`, of which the first byte shows which it is.
    Unknown,
}

impl Decoder {
    /// For an answer with this `content-encoding`; at most `limit` bytes before and after.
    ///
    /// # Errors
    /// An encoding that is not known: what cannot be read cannot be counted.
    pub fn new(encoding: &str, limit: usize) -> Result<Self, String> {
        let form = match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Coding::Plain,
            "gzip" | "x-gzip" => Coding::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            "deflate" => Coding::Unknown,
            other => {
                let other = quoted(other);
                return Err(format!("unsupported compression of the answer: {other}"));
            }
        };
        Ok(Self { form, taken: 0, given: 0, limit })
    }

    /// Whether the answer is not compressed.
    pub fn is_plain(&self) -> bool {
        matches!(self.form, Coding::Plain)
    }

    /// Decompresses the next piece.
    ///
    /// # Errors
    /// [`DecodeError`]; nothing of the answer can be used any further.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        self.taken = self.taken.saturating_add(bytes.len());
        if self.taken > self.limit {
            return Err(DecodeError::TooLarge);
        }
        if let (Coding::Unknown, Some(first)) = (&self.form, bytes.first()) {
            // The low half of zlib's first byte is the method, which is 8 (RFC 1950).
            self.form = if first & 0x0f == 8 {
                Coding::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
            } else {
                Coding::Raw(Box::new(DeflateDecoder::new(Vec::new())))
            };
        }
        let mut out = Vec::new();
        for piece in bytes.chunks(PIECE) {
            let made = match &mut self.form {
                Coding::Plain | Coding::Unknown => piece.to_vec(),
                Coding::Gzip(decoder) => plain(&mut **decoder, MultiGzDecoder::get_mut, piece)?,
                Coding::Zlib(decoder) => plain(&mut **decoder, ZlibDecoder::get_mut, piece)?,
                Coding::Raw(decoder) => plain(&mut **decoder, DeflateDecoder::get_mut, piece)?,
            };
            self.given = self.given.saturating_add(made.len());
            if self.given > self.limit {
                return Err(DecodeError::TooLarge);
            }
            out.extend(made);
        }
        Ok(out)
    }

    /// Whether the compressed form came to its own end. An empty answer was not compressed.
    pub fn ended(&mut self) -> bool {
        if self.taken == 0 {
            return true;
        }
        match &mut self.form {
            Coding::Plain | Coding::Unknown => true,
            Coding::Gzip(decoder) => decoder.try_finish().is_ok(),
            Coding::Zlib(decoder) => decoder.try_finish().is_ok(),
            Coding::Raw(decoder) => decoder.try_finish().is_ok(),
        }
    }
}

/// What one piece decompresses to.
fn plain<D: Write>(
    decoder: &mut D,
    output: fn(&mut D) -> &mut Vec<u8>,
    piece: &[u8],
) -> Result<Vec<u8>, DecodeError> {
    decoder.write_all(piece).map_err(|_| DecodeError::Broken)?;
    // A decoder may still hold what fits into its own buffer.
    decoder.flush().map_err(|_| DecodeError::Broken)?;
    Ok(std::mem::take(output(decoder)))
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_form_comes_back_in_pieces() {
        let text = b"data: hello\n\n".repeat(500);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(&text).unwrap();
        for (encoding, bytes) in [
            ("", text.clone()),
            ("gzip", gzip(&text)),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
        ] {
            let mut decoder = Decoder::new(encoding, 1 << 20).unwrap();
            let plain: Vec<u8> =
                bytes.chunks(7).flat_map(|piece| decoder.feed(piece).unwrap()).collect();
            assert!(plain == text && decoder.ended(), "{encoding}");
        }
        assert!(Decoder::new("br", 1).is_err() && Decoder::new("gzip, gzip", 1).is_err());
    }

    #[test]
    fn a_bomb_is_found_before_it_is_unpacked() {
        let bomb = gzip(&vec![0; 64 << 20]);
        let mut decoder = Decoder::new("gzip", 1 << 20).unwrap();
        assert_eq!(decoder.feed(&bomb), Err(DecodeError::TooLarge));
        assert!(decoder.given <= 3 << 20, "{} bytes were made", decoder.given);
    }

    #[test]
    fn what_is_cut_or_broken_is_said() {
        let whole = gzip(b"hello");
        let mut decoder = Decoder::new("gzip", 1 << 20).unwrap();
        decoder.feed(&whole[..whole.len() - 9]).unwrap();
        assert!(!decoder.ended());
        for encoding in ["", "gzip", "deflate"] {
            assert!(Decoder::new(encoding, 1).unwrap().ended(), "{encoding}: an empty answer");
        }
        let mut decoder = Decoder::new("gzip", 1 << 20).unwrap();
        assert_eq!(decoder.feed(b"no gzip at all"), Err(DecodeError::Broken));
    }
}
