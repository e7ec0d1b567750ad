//! SHA-256 (FIPS 180-4) of many streams at once.
//!
//! One stream keeps a core's SHA instructions waiting for their own results: each round needs the
//! one before it. Sixteen streams fill the sixteen lanes of a 512-bit register, and one core then
//! hashes about 1.8 times the bytes. Where a processor has no AVX-512, or where few streams are
//! left, each stream is hashed on its own by `sha2`: the digests are the same.
//!
//! Published crates do this for whole messages in memory (`tape-sha256`), or not at all (`sha2`); files
//! come in pieces.

#[cfg(target_arch = "x86_64")]
mod avx512;

use sha2::block_api::compress256;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Streams that are hashed together, at most.
pub const LANES: usize = 16;

/// Fewer streams than these are faster one after the other: by SHA instructions a core hashes more
/// than half of what sixteen lanes do together.
const WORTH_LANES: usize = 9;

/// The state before the first block (FIPS 180-4, 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// How many streams are worth being fed together here: [`LANES`], or 1 on a processor without
/// lanes.
pub fn width() -> usize {
    match has_lanes() {
        true => LANES,
        false => 1,
    }
}

#[cfg(target_arch = "x86_64")]
fn has_lanes() -> bool {
    // The standard library asks the processor once and keeps the answer.
    std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512bw")
}

#[cfg(not(target_arch = "x86_64"))]
const fn has_lanes() -> bool {
    false
}

/// A digest in the making.
#[derive(Debug, Clone)]
pub struct Stream {
    state: [u32; 8],
    /// Bytes taken so far.
    length: u64,
    /// Those behind the last whole block: `length` modulo [`BLOCK`] of them are set.
    rest: [u8; BLOCK],
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    /// A stream of which nothing was taken yet.
    pub const fn new() -> Self {
        Self { state: START, length: 0, rest: [0; BLOCK] }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, tail) = self.fill(bytes).as_chunks();
        if !blocks.is_empty() {
            self.compress(blocks);
        }
        self.keep(blocks.len(), tail);
    }

    /// The digest of all bytes taken.
    pub fn finish(mut self) -> [u8; 32] {
        // 5.1.1: one bit, zeroes, and the number of bits in the last eight bytes. The number of
        // bits is taken modulo 2^64, as the standard limits messages to fewer.
        let bits = self.length.wrapping_mul(8);
        let mut end = [[0; BLOCK]; 2];
        let filled = self.filled();
        end[0][..filled].copy_from_slice(&self.rest[..filled]);
        end[0][filled] = 0x80;
        let blocks = if filled < BLOCK - 8 { 1 } else { 2 };
        end[blocks - 1][BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        self.compress(&end[..blocks]);

        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }

    /// Bytes of an unfinished block.
    const fn filled(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    fn compress(&mut self, blocks: &[[u8; BLOCK]]) {
        compress256(&mut self.state, blocks);
    }

    /// Completes the unfinished block, if there is one, and answers the bytes after it.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let filled = self.filled();
        if filled == 0 {
            return bytes;
        }
        let (now, later) = bytes.split_at(bytes.len().min(BLOCK - filled));
        self.rest[filled..filled + now.len()].copy_from_slice(now);
        self.length = self.length.wrapping_add(now.len() as u64);
        if filled + now.len() == BLOCK {
            let block = self.rest;
            self.compress(&[block]);
        }
        later
    }

    /// Counts `blocks`, which are hashed already, and keeps what follows them. After an unfinished
    /// block that stays unfinished, both are empty.
    fn keep(&mut self, blocks: usize, tail: &[u8]) {
        self.length = self.length.wrapping_add((blocks * BLOCK + tail.len()) as u64);
        if !tail.is_empty() {
            self.rest[..tail.len()].copy_from_slice(tail);
        }
    }
}

/// The next bytes of a stream.
#[derive(Debug)]
pub struct Piece<'a> {
    /// The stream that takes them.
    pub stream: &'a mut Stream,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Whole blocks of a piece that are not hashed yet.
struct Left<'a> {
    state: &'a mut [u32; 8],
    blocks: &'a [[u8; BLOCK]],
}

/// Lets each stream take its bytes, as many streams together as the processor has lanes. Pieces of
/// about one length are best: streams go together for as long as the shortest of them lasts.
pub fn update_all<'a>(pieces: impl IntoIterator<Item = Piece<'a>>) {
    let mut left: Vec<Left<'a>> = Vec::with_capacity(2 * LANES);
    for Piece { stream, bytes } in pieces {
        let (blocks, tail) = stream.fill(bytes).as_chunks();
        stream.keep(blocks.len(), tail);
        if !blocks.is_empty() {
            left.push(Left { state: &mut stream.state, blocks });
        }
    }
    compress_all(left, has_lanes());
}

fn compress_all(mut left: Vec<Left<'_>>, lanes: bool) {
    #[cfg(target_arch = "x86_64")]
    while lanes && left.len() >= WORTH_LANES {
        // The longest first: what is left over in the end are few, and these of unequal length.
        left.sort_unstable_by_key(|one| std::cmp::Reverse(one.blocks.len()));
        let together = left.len().min(LANES);
        // SAFETY: `lanes` is the processor's own word that it has both features.
        #[expect(unsafe_code, reason = "only the caller knows the processor's features")]
        unsafe {
            avx512::compress(&mut left[..together]);
        }
        left.retain(|one| !one.blocks.is_empty());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = lanes;

    for Left { state, blocks } in &mut left {
        compress256(state, blocks);
    }
}

#[cfg(test)]
mod tests;
