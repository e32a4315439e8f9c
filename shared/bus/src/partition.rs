//! Which partition a key belongs to: the same as with Java's clients, so that others may publish beside us.

/// The partition of `key` among `partitions`.
pub fn of(key: &str, partitions: i32) -> i32 {
    // The sign bit goes first, as in Java, where the hash is signed.
    ((murmur2(key.as_bytes()) & 0x7fff_ffff) as i32).rem_euclid(partitions.max(1))
}

/// Kafka's variant of MurmurHash2, 32 bits.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = 0x9747_b28c_u32 ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_javas() {
        // The vectors of Kafka's own UtilsTest.
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn a_partition_is_never_negative() {
        assert_eq!(of("foobar", 12), (-790_332_482_i32 & 0x7fff_ffff) % 12);
        for id in 0..1_000 {
            assert!((0..12).contains(&of(&format!("tenant/project/{id}"), 12)));
        }
    }
}
