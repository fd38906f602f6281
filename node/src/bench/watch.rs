//! Watches the chain for the load's transactions.

use std::time::Duration;

use basalt_primitives::B256;
use serde_json::{Value, json};
use tokio::time::{self, Instant};

use super::{client::Node, tracker::Shared};

/// Notes when each transaction of every new block was seen to be final; `poll` is the resolution of latencies. Runs until it
/// is aborted.
pub(super) async fn follow(node: Node, shared: Shared, mut seen: u128, poll: Duration) {
    let mut ticks = time::interval(poll);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(head) = node.rpc().quantity("eth_blockNumber", json!([])).await else { continue };
        let now = Instant::now();
        while seen < head {
            let Ok(block) = node.rpc().call("eth_getBlockByNumber", json!([format!("{:#x}", seen + 1), false])).await
            else {
                break;
            };
            let hashes = block["transactions"].as_array().map(Vec::as_slice).unwrap_or_default();
            let hashes = hashes.iter().filter_map(Value::as_str).filter_map(|s| s.parse::<B256>().ok());
            shared.lock().committed(hashes, now);
            seen += 1;
        }
    }
}
