//! ASERT against the published vectors of its specification, against real numbers, and at the extremes.

use alloy_primitives::U512;
use basalt_pow::asert::Schedule;
use basalt_primitives::U256;
use proptest::prelude::*;

const VECTORS: &str = include_str!("vectors/aserti3-2d.txt");

/// The easiest target of Bitcoin Cash; `0x1d00ffff` when made compact.
const LIMIT: U256 = U256::from_limbs([u64::MAX, u64::MAX, u64::MAX, u64::MAX >> 32]);

/// Bitcoin's compact encoding, which the vectors use: a byte of length and three of digits.
fn from_compact(bits: u32) -> U256 {
    let (length, digits) = ((bits >> 24) as usize, U256::from(bits & 0x007f_ffff));
    if length <= 3 { digits >> (8 * (3 - length)) } else { digits << (8 * (length - 3)) }
}

fn to_compact(target: U256) -> u32 {
    let mut length = target.byte_len();
    let digits = if length <= 3 { target << (8 * (3 - length)) } else { target >> (8 * (length - 3)) };
    let mut digits = u32::try_from(digits).expect("three bytes");
    if digits & 0x0080_0000 != 0 {
        (digits, length) = (digits >> 8, length + 1);
    }
    digits | u32::try_from(length).expect("at most 33") << 24
}

const fn bitcoin_cash(reference: U256, limit: U256) -> Schedule {
    Schedule { reference, limit, spacing: 600, half_life: 172_800 }
}

/// One run of the vectors: what its head says, and its rows (height, time, target).
#[derive(Default)]
struct Run {
    anchor_height: u64,
    anchor_parent_time: i128,
    anchor_bits: u32,
    rows: Vec<(u64, i128, u32)>,
}

fn bits(text: &str) -> u32 {
    u32::from_str_radix(text.trim_start_matches("0x"), 16).expect("hex")
}

fn runs() -> Vec<Run> {
    let mut runs = Vec::new();
    for line in VECTORS.lines() {
        let field = |name: &str| line.strip_prefix("##   ")?.strip_prefix(name)?.strip_prefix(": ");
        if line.starts_with("## description") {
            runs.push(Run::default());
        }
        let Some(run) = runs.last_mut() else { continue };
        if let Some(height) = field("anchor height") {
            run.anchor_height = height.parse().expect("a height");
        } else if let Some(time) = field("anchor parent time") {
            run.anchor_parent_time = time.parse().expect("a time");
        } else if let Some(target) = field("anchor nBits") {
            run.anchor_bits = bits(target);
        } else if !line.starts_with('#') && !line.is_empty() {
            let cells: Vec<&str> = line.split_whitespace().collect();
            let [_, height, time, target] = cells[..] else { panic!("{line}") };
            run.rows.push((height.parse().expect("a height"), time.parse().expect("a time"), bits(target)));
        }
    }
    runs
}

#[test]
fn the_published_vectors() {
    let runs = runs();
    assert_eq!(runs.len(), 12);
    let mut rows = 0;
    for (number, run) in runs.iter().enumerate() {
        let schedule = bitcoin_cash(from_compact(run.anchor_bits), LIMIT);
        for (height, time, expected) in &run.rows {
            let target = schedule.target(time - run.anchor_parent_time, height - run.anchor_height);
            let found = to_compact(target);
            assert_eq!(found, *expected, "run {}, height {height}, time {time}", number + 1);
            rows += 1;
        }
    }
    assert_eq!(rows, 4_500);
}

/// The table in the unit test of the first implementation (Bitcoin Cash Node, `pow_tests.cpp`, `calculate_asert_test`, MIT), with
/// its limit of 2²²⁴ − 1: overflow, underflow and clamps.
#[test]
fn the_extremes_of_the_first_implementation() {
    let (limit, one) = (LIMIT, U256::ONE);
    let funny = (U256::from(0x8000_0000u64) << 192) | (U256::MAX >> 108);
    let cases: [(U256, i128, u64, u32); 15] = [
        (limit, 0, 2 * 144, 0x1c7f_ffff),
        (limit, 0, 4 * 144, 0x1c3f_ffff),
        (limit >> 1, 0, 2 * 144, 0x1c3f_ffff),
        (limit >> 3, 0, 2 * 144, 0x1c0f_ffff),
        (limit, 0, 2 * (256 - 34) * 144, 0x0103_0000),
        (limit, 0, 2 * (256 - 34) * 144 + 119, 0x0103_0000),
        (limit, 0, 2 * (256 - 34) * 144 + 120, 0x0102_0000),
        (limit, 0, 2 * (256 - 33) * 144 - 1, 0x0102_0000),
        (limit, 0, 2 * (256 - 33) * 144, 0x0101_0000),
        (one, 0, 2 * (256 - 32) * 144, 0x0101_0000),
        (limit, 2 * (512 - 32) * 144, 0, 0x1d00_ffff),
        (one, (512 - 64) * 144 * 600, 0, 0x1d00_ffff),
        (limit, 300, 1, 0x1d00_ffb1),
        (funny, 600 * 2 * 33 * 144, 0, 0x1d00_ffff),
        (one, 600 * 2 * 256 * 144, 0, 0x1d00_ffff),
    ];
    for (reference, time, height, expected) in cases {
        // There, `time` counts from the anchor, and `height` to the block itself.
        let target = bitcoin_cash(reference, limit).target(time + 600, height);
        assert_eq!(to_compact(target), expected, "{reference:x} {time} {height}");
    }
    // Just below the limit: the full target is seen, where the compact one no longer tells it from the limit.
    let below = bitcoin_cash(one, limit).target(600 + 600 * 2 * 224 * 144 - 1, 0);
    assert_eq!(below, U256::from(0xffff8) << 204);
}

#[test]
fn the_first_blocks_have_the_initial_target_and_the_schedule_hangs_on_block_one() {
    let schedule =
        Schedule { reference: U256::MAX >> 20, limit: U256::MAX >> 8, spacing: 10_000, half_life: 3_600_000 };
    assert_eq!(schedule.after(0, 5, 0), schedule.reference, "block 1, however long after genesis");
    assert_eq!(schedule.after(1, 7_000, 7_000), schedule.reference, "block 2, whenever block 1 came");
    assert_eq!(schedule.after(11, 107_000, 7_000), schedule.reference, "ten intervals later, ten blocks");
    assert_eq!(schedule.after(11, 3_707_000, 7_000), schedule.reference * U256::from(2), "a half-life behind");
    assert_eq!(schedule.after(361, 7_000, 7_000), schedule.reference >> 1, "a half-life ahead");
}

proptest! {
    /// The spec's formula in real numbers: within the error of its polynomial, 0.013 %, and what 16 bits of the exponent leave.
    #[test]
    fn it_is_the_exponential(time in 0i128..400_000_000, height in 0u64..600_000, shift in 40usize..200) {
        let reference = U256::MAX >> shift;
        let schedule = bitcoin_cash(reference, U256::MAX);
        let exponent = (time as f64 - 600.0 * (height as f64 + 1.0)) / 172_800.0;
        let log2 = |t: U256| { let s = t.bit_len().saturating_sub(60); (t >> s).to::<u64>() as f64 };
        let real = |t: U256| log2(t).log2() + t.bit_len().saturating_sub(60) as f64;
        let expected = real(reference) + exponent;
        let target = schedule.target(time, height);
        prop_assert!(target >= U256::ONE);
        if (60.0..255.5).contains(&expected) {
            prop_assert!((real(target) - expected).abs() < 0.000_25, "{target} is 2^{}, not 2^{expected}", real(target));
        }
    }

    #[test]
    fn it_is_never_easier_for_being_earlier(time in -1i128<<48..1i128<<48, later in 0i128..1<<40, height in 0u64..1<<40) {
        let schedule = Schedule { reference: U256::MAX >> 30, limit: U256::MAX >> 8, spacing: 13_000, half_life: 600_000 };
        let (early, late) = (schedule.target(time, height), schedule.target(time + later, height));
        prop_assert!(early <= late);
        prop_assert!(schedule.target(time, height + 1) <= early);
        prop_assert!(!early.is_zero() && late <= schedule.limit);
    }

    /// Whatever is asked of it, nothing overflows: any height, any time, the longest interval that a chain may have.
    #[test]
    fn nothing_overflows(time in i128::from(i64::MIN)..=i128::from(i64::MAX), height: u64, limbs: [u64; 4], half_life in 1u64..) {
        let reference = U256::from_limbs(limbs).max(U256::ONE);
        let schedule = Schedule { reference, limit: U256::MAX, spacing: 86_400_000, half_life };
        let target = schedule.target(time, height);
        prop_assert!(!target.is_zero());
        prop_assert!(U512::from(target) <= U512::from(schedule.limit));
    }

    /// The anchor's own error never adds up: one step of n blocks is n steps.
    #[test]
    fn it_depends_on_the_schedule_alone(blocks in 1u64..10_000, late in -1_000_000i128..1_000_000) {
        let schedule = bitcoin_cash(U256::MAX >> 60, U256::MAX);
        let there = schedule.target(600 * (i128::from(blocks) + 1) + late, blocks);
        prop_assert_eq!(there, schedule.target(600 + late, 0));
    }
}
