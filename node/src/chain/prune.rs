//! Takes older states away in the background, in small steps, so that commits and readers never wait for long.

use std::{sync::Arc, time::Duration};

use basalt_storage::{Ledger, StorageError};

/// How often it is looked whether something can go.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two steps while there is more to do: leaves the disk and the processor to the chain.
const PAUSE: Duration = Duration::from_millis(20);

/// Keeps the newest state and the `keep` before it, until it is dropped. After an error it tries again: the commit of
/// the next block meets whatever is wrong with the disk and stops the node.
pub async fn prune_states(ledger: Arc<Ledger>, keep: u64) {
    loop {
        let ledger = Arc::clone(&ledger);
        let step = tokio::task::spawn_blocking(move || step(&ledger, keep)).await;
        let done = match step {
            Ok(Ok(done)) => done,
            Ok(Err(e)) => {
                tracing::error!("older states could not be pruned: {e}");
                true
            }
            Err(_) => return,
        };
        tokio::time::sleep(if done { INTERVAL } else { PAUSE }).await;
    }
}

fn step(ledger: &Ledger, keep: u64) -> Result<bool, StorageError> {
    let pruned = ledger.prune_history(keep)?;
    if pruned.rows > 0 {
        tracing::debug!(rows = pruned.rows, first = %pruned.first, "pruned older states");
    }
    Ok(pruned.done)
}
