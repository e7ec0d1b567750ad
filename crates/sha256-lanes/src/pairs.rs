//! Two streams at once by the processor's SHA instructions: while one waits for the result of its
//! last instruction, the other uses the unit.

#![expect(unsafe_code, reason = "vectors are loaded from and stored to memory by address")]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
    _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128,
};

use super::{BLOCK, K, Left};

/// Streams that go together.
pub(super) const PAIR: usize = 2;

/// A stream's state as the instructions take it: the words A, B, E, F and C, D, G, H.
type HashState = [__m128i; 2];

/// Hashes as many blocks of both streams as the shorter one has.
///
/// # Safety
///
/// The processor has SHA, SSSE3 and SSE4.1.
pub(super) unsafe fn compress(streams: &mut [Left<'_>; PAIR]) {
    let [first, second] = &streams;
    let count = first.blocks.len().min(second.blocks.len());
    let blocks = [&first.blocks[..count], &second.blocks[..count]];
    let mut words = [*first.state, *second.state];

    // SAFETY: the caller asked the processor for the features.
    unsafe { compress_pair(&mut words, blocks) };

    for (stream, words) in streams.iter_mut().zip(words) {
        *stream.state = words;
        stream.blocks = &stream.blocks[count..];
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress_pair(words: &mut [[u32; 8]; PAIR], [first, second]: [&[[u8; BLOCK]]; PAIR]) {
    let mut states = [load_state(&words[0]), load_state(&words[1])];
    for (first, second) in first.iter().zip(second) {
        compress_block(&mut states, [first, second]);
    }
    for (words, state) in words.iter_mut().zip(states) {
        store_state(words, state);
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn load_state(words: &[u32; 8]) -> HashState {
    // SAFETY: a half of the words is 16 bytes; the load needs no alignment.
    let (low, high) = unsafe {
        (_mm_loadu_si128(words.as_ptr().cast()), _mm_loadu_si128(words[4..].as_ptr().cast()))
    };
    let low = _mm_shuffle_epi32::<0xb1>(low);
    let high = _mm_shuffle_epi32::<0x1b>(high);
    [_mm_alignr_epi8::<8>(low, high), _mm_blend_epi16::<0xf0>(high, low)]
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn store_state(words: &mut [u32; 8], [first, second]: HashState) {
    let first = _mm_shuffle_epi32::<0x1b>(first);
    let second = _mm_shuffle_epi32::<0xb1>(second);
    let low = _mm_blend_epi16::<0xf0>(first, second);
    let high = _mm_alignr_epi8::<8>(second, first);
    // SAFETY: as above, and `words` is borrowed alone.
    unsafe {
        _mm_storeu_si128(words.as_mut_ptr().cast(), low);
        _mm_storeu_si128(words[4..].as_mut_ptr().cast(), high);
    }
}

/// FIPS 180-4, 6.2.2, for one block of each stream.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn compress_block(states: &mut [HashState; PAIR], blocks: [&[u8; BLOCK]; PAIR]) {
    // Reverses the bytes of each word.
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let before = *states;
    let mut messages = [[_mm_setzero_si128(); 4]; PAIR];
    for (message, block) in messages.iter_mut().zip(blocks) {
        for (four, bytes) in message.iter_mut().zip(block.as_chunks::<16>().0) {
            // SAFETY: a chunk is 16 bytes; the load needs no alignment.
            let loaded = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
            *four = _mm_shuffle_epi8(loaded, order);
        }
    }

    for pass in 0..4 {
        // Four rounds with constant places, so that the words stay in registers.
        for place in 0..4 {
            // SAFETY: there are 64 constants, and four of them are 16 bytes.
            let constants = unsafe { _mm_loadu_si128(K[4 * (4 * pass + place)..].as_ptr().cast()) };
            let mut sums = [_mm_setzero_si128(); PAIR];
            for (message, sum) in messages.iter_mut().zip(&mut sums) {
                if pass > 0 {
                    let (next, third) = (message[(place + 1) % 4], message[(place + 2) % 4]);
                    let last = message[(place + 3) % 4];
                    let partial = _mm_sha256msg1_epu32(message[place], next);
                    let partial = _mm_add_epi32(partial, _mm_alignr_epi8::<4>(last, third));
                    message[place] = _mm_sha256msg2_epu32(partial, last);
                }
                *sum = _mm_add_epi32(message[place], constants);
            }
            for (state, sum) in states.iter_mut().zip(&sums) {
                state[1] = _mm_sha256rnds2_epu32(state[1], state[0], *sum);
            }
            for (state, sum) in states.iter_mut().zip(&sums) {
                let high = _mm_shuffle_epi32::<0x0e>(*sum);
                state[0] = _mm_sha256rnds2_epu32(state[0], state[1], high);
            }
        }
    }

    for (state, before) in states.iter_mut().zip(before) {
        state[0] = _mm_add_epi32(state[0], before[0]);
        state[1] = _mm_add_epi32(state[1], before[1]);
    }
}
