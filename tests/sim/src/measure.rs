//! What a block costs: message delays, messages, and the engine's own processor time. `basalt-sim measure` prints it,
//! `docs/performance.md` keeps a table of it.

use std::time::Instant;

use basalt_bft::{
    bounds::messages_per_block,
    sim::{BftLab, test_params},
};
use basalt_consensus::sim::{Plan, Summary, World};
use basalt_primitives::{Height, Millis, chainspec::BftParams};
use serde::Serialize;

use crate::twins::engine_cost;

/// Numbers of validators that are measured.
pub const SIZES: [usize; 6] = [4, 7, 16, 31, 64, 100];
/// The delay of every message in the measurements.
const DELAY_MS: Millis = 50;
/// Execution of a block in the measurement of slow execution.
const SLOW_EXECUTION_MS: Millis = 1_000;

/// One size of network.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    /// Number of validators.
    pub validators: usize,
    /// From a proposal to its decision, in delays of one message.
    pub delays: f64,
    /// The same with an execution that takes twenty times as long as a message.
    pub delays_slow_execution: f64,
    /// Messages per block, counted per receiver.
    pub messages_per_block: u64,
    /// What the protocol needs at least: one proposal and two votes, each to all others.
    pub stated_messages: u64,
    /// Processor time of one engine per block, without signature checks, in microseconds.
    pub engine_us_per_block: f64,
}

/// Measures one size.
pub fn measure(validators: usize) -> Result<Row, String> {
    let usual = run(validators, 1)?;
    let slow = run(validators, SLOW_EXECUTION_MS)?;
    Ok(Row {
        validators,
        delays: longest(&usual) as f64 / DELAY_MS as f64,
        delays_slow_execution: longest(&slow) as f64 / DELAY_MS as f64,
        messages_per_block: usual.messages / usual.height.0.max(1),
        stated_messages: messages_per_block(validators as u64),
        engine_us_per_block: engine_cost(validators, 6, Instant::now).as_secs_f64() * 1e6,
    })
}

/// A few blocks in a network in which only messages and execution take time.
fn run(n: usize, execute_ms: Millis) -> Result<Summary, String> {
    let params = BftParams { round_timeout_ms: 5_000, round_timeout_cap_ms: 20_000, ..test_params() };
    let lab = BftLab::new(&vec![1; n], params);
    let mut plan = Plan::calm(1, n);
    plan.steady = true;
    (plan.delay_min, plan.delay) = (DELAY_MS, DELAY_MS);
    (plan.build_ms, plan.sync_ms, plan.execute_ms) = (0, 0, execute_ms);
    // Later than the start of all, and known to all at once.
    plan.submissions = (0..n).map(|node| (100, node)).collect();
    (plan.heal_at, plan.bound) = (200, 120_000);
    World::check(&lab, &plan).map_err(|failure| format!("{n} validators: {}", failure.violation))
}

/// The longest time from the first proposal of a height to its first decision.
fn longest(summary: &Summary) -> Millis {
    let decided = summary.decided_at.iter().zip(1..);
    decided.map(|(at, height)| at - summary.proposed_at[&Height(height)]).max().unwrap_or_default()
}
