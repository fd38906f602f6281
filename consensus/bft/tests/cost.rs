//! What the engine itself costs per block, without signature checks: `cargo test -p basalt-bft --test cost -- --ignored --nocapture`.

mod common;

use basalt_bft::Message;
use basalt_consensus::Verdict;
use common::Bench;

#[test]
#[ignore = "a measurement, not a check"]
#[allow(clippy::disallowed_methods, reason = "measures time outside the engine")]
fn cost_per_block() {
    for n in [4, 16, 31, 64, 100] {
        let mut b = Bench::new(n, 0);
        let blocks = 20;
        let mut spent = std::time::Duration::ZERO;
        for height in 1..=blocks {
            let block = b.block("block", 0);
            let proposer = (height % n as u64) as u16;
            let messages: Vec<(u16, Message)> = std::iter::once((proposer, b.proposal(&block, 0)))
                .chain((1..n as u16).map(|i| (i, Message::Prepare(b.vote(&block, 0)))))
                .chain((1..n as u16).map(|i| (i, Message::Commit(b.vote(&block, 0)))))
                .collect();
            let start = std::time::Instant::now();
            for (from, message) in messages {
                b.from(from, message);
                if from == proposer {
                    b.judged(&block, Verdict::Valid);
                }
            }
            spent += start.elapsed();
            b.executed(&block, false);
        }
        println!("n = {n}: {:?} per block, bench included", spent / blocks as u32);
    }
}
