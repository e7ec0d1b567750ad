//! Sixteen blocks of sixteen streams at once: lane `i` of each register belongs to stream `i`.

#![expect(unsafe_code, reason = "vectors are loaded from and stored to memory by address")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set_epi64,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4,
    _mm512_srli_epi32, _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::{BLOCK, K, LANES, Left};

/// Tables of truth for three bits, as `_mm512_ternarylogic_epi32` takes them.
const XOR: i32 = 0x96;
const CHOOSE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

/// Hashes as many blocks of each stream as the shortest has; at most [`LANES`] streams.
///
/// # Safety
///
/// The processor has AVX-512 F and BW.
pub(super) unsafe fn compress(streams: &mut [Left<'_>]) {
    let shortest = streams.iter().map(|stream| stream.blocks.len()).min().unwrap_or(0);
    assert!(streams.len() <= LANES, "more streams than lanes");

    let mut words = [[0_u32; LANES]; 8];
    for (lane, stream) in streams.iter().enumerate() {
        for (word, value) in words.iter_mut().zip(&*stream.state) {
            word[lane] = *value;
        }
    }
    // A lane without a stream hashes the first stream's blocks, and its state is dropped.
    let mut blocks: [&[[u8; BLOCK]]; LANES] = [&streams[0].blocks[..shortest]; LANES];
    for (lane, stream) in blocks.iter_mut().zip(&*streams) {
        *lane = &stream.blocks[..shortest];
    }

    // SAFETY: the caller asked the processor for both features.
    unsafe { compress_lanes(&mut words, &blocks, shortest) };

    for (lane, stream) in streams.iter_mut().enumerate() {
        for (word, value) in words.iter().zip(&mut *stream.state) {
            *value = word[lane];
        }
        stream.blocks = &stream.blocks[shortest..];
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress_lanes(words: &mut [[u32; LANES]; 8], blocks: &[&[[u8; BLOCK]]; LANES], count: usize) {
    let mut state = [_mm512_setzero_si512(); 8];
    for (register, word) in state.iter_mut().zip(&*words) {
        // SAFETY: a word's sixteen lanes are 64 bytes; the load needs no alignment.
        *register = unsafe { _mm512_loadu_si512(word.as_ptr().cast()) };
    }
    for number in 0..count {
        let mut rows = [_mm512_setzero_si512(); LANES];
        for (row, lane) in rows.iter_mut().zip(blocks) {
            // SAFETY: a block is 64 bytes; the load needs no alignment.
            *row = unsafe { _mm512_loadu_si512(lane[number].as_ptr().cast()) };
        }
        state = compress_block(state, transpose(rows));
    }
    for (register, word) in state.iter().zip(words) {
        // SAFETY: as above, and `word` is borrowed alone.
        unsafe { _mm512_storeu_si512(word.as_mut_ptr().cast(), *register) };
    }
}

/// Sixteen blocks in rows become the sixteen words of each, big-endian (FIPS 180-4, 3.1): register
/// `t` of the answer has word `t` of stream `i` in lane `i`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    // Reverses the bytes of each word.
    let high = 0x0c0d_0e0f_0809_0a0b_u64.cast_signed();
    let low = 0x0405_0607_0001_0203_u64.cast_signed();
    let order = _mm512_set_epi64(high, low, high, low, high, low, high, low);

    // After the first two steps, 128-bit part `k` of `columns[4 * group + c]` has word `4 * k + c`
    // of the group's four rows.
    let mut columns = [_mm512_setzero_si512(); LANES];
    for group in 0..4 {
        let row = |place: usize| _mm512_shuffle_epi8(rows[4 * group + place], order);
        let (first, second, third, fourth) = (row(0), row(1), row(2), row(3));
        let low = (_mm512_unpacklo_epi32(first, second), _mm512_unpacklo_epi32(third, fourth));
        let high = (_mm512_unpackhi_epi32(first, second), _mm512_unpackhi_epi32(third, fourth));
        columns[4 * group] = _mm512_unpacklo_epi64(low.0, low.1);
        columns[4 * group + 1] = _mm512_unpackhi_epi64(low.0, low.1);
        columns[4 * group + 2] = _mm512_unpacklo_epi64(high.0, high.1);
        columns[4 * group + 3] = _mm512_unpackhi_epi64(high.0, high.1);
    }

    // `0x88` takes the parts 0 and 2 of both, `0xdd` the parts 1 and 3.
    let mut words = [_mm512_setzero_si512(); LANES];
    for column in 0..4 {
        let (first, second) = (columns[column], columns[4 + column]);
        let (third, fourth) = (columns[8 + column], columns[12 + column]);
        let even = (
            _mm512_shuffle_i32x4::<0x88>(first, second),
            _mm512_shuffle_i32x4::<0x88>(third, fourth),
        );
        let odd = (
            _mm512_shuffle_i32x4::<0xdd>(first, second),
            _mm512_shuffle_i32x4::<0xdd>(third, fourth),
        );
        words[column] = _mm512_shuffle_i32x4::<0x88>(even.0, even.1);
        words[4 + column] = _mm512_shuffle_i32x4::<0x88>(odd.0, odd.1);
        words[8 + column] = _mm512_shuffle_i32x4::<0xdd>(even.0, even.1);
        words[12 + column] = _mm512_shuffle_i32x4::<0xdd>(odd.0, odd.1);
    }
    words
}

/// FIPS 180-4, 6.2.2, in each lane.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn compress_block(state: [__m512i; 8], mut words: [__m512i; LANES]) -> [__m512i; 8] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    for pass in 0..4 {
        // Sixteen rounds with constant places, so that the words stay in registers.
        for t in 0..16 {
            if pass > 0 {
                let before = words[(t + 1) % 16];
                let last = words[(t + 14) % 16];
                let small0 =
                    xor(ror::<7>(before), ror::<18>(before), _mm512_srli_epi32::<3>(before));
                let small1 = xor(ror::<17>(last), ror::<19>(last), _mm512_srli_epi32::<10>(last));
                let sum = add(words[t], small0);
                words[t] = add(add(sum, words[(t + 9) % 16]), small1);
            }
            let constant = _mm512_set1_epi32(K[16 * pass + t].cast_signed());
            let large1 = xor(ror::<6>(e), ror::<11>(e), ror::<25>(e));
            let choice = _mm512_ternarylogic_epi32::<CHOOSE>(e, f, g);
            let first = add(add(add(h, large1), choice), add(constant, words[t]));
            let large0 = xor(ror::<2>(a), ror::<13>(a), ror::<22>(a));
            let second = add(large0, _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c));
            (h, g, f, e) = (g, f, e, add(d, first));
            (d, c, b, a) = (c, b, a, add(first, second));
        }
    }
    let mut after = [a, b, c, d, e, f, g, h];
    for (register, before) in after.iter_mut().zip(state) {
        *register = add(*register, before);
    }
    after
}

#[target_feature(enable = "avx512f")]
#[inline]
fn add(one: __m512i, other: __m512i) -> __m512i {
    _mm512_add_epi32(one, other)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn xor(one: __m512i, other: __m512i, third: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR>(one, other, third)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn ror<const BITS: i32>(word: __m512i) -> __m512i {
    _mm512_ror_epi32::<BITS>(word)
}
