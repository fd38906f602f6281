//! What must hold in every run. Each invariant is a function, written once; it sees everything, and computes anew what the engine
//! claims, from headers alone. No deliberate bug gets in here.

use std::collections::BTreeMap;

use alloy_primitives::U512;
use basalt_consensus::{Branch, sim::Violation};
use basalt_primitives::{B256, Header, Millis, PowParams, Seal, U256};

use super::store::{Archive, HASH, Node, State};
use crate::{Status, Work};

fn fail(oracle: &'static str, what: impl Into<String>) -> Result<(), Violation> {
    Err(Violation::new(oracle, what))
}

/// The target due after a block: the specification's pseudo-code, line by line, with the anchor looked up in the chain.
pub(super) fn due(params: &PowParams, archive: &Archive, parent: &B256) -> U256 {
    let Some(eval) = archive.header(parent).filter(|h| h.height.0 > 0) else { return params.initial_target };
    let first = archive.below(*parent).find(|h| archive.height(h).0 == 1);
    let Some(anchor) = first.and_then(|h| archive.header(&h)) else { return params.initial_target };
    let (ideal, half_life) = (i128::from(params.block_interval_ms), i128::from(params.half_life_ms));
    let time_delta = i128::from(eval.timestamp_ms) - (i128::from(anchor.timestamp_ms) - ideal);
    let height_delta = i128::from(eval.height.0) - 1;
    let exponent = ((time_delta - ideal * (height_delta + 1)) * 65_536) / half_life;
    let shifts = exponent.div_euclid(65_536);
    let rest = exponent.rem_euclid(65_536);
    let cubic = 195_766_423_245_049 * rest + 971_821_376 * rest.pow(2) + 5_127 * rest.pow(3) + (1 << 47);
    let factor = u64::try_from((cubic >> 48) + 65_536).unwrap_or(u64::MAX);
    let mut target = U512::from(params.initial_target) * U512::from(factor);
    for _ in 0..shifts.unsigned_abs().min(300) {
        target = if shifts < 0 { target.wrapping_shr(1) } else { target.wrapping_shl(1).min(U512::MAX >> 2) };
    }
    let target: U512 = target >> 16;
    target.min(U512::from(params.max_target)).max(U512::ONE).to()
}

/// The median of the eleven timestamps that end here, or of as many as there are.
pub(super) fn median_time(archive: &Archive, hash: &B256) -> Millis {
    let mut times: Vec<Millis> =
        archive.below(*hash).take(11).filter_map(|h| Some(archive.header(&h)?.timestamp_ms)).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Every accepted header is sealed, has the target that is due, and a time above the median.
pub(super) fn lawful(params: &PowParams, archive: &Archive, header: &Header) -> Result<(), Violation> {
    let height = header.height;
    let Seal::Work { target, nonce } = header.seal else {
        return fail("sealed", format!("block {height} has no seal"));
    };
    let number = header.sealing_hash(HASH).map(|h| params.work_hash.number(h, nonce));
    if number.is_none_or(|n| n > target) {
        return fail("sealed", format!("block {height} does not meet its target"));
    }
    let due = due(params, archive, &header.parent_hash);
    if target != due {
        return fail("difficulty", format!("block {height} has the target {target}, and {due} is due"));
    }
    let median = median_time(archive, &header.parent_hash);
    if header.timestamp_ms <= median {
        return fail(
            "median time",
            format!("block {height} has the time {}, the median is {median}", header.timestamp_ms),
        );
    }
    Ok(())
}

/// No accepted block is further ahead of the clock than the drift allows, whatever the clock has shown so far.
pub(super) fn not_ahead(params: &PowParams, node: &Node, header: &Header) -> Result<(), Violation> {
    let latest = node.latest_wall + params.future_drift_ms;
    if header.timestamp_ms <= latest {
        return Ok(());
    }
    fail("future drift", format!("block {} is {} ms too far ahead", header.height, header.timestamp_ms - latest))
}

/// A fork choice says truly what it changes: undoing and doing what it names leads from the old chain to the new head.
pub(super) fn follow(chain: &mut Vec<B256>, branch: &Branch, head: B256, archive: &Archive) -> Result<(), Violation> {
    for hash in &branch.abandoned {
        if chain.pop() != Some(*hash) {
            return fail("announced reorg", format!("{hash} is to be undone and is not the newest block"));
        }
    }
    if chain.last() != Some(&branch.ancestor) {
        return fail("announced reorg", format!("{} is not where the chains part", branch.ancestor));
    }
    for hash in &branch.adopted {
        if archive.header(hash).map(|h| h.parent_hash) != chain.last().copied() {
            return fail("announced reorg", format!("{hash} does not rest on the block before it"));
        }
        chain.push(*hash);
    }
    if chain.last() == Some(&head) { Ok(()) } else { fail("announced reorg", "it does not end in the head") }
}

/// No accepted history has less work, nor the same: only the operator's word outweighs work.
pub(super) fn more_work(archive: &Archive, old: &B256, new: &B256, ordered: bool) -> Result<(), Violation> {
    let (before, after) = (archive.work(old), archive.work(new));
    if after > before || ordered || old == new {
        return Ok(());
    }
    fail("no history of less work", format!("from {before} hashes to {after}"))
}

/// Every block on a chain was judged valid here.
pub(super) fn judged(states: &BTreeMap<B256, State>, chain: &[B256]) -> Result<(), Violation> {
    match chain.iter().find(|hash| !states.contains_key(*hash)) {
        None => Ok(()),
        Some(hash) => fail("head is judged", format!("{hash} is on the chain and was not judged valid")),
    }
}

/// The newest final block is on the chain, above the last one, and as deep as it must be, in blocks and in work.
pub(super) fn finality(
    params: &PowParams,
    archive: &Archive,
    chain: &[B256],
    (old, new): (&B256, &B256),
    ordered: bool,
) -> Result<(), Violation> {
    let place = |hash: &B256| chain.iter().position(|h| h == hash);
    let (Some(at), was) = (place(new), place(old)) else {
        return fail("finality", "the final block is not on the chain");
    };
    if ordered {
        return Ok(());
    }
    let Some(was) = was else { return fail("finality", format!("the final block {old} was taken back")) };
    if at < was {
        return fail("finality", "it went back");
    }
    let head = archive.work(&chain[chain.len() - 1]);
    let deep = |at: usize| {
        let own = archive.header(&chain[at]).and_then(|h| match h.seal {
            Seal::Work { target, .. } => Work::of(target),
            Seal::None => Work::of(params.initial_target),
        });
        chain.len() - 1 - at >= params.finality_depth as usize
            && own.is_some_and(|own| head.beyond(archive.work(&chain[at])) >= own.times(params.finality_depth))
    };
    let due = (0..chain.len()).rev().find(|at| deep(*at)).unwrap_or_default().max(was);
    if at == due { Ok(()) } else { fail("finality", format!("block {at} is final, block {due} is due")) }
}

/// Nothing judged valid that may be adopted has more work than the head.
pub(super) fn heaviest(
    archive: &Archive,
    states: &BTreeMap<B256, State>,
    chain: &[B256],
    finalized: &B256,
) -> Result<(), Violation> {
    let head = archive.work(&chain[chain.len() - 1]);
    let open = |hash: &B256| archive.below(*hash).any(|h| h == *finalized);
    match states.keys().find(|hash| archive.work(hash) > head && open(hash)) {
        None => Ok(()),
        Some(hash) => fail("heaviest chain", format!("{hash} has more work than the head")),
    }
}

/// The state that fork choices led to is that of a replay from genesis.
pub(super) fn same_as_replay(
    archive: &Archive,
    states: &BTreeMap<B256, State>,
    chain: &[B256],
) -> Result<(), Violation> {
    let mut state = State::genesis();
    for hash in &chain[1..] {
        let next = archive.0.get(hash).and_then(|made| state.after(&made.block));
        let Some(next) = next else { return fail("same as a replay", format!("{hash} is invalid on its parent")) };
        state = next;
    }
    if states.get(&chain[chain.len() - 1]) == Some(&state) {
        Ok(())
    } else {
        fail("same as a replay", "the states differ")
    }
}

/// What waits is bounded, whatever strangers send.
pub(super) fn bounded(status: &Status, capacity: usize) -> Result<(), Violation> {
    let sound = status.orphans <= 64 && status.early <= 64 && status.fetching <= 16 && status.headers <= capacity;
    if sound { Ok(()) } else { fail("bounded", format!("{status:?}")) }
}

/// No timer fires by the wall clock: the next deadline is on the monotonic clock, at most the longest wait away.
pub(super) fn timers_follow_mono(mono: Millis, deadline: Option<Millis>, longest: Millis) -> Result<(), Violation> {
    match deadline {
        Some(at) if at > mono + longest => {
            fail("no timer by wall clock", format!("at {mono} ms (mono) the engine wants to wait until {at} ms"))
        }
        _ => Ok(()),
    }
}

/// Persist before you speak: who announces a block has it on disk, so that a restart loses nothing that others build on.
pub(super) fn announced_is_written(node: &Node, hash: &B256) -> Result<(), Violation> {
    if node.disk.has(hash) {
        Ok(())
    } else {
        fail("persist before you speak", format!("{hash} left before it was written"))
    }
}

/// The chain keeps to its schedule: it is off it by what the hash rates account for and by chance. With rates from `least` to
/// `most` times what the initial target is made for, the deviation lies between −τ·log₂(most) and −τ·log₂(least); around that it
/// wanders with a standard deviation of √(T·τ/(2·ln 2)).
pub fn on_schedule(
    params: &PowParams,
    headers: &[Header],
    (least, most): (f64, f64),
    sigmas: f64,
) -> Result<(), Violation> {
    let (spacing, half_life) = (params.block_interval_ms as f64, params.half_life_ms as f64);
    let slack = sigmas * (spacing * half_life / (2.0 * std::f64::consts::LN_2)).sqrt() + params.future_drift_ms as f64;
    let (low, high) = (-half_life * most.log2() - slack, -half_life * least.log2() + slack);
    let Some(first) = headers.first() else { return Ok(()) };
    for header in headers {
        let passed = header.timestamp_ms as f64 - first.timestamp_ms as f64;
        let off = passed - spacing * (header.height.0 - first.height.0) as f64;
        if off < low || off > high {
            return fail("on schedule", format!("block {} is {off} ms off it, not {low} to {high}", header.height));
        }
    }
    Ok(())
}
