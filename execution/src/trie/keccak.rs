//! Keccak-256 of many inputs at once.
//!
//! Hashing is most of what a state root costs, and a block's nodes are independent of each other level by level. Eight
//! states fit the 512-bit registers of AVX-512, four those of AVX2; what the machine has is found out at run time. Where
//! it has neither, or few inputs are left, the plain implementation does it.

use alloy_primitives::{B256, keccak256};

/// Bytes absorbed per permutation.
const RATE: usize = 136;

/// Inputs of more blocks than this are hashed one by one; trie nodes have at most four.
const MAX_BLOCKS: usize = 4;

/// Fewer inputs than this do not repay filling a whole vector.
const MIN_LANES: usize = 2;

/// Hashes every input.
pub(super) fn keccak_each(inputs: &[&[u8]]) -> Vec<B256> {
    let mut out = vec![B256::ZERO; inputs.len()];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has AVX-512F.
            hash_in_lanes::<8>(inputs, &mut out, |lanes, blocks| unsafe { x86::hash8(lanes, blocks) });
            return out;
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2.
            hash_in_lanes::<4>(inputs, &mut out, |lanes, blocks| unsafe { x86::hash4(lanes, blocks) });
            return out;
        }
    }
    hash_singly(inputs, 0..inputs.len(), &mut out);
    out
}

fn hash_singly(inputs: &[&[u8]], which: impl IntoIterator<Item = usize>, out: &mut [B256]) {
    for i in which {
        out[i] = keccak256(inputs[i]);
    }
}

/// Sorts inputs by their number of blocks and hashes `N` of a kind together.
#[cfg(target_arch = "x86_64")]
fn hash_in_lanes<const N: usize>(inputs: &[&[u8]], out: &mut [B256], hash: impl Fn(&[&[u8]; N], usize) -> [B256; N]) {
    let mut waiting = [[0usize; N]; MAX_BLOCKS];
    let mut count = [0usize; MAX_BLOCKS];
    let run = |which: &[usize], blocks: usize, out: &mut [B256]| {
        if which.len() < MIN_LANES {
            return hash_singly(inputs, which.iter().copied(), out);
        }
        // Lanes without an input of their own repeat the first.
        let lanes = std::array::from_fn(|l| inputs[which[if l < which.len() { l } else { 0 }]]);
        for (i, hash) in which.iter().zip(hash(&lanes, blocks)) {
            out[*i] = hash;
        }
    };
    for (i, input) in inputs.iter().enumerate() {
        let blocks = input.len() / RATE + 1;
        if blocks > MAX_BLOCKS {
            hash_singly(inputs, [i], out);
            continue;
        }
        let n = &mut count[blocks - 1];
        waiting[blocks - 1][*n] = i;
        *n += 1;
        if *n == N {
            run(&waiting[blocks - 1], blocks, out);
            *n = 0;
        }
    }
    for blocks in 1..=MAX_BLOCKS {
        run(&waiting[blocks - 1][..count[blocks - 1]], blocks, out);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use alloy_primitives::B256;

    use super::RATE;

    const ROUND_CONSTANTS: [u64; 24] = [
        0x0000_0000_0000_0001,
        0x0000_0000_0000_8082,
        0x8000_0000_0000_808a,
        0x8000_0000_8000_8000,
        0x0000_0000_0000_808b,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8009,
        0x0000_0000_0000_008a,
        0x0000_0000_0000_0088,
        0x0000_0000_8000_8009,
        0x0000_0000_8000_000a,
        0x0000_0000_8000_808b,
        0x8000_0000_0000_008b,
        0x8000_0000_0000_8089,
        0x8000_0000_0000_8003,
        0x8000_0000_0000_8002,
        0x8000_0000_0000_0080,
        0x0000_0000_0000_800a,
        0x8000_0000_8000_000a,
        0x8000_0000_8000_8081,
        0x8000_0000_0000_8080,
        0x0000_0000_8000_0001,
        0x8000_0000_8000_8008,
    ];

    /// The last block of an input, padded as Keccak asks for.
    fn padded(rest: &[u8]) -> [u8; RATE] {
        let mut block = [0; RATE];
        block[..rest.len()].copy_from_slice(rest);
        block[rest.len()] = 0x01;
        block[RATE - 1] |= 0x80;
        block
    }

    fn word(block: &[u8], i: usize) -> i64 {
        i64::from_le_bytes(block[i * 8..i * 8 + 8].try_into().expect("eight bytes"))
    }

    /// Keccak-f[1600] on vectors of states, by the vector operations it is given.
    macro_rules! permute {
        ($a:ident, $zero:expr, $xor:ident, $xor5:ident, $rol:ident, $chi:ident, $constant:ident) => {
            for rc in ROUND_CONSTANTS {
                let a = &mut $a;
                let mut b = [$zero; 25];
                let c = [
                    $xor5!(a[0], a[5], a[10], a[15], a[20]),
                    $xor5!(a[1], a[6], a[11], a[16], a[21]),
                    $xor5!(a[2], a[7], a[12], a[17], a[22]),
                    $xor5!(a[3], a[8], a[13], a[18], a[23]),
                    $xor5!(a[4], a[9], a[14], a[19], a[24]),
                ];
                for x in 0..5 {
                    let d = $xor!(c[(x + 4) % 5], $rol!(c[(x + 1) % 5], 1));
                    for y in 0..5 {
                        a[x + 5 * y] = $xor!(a[x + 5 * y], d);
                    }
                }
                b[0] = $rol!(a[0], 0);
                b[1] = $rol!(a[6], 44);
                b[2] = $rol!(a[12], 43);
                b[3] = $rol!(a[18], 21);
                b[4] = $rol!(a[24], 14);
                b[5] = $rol!(a[3], 28);
                b[6] = $rol!(a[9], 20);
                b[7] = $rol!(a[10], 3);
                b[8] = $rol!(a[16], 45);
                b[9] = $rol!(a[22], 61);
                b[10] = $rol!(a[1], 1);
                b[11] = $rol!(a[7], 6);
                b[12] = $rol!(a[13], 25);
                b[13] = $rol!(a[19], 8);
                b[14] = $rol!(a[20], 18);
                b[15] = $rol!(a[4], 27);
                b[16] = $rol!(a[5], 36);
                b[17] = $rol!(a[11], 10);
                b[18] = $rol!(a[17], 15);
                b[19] = $rol!(a[23], 56);
                b[20] = $rol!(a[2], 62);
                b[21] = $rol!(a[8], 55);
                b[22] = $rol!(a[14], 39);
                b[23] = $rol!(a[15], 41);
                b[24] = $rol!(a[21], 2);
                for y in 0..5 {
                    for x in 0..5 {
                        a[x + 5 * y] = $chi!(b[x + 5 * y], b[(x + 1) % 5 + 5 * y], b[(x + 2) % 5 + 5 * y]);
                    }
                }
                a[0] = $xor!(a[0], $constant!(rc));
            }
        };
    }

    /// Absorbs `$blocks` blocks of every lane and leaves the state in `$a`.
    macro_rules! absorb {
        ($a:ident, $lanes:ident, $blocks:ident, $n:literal, $gather:expr, $xor:ident, $permute:expr) => {
            for block in 0..$blocks {
                let tails: [[u8; RATE]; $n];
                let parts: [&[u8]; $n] = if block + 1 == $blocks {
                    tails = std::array::from_fn(|l| padded(&$lanes[l][block * RATE..]));
                    std::array::from_fn(|l| tails[l].as_slice())
                } else {
                    std::array::from_fn(|l| &$lanes[l][block * RATE..(block + 1) * RATE])
                };
                for i in 0..RATE / 8 {
                    $a[i] = $xor!($a[i], $gather(&parts, i));
                }
                $permute
            }
        };
    }

    fn digest<const N: usize>(words: [[u64; N]; 4]) -> [B256; N] {
        std::array::from_fn(|l| {
            let mut out = B256::ZERO;
            for (i, word) in words.iter().enumerate() {
                out.0[i * 8..i * 8 + 8].copy_from_slice(&word[l].to_le_bytes());
            }
            out
        })
    }

    /// Keccak-256 of eight inputs of the same number of blocks.
    #[target_feature(enable = "avx512f")]
    pub(super) fn hash8(lanes: &[&[u8]; 8], blocks: usize) -> [B256; 8] {
        macro_rules! xor {
            ($x:expr, $y:expr) => {
                _mm512_xor_si512($x, $y)
            };
        }
        macro_rules! xor5 {
            ($v:expr, $w:expr, $x:expr, $y:expr, $z:expr) => {
                _mm512_ternarylogic_epi64::<0x96>(_mm512_ternarylogic_epi64::<0x96>($v, $w, $x), $y, $z)
            };
        }
        macro_rules! rol {
            ($x:expr, $n:literal) => {
                _mm512_rol_epi64::<$n>($x)
            };
        }
        macro_rules! chi {
            ($x:expr, $y:expr, $z:expr) => {
                _mm512_ternarylogic_epi64::<0xd2>($x, $y, $z)
            };
        }
        macro_rules! constant {
            ($rc:expr) => {
                _mm512_set1_epi64($rc as i64)
            };
        }
        let gather = |p: &[&[u8]; 8], i: usize| {
            let w = |l: usize| word(p[l], i);
            _mm512_set_epi64(w(7), w(6), w(5), w(4), w(3), w(2), w(1), w(0))
        };
        let zero = _mm512_setzero_si512();
        let mut a = [zero; 25];
        absorb!(a, lanes, blocks, 8, gather, xor, permute!(a, zero, xor, xor5, rol, chi, constant));
        // SAFETY: a vector of eight 64-bit lanes and an array of eight words have the same size and no invalid values.
        digest([a[0], a[1], a[2], a[3]].map(|v| unsafe { std::mem::transmute::<__m512i, [u64; 8]>(v) }))
    }

    /// Keccak-256 of four inputs of the same number of blocks.
    #[target_feature(enable = "avx2")]
    pub(super) fn hash4(lanes: &[&[u8]; 4], blocks: usize) -> [B256; 4] {
        macro_rules! xor {
            ($x:expr, $y:expr) => {
                _mm256_xor_si256($x, $y)
            };
        }
        macro_rules! xor5 {
            ($v:expr, $w:expr, $x:expr, $y:expr, $z:expr) => {
                xor!(xor!(xor!($v, $w), xor!($x, $y)), $z)
            };
        }
        macro_rules! rol {
            ($x:expr, $n:literal) => {
                _mm256_or_si256(_mm256_slli_epi64::<$n>($x), _mm256_srli_epi64::<{ 64 - $n }>($x))
            };
        }
        macro_rules! chi {
            ($x:expr, $y:expr, $z:expr) => {
                xor!($x, _mm256_andnot_si256($y, $z))
            };
        }
        macro_rules! constant {
            ($rc:expr) => {
                _mm256_set1_epi64x($rc as i64)
            };
        }
        let gather = |p: &[&[u8]; 4], i: usize| {
            let w = |l: usize| word(p[l], i);
            _mm256_set_epi64x(w(3), w(2), w(1), w(0))
        };
        let zero = _mm256_setzero_si256();
        let mut a = [zero; 25];
        absorb!(a, lanes, blocks, 4, gather, xor, permute!(a, zero, xor, xor5, rol, chi, constant));
        // SAFETY: a vector of four 64-bit lanes and an array of four words have the same size and no invalid values.
        digest([a[0], a[1], a[2], a[3]].map(|v| unsafe { std::mem::transmute::<__m256i, [u64; 4]>(v) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_hashes_are_the_single_ones() {
        let data: Vec<u8> = (0..700u32).map(|i| (i * 31 % 251) as u8).collect();
        let inputs: Vec<&[u8]> = (0..700).map(|len| &data[700 - len..]).chain([&data[..], &data[..135]]).collect();
        for few in [0, 1, 2, 3, 7, 8, 9, inputs.len()] {
            let inputs = &inputs[..few];
            let expected: Vec<B256> = inputs.iter().map(keccak256).collect();
            assert_eq!(keccak_each(inputs), expected);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_vector_width_agrees() {
        let data: Vec<u8> = (0..600u32).map(|i| (i * 7 % 253) as u8).collect();
        for len in [0, 1, 31, 135, 136, 137, 271, 272, 407, 408, 532, 543] {
            let blocks = len / RATE + 1;
            if is_x86_feature_detected!("avx2") {
                let lanes = std::array::from_fn(|l| &data[l..l + len]);
                // SAFETY: the machine has AVX2.
                assert_eq!(unsafe { x86::hash4(&lanes, blocks) }, lanes.map(keccak256));
            }
            if is_x86_feature_detected!("avx512f") {
                let lanes = std::array::from_fn(|l| &data[l..l + len]);
                // SAFETY: the machine has AVX-512F.
                assert_eq!(unsafe { x86::hash8(&lanes, blocks) }, lanes.map(keccak256));
            }
        }
    }
}
