//! Hash functions to choose from. All take bytes in the order given, so every proxy computes the same on every machine.

use std::hash::Hasher as _;

use md5::{Digest as _, Md5};
use siphasher::sip::SipHasher24;
use xxhash_rust::xxh64::xxh64;

/// A hash function of 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashFunction {
    /// xxHash64: fast, well distributed.
    #[default]
    XxHash64,
    /// MurmurHash3 x64 128, its first 64 bits.
    MurmurHash3,
    /// FNV-1a: for short keys; its high bits, the ones that place a point on a ring, mix badly.
    Fnv1a,
    /// SipHash-2-4 with the seed as its key: as good as any here, and slower; the key is public, so it keeps nobody
    /// from choosing keys.
    SipHash,
    /// MD5, its first 64 bits, little-endian: slowest. Points are not those of ketama, which takes four from each hash.
    Md5,
}

impl HashFunction {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::XxHash64, Self::MurmurHash3, Self::Fnv1a, Self::SipHash, Self::Md5];

    /// Hash of `bytes` with `seed`. Functions that know no seed take it as eight bytes, little-endian, before the rest,
    /// and 0 as nothing.
    #[must_use]
    pub fn hash(self, bytes: &[u8], seed: u32) -> u64 {
        match self {
            Self::XxHash64 => xxh64(bytes, u64::from(seed)),
            Self::MurmurHash3 => murmur3(bytes, seed),
            Self::Fnv1a => {
                let mut hasher = fnv::FnvHasher::default();
                if seed != 0 {
                    hasher.write(&u64::from(seed).to_le_bytes());
                }
                hasher.write(bytes);
                hasher.finish()
            }
            Self::SipHash => {
                let mut hasher = SipHasher24::new_with_keys(u64::from(seed), 0);
                hasher.write(bytes);
                hasher.finish()
            }
            Self::Md5 => {
                let mut hasher = Md5::new();
                if seed != 0 {
                    hasher.update(u64::from(seed).to_le_bytes());
                }
                hasher.update(bytes);
                let digest: [u8; 16] = hasher.finalize().into();
                first_word(digest)
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the first 64 bits are meant")]
fn murmur3(mut bytes: &[u8], seed: u32) -> u64 {
    // A slice is read to its end without an error.
    murmur3::murmur3_x64_128(&mut bytes, seed).unwrap_or_default() as u64
}

const fn first_word(digest: [u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
