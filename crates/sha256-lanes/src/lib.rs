//! SHA-256 (FIPS 180-4) of many streams at once.
//!
//! One stream keeps a core's SHA instructions waiting for their own results: each round needs the
//! one before it. Sixteen streams fill the sixteen lanes of a 512-bit register, and one core then
//! hashes about 1.8 times the bytes. Where a processor has no AVX-512, or where few streams are
//! left, two at a time take turns at its SHA instructions. What is left over, and everything on any
//! other processor, is hashed by `sha2`, each stream on its own: the digests are the same.
//!
//! Published crates do this for whole messages in memory (`tape-sha256`), or not at all (`sha2`); files
//! come in pieces.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod pairs;

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

/// FIPS 180-4, 4.2.2.
#[cfg(target_arch = "x86_64")]
const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// How many streams are worth being fed together here: 1 where a processor hashes each on its own.
pub fn width() -> usize {
    match Together::here() {
        Together { lanes: true, .. } => LANES,
        #[cfg(target_arch = "x86_64")]
        Together { pairs: true, .. } => pairs::PAIR,
        _ => 1,
    }
}

/// How streams may go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Together {
    /// In the lanes of 512-bit registers.
    lanes: bool,
    /// Two at a time, by SHA instructions.
    pairs: bool,
}

impl Together {
    #[cfg(target_arch = "x86_64")]
    fn here() -> Self {
        // The standard library asks the processor once and keeps the answer.
        Self {
            lanes: std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw"),
            pairs: std::is_x86_feature_detected!("sha")
                && std::is_x86_feature_detected!("ssse3")
                && std::is_x86_feature_detected!("sse4.1"),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    const fn here() -> Self {
        Self { lanes: false, pairs: false }
    }
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
    compress_all(left, Together::here());
}

fn compress_all(mut left: Vec<Left<'_>>, together: Together) {
    let Together { lanes, pairs } = together;
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
    #[cfg(target_arch = "x86_64")]
    while pairs && left.len() >= pairs::PAIR {
        left.sort_unstable_by_key(|one| std::cmp::Reverse(one.blocks.len()));
        for pair in left.as_chunks_mut().0 {
            // SAFETY: `pairs` is the processor's own word that it has the features.
            #[expect(unsafe_code, reason = "only the caller knows the processor's features")]
            unsafe {
                pairs::compress(pair);
            }
        }
        left.retain(|one| !one.blocks.is_empty());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (lanes, pairs);

    for Left { state, blocks } in &mut left {
        compress256(state, blocks);
    }
}

#[cfg(test)]
mod tests;
