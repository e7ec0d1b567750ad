use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

fn expected(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn content(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 131 + salt * 17 + at / 251) as u8).collect()
}

#[test]
fn known_digests() {
    // FIPS 180-4, appendix B.1, and the digest of nothing.
    let mut stream = Stream::new();
    stream.update(b"abc");
    assert_eq!(stream.finish()[..4], [0xba, 0x78, 0x16, 0xbf]);
    assert_eq!(Stream::new().finish()[..4], [0xe3, 0xb0, 0xc4, 0x42]);
}

#[test]
fn every_length_around_the_ends_of_blocks() {
    for length in 0..4 * BLOCK {
        let bytes = content(length, length);
        let mut stream = Stream::new();
        stream.update(&bytes);
        assert_eq!(stream.finish(), expected(&bytes), "{length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// By whichever way: in lanes, one after the other, in whatever pieces, with streams that end
    /// early or have nothing at all.
    #[test]
    fn streams_together_have_the_digests_of_each_alone(
        rounds in prop::collection::vec(prop::collection::vec(0..900_usize, 1..40), 1..4),
        lanes in any::<bool>(),
    ) {
        let streams = rounds.iter().map(Vec::len).max().unwrap_or(0);
        let mut made = vec![Stream::new(); streams];
        let mut whole = vec![Vec::new(); streams];
        for (number, lengths) in rounds.iter().enumerate() {
            let pieces: Vec<Vec<u8>> =
                lengths.iter().map(|length| content(*length, number + length)).collect();
            for (whole, piece) in whole.iter_mut().zip(&pieces) {
                whole.extend_from_slice(piece);
            }
            let together = made.iter_mut().zip(&pieces);
            let together = together.map(|(stream, bytes)| Piece { stream, bytes });
            match lanes {
                true => update_all(together),
                false => together.for_each(|piece| piece.stream.update(piece.bytes)),
            }
        }
        for (stream, whole) in made.into_iter().zip(&whole) {
            prop_assert_eq!(stream.finish(), expected(whole));
        }
    }
}

/// Every way of this processor separately, at every number of streams. On one without lanes or SHA
/// instructions the rest is compared with itself.
#[test]
fn every_number_of_streams_has_the_same_states_by_every_way() {
    let here = Together::here();
    let ways = [(true, false), (false, true), (true, true), (false, false)]
        .map(|(lanes, pairs)| Together { lanes: lanes && here.lanes, pairs: pairs && here.pairs });
    for streams in 1..=2 * LANES + 1 {
        let blocks: Vec<Vec<[u8; BLOCK]>> = (0..streams)
            .map(|stream| {
                let bytes = content((1 + stream % 5) * BLOCK, stream);
                bytes.as_chunks().0.to_vec()
            })
            .collect();
        let mut alone = vec![START; streams];
        for (state, blocks) in alone.iter_mut().zip(&blocks) {
            compress256(state, blocks);
        }
        for way in ways {
            let mut states = vec![START; streams];
            let left = states.iter_mut().zip(&blocks);
            compress_all(left.map(|(state, blocks)| Left { state, blocks }).collect(), way);
            assert_eq!(states, alone, "{streams} streams, {way:?}");
        }
    }
}
