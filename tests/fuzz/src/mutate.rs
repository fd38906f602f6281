//! Mutations that know what encodings are made of: lengths, tags, varints, heads of RLP items.

use rand::{RngExt as _, rngs::StdRng};

/// Longest input made.
const MAX: usize = 64 * 1024;

/// Bytes at which decoders decide: heads of RLP strings and lists, varint limits, transaction types.
const HEADS: [u8; 22] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x08, 0x0a, 0x12, 0x1a, 0x42, 0x7f, 0x80, 0x81, 0xb7, 0xb8, 0xbf, 0xc0, 0xc1, 0xf7,
    0xf8, 0xfe, 0xff,
];

/// Makes the next input: a seed, changed a few times.
pub fn mutate(rng: &mut StdRng, corpus: &[Vec<u8>], out: &mut Vec<u8>) {
    out.clear();
    if let Some(seed) = pick(rng, corpus) {
        out.extend_from_slice(seed);
    }
    for _ in 0..1 + rng.random_range(0..4u32) * rng.random_range(0..2u32) {
        change(rng, corpus, out);
    }
    out.truncate(MAX);
}

fn pick<'a>(rng: &mut StdRng, corpus: &'a [Vec<u8>]) -> Option<&'a Vec<u8>> {
    (!corpus.is_empty()).then(|| &corpus[rng.random_range(0..corpus.len())])
}

/// A place in the input; half of the time near its beginning, where heads are.
fn place(rng: &mut StdRng, len: usize) -> usize {
    let end = if rng.random() { len.min(24) } else { len };
    rng.random_range(0..end.max(1))
}

fn change(rng: &mut StdRng, corpus: &[Vec<u8>], out: &mut Vec<u8>) {
    if out.is_empty() {
        out.push(rng.random());
        return;
    }
    let at = place(rng, out.len());
    match rng.random_range(0..11u32) {
        0 => out[at] ^= 1 << rng.random_range(0..8u32),
        1 => out[at] = rng.random(),
        2 => out[at] = HEADS[rng.random_range(0..HEADS.len())],
        3 => out[at] = out[at].wrapping_add(if rng.random() { 1 } else { 255 }),
        4 => out.insert(at, HEADS[rng.random_range(0..HEADS.len())]),
        5 => drop(out.remove(at)),
        6 => out.truncate(at),
        7 => repeat(rng, out, at),
        8 => splice(rng, corpus, out, at),
        9 => grow(rng, out, at),
        _ => fill(rng, out, at),
    }
}

/// A piece twice: fields that come again.
fn repeat(rng: &mut StdRng, out: &mut Vec<u8>, at: usize) {
    let end = (at + rng.random_range(1..64usize)).min(out.len());
    let piece = out[at..end].to_vec();
    out.splice(at..at, piece);
}

/// A piece of another seed in place of one's own.
fn splice(rng: &mut StdRng, corpus: &[Vec<u8>], out: &mut Vec<u8>, at: usize) {
    let Some(other) = pick(rng, corpus).filter(|o| !o.is_empty()) else { return };
    let from = rng.random_range(0..other.len());
    let to = (from + rng.random_range(1..256usize)).min(other.len());
    let end = (at + rng.random_range(0..64usize)).min(out.len());
    out.splice(at..end, other[from..to].iter().copied());
}

/// A length far beyond what follows: a varint or an RLP head with many bytes of length.
fn grow(rng: &mut StdRng, out: &mut Vec<u8>, at: usize) {
    let bytes = rng.random_range(1..10usize);
    let mut long = vec![0xff; bytes];
    if rng.random() {
        long.push(0x0f);
    } else {
        long.insert(0, [0xb7, 0xf7][rng.random_range(0..2usize)] + rng.random_range(1..9u8));
    }
    out.splice(at..at, long);
}

/// A run of one byte: zeros where numbers must be minimal, ones where they overflow.
fn fill(rng: &mut StdRng, out: &mut [u8], at: usize) {
    let end = (at + rng.random_range(1..40usize)).min(out.len());
    out[at..end].fill(if rng.random() { 0 } else { 0xff });
}
